/* Which lines a person means who runs "this line": the whole statement around it, where it has more than one. Text in, lines out.
 *
 * Python: a block from its first line of column 0 to its last, brackets and triple quotes closed. R: brackets and quotes closed, and
 * no operator left open at a line's end. Where a text cannot be understood, it is one line. */
export interface Span {
  first: number
  last: number
  /** Where the cursor goes then: the next line with code, or the last line. */
  next: number
}

const MAX_LINES = 5000

export function statementAt(language: string, lines: string[], line: number): Span {
  let at = line
  while (at < lines.length - 1 && isBlank(lines[at])) at++
  const spans = language === 'r' ? rSpans(lines) : pythonSpans(lines)
  const found = lines.length <= MAX_LINES ? spans.find((s) => s.first <= at && at <= s.last) : undefined
  const [first, last] = found ? [found.first, found.last] : [at, at]
  let next = last + 1
  while (next < lines.length && isBlank(lines[next])) next++
  return { first, last, next: Math.min(next, lines.length - 1) }
}

const isBlank = (l: string) => /^\s*(#.*)?$/.test(l)

interface Scan {
  depth: number
  quote: string
}

/** Follows brackets and strings through one line. */
function scan(s: Scan, line: string, triple: boolean): { code: string } {
  let code = ''
  for (let i = 0; i < line.length; i++) {
    const c = line[i]
    if (s.quote) {
      if (c === '\\') i++
      else if (line.startsWith(s.quote, i)) {
        i += s.quote.length - 1
        s.quote = ''
      }
      continue
    }
    if (c === '#') break
    if (c === '"' || c === "'" || (!triple && c === '`')) {
      s.quote = triple && line.startsWith(c.repeat(3), i) ? c.repeat(3) : c
      i += s.quote.length - 1
      code += '""'
      continue
    }
    if ('([{'.includes(c)) s.depth++
    else if (')]}'.includes(c)) s.depth = Math.max(0, s.depth - 1)
    code += c
  }
  /* a string of one quote ends with its line in Python */
  if (triple && s.quote.length === 1) s.quote = ''
  return { code: code.trimEnd() }
}

function pythonSpans(lines: string[]): { first: number; last: number }[] {
  const out: { first: number; last: number }[] = []
  const s: Scan = { depth: 0, quote: '' }
  let open = false
  let continued = false
  for (let i = 0; i < lines.length; i++) {
    const inside = s.quote !== '' || s.depth > 0 || continued
    const { code } = scan(s, lines[i], true)
    continued = code.endsWith('\\')
    if (inside) {
      out[out.length - 1].last = i
      continue
    }
    if (isBlank(lines[i])) continue
    const indented = /^\s/.test(lines[i])
    const joins: boolean = indented || (open && /^(elif|else|except|finally|case)\b/.test(code)) || (out.length > 0 && /^\s*@/.test(lines[out.at(-1)!.last]) && out.at(-1)!.last < i)
    if (joins && out.length) out.at(-1)!.last = i
    else out.push({ first: i, last: i })
    open = open && joins ? true : code.endsWith(':')
  }
  return out
}

const R_OPEN = /(\|>|%[^%]*%|<-|<<-|->|->>|[-+*/^&|~,=<>!?:]|\belse|\bfunction\s*\([^()]*\)|\brepeat)$/

function rSpans(lines: string[]): { first: number; last: number }[] {
  const out: { first: number; last: number }[] = []
  const s: Scan = { depth: 0, quote: '' }
  let continued = false
  for (let i = 0; i < lines.length; i++) {
    const inside = s.quote !== '' || s.depth > 0 || continued
    const { code } = scan(s, lines[i], false)
    if (isBlank(lines[i]) && !inside) continue
    if (inside) out[out.length - 1].last = i
    else out.push({ first: i, last: i })
    if (!isBlank(lines[i])) continued = R_OPEN.test(code) || /^\s*(if|for|while)\s*\(.*\)$/.test(code)
  }
  return out
}
