/* Forward a Port, from the palette: what listens on the host and is not forwarded yet, or any port or address typed. */
import { INotificationService, IQuickInputService, getService } from '@codingame/monaco-vscode-api'
import { CommandsRegistry } from '@codingame/monaco-vscode-api/vscode/vs/platform/commands/common/commands'
import type { IQuickPickItem } from '@codingame/monaco-vscode-api/vscode/vs/platform/quickinput/common/quickInput'
import { mapHasAddressLocalhostOrAllInterfaces, parseAddress } from '@codingame/monaco-vscode-api/vscode/vs/workbench/services/remote/common/tunnelModel'
import { reachedAt, type HostPorts } from '../host/ports'
import type { Forwards } from '../host/forwards'
import type { PortInfo } from '../net/proto'
import { focusOtherForwards } from './otherForwards'
import type { PortsView } from './ports'

const COMMAND = 'remote.tunnel.forwardCommandPalette'
const HINT = 'Port number, address or socket (eg. 3000, 10.10.10.10:2000 or /run/app.sock)'

interface Item extends IQuickPickItem {
  remote?: { host: string; port: number }
  /** A unix socket of the host. */
  path?: string
}

/** Takes the place of VS Code's command, which only has a box to type in. */
export function registerForwardPick(view: PortsView, ports: HostPorts, forwards: Forwards): void {
  CommandsRegistry.registerCommand(COMMAND, async () => {
    const { remote, path } = await pick(view, ports)
    const notifications = await getService(INotificationService)
    if (path) await forwards.add({ targetPath: path, source: 'user' }).then(focusOtherForwards, (error) => notifications.error(error))
    if (!remote) return
    const tunnel = await view.explorer.forward({ remote, elevateIfNeeded: true })
    if (typeof tunnel === 'string') notifications.warn(`Unable to forward ${remote.host}:${remote.port}. ${tunnel}`)
    else if (!tunnel) notifications.warn(`Unable to forward ${remote.host}:${remote.port}. The host may not be available, or the port is being forwarded already.`)
  })
}

async function pick(view: PortsView, ports: HostPorts): Promise<Pick<Item, 'remote' | 'path'>> {
  const input = await getService(IQuickInputService)
  const box = input.createQuickPick<Item>({ useSeparators: false })
  box.placeholder = HINT
  box.matchOnDescription = true
  const { forwarded, detected } = view.explorer.tunnelModel
  const isForwarded = (host: string, port: number) => [forwarded, detected].some((map) => mapHasAddressLocalhostOrAllInterfaces(map, host, port))
  const show = () => {
    const typed = parse(box.value.trim())
    const known = offers(ports.list ?? []).filter((i) => !isForwarded(i.remote!.host, i.remote!.port))
    const isOffered = typed && known.some((i) => i.remote!.host === typed.host && i.remote!.port === typed.port)
    const socket = /^~?\/./.test(box.value.trim()) ? box.value.trim() : undefined
    const own: Item[] = socket ? [{ label: `$(plus) Forward ${socket}`, path: socket, alwaysShow: true }] : !typed || isOffered ? []
      : isForwarded(typed.host, typed.port) ? [{ label: `Port ${box.value.trim()} is already forwarded`, alwaysShow: true }]
      : [{ label: `$(plus) Forward ${box.value.trim()}`, remote: typed, alwaysShow: true }]
    box.items = [...own, ...known]
  }
  box.onDidChangeValue(show)
  const off = ports.onChanged.on(show)
  show()
  return new Promise((resolve) => {
    box.onDidAccept(() => {
      const { remote, path } = box.selectedItems[0] ?? {}
      if (!remote && !path) return
      resolve({ remote, path })
      box.hide()
    })
    box.onDidHide(() => {
      off()
      resolve({})
      box.dispose()
    })
    box.show()
  })
}

/** Listeners of the host: one's own programs first, then by number. */
function offers(list: PortInfo[]): Item[] {
  const items = new Map<string, Item & { owned: boolean }>()
  for (const p of [...list].sort((a, b) => Number(b.owned) - Number(a.owned) || a.port - b.port)) {
    const host = reachedAt(p)
    const name = host === 'localhost' ? `${p.port}` : host.includes(':') ? `[${host}]:${p.port}` : `${host}:${p.port}`
    if (!items.has(name)) items.set(name, { label: name, description: p.command || p.process || 'a program of another user', remote: { host, port: p.port }, owned: p.owned })
  }
  return [...items.values()]
}

function parse(text: string): Item['remote'] {
  const six = /^\[([0-9a-f:]+)\]:(\d+)$/i.exec(text)
  const remote = six ? { host: six[1], port: Number(six[2]) } : parseAddress(text)
  return remote && remote.port > 0 && remote.port < 65536 ? remote : undefined
}
