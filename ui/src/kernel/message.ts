/* Jupyter messages as records carry them: four JSON parts and buffers. */
import { CHANNEL, RECORD, recordBytes, type KernelRecord } from './records'

export const PROTOCOL = '5.3'

export interface Header {
  msg_id: string
  msg_type: string
  session: string
  username: string
  date: string
  version: string
}

/** Content by message type differs; what is read from it is checked where it is read. */
export type Content = Record<string, any>

export interface Message {
  channel: number
  header: Header
  parent: Partial<Header>
  metadata: Content
  content: Content
  buffers: Uint8Array[]
  timeMs: number
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const json = (part: Uint8Array): Content => JSON.parse(decoder.decode(part)) as Content

/** A record of kind MESSAGE; undefined where it is none that can be read. */
export function messageOf(record: KernelRecord): Message | undefined {
  if (record.kind !== RECORD.MESSAGE || record.parts.length < 4) return undefined
  try {
    const [header, parent, metadata, content] = record.parts.map((p, i) => (i < 4 ? json(p) : {}))
    if (typeof header.msg_type !== 'string') return undefined
    return { channel: record.channel, header: header as Header, parent: parent ?? {}, metadata: metadata ?? {}, content: content ?? {}, buffers: record.parts.slice(4), timeMs: record.timeMs }
  } catch {
    return undefined
  }
}

/** What the hold itself says (records of kind STATE and LOST). */
export function noteOf(record: KernelRecord): Content | undefined {
  try {
    return record.parts.length === 1 ? json(record.parts[0]) : undefined
  } catch {
    return undefined
  }
}

export function newId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('')
}

export interface Outgoing {
  type: string
  content: Content
  id?: string
  channel?: number
  parent?: object
  buffers?: Uint8Array[]
}

/** The record of a message to the kernel. */
export function requestBytes(session: string, username: string, now: Date, m: Outgoing & { id: string }): Uint8Array {
  const header: Header = { msg_id: m.id, msg_type: m.type, session, username, date: now.toISOString(), version: PROTOCOL }
  const parts = [header, m.parent ?? {}, {}, m.content].map((p) => encoder.encode(JSON.stringify(p)))
  return recordBytes(RECORD.MESSAGE, m.channel ?? CHANNEL.SHELL, now.getTime(), [...parts, ...(m.buffers ?? [])])
}
