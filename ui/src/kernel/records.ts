/* Kernel frames and records (proto/frames.def, docs/protocol.md section 11). Pure bytes in, bytes out.
 *
 * A frame is `type u8 | length u24 | payload`; the payloads of DATA and SEND are records, cut anywhere. Bytes wait in a queue of
 * the pieces they came in, so that a record of many frames is put together once. */
import { TowlineError } from '../net/errors'
import { KERNEL, KERNEL_SIZE, LIMITS } from '../net/proto.gen'

const FRAME_HEAD = 4
const RECORD_HEAD = 16
const ALL_ONES = 0xffffffffffffffffn

export const RECORD = { MESSAGE: 1, OUTPUT: 2, STATE: 3, LOST: 4 } as const
export const CHANNEL = { SHELL: 0, CONTROL: 1, IOPUB: 2, STDIN: 3 } as const

export interface Attached {
  first: number
  from: number
  end: number
  gap: boolean
}

export interface KernelRecord {
  kind: number
  channel: number
  timeMs: number
  parts: Uint8Array[]
  /** Bytes it has in the log: a cursor is the offset after a whole record. */
  length: number
}

export interface KernelFrameEvents {
  attached(a: Attached): void
  snapshot(piece: Uint8Array): void
  data(bytes: Uint8Array): void
  gap(next: number): void
  exit(kind: 'exit' | 'signal', value: number): void
  answer(piece: Uint8Array): void
}

/** Bytes that wait, in the pieces they came in. */
export class ByteQueue {
  private parts: Uint8Array[] = []
  length = 0

  push(bytes: Uint8Array): void {
    if (!bytes.length) return
    this.parts.push(bytes)
    this.length += bytes.length
  }

  clear(): void {
    this.parts = []
    this.length = 0
  }

  /** The first `n` bytes, which stay. */
  peek(n: number): Uint8Array {
    if (this.parts[0]?.length >= n) return this.parts[0].subarray(0, n)
    const out = new Uint8Array(n)
    let at = 0
    for (const part of this.parts) {
      const piece = part.subarray(0, n - at)
      out.set(piece, at)
      at += piece.length
      if (at === n) break
    }
    return out
  }

  /** The first `n` bytes, which go; the caller looks at `length` before. */
  take(n: number): Uint8Array {
    const out = this.peek(n)
    let left = n
    let whole = 0
    while (whole < this.parts.length && this.parts[whole].length <= left) left -= this.parts[whole++].length
    this.parts.splice(0, whole)
    if (left) this.parts[0] = this.parts[0].subarray(left)
    this.length -= n
    return out
  }
}

const wrong = (cause: string) => TowlineError.of('protocol', 'read the session', cause)
const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

/** Frames from the hold. */
export class KernelFrameParser {
  private readonly held = new ByteQueue()

  constructor(private readonly events: KernelFrameEvents) {}

  /** Takes bytes whatever their borders; throws a TowlineError where they break the framing. */
  feed(bytes: Uint8Array): void {
    this.held.push(bytes)
    while (this.held.length >= FRAME_HEAD) {
      const head = this.held.peek(FRAME_HEAD)
      const type = head[0]
      const length = (head[1] << 16) | (head[2] << 8) | head[3]
      if (length > LIMITS.TERM_FRAME) throw wrong('a frame is too long')
      if (KERNEL_SIZE[type] !== undefined && KERNEL_SIZE[type] !== length) throw wrong('a frame has the wrong length')
      if (this.held.length < FRAME_HEAD + length) return
      this.held.take(FRAME_HEAD)
      this.take(type, this.held.take(length))
    }
  }

  private take(type: number, payload: Uint8Array): void {
    const view = viewOf(payload)
    switch (type) {
      case KERNEL.ATTACHED:
        this.events.attached({ first: Number(view.getBigUint64(0)), from: Number(view.getBigUint64(8)), end: Number(view.getBigUint64(16)), gap: !!(view.getUint32(24) & 1) })
        break
      case KERNEL.SNAPSHOT:
        this.events.snapshot(payload)
        break
      case KERNEL.DATA:
        this.events.data(payload)
        break
      case KERNEL.GAP:
        this.events.gap(Number(view.getBigUint64(0)))
        break
      case KERNEL.EXIT:
        this.events.exit(view.getUint32(0) === 0 ? 'exit' : 'signal', view.getUint32(4))
        break
      case KERNEL.ANSWER:
        this.events.answer(payload)
        break
      default:
        /* types of later versions */
        break
    }
  }
}

