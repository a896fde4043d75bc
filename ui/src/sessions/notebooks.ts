/* Notebook files: the serializer, a kernel for each document, executions that are found again after a reload.
 *
 * A request's id carries the cell's id, so that whoever opens the file later knows which cell the log speaks about. Up to which offset
 * of the log the document has everything is kept; from there on outputs are made anew. */
import type * as vscode from 'vscode'
import { readNotebook, writeNotebook, newCellId } from '../kernel/ipynb'
import type { KernelSession } from '../kernel/session'
import type { KernelInfo, KernelSpec } from '../net/proto.gen'
import { giveKernel } from '../vscode/kernelChoice'
import { fromData, toData } from './convert'
import { Controllers, EXTENSION } from './documents'
import { Binding, type Run } from './run'
import { isLeaving } from './leaving'
import { languageOf, type Sessions } from './service'

type Json = Record<string, any>
const TYPE = 'jupyter-notebook'
const CELL = 'cell.'
/* VS Code writes its backup a second after a change */
const BACKED_UP_MS = 4000

export class Notebooks {
  readonly controllers: Controllers
  private readonly bindings = new Map<string, Binding>()
  private readonly opening = new Map<string, Promise<Binding>>()

  constructor(private readonly sessions: Sessions) {
    const { api } = sessions
    const serializer: vscode.NotebookSerializer = {
      deserializeNotebook: (bytes) => toData(api, readNotebook(bytes)),
      serializeNotebook: (data) => writeNotebook(fromData(api, data))
    }
    for (const type of [TYPE, 'interactive']) api.workspace.registerNotebookSerializer(type, serializer, { transientOutputs: false, transientDocumentMetadata: {} })
    this.controllers = new Controllers(sessions, TYPE, (spec, cells, notebook) => this.execute(spec, cells, notebook), (notebook) => this.interrupt(notebook))
    api.workspace.onDidOpenNotebookDocument((n) => this.opened(n))
    api.workspace.onDidCloseNotebookDocument((n) => this.closed(n))
    api.workspace.onDidChangeNotebookDocument((e) => void this.giveIds(e))
    api.window.onDidChangeActiveNotebookEditor((e) => {
      const session = e && this.sessionOf(e.notebook)
      if (session) sessions.show(session)
    })
    sessions.onSpecs.on(() => api.workspace.notebookDocuments.forEach((n) => this.prefer(n)))
  }

  /** The list of sessions is there: attaches to those of documents that are open. */
  start(): void {
    for (const n of this.sessions.api.workspace.notebookDocuments) this.opened(n)
  }

  sessionOf(notebook: vscode.NotebookDocument): KernelSession | undefined {
    return this.bindings.get(notebook.uri.toString())?.session
  }

  private opened(notebook: vscode.NotebookDocument): void {
    if (notebook.notebookType !== TYPE) return
    this.prefer(notebook)
    if (this.running(notebook)) void this.find(notebook).catch((error) => this.sessions.tell(error))
  }

  /** The list may be old: a session that was left may have ended. */
  private async find(notebook: vscode.NotebookDocument): Promise<void> {
    await this.sessions.refresh()
    const info = this.running(notebook)
    if (info && !notebook.isClosed && !this.bindings.has(notebook.uri.toString())) await this.reattach(notebook, info)
  }

  private closed(notebook: vscode.NotebookDocument): void {
    const at = notebook.uri.toString()
    const binding = this.bindings.get(at)
    if (!binding || isLeaving()) return
    this.bindings.delete(at)
    binding.dispose()
    this.sessions.leave(binding.session)
  }

  private running(notebook: vscode.NotebookDocument): KernelInfo | undefined {
    return this.sessions.list.find((k) => k.notebook === notebook.uri.path && k.notebook !== '' && k.state !== 'dead')
  }

  /** The kernel that the file names, then the first of its language. */
  private prefer(notebook: vscode.NotebookDocument): void {
    if (notebook.notebookType !== TYPE) return
    const { api } = this.sessions
    const metadata = ((notebook.metadata.file as Json)?.metadata ?? {}) as Json
    const running = this.running(notebook)
    const language = languageOf({ language: String(metadata.kernelspec?.language ?? metadata.language_info?.name ?? 'python') })
    const ready = this.controllers.all.filter((c) => c.spec.ready)
    const best = ready.find((c) => c.spec.id === running?.kernel) ?? ready.find((c) => c.spec.id === metadata.kernelspec?.name) ?? ready.find((c) => languageOf(c.spec) === language)
    for (const c of this.controllers.all) c.controller.updateNotebookAffinity(notebook, c === best ? api.NotebookControllerAffinity.Preferred : api.NotebookControllerAffinity.Default)
    if (best) void giveKernel(notebook.uri, TYPE, `${EXTENSION}/${best.controller.id}`, false)
  }

