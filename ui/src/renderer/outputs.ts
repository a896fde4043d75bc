/* Outputs of cells: text with colours, errors, images, HTML, LaTeX, JSON (Markdown is VS Code's). Runs inside the notebook's frame, which is a
 * document of the second port. HTML of an output runs its scripts, as in Jupyter; it cannot reach the window. */
import { appendAnsi } from './ansi'
import { latexHtml } from './math'

interface Item {
  readonly id: string
  readonly mime: string
  text(): string
  json(): any
  blob(): Blob
  data(): Uint8Array
}

/* what is drawn of a long text at first: its end, where things happen */
const DRAWN = 200_000
const STYLE = `
  .tl-text { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-family: var(--vscode-editor-font-family); font-size: var(--vscode-editor-font-size); line-height: 1.35 }
  .tl-scroll { max-height: 32em; overflow-y: auto }
  .tl-stderr { border-left: 3px solid var(--vscode-editorWarning-foreground, #cca700); padding-left: 8px }
  .tl-error { border-left: 3px solid var(--vscode-errorForeground); padding-left: 8px }
  .tl-more { cursor: pointer; color: var(--vscode-textLink-foreground); background: none; border: 0; padding: 0 0 4px; font: inherit }
  .tl-html table.dataframe, .tl-html table { border-collapse: collapse; font-size: var(--vscode-editor-font-size); font-variant-numeric: tabular-nums }
  .tl-html table { border: 0 } .tl-html th, .tl-html td { padding: 3px 10px; border: 0; text-align: right; white-space: nowrap }
  .tl-html thead th { border-bottom: 1px solid var(--vscode-panel-border, #8886) } .tl-html tbody tr:nth-child(even) { background: color-mix(in srgb, currentColor 5%, transparent) }
  .tl-html tbody tr:hover { background: var(--vscode-list-hoverBackground) }
  .tl-html { overflow-x: auto } .tl-html a { color: var(--vscode-textLink-foreground) }
  .tl-image { max-width: 100%; background: white; border-radius: 2px }
  math[display=block] { text-align: left; font-size: 1.15em; margin: 4px 0 }`

export const activate = () => {
  const style = document.createElement('style')
  style.textContent = STYLE
  document.head.append(style)
  return {
    renderOutputItem(item: Item, element: HTMLElement) {
      draw(item, element)
    },
    disposeOutputItem() {}
  }
}

function draw(item: Item, element: HTMLElement): void {
  const mime = item.mime
  if (mime === 'application/vnd.code.notebook.stdout') return text(element, item.text(), 'tl-text tl-scroll')
  if (mime === 'application/vnd.code.notebook.stderr') return text(element, item.text(), 'tl-text tl-scroll tl-stderr')
  if (mime === 'application/vnd.code.notebook.error') return error(element, item.json())
  if (mime === 'text/html' || mime === 'image/svg+xml') return html(element, item.text())
  if (mime === 'text/latex') return safe(element, latexHtml(item.text(), escape))
  if (mime.startsWith('image/')) return picture(element, item)
  if (mime === 'application/javascript') return script(element, item.text())
  if (mime === 'application/json') return text(element, JSON.stringify(item.json(), null, 2), 'tl-text tl-scroll')
  text(element, item.text(), 'tl-text tl-scroll')
}

function text(element: HTMLElement, whole: string, className: string): void {
  /* while output comes, the place a reader has scrolled to stays */
  const old = element.querySelector<HTMLElement>('.tl-scroll')
  const atEnd = !old || old.scrollTop + old.clientHeight >= old.scrollHeight - 8
  const at = old?.scrollTop ?? 0
  const pre = document.createElement('pre')
  pre.className = className
  const from = whole.length > DRAWN ? whole.indexOf('\n', whole.length - DRAWN) + 1 || whole.length - DRAWN : 0
  appendAnsi(pre, whole.slice(from))
  const parts: HTMLElement[] = [pre]
  if (from) {
    const more = document.createElement('button')
    more.className = 'tl-more'
    more.textContent = `Show everything (${(whole.length / 1048576).toFixed(1)} MiB; the end is shown)`
    more.onclick = () => {
      pre.replaceChildren()
      appendAnsi(pre, whole)
      more.remove()
    }
    parts.unshift(more)
  }
  element.replaceChildren(...parts)
  pre.scrollTop = atEnd ? pre.scrollHeight : at
}

function error(element: HTMLElement, e: { name?: string; message?: string; stack?: string }): void {
  text(element, e.stack || `${e.name ?? 'Error'}: ${e.message ?? ''}`, 'tl-text tl-error')
}

function html(element: HTMLElement, source: string): void {
  const box = document.createElement('div')
  box.className = 'tl-html'
  box.innerHTML = source
  element.replaceChildren(box)
  /* scripts of innerHTML do not run by themselves */
  for (const old of box.querySelectorAll('script')) {
    const fresh = document.createElement('script')
    for (const a of old.attributes) fresh.setAttribute(a.name, a.value)
    fresh.textContent = old.textContent
    old.replaceWith(fresh)
  }
}

function safe(element: HTMLElement, source: string): void {
  const box = document.createElement('div')
  box.className = 'tl-html'
  box.innerHTML = source
  element.replaceChildren(box)
}

function picture(element: HTMLElement, item: Item): void {
  const img = document.createElement('img')
  img.className = 'tl-image'
  img.alt = 'Plot'
  const url = URL.createObjectURL(item.blob())
  img.onload = img.onerror = () => URL.revokeObjectURL(url)
  img.src = url
  element.replaceChildren(img)
}

function script(element: HTMLElement, code: string): void {
  const box = document.createElement('div')
  element.replaceChildren(box)
  try {
    new Function('element', code)(box)
  } catch (e) {
    text(element, String(e), 'tl-text tl-error')
  }
}

function escape(s: string): string {
  return s.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!)
}
