/* What happens after a port was forwarded by itself, where VS Code says nothing: it never acts on ports from 10000 on, but for whole
 * thousands (it waits for a "better" one, and has then forgotten the first). Rules of remote.portsAttributes are obeyed for every
 * port; without a rule only ports below the range the kernel gives to whoever asks for any are worth a message. */
import { ICommandService, INotificationService, getService, type INotificationHandle } from '@codingame/monaco-vscode-api'
import { Severity } from '@codingame/monaco-vscode-api/vscode/vs/platform/notification/common/notification'
import type { RemoteTunnel } from '@codingame/monaco-vscode-api/vscode/vs/platform/tunnel/common/tunnel'
import { OnPortForward, type TunnelModel } from '@codingame/monaco-vscode-api/vscode/vs/workbench/services/remote/common/tunnelModel'

const VSCODE_BELOW = 10000
const VSCODE_ALWAYS = 1000
/* VS Code lets Node's debugger pass silently */
const DEBUGGER = 9229
const EPHEMERAL = 32768
const COOL_DOWN_MS = 5000
const OPEN = 'remote.tunnel.open'
const PREVIEW = 'remote.tunnel.openPreview'

export class AutoAction {
  private readonly opened = new Set<string>()
  private shown?: { port: number; handle: INotificationHandle }
  private last = -COOL_DOWN_MS

  constructor(private readonly model: TunnelModel) {
    model.onClosePort(({ port }) => {
      if (this.shown?.port === port) this.shown.handle.close()
    })
  }

  /** After `tunnel` was opened without the user's word. */
  async forwarded(tunnel: RemoteTunnel): Promise<void> {
    const { tunnelRemotePort: port, tunnelRemoteHost: host, localAddress } = tunnel
    if ((port < VSCODE_BELOW && port !== DEBUGGER) || port % VSCODE_ALWAYS === 0) return
    const attributes = (await this.model.getAttributes([{ host, port }]))?.get(port)
    const commands = await getService(ICommandService)
    switch (attributes?.onAutoForward) {
      case OnPortForward.OpenBrowserOnce:
        if (this.opened.has(localAddress)) return
        this.opened.add(localAddress)
        await commands.executeCommand(OPEN, tunnel)
        return
      case OnPortForward.OpenBrowser:
        await commands.executeCommand(OPEN, tunnel)
        return
      case OnPortForward.OpenPreview:
        await commands.executeCommand(PREVIEW, tunnel)
        return
      case OnPortForward.Silent:
      case OnPortForward.Ignore:
        return
      case OnPortForward.Notify:
        break
      default:
        if (port >= EPHEMERAL || port === DEBUGGER) return
    }
    await this.tell(tunnel, attributes?.label)
  }

  private async tell(tunnel: RemoteTunnel, label: string | undefined): Promise<void> {
    if (performance.now() - this.last < COOL_DOWN_MS) return
    this.last = performance.now()
    const [commands, notifications] = await Promise.all([getService(ICommandService), getService(INotificationService)])
    const run = (id: string) => () => void commands.executeCommand(id, tunnel)
    this.shown?.handle.close()
    const port = tunnel.tunnelRemotePort
    const handle = notifications.prompt(
      Severity.Info,
      `Your application${label ? ` (${label})` : ''} running on port ${port} is available.  [See all forwarded ports](command:~remote.forwardedPorts.focus)`,
      [{ label: 'Open in Browser', run: run(OPEN) }, { label: 'Preview in Editor', run: run(PREVIEW) }],
      { neverShowAgain: { id: 'remote.tunnelsView.autoForwardNeverShow', isSecondary: true } }
    )
    this.shown = { port, handle }
    handle.onDidClose(() => {
      if (this.shown?.handle === handle) this.shown = undefined
    })
  }
}
