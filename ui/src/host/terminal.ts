/* VS Code's terminal backend over the holds of the host.
 *
 * A terminal has two names: the host's id (text, for ever) and a number (this page only, VS Code wants one). The layout is kept
 * in the daemon's folder under the host's ids, so it means the same after a reload. */
import { Emitter, Event } from '@codingame/monaco-vscode-api/vscode/vs/base/common/event'
import { DeferredPromise } from '@codingame/monaco-vscode-api/vscode/vs/base/common/async'
import type { IProcessEnvironment } from '@codingame/monaco-vscode-api/vscode/vs/base/common/platform'
import { URI } from '@codingame/monaco-vscode-api/vscode/vs/base/common/uri'
import {
  ProcessPropertyType, TitleEventSource, type IProcessProperty, type IProcessPropertyMap, type IProcessReadyEvent, type IShellLaunchConfig,
  type ITerminalBackend, type ITerminalChildProcess, type ITerminalLaunchError, type ITerminalProcessOptions, type ITerminalProfile,
  type ITerminalsLayoutInfo, type ITerminalsLayoutInfoById
} from '@codingame/monaco-vscode-api/vscode/vs/platform/terminal/common/terminal'
import type { IProcessDataEvent } from '@codingame/monaco-vscode-api/vscode/vs/platform/terminal/common/terminal'
import type { IProcessDetails } from '@codingame/monaco-vscode-api/vscode/vs/platform/terminal/common/terminalProcess'
import type { HostCalls, TermInfo } from '../net/proto'
import { Signal } from '../net/signal'
import type { Stream } from '../net/socket'
import { TerminalViewer } from './viewer'

