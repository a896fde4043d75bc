/* Sessions in the window without a browser: kernel frames and records, the viewer with its cursor, requests that a broken stream
 * swallowed, outputs, notebook files, statements. Bytes are given whole, byte by byte, and in random pieces (seeded). TAP.
 * parallel: ok */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { tap, until } from './lib.mjs'

const ui = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../ui')
const base = mkdtempSync(path.join(os.tmpdir(), 'towline-kernel-'))
const { test, run } = tap()

const { build } = await import(pathToFileURL(createRequire(path.join(ui, 'package.json')).resolve('vite')))
writeFileSync(path.join(base, 'entry.ts'), ['kernel/records', 'kernel/message', 'kernel/viewer', 'kernel/session', 'kernel/outputs', 'kernel/ipynb', 'kernel/statement', 'kernel/helpers', 'net/errors']
  .map((f) => `export * from ${JSON.stringify(path.join(ui, 'src', f))}`).join('\n'))
await build({ root: ui, configFile: false, logLevel: 'error', build: { outDir: base, emptyOutDir: false, minify: false, target: 'node20', lib: { entry: path.join(base, 'entry.ts'), formats: ['es'], fileName: 'out' } } })
const m = await import(pathToFileURL(path.join(base, 'out.js')))

const random = (seed) => () => { seed ^= seed << 13; seed ^= seed >>> 17; seed ^= seed << 5; return (seed >>> 0) / 4294967296 }
function* cuts(bytes) {
  yield [bytes]
  yield Array.from(bytes, (_, i) => bytes.subarray(i, i + 1))
  for (let seed = 1; seed <= 50; seed++) {
    const next = random(seed), parts = []
    for (let at = 0; at < bytes.length;) { const n = 1 + Math.floor(next() * 60); parts.push(bytes.subarray(at, at + n)); at += n }
    yield parts
  }
}
const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32BE(n); return b }
const u64 = (n) => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); return b }
const frame = (type, ...parts) => { const p = Buffer.concat(parts), head = u32(p.length); head[0] = type; return Buffer.concat([head, p]) }
const attached = (first, from, end, flags = 0) => frame(65, u64(first), u64(from), u64(end), u32(flags), u32(0))
const INFO = { id: 's1', uuid: 'u', displayName: 'Python 3', language: 'python', state: 'idle', name: '', notebook: '', kernel: 'python3' }
const snapshot = (more = {}) => Buffer.concat([frame(66, Buffer.from(JSON.stringify({ info: INFO, kernelInfo: null, running: null, queue: [], input: null, comms: [], output: '', ...more }))), frame(66)])
const record = (channel, type, parent, content) => Buffer.from(m.recordBytes(1, channel, 5, [{ msg_id: `k-${type}`, msg_type: type }, parent ? { msg_id: parent } : {}, {}, content].map((p) => Buffer.from(JSON.stringify(p)))))
const data = (...records) => { const all = Buffer.concat(records), out = []; for (let at = 0; at < all.length; at += 16384) out.push(frame(67, all.subarray(at, at + 16384))); return Buffer.concat(out) }

class FakeStream {
  open = true
  sent = []
  onClose = () => {}
  set onData(h) { this.handler = h }
  send(b) { this.sent.push(Buffer.from(b)) }
  close() { this.open = false }
  give(b) { this.handler(b) }
  break() { this.open = false; this.onClose(m.TowlineError.of('closed', 'read')) }
  /* what was sent for the kernel, as messages */
  get requests() {
    const out = []
    const parser = new m.RecordParser((r) => out.push(m.messageOf(r)))
    for (const f of this.sent) if (f[0] === 2) parser.feed(f.subarray(4))
    return out
  }
}

const opened = () => {
  const streams = []
  return { streams, open: async () => { const s = new FakeStream(); streams.push(s); return s } }
}

