/* The window's parsers and engines without a browser: hold frames, framed JSON-RPC, SFTP, the viewer of a terminal. Every input is
 * given whole, byte by byte, and in random pieces (seeded). TAP. */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { mkdtempSync, readFileSync, rmSync, writeFileSync, mkdirSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { FakeSftp } from './fake-sftp.mjs'
import { tap, until } from './lib.mjs'

const ui = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../ui')
const base = mkdtempSync(path.join(os.tmpdir(), 'towline-parsers-'))
const { test, run } = tap()

/* the window is TypeScript for a bundler: bundle what is tested */
const { build } = await import(pathToFileURL(createRequire(path.join(ui, 'package.json')).resolve('vite')))
writeFileSync(path.join(base, 'entry.ts'), ['host/hold', 'host/typed', 'host/viewer', 'host/sftp', 'host/sftpPool', 'net/framed', 'net/errors', 'page/prompts']
  .map((f) => `export * from ${JSON.stringify(path.join(ui, 'src', f))}`).join('\n'))
await build({ root: ui, configFile: false, logLevel: 'error', build: { outDir: base, emptyOutDir: false, minify: false, target: 'node20', lib: { entry: path.join(base, 'entry.ts'), formats: ['es'], fileName: 'out' } } })
const m = await import(pathToFileURL(path.join(base, 'out.js')))

/* xorshift: the same pieces every time */
const random = (seed) => () => { seed ^= seed << 13; seed ^= seed >>> 17; seed ^= seed << 5; return (seed >>> 0) / 4294967296 }
function* cuts(bytes) {
  yield [bytes]
  yield Array.from(bytes, (_, i) => bytes.subarray(i, i + 1))
  for (let seed = 1; seed <= 50; seed++) {
    const next = random(seed), parts = []
    for (let at = 0; at < bytes.length;) { const n = 1 + Math.floor(next() * 40); parts.push(bytes.subarray(at, at + n)); at += n }
    yield parts
  }
}
const u64 = (n) => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); return b }
const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32BE(n); return b }
const u16 = (n) => { const b = Buffer.alloc(2); b.writeUInt16BE(n); return b }
const hold = (type, ...parts) => { const p = Buffer.concat(parts); return Buffer.concat([Buffer.from([type, p.length >> 16, (p.length >> 8) & 255, p.length & 255]), p]) }
const attached = (first, from, end, flags = 0) => hold(65, u64(first), u64(from), u64(end), u16(80), u16(24), u32(flags))

class FakeStream {
  open = true; buffered = 0; sent = []; onClose = () => {}; onSend = () => {}
  early = []
  set onData(f) { this.handler = f; for (const b of this.early.splice(0)) f(b) }
  give(b) { if (this.handler) this.handler(new Uint8Array(b)); else this.early.push(new Uint8Array(b)) }
  send(b) { this.sent.push(Buffer.from(b)); this.onSend(Buffer.from(b)) }
  close() { this.open = false }
  break(name = 'closed') { this.open = false; this.onClose(m.TowlineError.of(name, 'test')) }
}

test('hold frames come out the same however they are cut', () => {
  const bytes = Buffer.concat([attached(5, 7, 100), hold(66, Buffer.from('hello')), hold(67, u64(1000)), hold(69, u16(132), u16(43)), hold(99, Buffer.from('later')), hold(71, u64(7)), hold(68, u32(0), u32(3))])
  for (const parts of cuts(bytes)) {
    const seen = []
    const parser = new m.HoldParser({
      attached: (a) => seen.push(['attached', a.first, a.from, a.end, a.cols, a.rows, a.gap]), data: (b) => seen.push(['data', Buffer.from(b).toString()]),
      gap: (n) => seen.push(['gap', n]), exit: (k, v) => seen.push(['exit', k, v]), size: (c, r) => seen.push(['size', c, r]), inputAcked: (n) => seen.push(['inputAcked', n])
    })
    for (const p of parts) parser.feed(p)
    assert.deepEqual(seen, [['attached', 5, 7, 100, 80, 24, false], ['data', 'hello'], ['gap', 1000], ['size', 132, 43], ['inputAcked', 7], ['exit', 'exit', 3]])
  }
})

