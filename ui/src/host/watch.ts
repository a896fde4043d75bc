/* Changes of files on the host: one watch stream for the window, opened with the first watch, opened again when it broke.
 *
 * Owns the stream and the table of what is watched. After a gap (overflow, reconnection) it says `onLost`: everything may have
 * changed. */
import type { IDisposable } from '@codingame/monaco-vscode-api/vscode/vs/base/common/lifecycle'
import { FileChangeType, type IWatchOptions } from '@codingame/monaco-vscode-api/vscode/vs/platform/files/common/files'
import { TowlineError } from '../net/errors'
import { FramedRpc } from '../net/framed'
import { Signal } from '../net/signal'
import type { Stream } from '../net/socket'

interface Watched {
  path: string
  recursive: boolean
  excludes: string[]
}

const ADDED = 2
/* the protocol counts from 1: updated, added, deleted */
const KINDS: Record<number, FileChangeType> = { 1: FileChangeType.UPDATED, 2: FileChangeType.ADDED, 3: FileChangeType.DELETED }

export class HostWatcher {
  readonly onChanges = new Signal<{ type: FileChangeType; path: string }[]>()
  /** Everything below these paths may have changed. */
  readonly onLost = new Signal<string[]>()
  /** Words for a person: polling, limits. */
  readonly onNote = new Signal<string>()
  private readonly watched = new Map<number, Watched>()
  private nextId = 1
  private rpc?: Promise<FramedRpc>
  private reopening = false
  /** Watched paths that were not there. */
  private readonly missing = new Map<number, Watched>()

  constructor(private readonly openStream: (open: object) => Promise<Stream>, private readonly whenConnected: () => Promise<void>) {}

  watch(path: string, options: IWatchOptions): IDisposable {
    const id = this.nextId++
    const watched = { path, recursive: options.recursive, excludes: options.excludes }
    this.watched.set(id, watched)
    void this.add(id, watched)
    return {
      dispose: () => {
        this.missing.delete(id)
        if (this.watched.delete(id)) void this.rpc?.then((rpc) => rpc.call('watch/remove', { id })).catch(() => {})
      }
    }
  }

  /** Something was made at `path`: what waited for it, or for something below it, can be watched now. */
  appeared(path: string): void {
    for (const [id, watched] of this.missing) {
      if (watched.path !== path && !watched.path.startsWith(`${path}/`)) continue
      this.missing.delete(id)
      void this.add(id, watched)
    }
  }

  private async add(id: number, watched: Watched): Promise<void> {
    try {
      const rpc = await this.connected()
      if (!this.watched.has(id)) return
      const answer = await rpc.call<{ mode: string; folders: number; reason?: string }>('watch/add', { id, ...watched })
      if (answer.mode === 'polling') this.onNote.fire(`${watched.path} is watched by polling${answer.reason ? `: ${answer.reason}` : ''}`)
    } catch (error) {
      if (error instanceof TowlineError && error.errorName === 'not_found') {
        if (this.watched.has(id)) this.missing.set(id, watched)
        return
      }
      /* a broken stream is opened again by `reopen`, which adds this one too */
      this.onNote.fire(`watch ${watched.path}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  private connected(): Promise<FramedRpc> {
    this.rpc ??= this.open().catch((error) => {
      this.rpc = undefined
      throw error
    })
    return this.rpc
  }

  private async open(): Promise<FramedRpc> {
    const stream = await this.openStream({ open: 'watch' })
    const rpc = new FramedRpc((bytes) => stream.send(bytes))
    rpc.onNotification.on(({ method, params }) => this.hear(method, params))
    stream.onClose = (reason) => {
      this.rpc = undefined
      rpc.end(reason)
      void this.reopen()
    }
    stream.onData = (bytes) => {
      try {
        rpc.feed(bytes)
      } catch (error) {
        console.error(error)
        stream.close()
        this.rpc = undefined
      }
    }
    return rpc
  }

  /** The host can be used again. */
  revive(): void {
    if (!this.rpc) void this.reopen()
  }

  private async reopen(): Promise<void> {
    if (!this.watched.size || this.reopening) return
    this.reopening = true
    try {
      await this.whenConnected()
      await Promise.all([...this.watched].map(([id, watched]) => this.add(id, watched)))
      this.onLost.fire([...this.watched.values()].map((w) => w.path))
    } catch {
      /* the host is gone for good, until the user connects again: then comes revive() */
    } finally {
      this.reopening = false
    }
  }

  private hear(method: string, params: any): void {
    if (method === 'watch/changed') {
      const changes = params.changes as [number, string][]
      for (const [kind, path] of changes) if (kind === ADDED && this.missing.size) this.appeared(path)
      this.onChanges.fire(changes.map(([kind, path]) => ({ type: KINDS[kind] ?? FileChangeType.UPDATED, path })))
    } else if (method === 'watch/state') {
      const watched = this.watched.get(params.id)
      if (params.overflow && watched) this.onLost.fire([watched.path])
      if (params.reason) this.onNote.fire(`${watched?.path ?? 'a folder'}: ${params.reason}`)
    }
  }
}
