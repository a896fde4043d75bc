/* The grid in the frame of the data viewer. Rows and columns are drawn only where they are to be seen; the height of the scrolled box is
 * bounded (browsers have a largest one), so with very many rows the place of the bar is a share, and wheel and keys move by rows. */
export const GRID_STYLE = `
  body { display: flex; flex-direction: column; font-family: var(--vscode-font-family); font-size: var(--vscode-font-size) }
  #bar { display: flex; gap: 14px; align-items: center; padding: 4px 10px; border-bottom: 1px solid var(--vscode-panel-border, #8884); color: var(--vscode-descriptionForeground); min-height: 20px }
  #bar .note { color: var(--vscode-errorForeground) }
  #grid { flex: 1; position: relative; overflow: hidden; outline: none }
  #box { position: absolute; inset: 0; overflow: scroll; overflow-anchor: none }
  #size { position: relative }
  #cells { position: absolute; left: 0; top: 0; right: 12px; bottom: 12px; overflow: hidden; pointer-events: none; font-family: var(--vscode-editor-font-family); font-size: var(--vscode-editor-font-size) }
  .head { position: absolute; top: 0; box-sizing: border-box; height: 40px; padding: 3px 8px; background: var(--vscode-editorWidget-background, var(--vscode-editor-background)); border-right: 1px solid var(--vscode-panel-border, #8884);
    border-bottom: 1px solid var(--vscode-panel-border, #8884); pointer-events: auto; cursor: pointer; overflow: hidden; white-space: nowrap; user-select: none; z-index: 2 }
  .head b { font-weight: 600; display: block; overflow: hidden; text-overflow: ellipsis } .head small { color: var(--vscode-descriptionForeground) }
  .head:hover { background: var(--vscode-list-hoverBackground) }
  .grip { position: absolute; right: 0; top: 0; bottom: 0; width: 6px; cursor: col-resize }
  .cell { position: absolute; box-sizing: border-box; height: 22px; line-height: 22px; padding: 0 8px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; border-right: 1px solid color-mix(in srgb, currentColor 8%, transparent) }
  .cell.number { text-align: right } .cell.none { color: var(--vscode-descriptionForeground); font-style: italic } .odd { background: color-mix(in srgb, currentColor 4%, transparent) }
  .label { background: var(--vscode-editorWidget-background, var(--vscode-editor-background)); color: var(--vscode-descriptionForeground); z-index: 1; border-right: 1px solid var(--vscode-panel-border, #8884) }
  .corner { z-index: 3; cursor: default }
`

export const GRID_BODY = `<div id="bar"><span id="shape"></span><span id="where"></span><span id="note" class="note" role="status"></span></div>
<div id="grid" tabindex="0" role="grid" aria-label="Data"><div id="box"><div id="size"></div></div><div id="cells"></div></div>`

