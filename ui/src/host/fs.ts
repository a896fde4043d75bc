/* VS Code's file system provider over an SFTP pool: used for the host (vscode-remote) and for the daemon's own folder
 * (vscode-userdata).
 *
 * Knows: the etag of the last stat of each path, so that a save is refused when the file changed between VS Code's own look
 * and the write, and so that a save may be repeated after the stream broke. */
import { Emitter, Event } from '@codingame/monaco-vscode-api/vscode/vs/base/common/event'
import { Disposable, type IDisposable } from '@codingame/monaco-vscode-api/vscode/vs/base/common/lifecycle'
import type { CancellationToken } from '@codingame/monaco-vscode-api/vscode/vs/base/common/cancellation'
import { newWriteableStream, type ReadableStreamEvents } from '@codingame/monaco-vscode-api/vscode/vs/base/common/stream'
import type { URI } from '@codingame/monaco-vscode-api/vscode/vs/base/common/uri'
import {
  FileChangeType, FileOperationError, FileOperationResult, FilePermission, FileSystemProviderCapabilities, FileSystemProviderError,
  FileSystemProviderErrorCode, FileType, type IFileChange, type IFileDeleteOptions, type IFileOverwriteOptions,
  type IFileReadStreamOptions, type IFileSystemProvider, type IFileWriteOptions, type IStat, type IWatchOptions
} from '@codingame/monaco-vscode-api/vscode/vs/platform/files/common/files'
import { TowlineError } from '../net/errors'
import { ETAG_BYTES, SAVE, type EntryType, type FileStat, type ReadHead } from './sftp'
import type { SftpPool } from './sftpPool'

/* what is read on the interactive stream before the bulk stream takes over */
const INTERACTIVE_BYTES = 1024 * 1024
const ETAGS_KEPT = 4096
const NO_FILE = new Uint8Array(ETAG_BYTES)
const WRITE_BITS = 0o222
const EXECUTE_BITS = 0o111
const OWNER_WRITE = 0o200
const ACCESS_WRITE = 2

const TYPES: Record<EntryType, FileType> = {
  1: FileType.File,
  2: FileType.Directory,
  3: FileType.File | FileType.SymbolicLink,
  4: FileType.Directory | FileType.SymbolicLink,
  5: FileType.Unknown | FileType.SymbolicLink,
  6: FileType.Unknown
}

const C = FileSystemProviderErrorCode
const CODES: Record<string, FileSystemProviderErrorCode> = {
  not_found: C.FileNotFound, exists: C.FileExists, not_empty: C.FileExists, no_permission: C.NoPermissions, read_only: C.NoPermissions,
  not_a_folder: C.FileNotADirectory, is_a_folder: C.FileIsADirectory, no_space: C.FileExceedsStorageQuota, limit: C.FileTooLarge,
  closed: C.Unavailable, no_daemon: C.Unavailable, not_connected: C.Unavailable, timeout: C.Unavailable
}

/** Where changes of files come from. */
export interface ChangeSource {
  watch(path: string, options: IWatchOptions): IDisposable
  /** We made something here ourselves. */
  appeared(path: string): void
}

export class TowlineFileSystem implements IFileSystemProvider {
  readonly capabilities =
    FileSystemProviderCapabilities.FileReadWrite | FileSystemProviderCapabilities.FileReadStream |
    FileSystemProviderCapabilities.FileFolderCopy | FileSystemProviderCapabilities.PathCaseSensitive |
    FileSystemProviderCapabilities.FileWriteUnlock | FileSystemProviderCapabilities.FileAtomicRead |
    FileSystemProviderCapabilities.FileAtomicWrite
  readonly onDidChangeCapabilities = Event.None
  private readonly changes = new Emitter<readonly IFileChange[]>()
  readonly onDidChangeFile = this.changes.event
  private readonly etags = new Map<string, Uint8Array>()

  constructor(private readonly pool: SftpPool, private readonly toUri: (path: string) => URI, private readonly source?: ChangeSource) {}

  /** Tells VS Code about changes. */
  announce(changes: readonly { type: FileChangeType; path: string }[]): void {
    this.changes.fire(changes.map(({ type, path }) => ({ type, resource: this.toUri(path) })))
  }

  watch(resource: URI, options: IWatchOptions): IDisposable {
    return this.source?.watch(resource.path, options) ?? Disposable.None
  }

