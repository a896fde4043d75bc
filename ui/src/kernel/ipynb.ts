/* Notebook files (nbformat 4) as plain data: read, and written as nbformat writes them (keys sorted, one space, lists of lines), so
 * that a notebook that was only looked at keeps its bytes. What the window does not understand (metadata, attachments, unknown
 * fields of cells and outputs) is carried along. No VS Code. */
import { TowlineError } from '../net/errors'

type Json = Record<string, any>

export interface NotebookFile {
  nbformat: number
  nbformat_minor: number
  metadata: Json
  cells: NotebookCell[]
}

export interface NotebookCell {
  cell_type: 'code' | 'markdown' | 'raw'
  id?: string
  source: string
  metadata: Json
  attachments?: Json
  execution_count?: number | null
  outputs?: NotebookOutput[]
}

/** An output as in the file, its texts joined. */
export type NotebookOutput = Json & { output_type: string }

const decoder = new TextDecoder('utf-8', { fatal: true })
const encoder = new TextEncoder()
const bad = (cause: string) => TowlineError.of('invalid', 'read the notebook', cause)

export function emptyNotebook(): NotebookFile {
  return { nbformat: 4, nbformat_minor: 5, metadata: {}, cells: [] }
}

/** Reads a file; an empty one is an empty notebook. Throws a TowlineError that says what is wrong with it. */
export function readNotebook(bytes: Uint8Array): NotebookFile {
  let nb: Json
  try {
    const text = decoder.decode(bytes)
    if (!text.trim()) return emptyNotebook()
    nb = JSON.parse(text) as Json
  } catch (error) {
    throw bad(`it is no JSON text (${error instanceof Error ? error.message : error})`)
  }
  if (nb?.nbformat !== 4) throw bad(nb?.nbformat > 0 ? `its format ${nb.nbformat} is not 4; convert it with: jupyter nbconvert --to notebook` : 'it has no nbformat')
  if (!Array.isArray(nb.cells)) throw bad('it has no cells')
  return { ...nb, nbformat: 4, nbformat_minor: Number(nb.nbformat_minor ?? 0), metadata: nb.metadata ?? {}, cells: nb.cells.map(readCell) } as NotebookFile
}

function readCell(cell: Json): NotebookCell {
  if (!['code', 'markdown', 'raw'].includes(cell?.cell_type)) throw bad(`a cell has the type ${cell?.cell_type}`)
  const out: NotebookCell = { ...cell, cell_type: cell.cell_type, source: join(cell.source), metadata: cell.metadata ?? {} }
  if (cell.attachments) out.attachments = mapBundles(cell.attachments)
  if (cell.cell_type === 'code') {
    out.outputs = (Array.isArray(cell.outputs) ? cell.outputs : []).map(readOutput)
    out.execution_count = cell.execution_count ?? null
  }
  return out
}

function readOutput(output: Json): NotebookOutput {
  const out = { ...output } as NotebookOutput
  if (out.output_type === 'stream') out.text = join(out.text)
  if (out.data) out.data = joinBundle(out.data)
  return out
}

const mapBundles = (attachments: Json): Json => Object.fromEntries(Object.entries(attachments).map(([k, v]) => [k, joinBundle(v)]))
const joinBundle = (data: Json): Json => Object.fromEntries(Object.entries(data).map(([mime, v]) => [mime, isJsonMime(mime) ? v : joinText(v)]))
const join = (v: unknown): string => (Array.isArray(v) ? v.join('') : typeof v === 'string' ? v : '')
const joinText = (v: unknown): unknown => (Array.isArray(v) && v.every((l) => typeof l === 'string') ? v.join('') : v)

export function isJsonMime(mime: string): boolean {
  return mime === 'application/json' || (mime.startsWith('application/') && mime.endsWith('+json'))
}

/** The bytes of the file. */
export function writeNotebook(nb: NotebookFile): Uint8Array {
  const file = { ...nb, cells: nb.cells.map((c) => writeCell(c, nb)) }
  return encoder.encode(JSON.stringify(sorted(file), null, 1) + '\n')
}

function writeCell(cell: NotebookCell, nb: NotebookFile): Json {
  const out: Json = { ...cell, source: lines(cell.source) }
  /* ids came with 4.5 */
  if (nb.nbformat_minor < 5) delete out.id
  if (cell.attachments) out.attachments = Object.fromEntries(Object.entries(cell.attachments).map(([k, v]) => [k, splitBundle(v)]))
  if (cell.cell_type === 'code') {
    out.execution_count = cell.execution_count ?? null
    out.outputs = (cell.outputs ?? []).map((o) => ({ ...o, ...(o.output_type === 'stream' ? { text: lines(o.text) } : {}), ...(o.data ? { data: splitBundle(o.data) } : {}) }))
  } else {
    delete out.execution_count
    delete out.outputs
  }
  return out
}

const SPLIT = new Set(['application/javascript', 'image/svg+xml'])
const splitBundle = (data: Json): Json =>
  Object.fromEntries(Object.entries(data).map(([mime, v]) => [mime, typeof v === 'string' && (mime.startsWith('text/') || SPLIT.has(mime)) ? lines(v) : v]))

/** As Python's splitlines(True), which nbformat uses. */
function lines(text: string): string[] {
  return text.match(/[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]*(?:\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])|[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+$/g) ?? []
}

function sorted(value: any): any {
  if (Array.isArray(value)) return value.map(sorted)
  if (!value || typeof value !== 'object') return value
  /* by code points, as Python sorts */
  return Object.fromEntries(Object.keys(value).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)).map((k) => [k, sorted(value[k])]))
}

/** A new id for a cell, as nbformat makes them: eight hexadecimal digits. */
export function newCellId(): string {
  return [...crypto.getRandomValues(new Uint8Array(4))].map((b) => b.toString(16).padStart(2, '0')).join('')
}
