/* A viewer of one terminal: its stream, its cursor in the log, its credit. Knows nothing of VS Code.
 *
 * Owns the stream and opens it again, from the cursor, when it broke. Text comes out once and in order; where the log had to
 * drop some, `onGap` says how much. What is typed arrives once and in order, also over several streams (typed.ts). */
import { TowlineError, isRetryable } from '../net/errors'
import { limits } from '../net/proto'
import { Signal } from '../net/signal'
import type { Stream } from '../net/socket'
import { HoldParser, ackedFrame, attachFrame, resizeFrame, signalFrame, type Attached } from './hold'
import { Typed } from './typed'

const TAIL = 256 * 1024
const ACK_BYTES = 16 * 1024
/* the window must open again even where the screen forgot to count something */
const STUCK_MS = 3000
/* how far to look for a line's end where the log does not begin at its beginning */
const TORN_BYTES = 4096
const LF = 10
const NOT_TAKEN = '\r\n\x1b[0;2m[… what was typed or pasted is too much to keep until the host answers, and is left out …]\x1b[0m\r\n'

export interface Piece {
  text: string
  /** Old text: what the terminal answers to it must not reach the program. */
  replay: boolean
}

interface Outstanding {
  chars: number
  end: number
}

export class TerminalViewer {
  readonly onPiece = new Signal<Piece>()
  readonly onReplay = new Signal<Attached>()
  readonly onReplayDone = new Signal<void>()
  readonly onGap = new Signal<number>()
  readonly onExit = new Signal<number | undefined>()
  readonly onSize = new Signal<{ cols: number; rows: number }>()
  private stream?: Stream
  private cursor = 0
  private replayEnd = 0
  private replaying = false
  private torn = false
  private attachedOnce = false
  private decoder = new TextDecoder()
  private readonly outstanding: Outstanding[] = []
  private acked = 0
  private stuck?: ReturnType<typeof setTimeout>
  private readonly typed = new Typed()
  private full = false
  private ended = false
  private opening = false
  private size?: { cols: number; rows: number }

  constructor(private readonly openStream: (open: object) => Promise<Stream>, readonly id: string) {}

  /** Attaches: from the beginning of the log when the terminal is `fresh`, else from its tail. Rejects where it cannot. */
  async attach(fresh: boolean): Promise<void> {
    await this.open(fresh ? 0 : undefined)
  }

  input(bytes: Uint8Array): void {
    if (this.ended) return
    const full = !this.typed.type(bytes)
    if (full && !this.full) this.onPiece.fire({ text: NOT_TAKEN, replay: true })
    this.full = full
    this.flush()
  }

  private flush(): void {
    if (!this.stream?.open) return
    for (const frame of this.typed.frames()) this.stream.send(frame)
  }

  resize(cols: number, rows: number): void {
    this.size = { cols, rows }
    this.stream?.send(resizeFrame(cols, rows))
  }

  signal(number: number): void {
    this.stream?.send(signalFrame(number))
  }

  /** The screen has drawn `chars` characters more. */
  consumed(chars: number): void {
    while (chars > 0 && this.outstanding.length) {
      const first = this.outstanding[0]
      const taken = Math.min(chars, first.chars)
      first.chars -= taken
      chars -= taken
      if (first.chars > 0) break
      this.outstanding.shift()
      this.acknowledge(first.end)
    }
    this.watchStuck()
  }

  /** Leaves the terminal alone. */
  detach(): void {
    this.ended = true
    clearTimeout(this.stuck)
    this.stream?.close()
    this.stream = undefined
  }

  private async open(from: number | undefined): Promise<void> {
    const stream = await this.openStream({ open: 'term', id: this.id })
    if (this.ended) {
      stream.close()
      return
    }
    const parser = new HoldParser({
      attached: (a) => this.begin(a),
      data: (bytes) => this.take(bytes),
      gap: (next) => this.skipTo(next),
      exit: (kind, value) => this.finish(kind === 'exit' ? value : 128 + value),
      size: (cols, rows) => this.onSize.fire({ cols, rows }),
      inputAcked: (offset) => {
        this.typed.acked(offset)
        this.flush()
      }
    })
    this.stream = stream
    this.outstanding.length = 0
    this.acked = from ?? 0
    stream.onClose = (reason) => void this.lost(reason)
    stream.send(this.typed.begin())
    stream.send(attachFrame(from, TAIL, limits.TERM_WINDOW))
    if (this.size) stream.send(resizeFrame(this.size.cols, this.size.rows))
    this.flush()
    stream.onData = (bytes) => {
      try {
        parser.feed(bytes)
      } catch (error) {
        console.error(error)
        stream.close()
        void this.lost(TowlineError.of('closed', 'read the terminal'))
      }
    }
  }

