/* Forwards that VS Code's Ports view cannot show, which knows only a port there and a port here: unix sockets, SOCKS, listeners on the
 * host, the internet lent. They get a list beside the ports, in the same panel, which is there while there are any.
 *
 * Owns the list; the forwards are the daemon's. */
import { IClipboardService, IContextKeyService, IInstantiationService, INotificationService, IViewsService, getService } from '@codingame/monaco-vscode-api'
import { Codicon } from '@codingame/monaco-vscode-api/vscode/vs/base/common/codicons'
import { MenuId, MenuRegistry } from '@codingame/monaco-vscode-api/vscode/vs/platform/actions/common/actions'
import { CommandsRegistry } from '@codingame/monaco-vscode-api/vscode/vs/platform/commands/common/commands'
import { ContextKeyExpr, RawContextKey } from '@codingame/monaco-vscode-api/vscode/vs/platform/contextkey/common/contextkey'
import { SyncDescriptor } from '@codingame/monaco-vscode-api/vscode/vs/platform/instantiation/common/descriptors'
import { Registry } from '@codingame/monaco-vscode-api/vscode/vs/platform/registry/common/platform'
import { ThemeIcon } from '@codingame/monaco-vscode-api/vscode/vs/base/common/themables'
import { TreeView, TreeViewPane } from '@codingame/monaco-vscode-api/vscode/vs/workbench/browser/parts/views/treeView'
import { Extensions, TreeItemCollapsibleState, type ITreeItem, type ITreeViewDescriptor, type IViewsRegistry, type TreeViewItemHandleArg } from '@codingame/monaco-vscode-api/vscode/vs/workbench/common/views'
import { TUNNEL_VIEW_ID } from '@codingame/monaco-vscode-api/vscode/vs/workbench/services/remote/common/remoteExplorerService'
import { isPort, proxyLines, type Forwards } from '../host/forwards'
import type { ForwardInfo } from '../net/proto'

export const OTHER_FORWARDS = 'towline.otherForwards'
const TITLE = 'Other Forwards'
const COPY = 'towline.otherForwards.copy'
const STOP = 'towline.otherForwards.stop'
const THERE = new RawContextKey<boolean>('towline.hasOtherForwards', false)
/* they end where they were written, not here */
const WRITTEN: Partial<Record<ForwardInfo['source'], string>> = { config: 'from the ssh configuration', default: 'from the settings' }

/** Shows them from now on. */
export async function showOtherForwards(forwards: Forwards): Promise<void> {
  const [keys, instantiation, clipboard, notifications] = await Promise.all([
    getService(IContextKeyService), getService(IInstantiationService), getService(IClipboardService), getService(INotificationService)
  ])
  const there = THERE.bindTo(keys)
  const treeView = instantiation.createInstance(TreeView, OTHER_FORWARDS, TITLE)
  const others = () => forwards.list.filter((f) => !isPort(f))
  treeView.dataProvider = { getChildren: async (element) => (element ? [] : others().map((f) => itemOf(f, forwards.host))) }
  const descriptor: ITreeViewDescriptor = {
    id: OTHER_FORWARDS, name: { value: TITLE, original: TITLE }, ctorDescriptor: new SyncDescriptor(TreeViewPane), treeView, when: THERE.isEqualTo(true),
    canToggleVisibility: true, canMoveView: true, order: 1, weight: 10, containerIcon: Codicon.radioTower
  }
  beside(TUNNEL_VIEW_ID, descriptor)

  const named = (arg: TreeViewItemHandleArg | undefined) => forwards.byId(arg?.$treeItemHandle ?? '')
  CommandsRegistry.registerCommand(COPY, async (_accessor, arg?: TreeViewItemHandleArg) => {
    const text = copied(named(arg))
    if (text) await clipboard.writeText(text)
  })
  CommandsRegistry.registerCommand(STOP, async (_accessor, arg?: TreeViewItemHandleArg) => {
    const info = named(arg)
    if (info) await forwards.remove(info.id).catch((error) => notifications.error(error instanceof Error ? error : String(error)))
  })
  const item = (command: string, title: string, icon: ThemeIcon, order: number, can: string) => {
    for (const group of ['inline', '1_forward'])
      MenuRegistry.appendMenuItem(MenuId.ViewItemContext, {
        command: { id: command, title, icon }, group, order, when: ContextKeyExpr.and(ContextKeyExpr.equals('view', OTHER_FORWARDS), ContextKeyExpr.regex('viewItem', new RegExp(can)))
      })
  }
  item(COPY, 'Copy Address', Codicon.copy, 1, 'address')
  item(COPY, 'Copy Lines for Open Terminals', Codicon.copy, 1, 'lines')
  item(STOP, 'Stop Forwarding', Codicon.close, 2, 'stop')

  const draw = () => {
    there.set(others().length > 0)
    void treeView.refresh()
  }
  forwards.onChanged.on(draw)
  draw()
}

