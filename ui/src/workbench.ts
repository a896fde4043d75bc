/* Puts the workbench together: providers, services, terminals, our extension; in the order VS Code needs. */
import { IConfigurationService, ILifecycleService, IStorageService, IWorkbenchLayoutService, getService, initialize, type IWorkbenchConstructionOptions } from '@codingame/monaco-vscode-api'
import { ExtensionHostKind, registerExtension } from '@codingame/monaco-vscode-api/extensions'
import { registerCustomProvider } from '@codingame/monaco-vscode-files-service-override'
import { URI } from '@codingame/monaco-vscode-api/vscode/vs/base/common/uri'
import { IExplorerService } from '@codingame/monaco-vscode-api/vscode/vs/workbench/contrib/files/browser/files.service'
import { ITaskService } from '@codingame/monaco-vscode-api/vscode/vs/workbench/contrib/tasks/common/taskService.service'
import { FileChangeType } from '@codingame/monaco-vscode-api/vscode/vs/platform/files/common/files'
import 'vscode/localExtensionHost'
import './vscode/exts'
import type * as vscode from 'vscode'
import type { Control } from './net/control'
import type { HelloResult, Endpoint } from './net/socket'
import { insist } from './net/insist'
import { Signal } from './net/signal'
import type { HostConnection } from './host/connection'
import { Forwards } from './host/forwards'
import { TowlineFileSystem } from './host/fs'
import { HostPorts } from './host/ports'
import { SftpPool } from './host/sftpPool'
import { TowlineTerminals } from './host/terminal'
import { HostWatcher } from './host/watch'
import type { Address } from './page/address'
import type { Prompts } from './page/prompts'
import type { Skeleton } from './page/skeleton'
import { Indicator, goTo, registerCommands } from './extension/commands'
import { lendingEnv, registerLending } from './extension/lendInternet'
import { ID, manifest } from './extension/manifest'
import { registerOtherKinds } from './extension/otherKinds'
import { workbenchPrompts } from './extension/prompts'
import { registerViewer } from './extension/viewer'
import { registerSessions, type SessionViews } from './sessions'
import type { Kept } from './sessions/service'
import { authorityOf, hostOf, remoteUri } from './vscode/authority'
import { CONFIGURATION, PRODUCT, TEST_CONFIGURATION } from './vscode/defaults'
import { registerForwardPick } from './vscode/forwardPick'
import { isolateFrames } from './vscode/frames'
import { openLocalUrls } from './vscode/localUrls'
import { leadToHosts } from './vscode/noHost'
import { focusOtherForwards, showOtherForwards } from './vscode/otherForwards'
import { PortsView } from './vscode/ports'
import { remoteAgentClass } from './vscode/remoteAgent'
import { registerRenderers } from './vscode/renderers'
import { FileNameSearch, registerSearch } from './vscode/search'
import { services } from './vscode/services'
import { handOver } from './vscode/stateFile'
import { provideWorkers } from './vscode/workers'

const STATE_MS = 10000
const PORTS_KEPT = 500

export interface WindowParts {
  address: Address
  hello: HelloResult
  control: Control
  endpoint: Endpoint
  connection: HostConnection | undefined
  prompts: Prompts
  skeleton: Skeleton
}

interface Remote {
  authority: string
  files: TowlineFileSystem
  watcher: HostWatcher
  search: FileNameSearch
  terminals: TowlineTerminals
  ports: HostPorts
  forwards: Forwards
}

export async function startWorkbench(parts: WindowParts): Promise<void> {
  const { address, hello, connection, skeleton } = parts
  provideWorkers(hello.frameOrigin)
  isolateFrames(hello.frameOrigin)
  registerRenderers(hello.frameOrigin)
  if (!connection) leadToHosts(ID.connect)
  const userData = openUserData(parts)
  const remote = connection && openRemote(parts, connection, userData)
  const indicator = new Indicator(connection?.host)
  const { getApi } = registerExtension(manifest(remote?.authority, connection?.host) as never, ExtensionHostKind.LocalProcess, { system: true })
  let readNotebooks = () => {}
  const notebooksReady = new Promise<void>((resolve) => (readNotebooks = resolve))
  await initialize(
    services(userData, remote && connection && { terminals: remote.terminals, agentService: remoteAgentClass(connection, remote.authority, connection.info!) }, notebooksReady),
    document.getElementById('workbench')!,
    construction(address, remote, indicator),
    { userHome: remote ? remoteUri(remote.authority, connection!.info!.home) : URI.from({ scheme: 'vscode-userdata', path: '/' }) }
  )
  await keepState()
  const api = (await getApi()) as unknown as typeof vscode
  parts.prompts.present = workbenchPrompts(api)
  registerCommands({ api, control: parts.control, connection, indicator })
  let sessions: SessionViews | undefined
  if (!remote) readNotebooks()
  else {
    /* before anything is waited for: pages that are brought back wait for it */
    registerViewer(api)
    sessions = openSessions(api, parts, connection!, userData)
    /* an answer of VS Code comes after it has heard of them */
    void api.commands.getCommands(true).then(readNotebooks)
    await registerSearch(remote.search)
    /* tasks.json: shells and processes run in terminals of the host */
    ;(await getService(ITaskService)).registerSupportedExecutions(true, true, true)
    followLosses(api, remote)
    await showPorts(api, parts, connection!, remote)
  }
  await (await getService(IWorkbenchLayoutService)).whenRestored
  skeleton.hide()
  if (connection && address.folder) void parts.control.call('host/folder', { host: connection.host, path: address.folder }).catch((error) => console.warn(`remember the folder: ${error}`))
  if (remote && address.file) void api.commands.executeCommand('vscode.open', remoteUri(remote.authority, address.file))
  if (!address.folder && !address.workspace && !address.file) {
    await api.commands.executeCommand('workbench.view.explorer')
    void api.commands.executeCommand(remote ? 'workbench.action.files.openFolder' : ID.connect)
  }
  const ready: Record<string, unknown> = { ready: true, host: connection?.host ?? null }
  if (address.test) Object.assign(ready, { api, connection, control: parts.control, remote, sessions })
  ;(window as unknown as { __towline: object }).__towline = ready
}

