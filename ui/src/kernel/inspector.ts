/* Questions about a kernel's values, over a comm with the helper that runs in it (helpers.ts). The helper is put there with the first
 * question, and again after a restart. Knows nothing of VS Code. */
import { helperFor } from './helpers'
import { newId, type Content, type Message } from './message'
import { HIDDEN, type KernelSession } from './session'

const TARGET = 'towline'
const WAITING = 64

export interface Variable {
  name: string
  type: string
  value: string
  more: boolean
  table: boolean
}

/** A name, then numbers of children. */
export type Path = [string, ...number[]]

export interface TableInfo {
  table: number
  rows: number
  columns: { name: string; type: string }[]
}

export interface Sort {
  column: number
  down: boolean
}

export interface Rows {
  labels: string[]
  cells: (string | null)[][]
}

export class Inspector {
  private comm?: Promise<string>
  private commId = ''
  private next = 1
  private nextTable = 1
  private readonly waiting = new Map<number, { resolve: (v: unknown) => void; reject: (e: Error) => void }>()

  constructor(private readonly session: KernelSession, private readonly language: string) {
    session.onMessage.on((m) => this.hear(m))
    session.onStopped.on(() => this.forget('the kernel was restarted'))
    session.onEnded.on(() => this.forget('the session has ended'))
  }

  get able(): boolean {
    return helperFor(this.language) !== undefined
  }

  list(): Promise<Variable[]> {
    return this.ask({ method: 'list' })
  }

  children(path: Path): Promise<Variable[]> {
    return this.ask({ method: 'children', path })
  }

  open(path: Path): Promise<TableInfo> {
    return this.ask({ method: 'open', path, as: this.nextTable++ })
  }

  rows(table: number, from: number, to: number, first: number, last: number, sort: Sort | null): Promise<Rows> {
    return this.ask({ method: 'rows', table, from, to, first, last, sort })
  }

  close(table: number): void {
    if (this.commId) void this.ask({ method: 'close', table }).catch(() => {})
  }

  private async ask<T>(question: object): Promise<T> {
    if (this.waiting.size >= WAITING) throw new Error('the kernel has not answered earlier questions yet')
    this.comm ??= this.install()
    let comm: string
    try {
      comm = await this.comm
    } catch (error) {
      this.comm = undefined
      throw error
    }
    const id = this.next++
    return new Promise<T>((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (v: unknown) => void, reject })
      this.session.tell({ type: 'comm_msg', id: HIDDEN + newId(), content: { comm_id: comm, data: { id, json: JSON.stringify(question) } } })
    })
  }

  private async install(): Promise<string> {
    const code = helperFor(this.language)
    if (!code) throw new Error(`values of ${this.language} cannot be looked at`)
    const reply = await this.session.execute(code, { hidden: true })
    if (reply.status !== 'ok') throw new Error(`${reply.ename ?? 'error'}: ${reply.evalue ?? reply.status}`)
    this.commId = newId()
    this.session.tell({ type: 'comm_open', id: HIDDEN + newId(), content: { comm_id: this.commId, target_name: TARGET, data: {} } })
    return this.commId
  }

  private hear(m: Message): void {
    const c = m.content as Content
    /* after an error IRkernel drops all that waits, without an answer */
    if (this.language === 'r' && m.header.msg_type === 'execute_reply' && c.status !== 'ok' && this.session.caughtUp) this.drop('the kernel dropped the question after an error')
    if (!this.commId || c.comm_id !== this.commId) return
    if (m.header.msg_type === 'comm_close') this.forget('the kernel closed the channel')
    if (m.header.msg_type !== 'comm_msg') return
    const call = this.waiting.get(Number(c.data?.id))
    this.waiting.delete(Number(c.data?.id))
    if (!call) return
    if (typeof c.data.json === 'string') call.resolve(JSON.parse(c.data.json))
    else call.reject(new Error(String(c.data.error ?? 'no answer')))
  }

  private forget(why: string): void {
    this.comm = undefined
    this.commId = ''
    this.drop(why)
  }

  private drop(why: string): void {
    const waiting = [...this.waiting.values()]
    this.waiting.clear()
    for (const call of waiting) call.reject(new Error(why))
  }
}