const SIGNALS: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGUSR1: 10, SIGUSR2: 12, SIGTERM: 15, SIGCONT: 18, SIGSTOP: 19, SIGTSTP: 20 }
/* what a terminal says by itself: reports of device, position, mode, colour. In a replay these are echoes of old questions */
const REPORT = /^(\x1b\[[?>=]?[\d;]*\$?[cnRy]|\x1b\[[IO]|\x1b[\]P][^\x07\x1b]*(\x07|\x1b\\)?)+$/
const KNOWN_SHELLS = ['bash', 'zsh', 'fish', 'sh', 'dash', 'tcsh', 'ksh']

/** What terminals need of the host. */
export interface TerminalHost {
  call<M extends keyof HostCalls>(method: M, params: HostCalls[M]['params'], repeat?: boolean): Promise<HostCalls[M]['result']>
  openStream(open: object): Promise<Stream>
  readonly onReachable: Signal<void>
  shell(): string
  home(): string
  /** Folder of the window, if it has one. */
  folder(): string | undefined
  /** What a new terminal is given beside its own variables. */
  env(): Promise<Record<string, string>>
  /** Paths of the shells of the host. */
  shells(): Promise<string[]>
}

/** Where the layout is kept. */
export interface LayoutStore {
  load(): Promise<string | undefined>
  save(text: string): Promise<void>
}

/* VS Code in a browser disposes every terminal when the page goes; that must not end them */
let leaving = false
for (const name of ['beforeunload', 'pagehide']) {
  window.addEventListener(name, () => {
    leaving = true
    setTimeout(() => (leaving = false), 2000)
  }, true)
}

class HoldProcess implements ITerminalChildProcess {
  readonly shouldPersist = true
  private readonly data = new Emitter<IProcessDataEvent | string>()
  readonly onProcessData = this.data.event
  private readonly readyEmitter = new Emitter<IProcessReadyEvent>()
  readonly onProcessReady = this.readyEmitter.event
  private readonly replayed = new Emitter<void>()
  readonly onProcessReplayComplete = this.replayed.event
  private readonly property = new Emitter<IProcessProperty>()
  readonly onDidChangeProperty = this.property.event
  private readonly exited = new Emitter<number | undefined>()
  readonly onProcessExit = this.exited.event
  private viewer?: TerminalViewer
  private replaying = false
  private lastWrite: Promise<void> = Promise.resolve()
  private early: Uint8Array[] = []

  constructor(readonly id: number, private readonly owner: TowlineTerminals, private info: TermInfo | undefined,
    private readonly request: HostCalls['term/create']['params'] | undefined) {}

  get hostId(): string | undefined {
    return this.info?.id
  }

  async start(): Promise<ITerminalLaunchError | undefined> {
    const fresh = !this.info
    try {
      /* not repeated: a lost answer would leave a second terminal */
      this.info ??= await this.owner.host.call('term/create', this.request!, false)
      this.owner.started(this)
      this.viewer = new TerminalViewer((open) => this.owner.host.openStream(open), this.info.id)
      this.listen(this.viewer)
      await this.viewer.attach(fresh)
    } catch (error) {
      return { message: error instanceof Error ? error.message : String(error) }
    }
    this.readyEmitter.fire({ pid: this.info.pid, cwd: this.info.cwd, windowsPty: undefined })
    for (const bytes of this.early.splice(0)) this.viewer.input(bytes)
    return undefined
  }

  private listen(viewer: TerminalViewer): void {
    const reachable = this.owner.host.onReachable.on(() => viewer.revive())
    viewer.onReplay.on((a) => {
      this.replaying = true
      this.property.fire({ type: ProcessPropertyType.OverrideDimensions, value: { cols: a.cols, rows: a.rows, forceExactSize: true } })
    })
    viewer.onPiece.on(({ text, replay }) => {
      if (!replay) {
        this.data.fire(text)
        return
      }
      const event: IProcessDataEvent = { data: text, trackCommit: true }
      this.data.fire(event)
      this.lastWrite = Promise.all([this.lastWrite, event.writePromise]).then(() => undefined)
    })
    viewer.onReplayDone.on(() => {
      /* answers to old questions come while the text is drawn, and one turn later */
      void this.lastWrite.then(() => setTimeout(() => {
        this.property.fire({ type: ProcessPropertyType.OverrideDimensions, value: undefined })
        this.replaying = false
        this.replayed.fire()
      }, 0))
    })
    viewer.onGap.on((bytes) => this.data.fire(`\r\n\x1b[0;2m[… ${bytes.toLocaleString('en')} bytes of output were dropped …]\x1b[0m\r\n`))
    viewer.onExit.on((code) => {
      reachable()
      this.owner.over(this)
      void this.lastWrite.then(() => this.exited.fire(code))
    })
  }

  async detach(): Promise<void> {
    this.viewer?.detach()
    this.owner.over(this)
  }

  shutdown(_immediate: boolean): void {
    this.viewer?.detach()
    if (leaving) return
    this.owner.over(this)
    if (this.info) void this.owner.host.call('term/kill', { id: this.info.id }).catch(() => {})
  }

  input(data: string): void {
    if (this.replaying && REPORT.test(data)) return
    this.type(new TextEncoder().encode(data))
  }

  async processBinary(data: string): Promise<void> {
    this.type(Uint8Array.from(data, (c) => c.charCodeAt(0) & 255))
  }

  private type(bytes: Uint8Array): void {
    if (this.viewer) this.viewer.input(bytes)
    else this.early.push(bytes)
  }

  resize(cols: number, rows: number): void {
    if (!this.replaying && cols > 0 && rows > 0) this.viewer?.resize(cols, rows)
  }

  sendSignal(signal: string): void {
    const number = SIGNALS[signal]
    if (number) this.viewer?.signal(number)
  }

  acknowledgeDataEvent(chars: number): void {
    this.viewer?.consumed(chars)
  }

  clearBuffer(): void {}

  async setUnicodeVersion(): Promise<void> {}

  async getInitialCwd(): Promise<string> {
    return this.info?.cwd ?? this.request?.cwd ?? ''
  }

  async getCwd(): Promise<string> {
    return this.getInitialCwd()
  }

  async refreshProperty<T extends ProcessPropertyType>(property: T): Promise<IProcessPropertyMap[T]> {
    const isCwd = property === ProcessPropertyType.Cwd || property === ProcessPropertyType.InitialCwd
    return (isCwd ? await this.getInitialCwd() : undefined) as IProcessPropertyMap[T]
  }

  async updateProperty(): Promise<void> {}
}

interface KeptLayout {
  tabs: { isActive: boolean; active?: string; terminals: { relativeSize: number; id: string }[] }[]
  titles: Record<string, { title: string; source: TitleEventSource }>
}

export class TowlineTerminals implements ITerminalBackend {
  readonly isResponsive = true
  readonly onPtyHostUnresponsive = Event.None
  readonly onPtyHostResponsive = Event.None
  readonly onPtyHostRestart = Event.None
  readonly onDidRequestDetach = Event.None
  private readonly ready = new DeferredPromise<void>()
  private readonly processes = new Map<number, HoldProcess>()
  private readonly numbers = new Map<string, number>()
  private nextNumber = 1
  private layout: KeptLayout = { tabs: [], titles: {} }
  private saving: Promise<void> = Promise.resolve()

  constructor(readonly remoteAuthority: string, readonly host: TerminalHost, private readonly store: LayoutStore, private readonly tag: string) {}

  get whenReady(): Promise<void> {
    return this.ready.p
  }

  setReady(): void {
    void this.ready.complete()
  }

  async createProcess(config: IShellLaunchConfig, cwd: string, cols: number, rows: number, _unicode: '6' | '11', env: IProcessEnvironment,
    options: ITerminalProcessOptions): Promise<ITerminalChildProcess> {
    const args = typeof config.args === 'string' ? [config.args] : config.args
    /* the login shell itself is started as VS Code's users know it from ssh: as a login shell */
    const plain = !config.executable || (config.executable === this.host.shell() && !args?.length)
    const request: HostCalls['term/create']['params'] = {
      cwd: pathOf(config.cwd) ?? (cwd || undefined) ?? options.workspaceFolder?.uri.path ?? this.host.folder() ?? this.host.home(),
      cols: cols || 80, rows: rows || 24, env: clean({ ...(await this.host.env()), ...env, TERM_PROGRAM: 'towline' }), tag: this.tag
    }
    if (config.name) request.name = config.name
    if (!plain) {
      request.shell = config.executable
      request.args = args ?? []
    }
    const process = new HoldProcess(this.nextNumber++, this, undefined, request)
    this.processes.set(process.id, process)
    return process
  }

  async attachToProcess(id: number): Promise<ITerminalChildProcess | undefined> {
    const hostId = this.hostIdOf(id)
    const info = hostId && (await this.list()).find((t) => t.id === hostId)
    if (!info) return undefined
    const process = new HoldProcess(id, this, info, undefined)
    this.processes.set(id, process)
    return process
  }

  attachToRevivedProcess(id: number): Promise<ITerminalChildProcess | undefined> {
    return this.attachToProcess(id)
  }

  /** Terminals of this user on this host that no window shows. */
  async listProcesses(): Promise<IProcessDetails[]> {
    const shown = new Set([...this.processes.values()].map((p) => p.hostId))
    return (await this.list()).filter((t) => !shown.has(t.id) && !t.exit).map((t) => this.details(t))
  }

  async getDefaultSystemShell(): Promise<string> {
    return this.host.shell()
  }

  async getProfiles(): Promise<ITerminalProfile[]> {
    const login = this.host.shell()
    const seen = new Set<string>()
    const out: ITerminalProfile[] = []
    for (const path of [login, ...(await this.host.shells().catch(() => []))]) {
      const name = path.slice(path.lastIndexOf('/') + 1)
      if (seen.has(name) || (path !== login && !KNOWN_SHELLS.includes(name))) continue
      seen.add(name)
      out.push({ profileName: name, path, isDefault: path === login })
    }
    return out
  }

  async setTerminalLayoutInfo(layout?: ITerminalsLayoutInfoById): Promise<void> {
    if (!layout || leaving) return
    const named = (id: number) => this.hostIdOf(id)
    this.layout.tabs = layout.tabs.map((tab) => ({
      isActive: tab.isActive,
      active: tab.activePersistentProcessId === undefined ? undefined : named(tab.activePersistentProcessId),
      terminals: tab.terminals.flatMap((t) => {
        const id = named(t.terminal)
        return id ? [{ relativeSize: t.relativeSize, id }] : []
      })
    })).filter((tab) => tab.terminals.length)
    this.keep()
  }

  async getTerminalLayoutInfo(): Promise<ITerminalsLayoutInfo | undefined> {
    const [text, alive] = await Promise.all([this.store.load().catch(() => undefined), this.list().catch(() => [])])
    if (text) this.layout = parseLayout(text)
    const byId = new Map(alive.filter((t) => !t.exit).map((t) => [t.id, t]))
    const tabs: ITerminalsLayoutInfo['tabs'] = []
    for (const tab of this.layout.tabs) {
      const terminals = tab.terminals.filter((t) => byId.has(t.id))
      if (!terminals.length) continue
      tabs.push({
        isActive: tab.isActive, activePersistentProcessId: tab.active ? this.numberOf(tab.active) : undefined,
        terminals: terminals.map((t) => ({ relativeSize: t.relativeSize, terminal: this.details(byId.get(t.id)!) }))
      })
      for (const t of terminals) byId.delete(t.id)
    }
    /* opened just before the page went, too late for the layout */
    for (const info of byId.values()) {
      if (info.tag !== this.tag || info.viewers > 0) continue
      tabs.push({ isActive: !tabs.length, activePersistentProcessId: this.numberOf(info.id), terminals: [{ relativeSize: 1, terminal: this.details(info) }] })
    }
    return tabs.length ? { tabs, background: null } : undefined
  }

  async updateTitle(id: number, title: string, source: TitleEventSource): Promise<void> {
    const hostId = this.hostIdOf(id)
    /* only a name that the user gave is worth keeping: the others come again */
    if (!hostId || source !== TitleEventSource.Api) return
    this.layout.titles[hostId] = { title, source }
    this.keep()
  }

  async getLatency() { return [] }
  async getEnvironment() { return {} }
  async getShellEnvironment() { return {} }
  async getWslPath(original: string) { return original }
  async getPerformanceMarks() { return [] }
  async updateIcon() {}
  async setNextCommandId() {}
  async reduceConnectionGraceTime() {}
  async persistTerminalState() {}
  async requestDetachInstance() { return undefined }
  async acceptDetachInstanceReply() {}
  async installAutoReply() {}
  async uninstallAllAutoReplies() {}
  restartPtyHost() {}

  started(process: HoldProcess): void {
    if (process.hostId) this.numbers.set(process.hostId, process.id)
  }

  over(process: HoldProcess): void {
    this.processes.delete(process.id)
  }

  private async list(): Promise<TermInfo[]> {
    return (await this.host.call('term/list', {})).terminals
  }

  private hostIdOf(number: number): string | undefined {
    for (const [hostId, n] of this.numbers) if (n === number) return hostId
    return undefined
  }

  private numberOf(hostId: string): number {
    let number = this.numbers.get(hostId)
    if (number === undefined) this.numbers.set(hostId, (number = this.nextNumber++))
    return number
  }

  private details(info: TermInfo): IProcessDetails {
    const kept = this.layout.titles[info.id]
    const shell = info.shell.slice(info.shell.lastIndexOf('/') + 1).replace(/^-/, '')
    return {
      id: this.numberOf(info.id), pid: info.pid, title: kept?.title ?? (info.name || shell), titleSource: kept?.source ?? TitleEventSource.Process,
      cwd: info.cwd, workspaceId: this.tag, workspaceName: '', isOrphan: true, icon: undefined, color: undefined, fixedDimensions: undefined,
      environmentVariableCollections: undefined, hasChildProcesses: false, shellIntegrationNonce: ''
    }
  }

  private keep(): void {
    const text = JSON.stringify(this.layout)
    this.saving = this.saving.then(() => this.store.save(text)).catch(() => {})
  }
}

function parseLayout(text: string): KeptLayout {
  try {
    const layout = JSON.parse(text) as KeptLayout
    if (Array.isArray(layout.tabs)) return { tabs: layout.tabs, titles: layout.titles ?? {} }
  } catch {
    /* a damaged file costs the arrangement, nothing else */
  }
  return { tabs: [], titles: {} }
}

function pathOf(cwd: string | URI | undefined): string | undefined {
  if (!cwd) return undefined
  return typeof cwd === 'string' ? cwd : cwd.path
}

function clean(env: IProcessEnvironment): Record<string, string | null> {
  return Object.fromEntries(Object.entries(env).map(([key, value]) => [key, value ?? null]))
}
