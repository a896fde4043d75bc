/* Markdown cells, drawn by VS Code's renderer: mathematics and the cell's own attachments are added to it. Runs inside the frame. */
import type MarkdownIt from 'markdown-it'
import { attachmentImages, markdownMath } from './math'

interface Context {
  getRenderer(id: string): Promise<{ extendMarkdownIt(extend: (md: MarkdownIt) => void): void } | undefined>
}

export async function activate(context: Context): Promise<object> {
  const renderer = await context.getRenderer('vscode.markdown-it-renderer')
  renderer?.extendMarkdownIt((md) => {
    md.use(markdownMath).use(attachmentImages)
  })
  return {}
}
