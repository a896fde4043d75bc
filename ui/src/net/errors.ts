/* Failures of the wire as errors with the names of proto/errors.def. */
import { errors, type ErrorName } from './proto'

const byName = new Map<string, (typeof errors)[number]>(errors.map((row) => [row.name, row]))
const byNumber = new Map<number, (typeof errors)[number]>(errors.map((row) => [row.number, row]))

export class TowlineError extends Error {
  constructor(readonly errorName: string, readonly number: number, readonly retryable: boolean, message: string) {
    super(message)
    this.name = 'TowlineError'
  }

  /** `intent: what happened. what to do`, in the words of the table. */
  static of(name: ErrorName, intent: string, cause?: string): TowlineError {
    const row = byName.get(name)!
    return new TowlineError(name, row.number, row.retryable, `${intent}: ${cause || row.what}. ${row.todo}`)
  }

  static numbered(number: number, text: string): TowlineError {
    const row = byNumber.get(number) ?? byName.get('closed')!
    return new TowlineError(row.name, row.number, row.retryable, text || `${row.what}. ${row.todo}`)
  }
}

/** The error member of a JSON-RPC answer. */
export function fromRpcError(error: { code: number; message: string; data?: { name?: string; number?: number }; name?: string }): TowlineError {
  const name = error.data?.name ?? error.name
  const row = (name && byName.get(name)) || errors.find((e) => e.jsonrpc === error.code) || byName.get('internal')!
  return new TowlineError(row.name, row.number, row.retryable, withTodo(error.message || row.what, row.todo))
}

/** The next step belongs to what a person reads; some messages have it already. */
function withTodo(message: string, todo: string): string {
  return !todo || message.includes(todo) ? message : `${message.replace(/\.$/, '')}. ${todo}`
}

/** What happened, as a sentence of its own, below a heading that names the host: without saying again what was tried. */
export function causeOf(error: unknown): string {
  const text = (error instanceof Error ? error.message : String(error)).replace(/^(cannot )?connect to [^:]+: /i, '')
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/* what breaks streams while a new link is made by itself: the agent was restarted, or the old link could not be resumed */
const LINK_ANEW = ['gap', 'unknown_link', 'not_connected']

/** True when the same request may work later although nobody did anything. */
export function isRetryable(error: unknown): boolean {
  return error instanceof TowlineError && (error.retryable || LINK_ANEW.includes(error.errorName))
}

/* SFTP v3's own codes, for servers whose message does not begin with a name */
const STATUS_NAMES: Record<number, ErrorName> = { 2: 'not_found', 3: 'no_permission', 5: 'protocol', 6: 'closed', 7: 'closed', 8: 'unsupported' }

/** A failing SFTP status. Ours begin with a name of proto/errors.def and a colon. */
export function statusError(code: number, message: string): TowlineError {
  const colon = message.indexOf(':')
  const row = (colon > 0 && byName.get(message.slice(0, colon))) || byName.get(STATUS_NAMES[code] ?? 'io')!
  const text = colon > 0 && byName.has(message.slice(0, colon)) ? message.slice(colon + 1).trim() : message
  /* the request failed, not the stream: never tried again on its own */
  return new TowlineError(row.name, row.number, false, text || row.what)
}