/** Opens the list. */
export async function focusOtherForwards(): Promise<void> {
  await (await getService(IViewsService)).openView(OTHER_FORWARDS, true)
}

/** Puts a view into the container of another one, as soon as that is there. */
function beside(neighbour: string, descriptor: ITreeViewDescriptor): void {
  const registry = Registry.as<IViewsRegistry>(Extensions.ViewsRegistry)
  const put = () => {
    const container = registry.getViewContainer(neighbour)
    if (container) registry.registerViews([descriptor], container)
    return !!container
  }
  if (put()) return
  const listener = registry.onViewsRegistered(() => {
    if (put()) listener.dispose()
  })
}

function itemOf(info: ForwardInfo, host: string): ITreeItem {
  const { icon, label, description } = wordsOf(info, host)
  const failed = info.state === 'failed'
  const state = failed ? info.error?.message ?? 'failed' : info.state === 'waiting' ? `waiting for ${host}` : connections(info)
  const can = [copied(info) && (info.proxy ? 'lines' : 'address'), !WRITTEN[info.source] && 'stop'].filter(Boolean)
  return {
    handle: info.id, collapsibleState: TreeItemCollapsibleState.None, label: { label: info.label ? `${info.label} (${label})` : label },
    description: [description, WRITTEN[info.source], state].filter(Boolean).join(' · '), tooltip: `${label} ${description}\n${state}`,
    themeIcon: failed ? Codicon.warning : icon, contextValue: can.join(' ')
  }
}

/** What it is, in words. */
function wordsOf(info: ForwardInfo, host: string): { icon: ThemeIcon; label: string; description: string } {
  const here = info.localPath ?? place(info.localAddress, info.localPort)
  const there = info.targetPath ?? place(info.targetHost, info.targetPort)
  if (info.proxy) return { icon: Codicon.globe, label: "This machine's internet", description: `lent to ${host}` }
  if (info.kind === 'socks') return { icon: Codicon.server, label: `SOCKS 5 at ${here}`, description: `connections begin on ${host}` }
  if (info.kind === 'remote') return { icon: Codicon.arrowLeft, label: `${there} on ${host}`, description: `leads to ${here} on this machine` }
  return { icon: Codicon.arrowRight, label: here, description: `leads to ${there} on ${host}` }
}

/** What programs are told. */
function copied(info: ForwardInfo | undefined): string | undefined {
  if (!info || info.state === 'failed') return undefined
  if (info.proxy) return info.proxyUrl && proxyLines(info.proxyUrl)
  if (info.kind === 'socks') return `socks5h://${place(info.localAddress, info.localPort)}`
  if (info.kind === 'remote') return info.targetPath ?? (info.targetPort ? place(info.targetHost, info.targetPort) : undefined)
  return info.localPath ?? place(info.localAddress, info.localPort)
}

function connections({ connections: n }: ForwardInfo): string {
  return n === 0 ? '' : n === 1 ? '1 connection' : `${n} connections`
}

function place(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host || 'localhost'}:${port}`
}
