/* The hosts a person may mean: chosen for a window, added from a whole ssh command, their configuration in an editor. All of it is
 * the daemon's knowledge (host/known, host/add, config/read); nothing of it is kept here. */
import type * as vscode from 'vscode'
import type { Control } from '../net/control'
import { TowlineError } from '../net/errors'
import type { KnownHost } from '../net/proto'
import { CATEGORY } from './manifest'

const SCHEME = 'ssh-config'
const CONFIG_SETTING = 'remote.SSH.configFile'

export interface HostParts {
  api: typeof vscode
  control: Control
}

interface Choice extends vscode.QuickPickItem {
  host?: string
  run?: 'add' | 'configure'
}

/** Hosts by name: a text, or what other extensions give to VS Code's command. */
export function hostNamed(given: unknown): string | undefined {
  if (typeof given === 'string') return given || undefined
  const { host, userName, port } = (given ?? {}) as { host?: unknown; userName?: unknown; port?: unknown }
  if (typeof host !== 'string' || !host) return undefined
  const address = port && host.includes(':') ? `[${host}]` : host
  return `${userName ? `${userName as string}@` : ''}${address}${port ? `:${port as number}` : ''}`
}

/** Asks for a host. `free`: another than those known may be typed, added or configured. */
export function pickHost({ api, control }: HostParts, title: string, free: boolean, which: (h: KnownHost) => boolean = () => true): Promise<Choice | undefined> {
  const pick = api.window.createQuickPick<Choice>()
  pick.title = `${CATEGORY}: ${title}`
  pick.placeholder = free ? 'Select a configured SSH host or enter user@host' : 'Select a host'
  pick.matchOnDescription = true
  pick.busy = true
  const more: Choice[] = free ? [
    { label: '', kind: api.QuickPickItemKind.Separator },
    { label: '$(add) Add New SSH Host...', run: 'add', alwaysShow: true },
    { label: '$(gear) Configure SSH Hosts...', run: 'configure', alwaysShow: true }
  ] : []
  let known: Choice[] = []
  const refresh = () => {
    const typed = pick.value.trim()
    const typedOnes: Choice[] = free && typed && !known.some((k) => k.host === typed)
      ? [{ label: `$(arrow-right) ${typed}`, description: 'Connect to this host', host: typed, alwaysShow: true }] : []
    pick.items = [...typedOnes, ...known, ...more]
  }
  pick.onDidChangeValue(refresh)
  control.call('host/known', {}).then(({ hosts }) => {
    known = hosts.filter(which).map((h) => ({ label: `$(${h.phase === 'connected' ? 'vm-active' : 'vm'}) ${h.name}`, description: describe(h), host: h.name }))
  }, (error) => {
    pick.placeholder = `Enter user@host (${words(error)})`
  }).finally(() => {
    pick.busy = false
    refresh()
  })
  return new Promise((resolve) => {
    pick.onDidAccept(() => {
      const typed = pick.value.trim()
      resolve(pick.selectedItems[0] ?? (free && typed ? { label: typed, host: typed } : undefined))
      pick.hide()
    })
    pick.onDidHide(() => {
      resolve(undefined)
      pick.dispose()
    })
    pick.show()
  })
}

/** What is worth to be said of a host beside its name. */
export function describe(host: KnownHost): string {
  const phase = host.phase === 'disconnected' || host.phase === 'failed' ? '' : host.phase
  return [phase, host.configured ? '' : 'not in the SSH configuration'].filter(Boolean).join(', ')
}

/** *Add New SSH Host…*: a whole ssh command line becomes a Host block. Answers the name of the new host. */
export async function addHost(parts: HostParts): Promise<string | undefined> {
  const { api, control } = parts
  const command = await askCommand(parts)
  const file = command && (await pickFile(parts, 'Select SSH configuration file to update'))
  if (!file) return undefined
  let added
  try {
    added = await control.call('host/add', { command, configFile: file })
  } catch (error) {
    void api.window.showErrorMessage(words(error))
    return undefined
  }
  const notes = [
    ...added.unused.map((u) => `Left out: ${u.option} (${u.reason}).`),
    ...added.overruled.map((o) => `${o.keyword} is ${o.effective} by another part of the configuration, not ${o.wanted}.`)
  ]
  const open = 'Open Config'
  const connect = 'Connect'
  void api.window.showInformationMessage([`Host ${added.name} added to ${added.file}.`, ...notes].join(' '), open, connect).then((choice) => {
    if (choice === open) void openFile(parts, added.file, added.line)
    if (choice === connect) void api.commands.executeCommand('opensshremotes.openEmptyWindow', added.name)
  })
  return added.name
}

