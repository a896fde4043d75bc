/* *Remote Explorer*: the hosts of the ssh configuration and those connected before, with the folders opened on them. What it shows
 * is asked of the daemon whenever it is looked at, so another window's folders and a changed configuration are there. */
import type * as vscode from 'vscode'
import type { Control } from '../net/control'
import type { HostFolder, KnownHost } from '../net/proto'
import { addHost, describe, openConfig, openFile, words } from './hosts'
import { ID, TARGETS_VIEW } from './manifest'
import type { Target } from '../page/address'

const ORDER_SETTING = 'foldersSortOrder'

export type Row = { host: KnownHost; folder?: undefined } | { host: KnownHost; folder: HostFolder }

interface Parts {
  api: typeof vscode
  control: Control
  /** The host of this window. */
  here: string | undefined
  goTo(target: Target, newWindow: boolean): void
}

export function registerRemoteExplorer(parts: Parts): void {
  const { api, control, here } = parts
  const changed = new api.EventEmitter<void>()
  let failure: string | undefined
  const order = () => api.workspace.getConfiguration('remote.SSH').get<string>(ORDER_SETTING)

  const provider: vscode.TreeDataProvider<Row> = {
    onDidChangeTreeData: changed.event,
    async getChildren(row) {
      if (row) {
        const folders = [...row.host.folders]
        if (order() === 'alphabetical') folders.sort((a, b) => a.path.localeCompare(b.path))
        return folders.map((folder) => ({ host: row.host, folder }))
      }
      try {
        const { hosts } = await control.call('host/known', {})
        failure = undefined
        return hosts.map((host) => ({ host }))
      } catch (error) {
        failure = words(error)
        return []
      } finally {
        view.message = failure
      }
    },
    getTreeItem({ host, folder }) {
      if (!folder) {
        const state = host.folders.length ? (host.name === here ? api.TreeItemCollapsibleState.Expanded : api.TreeItemCollapsibleState.Collapsed) : api.TreeItemCollapsibleState.None
        const item = new api.TreeItem(host.name, state)
        item.id = host.name
        item.description = describe(host)
        item.tooltip = about(host)
        item.iconPath = new api.ThemeIcon(host.phase === 'connected' ? 'vm-active' : 'vm')
        item.contextValue = host.configured ? 'host configured' : 'host'
        return item
      }
      const slash = folder.path.lastIndexOf('/')
      const item = new api.TreeItem(folder.path.slice(slash + 1) || '/')
      item.id = `${host.name}:${folder.path}`
      item.description = folder.path.slice(0, slash) || '/'
      item.tooltip = `${folder.path}\nOpened ${when(folder.openedMs)}`
      item.iconPath = new api.ThemeIcon('folder')
      item.contextValue = 'folder'
      return item
    }
  }
  const view = api.window.createTreeView(TARGETS_VIEW, { treeDataProvider: provider })
  const refresh = () => changed.fire()
  view.onDidChangeVisibility(({ visible }) => visible && refresh())
  api.window.onDidChangeWindowState(({ focused }) => focused && view.visible && refresh())
  api.workspace.onDidChangeConfiguration((e) => e.affectsConfiguration('remote.SSH') && refresh())
  control.onPhase.on((phase) => phase === 'open' && refresh())
  control.on('host/state', () => view.visible && refresh())

  const target = ({ host, folder }: Row): Target => ({ host: host.name, folder: folder?.path })
  const command = (id: string, run: (row: Row) => unknown) => api.commands.registerCommand(id, (row?: Row) => row && run(row))
  command(ID.targetOpen, (row) => parts.goTo(target(row), false))
  command(ID.targetOpenNew, (row) => parts.goTo(target(row), true))
  command(ID.targetForgetFolder, async ({ host, folder }) => {
    await attempt(api, control.call('host/folder', { host: host.name, path: folder!.path, remove: true }))
    refresh()
  })
  command(ID.targetConfigure, ({ host }) => host.file && openFile(parts, host.file, host.line))
  command(ID.targetRemove, async ({ host }) => {
    const remove = 'Remove Host'
    const detail = host.configured ? `Its block is taken out of ${host.file}; everything else of the file stays as it is. Nothing on the host changes.`
      : 'Its folders and its last connection are forgotten. Nothing on the host changes.'
    if ((await api.window.showWarningMessage(`Remove ${host.name}?`, { modal: true, detail }, remove)) !== remove) return
    await attempt(api, control.call('host/remove', { host: host.name }))
    refresh()
  })
  api.commands.registerCommand(ID.targetsRefresh, refresh)
  api.commands.registerCommand(ID.addHost, async () => {
    if (await addHost(parts)) refresh()
  })
  api.commands.registerCommand(ID.openConfig, () => openConfig(parts))
}

function about(host: KnownHost): string {
  const p = host.platform
  return [
    host.name,
    p && `${p.user}@${p.hostname}, ${p.os} ${p.arch}`,
    host.lastConnectedMs && `Last connected ${when(host.lastConnectedMs)}`,
    host.file && `${host.file}, line ${host.line}`
  ].filter(Boolean).join('\n')
}

function when(ms: number): string {
  return new Date(ms).toLocaleString()
}

async function attempt(api: typeof vscode, call: Promise<unknown>): Promise<void> {
  await call.catch((error) => void api.window.showErrorMessage(words(error)))
}
