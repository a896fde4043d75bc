/* Executions of cells: what the session says about each of them becomes the cell's outputs, order, time and success.
 *
 * A Binding is one notebook document (a file, or a console) on one session. It hears every message of the session, whoever asked, so
 * that what was started by another window, or before this page was loaded, is shown as well. While the old part of the log comes,
 * executions are only gathered; `restore` then shows them at once. */
import type * as vscode from 'vscode'
import type { Message } from '../kernel/message'
import { newId } from '../kernel/message'
import { Outputs } from '../kernel/outputs'
import { HIDDEN, type KernelSession } from '../kernel/session'
import type { KernelExecution } from '../net/proto.gen'
import { appendedItem, toCellOutput } from './convert'
import type { Sessions } from './service'

const FLUSH_MS = 60
/* drawing may take this part of the time */
const FLUSH_SHARE = 4
const RUNS = 2000
const LINE = '\x1b[2m'
const OUTPUT = new Set(['stream', 'display_data', 'execute_result', 'error'])

export class Run {
  readonly outputs = new Outputs()
  code = ''
  count?: number
  startedMs?: number
  endedMs?: number
  success?: boolean
  ended = false
  /** Offset of its first record: from here on it can be made anew. */
  from = 0
  cell?: vscode.NotebookCell
  private execution?: vscode.NotebookCellExecution
  private begun = false
  private outs: vscode.NotebookCellOutput[] = []
  private timer?: ReturnType<typeof setTimeout>
  private flushing?: Promise<void>
  private replied = false
  private idle = false

  constructor(private readonly api: typeof vscode, readonly id: string) {}

  /** Shows it in a cell from now on. `clear`: what the cell shows is older. */
  show(controller: vscode.NotebookController, cell: vscode.NotebookCell, clear: boolean): void {
    this.cell = cell
    this.execution = controller.createNotebookCellExecution(cell)
    if (clear) this.outputs.clearShown()
    if (this.startedMs !== undefined) this.begin()
    if (this.ended) void this.finish()
    else this.schedule()
  }

  hear(m: Message): void {
    const c = m.content
    switch (m.header.msg_type) {
      case 'status':
        if (c.execution_state === 'busy') this.start(m.timeMs)
        else if (c.execution_state === 'idle') this.idle = true
        break
      case 'execute_input':
        this.start(m.timeMs)
        this.count = Number(c.execution_count) || undefined
        this.code = String(c.code ?? '')
        if (this.execution) this.execution.executionOrder = this.count
        break
      case 'execute_reply':
        this.replied = true
        this.success = c.status === 'ok'
        for (const p of Array.isArray(c.payload) ? c.payload : []) {
          if (p?.source === 'page' && p.data) this.outputs.add({ output_type: 'display_data', data: p.data, metadata: {} })
        }
        if (c.status === 'aborted') this.idle = true
        break
      default:
        if (this.outputs.hear(m)) this.schedule()
    }
    if (this.replied && this.idle) this.end(m.timeMs)
  }

  say(text: string): void {
    this.outputs.say(text)
    this.schedule()
  }

  /** It will not be heard of any more. */
  stop(timeMs: number, text?: string): void {
    if (this.ended) return
    if (text) this.outputs.say(text)
    this.success = false
    this.end(timeMs)
  }

  private start(timeMs: number): void {
    if (this.startedMs !== undefined) return
    this.startedMs = timeMs
    this.begin()
  }

  private begin(): void {
    if (this.begun || !this.execution) return
    this.begun = true
    this.execution.executionOrder = this.count
    this.execution.start(this.startedMs)
    this.schedule()
  }

  private end(timeMs: number): void {
    if (this.ended) return
    this.ended = true
    this.endedMs = timeMs
    void this.finish()
  }

  private async finish(): Promise<void> {
    if (!this.execution) return
    clearTimeout(this.timer)
    this.timer = undefined
    /* VS Code wants a beginning before an end */
    if (!this.begun) {
      this.begun = true
      this.execution.start(this.startedMs)
    }
    await this.flush()
    const execution = this.execution
    this.execution = undefined
    execution.executionOrder = this.count
    execution.end(this.startedMs === undefined ? undefined : this.success, this.startedMs === undefined ? undefined : this.endedMs)
  }