/** Settings, keybindings, state: files of the daemon's folder. Other tabs hear of changes. */
function openUserData({ control, endpoint }: WindowParts): TowlineFileSystem {
  const pool = new SftpPool((open) => insist(() => control.whenOpen(), () => endpoint.openStream('', open)))
  const tabs = new BroadcastChannel('towline.userdata')
  class UserData extends TowlineFileSystem {
    override async writeFile(...args: Parameters<TowlineFileSystem['writeFile']>): Promise<void> {
      await super.writeFile(...args)
      this.changed(FileChangeType.UPDATED, args[0].path)
    }
    override async delete(...args: Parameters<TowlineFileSystem['delete']>): Promise<void> {
      await super.delete(...args)
      this.changed(FileChangeType.DELETED, args[0].path)
    }
    private changed(type: FileChangeType, path: string): void {
      this.announce([{ type, path }])
      tabs.postMessage({ type, path })
    }
  }
  const provider = new UserData(pool, (path) => URI.from({ scheme: 'vscode-userdata', path }))
  tabs.onmessage = (event) => provider.announce([event.data as { type: FileChangeType; path: string }])
  registerCustomProvider('vscode-userdata', provider as never)
  return provider
}

function openRemote({ address, control }: WindowParts, connection: HostConnection, userData: TowlineFileSystem): Remote {
  const authority = authorityOf(connection.host)
  const info = connection.info!
  const forwards = new Forwards(control, connection.host)
  const pool = new SftpPool((open) => connection.openStream(open))
  const watcher = new HostWatcher((open) => connection.openStream(open), () => connection.whenConnected())
  const files = new TowlineFileSystem(pool, (path) => remoteUri(authority, path), watcher)
  const search = new FileNameSearch(pool)
  watcher.onChanges.on((changes) => {
    if (changes.some((c) => c.type !== FileChangeType.UPDATED)) search.forget()
    files.announce(changes)
  })
  registerCustomProvider('vscode-remote', files as never)

  const place = placeOf(connection, address)
  const reachable = new Signal<void>()
  connection.onPhase.on((phase) => phase === 'connected' && reachable.fire())
  reachable.on(() => watcher.revive())
  const terminals = new TowlineTerminals(
    authority,
    {
      call: (method, params, repeat) => connection.call(method, params, repeat),
      openStream: (open) => connection.openStream(open),
      onReachable: reachable,
      shell: () => info.shell || '/bin/sh',
      home: () => info.home,
      folder: () => address.folder,
      env: () => newTerminalEnv(forwards),
      shells: async () => new TextDecoder().decode(await files.readFile(remoteUri(authority, '/etc/shells'))).split('\n').filter((l) => l.startsWith('/'))
    },
    keptText(userData, `terminals-${hash(place)}`),
    `window:${hash(place)}`
  )
  const ports = new HostPorts((open) => connection.openStream(open))
  ports.onNote.on((text) => console.warn(text))
  ports.start()
  reachable.on(() => ports.revive())
  return { authority, files, watcher, search, terminals, ports, forwards }
}

function construction(address: Address, remote: Remote | undefined, indicator: Indicator): IWorkbenchConstructionOptions {
  const uri = (path: string) => remoteUri(remote!.authority, path)
  const workspace = !remote ? undefined
    : address.workspace ? { workspaceUri: uri(address.workspace) }
    : address.folder ? { folderUri: uri(address.folder) }
    : undefined
  return {
    ...(remote ? {
      remoteAuthority: remote.authority,
      /* with a factory VS Code does not wait for a resolver; nobody ever asks it for a socket */
      webSocketFactory: { connect() { throw new Error('there is no VS Code server') } } as never
    } : {}),
    enableWorkspaceTrust: false,
    workspaceProvider: {
      trusted: true,
      workspace,
      async open(target: { folderUri?: URI; workspaceUri?: URI } | undefined, options?: { reuse?: boolean }) {
        const at = target?.folderUri ?? target?.workspaceUri
        const host = at ? hostOf(at.authority) : undefined
        goTo({ host, folder: target?.folderUri?.path, workspace: target?.workspaceUri?.path }, !options?.reuse)
        return true
      }
    } as never,
    windowIndicator: indicator as never,
    configurationDefaults: address.test ? { ...CONFIGURATION, ...TEST_CONFIGURATION } : CONFIGURATION,
    productConfiguration: PRODUCT as never,
    defaultLayout: remote ? undefined : { editors: [] }
  }
}

