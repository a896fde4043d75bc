/* A stand-in for towlined: docs/protocol.md sections 3 to 7 spoken by Node on local folders, so that the window can be tested
 * without C and ssh, and so that a test can make happen what a real host does rarely.
 *
 * As a program: node fake-daemon.mjs FOLDER [PORT]; as a module: startFakeDaemon(). */
import { spawn } from 'node:child_process'
import { createReadStream, existsSync, mkdirSync, mkdtempSync, readdirSync, statSync, watch as watchFolder } from 'node:fs'
import http from 'node:http'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { FakePorts, PortsSide } from './fake-ports.mjs'
import { FakeSftp } from './fake-sftp.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const ui = path.join(here, '../../ui')
const { WebSocketServer } = createRequire(path.join(ui, 'package.json'))('ws')

const MIME = { js: 'text/javascript', mjs: 'text/javascript', css: 'text/css', html: 'text/html; charset=utf-8', json: 'application/json', svg: 'image/svg+xml', png: 'image/png', ttf: 'font/ttf', woff: 'font/woff', woff2: 'font/woff2', wasm: 'application/wasm', mp3: 'audio/mpeg', map: 'application/json' }
const TERM_WINDOW_ALL = 0xffffffffffffffffn

const policy = (page, frames) => [
  "default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "worker-src 'self' blob:", "style-src 'self' 'unsafe-inline'", "img-src 'self' data: blob:",
  "font-src 'self'", "media-src 'self'", `connect-src 'self' ws://${page.slice(7)}`, `frame-src ${frames}`, "manifest-src 'self'", "base-uri 'none'",
  "form-action 'none'", "frame-ancestors 'none'"
].join('; ')

export async function startFakeDaemon(options = {}) {
  const state = {
    token: 'fake-token', dist: options.dist ?? process.env.TOWLINE_UI ?? [path.join(here, '../../build/stage/share/towline/ui'), path.join(ui, 'dist')].find((d) => existsSync(d)), configDir: options.configDir ?? mkdtempSync(path.join(os.tmpdir(), 'towline-fake-')),
    hosts: new Map(), configured: options.configured ?? [{ name: 'devbox' }, { name: 'cluster' }], terminals: new Map(), nextTerminal: 1, sockets: new Set(),
    streams: new Set(), controls: new Set(), log: [], prompts: options.prompts ?? [], answers: [], failConnect: options.failConnect ?? null, calls: [], saved: null
  }
  state.ports = new FakePorts(state)
  mkdirSync(state.configDir, { recursive: true })
  const frames = http.createServer((q, a) => serve(state, q, a, true))
  await listen(frames, 0)
  const page = http.createServer((q, a) => serve(state, q, a, false))
  await listen(page, options.port ?? 0)
  state.origin = `http://localhost:${page.address().port}`
  state.frameOrigin = `http://localhost:${frames.address().port}`
  const wss = new WebSocketServer({ noServer: true, handleProtocols: () => 'towline' })
  page.on('upgrade', (request, socket, head) => {
    if (request.headers.origin !== state.origin || request.url !== '/ws') { socket.destroy(); return }
    if (state.away) { socket.destroy(); return }
    wss.handleUpgrade(request, socket, head, (ws) => greet(state, ws))
  })
  return new Fake(state, [page, frames], wss)
}

class Fake {
  constructor(state, servers, wss) { this.state = state; this.servers = servers; this.wss = wss }
  get origin() { return this.state.origin }
  get frameOrigin() { return this.state.frameOrigin }
  url(host, folder, more = {}) {
    const q = new URLSearchParams({ ...(host ? { host } : {}), ...(folder ? { folder } : {}), test: '1', ...more })
    return `${this.origin}/?${q}#token=${this.state.token}`
  }
  /** The link of a host is lost for good: streams break, the generation grows. */
  lose(host, phase = 'reconnecting', more = {}) {
    const h = hostOf(this.state, host)
    h.phase = phase; h.generation++; h.more = more
    this.breakStreams()
    tellState(this.state, host)
  }
  /** The link is interrupted: streams stand still. */
  interrupt(host, more = { retryInMs: 30000 }) { const h = hostOf(this.state, host); h.phase = 'reconnecting'; h.more = more; tellState(this.state, host) }
  back(host) { const h = hostOf(this.state, host); h.phase = 'connected'; h.more = {}; tellState(this.state, host) }
  breakStreams(code = 4006) { for (const ws of this.state.streams) ws.close(code, 'the link was lost') }
  get ports() { return this.state.ports }
  /** A program on the host wants to show a page. */
  openUrl(host, url) { for (const c of this.state.controls) if (c.subscribed.has(host)) c.notify('url/open', { host, url }) }
  /** The daemon goes away (and comes back): every socket breaks. */
  leave() { this.state.away = true; for (const ws of this.state.sockets) ws.terminate() }
  comeBack() { this.state.away = false }
  async close() {
    for (const ws of this.state.sockets) ws.terminate()
    for (const t of this.state.terminals.values()) t.child.kill('SIGKILL')
    this.state.ports.close()
    await Promise.all(this.servers.map((s) => new Promise((r) => { s.closeAllConnections(); s.close(r) })))
  }
}

