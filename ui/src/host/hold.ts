/* Hold frames: `type u8 | length u24`, then payload (proto/frames.def, docs/protocol.md section 5). Pure bytes in, bytes out. */
import { TowlineError } from '../net/errors'
import { holdFrames as F, limits } from '../net/proto'

const HEAD = 4
const ALL_ONES = 0xffffffffffffffffn

export interface Attached {
  first: number
  from: number
  end: number
  cols: number
  rows: number
  gap: boolean
  exited: boolean
}

export interface HoldEvents {
  attached(a: Attached): void
  data(bytes: Uint8Array): void
  gap(next: number): void
  exit(kind: 'exit' | 'signal', value: number): void
  size(cols: number, rows: number): void
  inputAcked(offset: number): void
}

export class HoldParser {
  private held = new Uint8Array(0)

  constructor(private readonly events: HoldEvents) {}

  /** Takes bytes whatever their borders; throws a TowlineError where they break the framing. */
  feed(bytes: Uint8Array): void {
    const all = new Uint8Array(this.held.length + bytes.length)
    all.set(this.held)
    all.set(bytes, this.held.length)
    let at = 0
    while (all.length - at >= HEAD) {
      const length = (all[at + 1] << 16) | (all[at + 2] << 8) | all[at + 3]
      if (length > limits.TERM_FRAME) throw TowlineError.of('protocol', 'read the terminal', 'a frame is too long')
      if (all.length - at - HEAD < length) break
      this.take(all[at], all.subarray(at + HEAD, at + HEAD + length))
      at += HEAD + length
    }
    this.held = all.slice(at)
  }

  private take(type: number, payload: Uint8Array): void {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.length)
    const need = (n: number) => {
      if (payload.length !== n) throw TowlineError.of('protocol', 'read the terminal', 'a frame has the wrong length')
    }
    switch (type) {
      case F.ATTACHED: {
        need(32)
        const flags = view.getUint32(28)
        this.events.attached({
          first: Number(view.getBigUint64(0)), from: Number(view.getBigUint64(8)), end: Number(view.getBigUint64(16)),
          cols: view.getUint16(24), rows: view.getUint16(26), gap: !!(flags & 1), exited: !!(flags & 2)
        })
        break
      }
      case F.DATA:
        this.events.data(payload)
        break
      case F.GAP:
        need(8)
        this.events.gap(Number(view.getBigUint64(0)))
        break
      case F.EXIT:
        need(8)
        this.events.exit(view.getUint32(0) === 0 ? 'exit' : 'signal', view.getUint32(4))
        break
      case F.SIZE:
        need(4)
        this.events.size(view.getUint16(0), view.getUint16(2))
        break
      case F.INPUT_ACKED:
        need(8)
        this.events.inputAcked(Number(view.getBigUint64(0)))
        break
      default:
        /* INFO was not asked for; unknown types are for later versions */
        break
    }
  }
}

function frame(type: number, length: number): { out: Uint8Array; view: DataView } {
  const out = new Uint8Array(HEAD + length)
  out[0] = type
  out[1] = (length >> 16) & 255
  out[2] = (length >> 8) & 255
  out[3] = length & 255
  return { out, view: new DataView(out.buffer, HEAD) }
}

/** `from` undefined: `tail` bytes before the end. */
export function attachFrame(from: number | undefined, tail: number, window: number): Uint8Array {
  const { out, view } = frame(F.ATTACH, 16)
  view.setBigUint64(0, from === undefined ? ALL_ONES : BigInt(from))
  view.setUint32(8, tail)
  view.setUint32(12, window)
  return out
}

/** Says whose input follows, and the offset of its first byte. */
export function inputIdFrame(id: bigint, from: number): Uint8Array {
  const { out, view } = frame(F.INPUT_ID, 16)
  view.setBigUint64(0, id)
  view.setBigUint64(8, BigInt(from))
  return out
}

/** At most TERM_FRAME bytes of input. */
export function inputFrame(bytes: Uint8Array): Uint8Array {
  const { out } = frame(F.INPUT, bytes.length)
  out.set(bytes, HEAD)
  return out
}

export function resizeFrame(cols: number, rows: number): Uint8Array {
  const { out, view } = frame(F.RESIZE, 4)
  view.setUint16(0, cols)
  view.setUint16(2, rows)
  return out
}

export function signalFrame(signal: number): Uint8Array {
  const { out, view } = frame(F.SIGNAL, 1)
  view.setUint8(0, signal)
  return out
}

export function ackedFrame(offset: number): Uint8Array {
  const { out, view } = frame(F.ACKED, 8)
  view.setBigUint64(0, BigInt(offset))
  return out
}
