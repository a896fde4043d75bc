/* Towline's commands, its output channel, and the words in the status bar. */
import type * as vscode from 'vscode'
import type { Control } from '../net/control'
import { causeOf, fromRpcError } from '../net/errors'
import { Signal } from '../net/signal'
import type { HostConnection, LinkPhase } from '../host/connection'
import { addressOf, type Target } from '../page/address'
import { showError, type Notice } from '../vscode/notice'
import { hostNamed, pickHost, registerConfigFiles, words } from './hosts'
import { ID } from './manifest'
import { PlainNotice, plainTooltip } from './plainHost'
import { registerRemoteExplorer } from './remoteExplorer'
import { registerServerCommands } from './server'

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
      disconnected: [`$(alert) Disconnected from ${host}`, `Not connected to ${host}`],
      failed: [`$(alert) Disconnected from ${host}`, `Not connected to ${host}${error ? `: ${error}` : ''}`],
      'daemon-lost': ['$(alert) No Towline daemon', 'The local daemon does not answer; it starts with any towline command'],
      refused: ['$(alert) Token not accepted', 'Open the window again with `towline open`']
    }
    ;[this.label, this.tooltip] = words[phase]
    this.changed.fire()
  }
}

export function registerCommands(parts: CommandParts): void {
  const { api, connection, indicator } = parts
  const channel = api.window.createOutputChannel('Remote - SSH')
  const command = (id: string, run: (...args: any[]) => unknown) => api.commands.registerCommand(id, run)

  command(ID.connect, (host?: unknown) => connectTo(parts, !!connection, host))
  command(ID.connectCurrent, (host?: unknown) => connectTo(parts, false, host))
  command(ID.showLog, () => showLog(parts, channel))
  command(ID.settings, () => api.commands.executeCommand('workbench.action.openSettings', 'remote.SSH'))
  command(ID.menu, () => api.commands.executeCommand('workbench.action.remote.showMenu'))
  const again = connection && new Again(api, connection)
  command(ID.reconnect, () => again?.run())
  command(ID.close, async () => {
    await connection?.close().catch(() => {})
    goTo({}, false)
  })
  registerConfigFiles(parts)
  registerServerCommands(parts)
  registerRemoteExplorer({ ...parts, here: connection?.host, goTo })
  if (connection) follow(parts, channel, connection, again!)
  else void api.commands.executeCommand('setContext', 'towline.remote', false)
  indicator.changed.fire()
}

/** State and progress of the host: log lines, indicator, context keys, one message when it failed for good, until it is back. */
function follow({ api, indicator }: CommandParts, channel: vscode.OutputChannel, connection: HostConnection, again: Again): void {
  let last: LinkPhase | undefined
  const plain = new PlainNotice(api, connection)
  let told: Promise<Notice> | undefined
  const takeBack = () => {
    void told?.then((notice) => notice.close())
    told = undefined
  }
  const hear = (phase: LinkPhase) => {
    indicator.show(connection, phase)
    if (phase === last) return
    const before = last
    last = phase
    if (phase === 'connected') void plain.tell()
    void api.commands.executeCommand('setContext', 'towline.state', phase)
    channel.appendLine(`${new Date().toISOString()} ${connection.host}: ${phase}${connection.state.error ? `: ${connection.state.error.message}` : ''}`)
    if (phase === 'connected' || phase === 'connecting') takeBack()
    if (before === undefined || again.running || !['failed', 'disconnected', 'refused'].includes(phase)) return
    takeBack()
    told = showError(`Disconnected from ${connection.host}. ${reasonOf(connection)} Unsaved text is kept in this window.`, phase === 'refused' ? [] : [
      { label: 'Connect Again', run: () => void again.run() },
      { label: 'Show Log', run: () => void api.commands.executeCommand(ID.showLog) }
    ])
  }
  void api.commands.executeCommand('setContext', 'towline.remote', true)
  connection.onPhase.on(hear)
  hear(connection.phase)
  connection.onProgress.on((p) => channel.appendLine(`${new Date().toISOString()} ${p.host}: ${p.text}${p.total ? ` (${p.done ?? 0} of ${p.total})` : ''}`))
}

function reasonOf(connection: HostConnection): string {
  if (connection.phase === 'refused') return 'The window is not known to the daemon any more. Open it again with `towline open`.'
  return connection.state.error ? causeOf(fromRpcError(connection.state.error)) : 'The connection was closed.'
}

/** Connects again because the user says so: with its progress in a notification; a failure is explained, and tried again as often as
 * the user wants. */
class Again {
  running = false

  constructor(private readonly api: typeof vscode, private readonly connection: HostConnection) {}

  async run(): Promise<void> {
    if (this.running) return
    this.running = true
    try {
      while (await this.failed()) {
        /* once more */
      }
    } finally {
      this.running = false
    }
  }

  /** One attempt; true when it failed and the user wants another. */
  private async failed(): Promise<boolean> {
    const { api, connection } = this
    const title = `Setting up SSH Host ${connection.host}: ([details](command:${ID.showLog} "Show Log"))`
    try {
      await api.window.withProgress({ location: api.ProgressLocation.Notification, title }, async (progress) => {
        const off = connection.onProgress.on((p) => progress.report({ message: p.total ? `${p.text} (${Math.floor(((p.done ?? 0) / p.total) * 100)}%)` : p.text }))
        try {
          await connection.reconnect()
        } finally {
          off()
        }
      })
      return false
    } catch (error) {
      const retry = 'Retry'
      const log = 'Show Log'
      const choice = await api.window.showErrorMessage(`Could not establish connection to "${connection.host}".`, { modal: true, detail: causeOf(error) }, retry, log)
      if (choice === log) await api.commands.executeCommand(ID.showLog)
      return choice === retry
    }
  }
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

/** Asks for a host where none is given, then opens its window. */
async function connectTo(parts: CommandParts, newWindow: boolean, given: unknown): Promise<void> {
  const named = hostNamed(given)
  const choice = named ? { host: named } : await pickHost(parts, 'Connect to Host', true)
  if (choice && 'run' in choice && choice.run) await parts.api.commands.executeCommand(choice.run === 'add' ? ID.addHost : ID.openConfig)
  else if (choice?.host) goTo({ host: choice.host }, newWindow)
}

/** Leaves for another window, in this tab or a new one. */
export function goTo(target: Target, newWindow: boolean): void {
  if (newWindow && window.open(addressOf(target, true), '_blank')) return
  location.href = addressOf(target, false)
}

function tell(api: typeof vscode, error: unknown): void {
  void api.window.showErrorMessage(words(error))
}