  private begin(a: Attached): void {
    this.typed.attached()
    this.flush()
    const again = this.attachedOnce
    this.attachedOnce = true
    if (again) {
      if (a.from > this.cursor) this.skipTo(a.from)
      this.cursor = a.from
      return
    }
    this.cursor = a.from
    this.acked = a.from
    this.torn = a.from > a.first
    this.replayEnd = a.end
    if (a.end > a.from) {
      this.replaying = true
      this.onReplay.fire(a)
    } else {
      this.onReplayDone.fire()
    }
  }

  private take(bytes: Uint8Array): void {
    while (bytes.length) {
      /* a frame may hold the last of the old and the first of the new text */
      const old = this.replaying ? Math.min(bytes.length, this.replayEnd - this.cursor) : 0
      const part = old > 0 ? bytes.subarray(0, old) : bytes
      bytes = bytes.subarray(part.length)
      this.cursor += part.length
      this.emit(this.wholeLine(part))
      if (this.replaying && this.cursor >= this.replayEnd) {
        this.replaying = false
        this.onReplayDone.fire()
      }
    }
    this.watchStuck()
  }

  /** Cuts what is before the first line's end, where the log begins in the middle of something. */
  private wholeLine(part: Uint8Array): Uint8Array {
    if (!this.torn) return part
    this.torn = false
    const lf = part.subarray(0, TORN_BYTES).indexOf(LF)
    return lf < 0 ? part : part.subarray(lf + 1)
  }

  private emit(part: Uint8Array): void {
    const text = this.decoder.decode(part, { stream: true })
    this.outstanding.push({ chars: text.length, end: this.cursor })
    if (text) this.onPiece.fire({ text, replay: this.replaying })
    else this.consumed(0)
  }

  private skipTo(next: number): void {
    const lost = next - this.cursor
    this.cursor = next
    this.decoder = new TextDecoder()
    if (lost > 0) this.onGap.fire(lost)
  }

  private acknowledge(end: number): void {
    if (end <= this.acked) return
    if (end - this.acked < ACK_BYTES && this.outstanding.length) return
    this.acked = end
    this.stream?.send(ackedFrame(end))
  }

  private watchStuck(): void {
    clearTimeout(this.stuck)
    if (this.cursor - this.acked < limits.TERM_WINDOW / 2) return
    this.stuck = setTimeout(() => {
      this.outstanding.length = 0
      this.acknowledge(this.cursor)
    }, STUCK_MS)
  }

  private finish(code: number | undefined): void {
    if (this.ended) return
    const rest = this.decoder.decode()
    if (rest) this.onPiece.fire({ text: rest, replay: this.replaying })
    this.detach()
    this.onExit.fire(code)
  }

  private async lost(reason: TowlineError): Promise<void> {
    this.stream = undefined
    if (this.ended || this.opening) return
    this.opening = true
    try {
      if (!isRetryable(reason)) throw reason
      await this.open(this.attachedOnce ? this.cursor : undefined)
    } catch (error) {
      if (this.ended) return
      const name = error instanceof TowlineError ? error.errorName : ''
      if (name === 'no_terminal') {
        this.onPiece.fire({ text: '\r\n\x1b[2m[this terminal is gone: the host was restarted, or it was ended elsewhere]\x1b[0m\r\n', replay: true })
        this.finish(undefined)
      } else {
        this.onPiece.fire({ text: `\r\n\x1b[2m[not connected: ${error instanceof Error ? error.message : error}]\x1b[0m\r\n`, replay: true })
      }
    } finally {
      this.opening = false
    }
  }

  /** Tries again after a failure that was not for ever. */
  revive(): void {
    if (!this.ended && !this.stream) void this.lost(TowlineError.of('closed', 'read the terminal'))
  }
}
