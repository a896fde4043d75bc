/* The history of a console's input (arrow up): VS Code keeps it by document, and has no public way to fill it. */
import { getService } from '@codingame/monaco-vscode-api'
import { URI } from '@codingame/monaco-vscode-api/vscode/vs/base/common/uri'
import { IInteractiveHistoryService } from '@codingame/monaco-vscode-api/vscode/vs/workbench/contrib/interactive/browser/interactiveHistoryService.service'

/** Puts what was run earlier, oldest first, before what is being typed. */
export async function fillHistory(notebook: { toString(): string }, lines: string[]): Promise<void> {
  const service = await getService(IInteractiveHistoryService)
  const uri = URI.parse(notebook.toString())
  for (const line of lines) service.addToHistory(uri, line)
  service.addToHistory(uri, '')
}
