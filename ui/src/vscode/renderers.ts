/* The scripts that draw outputs and Markdown in the frame of a notebook. Frames are documents of the second port and load them from
 * there. */
import { FileAccess } from '@codingame/monaco-vscode-api/vscode/vs/base/common/network'
import { URI } from '@codingame/monaco-vscode-api/vscode/vs/base/common/uri'
import { RegisteredUriFile, registerExtensionFile } from '@codingame/monaco-vscode-files-service-override'
import markdownCells from '../renderer/markdownCells.ts?frame-script'
import outputs from '../renderer/outputs.ts?frame-script'

const FILES = [
  { path: '/extension/renderer/outputs.js', url: outputs },
  { path: '/extension/renderer/markdownCells.js', url: markdownCells }
]

/** Before the workbench is initialised. */
export function registerRenderers(frameOrigin: string): void {
  for (const { path, url } of FILES) {
    const uri = URI.from({ scheme: 'extension-file', authority: 'towline.towline', path })
    const here = new URL(url, import.meta.url)
    FileAccess.registerStaticBrowserUri(uri, URI.parse(new URL(here.pathname, frameOrigin).href))
    registerExtensionFile(new RegisteredUriFile(uri, here.href, { mimeType: 'text/javascript' }))
  }
}