  async stat(resource: URI): Promise<IStat> {
    const stat = await this.pool.run((s) => s.stat(resource.path)).catch((e) => {
      if (e instanceof TowlineError && e.errorName === 'not_found') this.remember(resource.path, NO_FILE)
      throw toProviderError(e)
    })
    this.remember(resource.path, stat.etag)
    return { type: TYPES[stat.type] ?? FileType.Unknown, mtime: stat.mtime, ctime: stat.ctime, size: stat.size, permissions: permissions(stat) }
  }

  async readdir(resource: URI): Promise<[string, FileType][]> {
    const entries = await this.pool.run((s) => s.list(resource.path)).catch(rethrow)
    return entries.map((e) => [e.name, TYPES[e.type] ?? FileType.Unknown])
  }

  async readFile(resource: URI): Promise<Uint8Array> {
    const parts: Uint8Array[] = []
    let size = 0
    await this.fetch(resource.path, 0, 0, (bytes) => {
      parts.push(bytes)
      size += bytes.length
    }).catch(rethrow)
    if (parts.length === 1) return parts[0]
    const out = new Uint8Array(size)
    let at = 0
    for (const part of parts) {
      out.set(part, at)
      at += part.length
    }
    return out
  }

  readFileStream(resource: URI, options: IFileReadStreamOptions, token: CancellationToken): ReadableStreamEvents<Uint8Array> {
    const stream = newWriteableStream<Uint8Array>((parts) => parts[0])
    let canceled = false
    const listening = token.onCancellationRequested(() => {
      canceled = true
      void this.pool.abandonBulk()
      stream.error(FileSystemProviderError.create('read the file: canceled', C.Unavailable))
      stream.end()
    })
    const limit = options.limits?.size
    let got = 0
    this.fetch(resource.path, options.position ?? 0, options.length ?? 0, (bytes) => {
      if (canceled) return
      got += bytes.length
      if (limit !== undefined && got > limit) throw FileSystemProviderError.create('The file is too large to be opened', C.FileTooLarge)
      void stream.write(bytes)
    }).then(
      () => !canceled && stream.end(),
      (error) => {
        if (canceled) return
        stream.error(toProviderError(error))
        stream.end()
      }
    ).finally(() => listening.dispose())
    return stream
  }

  async writeFile(resource: URI, content: Uint8Array, options: IFileWriteOptions): Promise<void> {
    const path = resource.path
    try {
      const known = this.etags.get(path)
      let flags: number = SAVE.ATOMIC
      if (options.create) flags |= SAVE.CREATE
      if (options.overwrite) flags |= SAVE.OVERWRITE
      if (known && options.overwrite) flags |= SAVE.COMPARE
      if (options.unlock) await this.unlock(path)
      const before = options.unlock ? await this.pool.run((s) => s.stat(path)).then((s) => s.etag) : known ?? NO_FILE
      const etag = await this.saveOnce(path, content, flags, before)
      this.remember(path, etag)
      if (sameBytes(before, NO_FILE)) this.source?.appeared(path)
    } catch (error) {
      this.etags.delete(path)
      throw toProviderError(error)
    }
  }

  async mkdir(resource: URI): Promise<void> {
    await this.pool.change((s) => s.mkdir(resource.path), (e) => e.errorName === 'exists').catch(rethrow)
    this.etags.delete(resource.path)
    this.source?.appeared(resource.path)
  }

  /** Makes a folder and its parents. */
  async makeFolders(path: string): Promise<void> {
    await this.pool.run((s) => s.makeFolders(path)).catch(rethrow)
  }

  async delete(resource: URI, options: IFileDeleteOptions): Promise<void> {
    const path = resource.path
    await this.pool.change(async (s) => {
      if (!(await s.isFolder(path))) await s.remove(path)
      else if (options.recursive) await s.removeTree(path)
      else await s.rmdir(path)
    }, (e) => e.errorName === 'not_found').catch(rethrow)
    this.etags.delete(path)
  }

