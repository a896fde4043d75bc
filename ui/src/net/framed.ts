/* JSON-RPC with Content-Length framing over a byte stream (the watch stream).
 *
 * FramedParser turns bytes into messages, whatever the borders of the chunks; FramedRpc adds calls. */
import { Signal } from './signal'
import { TowlineError, fromRpcError } from './errors'
import { limits } from './proto'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export function frameMessage(message: object): Uint8Array {
  const body = encoder.encode(JSON.stringify(message))
  const head = encoder.encode(`Content-Length: ${body.length}\r\n\r\n`)
  const out = new Uint8Array(head.length + body.length)
  out.set(head)
  out.set(body, head.length)
  return out
}

export class FramedParser {
  private held = new Uint8Array(0)

  constructor(private readonly onMessage: (message: any) => void) {}

  /** Takes bytes; throws a TowlineError where they break the framing. */
  feed(bytes: Uint8Array): void {
    const all = new Uint8Array(this.held.length + bytes.length)
    all.set(this.held)
    all.set(bytes, this.held.length)
    let at = 0
    for (;;) {
      const end = headEnd(all, at)
      if (end < 0) {
        if (all.length - at > limits.LSP_HEADER) throw TowlineError.of('protocol', 'read a message', 'its header does not end')
        break
      }
      const match = /content-length: *(\d+)/i.exec(decoder.decode(all.subarray(at, end)))
      const length = match ? Number(match[1]) : -1
      if (length < 0 || length > limits.RPC_MESSAGE) throw TowlineError.of('protocol', 'read a message', 'its length is not valid')
      if (all.length < end + 4 + length) break
      const text = decoder.decode(all.subarray(end + 4, end + 4 + length))
      at = end + 4 + length
      this.onMessage(JSON.parse(text))
    }
    this.held = all.slice(at)
  }
}

function headEnd(bytes: Uint8Array, from: number): number {
  for (let i = from; i + 3 < bytes.length; i++) {
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i
  }
  return -1
}

export class FramedRpc {
  readonly onNotification = new Signal<{ method: string; params: any }>()
  private nextId = 1
  private readonly pending = new Map<number, { resolve: (v: any) => void; reject: (e: TowlineError) => void }>()
  private readonly parser = new FramedParser((m) => this.take(m))

  constructor(private readonly send: (bytes: Uint8Array) => void) {}

  feed(bytes: Uint8Array): void {
    this.parser.feed(bytes)
  }

  call<T>(method: string, params: object): Promise<T> {
    return new Promise((resolve, reject) => {
      const id = this.nextId++
      this.pending.set(id, { resolve, reject })
      this.send(frameMessage({ jsonrpc: '2.0', id, method, params }))
    })
  }

  /** The stream is over: everything that waits fails with `reason`. */
  end(reason: TowlineError): void {
    const waiting = [...this.pending.values()]
    this.pending.clear()
    for (const call of waiting) call.reject(reason)
  }

  private take(message: any): void {
    if (message.method) {
      this.onNotification.fire({ method: message.method, params: message.params })
      return
    }
    const call = this.pending.get(message.id)
    this.pending.delete(message.id)
    if (message.error) call?.reject(fromRpcError(message.error))
    else call?.resolve(message.result)
  }
}
