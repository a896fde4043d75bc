/* Commands for forwards that are no port of the host: a SOCKS proxy, and ports of this machine for the host. */
import type * as vscode from 'vscode'
import type { Forwards } from '../host/forwards'
import type { ForwardSpec } from '../net/proto'
import { ID } from './manifest'

const SOCKS_PORT = 1080

/** `show`: opens the list they are in. */
export function registerOtherKinds(api: typeof vscode, forwards: Forwards, show: () => Promise<unknown>): void {
  const add = (spec: Omit<ForwardSpec, 'host'>) => forwards.add({ ...spec, source: 'user' }).then(show)
  const command = (id: string, run: () => Promise<unknown>) =>
    api.commands.registerCommand(id, () => run().catch((error) => void api.window.showErrorMessage(error instanceof Error ? error.message : String(error))))

  command(ID.otherForwards, show)
  command(ID.socks, () => add({ kind: 'socks', localPort: SOCKS_PORT }))
  command(ID.reverse, async () => {
    const text = await api.window.showInputBox({
      title: `Forward a Port of This Machine to ${forwards.host}`, placeHolder: '3000, or 8080:3000 for port 8080 of the host',
      prompt: 'Programs on the host then reach it at their localhost.', validateInput: (t) => (!t || parse(t) ? undefined : 'A port from 1 to 65535, or two of them with a colon: the host\'s, then this machine\'s')
    })
    const ports = text && parse(text)
    if (ports) await add({ kind: 'remote', targetPort: ports.there, localPort: ports.here })
  })
}

function parse(text: string): { there: number; here: number } | undefined {
  const found = /^(?:(\d{1,5}):)?(\d{1,5})$/.exec(text.trim())
  if (!found) return undefined
  const here = Number(found[2])
  const there = Number(found[1] ?? here)
  return [here, there].every((n) => n > 0 && n < 65536) ? { there, here } : undefined
}
