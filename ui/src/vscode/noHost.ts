/* A window without a host has no files: what would open some leads to the list of hosts. */
import { CommandsRegistry } from '@codingame/monaco-vscode-api/vscode/vs/platform/commands/common/commands'
import { ICommandService } from '@codingame/monaco-vscode-api/vscode/vs/platform/commands/common/commands.service'

const OPENERS = [
  'workbench.action.files.openFolder', 'workbench.action.files.openFile', 'workbench.action.files.openFileFolder',
  'workbench.action.files.openFolderViaWorkspace', 'workbench.action.addRootFolder'
]

export function leadToHosts(connect: string): void {
  for (const id of OPENERS) CommandsRegistry.registerCommand(id, (accessor) => accessor.get(ICommandService).executeCommand(connect))
}