  async rename(from: URI, to: URI, options: IFileOverwriteOptions): Promise<void> {
    await this.pool.change(async (s) => {
      try {
        await s.rename(from.path, to.path, options.overwrite)
      } catch (error) {
        if (!(error instanceof TowlineError) || !/cross-device|EXDEV/i.test(error.message)) throw error
        await s.copyTree(from.path, to.path, options.overwrite)
        await s.removeTree(from.path)
      }
    }, async (_e, s) => {
      const there = (path: string) => s.isFolder(path).then(() => true, () => false)
      return !(await there(from.path)) && there(to.path)
    }).catch(rethrow)
    this.etags.delete(from.path)
    this.etags.delete(to.path)
    this.source?.appeared(to.path)
  }

  async copy(from: URI, to: URI, options: IFileOverwriteOptions): Promise<void> {
    await this.pool.change((s) => s.copyTree(from.path, to.path, options.overwrite), (e) => e.errorName === 'exists').catch(rethrow)
    this.etags.delete(to.path)
    this.source?.appeared(to.path)
  }

  /** Reads; a large file goes on over the bulk stream. Bytes are given once and in order, whatever breaks on the way. */
  private async fetch(path: string, offset: number, length: number, onData: (bytes: Uint8Array) => void): Promise<void> {
    let head: ReadHead | undefined
    let at = offset
    const end = () => (length ? Math.min(offset + length, head?.size ?? Infinity) : head?.size ?? Infinity)
    const take = (bytes: Uint8Array) => {
      at += bytes.length
      onData(bytes)
    }
    const check = (h: ReadHead) => {
      if (head && !sameBytes(head.etag, h.etag)) throw TowlineError.of('again', `read ${path}`, 'the file changed while it was read')
      head = h
      this.remember(path, h.etag)
    }
    const first = length ? Math.min(length, INTERACTIVE_BYTES) : INTERACTIVE_BYTES
    await this.pool.run((s) => s.readFile(path, at, Math.max(1, offset + first - at), check, take))
    if (at >= end() || at < offset + first) return
    await this.pool.run((s) => s.readFile(path, at, length ? offset + length - at : 0, check, take), 'bulk')
  }

  /** A save that lost its answer is looked at, not blindly repeated: the bytes may be there already. */
  private async saveOnce(path: string, content: Uint8Array, flags: number, before: Uint8Array): Promise<Uint8Array> {
    let broken = false
    const lane = content.length > INTERACTIVE_BYTES ? 'bulk' : 'normal'
    return this.pool.run(async (s) => {
      if (broken) {
        const now = await s.stat(path).catch(() => undefined)
        if (now && !sameBytes(now.etag, before) && now.size === content.length && (await holds(s.readFile.bind(s), path, content))) return now.etag
      }
      broken = true
      return s.save(path, content, flags, 0, before)
    }, lane)
  }

  private async unlock(path: string): Promise<void> {
    await this.pool.run(async (s) => {
      const stat = await s.stat(path)
      await s.chmod(path, (stat.mode & 0o7777) | OWNER_WRITE)
    })
  }

  private remember(path: string, etag: Uint8Array): void {
    this.etags.delete(path)
    this.etags.set(path, etag)
    if (this.etags.size > ETAGS_KEPT) this.etags.delete(this.etags.keys().next().value!)
  }
}

type ReadFile = (path: string, offset: number, length: number, onHead: (head: ReadHead) => void, onData: (bytes: Uint8Array) => void) => Promise<void>

/** Whether the file holds exactly these bytes. */
async function holds(readFile: ReadFile, path: string, content: Uint8Array): Promise<boolean> {
  let at = 0
  let same = true
  await readFile(path, 0, 0, () => {}, (bytes) => {
    same &&= sameBytes(bytes, content.subarray(at, at + bytes.length))
    at += bytes.length
  })
  return same && at === content.length
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

function permissions(stat: FileStat): FilePermission | undefined {
  if (stat.type !== 1 && stat.type !== 3) return undefined
  let out = 0
  if (!(stat.mode & WRITE_BITS) || !(stat.access & ACCESS_WRITE)) out |= FilePermission.Locked
  if (stat.mode & EXECUTE_BITS) out |= FilePermission.Executable
  return out || undefined
}

function rethrow(error: unknown): never {
  throw toProviderError(error)
}

function toProviderError(error: unknown): Error {
  if (!(error instanceof TowlineError)) return error instanceof Error ? error : new Error(String(error))
  if (error.errorName === 'conflict') return new FileOperationError(error.message, FileOperationResult.FILE_MODIFIED_SINCE)
  return FileSystemProviderError.create(error.message, CODES[error.errorName] ?? C.Unknown)
}