test('frames and records come out whole, whatever the borders of the pieces', () => {
  const big = { text: 'x'.repeat(40000) }
  const records = [record(2, 'stream', 'a', { name: 'stdout', text: 'grüße' }), record(2, 'big', 'a', big), Buffer.from(m.recordBytes(2, 1, 7, [Buffer.from('raw')])), Buffer.from(m.recordBytes(1, 2, 1, ['{"msg_type":"x"}', '{}', '{}', '{}', 'buffer'].map(Buffer.from)))]
  const bytes = Buffer.concat([attached(0, 0, 99), snapshot(), data(...records), frame(99, Buffer.from('later')), frame(68, u64(500)), frame(69, u32(1), u32(9))])
  for (const parts of cuts(bytes)) {
    const seen = [], rest = []
    const parser = new m.RecordParser((r) => seen.push(r))
    const frames = new m.KernelFrameParser({ attached: (a) => rest.push(a), snapshot: (p) => rest.push(p.length), data: (b) => parser.feed(b), gap: (n) => rest.push(n), exit: (k, v) => rest.push(`${k} ${v}`), answer: () => {} })
    for (const p of parts) frames.feed(p)
    assert.deepEqual(seen.map((r) => [r.kind, r.channel, r.parts.length, r.length]), records.map((r, i) => [[1, 1, 2, 1][i], [2, 2, 1, 2][i], [4, 4, 1, 5][i], r.length]))
    assert.equal(m.messageOf(seen[0]).content.text, 'grüße')
    assert.equal(m.messageOf(seen[1]).content.text.length, 40000)
    assert.equal(Buffer.from(m.messageOf(seen[3]).buffers[0]).toString(), 'buffer')
    assert.deepEqual(rest[0], { first: 0, from: 0, end: 99, gap: false })
    assert.deepEqual(rest.slice(-2), [500, 'signal 9'])
  }
})

test('garbage in frames and records is refused, and nothing is kept without a bound', () => {
  const none = { attached() {}, snapshot() {}, data() {}, gap() {}, exit() {}, answer() {} }
  assert.throws(() => new m.KernelFrameParser(none).feed(Buffer.from([67, 255, 255, 255])), (e) => e.errorName === 'protocol')
  assert.throws(() => new m.KernelFrameParser(none).feed(frame(68, Buffer.from('short'))), (e) => e.errorName === 'protocol')
  const bad = (change) => { const r = record(2, 'x', 'a', {}); change(r); return () => new m.RecordParser(() => {}).feed(r) }
  assert.throws(bad((r) => r.writeUInt32BE(4294967295, 0)), (e) => e.errorName === 'protocol')
  assert.throws(bad((r) => r.writeUInt32BE(3, 0)), (e) => e.errorName === 'protocol')
  assert.throws(bad((r) => r.writeUInt16BE(65535, 6)), (e) => e.errorName === 'protocol')
  assert.throws(bad((r) => r.writeUInt32BE(9999, 16)), (e) => e.errorName === 'protocol')
  assert.throws(() => m.recordBytes(1, 0, 0, [Buffer.alloc(40 << 20)]), (e) => e.errorName === 'limit')
})

test('after a break the viewer goes on at its cursor: every record once, a gap is told', async () => {
  const { streams, open } = opened()
  const v = new m.KernelViewer(open, 's1')
  const seen = [], gaps = []
  let caught = 0
  v.onRecord.on((r) => seen.push(m.messageOf(r).content.n))
  v.onGap.on((n) => gaps.push(n))
  v.onCaughtUp.on(() => caught++)
  const r = [0, 1, 2, 3, 4].map((n) => record(2, 'x', 'a', { n }))
  const [a, b] = [r[0].length, r[1].length]
  await v.attach({ from: 0 })
  assert.deepEqual([...streams[0].sent[0].subarray(4, 12)], [...u64(0)])
  streams[0].give(Buffer.concat([attached(0, 0, a), snapshot(), data(r[0]), data(r[1], r[2].subarray(0, 9))]))
  assert.deepEqual([seen, caught, v.cursor], [[0, 1], 1, a + b])
  streams[0].break()
  await until(() => streams.length === 2, 'the second stream', 5000)
  assert.deepEqual([...streams[1].sent[0].subarray(4, 12)], [...u64(a + b)])
  /* the log has lost the third record meanwhile */
  const at = a + b + r[2].length
  streams[1].give(Buffer.concat([attached(at, at, at + r[3].length, 1), snapshot(), data(r[3])]))
  assert.deepEqual([seen, gaps], [[0, 1, 3], [r[2].length]])
  streams[1].give(Buffer.concat([frame(67, r[4].subarray(0, 20)), frame(68, u64(v.cursor + 1000)), data(r[4])]))
  assert.deepEqual([seen, gaps], [[0, 1, 3, 4], [r[2].length, 1000]])
})

