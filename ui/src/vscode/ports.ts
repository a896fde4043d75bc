/* The Ports view over the daemon's forwards (docs/ports.md).
 *
 * The view, its actions, its notifications and the rules of remote.portsAttributes are VS Code's own. Here the two sides are kept
 * the same: what the view opens and closes is done by the daemon; forwards made elsewhere (the command line, another window, the
 * ssh configuration) appear in the view and go when they go; listeners of the host are VS Code's candidates, and only the user's
 * own programs are forwarded without being asked. */
import { IConfigurationService, IContextKeyService, IDialogService, INotificationService, IRemoteExplorerService, ITunnelService, getService } from '@codingame/monaco-vscode-api'
import { Severity } from '@codingame/monaco-vscode-api/vscode/vs/platform/notification/common/notification'
import { Event } from '@codingame/monaco-vscode-api/vscode/vs/base/common/event'
import { URI } from '@codingame/monaco-vscode-api/vscode/vs/base/common/uri'
import { isAllInterfaces, isLocalhost, type RemoteTunnel, type TunnelOptions, type TunnelProtocol } from '@codingame/monaco-vscode-api/vscode/vs/platform/tunnel/common/tunnel'
import {
  AutoTunnelSource, TunnelCloseReason, TunnelSource, UserTunnelSource, forwardedPortsFeaturesEnabled, makeAddress, mapHasAddressLocalhostOrAllInterfaces,
  type CandidatePort, type Tunnel, type TunnelProperties
} from '@codingame/monaco-vscode-api/vscode/vs/workbench/services/remote/common/tunnelModel'
import { isPort, type Forwards } from '../host/forwards'
import { reachedAt, type HostPorts } from '../host/ports'
import { TowlineError } from '../net/errors'
import type { ForwardInfo, PortInfo } from '../net/proto'
import { AutoAction } from './autoAction'
import type { ModelInsides, TowlineRemoteExplorerService, TowlineTunnelService } from './tunnelServices'

/* an address is printed a moment before or after its listener is seen */
const CONFIRM_MS = 4000
const PRIVILEGED = 1024
const NEAR = 'localhost'
const ALL = 'allInterfaces'
const VISIBILITY = [{ id: NEAR, label: 'This Machine', themeIcon: 'lock' }, { id: ALL, label: 'Network', themeIcon: 'globe' }]
const STATIC = new Set<ForwardInfo['source']>(['config', 'default'])

/** A forward as the view knows it. */
interface Shown {
  host: string
  port: number
  local: string
  fixed: boolean
}

/** What a session (kernel) is called, by its id; undefined: unknown. */
export type SessionName = (id: string) => Promise<string | undefined>

/** The names of what listened when a window last looked; undefined: none ever did. */
export interface Seen {
  load(): Set<string> | undefined
  save(names: string[]): void
}

export class PortsView {
  private readonly shown = new Map<string, Shown>()
  /** Ids that this window is ending: a list from before must not bring them back. */
  private readonly ending = new Set<string>()
  /** Why a tunnel is being opened, by remote address; VS Code does not tell its provider. */
  private readonly intents = new Map<string, TunnelProperties>()
  private readonly adopted = new Map<string, ForwardInfo>()
  /** Labels of forwards that were there before the view came back: what the view remembers may be older. */
  private readonly labels = new Map<string, string | undefined>()
  private readonly model: ModelInsides
  /** What listened when VS Code was told last; undefined until both sides are the same. */
  private before?: Set<string>
  private settled = false
  /** What VS Code leaves alone: what listened before the user came. */
  private first?: CandidatePort[]

  private constructor(
    private readonly ports: HostPorts, private readonly forwards: Forwards, readonly explorer: TowlineRemoteExplorerService,
    private readonly tunnels: TowlineTunnelService, private readonly configuration: IConfigurationService,
    private readonly dialogs: IDialogService, private readonly notifications: INotificationService, private readonly seen: Seen,
    private readonly sessionName: SessionName
  ) {
    this.model = explorer.tunnelModel as unknown as ModelInsides
  }

