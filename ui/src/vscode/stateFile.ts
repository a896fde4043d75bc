/* VS Code's state (open editors, layout, history) as a JSON file of the daemon's folder.
 *
 * A page that is reloaded has no time for a round trip, so what is not in the file yet is also kept in the browser's own storage
 * (the journal) and applied when the page begins again. Invariant: file + journal = all that VS Code handed over, and
 * handOver() makes it hand over everything at once. */
import { Event } from '@codingame/monaco-vscode-api/vscode/vs/base/common/event'
import type { IStorageDatabase, IUpdateRequest } from '@codingame/monaco-vscode-api/vscode/vs/base/parts/storage/common/storage'
import { URI } from '@codingame/monaco-vscode-api/vscode/vs/base/common/uri'
import { StorageScope } from '@codingame/monaco-vscode-storage-service-override'
import type { TowlineFileSystem } from '../host/fs'

type Journal = Record<string, string | null>

export class StateFile implements IStorageDatabase {
  readonly onDidChangeItemsExternal = Event.None
  private items?: Promise<Map<string, string>>
  private journal: Journal = {}
  private writing?: Promise<void>
  private behind = false
  private readonly uri: URI
  private readonly key: string

  constructor(private readonly files: TowlineFileSystem, name: string) {
    this.uri = URI.from({ scheme: 'vscode-userdata', path: `/User/state/${name}.json` })
    this.key = `towline.state.${name}`
  }

  getItems(): Promise<Map<string, string>> {
    this.items ??= this.load()
    return this.items
  }

  /** Done as soon as the journal has it: VS Code keeps back what comes while this runs, and the file may take long. */
  async updateItems(request: IUpdateRequest): Promise<void> {
    for (const [key, value] of request.insert ?? []) this.journal[key] = value
    for (const key of request.delete ?? []) this.journal[key] = null
    const kept = this.keepJournal()
    const items = await this.getItems()
    apply(items, Object.fromEntries([...(request.insert ?? [])]))
    for (const key of request.delete ?? []) items.delete(key)
    this.behind = true
    /* one write at a time; what comes meanwhile goes into the next */
    this.writing ??= this.catchUp().finally(() => (this.writing = undefined))
    if (!kept) await this.writing
  }

  async optimize(): Promise<void> {}

  async close(): Promise<void> {
    await this.writing
  }

  private async load(): Promise<Map<string, string>> {
    const items = new Map<string, string>()
    const text = await this.files.readFile(this.uri).then((bytes) => new TextDecoder().decode(bytes), () => '{}')
    apply(items, parse(text))
    const left = parse(localStorage.getItem(this.key) ?? '{}')
    apply(items, left)
    this.journal = { ...left, ...this.journal }
    return items
  }

  private async catchUp(): Promise<void> {
    while (this.behind) {
      this.behind = false
      await this.write().catch((error) => console.warn(`keep the state of the window: ${error instanceof Error ? error.message : error}`))
    }
  }

  private async write(): Promise<void> {
    const items = await this.getItems()
    const sent = { ...this.journal }
    const bytes = new TextEncoder().encode(JSON.stringify(Object.fromEntries(items), null, 1))
    await this.files.makeFolders('/User/state')
    /* another window may have written: the last one wins, as everywhere in VS Code's state */
    await this.files.stat(this.uri).catch(() => {})
    await this.files.writeFile(this.uri, bytes, { create: true, overwrite: true, unlock: false, atomic: false })
    for (const [key, value] of Object.entries(sent)) if (this.journal[key] === value) delete this.journal[key]
    this.keepJournal()
  }

  /** False where the browser has no room for it: the file alone must do. */
  private keepJournal(): boolean {
    try {
      if (Object.keys(this.journal).length) localStorage.setItem(this.key, JSON.stringify(this.journal))
      else localStorage.removeItem(this.key)
      return true
    } catch {
      return false
    }
  }
}

const SCOPES = [StorageScope.APPLICATION, StorageScope.PROFILE, StorageScope.WORKSPACE]

/** VS Code's storage keeps what is set for a tenth of a second, and longer while a write is under way, before it hands it to its
 * database. A page that goes has no such time: this hands over at once. */
export function handOver(storage: object): void {
  const inside = storage as { getStorage(scope: StorageScope): { flushPending(): Promise<void> } | undefined }
  for (const scope of SCOPES) void inside.getStorage(scope)?.flushPending()
}

function apply(items: Map<string, string>, changes: Journal): void {
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) items.delete(key)
    else items.set(key, value)
  }
}

function parse(text: string): Journal {
  try {
    const value: unknown = JSON.parse(text)
    return value && typeof value === 'object' ? (value as Journal) : {}
  } catch {
    return {}
  }
}
