/* Workers of VS Code by label. Vite recognises a worker only as the literal `new Worker(new URL(…))`; the class below keeps the
 * address and starts nothing. */
class Worker {
  constructor(readonly url: URL, readonly options?: WorkerOptions) {}
}

const workers: Record<string, Worker> = {
  editorWorkerService: new Worker(new URL('@codingame/monaco-vscode-api/workers/editor.worker', import.meta.url), { type: 'module' }),
  extensionHostWorkerMain: new Worker(new URL('@codingame/monaco-vscode-api/workers/extensionHost.worker', import.meta.url), { type: 'module' }),
  TextMateWorker: new Worker(new URL('@codingame/monaco-vscode-textmate-service-override/worker', import.meta.url), { type: 'module' }),
  OutputLinkDetectionWorker: new Worker(new URL('@codingame/monaco-vscode-output-service-override/worker', import.meta.url), { type: 'module' }),
  LanguageDetectionWorker: new Worker(new URL('@codingame/monaco-vscode-language-detection-worker-service-override/worker', import.meta.url), { type: 'module' }),
  NotebookEditorWorker: new Worker(new URL('@codingame/monaco-vscode-notebook-service-override/worker', import.meta.url), { type: 'module' }),
  LocalFileSearchWorker: new Worker(new URL('@codingame/monaco-vscode-search-service-override/worker', import.meta.url), { type: 'module' })
}

/* The web extension host runs in a frame of the second port and imports its worker from there: the first port hands out nothing
 * to other origins. */
const IN_FRAME = 'extensionHostWorkerMain'

/** Tells VS Code where its workers are; before anything of it runs. */
export function provideWorkers(frameOrigin: string): void {
  const place = (label: string) => {
    const url = workers[label]?.url
    if (!url) return undefined
    return label === IN_FRAME ? new URL(url.pathname, frameOrigin).href : url.href
  }
  ;(globalThis as unknown as { MonacoEnvironment: object }).MonacoEnvironment = {
    getWorkerUrl: (_module: string, label: string) => place(label),
    getWorkerOptions: (_module: string, label: string) => workers[label]?.options
  }
}