test('hold frames that break the protocol are refused', () => {
  const events = { attached() {}, data() {}, gap() {}, exit() {}, size() {} }
  assert.throws(() => new m.HoldParser(events).feed(Buffer.from([66, 255, 255, 255])), /too long/)
  assert.throws(() => new m.HoldParser(events).feed(hold(65, Buffer.alloc(31))), /wrong length/)
})

test('what the window writes is what the protocol says', () => {
  assert.deepEqual(Buffer.from(m.attachFrame(undefined, 5, 6)), hold(1, Buffer.alloc(8, 255), u32(5), u32(6)))
  assert.deepEqual(Buffer.from(m.attachFrame(9, 0, 0)), hold(1, u64(9), u32(0), u32(0)))
  assert.deepEqual(Buffer.from(m.resizeFrame(80, 24)), hold(3, u16(80), u16(24)))
  assert.deepEqual(Buffer.from(m.ackedFrame(2 ** 40)), hold(5, u64(2 ** 40)))
  assert.deepEqual(Buffer.from(m.inputIdFrame(0xfedcba9876543210n, 2 ** 40)), hold(8, Buffer.from('fedcba9876543210', 'hex'), u64(2 ** 40)))
  const typed = new m.Typed(7n)
  typed.type(new Uint8Array(40000).fill(65))
  assert.deepEqual(typed.frames().map((f) => f.length - 4), [16384, 16384, 7232])
})

test('framed JSON comes out the same however it is cut', () => {
  const messages = [{ id: 1, result: { text: 'gr\u00fc\u00dfe \u2014 \u65e5\u672c' } }, { method: 'x', params: [1] }]
  const bytes = Buffer.concat(messages.map((x) => Buffer.from(m.frameMessage(x))))
  for (const parts of cuts(bytes)) {
    const seen = []
    const parser = new m.FramedParser((x) => seen.push(x))
    for (const p of parts) parser.feed(p)
    assert.deepEqual(seen, messages)
  }
  assert.throws(() => new m.FramedParser(() => {}).feed(Buffer.from('Content-Length: 99999999999\r\n\r\n')), /length/)
  assert.throws(() => new m.FramedParser(() => {}).feed(Buffer.alloc(5000, 65)), /header/)
})

/* a viewer with streams that the test holds in its hands */
function viewer() {
  const streams = []
  const v = new m.TerminalViewer(async () => { const s = new FakeStream(); streams.push(s); return s }, 't1')
  let text = ''
  const seen = { pieces: [], gaps: [], exits: [], replayed: 0, get text() { return text } }
  v.onPiece.on((p) => { text += p.text; seen.pieces.push(p) })
  v.onGap.on((n) => seen.gaps.push(n))
  v.onExit.on((c) => seen.exits.push(c))
  v.onReplayDone.on(() => seen.replayed++)
  return { v, streams, seen }
}

test('a viewer tells old text from new, also inside one frame', async () => {
  const { v, streams, seen } = viewer()
  await v.attach(true)
  streams[0].give(Buffer.concat([attached(0, 0, 6), hold(66, Buffer.from('old678new'))]))
  assert.deepEqual(seen.pieces, [{ text: 'old678', replay: true }, { text: 'new', replay: false }])
  assert.equal(seen.replayed, 1)
})

test('a log that begins in the middle is shown from its first whole line', async () => {
  const { v, streams, seen } = viewer()
  await v.attach(false)
  assert.deepEqual(streams[0].sent[1].subarray(4, 12), Buffer.alloc(8, 255))
  streams[0].give(Buffer.concat([attached(10, 1000, 1020), hold(66, Buffer.from('5;3mtorn\r\nwhole line'))]))
  assert.equal(seen.text, 'whole line')
})

