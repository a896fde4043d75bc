/* SFTP version 3 with Towline's extensions, as a client over one stream.
 *
 * SftpSession owns its stream; requests are pipelined and answered in any order. A session that broke stays broken: every
 * request rejects with the reason, and SftpPool (sftpPool.ts) opens another. */
import { TowlineError, statusError } from '../net/errors'
import { limits } from '../net/proto'
import type { Stream } from '../net/socket'
import { Reader, Writer } from './sftpBytes'

const T = {
  INIT: 1, VERSION: 2, LSTAT: 7, SETSTAT: 9, REMOVE: 13, MKDIR: 14, RMDIR: 15, REALPATH: 16, RENAME: 18,
  STATUS: 101, HANDLE: 102, DATA: 103, NAME: 104, ATTRS: 105, EXTENDED: 200, EXTENDED_REPLY: 201
} as const
const ATTR = { SIZE: 1, UIDGID: 2, PERMISSIONS: 4, TIMES: 8 } as const
const MODE_TYPE = 0o170000
const MODE_FOLDER = 0o040000
/* all of a small file goes in one request; a larger one in pieces, a few of them under way */
const SAVE_WHOLE = 192 * 1024
const SAVE_CHUNK = 128 * 1024
const SAVE_WINDOW = 8

export const SAVE = { CREATE: 1, OVERWRITE: 2, COMPARE: 4, FSYNC: 8, ATOMIC: 16 } as const
export const COPY_OVERWRITE = 1
export const ETAG_BYTES = 24

export type EntryType = 1 | 2 | 3 | 4 | 5 | 6

export interface Entry {
  name: string
  type: EntryType
  size: number
  mtime: number
  mode: number
}

export interface FileStat {
  type: EntryType
  size: number
  mtime: number
  ctime: number
  mode: number
  access: number
  etag: Uint8Array
}

export interface ReadHead {
  etag: Uint8Array
  size: number
}

interface Pending {
  /** Returns true when the reply was the last one. */
  reply: (type: number, reader: Reader) => boolean
  fail: (error: unknown) => void
}

export class SftpSession {
  private held: Uint8Array = new Uint8Array(0)
  private nextId = 1
  private readonly pending = new Map<number, Pending>()
  private broken?: TowlineError
  private readonly ready: Promise<void>
  private greeted!: () => void

  constructor(private readonly stream: Stream, private readonly onBroken: () => void) {
    this.ready = new Promise((resolve) => (this.greeted = resolve))
    stream.onClose = (reason) => this.breakOff(reason)
    stream.onData = (bytes) => this.feed(bytes)
    stream.send(new Writer(T.INIT).u32(3).done())
  }

  get usable(): boolean {
    return !this.broken
  }

  get busy(): number {
    return this.pending.size
  }

  close(): void {
    this.breakOff(TowlineError.of('canceled', 'read a file'))
    this.stream.close()
  }

  async list(path: string, followLinks = false): Promise<Entry[]> {
    const out: Entry[] = []
    await this.streamed(this.extended('list@towline').string(path).u32(followLinks ? 1 : 0), (r) => {
      for (let count = r.u32(); count > 0; count--) {
        out.push({ name: r.string(), type: r.u8() as EntryType, size: r.u64(), mtime: r.u64(), mode: r.u32() })
      }
    })
    return out
  }

  async stat(path: string): Promise<FileStat> {
    const r = await this.one(this.extended('stat@towline').string(path))
    return {
      type: r.u8() as EntryType, size: r.u64(), mtime: r.u64(), ctime: r.u64(), mode: r.u32(), access: r.u8(), etag: r.raw(ETAG_BYTES)
    }
  }

  /** Reads `length` bytes (0: to the end); `onHead` comes once, before the first bytes. */
  readFile(path: string, offset: number, length: number, onHead: (head: ReadHead) => void, onData: (bytes: Uint8Array) => void): Promise<void> {
    let first = true
    return this.streamed(this.extended('read-file@towline').string(path).u64(offset).u64(length), (r) => {
      if (first) onHead({ etag: r.raw(ETAG_BYTES), size: r.u64() })
      first = false
      const data = r.bytes()
      if (data.length) onData(data)
    })
  }

  /** Saves all of `data`; answers the new etag. Nothing is left behind on failure. */
  async save(path: string, data: Uint8Array, flags: number, mode: number, etag: Uint8Array): Promise<Uint8Array> {
    const part = (offset: number, bytes: Uint8Array) =>
      this.one(this.extended('save@towline').string(path).u32(flags).u32(mode).raw(etag).u64(data.length).u64(offset).bytes(bytes))
    if (data.length <= SAVE_WHOLE) {
      const r = await part(0, data)
      r.u8()
      return r.raw(ETAG_BYTES)
    }
    const under: Promise<Reader>[] = []
    let last!: Reader
    try {
      for (let at = 0; at < data.length; at += SAVE_CHUNK) {
        under.push(part(at, data.subarray(at, at + SAVE_CHUNK)))
        if (under.length >= SAVE_WINDOW) last = await under.shift()!
      }
      while (under.length) last = await under.shift()!
    } catch (error) {
      await Promise.allSettled(under)
      throw error
    }
    last.u8()
    return last.raw(ETAG_BYTES)
  }

