/* The internet of this machine, lent to the host (docs/ports.md): a switch per host, seen in the status bar while it is on.
 *
 * Owns the words and the switch; the forward is the daemon's, and every window of the host shows the same. */
import type * as vscode from 'vscode'
import { lentOf, proxyLines, type Forwards } from '../host/forwards'
import { ID } from './manifest'

const NAMES = ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY']
const CLEAR = `unset ${NAMES.join(' ')}`
const COPY = 'Copy Lines for Open Terminals'
const STOP = 'Stop Lending'
const FRESH_MS = 10000

export function registerLending(api: typeof vscode, forwards: Forwards): void {
  const { host } = forwards
  const status = api.window.createStatusBarItem('towline.lending', api.StatusBarAlignment.Left, 39)
  status.name = 'Internet Lent'
  status.command = ID.lending
  let shown: boolean | undefined

  const follow = () => {
    const info = lentOf(forwards.list)
    if (info) {
      const state = info.state === 'failed' ? `$(warning) Internet not lent` : info.state === 'waiting' ? '$(globe) Internet: waiting' : '$(globe) Internet lent'
      status.text = state
      status.tooltip = info.state === 'failed' ? info.error?.message : `${host} can use this machine's internet. Click to copy the lines for terminals, or to stop.`
      status.show()
    } else status.hide()
    if (shown !== !!info) void api.commands.executeCommand('setContext', 'towline.lendsInternet', (shown = !!info))
  }
  forwards.onChanged.on(follow)
  follow()

  const copy = async () => {
    const url = lentOf(forwards.list)?.proxyUrl
    if (!url) return void api.window.showInformationMessage(`${host} is away: there are no lines before it is back.`)
    await api.env.clipboard.writeText(proxyLines(url))
    api.window.setStatusBarMessage('Lines copied: paste them into a terminal of the host', FRESH_MS)
  }
  const stop = async () => {
    const info = lentOf(forwards.list)
    if (!info) return
    await forwards.remove(info.id)
    if (!api.window.terminals.length) return
    const choice = await api.window.showInformationMessage(`${host} cannot use this machine's internet any more. Terminals that were opened meanwhile still ask for it.`, 'Copy Line to Undo That')
    if (choice) await api.env.clipboard.writeText(CLEAR)
  }
  const lend = async () => {
    if (!lentOf(forwards.list)) await forwards.add({ kind: 'remote', proxy: true, targetPort: 0, source: 'user' })
    const choice = await api.window.showInformationMessage(
      `${host} can use this machine's internet now: new terminals do (http_proxy), terminals that are open after the lines are pasted. Services and private networks of this machine stay out of reach.`,
      COPY, STOP)
    if (choice === COPY) await copy()
    if (choice === STOP) await stop()
  }
  const manage = async () => {
    const choice = await api.window.showQuickPick([{ label: `$(copy) ${COPY}`, run: copy }, { label: `$(close) ${STOP}`, run: stop }], { placeHolder: `${host} uses this machine's internet` })
    await choice?.run()
  }
  const commands = [[ID.lend, lend], [ID.stopLending, stop], [ID.copyLending, copy], [ID.lending, manage]] as const
  for (const [id, run] of commands)
    api.commands.registerCommand(id, () => run().catch((error) => void api.window.showErrorMessage(error instanceof Error ? error.message : String(error))))
}

/** What new terminals get while the internet is lent. */
export function lendingEnv(forwards: Forwards): Record<string, string> {
  const url = lentOf(forwards.list)?.proxyUrl
  if (!url) return {}
  const near = 'localhost,127.0.0.1,::1'
  return { ...Object.fromEntries(NAMES.map((name) => [name, url])), no_proxy: near, NO_PROXY: near }
}
