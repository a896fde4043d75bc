/* One host as this window sees it: its state, calls to its agent, its streams.
 *
 * Owns nothing on the wire: calls go through the control connection, every stream has a socket of its own.
 * Invariant: after the control connection or the link was lost for good, `epoch` has grown and everything that had a stream
 * opens it again. */
import { Signal } from '../net/signal'
import { TowlineError, fromRpcError } from '../net/errors'
import { insist } from '../net/insist'
import type { Control } from '../net/control'
import type { Endpoint, Stream } from '../net/socket'
import type { HostCalls, HostInfo, HostProgress, HostState } from '../net/proto'

export type LinkPhase = HostState['phase'] | 'daemon-lost' | 'refused'

export class HostConnection {
  info?: HostInfo
  state: HostState
  readonly onState = new Signal<HostState>()
  readonly onProgress = new Signal<HostProgress>()
  readonly onPhase = new Signal<LinkPhase>()
  private attempt?: Promise<HostInfo>
  private wanted = false

  constructor(private readonly control: Control, private readonly endpoint: Endpoint, readonly host: string) {
    this.state = { host, phase: 'disconnected', generation: 0, sinceMs: 0, streams: 0 }
    control.on('host/state', (state) => {
      if (state.host === host) this.setState(state)
    })
    control.on('host/progress', (progress) => {
      if (progress.host === host) this.onProgress.fire(progress)
    })
    control.onPhase.on((phase) => {
      this.onPhase.fire(this.phase)
      /* a restarted daemon has forgotten us */
      if (phase === 'open' && this.wanted) void this.connect().catch(() => {})
    })
  }

  /** What a person should see. */
  get phase(): LinkPhase {
    if (this.control.phase === 'refused') return 'refused'
    if (this.control.phase !== 'open') return this.wanted ? 'daemon-lost' : 'connecting'
    /* a daemon that was restarted says so of a host that is being asked for already */
    return this.state.phase === 'disconnected' && this.attempt ? 'connecting' : this.state.phase
  }

  /** Connects or joins; resolves with the facts about the host. */
  connect(): Promise<HostInfo> {
    this.wanted = true
    this.attempt ??= this.tryConnect().finally(() => {
      this.attempt = undefined
      this.onPhase.fire(this.phase)
    })
    return this.attempt
  }

  private async tryConnect(): Promise<HostInfo> {
    this.setState(await this.control.call('host/subscribe', { host: this.host }))
    const { info } = await this.control.call('host/connect', { host: this.host })
    this.info = info
    if (this.state.phase !== 'connected') this.setState({ ...this.state, phase: 'connected', error: undefined, info })
    return info
  }

  /** The user said now. */
  async reconnect(): Promise<void> {
    if (this.state.phase === 'reconnecting') await this.control.call('host/reconnect', { host: this.host })
    else await this.connect()
  }

  /** This window is done with the host; the last one ends the session. Terminals go on there. */
  async close(): Promise<void> {
    this.wanted = false
    await this.control.call('host/close', { host: this.host, ifUnused: true })
  }

  /** Resolves when the host can be used; rejects when only the user can change that. */
  async whenConnected(): Promise<void> {
    for (;;) {
      const phase = this.phase
      if (phase === 'connected') return
      if (phase === 'refused') throw this.control.refusal ?? TowlineError.of('bad_token', `reach ${this.host}`)
      if (phase === 'failed' || phase === 'disconnected') throw this.failure()
      await this.onPhase.once()
    }
  }

  /** Calls the agent. `repeat`: the call may be made twice without harm. */
  async call<M extends keyof HostCalls>(method: M, params: HostCalls[M]['params'], repeat = true): Promise<HostCalls[M]['result']> {
    const once = () => this.control.call('host/call', { host: this.host, method, params: params as object })
    if (repeat) return (await insist(() => this.whenConnected(), once)) as HostCalls[M]['result']
    await this.whenConnected()
    return (await once()) as HostCalls[M]['result']
  }

  /** Opens a stream; tries again while the failure is one that passes. */
  openStream(open: object): Promise<Stream> {
    return insist(() => this.whenConnected(), () => this.endpoint.openStream(this.host, open))
  }

  private failure(): TowlineError {
    const error = this.state.error
    return error ? fromRpcError(error) : TowlineError.of('not_connected', `reach ${this.host}`)
  }

  private setState(state: HostState): void {
    this.state = state
    if (state.info) this.info = state.info
    this.onState.fire(state)
    this.onPhase.fire(this.phase)
  }
}
