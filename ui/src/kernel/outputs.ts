/* The outputs of one execution, from messages: streams are joined, displays updated, `clear_output` obeyed, everything bounded.
 *
 * A view takes what changed (`take`) as often as it likes; between two takes many messages cost one change. A stream that would
 * grow beyond STREAM characters loses its middle, and says so: the beginning and the newest text stay. */
import type { Content, Message } from './message'

export const STREAM = 8 * 1024 * 1024
const KEPT_HEAD = 1024 * 1024
const MAX_OUTPUTS = 2000
const LF = 10

export type Output =
  | { output_type: 'stream'; name: 'stdout' | 'stderr'; text: string }
  | { output_type: 'display_data'; data: Content; metadata: Content; displayId?: string }
  | { output_type: 'execute_result'; data: Content; metadata: Content; execution_count: number | null; displayId?: string }
  | { output_type: 'error'; ename: string; evalue: string; traceback: string[] }

/** What is different since the last time. */
export type Change = { kind: 'reset'; outputs: Output[] } | { kind: 'add'; output: Output } | { kind: 'append'; index: number; text: string } | { kind: 'replace'; index: number; output: Output }

interface Slot {
  output: Output
  /* of a stream: how much of `text` a view has */
  told: number
  changed: boolean
  /* the text ends with a return that waits for what comes */
  returned?: boolean
  head?: string
}

export class Outputs {
  private slots: Slot[] = []
  private toldSlots = 0
  private reset = false
  private clearFirst = false
  private full = false

  /** True when the message changed something. Messages that are no output are for others. */
  hear(m: Message): boolean {
    const c = m.content
    switch (m.header.msg_type) {
      case 'stream':
        return this.stream(c.name === 'stderr' ? 'stderr' : 'stdout', String(c.text ?? ''))
      case 'display_data':
        return this.add({ output_type: 'display_data', data: c.data ?? {}, metadata: c.metadata ?? {}, displayId: c.transient?.display_id })
      case 'execute_result':
        return this.add({ output_type: 'execute_result', data: c.data ?? {}, metadata: c.metadata ?? {}, execution_count: c.execution_count ?? null, displayId: c.transient?.display_id })
      case 'error':
        return this.add({ output_type: 'error', ename: String(c.ename ?? ''), evalue: String(c.evalue ?? ''), traceback: Array.isArray(c.traceback) ? c.traceback.map(String) : [] })
      case 'update_display_data':
        return this.update(c)
      case 'clear_output':
        this.clearFirst = !!c.wait
        return c.wait ? false : this.clear()
      default:
        return false
    }
  }

  /** Changes a display with this id, wherever it is. */
  update(c: Content): boolean {
    const id = c.transient?.display_id as string | undefined
    let found = false
    for (const slot of this.slots) {
      const o = slot.output
      if (id === undefined || (o.output_type !== 'display_data' && o.output_type !== 'execute_result') || o.displayId !== id) continue
      slot.output = { ...o, data: c.data ?? {}, metadata: c.metadata ?? {} }
      slot.changed = found = true
    }
    return found
  }

  stream(name: 'stdout' | 'stderr', text: string): boolean {
    this.beforeNew()
    if (!text) return false
    const last = this.slots.at(-1)
    if (last?.output.output_type !== 'stream' || last.output.name !== name) {
      this.push({ output_type: 'stream', name, text: '' })
      if (this.full) return false
    }
    const slot = this.slots.at(-1)!
    const o = slot.output as Output & { output_type: 'stream' }
    const joined = joinStream(o.text, text, slot.returned)
    slot.returned = text.endsWith('\r')
    if (joined.from < slot.told) slot.changed = true
    o.text = joined.text
    if (o.text.length > STREAM) this.shorten(slot, o)
    return true
  }

  /** A line of ours among the output. */
  say(text: string): void {
    this.stream('stderr', text)
  }

  add(output: Output): boolean {
    this.beforeNew()
    this.push(output)
    return true
  }

  clear(): boolean {
    this.clearFirst = false
    this.slots = []
    this.toldSlots = 0
    this.full = false
    this.reset = true
    return true
  }

