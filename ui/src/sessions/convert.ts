/* Between notebook files (kernel/ipynb.ts), outputs of executions (kernel/outputs.ts) and VS Code's notebook data.
 *
 * What VS Code has no place for travels in metadata: of a document {file}, of a cell {id, metadata, attachments, extra}, of an output
 * {output_type, metadata, execution_count, extra, exact}. */
import type * as vscode from 'vscode'
import { isJsonMime, newCellId, type NotebookCell, type NotebookFile, type NotebookOutput } from '../kernel/ipynb'
import type { Output } from '../kernel/outputs'
import { languageOf } from './service'

type Api = typeof vscode
type Json = Record<string, any>

const STDOUT = 'application/vnd.code.notebook.stdout'
const STDERR = 'application/vnd.code.notebook.stderr'
const ERROR = 'application/vnd.code.notebook.error'
const decoder = new TextDecoder()
const encoder = new TextEncoder()

/** The language of a notebook's code. */
export function languageOfFile(metadata: Json): string {
  const name = metadata.language_info?.name ?? metadata.kernelspec?.language
  return typeof name === 'string' && name ? languageOf({ language: name }) : 'python'
}

export function toData(api: Api, nb: NotebookFile): vscode.NotebookData {
  const language = languageOfFile(nb.metadata)
  const data = new api.NotebookData(nb.cells.map((c) => toCellData(api, c, language)))
  const { cells: _cells, ...file } = nb
  data.metadata = { file }
  return data
}

function toCellData(api: Api, cell: NotebookCell, language: string): vscode.NotebookCellData {
  const { cell_type, id, source, metadata, attachments, execution_count, outputs, ...extra } = cell
  const own = metadata.vscode?.languageId
  const data = cell_type === 'markdown' ? new api.NotebookCellData(api.NotebookCellKind.Markup, source, 'markdown')
    : new api.NotebookCellData(api.NotebookCellKind.Code, source, cell_type === 'raw' ? 'raw' : typeof own === 'string' ? own : language)
  data.metadata = { ...(id !== undefined ? { id } : {}), metadata, ...(attachments ? { attachments } : {}), ...(Object.keys(extra).length ? { extra } : {}) }
  if (cell_type === 'code') {
    data.outputs = (outputs ?? []).map((o) => fromFile(api, o))
    if (execution_count) data.executionSummary = { executionOrder: execution_count }
  }
  return data
}

export function fromData(api: Api, data: vscode.NotebookData): NotebookFile {
  const file = (data.metadata?.file ?? {}) as Json
  const nb: NotebookFile = { nbformat: 4, nbformat_minor: 5, metadata: {}, ...file, cells: [] }
  const language = languageOfFile(nb.metadata)
  nb.cells = data.cells.map((c) => fromCellData(api, c, language, nb))
  return nb
}

function fromCellData(api: Api, data: vscode.NotebookCellData, language: string, nb: NotebookFile): NotebookCell {
  const m = (data.metadata ?? {}) as Json
  const type = data.kind === api.NotebookCellKind.Markup ? 'markdown' : data.languageId === 'raw' ? 'raw' : 'code'
  let metadata: Json = m.metadata ?? {}
  /* a cell of another language than the notebook's says so, as VS Code writes it */
  const named = metadata.vscode?.languageId
  if (type === 'code' && data.languageId !== language && named !== data.languageId) metadata = { ...metadata, vscode: { ...metadata.vscode, languageId: data.languageId } }
  else if (type === 'code' && data.languageId === language && named !== undefined && named !== language) {
    const { languageId: _gone, ...rest } = metadata.vscode
    const { vscode: _old, ...others } = metadata
    metadata = Object.keys(rest).length ? { ...others, vscode: rest } : others
  }
  const cell: NotebookCell = { ...(m.extra ?? {}), cell_type: type, metadata, source: data.value }
  if (nb.nbformat_minor >= 5) cell.id = m.id ?? newCellId()
  if (m.attachments && type !== 'code') cell.attachments = m.attachments
  if (type === 'code') {
    cell.execution_count = data.executionSummary?.executionOrder || null
    cell.outputs = (data.outputs ?? []).map((o) => toFile(o))
  }
  return cell
}

/* ---- outputs ---- */

function item(api: Api, mime: string, value: unknown, exact?: Json): vscode.NotebookCellOutputItem {
  if (isJsonMime(mime)) return new api.NotebookCellOutputItem(encoder.encode(JSON.stringify(value)), mime)
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  if (!isBinary(mime)) return new api.NotebookCellOutputItem(encoder.encode(text), mime)
  const bytes = fromBase64(text)
  if (!bytes) return new api.NotebookCellOutputItem(encoder.encode(text), mime)
  if (exact && toBase64(bytes) !== text) exact[mime] = text.endsWith('\n') && toBase64(bytes) === text.slice(0, -1) ? '\n' : text
  return new api.NotebookCellOutputItem(bytes, mime)
}