  private schedule(after = FLUSH_MS): void {
    if (!this.execution || !this.begun || this.timer !== undefined || this.flushing) return
    this.timer = setTimeout(() => {
      this.timer = undefined
      const begin = Date.now()
      void this.flush().then(() => {
        if (this.outputs.pending) this.schedule(Math.max(FLUSH_MS, FLUSH_SHARE * (Date.now() - begin)))
      })
    }, after)
  }

  /** A display that lives in another cell was changed. */
  async refresh(controller: vscode.NotebookController): Promise<void> {
    if (this.execution) return this.schedule()
    if (!this.cell) return
    const execution = controller.createNotebookCellExecution(this.cell)
    execution.executionOrder = this.count
    execution.start(this.startedMs)
    this.execution = execution
    await this.flush()
    this.execution = undefined
    execution.end(this.success, this.endedMs)
  }

  private async flush(): Promise<void> {
    while (this.flushing) await this.flushing
    this.flushing = this.apply().catch((error) => console.warn('an output could not be shown', error))
    await this.flushing
    this.flushing = undefined
  }

  private async apply(): Promise<void> {
    const x = this.execution
    if (!x) return
    for (const change of this.outputs.take()) {
      if (change.kind === 'reset') {
        this.outs = change.outputs.map((o) => toCellOutput(this.api, o))
        await x.replaceOutput(this.outs)
      } else if (change.kind === 'add') {
        const out = toCellOutput(this.api, change.output)
        this.outs.push(out)
        await x.appendOutput(out)
      } else if (change.kind === 'append') {
        const o = this.outputs.list[change.index]
        await x.appendOutputItems(appendedItem(this.api, o.output_type === 'stream' ? o.name : 'stdout', change.text), this.outs[change.index])
      } else {
        const out = toCellOutput(this.api, change.output)
        await x.replaceOutputItems(out.items, this.outs[change.index])
      }
    }
  }
}

export interface BindingHooks {
  controller(): vscode.NotebookController
  /** A cell for an execution that was not asked for by this page: one that is there, a new one, or none. */
  adopt(run: Run): Promise<vscode.NotebookCell | undefined>
  /** The old part of the log has come. */
  restore(runs: Run[], notes: Map<Run, string[]>): Promise<void>
  /** Something that belongs to no execution. */
  note(text: string): void
}

export class Binding {
  readonly runs = new Map<string, Run>()
  readonly ready: Promise<void>
  restoring = true
  private order: Promise<void> = Promise.resolve()
  private readonly off: (() => void)[] = []
  private readonly notes = new Map<Run, string[]>()
  private current?: Run

  /** Before the session is attached. */
  constructor(private readonly sessions: Sessions, readonly session: KernelSession, private readonly hooks: BindingHooks) {
    this.off.push(
      session.onMessage.on((m) => this.hear(m)),
      session.onGap.on((bytes) => this.gap(bytes)),
      session.onStopped.on(({ state, text }) => this.stopped(state, text)),
      session.onOutput.on(({ text }) => this.current && !this.current.ended && this.current.say(text)),
      session.onEnded.on((text) => this.stopped('ended', text ?? ''))
    )
    this.ready = new Promise((resolve) => {
      const begin = () => {
        const work = this.restore().catch((error) => console.error(error))
        this.order = work
        void work.then(resolve)
      }
      if (session.caughtUp) begin()
      else {
        const off = session.onCaughtUp.on(() => {
          off()
          begin()
        })
        this.off.push(off)
      }
    })
  }

  dispose(): void {
    for (const off of this.off) off()
  }

