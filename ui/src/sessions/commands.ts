/* The commands of sessions, consoles and notebooks. */
import type * as vscode from 'vscode'
import { statementAt } from '../kernel/statement'
import type { KernelInfo, KernelSpec } from '../net/proto.gen'
import type { SessionViews } from './index'
import { ask } from './input'
import { CMD } from './manifest'
import { languageOf, type Sessions } from './service'

export function registerCommands(views: SessionViews): void {
  const { sessions, consoles, notebooks } = views
  const { api } = sessions
  const command = (id: string, run: (...args: any[]) => unknown) =>
    api.commands.registerCommand(id, async (...args: unknown[]) => {
      try {
        return await run(...args)
      } catch (error) {
        sessions.tell(error)
      }
    })

  const start = async (language?: string) => {
    const spec = await pickKernel(sessions, language)
    if (spec) await consoles.start(spec)
  }
  command(CMD.newConsole, () => start())
  command(CMD.newPython, () => start('python'))
  command(CMD.newR, () => start('r'))
  command(CMD.refreshSpecs, () => sessions.findSpecs())
  command(CMD.output, () => sessions.log.show())
  command(CMD.refresh, () => sessions.refresh())
  command(CMD.select, async () => {
    const info = await pickSession(sessions)
    if (info) await open(views, info)
  })
  command(CMD.focusConsole, async () => {
    const c = sessions.foreground && consoles.bySession(sessions.foreground.id)
    if (c) await consoles.reveal(c)
    else await start()
  })
  command(CMD.newNotebook, async () => {
    const { NotebookData } = api
    const data = new NotebookData([new api.NotebookCellData(api.NotebookCellKind.Code, '', 'python')])
    await api.window.showNotebookDocument(await api.workspace.openNotebookDocument('jupyter-notebook', data))
  })

  const chosen = async (given: unknown): Promise<KernelInfo | undefined> => (given as { info?: KernelInfo } | undefined)?.info ?? pickSession(sessions)
  command(CMD.attach, async (row) => {
    const info = await chosen(row)
    if (info) await open(views, info)
  })
  command(CMD.interrupt, async (row) => {
    const info = await chosen(row)
    if (info) await sessions.interrupt(info.id)
  })
  command(CMD.restart, async (row) => {
    const info = await chosen(row)
    if (info && (await confirm(api, `Restart ${nameOf(info)}?`, 'Its variables are lost, and running code stops.', 'Restart'))) await sessions.restart(info.id)
  })
  command(CMD.end, async (row) => {
    const info = await chosen(row)
    if (info && (await confirm(api, `End ${nameOf(info)}?`, 'Its variables and its output are lost, and running code stops.', 'End Session'))) await sessions.shutdown(info.id)
  })
  command(CMD.rename, async (row) => {
    const info = await chosen(row)
    const name = info && (await api.window.showInputBox({ title: 'Rename Session', value: nameOf(info) }))
    if (!info || !name) return
    await sessions.call('kernel/configure', { id: info.id, name })
    await sessions.refresh()
  })
  command(CMD.answer, async (row) => {
    const info = await chosen(row)
    const s = info && sessions.attached.get(info.id)
    if (s?.input) await ask(sessions, s, s.input)
    else if (info) await open(views, info)
  })

  const here = (context: unknown) => {
    const n = documentOf(api, context)
    return n && (consoles.of(n)?.session ?? notebooks.sessionOf(n))
  }
  command(CMD.interruptHere, async (context) => {
    const s = here(context)
    if (s) await sessions.interrupt(s.id)
  })
  command(CMD.restartHere, async (context) => {
    const s = here(context)
    if (s && (await confirm(api, `Restart ${nameOf(s.info)}?`, 'Its variables are lost, and running code stops.', 'Restart'))) await sessions.restart(s.id)
  })
  command(CMD.restartRunAll, async (context) => {
    const n = documentOf(api, context)
    const s = here(context)
    if (!n || (s && !(await confirm(api, `Restart ${nameOf(s.info)} and run all cells?`, 'Its variables are lost.', 'Restart and Run All')))) return
    if (s) await sessions.restart(s.id)
    await api.commands.executeCommand('notebook.execute', n.uri)
  })

  command(CMD.run, async () => {
    const editor = api.window.activeTextEditor
    if (!editor) return
    const code = toRun(api, editor)
    if (code.trim()) await send(views, languageOf({ language: editor.document.languageId }), code)
  })
  command(CMD.runFile, async (uri) => {
    const document = uri instanceof api.Uri ? await api.workspace.openTextDocument(uri) : api.window.activeTextEditor?.document
    if (document) await send(views, languageOf({ language: document.languageId }), document.getText().trimEnd())
  })
}

/** The selection; else the statement around the cursor, which then moves on. */
function toRun(api: typeof vscode, editor: vscode.TextEditor): string {
  const { document, selection } = editor
  if (!selection.isEmpty) return dedent(document.getText(selection), document.lineAt(selection.start.line).text.slice(0, selection.start.character))
  const lines = document.getText().split(/\r?\n/)
  const span = statementAt(document.languageId, lines, selection.active.line)
  let next = span.next
  if (next <= span.last && span.last + 1 < document.lineCount) next = span.last + 1
  const at = new api.Position(Math.max(next, selection.active.line), 0)
  editor.selection = new api.Selection(at, at)
  editor.revealRange(new api.Range(at, at))
  return lines.slice(span.first, span.last + 1).join('\n')
}