test('a request is sent once: not again when the stream was only late, again when a stream swallowed it', async () => {
  const { streams, open } = opened()
  const s = new m.KernelSession(open, INFO, 'me')
  const first = s.execute('1')
  await s.attach({ from: 0 })
  streams[0].give(Buffer.concat([attached(0, 0, 0), snapshot()]))
  assert.deepEqual(streams[0].requests.map((q) => q.content.code), ['1'])
  const [id] = streams[0].requests.map((q) => q.header.msg_id)
  streams[0].give(data(record(2, 'status', id, { execution_state: 'busy' }), record(0, 'execute_reply', id, { status: 'ok' }), record(2, 'status', id, { execution_state: 'idle' })))
  assert.equal((await first).status, 'ok')
  /* one the kernel has, one that waits there, one that was lost */
  const three = ['begun', 'waits', 'lost'].map((code) => s.execute(code).catch((e) => e))
  const ids = streams[0].requests.slice(1).map((q) => q.header.msg_id)
  streams[0].give(data(record(2, 'status', ids[0], { execution_state: 'busy' })))
  streams[0].break()
  await until(() => streams.length === 2, 'the second stream', 5000)
  streams[1].give(Buffer.concat([attached(0, s.cursor, s.cursor), snapshot({ info: { ...INFO, state: 'busy' }, queue: [{ msgId: ids[1], session: 'x', code: 'waits', sinceMs: 0 }] })]))
  assert.deepEqual(streams[1].requests.map((q) => q.header.msg_id), [ids[2]])
  assert.equal(s.state, 'busy')
  /* a restart ends what waits, with a reason */
  streams[1].give(data(Buffer.from(m.recordBytes(3, 0, 1, [Buffer.from('{"state":"restarting"}')]))))
  for (const e of await Promise.all(three)) assert.match(e.message, /restarted/)
})

test('questions of the window itself do not make a session busy; input is asked once, and taken away when it is answered', async () => {
  const { streams, open } = opened()
  const s = new m.KernelSession(open, INFO, 'me')
  const asked = []
  s.onInput.on((w) => asked.push(w?.content.prompt))
  await s.attach({ from: 0 })
  streams[0].give(Buffer.concat([attached(0, 0, 0), snapshot()]))
  streams[0].give(data(record(2, 'status', `${m.HIDDEN}x`, { execution_state: 'busy' })))
  assert.equal(s.state, 'idle')
  streams[0].give(data(record(2, 'status', 'y', { execution_state: 'busy' }), record(3, 'input_request', 'y', { prompt: 'Who?' })))
  assert.equal(s.state, 'busy')
  s.answer(s.input, 'me')
  assert.deepEqual(asked, ['Who?', undefined])
  const reply = streams[0].requests.at(-1)
  assert.deepEqual([reply.channel, reply.header.msg_type, reply.content.value, reply.parent.msg_id], [3, 'input_reply', 'me', 'k-input_request'])
})

const said = (outputs, ...texts) => { for (const text of texts) outputs.stream('stdout', text); return outputs.list.map((o) => o.text).join('') }

test('outputs: streams are joined and told as what is new, progress bars write over themselves', () => {
  const o = new m.Outputs()
  said(o, 'a\n', 'b')
  assert.deepEqual(o.take(), [{ kind: 'add', output: { output_type: 'stream', name: 'stdout', text: 'a\nb' } }])
  said(o, 'c\n')
  assert.deepEqual(o.take(), [{ kind: 'append', index: 0, text: 'c\n' }])
  assert.deepEqual(o.take(), [])
  said(o, '10 %', '\r20 %')
  assert.equal(o.list[0].text, 'a\nbc\n20 %')
  said(o, '\r', '30 %', '\r\n', 'x\by\n')
  assert.equal(o.list[0].text, 'a\nbc\n30 %\ny\n')
  assert.equal(o.take().at(-1).kind, 'append')
  said(o, 'one')
  o.take()
  said(o, '\rtwo')
  assert.equal(o.take()[0].kind, 'replace')
})

test('outputs: displays are updated, clear_output waits when it is told to, a stream has a bound and says so', () => {
  const o = new m.Outputs()
  const hear = (msg_type, content) => o.hear({ header: { msg_type }, content })
  hear('display_data', { data: { 'text/plain': '1' }, transient: { display_id: 'd' } })
  hear('update_display_data', { data: { 'text/plain': '2' }, transient: { display_id: 'd' } })
  assert.equal(o.list[0].data['text/plain'], '2')
  hear('clear_output', { wait: true })
  assert.equal(o.list.length, 1)
  hear('stream', { name: 'stdout', text: 'new' })
  assert.deepEqual(o.take(), [{ kind: 'reset', outputs: [{ output_type: 'stream', name: 'stdout', text: 'new' }] }])
  const line = 'y'.repeat(99) + '\n'
  hear('stream', { name: 'stdout', text: '\nfirst\n' })
  for (let i = 0; i < 200; i++) hear('stream', { name: 'stdout', text: line.repeat(1000) })
  hear('stream', { name: 'stdout', text: 'last\n' })
  const text = o.list[0].text
  assert.ok(text.length <= m.STREAM && text.startsWith('new\nfirst\n') && text.endsWith('last\n'))
  assert.match(text, /left out here/)
  for (let i = 0; i < 3000; i++) hear('display_data', { data: { 'text/plain': '1' } })
  assert.ok(o.list.length <= 2001)
})