  /** Runs cells in order; each is asked for at once, so that all of them run also when nobody waits. */
  async execute(cells: { cell: vscode.NotebookCell; name: string }[]): Promise<void> {
    await this.ready
    const begun = cells.map(({ cell, name }) => {
      const run = new Run(this.sessions.api, `${name}.${newId().slice(0, 12)}`)
      run.code = cell.document.getText()
      run.outputs.clear()
      run.from = this.session.cursor
      this.add(run)
      run.show(this.hooks.controller(), cell, false)
      return run
    })
    await Promise.all(begun.map(async (run) => {
      try {
        await this.session.execute(run.code, { id: run.id, stdin: true })
      } catch (error) {
        run.stop(Date.now(), `${LINE}[${error instanceof Error ? error.message : error}]\x1b[0m\n`)
      }
    }))
  }

  get unfinished(): Run[] {
    return [...this.runs.values()].filter((r) => !r.ended)
  }

  private add(run: Run): void {
    this.runs.set(run.id, run)
    for (const [id, old] of this.runs) {
      if (this.runs.size <= RUNS) break
      if (old.ended) this.runs.delete(id)
    }
  }

  private hear(m: Message): void {
    const id = m.parent.msg_id
    if (!id || id.startsWith(HIDDEN)) return
    let run = this.runs.get(id)
    const type = m.header.msg_type
    if (!run && (type === 'execute_input' || (this.restoring && OUTPUT.has(type)))) {
      run = new Run(this.sessions.api, id)
      run.from = this.session.offset
      if (type !== 'execute_input') run.outputs.say(`${LINE}[… what this said before is not kept, or not fetched …]\x1b[0m\n`)
      this.add(run)
      if (!this.restoring) this.adopt(run, String(m.content.code ?? ''))
    }
    if (m.header.msg_type === 'update_display_data' && !run?.outputs.update(m.content)) {
      for (const other of this.runs.values()) {
        if (other === run || !other.outputs.update(m.content)) continue
        if (!this.restoring) void other.refresh(this.hooks.controller()).catch(() => {})
      }
    }
    if (!run) return
    if (m.header.msg_type === 'execute_input') this.current = run
    run.hear(m)
  }

  private adopt(run: Run, code: string): void {
    run.code = code
    this.order = this.order.then(async () => {
      const cell = await this.hooks.adopt(run)
      if (cell) run.show(this.hooks.controller(), cell, true)
    }).catch((error) => console.error(error))
  }

  private async restore(): Promise<void> {
    this.restoring = false
    const s = this.session
    const waiting: KernelExecution[] = this.waiting
    for (const e of waiting) {
      const known = this.runs.get(e.msgId)
      if (known) known.code ||= e.code
      if (e.msgId.startsWith(HIDDEN) || known) continue
      const run = new Run(this.sessions.api, e.msgId)
      run.code = e.code
      run.from = s.cursor
      this.add(run)
    }
    /* an execution whose end was lost in a gap */
    const alive = new Set(waiting.map((e) => e.msgId))
    for (const run of this.runs.values()) if (!run.ended && !alive.has(run.id)) run.stop(run.startedMs ?? Date.now())
    await this.hooks.restore([...this.runs.values()], this.notes)
    this.notes.clear()
  }

  /** What runs and waits according to the last snapshot; set by its owner. */
  waiting: KernelExecution[] = []

  private gap(bytes: number): void {
    const text = `[… ${bytes.toLocaleString('en')} bytes of the session's log are not kept any more: output is missing here …]`
    const open = this.unfinished
    if (open.length) for (const run of open) run.say(`\n${LINE}${text}\x1b[0m\n`)
    else this.say(text)
  }

  private stopped(state: string, text: string): void {
    const words = { dead: 'The kernel has died', restarting: 'The kernel was restarted', ended: 'The session has ended' }[state] ?? state
    for (const run of this.unfinished) run.stop(Date.now(), `${LINE}[${words}]\x1b[0m\n`)
    this.say(text ? `${words}: ${text.trim()}` : words)
  }

  private say(text: string): void {
    if (!this.restoring) return this.hooks.note(text)
    const last = [...this.runs.values()].at(-1)
    if (last) this.notes.set(last, [...(this.notes.get(last) ?? []), text])
    else this.hooks.note(text)
  }
}
