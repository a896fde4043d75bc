/* A host that cannot run our server: what is missing in its window, and why, said once and kept in the indicator. */
import type * as vscode from 'vscode'
import type { HostConnection } from '../host/connection'
import type { PlainInfo } from '../net/proto'
import { ID } from './manifest'

const DETAILS = 'What Is Missing'
const LOG = 'Show Log'

/** The text for the indicator's tooltip. */
export function plainTooltip(host: string, plain: PlainInfo): string {
  return [`Editing on ${host} without a server there: ${plain.why}`, ...plain.limits].join('\n')
}

/** One message for each reason. */
export class PlainNotice {
  private said = ''

  constructor(private readonly api: typeof vscode, private readonly connection: HostConnection) {}

  async tell(): Promise<void> {
    const plain = this.connection.info?.plain
    if (!plain || plain.why === this.said) return
    this.said = plain.why
    const { window, commands } = this.api
    const what = plain.commands ? 'files, terminals and forwarded ports' : plain.files ? 'files and forwarded ports' : 'nothing but terminals'
    const choice = await window.showWarningMessage(`Our server does not run on ${this.connection.host}, so this window has ${what} only: ${plain.why}.`, DETAILS, LOG)
    if (choice === DETAILS) await window.showInformationMessage(`Without a server on ${this.connection.host}`, { modal: true, detail: `${plain.why}.\n\n${plain.limits.join('\n')}` })
    if (choice === LOG) await commands.executeCommand(ID.showLog)
  }
}