  /** After the workbench is initialised. */
  static async start(ports: HostPorts, forwards: Forwards, seen: Seen, sessionName: SessionName): Promise<PortsView> {
    const [explorer, tunnels, configuration, dialogs, notifications, keys] = await Promise.all([
      getService(IRemoteExplorerService), getService(ITunnelService), getService(IConfigurationService), getService(IDialogService),
      getService(INotificationService), getService(IContextKeyService)
    ])
    const view = new PortsView(ports, forwards, explorer as unknown as TowlineRemoteExplorerService, tunnels as unknown as TowlineTunnelService,
      configuration, dialogs, notifications, seen, sessionName)
    view.rememberIntents()
    view.holdFirstCandidates()
    view.explorer.rule = (host, port, fromOutput) => view.mayForward(host, port, fromOutput)
    const action = new AutoAction(explorer.tunnelModel)
    view.explorer.afterAuto = (tunnel) => void action.forwarded(tunnel)
    tunnels.setTunnelFeatures({ elevation: false, privacyOptions: VISIBILITY, protocol: true })
    tunnels.setTunnelProvider({ forwardPort: (options) => view.open(options) })
    keys.createKey(forwardedPortsFeaturesEnabled.key, true)
    keys.createKey('openPreviewEnabled', true)
    void view.run()
    return view
  }

  /** The daemon is there again. */
  async refresh(): Promise<void> {
    await this.forwards.refresh().catch((error) => console.warn(`list the forwards: ${words(error)}`))
  }

  /** The local end of a port that is forwarded. */
  localOf(host: string, port: number): string | undefined {
    const { forwarded, detected } = this.model
    return (mapHasAddressLocalhostOrAllInterfaces(forwarded, host, port) ?? mapHasAddressLocalhostOrAllInterfaces(detected, host, port))?.localAddress
  }

  /** The forward whose local end is `port`, if there is one. */
  atLocalPort(port: number): ForwardInfo | undefined {
    return this.forwards.list.find((f) => f.localPort === port && f.kind !== 'remote')
  }

  private async run(): Promise<void> {
    const { explorer } = this
    this.ports.onChanged.on((list) => this.notice(list))
    if (this.ports.list) this.notice(this.ports.list)
    explorer.tunnelModel.onForwardPort((entry) => {
      if (entry) {
        this.completeAdopted(entry)
        void this.nameOrigin(entry)
      }
      setTimeout(() => this.keepLabels(), 0)
    })
    explorer.tunnelModel.onPortName((named) => this.tellLabels(named))
    /* the fixed ones first: VS Code brings back the kept ones as soon as these are known */
    await this.refresh()
    explorer.setTunnelInformation({
      features: { elevation: false, privacyOptions: VISIBILITY, protocol: true },
      environmentTunnels: this.forwards.list.filter((f) => isPort(f) && STATIC.has(f.source)).map(describe)
    })
    for (const info of this.forwards.list) if (isPort(info) && STATIC.has(info.source)) this.noteFixed(info)
    await explorer.whenRestored()
    this.forwards.onChanged.on((list) => this.reconcile(list))
    this.reconcile(this.forwards.list)
    /* what is new to VS Code gets its source a moment later */
    while (this.adopted.size) await Event.toPromise(explorer.tunnelModel.onForwardPort)
    this.settled = true
    this.ports.onChanged.on((list) => void this.feed(list))
    if (this.ports.list) await this.feed(this.ports.list)
  }

  /* what the view opens */

  private rememberIntents(): void {
    const doForward = this.model.doForward.bind(this.model)
    this.model.doForward = async (properties, attributes) => {
      const key = makeAddress(properties.remote.host, properties.remote.port)
      this.intents.set(key, properties)
      try {
        return await doForward(properties, attributes)
      } finally {
        this.intents.delete(key)
      }
    }
  }

