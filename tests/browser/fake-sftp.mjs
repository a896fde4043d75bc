/* The file side of the fake daemon: SFTP v3 with Towline's extensions (docs/protocol.md section 4) on a local folder, only as much
 * as the window uses. `root` confines all paths (the daemon's own folder); null: the paths of this machine. */
import fs from 'node:fs/promises'
import path from 'node:path'

const CHUNK = 32768
const enc = new TextEncoder()

class Out {
  constructor() { this.parts = [] }
  u8(v) { this.parts.push(Buffer.from([v])); return this }
  u32(v) { const b = Buffer.alloc(4); b.writeUInt32BE(v >>> 0); this.parts.push(b); return this }
  u64(v) { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(v)); this.parts.push(b); return this }
  raw(b) { this.parts.push(Buffer.from(b)); return this }
  str(s) { const b = typeof s === 'string' ? enc.encode(s) : s; return this.u32(b.length).raw(b) }
  packet() { const body = Buffer.concat(this.parts); const head = Buffer.alloc(4); head.writeUInt32BE(body.length); return Buffer.concat([head, body]) }
}

class In {
  constructor(b) { this.b = b; this.at = 0 }
  u8() { return this.b[this.at++] }
  u32() { this.at += 4; return this.b.readUInt32BE(this.at - 4) }
  u64() { this.at += 8; return Number(this.b.readBigUInt64BE(this.at - 8)) }
  raw(n) { this.at += n; return this.b.subarray(this.at - n, this.at) }
  bytes() { return this.raw(this.u32()) }
  str() { return this.bytes().toString('utf8') }
}

const NAMES = { ENOENT: 'not_found', EACCES: 'no_permission', EPERM: 'no_permission', EEXIST: 'exists', ENOTEMPTY: 'not_empty', ENOSPC: 'no_space', EROFS: 'read_only', EISDIR: 'is_a_folder', ENOTDIR: 'not_a_folder' }
const CODES = { not_found: 2, no_permission: 3 }

class Failure extends Error {
  constructor(name, text) { super(`${name}: ${text}`); this.status = CODES[name] ?? 4 }
}

const etagOf = (st) => {
  const b = Buffer.alloc(24)
  b.writeBigUInt64BE(st.mtimeNs, 0); b.writeBigUInt64BE(st.size, 8); b.writeBigUInt64BE(st.ino, 16)
  return b
}
const NO_FILE = Buffer.alloc(24)
const typeOf = (own, target) => own.isSymbolicLink() ? (!target ? 5 : target.isDirectory() ? 4 : 3) : own.isFile() ? 1 : own.isDirectory() ? 2 : 6

export class FakeSftp {
  constructor(root, send, hooks = {}) {
    this.root = root; this.send = send; this.hooks = hooks; this.held = Buffer.alloc(0); this.saves = new Map()
    this.queue = Promise.resolve()
  }

  feed(bytes) {
    this.held = Buffer.concat([this.held, bytes])
    while (this.held.length >= 4) {
      const n = this.held.readUInt32BE(0)
      if (this.held.length - 4 < n) break
      const packet = Buffer.from(this.held.subarray(4, 4 + n))
      this.held = this.held.subarray(4 + n)
      this.queue = this.queue.then(() => this.take(packet))
    }
  }

  real(p) {
    if (this.root === null) return p
    const inside = path.posix.normalize('/' + p)
    return path.join(this.root, inside)
  }

  async take(packet) {
    const r = new In(packet)
    const type = r.u8()
    if (type === 1) { this.send(new Out().u8(2).u32(3).packet()); return }
    const id = r.u32()
    const reply = (t) => new Out().u8(t).u32(id)
    const ok = () => this.send(reply(101).u32(0).str('').str('').packet())
    try {
      switch (type) {
        case 7: case 17: {
          const st = await (type === 7 ? fs.lstat : fs.stat)(this.real(r.str()))
          this.send(reply(105).u32(1 | 2 | 4 | 8).u64(st.size).u32(st.uid).u32(st.gid).u32(st.mode).u32(st.atimeMs / 1000).u32(st.mtimeMs / 1000).packet())
          return
        }
        case 9: { const p = this.real(r.str()); if (r.u32() & 4) await fs.chmod(p, r.u32() & 0o7777); return ok() }
        case 13: await fs.unlink(this.real(r.str())); return ok()
        case 14: await fs.mkdir(this.real(r.str())); return ok()
        case 15: await fs.rmdir(this.real(r.str())); return ok()
        case 18: {
          const a = this.real(r.str()), b = this.real(r.str())
          if (await fs.lstat(b).then(() => true, () => false)) throw new Failure('exists', b)
          await fs.rename(a, b)
          return ok()
        }
        case 200: return await this.extended(r.str(), r, reply, ok)
        default: throw Object.assign(new Error('unsupported'), { status: 8 })
      }
    } catch (e) {
      const name = NAMES[e.code]
      this.send(reply(101).u32(e.status ?? CODES[name] ?? 4).str(name ? `${name}: ${e.message}` : e.message).str('').packet())
    }
  }

