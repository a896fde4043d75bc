/* The control connection to the daemon: JSON-RPC, one message per text frame, opened again when it breaks.
 *
 * Owns its socket and the calls that wait for answers. A call made while the daemon is away waits for it, but a call whose
 * socket broke is told so: only the caller knows whether it may be repeated. */
import { Signal } from './signal'
import { TowlineError, fromRpcError } from './errors'
import { closeReason, type Endpoint, type HelloResult } from './socket'
import type { Methods, Notifications } from './proto'

const BACKOFF_MS = [0, 250, 500, 1000, 2000, 4000]

interface Pending {
  resolve: (value: unknown) => void
  reject: (error: TowlineError) => void
}

interface Message {
  id?: number | string
  method?: string
  params?: unknown
  result?: unknown
  error?: { code: number; message: string }
}

export type ControlPhase = 'connecting' | 'open' | 'lost' | 'refused'

export class Control {
  phase: ControlPhase = 'connecting'
  hello?: HelloResult
  refusal?: TowlineError
  readonly onPhase = new Signal<ControlPhase>()
  /** Answers what the daemon asks (prompt/ask). */
  onRequest: (method: string, params: unknown) => Promise<unknown> = async (method) => {
    throw TowlineError.of('no_method', `answer ${method}`)
  }

  private socket?: WebSocket
  private nextId = 1
  private readonly pending = new Map<number, Pending>()
  private readonly notified = new Map<string, Signal<unknown>>()
  private wake?: () => void

  constructor(private readonly endpoint: Endpoint) {}

  /** Begins; returns at once. Phases tell what comes of it. */
  start(): void {
    void this.run()
    /* a page that comes back to life must not sit out a pause */
    for (const name of ['online', 'focus', 'pageshow']) window.addEventListener(name, () => this.wake?.())
  }

  /** Resolves when the daemon answers; rejects when it never will (bad token). */
  async whenOpen(): Promise<HelloResult> {
    if (this.phase !== 'open' && this.phase !== 'refused') await this.onPhase.once((p) => p === 'open' || p === 'refused')
    if (this.phase === 'refused') throw this.refusal ?? TowlineError.of('bad_token', 'open the window')
    return this.hello!
  }

  /** Calls a method of side DAEMON. */
  async call<M extends keyof Methods>(method: M, params: Methods[M]['params']): Promise<Methods[M]['result']> {
    await this.whenOpen()
    return new Promise((resolve, reject) => {
      const id = this.nextId++
      this.pending.set(id, { resolve: resolve as (value: unknown) => void, reject })
      this.socket!.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }))
    })
  }

  /** Hears a notification of side CLIENT. */
  on<N extends keyof Notifications>(method: N, listener: (params: Notifications[N]) => void): () => void {
    let signal = this.notified.get(method)
    if (!signal) this.notified.set(method, (signal = new Signal()))
    return signal.on(listener as (params: unknown) => void)
  }

  private setPhase(phase: ControlPhase): void {
    if (this.phase === phase) return
    this.phase = phase
    this.onPhase.fire(phase)
  }

  private async run(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const pause = BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length - 1)]
      if (pause) await this.sleep(pause)
      try {
        const { socket, hello } = await this.endpoint.greet()
        this.hello = hello
        attempt = 0
        await this.serve(socket)
      } catch (error) {
        if (error instanceof TowlineError && (error.errorName === 'bad_token' || error.errorName === 'bad_origin')) {
          this.refusal = error
          this.setPhase('refused')
          return
        }
      }
      this.setPhase('lost')
    }
  }

  /** Lives as long as the socket. */
  private serve(socket: WebSocket): Promise<void> {
    return new Promise((done) => {
      this.socket = socket
      socket.onmessage = (event) => {
        if (typeof event.data === 'string') this.take(JSON.parse(event.data) as Message)
      }
      socket.onclose = (event) => {
        this.socket = undefined
        const reason = closeReason(event)
        const waiting = [...this.pending.values()]
        this.pending.clear()
        for (const call of waiting) call.reject(reason)
        done()
      }
      this.setPhase('open')
    })
  }

  private take(message: Message): void {
    if (message.method && message.id !== undefined) {
      void this.answer(message.id, message.method, message.params)
    } else if (message.method) {
      this.notified.get(message.method)?.fire(message.params)
    } else {
      const call = this.pending.get(message.id as number)
      this.pending.delete(message.id as number)
      if (message.error) call?.reject(fromRpcError(message.error))
      else call?.resolve(message.result)
    }
  }

  private async answer(id: number | string, method: string, params: unknown): Promise<void> {
    const socket = this.socket
    let reply: object
    try {
      reply = { result: await this.onRequest(method, params) }
    } catch (error) {
      const e = error instanceof TowlineError ? error : TowlineError.of('internal', `answer ${method}`, String(error))
      reply = { error: { code: -32603, message: e.message, data: { name: e.errorName, number: e.number } } }
    }
    /* an answer belongs to the socket that asked */
    if (socket && socket === this.socket) socket.send(JSON.stringify({ jsonrpc: '2.0', id, ...reply }))
  }

  private sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer)
        this.wake = undefined
        resolve()
      }
      const timer = setTimeout(finish, ms)
      this.wake = finish
    })
  }
}