/** What a new terminal is given; the user's own variables (terminal.integrated.env.linux) win. */
async function newTerminalEnv(forwards: Forwards): Promise<Record<string, string>> {
  const wanted = (await getService(IConfigurationService)).getValue('towline.lendInternet.newTerminals')
  return wanted === false ? {} : lendingEnv(forwards)
}

/** The Ports view, and addresses of web servers on the host. */
async function showPorts(api: typeof vscode, { control }: WindowParts, connection: HostConnection, { ports, forwards }: Remote): Promise<void> {
  const key = `towline.ports.${connection.host}`
  const view = await PortsView.start(ports, forwards, {
    load: () => {
      const text = localStorage.getItem(key)
      return text === null ? undefined : new Set(text.split('\n'))
    },
    save: (names) => localStorage.setItem(key, names.slice(0, PORTS_KEPT).join('\n'))
  }, async (id) => {
    /* without the name the origin only says less */
    const { kernels } = await connection.call('kernel/list', {}).catch(() => ({ kernels: [] }))
    const kernel = kernels.find((k) => k.id === id)
    return kernel && (kernel.name || kernel.displayName)
  })
  control.onPhase.on((phase) => phase === 'open' && void view.refresh())
  registerForwardPick(view, ports, forwards)
  registerLending(api, forwards)
  await showOtherForwards(forwards)
  registerOtherKinds(api, forwards, focusOtherForwards)
  await openLocalUrls(api, control, connection.host, view, ports)
}

/** VS Code writes its state once a minute and when the page goes; a page may also die. */
async function keepState(): Promise<void> {
  const [storage, lifecycle] = await Promise.all([getService(IStorageService), getService(ILifecycleService)])
  setInterval(() => void storage.flush(), STATE_MS)
  /* VS Code's own listeners are older, so what they store is there when these run */
  for (const name of ['beforeunload', 'pagehide']) window.addEventListener(name, () => handOver(storage))
  document.addEventListener('visibilitychange', () => {
    /* the layout of a workbench that is being taken apart is nothing to be kept */
    if (!document.hidden || lifecycle.willShutdown) return
    void storage.flush()
    handOver(storage)
  })
}

/** After a gap nobody knows what changed: look at everything that is shown. */
function followLosses(api: typeof vscode, remote: Remote): void {
  remote.watcher.onLost.on((roots) => {
    remote.search.forget()
    const open = api.workspace.textDocuments.filter((d) => d.uri.scheme === 'vscode-remote').map((d) => d.uri.path)
    remote.files.announce([...roots, ...open].map((path) => ({ type: FileChangeType.UPDATED, path })))
    /* not by VS Code's command, which brings the Explorer to the front */
    void getService(IExplorerService).then((explorer) => explorer.refresh())
  })
}

/** What runs for this folder of this host is marked and remembered by its place. */
function placeOf(connection: HostConnection, address: Address): string {
  return `${connection.host}:${address.workspace ?? address.folder ?? ''}`
}

/** A text of the daemon's folder that outlives the page. */
function keptText(userData: TowlineFileSystem, name: string): Kept {
  const uri = URI.from({ scheme: 'vscode-userdata', path: `/User/state/${name}.json` })
  return {
    load: async () => new TextDecoder().decode(await userData.readFile(uri)),
    save: async (text) => {
      await userData.makeFolders('/User/state')
      await userData.stat(uri).catch(() => {})
      await userData.writeFile(uri, new TextEncoder().encode(text), { create: true, overwrite: true, unlock: false, atomic: false })
    }
  }
}

/** Python, R and other sessions of the host. */
function openSessions(api: typeof vscode, { address }: WindowParts, connection: HostConnection, userData: TowlineFileSystem): SessionViews {
  const place = hash(placeOf(connection, address))
  return registerSessions({ api, connection, folder: address.folder, tag: `window:${place}`, kept: keptText(userData, `sessions-${place}`), test: address.test })
}

/** A short name for a place: FNV-1a, twice. */
function hash(text: string): string {
  const bytes = new TextEncoder().encode(text)
  const one = (seed: number) => bytes.reduce((h, b) => Math.imul(h ^ b, 0x01000193) >>> 0, seed).toString(16).padStart(8, '0')
  return one(0x811c9dc5) + one(0x9747b28c)
}
