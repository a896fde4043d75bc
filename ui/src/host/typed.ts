/* What was typed into a terminal and has not been acknowledged by its hold: sent again over a new stream, so that every key
 * arrives once (docs/protocol.md section 5). Knows no stream: the viewer sends what this gives. */
import { limits } from '../net/proto'
import { TowlineError } from '../net/errors'
import { inputFrame, inputIdFrame } from './hold'

/* a large paste, or a long time without the host */
const KEPT_MAX = 8 * 1024 * 1024

/** Invariant: base <= sent <= next; `chunks` are the bytes from base to next. */
export class Typed {
  private readonly id: bigint
  private chunks: Uint8Array[] = []
  private base = 0
  private sent = 0
  private next = 0
  /** Acknowledged; on a new stream this may be ahead of `sent`. */
  private took = 0
  private answered = false
  /** A hold of an earlier version: it never acknowledges, what was sent is gone from here. */
  private old = false

  constructor(id = crypto.getRandomValues(new BigUint64Array(1))[0]) {
    this.id = id
  }

  /** Bytes that are not known to have arrived. */
  get waiting(): number {
    return this.next - this.base
  }

  /** Takes what was typed, or nothing of it: false where too much waits already. */
  type(bytes: Uint8Array): boolean {
    if (this.waiting + bytes.length > KEPT_MAX) return false
    if (bytes.length) this.chunks.push(bytes.slice())
    this.next += bytes.length
    return true
  }

  /** A new stream: the frame to send before ATTACH. What was not acknowledged is sent once more. */
  begin(): Uint8Array {
    this.sent = Math.max(this.took, this.base)
    this.answered = false
    this.forget()
    return inputIdFrame(this.id, this.base)
  }

  /** The frames to send now; they count as sent. */
  frames(): Uint8Array[] {
    const out: Uint8Array[] = []
    const until = this.old ? this.next : Math.min(this.next, Math.max(this.took, this.base) + limits.TERM_INPUT)
    let at = this.base
    for (const chunk of this.chunks) {
      const from = Math.max(this.sent - at, 0)
      const to = Math.min(chunk.length, until - at)
      for (let i = from; i < to; i += limits.TERM_FRAME) out.push(inputFrame(chunk.subarray(i, Math.min(i + limits.TERM_FRAME, to))))
      if (to > from) this.sent = at + to
      at += chunk.length
    }
    this.forget()
    return out
  }

  /** INPUT_ACKED came. */
  acked(offset: number): void {
    if (offset > this.next) throw TowlineError.of('protocol', 'read the terminal', 'more input is acknowledged than was typed')
    this.answered = true
    this.old = false
    this.took = Math.max(this.took, offset)
    this.forget()
  }

  /** ATTACHED came: an acknowledgement is there by now, or will never be. */
  attached(): void {
    this.old = !this.answered
    this.forget()
  }

  /* bytes of a stream are numbered without holes: what arrived over an earlier stream goes over this one, too, once it was begun */
  private forget(): void {
    const done = this.old ? this.sent : Math.min(this.took, this.sent)
    while (this.chunks.length && this.base + this.chunks[0].length <= done) this.base += this.chunks.shift()!.length
    if (done > this.base) {
      this.chunks[0] = this.chunks[0].subarray(done - this.base)
      this.base = done
    }
  }
}
