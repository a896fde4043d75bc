/* Webviews and the web extension host run in frames. On the window's own origin they could use its token, so they live on the
 * daemon's second port: same host name (a service worker needs the same site), other origin. */
import { registerAssets } from '@codingame/monaco-vscode-api/assets'
import { FileAccess } from '@codingame/monaco-vscode-api/vscode/vs/base/common/network'

const PRE = 'vs/workbench/contrib/webview/browser/pre/'
const FRAMES = [
  PRE + 'index.html', PRE + 'fake.html', PRE + 'service-worker.js', 'vs/workbench/services/extensions/worker/webWorkerExtensionHostIframe.html'
]

/** Sends every frame document to `origin`; before the workbench is initialised. */
export function isolateFrames(origin: string): void {
  for (const id of FRAMES) {
    const here = new URL(FileAccess.asBrowserUri(id as never).toString(true))
    registerAssets({ [id]: new URL(here.pathname, origin).href })
  }
}