const isBinary = (mime: string) => (/^(image|audio|video)\//.test(mime) && mime !== 'image/svg+xml') || mime === 'application/pdf'

/** An output of a file. */
function fromFile(api: Api, o: NotebookOutput): vscode.NotebookCellOutput {
  const { output_type, metadata, execution_count, data, text, name, ename, evalue, traceback, ...extra } = o
  const keep: Json = { output_type, ...(metadata !== undefined ? { metadata } : {}), ...(execution_count !== undefined ? { execution_count } : {}), ...(Object.keys(extra).length ? { extra } : {}) }
  if (output_type === 'stream') return new api.NotebookCellOutput([streamItem(api, name, text)], keep)
  if (output_type === 'error') return new api.NotebookCellOutput([errorItem(api, ename, evalue, traceback ?? [])], { ...keep, error: { ename, evalue, traceback } })
  const exact: Json = {}
  const items = bundle(api, data ?? {}, exact)
  return new api.NotebookCellOutput(items, { ...keep, ...(Object.keys(exact).length ? { exact } : {}) })
}

function bundle(api: Api, data: Json, exact?: Json): vscode.NotebookCellOutputItem[] {
  return Object.entries(data).map(([mime, v]) => item(api, mime, v, exact))
}

function streamItem(api: Api, name: string, text: string): vscode.NotebookCellOutputItem {
  return name === 'stderr' ? api.NotebookCellOutputItem.stderr(text) : api.NotebookCellOutputItem.stdout(text)
}

function errorItem(api: Api, ename: string, evalue: string, traceback: string[]): vscode.NotebookCellOutputItem {
  const value = { name: ename ?? 'Error', message: evalue ?? '', stack: traceback.join('\n') || `${ename}: ${evalue}` }
  return new api.NotebookCellOutputItem(encoder.encode(JSON.stringify(value)), ERROR)
}

/** An output of an execution. */
export function toCellOutput(api: Api, o: Output): vscode.NotebookCellOutput {
  if (o.output_type === 'stream') return new api.NotebookCellOutput([streamItem(api, o.name, o.text)], { output_type: 'stream' })
  if (o.output_type === 'error') return new api.NotebookCellOutput([errorItem(api, o.ename, o.evalue, o.traceback)], { output_type: 'error', error: { ename: o.ename, evalue: o.evalue, traceback: o.traceback } })
  const exact: Json = {}
  return new api.NotebookCellOutput(bundle(api, o.data, exact), {
    output_type: o.output_type, metadata: o.metadata, ...(o.output_type === 'execute_result' ? { execution_count: o.execution_count } : {}), ...(Object.keys(exact).length ? { exact } : {})
  })
}

export function appendedItem(api: Api, name: 'stdout' | 'stderr', text: string): vscode.NotebookCellOutputItem {
  return streamItem(api, name, text)
}

function toFile(o: vscode.NotebookCellOutput): NotebookOutput {
  const keep = (o.metadata ?? {}) as Json
  const first = o.items[0]
  const type: string = keep.output_type ?? (first?.mime === STDOUT || first?.mime === STDERR ? 'stream' : first?.mime === ERROR ? 'error' : 'display_data')
  if (type === 'stream') return { ...(keep.extra ?? {}), output_type: 'stream', name: first?.mime === STDERR ? 'stderr' : 'stdout', text: o.items.map((i) => decoder.decode(i.data)).join('') }
  if (type === 'error') {
    const e = (keep.error ?? {}) as Json
    return { ...(keep.extra ?? {}), output_type: 'error', ename: e.ename ?? 'Error', evalue: e.evalue ?? '', traceback: e.traceback ?? [] }
  }
  return {
    ...(keep.extra ?? {}), output_type: type, data: Object.fromEntries(o.items.map((i) => [i.mime, plain(i, (keep.exact ?? {}) as Json)])), metadata: keep.metadata ?? {},
    ...(type === 'execute_result' ? { execution_count: keep.execution_count ?? null } : {})
  }
}

function plain(i: vscode.NotebookCellOutputItem, exact: Json): unknown {
  if (isJsonMime(i.mime)) return JSON.parse(decoder.decode(i.data))
  if (!isBinary(i.mime)) return decoder.decode(i.data)
  const kept = exact[i.mime] as string | undefined
  return kept === '\n' ? toBase64(i.data) + '\n' : kept ?? toBase64(i.data)
}

function fromBase64(text: string): Uint8Array | undefined {
  try {
    const raw = atob(text.replace(/\s/g, ''))
    return Uint8Array.from(raw, (c) => c.charCodeAt(0))
  } catch {
    return undefined
  }
}

export function toBase64(bytes: Uint8Array): string {
  let raw = ''
  for (let at = 0; at < bytes.length; at += 32768) raw += String.fromCharCode(...bytes.subarray(at, at + 32768))
  return btoa(raw)
}
