/* Towline's commands, its output channel, and the words in the status bar. */
import type * as vscode from 'vscode'
import type { Control } from '../net/control'
import { Signal } from '../net/signal'
import type { HostConnection, LinkPhase } from '../host/connection'
import { addressOf, type Target } from '../page/address'
import { CATEGORY, ID } from './manifest'
import { PlainNotice, plainTooltip } from './plainHost'

const LOG_LINES = 2000

export interface CommandParts {
  api: typeof vscode
  control: Control
  connection: HostConnection | undefined
  indicator: Indicator
}

/** The remote indicator: VS Code reads the members again at every change. */
export class Indicator {
  label: string
  tooltip: string
  readonly command = ID.menu
  readonly changed = new Signal<void>()

  constructor(private readonly host: string | undefined) {
    this.label = host ? `$(remote) SSH: ${host}` : '$(remote)'
    this.tooltip = host ? `Editing on ${host}` : 'Connect to a host'
  }

  readonly onDidChange = (listener: () => void) => ({ dispose: this.changed.on(listener) })

  show(connection: HostConnection, phase: LinkPhase): void {
    const host = this.host
    const error = connection.state.error?.message
    const plain = connection.info?.plain
    const words: Record<LinkPhase, [string, string]> = {
      connected: plain ? [`$(remote) SSH: ${host} $(warning)`, plainTooltip(`${host}`, plain)] : [`$(remote) SSH: ${host}`, `Editing on ${host}`],
      connecting: [`$(sync~spin) Connecting to ${host}`, `Connecting to ${host}`],
      reconnecting: [`$(sync~spin) Reconnecting to ${host}`, `The connection to ${host} is interrupted; what you do goes on when it is back`],
      disconnected: [`$(debug-disconnect) Disconnected from ${host}`, `Not connected to ${host}`],
      failed: [`$(debug-disconnect) Disconnected from ${host}`, `Not connected to ${host}${error ? `: ${error}` : ''}`],
      'daemon-lost': ['$(debug-disconnect) No Towline daemon', 'The local daemon does not answer; it starts with any towline command'],
      refused: ['$(debug-disconnect) Token not accepted', 'Open the window again with `towline open`']
    }
    ;[this.label, this.tooltip] = words[phase]
    this.changed.fire()
  }
}

export function registerCommands(parts: CommandParts): void {
  const { api, connection, indicator } = parts
  const channel = api.window.createOutputChannel('Remote - SSH')
  const command = (id: string, run: (...args: any[]) => unknown) => api.commands.registerCommand(id, run)

  command(ID.connect, (host?: string) => connectTo(parts, !!connection, host))
  command(ID.connectCurrent, (host?: string) => connectTo(parts, false, host))
  command(ID.showLog, () => showLog(parts, channel))
  command(ID.menu, () => api.commands.executeCommand('workbench.action.remote.showMenu'))
  command(ID.reconnect, () => connection?.reconnect().catch((error) => tell(api, error)))
  command(ID.close, async () => {
    await connection?.close().catch(() => {})
    goTo({}, false)
  })
  if (connection) follow(parts, channel, connection)
  else void api.commands.executeCommand('setContext', 'towline.remote', false)
  indicator.changed.fire()
}

/** State and progress of the host: log lines, indicator, context keys, one message when it failed for good. */
function follow({ api, indicator }: CommandParts, channel: vscode.OutputChannel, connection: HostConnection): void {
  let last: LinkPhase | undefined
  const plain = new PlainNotice(api, connection)
  const hear = (phase: LinkPhase) => {
    indicator.show(connection, phase)
    if (phase === last) return
    const before = last
    last = phase
    if (phase === 'connected') void plain.tell()
    void api.commands.executeCommand('setContext', 'towline.state', phase)
    channel.appendLine(`${new Date().toISOString()} ${connection.host}: ${phase}${connection.state.error ? `: ${connection.state.error.message}` : ''}`)
    if (before !== undefined && (phase === 'failed' || phase === 'disconnected' || phase === 'refused')) void lost(api, connection, phase)
  }
  void api.commands.executeCommand('setContext', 'towline.remote', true)
  connection.onPhase.on(hear)
  hear(connection.phase)
  connection.onProgress.on((p) => channel.appendLine(`${new Date().toISOString()} ${p.host}: ${p.text}${p.total ? ` (${p.done ?? 0} of ${p.total})` : ''}`))
}

