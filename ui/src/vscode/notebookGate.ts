/* Notebooks that are brought back with the window are opened before our extension has said how to read them; VS Code waits for
 * extensions only until they are activated, which says nothing about one that is part of the page. So its notebook service waits. */
import { INotebookService, type SyncDescriptor } from '@codingame/monaco-vscode-api'
import notebook from '@codingame/monaco-vscode-notebook-service-override'

/** The notebook services; documents are resolved when `ready` is. */
export function notebookServices(ready: Promise<void>): ReturnType<typeof notebook> {
  const services = notebook() as Record<string, SyncDescriptor<unknown>>
  const descriptor = services[INotebookService.toString()] as unknown as { ctor: new (...args: any[]) => any }
  const Base = descriptor.ctor
  descriptor.ctor = class extends Base {
    async canResolve(viewType: string): Promise<boolean> {
      await ready
      return super.canResolve(viewType)
    }
  }
  return services
}
