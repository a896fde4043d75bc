/* WebSockets to the daemon: the token hello, and one socket per stream.
 *
 * Owns: the address and token of the daemon. A Stream owns its socket. Back-pressure towards the daemon is the socket's
 * buffer (`buffered`); writers of much look at it. */
import { TowlineError, fromRpcError } from './errors'

const HELLO_MS = 15000
/* close codes of docs/protocol.md section 7 */
const CLOSE_TOKEN = 4401
const CLOSE_ERROR = 4000

export interface HelloResult {
  version: string
  pid: number
  origin: string
  frameOrigin: string
}

interface Answer {
  id?: number | string | null
  result?: unknown
  error?: { code: number; message: string; data?: { name?: string; number?: number } }
}

/** Where the daemon is and how it knows us. */
export class Endpoint {
  constructor(readonly url: string, private readonly token: string, private readonly version: string) {}

  /** Opens a socket and says hello; rejects with a TowlineError. The caller sets handlers before anything else arrives. */
  async greet(): Promise<{ socket: WebSocket; hello: HelloResult }> {
    const socket = new WebSocket(this.url, 'towline')
    socket.binaryType = 'arraybuffer'
    await opened(socket)
    const hello = await ask<HelloResult>(socket, 0, 'hello', { token: this.token, client: 'window', version: this.version })
    return { socket, hello }
  }

  /** Opens a stream of a host ("" is the daemon's own folder). */
  async openStream(host: string, open: object): Promise<Stream> {
    const { socket } = await this.greet()
    const stream = new Stream(socket)
    try {
      await ask(socket, 1, 'stream/open', { host, open }, (data) => stream.take(data))
    } catch (error) {
      socket.close()
      throw error
    }
    stream.start()
    return stream
  }
}

/** One byte stream. Handlers are set by its user; bytes that come earlier wait. */
export class Stream {
  private early: Uint8Array[] = []
  private handler?: (bytes: Uint8Array) => void
  private ended?: TowlineError
  private closing = false
  /** Called once when the stream is over, with the reason; not after close(). */
  onClose: (reason: TowlineError) => void = () => {}

  constructor(private readonly socket: WebSocket) {}

  start(): void {
    this.socket.onmessage = (event) => this.take(event.data)
    this.socket.onerror = null
    this.socket.onclose = (event) => {
      if (this.ended || this.closing) return
      this.ended = closeReason(event)
      this.onClose(this.ended)
    }
  }

  take(data: unknown): void {
    if (!(data instanceof ArrayBuffer)) return
    const bytes = new Uint8Array(data)
    if (this.handler) this.handler(bytes)
    else this.early.push(bytes)
  }

  set onData(handler: (bytes: Uint8Array) => void) {
    this.handler = handler
    const early = this.early
    this.early = []
    for (const bytes of early) handler(bytes)
  }

  get open(): boolean {
    return this.socket.readyState === WebSocket.OPEN && !this.closing
  }

  /** Bytes not yet taken by the daemon. */
  get buffered(): number {
    return this.socket.bufferedAmount
  }

  send(bytes: Uint8Array): void {
    if (this.open) this.socket.send(bytes as Uint8Array<ArrayBuffer>)
  }

  close(): void {
    this.closing = true
    this.socket.close(1000)
  }
}

/** Why a socket closed, as an error a person can read. */
export function closeReason(event: CloseEvent): TowlineError {
  if (event.code === CLOSE_TOKEN) return TowlineError.of('bad_token', 'open the window')
  if (event.code > CLOSE_ERROR && event.code < CLOSE_ERROR + 400) return TowlineError.numbered(event.code - CLOSE_ERROR, event.reason)
  return TowlineError.of('closed', 'talk to the local daemon', event.reason)
}

function opened(socket: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.close()
      reject(TowlineError.of('timeout', 'reach the local daemon'))
    }, HELLO_MS)
    socket.onopen = () => {
      clearTimeout(timer)
      resolve()
    }
    socket.onclose = () => {
      clearTimeout(timer)
      reject(TowlineError.of('no_daemon', 'reach the local daemon'))
    }
  })
}

function ask<T>(socket: WebSocket, id: number, method: string, params: object, extra?: (data: unknown) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    socket.onclose = (event) => reject(closeReason(event))
    socket.onmessage = (event) => {
      if (typeof event.data !== 'string') {
        extra?.(event.data)
        return
      }
      const answer = JSON.parse(event.data) as Answer
      if (answer.id !== id) return
      /* what comes from now on belongs to the stream */
      socket.onmessage = (later) => extra?.(later.data)
      if (answer.error) reject(fromRpcError(answer.error))
      else resolve(answer.result as T)
    }
    socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }))
  })
}
