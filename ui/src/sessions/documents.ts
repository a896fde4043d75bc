/* What notebook files and consoles share: one controller for each kernel of the host and each kind of document. */
import type * as vscode from 'vscode'
import type { KernelSpec } from '../net/proto.gen'
import { Signal } from '../net/signal'
import { giveKernel } from '../vscode/kernelChoice'
import { languageOf, type Sessions } from './service'

export type DocumentType = 'jupyter-notebook' | 'interactive'
type Execute = (spec: KernelSpec, cells: vscode.NotebookCell[], notebook: vscode.NotebookDocument) => Promise<void>

/** What follows `towline.` in the ids of VS Code. */
export const EXTENSION = 'towline.towline'
/* VS Code tells its extension host a moment later than itself */
const CHOSEN_MS = 20000

/** The controllers of one kind of document; they follow the list of kernels. */
export class Controllers {
  private readonly made = new Map<string, { spec: KernelSpec; controller: vscode.NotebookController }>()
  /* documents that have been given a controller */
  private readonly chosen = new Map<string, vscode.NotebookController>()
  private readonly onChosen = new Signal<void>()

  constructor(private readonly sessions: Sessions, private readonly type: DocumentType, private readonly run: Execute, private readonly interrupt: (notebook: vscode.NotebookDocument) => Promise<void>) {
    sessions.onSpecs.on(() => this.refresh())
    this.refresh()
  }

  of(spec: KernelSpec): vscode.NotebookController {
    return (this.made.get(spec.id) ?? this.make(spec)).controller
  }

  byId(id: string): vscode.NotebookController | undefined {
    return this.made.get(id)?.controller
  }

  /** Gives the document this kernel and waits until executions can be made. */
  async choose(document: vscode.Uri, controller: vscode.NotebookController): Promise<void> {
    const at = document.toString()
    if (this.chosen.get(at) === controller) return
    await giveKernel(document, this.type, `${EXTENSION}/${controller.id}`, true)
    const end = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), CHOSEN_MS))
    while (this.chosen.get(at) !== controller) {
      if (!(await Promise.race([this.onChosen.once().then(() => true), end]))) throw new Error(`${controller.label} could not be chosen for ${document.path}`)
    }
  }

  get all(): { spec: KernelSpec; controller: vscode.NotebookController }[] {
    return [...this.made.values()]
  }

  idOf(spec: KernelSpec): string {
    return `${this.type === 'interactive' ? 'console' : 'kernel'}:${spec.id}`
  }

  private refresh(): void {
    for (const spec of this.sessions.specs) {
      const known = this.made.get(spec.id)
      if (known) this.describe(known.controller, (known.spec = spec))
      else this.make(spec)
    }
  }

  private make(spec: KernelSpec) {
    const { api } = this.sessions
    const entry = { spec, controller: api.notebooks.createNotebookController(this.idOf(spec), this.type, spec.displayName) }
    this.made.set(spec.id, entry)
    const { controller } = entry
    controller.supportsExecutionOrder = true
    controller.supportedLanguages = [languageOf(spec), ...(this.type === 'interactive' ? [] : ['raw'])]
    controller.executeHandler = (cells, notebook) => this.run(entry.spec, cells.filter((c) => c.document.languageId !== 'raw'), notebook)
    controller.interruptHandler = (notebook) => this.interrupt(notebook)
    controller.onDidChangeSelectedNotebooks(({ notebook, selected }) => {
      const at = notebook.uri.toString()
      if (selected) this.chosen.set(at, controller)
      else if (this.chosen.get(at) === controller) this.chosen.delete(at)
      this.onChosen.fire()
    })
    this.describe(controller, spec)
    return entry
  }

  private describe(controller: vscode.NotebookController, spec: KernelSpec): void {
    controller.label = spec.displayName
    controller.description = spec.ready ? spec.path : `cannot run yet: ${spec.reason ?? ''}`
    controller.detail = spec.ready ? undefined : spec.install
  }
}
