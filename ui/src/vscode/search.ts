/* Quick open: file names found by walking the folders of the host. A walk is kept for a short time, for the letters that follow
 * the first. The text of files is not searched yet; the view says so. */
import { getService } from '@codingame/monaco-vscode-api'
import type { CancellationToken } from '@codingame/monaco-vscode-api/vscode/vs/base/common/cancellation'
import { parse, type IExpression } from '@codingame/monaco-vscode-api/vscode/vs/base/common/glob'
import type { URI } from '@codingame/monaco-vscode-api/vscode/vs/base/common/uri'
import {
  SearchProviderType, TextSearchCompleteMessageType, type IFileMatch, type IFileQuery, type IFolderQuery, type ISearchComplete,
  type ISearchResultProvider
} from '@codingame/monaco-vscode-api/vscode/vs/workbench/services/search/common/search'
import { ISearchService } from '@codingame/monaco-vscode-api/vscode/vs/workbench/services/search/common/search.service'
import type { SftpPool } from '../host/sftpPool'

const FILES_MAX = 50000
const FOLDERS_MAX = 10000
const PARALLEL = 16
const KEEP_MS = 15000

interface Walk {
  paths: string[]
  complete: boolean
}

type Test = (relative: string, base?: string) => unknown

export class FileNameSearch implements ISearchResultProvider {
  private readonly walks = new Map<string, { at: number; walk: Promise<Walk> }>()

  constructor(private readonly pool: SftpPool) {}

  async getAIName() {
    return undefined
  }

  async clearCache() {
    this.walks.clear()
  }

  /** A file came or went. */
  forget(): void {
    this.walks.clear()
  }

  async textSearch(): Promise<ISearchComplete> {
    return {
      results: [], limitHit: false,
      messages: [{ type: TextSearchCompleteMessageType.Warning, text: 'Searching in the text of remote files is not there yet in this version. Use grep in a terminal; Go to File (Ctrl+P) finds files by name.' }]
    }
  }

  async fileSearch(query: IFileQuery, token?: CancellationToken): Promise<ISearchComplete> {
    const results: IFileMatch<URI>[] = []
    const max = query.maxResults ?? FILES_MAX
    const wanted = matcher(query)
    let limitHit = false
    for (const folder of query.folderQueries) {
      const { paths, complete } = await this.walk(folder, query.excludePattern, token)
      limitHit ||= !complete
      const include = any([query.includePattern, folder.includePattern])
      for (const path of paths) {
        const relative = path.slice(folder.folder.path.length).replace(/^\//, '')
        if (!wanted(relative) || (include && !include(relative, base(relative)))) continue
        if (results.length >= max) return { results: query.exists ? [] : results, limitHit: true, messages: [] }
        results.push({ resource: folder.folder.with({ path }) })
        if (query.exists) return { results: [], limitHit: true, messages: [] }
      }
    }
    return { results, limitHit, messages: [] }
  }

  private walk(folder: IFolderQuery, exclude: IExpression | undefined, token?: CancellationToken): Promise<Walk> {
    const patterns = [exclude, ...(folder.excludePattern ?? []).map((e) => e.pattern)]
    const key = JSON.stringify([folder.folder.path, patterns])
    const known = this.walks.get(key)
    if (known && Date.now() - known.at < KEEP_MS) return known.walk
    const walk = this.descend(folder.folder.path, any(patterns), token)
    this.walks.set(key, { at: Date.now(), walk })
    const drop = () => this.walks.get(key)?.walk === walk && this.walks.delete(key)
    walk.then(() => token?.isCancellationRequested && drop(), drop)
    return walk
  }

  private async descend(root: string, excluded: Test | undefined, token?: CancellationToken): Promise<Walk> {
    const paths: string[] = []
    const queue = [root]
    let next = 0
    let complete = true
    const worker = async () => {
      while (next < queue.length && !token?.isCancellationRequested) {
        if (next >= FOLDERS_MAX || paths.length >= FILES_MAX) {
          complete = false
          return
        }
        const folder = queue[next++]
        /* a folder one may not read does not spoil the others */
        const entries = await this.pool.run((s) => s.list(folder)).catch(() => [])
        for (const entry of entries) {
          const path = folder === '/' ? `/${entry.name}` : `${folder}/${entry.name}`
          const relative = path.slice(root.length).replace(/^\//, '')
          if (excluded?.(relative, entry.name)) continue
          /* links to folders are not followed: they may lead round in a circle */
          if (entry.type === 2) queue.push(path)
          else if (entry.type === 1 || entry.type === 3) paths.push(path)
        }
      }
    }
    while (next < queue.length && complete && !token?.isCancellationRequested) {
      await Promise.all(Array.from({ length: PARALLEL }, worker))
    }
    return { paths, complete }
  }
}

function base(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function any(patterns: (IExpression | undefined)[]): Test | undefined {
  const tests = patterns.filter((p): p is IExpression => !!p && Object.keys(p).length > 0).map((p) => parse(p) as Test)
  return tests.length ? (relative, name) => tests.some((test) => !!test(relative, name)) : undefined
}

/** What the user typed: all its letters in order, wherever they are; VS Code ranks the rest. */
function matcher(query: IFileQuery): (relative: string) => boolean {
  const pattern = (query.filePattern ?? '').toLowerCase().replaceAll(' ', '').replaceAll('\\', '/')
  if (!pattern) return () => true
  if (query.shouldGlobMatchFilePattern) {
    const test = parse(query.filePattern!)
    return (relative) => test(relative)
  }
  return (relative) => {
    const text = relative.toLowerCase()
    let at = 0
    for (const letter of pattern) {
      at = text.indexOf(letter, at) + 1
      if (!at) return false
    }
    return true
  }
}

export async function registerSearch(search: FileNameSearch): Promise<void> {
  const service = await getService(ISearchService)
  service.registerSearchResultProvider('vscode-remote', SearchProviderType.file, search)
  service.registerSearchResultProvider('vscode-remote', SearchProviderType.text, search)
}
