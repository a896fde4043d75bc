/* *Kill Server on Host…* and *Uninstall Server from Host…*: both end what runs there, so both ask. */
import type * as vscode from 'vscode'
import { hostNamed, pickHost, words, type HostParts } from './hosts'
import { ID } from './manifest'
import type { Row } from './remoteExplorer'

export function registerServerCommands(parts: HostParts): void {
  const register = (id: string, run: (host: string) => Promise<string | undefined>, title: string) => parts.api.commands.registerCommand(id, async (given?: unknown) => {
    const host = (given as Row | undefined)?.host
    const name = hostNamed(typeof host === 'object' ? host.name : given) ?? (await pickHost(parts, title, false, (h) => h.phase !== 'disconnected' || h.lastConnectedMs !== undefined))?.host
    if (!name) return
    try {
      const done = await run(name)
      if (done) void parts.api.window.showInformationMessage(done)
    } catch (error) {
      void parts.api.window.showErrorMessage(words(error))
    }
  })
  register(ID.killServer, (host) => kill(parts, host), 'Kill Server on Host')
  register(ID.uninstallServer, (host) => uninstall(parts, host), 'Uninstall Server from Host')
}

async function kill({ api, control }: HostParts, host: string): Promise<string | undefined> {
  if (!(await confirmed(api, `Kill the server on ${host}?`, 'Every terminal and session there ends, with what runs in it, and every window of the host is disconnected. The next connection starts the server again.', 'Kill Server'))) return undefined
  const { connected, ended } = await busy(api, `Ending the server on ${host}`, control.call('server/kill', { host }))
  /* over the connection nobody counts: what ends is the one who would */
  return !connected && !ended ? `No server was running on ${host}.` : `The server on ${host} has ended.`
}

async function uninstall({ api, control }: HostParts, host: string): Promise<string | undefined> {
  if (!(await confirmed(api, `Uninstall the server from ${host}?`, 'Every terminal and session there ends, with what runs in it, every window of the host is disconnected, and the server\'s folder is deleted with the settings of the host. The next connection installs it again.', 'Uninstall Server'))) return undefined
  const { connected, removed, complete } = await busy(api, `Uninstalling the server from ${host}`, control.call('server/uninstall', { host }))
  if (!connected && !removed) return `No server was installed on ${host}.`
  return removed && complete === false ? `The server was uninstalled from ${host}; its folder ${removed} has other files and stays.` : `The server was uninstalled from ${host}.`
}

async function confirmed(api: typeof vscode, question: string, detail: string, yes: string): Promise<boolean> {
  return (await api.window.showWarningMessage(question, { modal: true, detail }, yes)) === yes
}

function busy<T>(api: typeof vscode, title: string, work: Promise<T>): Thenable<T> {
  return api.window.withProgress({ location: api.ProgressLocation.Notification, title }, () => work)
}
