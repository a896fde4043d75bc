/* The sessions of the host as this window has them: what can be started, what runs, which of them are attached here.
 *
 * Owns the attached sessions (one viewer each, however many views share it) and what is remembered of them between two openings of the
 * window. The host's list is the truth; nothing here is needed to find a session again. */
import type * as vscode from 'vscode'
import type { HostConnection } from '../host/connection'
import { KernelSession } from '../kernel/session'
import { TowlineError } from '../net/errors'
import type { KernelInfo, KernelSpec, ShutdownTimeout } from '../net/proto.gen'
import { Signal } from '../net/signal'
import { VIEW } from './manifest'

const SAVE_MS = 300
/* characters of the log */
const LOGGED = 4 * 1024 * 1024
const KEPT_CLOSED = 200
const KEPT_CURSORS = 200

/** A text that is kept for this folder of this host. */
export interface Kept {
  load(): Promise<string>
  save(text: string): Promise<void>
}

interface State {
  /** Consoles by the address of their document. */
  consoles: Record<string, string>
  /** Sessions whose console the user has closed: they come back only when asked for. */
  closed: string[]
  /** Up to where the log is in the notebook's own document. */
  cursors: Record<string, { id: string; cursor: number }>
  /** The panes have been shown once. */
  panes: boolean
  /** What could be started the last time: there at once, until the host has been searched again. */
  specs: KernelSpec[]
}

export interface SessionsParts {
  api: typeof vscode
  connection: HostConnection
  folder: string | undefined
  tag: string
  kept: Kept
  test: boolean
}

export class Sessions {
  readonly api: typeof vscode
  specs: KernelSpec[] = []
  list: KernelInfo[] = []
  readonly attached = new Map<string, KernelSession>()
  /** The list, or the state of an attached one, changed. */
  readonly onChanged = new Signal<void>()
  readonly onSpecs = new Signal<void>()
  readonly onAttached = new Signal<KernelSession>()
  /** The session that Variables and Plots are about. */
  foreground?: KernelSession
  readonly onForeground = new Signal<KernelSession | undefined>()
  readonly log: vscode.OutputChannel
  state: State = { consoles: {}, closed: [], cursors: {}, panes: false, specs: [] }
  private saveTimer?: ReturnType<typeof setTimeout>
  private readonly recent: KernelSession[] = []
  private logged = 0

  constructor(readonly parts: SessionsParts) {
    this.api = parts.api
    this.log = parts.api.window.createOutputChannel('Sessions')
    parts.connection.onPhase.on((phase) => {
      if (phase === 'connected') for (const s of this.attached.values()) s.revive()
    })
    parts.api.workspace.onDidChangeConfiguration((e) => {
      if (!e.affectsConfiguration('kernelSupervisor.shutdownTimeout')) return
      for (const s of this.attached.values()) void this.call('kernel/configure', { id: s.id, shutdownTimeout: this.shutdownTimeout }).catch((error) => this.note(s, error))
    })
  }

  async load(): Promise<void> {
    try {
      this.state = { ...this.state, ...(JSON.parse(await this.parts.kept.load()) as Partial<State>) }
    } catch {
      /* nothing kept yet */
    }
    this.specs = this.state.specs
    if (this.specs.length) this.onSpecs.fire()
  }

  /** Soon; with 0 at once, where the page may be gone in a moment. */
  keep(after = SAVE_MS): void {
    clearTimeout(this.saveTimer)
    this.saveTimer = setTimeout(() => {
      const { consoles, closed, cursors, panes, specs } = this.state
      const state: State = { consoles, specs, panes, closed: closed.slice(-KEPT_CLOSED), cursors: Object.fromEntries(Object.entries(cursors).slice(-KEPT_CURSORS)) }
      void this.parts.kept.save(JSON.stringify(state, null, 1)).catch((error) => console.warn('sessions: the state could not be kept', error))
    }, after)
  }

  get shutdownTimeout(): ShutdownTimeout {
    return this.api.workspace.getConfiguration('kernelSupervisor').get<string>('shutdownTimeout', 'immediately') as ShutdownTimeout
  }

  get call(): HostConnection['call'] {
    return this.parts.connection.call.bind(this.parts.connection)
  }

  /** Looks what can be started on the host, in the environments of `cwd` too. */
  async findSpecs(): Promise<KernelSpec[]> {
    const { specs } = await this.call('kernel/specs', this.parts.folder ? { cwd: this.parts.folder } : {})
    this.specs = this.state.specs = specs
    this.keep()
    this.onSpecs.fire()
    return specs
  }

  async refresh(): Promise<KernelInfo[]> {
    const { kernels } = await this.call('kernel/list', {})
    this.list = kernels
    for (const info of kernels) {
      const s = this.attached.get(info.id)
      if (s) s.info = info
    }
    this.onChanged.fire()
    return kernels
  }