async function lost(api: typeof vscode, connection: HostConnection, phase: LinkPhase): Promise<void> {
  const reason = phase === 'refused' ? 'The window is not known to the daemon any more. Open it again with `towline open`.'
    : connection.state.error?.message ?? 'The connection was closed.'
  const now = 'Connect Again'
  const log = 'Show Log'
  const choice = await api.window.showErrorMessage(`Disconnected from ${connection.host}. ${reason} Unsaved text is kept in this window.`, ...(phase === 'refused' ? [] : [now, log]))
  if (choice === now) await connection.reconnect().catch((error) => tell(api, error))
  if (choice === log) await api.commands.executeCommand(ID.showLog)
}

async function showLog({ control, connection, api }: CommandParts, channel: vscode.OutputChannel): Promise<void> {
  try {
    const { text, file } = await control.call('daemon/log', { ...(connection ? { host: connection.host } : {}), lines: LOG_LINES })
    channel.replace(`${file}\n\n${text.endsWith('\n') ? text : `${text}\n`}`)
  } catch (error) {
    tell(api, error)
  }
  channel.show()
}

interface HostPick extends vscode.QuickPickItem {
  host?: string
}

/** Asks for a host where none is given, then opens its window. */
async function connectTo(parts: CommandParts, newWindow: boolean, given?: string): Promise<void> {
  const host = typeof given === 'string' ? given : await pickHost(parts)
  if (host) goTo({ host }, newWindow)
}

function pickHost({ api, control }: CommandParts): Promise<string | undefined> {
  const pick = api.window.createQuickPick<HostPick>()
  pick.title = `${CATEGORY}: Connect to Host`
  pick.placeholder = 'Select a configured SSH host or enter user@host'
  pick.matchOnDescription = true
  pick.busy = true
  let known: HostPick[] = []
  const refresh = () => {
    const typed = pick.value.trim()
    const free: HostPick[] = typed && !known.some((k) => k.host === typed) ? [{ label: `$(arrow-right) ${typed}`, description: 'Connect to this host', host: typed, alwaysShow: true }] : []
    pick.items = [...free, ...known]
  }
  pick.onDidChangeValue(refresh)
  void Promise.allSettled([control.call('host/list', {}), control.call('host/configured', {})]).then(([sessions, configured]) => {
    const live = sessions.status === 'fulfilled' ? sessions.value.hosts : []
    const names = configured.status === 'fulfilled' ? configured.value.hosts.map((h) => h.name) : []
    const shown = new Set(live.map((s) => s.host))
    known = [
      ...live.map((s) => ({ label: `$(vm-active) ${s.host}`, description: s.phase, host: s.host })),
      ...names.filter((n) => !shown.has(n)).map((n) => ({ label: `$(vm) ${n}`, host: n }))
    ]
    if (configured.status === 'rejected') pick.placeholder = `Enter user@host (the ssh configuration could not be read: ${configured.reason?.message ?? configured.reason})`
    pick.busy = false
    refresh()
  })
  return new Promise((resolve) => {
    pick.onDidAccept(() => {
      resolve(pick.selectedItems[0]?.host ?? (pick.value.trim() || undefined))
      pick.hide()
    })
    pick.onDidHide(() => {
      resolve(undefined)
      pick.dispose()
    })
    pick.show()
  })
}

/** Leaves for another window, in this tab or a new one. */
export function goTo(target: Target, newWindow: boolean): void {
  if (newWindow && window.open(addressOf(target, true), '_blank')) return
  location.href = addressOf(target, false)
}

function tell(api: typeof vscode, error: unknown): void {
  void api.window.showErrorMessage(error instanceof Error ? error.message : String(error))
}