test('a notebook file: what nbformat wrote keeps its bytes, what is wrong is said', () => {
  const write = `import nbformat, sys
from nbformat.v4.nbbase import new_notebook, new_markdown_cell, new_raw_cell, new_code_cell, new_output
nb = new_notebook(metadata={'kernelspec': {'name': 'python3', 'display_name': 'P'}, 'b': 1, 'a': {'z': None, 'é': 'ü'}})
nb.cells = [new_markdown_cell('a\\nb\\x0bc\\u2028d\\r\\ne', id='m', attachments={'p.png': {'image/png': 'QUJD'}}), new_raw_cell('', id='r'),
  new_code_cell('x = 1\\n', id='c', execution_count=3, outputs=[new_output('stream', name='stderr', text='l1\\nl2'), new_output('display_data', {'image/png': 'QUJD\\n', 'image/svg+xml': '<svg>\\n</svg>', 'text/html': 'a\\nb', 'application/json': {'k': ['v\\nw', 2.5]}}, metadata={'m': 1}),
  new_output('execute_result', {'text/plain': '1'}, execution_count=3), new_output('error', ename='E', evalue='v', traceback=['a', 'b'])])]
nbformat.validate(nb)
sys.stdout.write(nbformat.writes(nb) + '\\n')`
  const bytes = execFileSync('/usr/bin/python3', ['-c', write])
  const nb = m.readNotebook(bytes)
  assert.equal(nb.cells[2].outputs[0].text, 'l1\nl2')
  assert.equal(Buffer.from(m.writeNotebook(nb)).toString(), bytes.toString())
  assert.deepEqual(m.readNotebook(new Uint8Array(0)).cells, [])
  for (const [text, why] of [['{', /no JSON/], ['{"nbformat": 3, "worksheets": []}', /format 3/], ['{"cells": []}', /no nbformat/], ['{"nbformat": 4}', /no cells/], ['{"nbformat": 4, "cells": [{"cell_type": "other"}]}', /type other/]]) assert.throws(() => m.readNotebook(Buffer.from(text)), why)
  /* ids came with 4.5 */
  const old = m.readNotebook(Buffer.from('{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [{"cell_type": "code", "metadata": {}, "source": "1", "outputs": [], "execution_count": null}]}'))
  assert.ok(!('id' in JSON.parse(Buffer.from(m.writeNotebook({ ...old, cells: [{ ...old.cells[0], id: 'x' }] }))).cells[0]))
})

test('a statement of Python and of R is all of its lines', () => {
  const at = (language, text, line) => { const s = m.statementAt(language, text.split('\n'), line); return [s.first, s.last, s.next] }
  const python = 'x = (1,\n  2)\n\nif x:\n    a = 1\n\n    b = """\ntext\n"""\nelse:\n    c = 2\n@wrap\ndef f():\n    pass\ny = 1 \\\n  + 2\nz'
  assert.deepEqual(at('python', python, 0), [0, 1, 3])
  for (const line of [3, 4, 6, 7, 10]) assert.deepEqual(at('python', python, line), [3, 10, 11])
  for (const line of [11, 12, 13]) assert.deepEqual(at('python', python, line), [11, 13, 14])
  assert.deepEqual(at('python', python, 14), [14, 15, 16])
  assert.deepEqual(at('python', python, 2), [3, 10, 11])
  assert.deepEqual(at('python', 'a = "it\'s # no"\nb', 0), [0, 0, 1])
  const r = 'f <- function(x) {\n  x + 1 # {\n}\n\nd |>\n  g() |>\n  h()\nif (a)\n  b\ny <-\n  3\np'
  assert.deepEqual(at('r', r, 1), [0, 2, 4])
  assert.deepEqual(at('r', r, 5), [4, 6, 7])
  assert.deepEqual(at('r', r, 7), [7, 8, 9])
  assert.deepEqual(at('r', r, 10), [9, 10, 11])
  assert.deepEqual(at('r', r, 11), [11, 11, 11])
})

const failed = await run()
rmSync(base, { recursive: true, force: true })
process.exit(failed ? 1 : 0)