  private async execute(spec: KernelSpec, cells: vscode.NotebookCell[], notebook: vscode.NotebookDocument): Promise<void> {
    if (!cells.length) return
    try {
      const binding = await this.bind(spec, notebook)
      this.sessions.show(binding.session)
      await this.nameKernel(spec, notebook, binding.session)
      this.advance(notebook, binding)
      await binding.execute(cells.map((cell) => ({ cell, name: CELL + nameOf(cell) })))
      this.settle(notebook, binding)
    } catch (error) {
      this.sessions.tell(error)
    }
  }

  private bind(spec: KernelSpec, notebook: vscode.NotebookDocument): Promise<Binding> {
    const at = notebook.uri.toString()
    const known = this.bindings.get(at)
    if (known && known.session.state !== 'ended' && known.session.info.kernel === spec.id) return Promise.resolve(known)
    let opening = this.opening.get(at)
    if (!opening) {
      opening = this.open(spec, notebook, known).finally(() => this.opening.delete(at))
      this.opening.set(at, opening)
    }
    return opening
  }

  /** A new session; the one with another kernel is left. */
  private async open(spec: KernelSpec, notebook: vscode.NotebookDocument, old: Binding | undefined): Promise<Binding> {
    if (old) {
      this.bindings.delete(notebook.uri.toString())
      old.dispose()
      if (old.session.state !== 'ended') void this.sessions.shutdown(old.session.id).catch(() => {})
    }
    const { api } = this.sessions
    const path = notebook.isUntitled ? '' : notebook.uri.path
    const found = path ? (await this.sessions.refresh()).find((k) => k.notebook === path && k.kernel === spec.id && k.state !== 'dead') : undefined
    if (found) return this.attach(notebook, found)
    const session = await api.window.withProgress({ location: api.ProgressLocation.Window, title: `Starting ${spec.displayName}` }, () =>
      this.sessions.start(spec, { name: notebook.uri.path.split('/').at(-1) ?? 'notebook', cwd: folderOf(notebook) ?? this.sessions.parts.folder, ...(path ? { notebook: path } : {}) })
    )
    return this.bound(notebook, session)
  }

  private async reattach(notebook: vscode.NotebookDocument, info: KernelInfo): Promise<void> {
    const at = notebook.uri.toString()
    if (this.opening.has(at)) return
    const work = this.attach(notebook, info).finally(() => this.opening.delete(at))
    this.opening.set(at, work)
    await work
  }

  private async attach(notebook: vscode.NotebookDocument, info: KernelInfo): Promise<Binding> {
    const kept = this.sessions.state.cursors[notebook.uri.path]
    const from = kept?.id === info.id ? kept.cursor : info.first
    let binding!: Binding
    await this.sessions.attach(info, { from }, (session) => (binding = this.bound(notebook, session)))
    return binding
  }

  private bound(notebook: vscode.NotebookDocument, session: KernelSession): Binding {
    const find = (run: Run) => this.cellOf(notebook, run)
    const binding: Binding = new Binding(this.sessions, session, {
      controller: () => this.controllers.byId(session.info.kernel)!,
      adopt: async (run) => find(run),
      restore: async (runs) => {
        /* a cell shows its newest execution */
        const newest = new Map<vscode.NotebookCell, Run>()
        for (const run of runs) {
          const cell = find(run)
          if (cell) newest.set(cell, run)
        }
        if (!newest.size) return
        await this.choose(notebook, session)
        for (const [cell, run] of newest) run.show(this.controllers.byId(session.info.kernel)!, cell, true)
        if (!binding.unfinished.length) this.settle(notebook, binding)
      },
      note: (text) => this.sessions.log.appendLine(`${notebook.uri.path}: ${text}`)
    })
    session.onSnapshot.on((s) => (binding.waiting = [...(s.running ? [s.running] : []), ...s.queue]))
    this.bindings.set(notebook.uri.toString(), binding)
    return binding
  }