/** A selection from the middle of a block loses the block's indentation. */
function dedent(text: string, before: string): string {
  const lines = (before.trim() ? text : before + text).split(/\r?\n/)
  const indent = Math.min(...lines.filter((l) => l.trim()).map((l) => /^[ \t]*/.exec(l)![0].length))
  return Number.isFinite(indent) && indent > 0 ? lines.map((l) => l.slice(indent)).join('\n') : lines.join('\n')
}

/** To the console of the language that was used last, or a new one. The editor keeps the focus. */
async function send({ sessions, consoles }: SessionViews, language: string, code: string): Promise<void> {
  const latest = sessions.latest(language)
  let c = latest && consoles.bySession(latest.id)
  if (!c) {
    const editor = sessions.api.window.activeTextEditor
    const spec = await pickKernel(sessions, language, true)
    if (!spec) return
    c = await consoles.start(spec)
    if (editor) await sessions.api.window.showTextDocument(editor.document, { viewColumn: editor.viewColumn, selection: editor.selection })
  }
  sessions.show(c.session)
  await consoles.run(c, code)
}

async function open({ sessions, consoles }: SessionViews, info: KernelInfo): Promise<void> {
  const { api } = sessions
  if (!info.notebook) {
    await consoles.show(info)
    return
  }
  const folder = api.workspace.workspaceFolders?.[0].uri
  const uri = (folder ?? api.Uri.from({ scheme: 'vscode-remote', authority: api.env.remoteAuthority ?? '' })).with({ path: info.notebook })
  await api.window.showNotebookDocument(await api.workspace.openNotebookDocument(uri))
}

interface SpecPick extends vscode.QuickPickItem {
  spec?: KernelSpec
}

/** Asks which kernel; `quick`: not where there is only one that can run. One that cannot run yet is told about. */
async function pickKernel(sessions: Sessions, language?: string, quick = false): Promise<KernelSpec | undefined> {
  const { api } = sessions
  const load = async () => (await sessions.findSpecs()).filter((s) => !language || languageOf(s) === language)
  const name = language === 'r' ? 'R' : language ? language[0].toUpperCase() + language.slice(1) : 'kernel'
  if (quick) {
    const known = sessions.specs.length ? sessions.specs.filter((s) => languageOf(s) === language) : await load()
    const ready = known.filter((s) => s.ready)
    const preferred = ready[0]
    if (preferred) return preferred
  }
  const items = load().then((specs): SpecPick[] => {
    const item = (spec: KernelSpec): SpecPick => ({
      spec, label: spec.ready ? spec.displayName : `$(circle-slash) ${spec.displayName}`, description: spec.path, detail: spec.ready ? undefined : `${spec.reason ?? 'not ready'}${spec.install ? ` — ${spec.install}` : ''}`
    })
    const ready = specs.filter((s) => s.ready).map(item)
    const not = specs.filter((s) => !s.ready).map(item)
    return [...ready, ...(not.length ? [{ label: 'Not ready yet', kind: api.QuickPickItemKind.Separator }, ...not] : [])]
  })
  const pick = await api.window.showQuickPick(items, { title: language ? `Start ${name} Console` : 'Start Console', placeHolder: 'Interpreters and kernels of the host', matchOnDescription: true, matchOnDetail: true })
  if (pick?.spec && !pick.spec.ready) {
    const { NotReady } = await import('./service')
    throw new NotReady(pick.spec)
  }
  if (!pick && (await items).length === 0) sessions.tell(new Error(`No ${name} was found on the host. Install it there, then run Interpreter: Discover All Interpreters.`))
  return pick?.spec
}

async function pickSession(sessions: Sessions): Promise<KernelInfo | undefined> {
  const list = await sessions.refresh()
  const pick = await sessions.api.window.showQuickPick(list.map((info) => ({ info, label: nameOf(info), description: info.state, detail: info.notebook || info.cwd })), { title: 'Sessions of this host', placeHolder: list.length ? 'Which session?' : 'No session runs on this host' })
  return pick?.info
}

async function confirm(api: typeof vscode, message: string, detail: string, yes: string): Promise<boolean> {
  return (await api.window.showWarningMessage(message, { modal: true, detail }, yes)) === yes
}

function documentOf(api: typeof vscode, context: unknown): vscode.NotebookDocument | undefined {
  const uri = (context as { notebookEditor?: { notebookUri?: vscode.Uri } } | undefined)?.notebookEditor?.notebookUri ?? (context instanceof api.Uri ? context : undefined)
  return uri ? api.workspace.notebookDocuments.find((n) => n.uri.toString() === uri.toString()) : api.window.activeNotebookEditor?.notebook
}

export function nameOf(info: KernelInfo): string {
  return info.name || info.displayName
}