  private async open({ remoteAddress, localAddressPort, privacy, protocol }: TunnelOptions): Promise<RemoteTunnel | string> {
    const { host, port } = remoteAddress
    const intent = this.intents.get(makeAddress(host, port))
    const source = intent?.source?.source === TunnelSource.Auto ? 'auto' : 'user'
    const localAddress = await this.visibility(port, privacy)
    const attributes = (await this.explorer.tunnelModel.getAttributes([remoteAddress], false))?.get(port)
    const label = attributes?.label ?? intent?.name
    const listener = this.ports.find(host, port)
    const before = new Set(this.forwards.list.map((f) => f.id))
    const spec = {
      kind: 'local' as const, targetHost: near(host), targetPort: port, localPort: localAddressPort, source: source as 'auto' | 'user',
      ...(localAddress ? { localAddress } : {}), ...(label ? { label } : {}), ...(protocol ? { protocol: protocol as 'http' | 'https' } : {}),
      ...(listener?.process ? { process: listener.process } : {})
    }
    try {
      const wantsReserved = attributes?.elevateIfNeeded && (localAddressPort ?? port) < PRIVILEGED
      const info = wantsReserved ? await this.addReserved(spec) : await this.forwards.add(spec)
      if (protocol && info.protocol !== protocol) await this.forwards.update(info.id, { protocol: protocol as 'http' | 'https' })
      this.shown.set(info.id, { host, port, local: localOf(info), fixed: false })
      if (before.has(info.id)) {
        if (!label || !this.model.restoreComplete) this.labels.set(makeAddress(host, port), info.label)
        else if (label !== info.label) await this.forwards.update(info.id, { label })
      }
      return this.tunnel(info, host, protocol)
    } catch (error) {
      return words(error)
    }
  }

  /** A local port that only the administrator may use: says how it could be had, and takes another one. */
  private async addReserved(spec: Parameters<Forwards['add']>[0]): Promise<ForwardInfo> {
    try {
      return await this.forwards.add({ ...spec, elevate: true, requireLocalPort: true })
    } catch (error) {
      if (!(error instanceof TowlineError) || !['local_port_privileged', 'local_port_taken'].includes(error.errorName)) throw error
      this.notifications.notify({ severity: Severity.Info, message: error.message })
      return this.forwards.add(spec)
    }
  }

  /** Which local address; opening a port to the network is asked about where the setting does not say so. */
  private async visibility(port: number, privacy: string | undefined): Promise<string | undefined> {
    const usual = this.configuration.getValue<string>('remote.localPortHost') === ALL ? ALL : undefined
    if (privacy !== ALL || usual === ALL) return privacy === NEAR ? undefined : usual
    const { confirmed } = await this.dialogs.confirm({
      type: 'warning', message: `Open port ${port} to the network?`, primaryButton: 'Open to the Network',
      detail: 'Every machine that can reach this one can then use it, without any login of Towline.'
    })
    return confirmed ? ALL : undefined
  }

  private tunnel(info: ForwardInfo, host: string, protocol: string | undefined): RemoteTunnel {
    return {
      tunnelRemoteHost: host, tunnelRemotePort: info.targetPort, tunnelLocalPort: info.localPort, localAddress: localOf(info),
      privacy: info.localAddress === ALL || isAllInterfaces(info.localAddress) ? ALL : NEAR, protocol: protocol ?? info.protocol ?? 'http',
      dispose: () => this.end(info.id)
    }
  }

  private async end(id: string): Promise<void> {
    this.shown.delete(id)
    this.ending.add(id)
    try {
      await this.forwards.remove(id)
    } catch (error) {
      if (!(error instanceof TowlineError && error.errorName === 'no_forward')) console.warn(`stop a forward: ${words(error)}`)
    } finally {
      this.ending.delete(id)
    }
  }

  /* of the port that was named only: others may still wait for their own labels */
  private tellLabels(named: { host: string; port: number }): void {
    for (const [id, { host, port }] of this.shown) {
      if (port !== named.port || near(host) !== near(named.host)) continue
      const entry = mapHasAddressLocalhostOrAllInterfaces(this.model.forwarded, host, port)
      const info = this.forwards.byId(id)
      if (!entry || !info || this.adopted.has(makeAddress(host, port)) || (entry.name ?? '') === (info.label ?? '')) continue
      info.label = entry.name
      this.forwards.update(id, { label: entry.name ?? '' }).catch((error) => console.warn(`name a forward: ${words(error)}`))
    }
  }