/** Records out of the bytes of DATA. */
export class RecordParser {
  private readonly held = new ByteQueue()

  constructor(private readonly onRecord: (record: KernelRecord) => void) {}

  feed(bytes: Uint8Array): void {
    this.held.push(bytes)
    while (this.held.length >= RECORD_HEAD) {
      const view = viewOf(this.held.peek(RECORD_HEAD))
      const length = 4 + view.getUint32(0)
      const count = view.getUint16(6)
      const head = RECORD_HEAD + 4 * count
      if (length < head || count > LIMITS.KERNEL_PARTS || length > head + LIMITS.KERNEL_MESSAGE) throw wrong('a record has a wrong length')
      if (this.held.length < length) return
      this.onRecord(recordOf(this.held.take(length)))
    }
  }

  /** What had begun is gone (GAP, or another stream). */
  clear(): void {
    this.held.clear()
  }
}

function recordOf(bytes: Uint8Array): KernelRecord {
  const view = viewOf(bytes)
  const count = view.getUint16(6)
  const parts: Uint8Array[] = []
  let at = RECORD_HEAD + 4 * count
  for (let i = 0; i < count; i++) {
    const size = view.getUint32(RECORD_HEAD + 4 * i)
    if (at + size > bytes.length) throw wrong('the parts of a record are longer than it')
    parts.push(bytes.subarray(at, at + size))
    at += size
  }
  if (at !== bytes.length) throw wrong('the parts of a record are shorter than it')
  return { kind: view.getUint8(4), channel: view.getUint8(5), timeMs: Number(view.getBigUint64(8)), parts, length: bytes.length }
}

export function recordBytes(kind: number, channel: number, timeMs: number, parts: Uint8Array[]): Uint8Array {
  const head = RECORD_HEAD + 4 * parts.length
  const length = parts.reduce((sum, p) => sum + p.length, head)
  if (length - head > LIMITS.KERNEL_MESSAGE) throw TowlineError.of('limit', 'send to the session', 'the message is too long')
  const out = new Uint8Array(length)
  const view = viewOf(out)
  view.setUint32(0, length - 4)
  view.setUint8(4, kind)
  view.setUint8(5, channel)
  view.setUint16(6, parts.length)
  view.setBigUint64(8, BigInt(timeMs))
  let at = head
  parts.forEach((part, i) => {
    view.setUint32(RECORD_HEAD + 4 * i, part.length)
    out.set(part, at)
    at += part.length
  })
  return out
}

function frame(type: number, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(FRAME_HEAD + payload.length)
  viewOf(out).setUint32(0, payload.length)
  out[0] = type
  out.set(payload, FRAME_HEAD)
  return out
}

/** `from` undefined: `tail` bytes before the end. `window`: bytes that may be sent beyond the last acknowledged ones. */
export function attachFrame(from: number | undefined, tail: number, window: number): Uint8Array {
  const payload = new Uint8Array(16)
  const view = viewOf(payload)
  view.setBigUint64(0, from === undefined ? ALL_ONES : BigInt(from))
  view.setUint32(8, tail)
  view.setUint32(12, window)
  return frame(KERNEL.ATTACH, payload)
}

/** A record for the kernel, in as many frames as it needs. */
export function sendFrames(record: Uint8Array): Uint8Array[] {
  const out: Uint8Array[] = []
  for (let at = 0; at < record.length; at += LIMITS.TERM_FRAME) out.push(frame(KERNEL.SEND, record.subarray(at, at + LIMITS.TERM_FRAME)))
  return out
}

export function ackedFrame(offset: number): Uint8Array {
  const payload = new Uint8Array(8)
  viewOf(payload).setBigUint64(0, BigInt(offset))
  return frame(KERNEL.ACKED, payload)
}

export function leaveFrame(): Uint8Array {
  return frame(KERNEL.LEAVE, new Uint8Array(0))
}
