/* The viewer: a page of the host inside the window, as *Preview in Editor* and a click on http://localhost:… show it.
 *
 * It keeps the address as the host knows it and asks for the local one each time, so that a page that is brought back after a
 * reload is opened through its forward again, whatever local port that has by then. The page is left as it is: nothing is added to
 * its address. Answers to the names of VS Code's Simple Browser, which extensions and settings know. */
import type * as vscode from 'vscode'

const VIEW = 'towline.viewer'
const OPENER = 'simpleBrowser.open'
const LOCAL = new Set(['localhost', '127.0.0.1', '[::1]', '0.0.0.0', '[::]'])

interface Kept {
  url?: string
}

type Opener = {
  canOpenExternalUri(uri: vscode.Uri): number
  openExternalUri(resolved: vscode.Uri, context: { sourceUri: vscode.Uri }): Promise<void>
}
/* proposed API externalUriOpener: None 0, Option 1, Default 2, Preferred 3 */
type WithOpeners = { registerExternalUriOpener(id: string, opener: Opener, options: { schemes: string[]; label: string }): vscode.Disposable }

export function registerViewer(api: typeof vscode): void {
  let current: vscode.WebviewPanel | undefined

  const show = async (url: string, where?: vscode.ViewColumn) => {
    if (!current) {
      const column = where ?? (api.window.activeTextEditor ? api.ViewColumn.Beside : api.ViewColumn.Active)
      fill(api.window.createWebviewPanel(VIEW, 'Preview', column, { enableScripts: true, enableForms: true, retainContextWhenHidden: true, localResourceRoots: [] }))
    }
    current!.reveal(undefined, false)
    await go(current!, url)
  }

  const fill = (panel: vscode.WebviewPanel) => {
    current = panel
    panel.onDidDispose(() => {
      if (current === panel) current = undefined
    })
    panel.webview.onDidReceiveMessage(async (message: { type: 'go' | 'external' | 'ready'; url?: string }) => {
      if (message.type === 'ready') pages.get(panel)?.()
      else if (message.type === 'go' && message.url) await go(panel, message.url)
      else if (message.type === 'external' && message.url) await api.env.openExternal(api.Uri.parse(message.url))
    })
    /* the page tells when it can hear */
    let ready = () => {}
    const waiting = new Promise<void>((resolve) => (ready = resolve))
    pages.set(panel, ready)
    loaded.set(panel, waiting)
    panel.webview.html = html(nonce())
  }
  const pages = new WeakMap<vscode.WebviewPanel, () => void>()
  const loaded = new WeakMap<vscode.WebviewPanel, Promise<void>>()

  const go = async (panel: vscode.WebviewPanel, typed: string) => {
    const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(typed) ? typed : `http://${typed}`
    if (!/^https?:/i.test(url)) return
    const uri = api.Uri.parse(url)
    await loaded.get(panel)
    /* the forward first, the page then */
    const local = await api.env.asExternalUri(uri).then((u) => u, () => uri)
    panel.title = uri.authority
    await panel.webview.postMessage({ type: 'show', url, src: local.toString(true) })
  }

  api.window.registerWebviewPanelSerializer(VIEW, {
    async deserializeWebviewPanel(panel, state: Kept | undefined) {
      panel.webview.options = { enableScripts: true, enableForms: true, localResourceRoots: [] }
      fill(panel)
      if (state?.url) void go(panel, state.url)
    }
  })
  ;(api.window as unknown as WithOpeners).registerExternalUriOpener(OPENER, {
    canOpenExternalUri: (uri) => (LOCAL.has(new URL(uri.toString(true)).hostname) ? 2 : 0),
    openExternalUri: (_resolved, { sourceUri }) => show(sourceUri.toString(true))
  }, { schemes: ['http', 'https'], label: 'Preview in Editor' })
  api.commands.registerCommand('simpleBrowser.api.open', (uri: vscode.Uri | string, options?: { viewColumn?: vscode.ViewColumn }) => show(typeof uri === 'string' ? uri : uri.toString(true), options?.viewColumn))
  api.commands.registerCommand('simpleBrowser.show', async (given?: string) => {
    const url = given ?? (await api.window.showInputBox({ placeHolder: 'http://localhost:8000', prompt: 'The address of a page, as the host knows it' }))
    if (url) await show(url)
  })
}

function nonce(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('')
}

function html(once: string): string {
  return `<!doctype html>
<html><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'nonce-${once}'; script-src 'nonce-${once}'; frame-src http: https:">
<style nonce="${once}">
  html, body { height: 100%; margin: 0; padding: 0 }
  body { display: flex; flex-direction: column }
  header { display: flex; gap: 4px; padding: 4px 6px; border-bottom: 1px solid var(--vscode-panel-border, transparent) }
  button { border: 0; border-radius: 4px; width: 26px; height: 24px; font-size: 15px; line-height: 1; background: none; color: var(--vscode-icon-foreground); cursor: pointer }
  button:hover { background: var(--vscode-toolbar-hoverBackground) }
  input { flex: 1; min-width: 40px; padding: 2px 6px; border: 1px solid var(--vscode-input-border, transparent); border-radius: 4px; font: inherit;
    background: var(--vscode-input-background); color: var(--vscode-input-foreground) }
  input:focus, button:focus-visible { outline: 1px solid var(--vscode-focusBorder) }
  iframe { flex: 1; border: 0; background: white }
</style></head><body>
<header>
  <button id="back" title="Back" aria-label="Back">&#x2190;</button>
  <button id="forward" title="Forward" aria-label="Forward">&#x2192;</button>
  <button id="reload" title="Reload" aria-label="Reload">&#x21bb;</button>
  <input id="address" type="text" spellcheck="false" aria-label="Address">
  <button id="external" title="Open in Browser" aria-label="Open in Browser">&#x2197;</button>
</header>
<iframe title="Page" sandbox="allow-scripts allow-forms allow-same-origin allow-downloads allow-modals allow-pointer-lock"></iframe>
<script nonce="${once}">
  const code = acquireVsCodeApi()
  const address = document.getElementById('address'), frame = document.querySelector('iframe')
  const click = (id, run) => document.getElementById(id).addEventListener('click', run)
  window.addEventListener('message', ({ data }) => {
    if (data.type !== 'show') return
    address.value = data.url
    frame.src = data.src
    code.setState({ url: data.url })
  })
  address.addEventListener('keydown', (e) => { if (e.key === 'Enter') code.postMessage({ type: 'go', url: address.value.trim() }) })
  click('reload', () => code.postMessage({ type: 'go', url: address.value.trim() }))
  click('back', () => history.back())
  click('forward', () => history.forward())
  click('external', () => code.postMessage({ type: 'external', url: address.value.trim() }))
  code.postMessage({ type: 'ready' })
</script></body></html>`
}