  removeTree(path: string): Promise<void> {
    return this.status(this.extended('remove-tree@towline').string(path))
  }

  copyTree(from: string, to: string, overwrite: boolean): Promise<void> {
    return this.status(this.extended('copy-tree@towline').string(from).string(to).u32(overwrite ? COPY_OVERWRITE : 0))
  }

  remove(path: string): Promise<void> {
    return this.status(this.request(T.REMOVE).string(path))
  }

  rmdir(path: string): Promise<void> {
    return this.status(this.request(T.RMDIR).string(path))
  }

  mkdir(path: string): Promise<void> {
    return this.status(this.request(T.MKDIR).string(path).u32(0))
  }

  /** A folder and its missing parents. */
  makeFolders(path: string): Promise<void> {
    return this.status(this.extended('touch-mkdirs@towline').string(path).u32(0))
  }

  rename(from: string, to: string, overwrite: boolean): Promise<void> {
    const request = overwrite ? this.extended('posix-rename@openssh.com') : this.request(T.RENAME)
    return this.status(request.string(from).string(to))
  }

  chmod(path: string, mode: number): Promise<void> {
    return this.status(this.request(T.SETSTAT).string(path).u32(ATTR.PERMISSIONS).u32(mode))
  }

  /** True for a folder itself, false for a file or any link. */
  async isFolder(path: string): Promise<boolean> {
    const r = await this.send(this.request(T.LSTAT).string(path), T.ATTRS)
    const flags = r.u32()
    if (flags & ATTR.SIZE) r.u64()
    if (flags & ATTR.UIDGID) r.u64()
    return !!(flags & ATTR.PERMISSIONS) && (r.u32() & MODE_TYPE) === MODE_FOLDER
  }

  private request(type: number): Writer {
    const id = this.nextId
    this.nextId = (this.nextId % 0x7fffffff) + 1
    return new Writer(type, id)
  }

  private extended(name: string): Writer {
    return this.request(T.EXTENDED).string(name)
  }

  private status(request: Writer): Promise<void> {
    return this.send(request, T.STATUS).then(() => undefined)
  }

  private one(request: Writer): Promise<Reader> {
    return this.send(request, T.EXTENDED_REPLY)
  }

  /** One request, one reply of the wanted type; a STATUS with a failure rejects. */
  private send(request: Writer, want: number): Promise<Reader> {
    return this.submit(request, (resolve, reject) => (type, reader) => {
      if (type === T.STATUS) {
        const error = readStatus(reader)
        if (error) reject(error)
        else if (want === T.STATUS) resolve(reader)
        else reject(TowlineError.of('protocol', 'read an answer about files'))
      } else if (type === want) {
        resolve(reader)
      } else {
        reject(TowlineError.of('protocol', 'read an answer about files'))
      }
      return true
    })
  }

  /** One request, replies until `more` is 0. */
  private streamed(request: Writer, onReply: (reader: Reader) => void): Promise<void> {
    return this.submit<void>(request, (resolve, reject) => (type, reader) => {
      if (type !== T.EXTENDED_REPLY) {
        reject((type === T.STATUS && readStatus(reader)) || TowlineError.of('protocol', 'read an answer about files'))
        return true
      }
      const more = reader.u8()
      onReply(reader)
      if (!more) resolve()
      return !more
    })
  }

  private async submit<R>(
    request: Writer, handler: (resolve: (value: R) => void, reject: (error: unknown) => void) => Pending['reply']
  ): Promise<R> {
    await this.ready
    if (this.broken) throw this.broken
    return new Promise<R>((resolve, reject) => {
      this.pending.set(request.id, { reply: handler(resolve, reject), fail: reject })
      this.stream.send(request.done())
    })
  }

  private feed(bytes: Uint8Array): void {
    const all = this.held.length ? concat(this.held, bytes) : bytes
    const view = new DataView(all.buffer, all.byteOffset, all.length)
    let at = 0
    while (all.length - at >= 4) {
      const length = view.getUint32(at)
      if (length < 1 || length > limits.SFTP_PACKET) {
        this.breakOff(TowlineError.of('protocol', 'read an answer about files'))
        this.stream.close()
        return
      }
      if (all.length - at - 4 < length) break
      this.take(all.subarray(at + 4, at + 4 + length))
      at += 4 + length
    }
    /* a copy: the rest is small, the chunk may be large */
    this.held = at < all.length ? all.slice(at) : new Uint8Array(0)
  }

  private take(packet: Uint8Array): void {
    const reader = new Reader(packet)
    const type = reader.u8()
    if (type === T.VERSION) {
      this.greeted()
      return
    }
    const id = reader.u32()
    const pending = this.pending.get(id)
    if (!pending) return
    try {
      if (pending.reply(type, reader)) this.pending.delete(id)
    } catch (error) {
      this.pending.delete(id)
      pending.fail(error)
    }
  }

  private breakOff(reason: TowlineError): void {
    if (this.broken) return
    this.broken = reason
    this.greeted()
    const waiting = [...this.pending.values()]
    this.pending.clear()
    for (const request of waiting) request.fail(reason)
    this.onBroken()
  }
}

function readStatus(reader: Reader): Error | undefined {
  const code = reader.u32()
  return code === 0 ? undefined : statusError(code, reader.string())
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length)
  out.set(a)
  out.set(b, a.length)
  return out
}
