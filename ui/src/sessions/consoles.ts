/* Consoles: VS Code's interactive windows, each the view of one session. What it shows is the session's log: what was run here, from
 * an editor, in another window, or before this page was loaded. Closing one leaves the session; how long it then lives is its policy. */
import type * as vscode from 'vscode'
import type { KernelSession } from '../kernel/session'
import type { KernelInfo, KernelSpec } from '../net/proto.gen'
import { fillHistory } from '../vscode/consoleHistory'
import { toCellOutput } from './convert'
import { Controllers, EXTENSION } from './documents'
import { isLeaving } from './leaving'
import { Binding, type Run } from './run'
import { languageOf, type Sessions } from './service'

const TYPE = 'interactive'
/* of a session's log when a console is opened again */
const TAIL = 24 * 1024 * 1024
const CELLS = 500
const HISTORY = 50

interface Console {
  session: KernelSession
  notebook: vscode.NotebookDocument
  binding: Binding
}

export class Consoles {
  readonly controllers: Controllers
  private readonly open = new Map<string, Console>()
  private readonly opening = new Map<string, Promise<Console>>()

  constructor(private readonly sessions: Sessions) {
    const { api } = sessions
    this.controllers = new Controllers(sessions, TYPE, (spec, cells, notebook) => this.execute(spec, cells, notebook), async (notebook) => {
      const c = this.of(notebook)
      if (c) await sessions.interrupt(c.session.id).catch((error) => sessions.tell(error))
    })
    api.workspace.onDidCloseNotebookDocument((n) => this.closed(n))
    api.window.onDidChangeActiveNotebookEditor((e) => {
      const c = e && this.of(e.notebook)
      if (c) sessions.show(c.session)
    })
  }

  of(notebook: vscode.NotebookDocument): Console | undefined {
    return this.open.get(notebook.uri.toString())
  }

  /** The session behind what is typed into a console. */
  sessionOfInput(uri: vscode.Uri): KernelSession | undefined {
    const n = /(\d+)$/.exec(uri.path)?.[1]
    return [...this.open.values()].find((c) => /Interactive-(\d+)\.interactive$/.exec(c.notebook.uri.path)?.[1] === n)?.session
  }

  bySession(id: string): Console | undefined {
    return [...this.open.values()].find((c) => c.session.id === id)
  }

  get all(): Console[] {
    return [...this.open.values()]
  }

  /** Opens those of this workspace that run, and ends what is left of others. */
  async restore(): Promise<void> {
    const { parts, list, state } = this.sessions
    const mine = list.filter((k) => k.tag === parts.tag && !k.notebook && !state.closed.includes(k.id)).sort((a, b) => a.startedMs - b.startedMs)
    const ids = new Set(mine.map((k) => k.id))
    for (const [uri, id] of Object.entries(state.consoles)) {
      if (ids.has(id)) continue
      delete state.consoles[uri]
      await this.closeTab(uri)
    }
    for (const info of mine) await this.show(info, true).catch((error) => this.sessions.tell(error))
  }

  /** Starts a session and its console. */
  async start(spec: KernelSpec): Promise<Console> {
    const { api } = this.sessions
    const count = this.sessions.list.filter((k) => k.kernel === spec.id && !k.notebook).length
    const name = count ? `${spec.displayName} (${count + 1})` : spec.displayName
    const session = await api.window.withProgress({ location: api.ProgressLocation.Window, title: `Starting ${spec.displayName}` }, () =>
      this.sessions.start(spec, { name, ...(this.sessions.parts.folder ? { cwd: this.sessions.parts.folder } : {}) })
    )
    return this.view(session.info, async () => session)
  }

  /** The console of a session: the one that is open, or a new one with the end of its log. */
  async show(info: KernelInfo, quiet = false): Promise<Console> {
    const known = this.bySession(info.id)
    if (known) {
      if (!quiet) await this.reveal(known)
      return known
    }
    this.sessions.state.closed = this.sessions.state.closed.filter((id) => id !== info.id)
    return this.view(info, (before) => this.sessions.attach(info, info.end - info.first > TAIL ? { tail: TAIL } : { from: info.first }, before), quiet)
  }

  private view(info: KernelInfo, attach: (before: (s: KernelSession) => void) => Promise<KernelSession>, quiet = false): Promise<Console> {
    let opening = this.opening.get(info.id)
    if (!opening) {
      opening = this.make(info, attach, quiet).finally(() => this.opening.delete(info.id))
      this.opening.set(info.id, opening)
    }
    return opening
  }

