/* Terminal colours in text as elements. Everything else of a terminal (cursor, screen) is left out. */
const NAMES = ['Black', 'Red', 'Green', 'Yellow', 'Blue', 'Magenta', 'Cyan', 'White']
const ESCAPES = /\x1b\[([0-9;:]*)m|\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]/g
const LINKS = /https?:\/\/[^\s<>"')\]]+/g

interface Style {
  fg?: string
  bg?: string
  bold?: boolean
  dim?: boolean
  italic?: boolean
  underline?: boolean
  inverse?: boolean
}

/** Appends `text` to `to`. */
export function appendAnsi(to: HTMLElement, text: string): void {
  let style: Style = {}
  let from = 0
  for (const m of text.matchAll(ESCAPES)) {
    append(to, text.slice(from, m.index), style)
    from = m.index + m[0].length
    if (m[1] !== undefined) style = apply(style, m[1])
  }
  append(to, text.slice(from), style)
}

function append(to: HTMLElement, text: string, style: Style): void {
  if (!text) return
  let into = to
  if (Object.keys(style).length) {
    into = document.createElement('span')
    const [fg, bg] = style.inverse ? [style.bg ?? 'var(--vscode-editor-background)', style.fg ?? 'var(--vscode-editor-foreground)'] : [style.fg, style.bg]
    if (fg) into.style.color = fg
    if (bg) into.style.backgroundColor = bg
    if (style.bold) into.style.fontWeight = 'bold'
    if (style.dim) into.style.opacity = '0.7'
    if (style.italic) into.style.fontStyle = 'italic'
    if (style.underline) into.style.textDecoration = 'underline'
    to.append(into)
  }
  let from = 0
  for (const m of text.matchAll(LINKS)) {
    into.append(text.slice(from, m.index))
    const a = document.createElement('a')
    a.href = a.textContent = m[0]
    into.append(a)
    from = m.index + m[0].length
  }
  into.append(text.slice(from))
}

function apply(style: Style, codes: string): Style {
  let out = { ...style }
  const n = (codes || '0').split(/[;:]/).map(Number)
  for (let i = 0; i < n.length; i++) {
    const c = n[i]
    if (c === 0) out = {}
    else if (c === 1) out.bold = true
    else if (c === 2) out.dim = true
    else if (c === 3) out.italic = true
    else if (c === 4) out.underline = true
    else if (c === 7) out.inverse = true
    else if (c === 22) delete out.bold, delete out.dim
    else if (c === 23) delete out.italic
    else if (c === 24) delete out.underline
    else if (c === 27) delete out.inverse
    else if (c === 39) delete out.fg
    else if (c === 49) delete out.bg
    else if (c === 38 || c === 48) {
      const key = c === 38 ? 'fg' : 'bg'
      if (n[i + 1] === 5) out[key] = indexed(n[i + 2]), (i += 2)
      else if (n[i + 1] === 2) out[key] = `rgb(${n[i + 2]},${n[i + 3]},${n[i + 4]})`, (i += 4)
    } else {
      const base = c % 10
      if (base > 7) continue
      if (c >= 30 && c < 38) out.fg = named(base, false)
      else if (c >= 40 && c < 48) out.bg = named(base, false)
      else if (c >= 90 && c < 98) out.fg = named(base, true)
      else if (c >= 100 && c < 108) out.bg = named(base, true)
    }
  }
  return out
}

const named = (n: number, bright: boolean) => `var(--vscode-terminal-ansi${bright ? 'Bright' : ''}${NAMES[n]})`

function indexed(n: number): string {
  if (n < 16) return named(n % 8, n > 7)
  if (n >= 232) {
    const grey = 8 + 10 * (n - 232)
    return `rgb(${grey},${grey},${grey})`
  }
  const level = (v: number) => (v ? 55 + 40 * v : 0)
  return `rgb(${level(Math.floor((n - 16) / 36))},${level(Math.floor((n - 16) / 6) % 6)},${level((n - 16) % 6)})`
}