test('a letter of several bytes may be cut anywhere, and the cursor counts bytes', async () => {
  const { v, streams, seen } = viewer()
  await v.attach(true)
  const letters = Buffer.from('\u00e4\u65e5\u{1f600}')
  streams[0].give(attached(0, 0, 0))
  for (const b of letters) streams[0].give(hold(66, Buffer.from([b])))
  assert.equal(seen.text, '\u00e4\u65e5\u{1f600}')
  streams[0].break()
  await until(() => streams.length === 2, 'the second stream', 2000)
  assert.deepEqual(streams[1].sent[1].subarray(4, 12), u64(letters.length))
})

test('after a break a viewer goes on at its cursor; a gap is told; input waits', async () => {
  const { v, streams, seen } = viewer()
  await v.attach(true)
  v.resize(100, 30)
  streams[0].give(Buffer.concat([attached(0, 0, 0), hold(66, Buffer.from('abc'))]))
  streams[0].break()
  v.input(Buffer.from('typed'))
  v.revive() /* must not open a second one */
  await until(() => streams.length === 2, 'the second stream', 2000)
  await Promise.resolve()
  const kinds = streams[1].sent.map((f) => f[0])
  assert.deepEqual(kinds, [8, 1, 3, 2])
  streams[1].give(Buffer.concat([attached(10, 10, 20, 1), hold(66, Buffer.from('rest'))]))
  assert.deepEqual(seen.gaps, [7])
  assert.equal(seen.text, 'abcrest')
  assert.equal(streams.length, 2)
})

/* a hold that takes one viewer's input: skips what it has, notes what it got */
class FakeHold {
  took = 0; at = 0; got = Buffer.alloc(0)
  feed(f) {
    if (f[0] === 8) this.at = Number(f.readBigUInt64BE(12))
    if (f[0] !== 2) return
    const bytes = f.subarray(4), skip = Math.min(bytes.length, this.took - this.at)
    assert.ok(skip >= 0, 'a gap')
    this.got = Buffer.concat([this.got, bytes.subarray(skip)])
    this.at += bytes.length
    this.took = Math.max(this.took, this.at)
  }
}

test('what is typed reaches the hold once, wherever streams break', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const next = random(seed * 7919), peer = new FakeHold(), { v, streams } = viewer()
    const typed = Array.from({ length: 300 }, (_, i) => `line ${i}\r`)
    await v.attach(true)
    const id = streams[0].sent[0].subarray(4, 12)
    for (let i = 0, done = 0; i < typed.length; i++) {
      v.input(Buffer.from(typed[i]))
      const s = streams.at(-1), roll = next()
      /* the hold gets a part of what was sent, acknowledges now and then, or the stream breaks with the rest under way */
      for (const end = roll < 0.1 ? done + Math.floor(next() * (s.sent.length - done)) : s.sent.length; done < end; done++) {
        peer.feed(s.sent[done])
        if (s.sent[done][0] === 8) { assert.deepEqual(s.sent[done].subarray(4, 12), id); s.give(hold(71, u64(peer.took))) }
        if (s.sent[done][0] === 1) s.give(attached(0, 0, 0))
      }
      if (roll > 0.6) s.give(hold(71, u64(peer.took)))
      if (roll >= 0.1) continue
      const count = streams.length
      s.break()
      await until(() => streams.length > count, 'the next stream', 2000)
      await until(() => streams.at(-1).sent.length > 1, 'its first frames', 2000)
      done = 0
    }
    const last = streams.at(-1)
    for (const frame of last.sent) peer.feed(frame)
    assert.equal(peer.got.toString(), typed.join(''))
  }
})

test('a paste goes out as it is acknowledged; too much is said, not cut', async () => {
  const { v, streams, seen } = viewer()
  await v.attach(true)
  streams[0].give(Buffer.concat([hold(71, u64(0)), attached(0, 0, 0)]))
  const sent = () => streams[0].sent.filter((f) => f[0] === 2).reduce((n, f) => n + f.length - 4, 0)
  v.input(Buffer.alloc(1000000, 65))
  assert.equal(sent(), 262144)
  streams[0].give(hold(71, u64(100000)))
  assert.equal(sent(), 362144)
  v.input(Buffer.alloc(8 << 20, 65))
  assert.match(seen.text, /too much to keep/)
  for (let at = sent(); at < 1000000; at = sent()) streams[0].give(hold(71, u64(at)))
  assert.equal(sent(), 1000000)
})