  private async make(info: KernelInfo, attach: (before: (s: KernelSession) => void) => Promise<KernelSession>, quiet: boolean): Promise<Console> {
    const { api } = this.sessions
    const spec = this.specOf(info)
    const controller = this.controllers.of(spec)
    const known = Object.entries(this.sessions.state.consoles).find(([, id]) => id === info.id)?.[0]
    const opened = (await api.commands.executeCommand('interactive.open', { viewColumn: this.column(), preserveFocus: quiet }, known ? api.Uri.parse(known) : undefined, `${EXTENSION}/${controller.id}`, info.name || info.displayName)) as { notebookUri: vscode.Uri }
    const uri = api.Uri.parse(String(opened.notebookUri.toString()))
    const notebook = api.workspace.notebookDocuments.find((n) => n.uri.toString() === uri.toString()) ?? (await api.workspace.openNotebookDocument(uri))
    let console_: Console | undefined
    const bind = (session: KernelSession) => {
      const binding: Binding = new Binding(this.sessions, session, {
        controller: () => this.controllers.of(spec),
        adopt: (run) => this.append(notebook, spec, run),
        restore: (runs, notes) => this.fill(notebook, spec, session, runs, notes),
        note: (text) => void this.note(notebook, text)
      })
      session.onSnapshot.on((s) => (binding.waiting = [...(s.running ? [s.running] : []), ...s.queue]))
      console_ = { session, notebook, binding }
      this.open.set(uri.toString(), console_)
    }
    const session = await attach(bind)
    if (!console_) bind(session)
    this.sessions.state.consoles[uri.toString()] = info.id
    this.sessions.keep()
    this.sessions.onChanged.fire()
    await console_!.binding.ready
    return console_!
  }

  /** The kernel may not be in the list any more: its sessions go on. */
  private specOf(info: KernelInfo): KernelSpec {
    return this.sessions.specs.find((s) => s.id === info.kernel) ?? {
      id: info.kernel, displayName: info.displayName, language: info.language, source: 'kernelspec', path: '', argv: [], interruptMode: 'signal', ready: true
    }
  }

  /** Beside the code; in the group of the other consoles where there is one. The command counts groups from 0. */
  private column(): number {
    const { api } = this.sessions
    const group = api.window.tabGroups.all.find((g) => g.tabs.some((t) => t.input instanceof api.TabInputInteractiveWindow))
    if (group) return group.viewColumn - 1
    return api.window.tabGroups.all.some((g) => g.tabs.length) ? api.ViewColumn.Beside : api.ViewColumn.Active
  }

  async reveal(c: Console, preserveFocus = false): Promise<void> {
    await this.sessions.api.commands.executeCommand('interactive.open', { viewColumn: this.column(), preserveFocus }, c.notebook.uri, undefined, undefined)
    this.sessions.show(c.session)
  }

  /** Code from elsewhere (an editor): shown as if it had been typed. */
  async run(c: Console, code: string): Promise<void> {
    const spec = this.specOf(c.session.info)
    const [cell] = await this.insert(c.notebook, [this.cellData(spec, code)])
    void fillHistory(c.notebook.uri, [code])
    if (cell) await c.binding.execute([{ cell, name: 'run' }])
  }

  private async execute(spec: KernelSpec, cells: vscode.NotebookCell[], notebook: vscode.NotebookDocument): Promise<void> {
    const { api } = this.sessions
    const c = this.of(notebook)
    if (!c || c.session.state === 'ended') {
      const again = 'Start a New Session'
      if ((await api.window.showInformationMessage('The session of this console has ended.', again)) === again) await this.start(spec).catch((error) => this.sessions.tell(error))
      return
    }
    this.sessions.show(c.session)
    await c.binding.execute(cells.map((cell) => ({ cell, name: 'run' }))).catch((error) => this.sessions.tell(error))
  }

  private cellData(spec: KernelSpec, code: string): vscode.NotebookCellData {
    const { api } = this.sessions
    return new api.NotebookCellData(api.NotebookCellKind.Code, code, languageOf(spec))
  }