  /** Starts a kernel and attaches at the beginning of its log. Rejects with the kernel's own output where it does not start. */
  async start(spec: KernelSpec, more: { name?: string; cwd?: string; notebook?: string }): Promise<KernelSession> {
    if (!spec.ready) throw new NotReady(spec)
    const info = await this.call('kernel/create', { kernel: spec.id, tag: this.parts.tag, shutdownTimeout: this.shutdownTimeout, ...more }, false)
    this.list = [...this.list.filter((k) => k.id !== info.id), info]
    void this.showPanes()
    return this.attach(info, { from: 0 })
  }

  /** With the first session of a folder its panes are shown, once: who closes them is left alone. */
  private async showPanes(): Promise<void> {
    if (this.state.panes) return
    this.state.panes = true
    this.keep()
    await this.api.commands.executeCommand(`${VIEW.variables}.focus`, { preserveFocus: true })
  }

  /** Attaches to a session, or gives the one that is attached already. */
  async attach(info: KernelInfo, at: { from: number } | { tail: number }, before?: (s: KernelSession) => void): Promise<KernelSession> {
    const known = this.attached.get(info.id)
    if (known) {
      before?.(known)
      return known
    }
    const session = new KernelSession((open) => this.parts.connection.openStream(open), info, this.parts.connection.info?.user ?? 'user')
    this.attached.set(info.id, session)
    session.onState.on(() => this.onChanged.fire())
    session.onEnded.on(() => {
      this.forget(session)
      void this.refresh().catch(() => {})
    })
    session.onOutput.on(({ text }) => this.keepOutput(text))
    before?.(session)
    this.onAttached.fire(session)
    try {
      await session.attach(at)
    } catch (error) {
      this.forget(session)
      throw error
    }
    this.show(session)
    return session
  }

  /** What processes print outside of Jupyter; an output channel has no bound of its own. */
  private keepOutput(text: string): void {
    this.logged += text.length
    if (this.logged > LOGGED) {
      this.log.replace('(what was here before is left out)\n')
      this.logged = text.length
    }
    this.log.append(text)
  }

  /** The user closes its last view here. */
  leave(session: KernelSession): void {
    session.leave()
    this.forget(session)
  }

  private forget(session: KernelSession): void {
    if (this.attached.get(session.id) === session) this.attached.delete(session.id)
    const at = this.recent.indexOf(session)
    if (at >= 0) this.recent.splice(at, 1)
    if (this.foreground === session) this.show(this.recent.at(-1))
    this.onChanged.fire()
  }

  /** Makes it the session that the panes are about, and that code of its language goes to. */
  show(session: KernelSession | undefined): void {
    if (session) {
      const at = this.recent.indexOf(session)
      if (at >= 0) this.recent.splice(at, 1)
      this.recent.push(session)
    }
    if (this.foreground === session) return
    this.foreground = session
    this.onForeground.fire(session)
  }

  /** The one of this language that was used last. */
  latest(language: string): KernelSession | undefined {
    return this.recent.findLast((s) => languageOf(s.info) === language && !s.info.notebook)
  }

  interrupt(id: string): Promise<object> {
    return this.call('kernel/interrupt', { id })
  }

  restart(id: string): Promise<object> {
    return this.call('kernel/restart', { id }, false)
  }

  async shutdown(id: string): Promise<void> {
    await this.call('kernel/shutdown', { id }, false)
    await this.refresh()
  }

  note(session: KernelSession, error: unknown): void {
    this.log.appendLine(`${session.info.displayName} ${session.id}: ${error instanceof Error ? error.message : error}`)
  }

  /** Tells what went wrong, with what to do about it. */
  tell(error: unknown): void {
    if (error instanceof NotReady) void this.tellNotReady(error.spec)
    else void this.tellError(error)
  }

  private async tellError(error: unknown): Promise<void> {
    const text = error instanceof Error ? error.message : String(error)
    const [first, ...rest] = text.split('\n')
    if (error instanceof TowlineError && error.errorName === 'canceled') return
    this.log.appendLine(text)
    const details = 'Show Details'
    if ((await this.api.window.showErrorMessage(first, ...(rest.length ? [details] : []))) === details) this.log.show()
  }

  private async tellNotReady(spec: KernelSpec): Promise<void> {
    const install = 'Install in Terminal'
    const copy = 'Copy Command'
    const choice = await this.api.window.showErrorMessage(
      `${spec.displayName} cannot run code yet: ${spec.reason ?? 'it is not ready'}.${spec.install ? ` To change that: ${spec.install}` : ''}`,
      ...(spec.install ? [install, copy] : [])
    )
    if (choice === copy) await this.api.env.clipboard.writeText(spec.install!)
    if (choice === install) {
      const terminal = this.api.window.createTerminal({ name: 'Install' })
      terminal.show()
      terminal.sendText(spec.install!)
    }
  }
}

/** The interpreter is there, but lacks what a session needs. */
export class NotReady extends Error {
  constructor(readonly spec: KernelSpec) {
    super(spec.reason ?? 'not ready')
  }
}

/** VS Code's name of a kernel's language. */
export function languageOf(k: { language: string }): string {
  const name = k.language.toLowerCase()
  return ({ 'c++': 'cpp', 'c#': 'csharp', 'f#': 'fsharp', bash: 'shellscript' } as Record<string, string>)[name] ?? name
}