test('a hold of an earlier version acknowledges nothing: typing goes on, and is not repeated', async () => {
  const { v, streams } = viewer()
  await v.attach(true)
  v.input(Buffer.from('before'))
  streams[0].give(attached(0, 0, 0))
  v.input(Buffer.alloc(1000000, 65))
  assert.equal(streams[0].sent.filter((f) => f[0] === 2).reduce((n, f) => n + f.length - 4, 0), 1000006)
  streams[0].break()
  v.input(Buffer.from('after'))
  await until(() => streams.length === 2, 'the second stream', 2000)
  await Promise.resolve()
  assert.equal(Buffer.concat(streams[1].sent.filter((f) => f[0] === 2).map((f) => f.subarray(4))).toString(), 'after')
})

test('credit is given back for what was drawn, and only once', async () => {
  const { v, streams } = viewer()
  await v.attach(true)
  streams[0].give(attached(0, 0, 0))
  for (let i = 0; i < 4; i++) streams[0].give(hold(66, Buffer.alloc(10000, 65)))
  v.consumed(25000)
  v.consumed(15000)
  const acked = streams[0].sent.filter((f) => f[0] === 5).map((f) => Number(f.readBigUInt64BE(4)))
  assert.deepEqual(acked, [20000, 40000])
})

test('the end of a program comes after its last text, once', async () => {
  const { v, streams, seen } = viewer()
  await v.attach(true)
  streams[0].give(Buffer.concat([attached(0, 0, 3), hold(66, Buffer.from('bye')), hold(68, u32(1), u32(9)), hold(68, u32(0), u32(0))]))
  assert.equal(seen.text, 'bye')
  assert.deepEqual(seen.exits, [137])
  assert.equal(streams[0].open, false)
})

/* a killed agent answers the old link with unknown_link: a save at that moment was given up, a terminal said "not connected" */
test('an agent killed while something is asked: asked again over the new link', async () => {
  for (const name of ['unknown_link', 'gap', 'closed']) {
    const { v, streams, seen } = viewer()
    await v.attach(true)
    streams[0].give(attached(0, 0, 0))
    streams[0].break(name)
    await until(() => streams.length === 2, 'the second stream', 60000)
    assert.equal(seen.text, '', name)
    const files = sftp(base)
    await files.pool.run((session) => session.list('/'))
    files.streams[0].onSend = () => files.streams[0].break(name)
    assert.ok((await files.pool.run((session) => session.list('/'))).length > 0, name)
    assert.equal(files.streams.length, 2, name)
  }
})

test('a terminal that is gone ends; another failure leaves it for later', async () => {
  const { v, streams, seen } = viewer()
  await v.attach(true)
  streams[0].give(attached(0, 0, 0))
  streams[0].break('no_terminal')
  await until(() => seen.exits.length === 1, 'the end', 2000)
  assert.match(seen.text, /this terminal is gone/)
})

/* SFTP: the client engine against the fake's server half, over a stream that cuts */
function sftp(root) {
  let broken = 0
  const streams = []
  const open = async () => {
    const stream = new FakeStream()
    const next = random(streams.length + 7)
    const server = new FakeSftp(root, (bytes) => {
      if (!stream.open) return
      for (let at = 0; at < bytes.length;) { const n = 1 + Math.floor(next() * 5000); stream.give(bytes.subarray(at, at + n)); at += n }
    })
    stream.onSend = (b) => server.feed(b)
    streams.push(stream)
    return stream
  }
  return { pool: new m.SftpPool(open), streams, broken }
}

