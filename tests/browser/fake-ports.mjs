/* Ports and forwards of the scripted daemon: a host with ports of its own (what listens "on port 8000 of the host" really listens
 * somewhere else, so that port 8000 is free here), and forwards that are real listeners. */
import http from 'node:http'
import net from 'node:net'

const PREFERRED = 41000

export class FakePorts {
  constructor(state) {
    this.state = state; this.listeners = new Map(); this.sides = new Set(); this.forwards = new Map(); this.nextId = 1; this.opened = []
  }

  /** Something begins to listen on the host. `info`: more of its PortInfo; `answer`: (request, response). */
  async listen(port, info = {}, answer = (q, a) => a.end(`port ${port} of the host: ${q.url}`)) {
    const server = http.createServer(answer)
    await new Promise((r) => server.listen(0, '127.0.0.1', r))
    this.listeners.set(port, { server, info: { port, address: '127.0.0.1', family: 4, uid: process.getuid(), pid: 4000 + (port % 1000), process: 'python3', command: `python3 -m http.server ${port}`, owned: true, term: 't1', ...info } })
    this.tell()
    return server
  }

  async silence(port) {
    const { server } = this.listeners.get(port)
    this.listeners.delete(port)
    server.closeAllConnections()
    await new Promise((r) => server.close(r))
    this.tell()
  }

  tell() { for (const side of this.sides) side.tell() }
  list() { return [...this.listeners.values()].map((l) => l.info) }

  call(method, p) {
    switch (method) {
      case 'forward/list': return { forwards: this.infos(p.host) }
      case 'forward/add': return this.add(p)
      case 'forward/remove': return this.remove(p.id)
      case 'forward/update': return this.update(p)
    }
  }

  infos(host) { return [...this.forwards.values()].map((f) => f.info).filter((i) => !host || i.host === host) }
  changed(host) { for (const c of this.state.controls) if (c.subscribed.has(host)) c.notify('forward/changed', { host, forwards: this.infos(host) }) }
  at(port) { return [...this.forwards.values()].find((f) => f.info.targetPort === port)?.info }

  /* a SOCKS server, a listener on the host, a unix socket, the internet lent: seen, but not to be used */
  addOther(p) {
    const known = [...this.forwards.values()].find((f) => p.proxy && f.info.proxy && f.info.host === p.host)
    if (known) return known.info
    const more = p.proxy ? { targetPort: 43210, proxyUrl: `http://towline:secret@127.0.0.1:43210` } : {}
    const info = { id: `f${this.nextId++}`, localAddress: 'localhost', localPort: 0, targetHost: p.kind === 'socks' || p.targetPath ? '' : 'localhost', targetPort: 0, source: 'user', connections: 0, bytesIn: 0, bytesOut: 0, state: 'listening', ...p, ...more }
    this.forwards.set(info.id, { info, server: net.createServer(), pipes: new Set() })
    this.changed(info.host)
    return info
  }

  async add(p) {
    if (p.kind !== undefined && p.kind !== 'local' || p.targetPath) return this.addOther(p)
    const there = [...this.forwards.values()].find((f) => f.info.host === p.host && f.info.targetPort === p.targetPort && f.info.targetHost === p.targetHost)
    if (there) return there.info
    const wanted = p.localPort ?? p.targetPort
    /* as a user who may not take low ports */
    if (wanted < 1024 && p.requireLocalPort) throw failure('local_port_privileged', 101, `forward port ${p.targetPort}: local port ${wanted} is reserved for the administrator. Take a local port of 1024 or more.`)
    const pipes = new Set()
    const server = net.createServer((near) => {
      const to = this.listeners.get(p.targetPort)?.server.address().port
      if (!to) { near.resetAndDestroy(); return }
      const far = net.connect(to, '127.0.0.1')
      pipes.add(near).add(far)
      near.pipe(far).pipe(near)
      for (const s of [near, far]) s.on('error', () => {}).on('close', () => { pipes.delete(s); near.destroy(); far.destroy() })
    })
    await listen(server, wanted >= 1024 ? wanted : PREFERRED).catch(() => listen(server, 0))
    const info = { id: `f${this.nextId++}`, kind: 'local', localAddress: 'localhost', targetHost: 'localhost', source: 'user', connections: 0, bytesIn: 0, bytesOut: 0, state: 'listening', ...p, localPort: server.address().port }
    delete info.requireLocalPort
    delete info.elevate
    this.forwards.set(info.id, { info, server, pipes })
    this.opened.push(info)
    this.changed(info.host)
    return info
  }

  async remove(id) {
    const forward = this.forwards.get(id)
    if (!forward) throw failure('no_forward', 103, `stop forward ${id}: no such forward. See \`towline forward HOST\`.`)
    this.forwards.delete(id)
    for (const s of forward.pipes) s.destroy()
    await new Promise((r) => forward.server.close(r))
    this.changed(forward.info.host)
    return {}
  }

  update({ id, ...change }) {
    const { info } = this.forwards.get(id)
    Object.assign(info, change)
    if (change.label === '') delete info.label
    this.changed(info.host)
    return info
  }

  close() {
    for (const { server, pipes } of this.forwards.values()) { for (const s of pipes) s.destroy(); server.close() }
    for (const { server } of this.listeners.values()) { server.closeAllConnections(); server.close() }
  }
}

const failure = (name, number, message) => Object.assign(new Error(message), { rpc: { code: -32000 - number, message, data: { name, number, exit: 1 } } })
const listen = (server, port) => new Promise((resolve, reject) => { server.once('error', reject); server.listen(port, 'localhost', resolve) })

export class PortsSide {
  constructor(ports, ws, send) {
    this.ports = ports; this.send = send
    ports.sides.add(this)
    ws.on('close', () => ports.sides.delete(this))
    setImmediate(() => this.tell())
  }
  message(m) { const b = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...m })); this.send(Buffer.concat([Buffer.from(`Content-Length: ${b.length}\r\n\r\n`), b])) }
  tell() { this.message({ method: 'ports/changed', params: { ports: this.ports.list() } }) }
  feed() {}
}