  private async insert(notebook: vscode.NotebookDocument, cells: vscode.NotebookCellData[]): Promise<vscode.NotebookCell[]> {
    const { api } = this.sessions
    const at = notebook.cellCount
    const edit = new api.WorkspaceEdit()
    const over = Math.max(0, at + cells.length - CELLS)
    edit.set(notebook.uri, [api.NotebookEdit.insertCells(at, cells), ...(over ? [api.NotebookEdit.deleteCells(new api.NotebookRange(0, over))] : [])])
    await api.workspace.applyEdit(edit)
    return notebook.getCells().slice(-cells.length)
  }

  private async append(notebook: vscode.NotebookDocument, spec: KernelSpec, run: Run): Promise<vscode.NotebookCell> {
    return (await this.insert(notebook, [this.cellData(spec, run.code)]))[0]
  }

  private async note(notebook: vscode.NotebookDocument, text: string): Promise<void> {
    if (notebook.isClosed) return
    await this.insert(notebook, [this.noteData(text)])
  }

  private noteData(text: string): vscode.NotebookCellData {
    const { api } = this.sessions
    return new api.NotebookCellData(api.NotebookCellKind.Markup, `*${text.replace(/[*_\\`<]/g, '\\$&').replace(/\n+/g, ' ')}*`, 'markdown')
  }

  /** All of the log that was fetched, in one edit; what still runs goes on in its cell. */
  private async fill(notebook: vscode.NotebookDocument, spec: KernelSpec, session: KernelSession, runs: Run[], notes: Map<Run, string[]>): Promise<void> {
    const { api } = this.sessions
    const shown = runs.slice(-CELLS)
    const data: vscode.NotebookCellData[] = []
    const live: [number, Run][] = []
    const old = session.info.end - session.info.first > TAIL || session.info.first > 0 || runs.length > CELLS
    if (old) data.push(this.noteData('What was before this is not shown here.'))
    for (const run of shown) {
      const cell = this.cellData(spec, run.code)
      if (run.ended) {
        cell.outputs = run.outputs.list.map((o) => toCellOutput(api, o))
        cell.executionSummary = { executionOrder: run.count, success: run.success, timing: run.startedMs !== undefined && run.endedMs !== undefined ? { startTime: run.startedMs, endTime: run.endedMs } : undefined }
        run.outputs.take()
      } else {
        live.push([data.length, run])
      }
      data.push(cell)
      for (const text of notes.get(run) ?? []) data.push(this.noteData(text))
    }
    if (data.length || notebook.cellCount) {
      const edit = new api.WorkspaceEdit()
      edit.set(notebook.uri, [api.NotebookEdit.replaceCells(new api.NotebookRange(0, notebook.cellCount), data)])
      await api.workspace.applyEdit(edit)
    }
    await this.controllers.choose(notebook.uri, this.controllers.of(spec))
    for (const [index, run] of live) run.show(this.controllers.of(spec), notebook.cellAt(index), true)
    if (notebook.cellCount) {
      const last = new api.NotebookRange(notebook.cellCount - 1, notebook.cellCount)
      for (const e of api.window.visibleNotebookEditors) if (e.notebook === notebook) e.revealRange(last, api.NotebookEditorRevealType.Default)
    }
    void this.history(notebook, session)
  }

  private async history(notebook: vscode.NotebookDocument, session: KernelSession): Promise<void> {
    /* a kernel that computes answers later, or never */
    if (session.busy) return
    const reply = await session.request({ type: 'history_request', content: { output: false, raw: true, hist_access_type: 'tail', n: HISTORY, unique: true } }).catch(() => undefined)
    const lines = (Array.isArray(reply?.history) ? reply.history : []).map((h: unknown[]) => h[2]).filter((l: unknown): l is string => typeof l === 'string' && l.trim() !== '')
    if (lines.length) await fillHistory(notebook.uri, lines)
  }

  private closed(notebook: vscode.NotebookDocument): void {
    const at = notebook.uri.toString()
    const c = this.open.get(at)
    if (!c || isLeaving()) return
    this.open.delete(at)
    c.binding.dispose()
    delete this.sessions.state.consoles[at]
    this.sessions.state.closed.push(c.session.id)
    this.sessions.keep(0)
    if (c.session.state !== 'ended') this.sessions.leave(c.session)
    setTimeout(() => void this.sessions.refresh().catch(() => {}), 500)
  }

  private async closeTab(uri: string): Promise<void> {
    const { api } = this.sessions
    for (const g of api.window.tabGroups.all) for (const t of g.tabs) if (t.input instanceof api.TabInputInteractiveWindow && t.input.uri.toString() === uri) await api.window.tabGroups.close(t, true)
  }
}