test('SFTP: folders, files, errors, many requests at once', async () => {
  const root = path.join(base, 'files')
  mkdirSync(root)
  for (let i = 0; i < 120; i++) writeFileSync(path.join(root, `f${i}`), `${i}`)
  const { pool } = sftp(root)
  assert.equal((await pool.run((s) => s.list('/'))).length, 120)
  const stats = await Promise.all(Array.from({ length: 120 }, (_, i) => pool.run((s) => s.stat(`/f${i}`))))
  assert.deepEqual(stats.map((s) => s.size), Array.from({ length: 120 }, (_, i) => String(i).length))
  await assert.rejects(pool.run((s) => s.stat('/none')), (e) => e.errorName === 'not_found')
  await assert.rejects(pool.run((s) => s.rename('/f1', '/f2', false)), (e) => e.errorName === 'exists')
  await pool.run((s) => s.makeFolders('/a/b/c'))
  await assert.rejects(pool.run((s) => s.rmdir('/a')), (e) => e.errorName === 'not_empty')
  await pool.run((s) => s.removeTree('/a'))
})

test('SFTP: a large save goes in pieces and a wrong etag is a conflict', async () => {
  const root = path.join(base, 'large')
  mkdirSync(root)
  const { pool } = sftp(root)
  const data = new Uint8Array(1_000_000).map((_, i) => i * 7)
  const none = new Uint8Array(24)
  const etag = await pool.run((s) => s.save('/x', data, m.SAVE.CREATE | m.SAVE.OVERWRITE | m.SAVE.COMPARE, 0, none))
  assert.ok(readFileSync(path.join(root, 'x')).equals(Buffer.from(data)))
  await assert.rejects(pool.run((s) => s.save('/x', data, m.SAVE.OVERWRITE | m.SAVE.COMPARE, 0, none)), (e) => e.errorName === 'conflict')
  await pool.run((s) => s.save('/x', data.subarray(0, 5), m.SAVE.OVERWRITE | m.SAVE.COMPARE, 0, etag))
  let got = 0
  await pool.run((s) => s.readFile('/x', 1, 3, (h) => assert.equal(h.size, 5), (b) => { got += b.length }))
  assert.equal(got, 3)
})

test('SFTP: a broken stream is opened again; a change that was done is not an error', async () => {
  const root = path.join(base, 'broken')
  mkdirSync(root)
  const { pool, streams } = sftp(root)
  await pool.run((s) => s.list('/'))
  streams[0].break()
  assert.deepEqual(await pool.run((s) => s.list('/')), [])
  assert.equal(streams.length, 2)
  let first = true
  await pool.change(async (s) => {
    await s.mkdir('/made')
    if (first) { first = false; streams.at(-1).break(); throw m.TowlineError.of('closed', 'test') }
  }, (e) => e.errorName === 'exists')
  assert.equal(streams.length, 3)
})

test('SFTP: garbage ends the session, not the page', async () => {
  const stream = new FakeStream()
  let over = 0
  const session = new m.SftpSession(stream, () => over++)
  const waiting = session.list('/')
  stream.give(Buffer.from([0, 0, 0, 5, 2, 0, 0, 0, 3]))
  await Promise.resolve()
  stream.give(Buffer.from([255, 255, 255, 255]))
  await assert.rejects(waiting, (e) => e.errorName === 'protocol')
  assert.equal(over, 1)
})

test('questions of ssh have a heading and do not overtake each other', async () => {
  const prompts = new m.Prompts()
  const order = []
  prompts.present = async (p) => { order.push(`begin ${p.text}`); await Promise.resolve(); order.push(`end ${p.text}`); return { answer: p.text } }
  const answers = await Promise.all(['a', 'b'].map((text) => prompts.ask({ host: 'h', kind: 'password', text, echo: false, attempt: 1 })))
  assert.deepEqual(answers, [{ answer: 'a' }, { answer: 'b' }])
  assert.deepEqual(order, ['begin a', 'end a', 'begin b', 'end b'])
  assert.match(m.titleOf({ host: 'h', kind: 'password', text: '', echo: false, attempt: 2 }), /once more/)
})

const failed = await run()
rmSync(base, { recursive: true, force: true })
process.exit(failed ? 1 : 0)