export const GRID_SCRIPT = String.raw`
const ROW = 22, HEAD = 40, LABEL = 90, PAGE = 200, PAGES = 60, TALLEST = 8000000, COLUMNS = 60
const $ = (id) => document.getElementById(id)
const box = $('box'), size = $('size'), out = $('cells'), grid = $('grid')
let rows = 0, columns = [], widths = [], lefts = [0], sort = null, top = 0, asked = 0, generation = 0
const pages = new Map(), waiting = new Map()
const inner = () => Math.max(0, grid.clientHeight - HEAD - 12)
const visible = () => Math.ceil(inner() / ROW)
const scaled = () => Math.min(rows * ROW, TALLEST)
const last = () => Math.max(0, rows - Math.floor(inner() / ROW))
const numeric = (t) => /int|float|double|numeric|decimal|complex/i.test(t)
const format = (n) => n.toLocaleString('en')

function layout() {
  lefts = [LABEL]
  for (const w of widths) lefts.push(lefts[lefts.length - 1] + w)
  size.style.height = (scaled() + HEAD) + 'px'
  size.style.width = lefts[lefts.length - 1] + 'px'
}
/* the bar's place and the first row, in both directions */
let setting = false
function toRow(row) {
  top = Math.max(0, Math.min(last(), Math.round(row)))
  const room = box.scrollHeight - box.clientHeight
  setting = true
  box.scrollTop = last() ? room * top / last() : 0
  draw()
}
box.addEventListener('scroll', () => {
  const room = box.scrollHeight - box.clientHeight
  if (setting) { setting = false; draw(); return }
  top = room > 0 ? Math.round(box.scrollTop / room * last()) : 0
  draw()
})
box.addEventListener('wheel', (e) => {
  if (!e.deltaY || e.shiftKey || e.ctrlKey) return
  e.preventDefault()
  toRow(top + Math.sign(e.deltaY) * Math.max(1, Math.round(Math.abs(e.deltaY) / (e.deltaMode ? 1 : 33))))
}, { passive: false })
grid.addEventListener('keydown', (e) => {
  const by = { ArrowDown: 1, ArrowUp: -1, PageDown: visible() - 1, PageUp: 1 - visible() }[e.key]
  if (by) toRow(top + by)
  else if (e.key === 'Home') toRow(0)
  else if (e.key === 'End') toRow(last())
  else if (e.key === 'ArrowRight') box.scrollLeft += 120
  else if (e.key === 'ArrowLeft') box.scrollLeft -= 120
  else return
  e.preventDefault()
})

function columnRange() {
  const a = box.scrollLeft + LABEL, b = box.scrollLeft + grid.clientWidth
  let first = 0
  while (first < columns.length - 1 && lefts[first + 1] <= a) first++
  let end = first
  while (end < columns.length && lefts[end] < b) end++
  return [first, end]
}
/* pages of rows and of columns */
function page(row, block) { return pages.get(Math.floor(row / PAGE) + ':' + block) }
function need(from, to, first, end) {
  for (let p = Math.floor(from / PAGE); p <= Math.floor(Math.max(from, to - 1) / PAGE); p++) {
    for (let b = Math.floor(first / COLUMNS); b <= Math.floor(Math.max(first, end - 1) / COLUMNS); b++) {
      const key = p + ':' + b
      if (pages.has(key) || waiting.has(key) || waiting.size >= 6) continue
      const id = ++asked
      waiting.set(key, id)
      code.postMessage({ type: 'rows', id, from: p * PAGE, to: Math.min(rows, (p + 1) * PAGE), first: b * COLUMNS, last: Math.min(columns.length, (b + 1) * COLUMNS), sort })
    }
  }
}
function div(className, text, left, y, width) {
  const d = document.createElement('div')
  d.className = className
  d.textContent = text
  d.style.left = left + 'px'; d.style.top = y + 'px'; d.style.width = width + 'px'
  return d
}
let pending = false
function draw() { if (!pending) { pending = true; requestAnimationFrame(paint) } }
function paint() {
  pending = false
  const [first, end] = columnRange()
  const shown = Math.min(rows, top + visible() + 1)
  const x = box.scrollLeft, parts = []
  for (let r = top; r < shown; r++) {
    const y = HEAD + (r - top) * ROW, odd = r % 2 ? ' odd' : ''
    const any = page(r, Math.floor(first / COLUMNS))
    for (let c = first; c < end; c++) {
      const p = page(r, Math.floor(c / COLUMNS))
      const v = p ? p.cells[r % PAGE]?.[c % COLUMNS] : undefined
      parts.push(div('cell' + odd + (numeric(columns[c].type) ? ' number' : '') + (v === null ? ' none' : ''), v === null ? 'NA' : v === undefined ? (p ? '' : '…') : v, lefts[c] - x, y, widths[c]))
    }
    parts.push(div('cell label', any ? any.labels[r % PAGE] ?? '' : '', 0, y, LABEL))
  }
  for (let c = first; c < end; c++) {
    const head = div('head', '', lefts[c] - x, 0, widths[c])
    const b = document.createElement('b'), small = document.createElement('small'), grip = document.createElement('span')
    b.textContent = columns[c].name + (sort?.column === c ? (sort.down ? ' ▼' : ' ▲') : '')
    small.textContent = columns[c].type
    grip.className = 'grip'
    grip.dataset.column = head.dataset.column = c
    head.title = columns[c].name + ': ' + columns[c].type
    head.append(b, small, grip)
    parts.push(head)
  }
  parts.push(div('head corner', '', 0, 0, LABEL))
  out.replaceChildren(...parts)
  $('where').textContent = rows ? 'rows ' + format(top + 1) + ' to ' + format(Math.min(rows, top + Math.floor(inner() / ROW))) : ''
  if (columns.length && rows) need(top, shown, first, end)
}
out.addEventListener('click', (e) => {
  const head = e.target.closest('.head')
  if (!head || head.classList.contains('corner') || e.target.className === 'grip') return
  const column = Number(head.dataset.column)
  sort = sort?.column !== column ? { column, down: false } : sort.down ? null : { column, down: true }
  pages.clear(); waiting.clear()
  toRow(0)
})
out.addEventListener('pointerdown', (e) => {
  if (e.target.className !== 'grip') return
  const column = Number(e.target.dataset.column), from = e.clientX, width = widths[column]
  const move = (m) => { widths[column] = Math.max(40, width + m.clientX - from); layout(); draw() }
  const up = () => { removeEventListener('pointermove', move); removeEventListener('pointerup', up) }
  addEventListener('pointermove', move); addEventListener('pointerup', up)
})
addEventListener('resize', draw)
addEventListener('message', ({ data }) => {
  if (data.type === 'table') {
    const same = JSON.stringify(columns) === JSON.stringify(data.columns)
    rows = data.rows; columns = data.columns
    if (!same) { widths = columns.map((c) => Math.min(260, Math.max(80, 9 * Math.max(c.name.length, c.type.length) + 24))); sort = null; box.scrollLeft = 0 }
    pages.clear(); waiting.clear()
    $('shape').textContent = format(rows) + ' rows × ' + format(columns.length) + ' columns'
    $('note').textContent = ''
    layout()
    toRow(Math.min(top, last()))
    grid.focus()
  } else if (data.type === 'rows' || data.type === 'failed') {
    const key = [...waiting].find(([, id]) => id === data.id)?.[0]
    if (key === undefined) return
    waiting.delete(key)
    if (data.type === 'failed') { $('note').textContent = data.text; return }
    $('note').textContent = ''
    pages.set(key, data)
    for (const old of pages.keys()) { if (pages.size <= PAGES) break; pages.delete(old) }
    draw()
  } else if (data.type === 'gone') {
    $('note').textContent = data.text
  }
})
code.postMessage({ type: 'ready' })
`