  /** The view shows something else: everything is new to it. */
  clearShown(): void {
    this.reset = true
  }

  /** True when a view has not everything. */
  get pending(): boolean {
    return this.reset || this.slots.length > this.toldSlots || this.slots.some((s) => s.changed || (s.output.output_type === 'stream' && s.output.text.length > s.told))
  }

  get list(): Output[] {
    return this.slots.map((s) => s.output)
  }

  /** What a view has to do to show what there is now. */
  take(): Change[] {
    if (this.reset) {
      this.reset = false
      for (const slot of this.slots) this.told(slot)
      this.toldSlots = this.slots.length
      return [{ kind: 'reset', outputs: this.list }]
    }
    const out: Change[] = []
    this.slots.forEach((slot, index) => {
      if (index >= this.toldSlots) out.push({ kind: 'add', output: { ...slot.output } })
      else if (slot.changed) out.push({ kind: 'replace', index, output: { ...slot.output } })
      else if (slot.output.output_type === 'stream' && slot.output.text.length > slot.told) out.push({ kind: 'append', index, text: slot.output.text.slice(slot.told) })
      this.told(slot)
    })
    this.toldSlots = this.slots.length
    return out
  }

  private told(slot: Slot): void {
    slot.changed = false
    if (slot.output.output_type === 'stream') slot.told = slot.output.text.length
  }

  private beforeNew(): void {
    if (this.clearFirst) this.clear()
  }

  private push(output: Output): void {
    if (this.slots.length < MAX_OUTPUTS) this.slots.push({ output, told: 0, changed: false })
    else if (!this.full) {
      this.full = true
      this.slots.push({ output: { output_type: 'stream', name: 'stderr', text: `[more than ${MAX_OUTPUTS} outputs: the rest is not shown here]\n` }, told: 0, changed: false })
    }
  }

  /** Keeps the beginning and the newest half, from the beginning of a line. */
  private shorten(slot: Slot, o: Output & { output_type: 'stream' }): void {
    slot.head ??= o.text.slice(0, lineEnd(o.text, KEPT_HEAD))
    const tail = o.text.slice(lineEnd(o.text, o.text.length - STREAM / 2))
    o.text = `${slot.head}\n[… the middle of this output is left out here: an output keeps ${STREAM / 1048576} MiB …]\n\n${tail}`
    slot.changed = true
  }
}

function lineEnd(text: string, from: number): number {
  const lf = text.indexOf('\n', from)
  return lf < 0 ? from : lf + 1
}

/** Appends to a terminal's text: a carriage return begins the line anew, a backspace takes a character. `from`: where it changed.
 *  (A long text that is only appended to is not looked at: that would copy it each time.) */
function joinStream(before: string, text: string, returned = false): { text: string; from: number } {
  if (!returned && !/[\r\b]/.test(text)) return { text: before + text, from: before.length }
  const line = before.lastIndexOf('\n') + 1
  let done = before.slice(0, line)
  let rest = before.slice(line)
  let at = 0
  /* a return that ends the text waits for what comes: a line's end, or a new beginning */
  if (rest.endsWith('\r')) text = '\r' + text, (rest = rest.slice(0, -1))
  let out = ''
  while (at < text.length) {
    const c = text.charCodeAt(at)
    if (c === LF) {
      out += rest + '\n'
      rest = ''
    } else if (c === 13) {
      if (at + 1 === text.length) rest += '\r'
      else if (text.charCodeAt(at + 1) === LF) out += rest + '\n', (rest = ''), at++
      else {
        const end = nextBreak(text, at + 1)
        const fresh = text.slice(at + 1, end)
        rest = fresh + rest.slice(fresh.length)
        at = end - 1
      }
    } else if (c === 8) {
      rest = rest.slice(0, -1)
    } else {
      const end = nextBreak(text, at)
      rest += text.slice(at, end)
      at = end - 1
    }
    at++
  }
  done += out + rest
  return { text: done, from: line }
}

function nextBreak(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === LF || c === 13 || c === 8) return i
  }
  return text.length
}
