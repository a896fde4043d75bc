/* Completion and hover from the kernel: in consoles, in cells of notebooks, and in files whose language has a console. A kernel that
 * computes is not asked: it would answer when it is done. */
import type * as vscode from 'vscode'
import type { KernelSession } from '../kernel/session'
import { languageOf } from './service'
import type { SessionViews } from './index'

const LANGUAGES = ['python', 'r', 'julia']
const ANSWER_MS = 3000
const ITEMS = 1000

export function registerLanguage({ sessions, consoles, notebooks }: SessionViews): void {
  const { api } = sessions
  const sessionFor = (d: vscode.TextDocument): KernelSession | undefined => {
    let found: KernelSession | undefined
    if (d.uri.scheme === 'vscode-interactive-input') found = consoles.sessionOfInput(d.uri)
    else if (d.uri.scheme === 'vscode-notebook-cell') {
      const n = api.workspace.notebookDocuments.find((x) => x.getCells().some((c) => c.document === d))
      found = n && (consoles.of(n)?.session ?? notebooks.sessionOf(n))
    } else found = sessions.latest(languageOf({ language: d.languageId }))
    return found && languageOf(found.info) === languageOf({ language: d.languageId }) && found.state === 'idle' ? found : undefined
  }
  const ask = (session: KernelSession, type: string, content: object, token: vscode.CancellationToken) => Promise.race([
    session.request({ type, content: content as Record<string, unknown> }).catch(() => undefined),
    new Promise<undefined>((r) => {
      setTimeout(() => r(undefined), ANSWER_MS)
      token.onCancellationRequested(() => r(undefined))
    })
  ])

  api.languages.registerCompletionItemProvider(LANGUAGES.map((language) => ({ language })), {
    async provideCompletionItems(document, position, token) {
      const session = sessionFor(document)
      if (!session) return undefined
      const code = document.getText()
      const at = document.offsetAt(position)
      const reply = await ask(session, 'complete_request', { code, cursor_pos: codePoints(code, at) }, token)
      if (!reply || reply.status !== 'ok' || !Array.isArray(reply.matches)) return undefined
      const start = unitsOf(code, Number(reply.cursor_start))
      const end = unitsOf(code, Number(reply.cursor_end))
      const range = new api.Range(document.positionAt(start), document.positionAt(Math.max(start, Math.min(end, Math.max(at, end)))))
      const types = new Map<string, string>((Array.isArray(reply.metadata?._jupyter_types_experimental) ? reply.metadata._jupyter_types_experimental : []).map((t: { text?: string; type?: string }) => [t.text ?? '', t.type ?? '']))
      const typed = code.slice(start, at)
      return reply.matches.slice(0, ITEMS).map((match: string, i: number) => {
        const item = new api.CompletionItem(match, kindOf(api, types.get(match) ?? '', match))
        item.range = range
        item.filterText = match.startsWith(typed) ? match : typed + match
        item.sortText = String(i).padStart(5, '0')
        return item
      })
    }
  }, '.', '$', '@', ':', '%', '"', "'", '/')

  api.languages.registerHoverProvider(LANGUAGES.map((language) => ({ language })), {
    async provideHover(document, position, token) {
      const session = sessionFor(document)
      const range = document.getWordRangeAtPosition(position, /[A-Za-z_.\u0080-\uffff][\w.$\u0080-\uffff]*/)
      if (!session || !range) return undefined
      /* `a.b.c` up to the part that is pointed at; alone, or the kernel would tell about the function it is an argument of */
      const whole = document.getText(range)
      const at = document.offsetAt(position) - document.offsetAt(range.start)
      const end = /[.$]/.exec(whole.slice(at))
      const code = end ? whole.slice(0, at + end.index) : whole
      const reply = await ask(session, 'inspect_request', { code, cursor_pos: codePoints(code, code.length), detail_level: 0 }, token)
      const data = reply?.status === 'ok' && reply.found ? (reply.data as Record<string, string>) : undefined
      if (!data) return undefined
      const text = plain(data['text/plain'] ?? '')
      const md = data['text/markdown'] && !text ? new api.MarkdownString(data['text/markdown']) : new api.MarkdownString().appendCodeblock(text.split('\n').slice(0, 60).join('\n'), 'text')
      return new api.Hover(md, range)
    }
  })
}

/* Jupyter counts characters, VS Code UTF-16 units */
const codePoints = (text: string, units: number) => [...text.slice(0, units)].length
const unitsOf = (text: string, points: number) => [...text].slice(0, points).join('').length
const plain = (text: string) => text.replace(/\x1b\[[0-9;]*m/g, '').replace(/_\x08(.)/g, '$1').replace(/.\x08/g, '')

function kindOf(api: typeof vscode, type: string, match: string): vscode.CompletionItemKind {
  const K = api.CompletionItemKind
  const known = { function: K.Function, class: K.Class, instance: K.Variable, module: K.Module, keyword: K.Keyword, statement: K.Variable, param: K.TypeParameter, path: K.File, magic: K.Event, property: K.Property }[type]
  return known ?? (match.startsWith('%') ? K.Event : match.endsWith('=') ? K.Property : match.endsWith('(') ? K.Function : K.Variable)
}
