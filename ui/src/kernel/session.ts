/* One session as a client of the kernel sees it: requests and their answers, what it is doing, everything it says. No VS Code.
 *
 * Owns its viewer. Messages are told in the order of the log, whoever asked. A request of ours that a broken stream may have swallowed
 * is sent once more: only when neither the log since then, nor the running and waiting executions of the snapshot, know it. */
import { TowlineError } from '../net/errors'
import type { KernelInfo, KernelSnapshot, KernelState } from '../net/proto.gen'
import { Signal } from '../net/signal'
import type { Stream } from '../net/socket'
import { CHANNEL, RECORD, type Attached, type KernelRecord } from './records'
import { messageOf, newId, noteOf, requestBytes, type Content, type Message, type Outgoing } from './message'
import { KernelViewer } from './viewer'

/** Executions of the window itself, which nobody typed, begin so: views leave them out. */
export const HIDDEN = 'hidden-'
const PENDING = 4096

export type SessionState = KernelState | 'connecting' | 'ended'

interface Pending {
  record: Uint8Array
  execution: boolean
  /** Was on its way when a stream broke. */
  lost: boolean
  reply?: Content
  idle: boolean
  seen: boolean
  resolve: (content: Content) => void
  reject: (error: Error) => void
}

export interface InputWanted {
  header: Content
  content: Content
}