/** The command line, checked by the daemon and by ssh before it is taken. */
function askCommand({ api, control }: HostParts): Promise<string | undefined> {
  const box = api.window.createInputBox()
  box.title = `${CATEGORY}: Enter SSH Connection Command`
  box.placeholder = 'E.g. ssh hello@example.com -A'
  box.ignoreFocusOut = true
  return new Promise((resolve) => {
    box.onDidChangeValue(() => (box.validationMessage = undefined))
    box.onDidAccept(async () => {
      const command = box.value.trim()
      if (!command || box.busy) return
      box.busy = true
      try {
        await control.call('host/add', { command, dryRun: true })
        resolve(command)
        box.hide()
      } catch (error) {
        box.validationMessage = words(error)
      } finally {
        box.busy = false
      }
    })
    box.onDidHide(() => {
      resolve(undefined)
      box.dispose()
    })
    box.show()
  })
}

async function pickFile({ api, control }: HostParts, placeHolder: string): Promise<string | undefined> {
  const { configFile, files } = await control.call('host/known', {}).catch(() => control.call('config/read', {}).then(({ file }) => ({ configFile: file, files: [] as string[] })))
  const settings: vscode.QuickPickItem = { label: '$(gear) Settings', description: 'Specify a custom configuration file' }
  const items: vscode.QuickPickItem[] = [configFile, ...files.filter((f) => f !== configFile)].map((label) => ({ label }))
  const choice = await api.window.showQuickPick([...items, settings], { placeHolder })
  if (choice === settings) void api.commands.executeCommand('workbench.action.openSettings', CONFIG_SETTING)
  return choice === settings ? undefined : choice?.label
}

/** *Open SSH Configuration File…*. */
export async function openConfig(parts: HostParts): Promise<void> {
  const file = await pickFile(parts, 'Select SSH configuration file to edit')
  if (file) await openFile(parts, file)
}

/** `line` from 1. */
export async function openFile({ api }: HostParts, file: string, line?: number): Promise<void> {
  const document = await api.workspace.openTextDocument(api.Uri.from({ scheme: SCHEME, path: file }))
  const at = line ? new api.Range(line - 1, 0, line - 1, 0) : undefined
  await api.window.showTextDocument(document, { preview: false, ...(at ? { selection: at } : {}) })
}

/** The files of the ssh configuration as documents. They are this machine's, which a page cannot reach: the daemon reads and writes them. */
export function registerConfigFiles({ api, control }: HostParts): void {
  const changed = new api.EventEmitter<vscode.FileChangeEvent[]>()
  /* as VS Code looked at it last, which it does before each save to ask about changes of others */
  const seen = new Map<string, string>()
  const look = async (uri: vscode.Uri) => {
    try {
      const read = await control.call('config/read', { file: uri.path })
      seen.set(uri.path, read.text)
      return { ...read, bytes: new TextEncoder().encode(read.text) }
    } catch (error) {
      const name = error instanceof TowlineError ? error.errorName : ''
      throw name === 'no_permission' ? api.FileSystemError.NoPermissions(words(error)) : api.FileSystemError.Unavailable(words(error))
    }
  }
  const refuse = () => {
    throw api.FileSystemError.NoPermissions('only files of the ssh configuration can be edited here')
  }
  api.workspace.registerFileSystemProvider(SCHEME, {
    onDidChangeFile: changed.event,
    watch: () => new api.Disposable(() => {}),
    async stat(uri) {
      const { mtime, bytes } = await look(uri)
      return { type: api.FileType.File, ctime: 0, mtime, size: bytes.length }
    },
    async readFile(uri) {
      return (await look(uri)).bytes
    },
    async writeFile(uri, content) {
      const text = new TextDecoder().decode(content)
      try {
        await control.call('config/write', { file: uri.path, text, was: seen.get(uri.path) ?? '' })
      } catch (error) {
        throw api.FileSystemError.Unavailable(words(error))
      }
      seen.set(uri.path, text)
      changed.fire([{ type: api.FileChangeType.Changed, uri }])
    },
    readDirectory: () => [],
    createDirectory: refuse,
    delete: refuse,
    rename: refuse
  }, { isCaseSensitive: true })
}

export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
