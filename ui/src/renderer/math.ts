/* LaTeX as MathML, which browsers draw themselves: no style sheet, no fonts to load. And what else Markdown of notebooks has. */
import katex from 'katex'
import type MarkdownIt from 'markdown-it'

export function mathHtml(tex: string, display: boolean): string {
  return katex.renderToString(tex, { displayMode: display, output: 'mathml', throwOnError: false, trust: false, maxSize: 50, maxExpand: 1000 })
}

/** What IPython and IRkernel send as text/latex: `$…$`, `$$…$$`, `\(…\)`, `\[…\]`, an environment, or bare. */
export function latexHtml(text: string, escape: (text: string) => string): string {
  const parts = /\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\]|\\\(([\s\S]+?)\\\)|\$((?:[^$\\]|\\[\s\S])+?)\$|(\\begin\{(\w+\*?)\}[\s\S]+?\\end\{\6\})/g
  let out = ''
  let from = 0
  for (const m of text.matchAll(parts)) {
    out += escape(text.slice(from, m.index))
    from = m.index + m[0].length
    const display = m[1] ?? m[2] ?? m[5]
    out += display !== undefined ? mathHtml(display, true) : mathHtml(strip(m[3] ?? m[4]), /\\displaystyle/.test(m[0]))
  }
  return from === 0 ? mathHtml(text, true) : out + escape(text.slice(from))
}

const strip = (tex: string) => tex.replace(/^\s*\\displaystyle\s*/, '')

/** `$…$` and `$$…$$` in Markdown, as Jupyter has them. */
export function markdownMath(md: MarkdownIt): void {
  md.inline.ruler.before('escape', 'math', (state, silent) => {
    const source = state.src.slice(state.pos)
    const m = /^\$\$([\s\S]+?)\$\$|^\$(?!\s)((?:[^$\\\n]|\\.)+?)(?<!\s)\$(?!\d)|^\\\\\(([\s\S]+?)\\\\\)|^\\\\\[([\s\S]+?)\\\\\]/.exec(source)
    if (!m) return false
    if (!silent) {
      const token = state.push('math', '', 0)
      token.content = m[1] ?? m[2] ?? m[3] ?? m[4]
      token.meta = { display: m[1] !== undefined || m[4] !== undefined }
    }
    state.pos += m[0].length
    return true
  })
  md.block.ruler.before('paragraph', 'math_block', (state, start, end, silent) => {
    const line = (n: number) => state.src.slice(state.bMarks[n] + state.tShift[n], state.eMarks[n])
    const first = line(start)
    const env = /^\\begin\{(\w+\*?)\}/.exec(first)
    const open = first.startsWith('$$') ? '$$' : env ? env[0] : undefined
    if (!open) return false
    const close = env ? `\\end{${env[1]}}` : '$$'
    let last = start
    while (last < end && !(last === start ? first.slice(open.length) : line(last)).trimEnd().endsWith(close)) last++
    if (last >= end) return false
    if (silent) return true
    const text = Array.from({ length: last - start + 1 }, (_, i) => line(start + i)).join('\n').trim()
    const token = state.push('math', '', 0)
    token.block = true
    token.content = env ? text : text.slice(2, -2)
    token.meta = { display: true }
    state.line = last + 1
    return true
  }, { alt: ['paragraph', 'reference', 'blockquote', 'list'] })
  md.renderer.rules.math = (tokens, at) => mathHtml(tokens[at].content, !!tokens[at].meta.display)
}

/** `![](attachment:name)`: pictures that the cell itself carries, name -> {mime: base64}. */
export function attachmentImages(md: MarkdownIt): void {
  const image = md.renderer.rules.image!
  md.renderer.rules.image = (tokens, at, options, env, self) => {
    const src = tokens[at].attrGet('src') ?? ''
    const attachments = (env as { outputItem?: { metadata?: { attachments?: Record<string, Record<string, string>> } } })?.outputItem?.metadata?.attachments
    if (src.startsWith('attachment:')) {
      const bundle = attachments?.[decodeURIComponent(src.slice('attachment:'.length))]
      const found = bundle && Object.entries(bundle).find(([mime]) => mime.startsWith('image/'))
      if (found) tokens[at].attrSet('src', `data:${found[0]};base64,${String(found[1]).replace(/\s/g, '')}`)
    }
    return image(tokens, at, options, env, self)
  }
  const validate = md.validateLink.bind(md)
  md.validateLink = (url) => url.startsWith('attachment:') || validate(url)
}
