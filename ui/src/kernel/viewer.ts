/* A viewer of one session: its stream, its cursor in the log, its credit. Knows nothing of VS Code.
 *
 * Owns the stream and opens it again, from the cursor, when it broke. Records come out once and in order; where the log had to drop
 * some, `onGap` says how many bytes. What is to be sent while there is no stream waits, up to UNSENT bytes; whether a request that was
 * sent just before a stream broke has arrived, its owner knows from the snapshot that follows (session.ts). */
import { TowlineError, isRetryable } from '../net/errors'
import { LIMITS, type KernelSnapshot } from '../net/proto.gen'
import { Signal } from '../net/signal'
import type { Stream } from '../net/socket'
import { ByteQueue, KernelFrameParser, RecordParser, ackedFrame, attachFrame, leaveFrame, sendFrames, type Attached, type KernelRecord } from './records'

const WINDOW = 4 * 1024 * 1024
const ACK_BYTES = 256 * 1024
const LEAVE_MS = 2000
const UNSENT = LIMITS.KERNEL_MESSAGE * 2

export class KernelViewer {
  /** A stream is attached; `again`: not the first time. Records up to `end` are old ones. */
  readonly onAttached = new Signal<Attached & { again: boolean }>()
  /** True at the last ATTACHED's end. */
  readonly onSnapshot = new Signal<KernelSnapshot>()
  readonly onRecord = new Signal<KernelRecord>()
  /** Everything there was when the viewer attached has come. */
  readonly onCaughtUp = new Signal<void>()
  /** Bytes of the log that nobody can show any more. */
  readonly onGap = new Signal<number>()
  /** The stream broke; the viewer tries to come back. */
  readonly onLost = new Signal<void>()
  /** It is over: the session ended, or cannot be reached for a reason that stays. */
  readonly onOver = new Signal<TowlineError | undefined>()
  /** Offset after the last whole record. */
  cursor = 0
  private stream?: Stream
  private attached = false
  private end = 0
  private behind = false
  private acked = 0
  private over = false
  private opening = false
  private readonly records = new RecordParser((r) => this.take(r))
  private readonly snapshot = new ByteQueue()
  private unsent: Uint8Array[] = []
  private unsentBytes = 0

  constructor(private readonly openStream: (open: object) => Promise<Stream>, readonly id: string) {}

  get live(): boolean {
    return !this.over && !!this.stream?.open
  }

  /** Attaches at an offset, or `tail` bytes before the end of the log. Rejects where it cannot. */
  async attach(at: { from: number } | { tail: number }): Promise<void> {
    await this.open('from' in at ? at.from : undefined, 'tail' in at ? at.tail : 0)
  }

  /** Sends the record of a message. Throws a TowlineError when too much waits already. */
  send(record: Uint8Array): void {
    if (this.over) throw TowlineError.of('no_kernel', 'send to the session')
    const stream = this.stream
    if (stream?.open && this.attached) {
      for (const f of sendFrames(record)) stream.send(f)
      return
    }
    if (this.unsentBytes + record.length > UNSENT) throw TowlineError.of('limit', 'send to the session', 'too much waits for the connection already')
    this.unsent.push(record)
    this.unsentBytes += record.length
  }

  /** True while this record has not been given to any stream. */
  waits(record: Uint8Array): boolean {
    return this.unsent.includes(record)
  }

  /** The user closes the last view: the host need not wait for this viewer to come back. */
  leave(): void {
    const stream = this.stream
    this.stream = undefined
    this.detach()
    if (!stream) return
    stream.onClose = () => {}
    stream.send(leaveFrame())
    /* a socket that closes at once may take with it what was just sent */
    setTimeout(() => stream.close(), LEAVE_MS)
  }

  /** Ends the view; the host waits for it to come back as its policy says. */
  detach(): void {
    this.over = true
    this.stream?.close()
    this.stream = undefined
  }

  /** Tries again after a failure that was not for ever. */
  revive(): void {
    if (!this.over && !this.stream) void this.lost(TowlineError.of('closed', 'read the session'))
  }

  private async open(from: number | undefined, tail: number): Promise<void> {
    const stream = await this.openStream({ open: 'kernel', id: this.id })
    if (this.over) {
      stream.close()
      return
    }
    const parser = new KernelFrameParser({
      attached: (a) => this.begin(a),
      snapshot: (piece) => this.takeSnapshot(piece),
      data: (bytes) => this.records.feed(bytes),
      gap: (next) => this.skipTo(next),
      exit: () => this.finish(undefined),
      answer: () => {}
    })
    this.stream = stream
    this.records.clear()
    this.snapshot.clear()
    stream.onClose = (reason) => void this.lost(reason)
    stream.send(attachFrame(from, tail, WINDOW))
    stream.onData = (bytes) => {
      if (this.stream !== stream) return
      try {
        parser.feed(bytes)
      } catch (error) {
        console.error(error)
        stream.close()
        void this.lost(TowlineError.of('closed', 'read the session'))
      }
    }
  }

  private begin(a: Attached): void {
    const again = this.attached
    this.attached = true
    const lost = again ? a.from - this.cursor : 0
    this.cursor = this.acked = a.from
    this.end = a.end
    this.behind = true
    if (lost > 0) this.onGap.fire(lost)
    this.onAttached.fire({ ...a, again })
  }

  private takeSnapshot(piece: Uint8Array): void {
    if (piece.length) {
      if (this.snapshot.length + piece.length > 2 * LIMITS.KERNEL_SNAPSHOT) throw TowlineError.of('protocol', 'read the session', 'its snapshot is too long')
      this.snapshot.push(piece)
      return
    }
    const bytes = this.snapshot.take(this.snapshot.length)
    this.onSnapshot.fire(JSON.parse(new TextDecoder().decode(bytes)) as KernelSnapshot)
    const unsent = this.unsent
    this.unsent = []
    this.unsentBytes = 0
    for (const record of unsent) this.send(record)
    this.checkCaughtUp()
  }

  private take(record: KernelRecord): void {
    this.cursor += record.length
    this.onRecord.fire(record)
    if (this.cursor - this.acked >= ACK_BYTES) {
      this.acked = this.cursor
      this.stream?.send(ackedFrame(this.cursor))
    }
    this.checkCaughtUp()
  }

  private checkCaughtUp(): void {
    if (!this.behind || this.cursor < this.end) return
    this.behind = false
    this.onCaughtUp.fire()
  }

  private skipTo(next: number): void {
    const lost = next - this.cursor
    this.cursor = next
    this.records.clear()
    if (lost > 0) this.onGap.fire(lost)
    this.checkCaughtUp()
  }

  private finish(reason: TowlineError | undefined): void {
    if (this.over) return
    this.detach()
    this.onOver.fire(reason)
  }

  private async lost(reason: TowlineError): Promise<void> {
    this.stream = undefined
    if (this.over || this.opening) return
    this.opening = true
    this.onLost.fire()
    try {
      if (!isRetryable(reason)) throw reason
      await this.open(this.attached ? this.cursor : undefined, 0)
    } catch (error) {
      const name = error instanceof TowlineError ? error.errorName : ''
      if (name === 'no_kernel') this.finish(error as TowlineError)
      else console.warn(`session ${this.id}: ${error instanceof Error ? error.message : error}`)
    } finally {
      this.opening = false
    }
  }
}