  async extended(name, r, reply, ok) {
    switch (name) {
      case 'list@towline': return this.list(this.real(r.str()), reply)
      case 'stat@towline': return this.stat(this.real(r.str()), reply)
      case 'read-file@towline': return this.read(this.real(r.str()), r.u64(), r.u64(), reply)
      case 'save@towline': return this.save(r, reply)
      case 'remove-tree@towline': { const p = this.real(r.str()); await fs.lstat(p); await fs.rm(p, { recursive: true }); return ok() }
      case 'copy-tree@towline': {
        const a = this.real(r.str()), b = this.real(r.str())
        await fs.cp(a, b, { recursive: true, force: !!(r.u32() & 1), errorOnExist: true, preserveTimestamps: false })
        return ok()
      }
      case 'touch-mkdirs@towline': await fs.mkdir(this.real(r.str()), { recursive: true }); return ok()
      case 'posix-rename@openssh.com': await fs.rename(this.real(r.str()), this.real(r.str())); return ok()
      default: throw Object.assign(new Error('unsupported'), { status: 8 })
    }
  }

  async list(p, reply) {
    const rows = []
    for (const name of await fs.readdir(p)) {
      const own = await fs.lstat(path.join(p, name)).catch(() => null)
      if (!own) continue
      const target = own.isSymbolicLink() ? await fs.stat(path.join(p, name)).catch(() => null) : own
      rows.push([name, typeOf(own, target), own])
    }
    /* a few at a time, so that the streaming is used */
    for (let i = 0; i < rows.length || i === 0; i += 50) {
      const part = rows.slice(i, i + 50)
      const out = reply(201).u8(i + 50 < rows.length ? 1 : 0).u32(part.length)
      for (const [name, type, st] of part) out.str(name).u8(type).u64(st.size).u64(Math.trunc(st.mtimeMs)).u32(st.mode)
      this.send(out.packet())
    }
  }

  async stat(p, reply) {
    const own = await fs.lstat(p), st = await fs.stat(p, { bigint: true })
    const can = async (m) => fs.access(p, m).then(() => m, () => 0)
    const access = ((await can(fs.constants.R_OK)) ? 1 : 0) | ((await can(fs.constants.W_OK)) ? 2 : 0) | ((await can(fs.constants.X_OK)) ? 4 : 0)
    this.send(reply(201).u8(typeOf(own, await fs.stat(p))).u64(st.size).u64(st.mtimeMs).u64(st.ctimeMs).u32(Number(st.mode)).u8(access).raw(etagOf(st)).packet())
  }

  async read(p, offset, length, reply) {
    const file = await fs.open(p, 'r')
    try {
      const st = await file.stat({ bigint: true })
      if (st.isDirectory()) throw new Failure('is_a_folder', p)
      const end = Math.min(Number(st.size), length ? offset + length : Number(st.size))
      let at = offset, first = true
      do {
        const want = Math.max(0, Math.min(CHUNK, end - at))
        const { buffer, bytesRead } = await file.read(Buffer.alloc(want), 0, want, at)
        at += bytesRead
        const out = reply(201).u8(at < end && bytesRead ? 1 : 0)
        if (first) out.raw(etagOf(st)).u64(st.size)
        first = false
        this.send(out.str(buffer.subarray(0, bytesRead)).packet())
        if (!bytesRead) break
      } while (at < end)
    } finally {
      await file.close()
    }
  }

  async save(r, reply) {
    const shown = r.str(), p = this.real(shown), flags = r.u32(), mode = r.u32(), etag = Buffer.from(r.raw(24)), total = r.u64(), offset = r.u64(), data = r.bytes()
    let state = this.saves.get(p)
    if (offset === 0) {
      const st = await fs.stat(p, { bigint: true }).catch(() => null)
      if (flags & 4 && !(st ? etagOf(st) : NO_FILE).equals(etag)) throw new Failure('conflict', `${shown} changed since it was read`)
      if (st && !(flags & 2)) throw new Failure('exists', shown)
      if (!st && !(flags & 1)) throw new Failure('not_found', shown)
      state = { parts: [], size: 0, mode: st ? Number(st.mode) & 0o7777 : mode || 0o644 }
      this.saves.set(p, state)
    }
    state.parts.push(Buffer.from(data)); state.size += data.length
    if (state.size < total) { this.send(reply(201).u8(0).raw(NO_FILE).packet()); return }
    this.saves.delete(p)
    const temporary = `${p}.towline-fake`
    await fs.writeFile(temporary, Buffer.concat(state.parts), { mode: state.mode })
    await fs.rename(temporary, await fs.realpath(p).catch(() => p))
    await this.hooks.saved?.(shown)
    this.send(reply(201).u8(1).raw(etagOf(await fs.stat(p, { bigint: true }))).packet())
  }
}
