/* What listens on the host: one `ports` stream for the window, opened again when it broke.
 *
 * Owns the stream and the last list. A stream always begins with the whole list, so there is nothing to catch up with. */
import { TowlineError, isRetryable } from '../net/errors'
import { FramedRpc } from '../net/framed'
import type { PortInfo } from '../net/proto'
import { Signal } from '../net/signal'
import type { Stream } from '../net/socket'

/* pauses after streams that broke before they told anything */
const PAUSE_MS = 500
const PAUSE_MAX_MS = 30000
/* what `localhost` on the host leads to */
const NEAR = new Set(['127.0.0.1', '::1', '0.0.0.0', '::', '::ffff:127.0.0.1', '::ffff:0.0.0.0'])

/** The name under which a listener is reached from the host itself: localhost where that leads to it, else its address. */
export function reachedAt(listener: PortInfo): string {
  return NEAR.has(listener.address) ? 'localhost' : listener.address
}

export class HostPorts {
  /** The whole list, after every change. */
  readonly onChanged = new Signal<PortInfo[]>()
  /** Words for a person: how listeners are found, why not at all. */
  readonly onNote = new Signal<string>()
  /** undefined: nobody told yet. */
  list?: PortInfo[]
  private stream?: Stream
  private opening = false
  private wanted = false
  private fruitless = 0

  constructor(private readonly openStream: (open: object) => Promise<Stream>) {}

  /** Begins to listen; returns at once. */
  start(): void {
    this.wanted = true
    void this.open()
  }

  /** The host can be used again. */
  revive(): void {
    void this.open()
  }

  /** The listener that `localhost:port` (or another address of the host) leads to; one of the user's own programs first. */
  find(host: string, port: number): PortInfo | undefined {
    const name = NEAR.has(host) ? 'localhost' : host
    const here = (this.list ?? []).filter((p) => p.port === port && reachedAt(p) === name)
    return here.find((p) => p.owned) ?? here[0]
  }

  /** Resolves with the listener as soon as `test` holds for it, or with undefined after `ms`. */
  async expect(host: string, port: number, test: (p: PortInfo) => boolean, ms: number): Promise<PortInfo | undefined> {
    const look = () => {
      const found = this.find(host, port)
      return found && test(found) ? found : undefined
    }
    const there = look()
    if (there) return there
    return new Promise((resolve) => {
      const finish = (found: PortInfo | undefined) => {
        clearTimeout(timer)
        off()
        resolve(found)
      }
      const timer = setTimeout(() => finish(undefined), ms)
      const off = this.onChanged.on(() => {
        const found = look()
        if (found) finish(found)
      })
    })
  }

  private async open(): Promise<void> {
    if (!this.wanted || this.stream || this.opening) return
    this.opening = true
    try {
      const stream = await this.openStream({ open: 'ports' })
      this.stream = stream
      const rpc = new FramedRpc((bytes) => stream.send(bytes))
      rpc.onNotification.on(({ method, params }) => this.hear(method, params))
      stream.onClose = (reason) => this.lost(stream, reason)
      stream.onData = (bytes) => {
        try {
          rpc.feed(bytes)
        } catch (error) {
          stream.close()
          /* a peer that breaks the framing once does it again */
          this.wanted = false
          this.stream = undefined
          this.onNote.fire(`watch the ports of the host: ${words(error)}`)
        }
      }
    } catch (error) {
      this.onNote.fire(`watch the ports of the host: ${words(error)}`)
      if (!isRetryable(error)) this.wanted = false
    } finally {
      this.opening = false
    }
  }

  private lost(stream: Stream, reason: TowlineError): void {
    if (this.stream !== stream) return
    this.stream = undefined
    if (!isRetryable(reason)) this.onNote.fire(`watch the ports of the host: ${reason.message}`)
    else setTimeout(() => void this.open(), this.fruitless ? Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** this.fruitless) : 0)
    this.fruitless++
  }

  private hear(method: string, params: any): void {
    if (method === 'ports/changed') {
      this.fruitless = 0
      this.list = params.ports as PortInfo[]
      this.onChanged.fire(this.list)
    } else if (method === 'ports/state' && params.reason) {
      this.onNote.fire(`the ports of the host are found by ${params.mode}: ${params.reason}`)
    }
  }
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