  /* what was made, changed, ended elsewhere */

  private reconcile(list: ForwardInfo[]): void {
    const there = new Map(list.filter(isPort).map((info) => [info.id, info]))
    for (const [id, shown] of this.shown) {
      const info = there.get(id)
      if (info && localOf(info) === shown.local) continue
      this.shown.delete(id)
      if (shown.fixed) this.dropFixed(shown)
      else this.tunnels.drop(shown.host, shown.port)
    }
    for (const info of there.values()) {
      const known = this.shown.get(info.id)
      if (known) this.takeLabel(known, info)
      else if (!this.ending.has(info.id) && !this.isKnown(near(info.targetHost), info.targetPort)) this.adopt(info)
    }
  }

  private isKnown(host: string, port: number): boolean {
    const { forwarded, detected, inProgress } = this.model
    return [forwarded, detected, inProgress].some((map) => mapHasAddressLocalhostOrAllInterfaces(map as Map<string, unknown>, host, port)) || this.tunnels.has(host, port)
  }

  private adopt(info: ForwardInfo): void {
    const host = near(info.targetHost)
    if (STATIC.has(info.source)) {
      this.explorer.tunnelModel.addEnvironmentTunnels([describe(info)])
      this.noteFixed(info)
      return
    }
    this.shown.set(info.id, { host, port: info.targetPort, local: localOf(info), fixed: false })
    this.adopted.set(makeAddress(host, info.targetPort), info)
    this.tunnels.adopt(this.tunnel(info, host, undefined))
  }

  /** VS Code takes a tunnel that appeared for the user's, without a name. */
  private completeAdopted(entry: Tunnel): void {
    const key = makeAddress(entry.remoteHost, entry.remotePort)
    if (this.labels.has(key)) this.rename(entry, this.labels.get(key))
    this.labels.delete(key)
    const info = this.adopted.get(key)
    if (!info) return
    this.adopted.delete(key)
    this.rename(entry, info.label ?? entry.name)
    entry.source = info.source === 'auto' ? AutoTunnelSource
      : info.source === 'user' ? UserTunnelSource
      : { source: TunnelSource.User, description: 'Forwarded by a Command' }
    if (info.protocol) {
      entry.protocol = info.protocol as TunnelProtocol
      entry.localUri = URI.parse(`${info.protocol}://${localOf(info)}`)
    }
  }

  /** What a session serves says so. */
  private async nameOrigin(entry: Tunnel): Promise<void> {
    const session = entry.source.source === TunnelSource.Auto && this.ports.find(near(entry.remoteHost), entry.remotePort)?.kernel
    const name = session && (await this.sessionName(session))
    if (!name) return
    entry.source = { source: TunnelSource.Auto, description: `${AutoTunnelSource.description} from ${name}` }
    this.draw(entry)
  }

  /** The view may have drawn the row already: it draws again when told of a name. */
  private rename(entry: Tunnel, name: string | undefined): void {
    if (entry.name === name) return
    entry.name = name
    this.draw(entry)
  }

  private draw({ remoteHost: host, remotePort: port }: Tunnel): void {
    setTimeout(() => this.model._onPortName.fire({ host, port }), 0)
  }

  /** A program that is found once more (after a reload) comes without a name, and VS Code then takes away the one there was. */
  private keepLabels(): void {
    for (const [id, shown] of this.shown) {
      const info = this.forwards.byId(id)
      if (info?.label) this.takeLabel(shown, info)
    }
  }

  private takeLabel(shown: Shown, info: ForwardInfo): void {
    const entry = mapHasAddressLocalhostOrAllInterfaces(this.model.forwarded, shown.host, shown.port)
    if (entry && (entry.name ?? '') !== (info.label ?? '')) void this.explorer.tunnelModel.name(shown.host, shown.port, info.label ?? '')
  }

