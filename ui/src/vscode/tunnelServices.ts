/* The two services VS Code's Ports view stands on, with a door for the daemon's forwards: a tunnel service that can be told of
 * tunnels made elsewhere, and a remote explorer service that asks before it forwards something by itself.
 *
 * The shapes are VS Code's internal ones (AbstractTunnelService, RemoteExplorerService, TunnelModel, 1.128). */
import { Event, type Emitter } from '@codingame/monaco-vscode-api/vscode/vs/base/common/event'
import { AbstractTunnelService, isTunnelProvider, type ITunnelProvider, type RemoteTunnel } from '@codingame/monaco-vscode-api/vscode/vs/platform/tunnel/common/tunnel'
import { RemoteExplorerService } from '@codingame/monaco-vscode-api/vscode/vs/workbench/services/remote/common/remoteExplorerService'
import { TunnelSource, mapHasAddressLocalhostOrAllInterfaces, type Attributes, type CandidatePort, type Tunnel, type TunnelProperties } from '@codingame/monaco-vscode-api/vscode/vs/workbench/services/remote/common/tunnelModel'

type Forwarding = Promise<RemoteTunnel | string | undefined>

/** What this code uses of TunnelModel's insides. */
export interface ModelInsides {
  doForward(properties: TunnelProperties, attributes?: Attributes | null): Forwarding
  setCandidates(candidates: CandidatePort[]): Promise<void>
  candidates: CandidatePort[]
  candidatesOrUndefined: CandidatePort[] | undefined
  forwarded: Map<string, Tunnel>
  detected: Map<string, Tunnel>
  inProgress: Map<string, true>
  restoreComplete: boolean
  onRestoreComplete: Emitter<void>
  _onClosePort: Emitter<{ host: string; port: number }>
  _onPortName: Emitter<{ host: string; port: number }>
}

export class TowlineTunnelService extends AbstractTunnelService {
  /* the daemon takes another port where one is reserved, and nobody can be asked for a password by a page */
  isPortPrivileged(): boolean {
    return false
  }

  protected retainOrCreateTunnel(provider: ITunnelProvider | object, host: string, port: number, _localHost: string, localPort: number | undefined,
    elevate: boolean, privacy?: string, protocol?: string): Forwarding | undefined {
    const existing = this.getTunnelFromMap(host, port)
    if (existing) {
      existing.refcount++
      return existing.value
    }
    return isTunnelProvider(provider as ITunnelProvider)
      ? this.createWithProvider(provider as ITunnelProvider, host, port, localPort, elevate, privacy, protocol)
      : undefined
  }

  has(host: string, port: number): boolean {
    return !!this.getTunnelFromMap(host, port)
  }

  /** A tunnel that was made elsewhere. */
  adopt(tunnel: RemoteTunnel): void {
    const inside = this as unknown as { makeTunnel(t: RemoteTunnel): RemoteTunnel; _onTunnelOpened: Emitter<RemoteTunnel> }
    this.addTunnelToMap(tunnel.tunnelRemoteHost, tunnel.tunnelRemotePort, Promise.resolve(tunnel))
    inside._onTunnelOpened.fire(inside.makeTunnel(tunnel))
  }

  /** A tunnel that was ended elsewhere. */
  drop(host: string, port: number): void {
    const inside = this as unknown as { _onTunnelClosed: Emitter<{ host: string; port: number }> }
    this._tunnels.get(host)?.delete(port)
    inside._onTunnelClosed.fire({ host, port })
  }

  /* the window goes, the forwards stay: they are the daemon's */
  override async dispose(): Promise<void> {
    this._tunnels.clear()
    await super.dispose()
  }
}

/** Asked before something is forwarded without the user's word. `fromOutput`: because of an address in a terminal's output. */
export type AutoForwardRule = (host: string, port: number, fromOutput: boolean) => Promise<boolean>

export class TowlineRemoteExplorerService extends RemoteExplorerService {
  rule: AutoForwardRule = async () => false
  afterAuto: (tunnel: RemoteTunnel) => void = () => {}

  /** Resolves when the ports of the last time are back. */
  async whenRestored(): Promise<void> {
    const model = this.tunnelModel as unknown as ModelInsides
    if (!model.restoreComplete) await Event.toPromise(model.onRestoreComplete.event)
  }

  override async forward(given: TunnelProperties, attributes?: Attributes | null): Forwarding {
    const { host, port } = given.remote
    await this.whenRestored()
    /* VS Code forgets the name of a port that is forwarded once more */
    const existing = mapHasAddressLocalhostOrAllInterfaces(this.tunnelModel.forwarded, host, port)
    const properties = existing && given.name === undefined ? { ...given, name: existing.name } : given
    if (properties.source?.source !== TunnelSource.Auto) return super.forward(properties, attributes)
    /* VS Code passes its candidate when a listener was found, and a bare address when it read one */
    if (!(await this.rule(host, port, !('detail' in properties.remote)))) return undefined
    const tunnel = await super.forward(properties, attributes)
    if (tunnel && typeof tunnel !== 'string') this.afterAuto(tunnel)
    return tunnel
  }
}