  private cellOf(notebook: vscode.NotebookDocument, run: Run): vscode.NotebookCell | undefined {
    if (!run.id.startsWith(CELL)) return undefined
    const name = run.id.slice(CELL.length, run.id.lastIndexOf('.'))
    return notebook.getCells().find((c) => nameOf(c) === name)
  }

  /** The document must have the kernel before its cells can show what runs. */
  private async choose(notebook: vscode.NotebookDocument, session: KernelSession): Promise<void> {
    const controller = this.controllers.byId(session.info.kernel)
    if (controller) await this.controllers.choose(notebook.uri, controller)
  }

  /** Everything before the first unfinished execution is in the document. */
  private advance(notebook: vscode.NotebookDocument, binding: Binding): void {
    const open = binding.unfinished
    const cursor = open.length ? Math.min(...open.map((r) => r.from)) : binding.session.cursor
    this.sessions.state.cursors[notebook.uri.path] = { id: binding.session.id, cursor }
    this.sessions.keep()
  }

  private settle(notebook: vscode.NotebookDocument, binding: Binding): void {
    setTimeout(() => this.bindings.get(notebook.uri.toString()) === binding && this.advance(notebook, binding), BACKED_UP_MS)
  }

  /** The file says which kernel it was run with, as Jupyter writes it. */
  private async nameKernel(spec: KernelSpec, notebook: vscode.NotebookDocument, session: KernelSession): Promise<void> {
    const { api } = this.sessions
    const file = (notebook.metadata.file ?? { nbformat: 4, nbformat_minor: 5, metadata: {} }) as Json
    const info = session.kernelInfo?.language_info as Json | undefined
    const name = spec.source === 'kernelspec' ? spec.id : (spec.path.split('/').at(-1) ?? spec.id)
    const kernelspec = { display_name: spec.displayName, language: spec.language, name }
    const old = (file.metadata ?? {}) as Json
    if (old.kernelspec?.name === name && old.language_info?.name === (info?.name ?? old.language_info?.name)) return
    const edit = new api.WorkspaceEdit()
    edit.set(notebook.uri, [api.NotebookEdit.updateNotebookMetadata({ ...notebook.metadata, file: { ...file, metadata: { ...old, kernelspec: { ...(old.kernelspec?.name === name ? old.kernelspec : {}), ...kernelspec }, ...(info ? { language_info: info } : {}) } } })])
    await api.workspace.applyEdit(edit)
  }

  /** New cells get an id of their own; copies a new one. */
  private async giveIds(e: vscode.NotebookDocumentChangeEvent): Promise<void> {
    const { api } = this.sessions
    const added = new Set(e.contentChanges.flatMap((c) => c.addedCells))
    if (e.notebook.notebookType !== TYPE || !added.size) return
    const minor = Number((e.notebook.metadata.file as Json)?.nbformat_minor ?? 5)
    if (minor < 5) return
    const taken = new Set(e.notebook.getCells().filter((c) => !added.has(c)).map((c) => c.metadata.id as string | undefined))
    const edits: vscode.NotebookEdit[] = []
    for (const cell of added) {
      const id = cell.metadata.id as string | undefined
      if (cell.index >= 0 && (id === undefined || taken.has(id))) edits.push(api.NotebookEdit.updateCellMetadata(cell.index, { metadata: {}, ...cell.metadata, id: newCellId() }))
      else taken.add(id)
    }
    if (!edits.length) return
    const edit = new api.WorkspaceEdit()
    edit.set(e.notebook.uri, edits)
    await api.workspace.applyEdit(edit)
  }

  private async interrupt(notebook: vscode.NotebookDocument): Promise<void> {
    const session = this.sessionOf(notebook)
    if (session) await this.sessions.interrupt(session.id).catch((error) => this.sessions.tell(error))
  }
}

/** What an execution's id says about its cell. */
function nameOf(cell: vscode.NotebookCell): string {
  const id = cell.metadata.id as string | undefined
  return id && /^[A-Za-z0-9_-]{1,64}$/.test(id) ? id : `at-${cell.index}`
}

function folderOf(notebook: vscode.NotebookDocument): string | undefined {
  return notebook.isUntitled || notebook.uri.scheme !== 'vscode-remote' ? undefined : notebook.uri.path.slice(0, notebook.uri.path.lastIndexOf('/')) || '/'
}
