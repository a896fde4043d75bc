/* Which kernel a notebook document has: VS Code remembers it by document, and has no public way to ask or to choose. */
import { getService } from '@codingame/monaco-vscode-api'
import { URI } from '@codingame/monaco-vscode-api/vscode/vs/base/common/uri'
import { INotebookKernelService } from '@codingame/monaco-vscode-api/vscode/vs/workbench/contrib/notebook/common/notebookKernelService.service'

/** Gives a document the kernel of this id, where it has none, or anyway. True when it has it then. */
export async function giveKernel(document: { toString(): string }, type: string, id: string, anyway: boolean): Promise<boolean> {
  const service = await getService(INotebookKernelService)
  const notebook = { uri: URI.parse(document.toString()), notebookType: type }
  const { all, selected } = service.getMatchingKernel(notebook as never)
  if (selected && (selected.id === id || !anyway)) return selected.id === id
  const kernel = all.find((k) => k.id === id)
  if (kernel) service.selectKernelForNotebook(kernel, notebook as never)
  return !!kernel
}