export class KernelSession {
  info: KernelInfo
  kernelInfo: Content | null = null
  state: SessionState = 'connecting'
  /** The input() that waits for its one answer. */
  input?: InputWanted
  /** Offset before the record that is being told. */
  offset = 0
  readonly onState = new Signal<SessionState>()
  readonly onMessage = new Signal<Message>()
  /** What the process printed outside of Jupyter. */
  readonly onOutput = new Signal<{ stream: 'stdout' | 'stderr'; text: string }>()
  /** The process was replaced or died: what ran and waited is gone. */
  readonly onStopped = new Signal<{ state: string; text: string }>()
  readonly onGap = new Signal<number>()
  readonly onInput = new Signal<InputWanted | undefined>()
  readonly onAttached = new Signal<Attached & { again: boolean }>()
  readonly onSnapshot = new Signal<KernelSnapshot>()
  readonly onCaughtUp = new Signal<void>()
  readonly onEnded = new Signal<string | undefined>()
  caughtUp = false
  private readonly viewer: KernelViewer
  private readonly pending = new Map<string, Pending>()
  private readonly session = `window-${newId()}`
  private readonly decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() }
  private snapshot?: KernelSnapshot

  constructor(openStream: (open: object) => Promise<Stream>, info: KernelInfo, private readonly username: string) {
    this.info = info
    this.viewer = new KernelViewer(openStream, info.id)
    this.viewer.onAttached.on((a) => {
      this.caughtUp = false
      this.onAttached.fire(a)
    })
    this.viewer.onSnapshot.on((s) => {
      this.snapshot = s
      this.info = s.info
      this.kernelInfo = s.kernelInfo as Content | null
      this.input = s.input ?? undefined
      this.onSnapshot.fire(s)
    })
    this.viewer.onRecord.on((r) => this.take(r))
    this.viewer.onCaughtUp.on(() => this.caught())
    this.viewer.onGap.on((bytes) => this.onGap.fire(bytes))
    this.viewer.onLost.on(() => {
      for (const p of this.pending.values()) p.lost = !this.viewer.waits(p.record)
      this.setState('connecting')
    })
    this.viewer.onOver.on((reason) => this.end(reason?.message))
  }

  get id(): string {
    return this.info.id
  }

  get cursor(): number {
    return this.viewer.cursor
  }

  get busy(): boolean {
    return this.state === 'busy'
  }

  attach(at: { from: number } | { tail: number }): Promise<void> {
    return this.viewer.attach(at)
  }

  revive(): void {
    this.viewer.revive()
  }

  leave(): void {
    this.viewer.leave()
    this.fail(TowlineError.of('closed', 'ask the session', 'its view was closed'))
  }

  detach(): void {
    this.viewer.detach()
    this.fail(TowlineError.of('closed', 'ask the session', 'its view was closed'))
  }

  /** Runs code; resolves with the content of execute_reply when the kernel is done with it. What it says comes by onMessage.
   *  `hidden`: no count, no history, not for views. Rejects where the kernel is gone. */
  execute(code: string, options: { id?: string; hidden?: boolean; stdin?: boolean } = {}): Promise<Content> {
    const id = options.id ?? (options.hidden ? HIDDEN : 'run.') + newId()
    return this.request({
      type: 'execute_request', id,
      content: { code, silent: !!options.hidden, store_history: !options.hidden, user_expressions: {}, allow_stdin: !!options.stdin, stop_on_error: !options.hidden }
    })
  }

  /** Asks something on shell or control; resolves with the content of the reply. */
  request(m: Outgoing): Promise<Content> {
    /* only what a person asked to run is seen by views */
    const id = m.id ?? HIDDEN + newId()
    if (this.pending.size >= PENDING) return Promise.reject(TowlineError.of('limit', 'ask the session', 'too many questions wait already'))
    return new Promise((resolve, reject) => {
      try {
        const record = requestBytes(this.session, this.username, new Date(), { ...m, id })
        const execution = m.type === 'execute_request'
        this.pending.set(id, { record, execution, lost: false, idle: false, seen: false, resolve, reject })
        this.viewer.send(record)
      } catch (error) {
        this.pending.delete(id)
        reject(error as Error)
      }
    })
  }

  /** A message that has no answer (comm_msg, comm_close). */
  tell(m: Outgoing): void {
    this.viewer.send(requestBytes(this.session, this.username, new Date(), { ...m, id: m.id ?? newId() }))
  }

  /** Answers input(). */
  answer(wanted: InputWanted, value: string): void {
    this.tell({ type: 'input_reply', channel: CHANNEL.STDIN, parent: wanted.header, content: { status: 'ok', value } })
    this.setInput(undefined)
  }

  /** True where nobody has answered yet and no restart came between. */
  waitsFor(id: string): boolean {
    return this.pending.has(id)
  }

  private take(record: KernelRecord): void {
    this.offset = this.viewer.cursor - record.length
    if (record.kind === RECORD.OUTPUT) {
      const stream = record.channel === 2 ? 'stderr' : 'stdout'
      const text = record.parts.map((p) => this.decoders[stream].decode(p, { stream: true })).join('')
      this.onOutput.fire({ stream, text })
    } else if (record.kind === RECORD.STATE) {
      this.note(noteOf(record) ?? {})
    } else if (record.kind === RECORD.MESSAGE) {
      const message = messageOf(record)
      if (message) this.hear(message)
    }
  }

  private hear(m: Message): void {
    const asked = this.pending.get(m.parent.msg_id ?? '')
    if (asked) asked.seen = true
    const type = m.header.msg_type
    if (type === 'status' && this.caughtUp) this.status(String(m.content.execution_state), m.parent.msg_id ?? '')
    if (type === 'input_request') this.setInput({ header: m.header as unknown as Content, content: m.content })
    if (type === 'execute_reply' && this.input) this.setInput(undefined)
    this.onMessage.fire(m)
    if (!asked) return
    if (type === 'status' && m.content.execution_state === 'idle') asked.idle = true
    else if ((m.channel === CHANNEL.SHELL || m.channel === CHANNEL.CONTROL) && type.endsWith('_reply')) asked.reply = m.content
    /* what was canceled has no messages of its own but the reply */
    if (asked.reply && (asked.idle || !asked.execution || asked.reply.status === 'aborted')) {
      this.pending.delete(m.parent.msg_id!)
      asked.resolve(asked.reply)
    }
  }

  private readonly busyWith = new Set<string>()

  private status(state: string, parent: string): void {
    /* questions of windows are no work */
    if (parent.startsWith(HIDDEN)) return
    if (state === 'busy') this.busyWith.add(parent)
    else this.busyWith.delete(parent)
    if (state === 'busy') this.setState('busy')
    else if (state === 'idle' && this.busyWith.size === 0) this.setState('idle')
  }

  private note(note: Content): void {
    const state = String(note.state ?? '')
    if (state === 'input answered') {
      this.setInput(undefined)
      return
    }
    if (state === 'dead' || state === 'restarting') {
      this.stopRequests(state)
      this.onStopped.fire({ state, text: String(note.output || note.reason || exitWords(note.exit)) })
    }
    if (!this.caughtUp) return
    if (state === 'ready') this.setState('idle')
    else if (state === 'starting' || state === 'restarting' || state === 'dead') this.setState(state)
  }

  /** Only what the kernel had: requests made since then wait for the new process. */
  private stopRequests(state: string): void {
    this.busyWith.clear()
    this.setInput(undefined)
    this.fail(TowlineError.of('canceled', 'run code', state === 'dead' ? 'the kernel has died' : 'the kernel was restarted'))
  }

  private caught(): void {
    this.caughtUp = true
    this.busyWith.clear()
    const s = this.snapshot
    if (s) {
      if (s.running && s.info.state === 'busy') this.busyWith.add(s.running.msgId)
      this.setState(s.info.state)
      this.sendAgain(s)
    }
    if (this.input) this.onInput.fire(this.input)
    this.onCaughtUp.fire()
  }

  private sendAgain(s: KernelSnapshot): void {
    const known = new Set([s.running, ...s.queue].map((e) => e?.msgId))
    for (const [id, p] of this.pending) {
      if (!p.lost || p.seen || known.has(id)) continue
      p.lost = false
      this.viewer.send(p.record)
    }
  }

  private setInput(wanted: InputWanted | undefined): void {
    if (this.input === wanted) return
    this.input = wanted
    if (this.caughtUp) this.onInput.fire(wanted)
  }

  private setState(state: SessionState): void {
    if (this.state === state || this.state === 'ended') return
    this.state = state
    this.onState.fire(state)
  }

  private fail(error: TowlineError): void {
    const waiting = [...this.pending.values()]
    this.pending.clear()
    for (const p of waiting) p.reject(error)
  }

  private end(text: string | undefined): void {
    this.fail(TowlineError.of('no_kernel', 'ask the session'))
    this.setState('ended')
    this.onEnded.fire(text)
  }
}

function exitWords(exit: { kind?: string; value?: number } | undefined): string {
  if (!exit) return ''
  return exit.kind === 'signal' ? `ended by signal ${exit.value}` : `ended with status ${exit.value}`
}