  private noteFixed(info: ForwardInfo): void {
    const host = near(info.targetHost)
    this.shown.set(info.id, { host, port: info.targetPort, local: localOf(info), fixed: true })
    const entry = this.model.detected.get(makeAddress(host, info.targetPort))
    if (!entry) return
    entry.name = info.label
    entry.privacy = info.localAddress === ALL || isAllInterfaces(info.localAddress) ? ALL : NEAR
  }

  private dropFixed({ host, port }: Shown): void {
    this.model.detected.delete(makeAddress(host, port))
    this.tunnels.drop(host, port)
    this.model._onClosePort.fire({ host, port })
  }

  /* what listens on the host */

  /** VS Code leaves alone what listened before it began to look, which is seconds after the window is there. Rather: what listened at
   * the first sight of it, but for what one's terminals began to serve while no window was open. */
  private holdFirstCandidates(): void {
    Object.defineProperty(this.model, 'candidatesOrUndefined', {
      configurable: true,
      get: () => {
        /* whoever asks listens from the next turn on: then comes what appeared meanwhile */
        if (this.first && this.settled) setTimeout(() => this.ports.list && void this.feed(this.ports.list), 0)
        return this.first
      }
    })
  }

  private notice(list: PortInfo[]): void {
    if (!this.first) {
      const known = this.seen.load()
      this.first = candidatesOf(list).filter((c) => !known || known.has(nameOf(c)) || !this.ports.find(c.host, c.port)?.owned)
    }
    this.seen.save(candidatesOf(list).map(nameOf))
  }

  private async feed(list: PortInfo[]): Promise<void> {
    const candidates = candidatesOf(list)
    const now = new Set(candidates.map((c) => makeAddress(c.host, c.port)))
    const before = this.before
    this.before = now
    await this.model.setCandidates(candidates)
    /* VS Code only withdraws what it forwarded itself since the page began; a reload or another window is no reason to keep the rest */
    if (before && this.configuration.getValue('remote.autoForwardPortsSource') === 'output') return
    for (const { remoteHost, remotePort, source } of [...this.model.forwarded.values()]) {
      const key = makeAddress(near(remoteHost), remotePort)
      if (source.source !== TunnelSource.Auto || now.has(key) || (before && !before.has(key))) continue
      await this.explorer.close({ host: remoteHost, port: remotePort }, TunnelCloseReason.AutoForwardEnd)
    }
    this.keepLabels()
  }

  private async mayForward(host: string, port: number, fromOutput: boolean): Promise<boolean> {
    if (!fromOutput) return !!this.ports.find(host, port)?.owned
    /* shown once more, by a log or a diff: nothing new */
    if (mapHasAddressLocalhostOrAllInterfaces(this.model.forwarded, host, port)) return false
    const anyones = this.configuration.getValue('remote.autoForwardPortsSource') === 'output'
    return !!(await this.ports.expect(host, port, (p) => anyones || p.owned, CONFIRM_MS))
  }
}

/** Listeners as VS Code's candidates: one for an address, the user's own program first. */
export function candidatesOf(list: PortInfo[]): CandidatePort[] {
  const out = new Map<string, CandidatePort>()
  for (const p of [...list].sort((a, b) => Number(b.owned) - Number(a.owned))) {
    const host = reachedAt(p)
    const key = makeAddress(host, p.port)
    if (!out.has(key)) out.set(key, { host, port: p.port, detail: p.command || p.process, pid: p.pid })
  }
  return [...out.values()]
}

/** One listener, told apart from the next program on the same port. */
function nameOf({ host, port, pid }: CandidatePort): string {
  return `${makeAddress(host, port)}/${pid ?? ''}`
}

function near(host: string): string {
  return isLocalhost(host) || isAllInterfaces(host) ? NEAR : host
}

/** The local end as a browser wants it. */
function localOf(info: ForwardInfo): string {
  const a = info.localAddress
  const host = !a || a === ALL || isLocalhost(a) || isAllInterfaces(a) ? NEAR : a.includes(':') ? `[${a}]` : a
  return `${host}:${info.localPort}`
}

function describe(info: ForwardInfo) {
  return { remoteAddress: { host: near(info.targetHost), port: info.targetPort }, localAddress: localOf(info) }
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