const listen = (server, port) => new Promise((resolve) => server.listen(port, 'localhost', resolve))

function serve(state, request, answer, isFrames) {
  const url = new URL(request.url, 'http://localhost')
  const name = url.pathname === '/' ? '/index.html' : decodeURIComponent(url.pathname)
  const file = path.join(state.dist, path.posix.normalize(name))
  const packed = !existsSync(file) && existsSync(file + '.gz')
  if (!packed && !(existsSync(file) && statSync(file).isFile())) { answer.writeHead(404).end('not found'); return }
  const headers = { 'Content-Type': MIME[path.extname(name).slice(1)] ?? 'application/octet-stream', 'X-Content-Type-Options': 'nosniff', 'Cache-Control': name.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache' }
  if (packed) headers['Content-Encoding'] = 'gzip'
  /* window and frames load modules from each other's port */
  headers['Access-Control-Allow-Origin'] = isFrames ? state.origin : state.frameOrigin
  if (!isFrames) headers['Content-Security-Policy'] = policy(state.origin, state.frameOrigin)
  answer.writeHead(200, headers)
  createReadStream(packed ? file + '.gz' : file).pipe(answer)
}

function hostOf(state, host) {
  let h = state.hosts.get(host)
  if (!h) state.hosts.set(host, (h = { host, phase: 'disconnected', generation: 1, more: {}, since: Date.now() }))
  return h
}

const hostInfo = () => ({ version: '0.1.0', protocol: 1, pid: process.pid, os: 'linux', arch: 'x86_64', kernel: os.release(), hostname: os.hostname(), user: os.userInfo().username, uid: process.getuid(), home: process.env.FAKE_HOME ?? os.homedir(), shell: '/bin/bash', tmp: '/tmp', dataDir: path.join(process.env.FAKE_HOME ?? os.tmpdir(), '.towline-server/data'), runDir: '/tmp', startedMs: 0, rssBytes: 0, links: 1, terminals: 0 })
const stateOf = (h) => ({ host: h.host, phase: h.phase, generation: h.generation, sinceMs: h.since, streams: 0, ...h.more, ...(h.phase === 'connected' ? { info: hostInfo() } : {}) })
/* those of the configuration, then the others */
const knownHosts = (state) => [...new Set([...state.configured.map((h) => h.name), ...state.hosts.keys()])].map((name) => ({
  name, configured: state.configured.some((h) => h.name === name), phase: state.hosts.get(name)?.phase ?? 'disconnected', folders: []
}))
const tellState = (state, host) => { for (const c of state.controls) if (c.subscribed.has(host)) c.notify('host/state', stateOf(hostOf(state, host))) }

function greet(state, ws) {
  state.sockets.add(ws)
  ws.on('close', () => state.sockets.delete(ws))
  ws.once('message', (data) => {
    const m = JSON.parse(data.toString())
    if (m.method !== 'hello' || m.params.token !== state.token) { ws.close(4401, 'bad token'); return }
    ws.send(JSON.stringify({ jsonrpc: '2.0', id: m.id, result: { version: '0.1.0', pid: process.pid, origin: state.origin, frameOrigin: state.frameOrigin } }))
    new ControlSide(state, ws)
  })
}

class ControlSide {
  constructor(state, ws) {
    this.state = state; this.ws = ws; this.subscribed = new Set(); this.pending = new Map(); this.nextId = 1
    state.controls.add(this)
    ws.on('close', () => state.controls.delete(this))
    this.onMessage = (data, binary) => !binary && this.take(JSON.parse(data.toString()))
    ws.on('message', this.onMessage)
  }
  notify(method, params) { this.ws.send(JSON.stringify({ jsonrpc: '2.0', method, params })) }
  ask(method, params) { return new Promise((resolve) => { const id = `d${this.nextId++}`; this.pending.set(id, resolve); this.ws.send(JSON.stringify({ jsonrpc: '2.0', id, method, params })) }) }
  async take(m) {
    if (!m.method) { this.pending.get(m.id)?.(m.result ?? m.error); this.pending.delete(m.id); return }
    if (m.method === 'stream/open') return this.becomeStream(m)
    this.state.calls.push(m.method === 'host/call' ? m.params.method : m.method)
    try {
      const result = await this.call(m.method, m.params)
      this.ws.send(JSON.stringify({ jsonrpc: '2.0', id: m.id, result }))
    } catch (e) {
      this.ws.send(JSON.stringify({ jsonrpc: '2.0', id: m.id, error: e.rpc ?? { code: -32603, message: String(e.message), data: { name: 'internal', number: 10, exit: 70 } } }))
    }
  }
  async call(method, p) {
    const { state } = this
    switch (method) {
      case 'host/subscribe': this.subscribed.add(p.host); return stateOf(hostOf(state, p.host))
      case 'host/connect': return this.connect(p.host)
      case 'host/list': return { hosts: [...state.hosts.values()].filter((h) => h.phase !== 'disconnected').map(stateOf) }
      case 'host/configured': return { hosts: state.configured, configFile: '~/.ssh/config' }
      case 'host/known': return { hosts: knownHosts(state), configFile: '/home/me/.ssh/config', files: ['/home/me/.ssh/config'] }
      case 'host/folder': return {}
      case 'host/close': hostOf(state, p.host).phase = 'disconnected'; tellState(state, p.host); return {}
      case 'host/reconnect': hostOf(state, p.host).phase = 'connected'; hostOf(state, p.host).more = {}; tellState(state, p.host); return {}
      case 'host/call': return agentCall(state, p.method, p.params ?? {})
      case 'forward/add': case 'forward/list': case 'forward/remove': case 'forward/update': return state.ports.call(method, p)
      case 'daemon/log': return { text: state.log.join('\n') || 'fake daemon: nothing to tell\n', file: '/tmp/towlined.log' }
      default: throw failure('no_method', 84, -32601, `${method}: no such method`)
    }
  }
  async connect(host) {
    const { state } = this
    const h = hostOf(state, host)
    if (h.phase !== 'connected') {
      h.phase = 'connecting'
      tellState(state, host)
      for (const [step, text] of [['ssh', `ssh ${host}: starting`], ['auth', 'logging in'], ['probe', 'looking at the host'], ['install', 'server is there']]) {
        this.notify('host/progress', { host, step, text })
        state.log.push(`${host}: ${text}`)
      }
      for (const prompt of state.prompts) {
        const answer = await this.ask('prompt/ask', { host, attempt: 1, echo: false, ...prompt })
        state.answers.push(answer)
        if (answer.cancel) { h.phase = 'disconnected'; tellState(state, host); throw failure('canceled', 7, -32800, `connect to ${host}: canceled. Nothing was changed.`) }
      }
      if (state.failConnect) {
        const { name, number, message } = state.failConnect
        state.failConnect = null
        h.phase = 'failed'
        h.more = { error: { code: number, name, message } }
        tellState(state, host)
        throw failure(name, number, -32000 - number, message)
      }
      h.phase = 'connected'
      h.more = {}
      tellState(state, host)
    }
    return { host, info: hostInfo() }
  }
  becomeStream(m) {
    const { state, ws } = this
    const { host, open } = m.params
    if (host !== '' && hostOf(state, host).phase !== 'connected') {
      ws.send(JSON.stringify({ jsonrpc: '2.0', id: m.id, error: failure('not_connected', 49, -32049, `open a stream to ${host}: not connected`).rpc }))
      return
    }
    if (open.open === 'term' && !state.terminals.has(open.id)) {
      ws.send(JSON.stringify({ jsonrpc: '2.0', id: m.id, error: failure('no_terminal', 70, -32070, `terminal ${open.id}: no such terminal`).rpc }))
      return
    }
    ws.off('message', this.onMessage)
    state.controls.delete(this)
    if (host !== '') { state.streams.add(ws); ws.on('close', () => state.streams.delete(ws)) }
    const send = (b) => ws.readyState === 1 && ws.send(b)
    const taker = open.open === 'sftp' ? new FakeSftp(host === '' ? state.configDir : null, send, { saved: (p) => host !== '' && state.saved?.(p, ws) })
      : open.open === 'watch' ? new WatchSide(state, ws, send)
      : open.open === 'ports' ? new PortsSide(state.ports, ws, send)
      : open.open === 'term' ? new ViewerSide(state.terminals.get(open.id), ws, send) : null
    ws.on('message', (data) => taker.feed(data))
    ws.send(JSON.stringify({ jsonrpc: '2.0', id: m.id, result: {} }))
  }
}

const failure = (name, number, code, message) => Object.assign(new Error(message), { rpc: { code, message, data: { name, number, exit: number } } })

function agentCall(state, method, p) {
  switch (method) {
    case 'host/info': return hostInfo()
    case 'term/create': return new FakeTerminal(state, p).info()
    case 'term/list': return { terminals: [...state.terminals.values()].map((t) => t.info()).filter((t) => !p.tag || t.tag === p.tag) }
    case 'term/kill': state.terminals.get(p.id)?.kill(); return {}
    case 'kernel/list': return { kernels: state.kernels ?? [] }
    default: throw failure('no_method', 84, -32601, `${method}: no such method`)
  }
}

/* a terminal with its whole log */
class FakeTerminal {
  constructor(state, p) {
    this.state = state; this.id = `t${state.nextTerminal++}`; this.p = p; this.bytes = Buffer.alloc(0); this.first = 0; this.viewers = new Set(); this.took = new Map(); this.cols = p.cols ?? 80; this.rows = p.rows ?? 24
    const program = p.shell ? [p.shell, ...(p.args ?? [])] : ['/bin/bash', '--norc', '-i']
    const env = { ...process.env, PS1: '\\w$ ', TERM: 'xterm-256color' }
    for (const [k, v] of Object.entries(p.env ?? {})) { if (v === null) delete env[k]; else env[k] = v }
    this.child = spawn('python3', [path.join(here, 'fake-pty.py'), String(this.cols), String(this.rows), p.cwd ?? '/', ...program], { stdio: ['pipe', 'pipe', 'inherit', 'pipe'], env })
    this.child.stdout.on('data', (b) => { this.bytes = Buffer.concat([this.bytes, b]); for (const v of this.viewers) v.pump() })
    this.child.stdin.on('error', () => {})
    this.child.stdio[3].on('error', () => {})
    this.child.on('close', (code) => { this.exit = { kind: 'exit', value: code ?? 255 }; for (const v of this.viewers) v.pump() })
    state.terminals.set(this.id, this)
  }
  get end() { return this.first + this.bytes.length }
  info() { return { id: this.id, pid: this.child.pid, holdPid: 1, name: this.p.name ?? '', tag: this.p.tag ?? '', title: '', cwd: this.p.cwd ?? '/', shell: this.p.shell ?? '/bin/bash', cols: this.cols, rows: this.rows, startedMs: 0, first: this.first, end: this.end, viewers: this.viewers.size, rssBytes: 0, ...(this.exit ? { exit: this.exit } : {}) } }
  kill() { this.child.stdin.end(); this.state.terminals.delete(this.id) }
  /** Forgets the oldest bytes, as a full log does. */
  drop(count) { this.bytes = this.bytes.subarray(count); this.first += count }
}

class ViewerSide {
  constructor(term, ws, send) {
    this.term = term; this.send = send; this.held = Buffer.alloc(0); this.at = null; this.acked = 0; this.window = 0
    ws.on('close', () => term.viewers.delete(this))
  }
  frame(type, payload) {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(payload.length)
    head[0] = type
    this.send(Buffer.concat([head, payload]))
  }
  feed(data) {
    this.held = Buffer.concat([this.held, data])
    while (this.held.length >= 4) {
      const n = this.held.readUIntBE(1, 3)
      if (this.held.length < 4 + n) break
      this.take(this.held[0], this.held.subarray(4, 4 + n))
      this.held = this.held.subarray(4 + n)
    }
  }
  take(type, p) {
    const { term } = this
    if (type === 1) {
      const from = p.readBigUInt64BE(0), tail = p.readUInt32BE(8)
      const asked = from === TERM_WINDOW_ALL ? Math.max(term.first, term.end - tail) : Number(from)
      this.at = Math.max(term.first, asked)
      this.acked = this.at
      this.window = p.readUInt32BE(12)
      const a = Buffer.alloc(32)
      a.writeBigUInt64BE(BigInt(term.first), 0); a.writeBigUInt64BE(BigInt(this.at), 8); a.writeBigUInt64BE(BigInt(term.end), 16)
      a.writeUInt16BE(term.cols, 24); a.writeUInt16BE(term.rows, 26)
      a.writeUInt32BE((this.at > asked ? 1 : 0) | (term.exit ? 2 : 0), 28)
      this.frame(65, a)
      term.viewers.add(this)
      this.pump()
    } else if (type === 8) {
      this.seq = String(p.readBigUInt64BE(0)); this.inputAt = Number(p.readBigUInt64BE(8))
      this.tell(term.took.get(this.seq) ?? this.inputAt)
    } else if (type === 2) {
      const skip = this.seq === undefined ? 0 : Math.min(p.length, term.took.get(this.seq) - this.inputAt)
      term.child.stdin.write(Buffer.from(p.subarray(skip)))
      if (this.seq === undefined) return
      this.inputAt += p.length
      this.tell(Math.max(this.inputAt, term.took.get(this.seq)))
    }
    else if (type === 3) { term.cols = p.readUInt16BE(0); term.rows = p.readUInt16BE(2); term.child.stdio[3].write(`${term.cols} ${term.rows}\n`) }
    else if (type === 5) { this.acked = Number(p.readBigUInt64BE(0)); this.pump() }
  }
  tell(took) {
    this.term.took.set(this.seq, took)
    const a = Buffer.alloc(8)
    a.writeBigUInt64BE(BigInt(took))
    this.frame(71, a)
  }
  pump() {
    const { term } = this
    while (this.at < term.end && (!this.window || this.at - this.acked < this.window)) {
      const from = this.at - term.first
      const part = term.bytes.subarray(from, from + Math.min(16384, this.window ? this.window - (this.at - this.acked) : 16384))
      this.frame(66, part)
      this.at += part.length
    }
    if (term.exit && this.at === term.end && !this.told) {
      this.told = true
      const e = Buffer.alloc(8)
      e.writeUInt32BE(term.exit.value, 4)
      this.frame(68, e)
    }
  }
}

class WatchSide {
  constructor(state, ws, send) {
    this.send = send; this.held = Buffer.alloc(0); this.watches = new Map()
    ws.on('close', () => { for (const w of this.watches.values()) w.close() })
  }
  message(m) { const b = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...m })); this.send(Buffer.concat([Buffer.from(`Content-Length: ${b.length}\r\n\r\n`), b])) }
  feed(data) {
    this.held = Buffer.concat([this.held, data])
    for (;;) {
      const end = this.held.indexOf('\r\n\r\n')
      if (end < 0) return
      const n = Number(/content-length: *(\d+)/i.exec(this.held.subarray(0, end).toString())[1])
      if (this.held.length < end + 4 + n) return
      const m = JSON.parse(this.held.subarray(end + 4, end + 4 + n).toString())
      this.held = this.held.subarray(end + 4 + n)
      this.take(m)
    }
  }
  /* one watcher a folder: Node's own recursion misses events on Linux */
  follow(id, p, recursive, watchers) {
    const isFolder = statSync(p).isDirectory()
    const w = watchFolder(p, (kind, name) => {
      const full = isFolder && name ? path.join(p, name) : p
      if (full.endsWith('.towline-fake')) return
      const there = statSync(full, { throwIfNoEntry: false })
      if (!there) { watchers.get(full)?.close(); watchers.delete(full) }
      else if (recursive && there.isDirectory() && !watchers.has(full)) this.follow(id, full, true, watchers)
      this.message({ method: 'watch/changed', params: { id, changes: !there ? [[3, full]] : kind === 'change' ? [[1, full]] : [[2, full], [1, full]] } })
    })
    w.on('error', () => {})
    watchers.set(p, w)
    if (!recursive || !isFolder) return
    for (const e of readdirSync(p, { withFileTypes: true })) if (e.isDirectory()) this.follow(id, path.join(p, e.name), true, watchers)
  }
  take(m) {
    const { id, path: p, recursive } = m.params
    if (m.method === 'watch/remove') { this.watches.get(id)?.close(); this.watches.delete(id); this.message({ id: m.id, result: {} }); return }
    try {
      const watchers = new Map()
      this.watches.set(id, { close() { for (const w of watchers.values()) w.close() } })
      this.follow(id, p, !!recursive, watchers)
      this.message({ id: m.id, result: { mode: 'inotify', folders: watchers.size } })
    } catch (e) {
      this.message({ id: m.id, error: { code: -32020, message: `watch ${p}: ${e.message}`, data: { name: 'not_found', number: 20 } } })
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const folder = path.resolve(process.argv[2] ?? '.')
  const fake = await startFakeDaemon({ port: Number(process.argv[3] ?? 0) })
  console.log(`window: ${fake.url('devbox', folder)}`)
}
