/* The Plots pane: every picture that a session shows, newest last, kept to a number and a size. */
import type * as vscode from 'vscode'
import type { Message } from '../kernel/message'
import { HIDDEN, type KernelSession } from '../kernel/session'
import { nameOf } from './commands'
import { pageHtml } from './html'
import { CMD, VIEW } from './manifest'
import type { Sessions } from './service'

const KEPT_CHARS = 96 * 1024 * 1024
const MIMES = ['image/svg+xml', 'image/png', 'image/jpeg', 'image/gif', 'image/webp'] as const

interface Plot {
  mime: string
  /** Base64, or the text of an SVG. */
  data: string
  session: string
  display?: string
  timeMs: number
}

export class Plots {
  list: Plot[] = []
  at = -1
  private view?: vscode.WebviewView

  constructor(private readonly sessions: Sessions) {
    const { api } = sessions
    sessions.onAttached.on((s) => {
      s.onMessage.on((m) => this.hear(s, m))
      s.onCaughtUp.on(() => this.draw())
    })
    api.window.registerWebviewViewProvider(VIEW.plots, { resolveWebviewView: (view) => this.resolve(view) }, { webviewOptions: { retainContextWhenHidden: true } })
    const command = (id: string, run: () => unknown) => api.commands.registerCommand(id, async () => {
      try {
        await run()
      } catch (error) {
        sessions.tell(error)
      }
    })
    command(CMD.plotPrevious, () => this.go(this.at - 1))
    command(CMD.plotNext, () => this.go(this.at + 1))
    command(CMD.plotRemove, () => this.remove())
    command(CMD.plotClear, () => {
      this.list = []
      this.go(-1)
    })
    command(CMD.plotCopy, () => this.copy())
    command(CMD.plotSave, () => this.save())
  }

  private hear(session: KernelSession, m: Message): void {
    const type = m.header.msg_type
    if ((type !== 'display_data' && type !== 'execute_result' && type !== 'update_display_data') || m.parent.msg_id?.startsWith(HIDDEN)) return
    const mime = MIMES.find((k) => m.content.data?.[k])
    if (!mime) return
    const raw = m.content.data[mime] as string | string[]
    const data = Array.isArray(raw) ? raw.join('') : String(raw)
    const display = m.content.transient?.display_id as string | undefined
    const plot: Plot = { mime, data, session: nameOf(session.info), timeMs: m.timeMs, ...(display ? { display: `${session.id} ${display}` } : {}) }
    const known = plot.display ? this.list.findIndex((p) => p.display === plot.display) : -1
    if (type === 'update_display_data' && known < 0) return
    if (known >= 0) this.list[known] = plot
    else this.list.push(plot)
    const most = this.sessions.api.workspace.getConfiguration('plots').get<number>('historyLength', 50)
    while (this.list.length > most || (this.list.length > 1 && this.list.reduce((n, p) => n + p.data.length, 0) > KEPT_CHARS)) this.list.shift()
    this.at = known >= 0 ? Math.min(known, this.list.length - 1) : this.list.length - 1
    if (!session.caughtUp) return
    this.draw()
    /* a new picture is shown, but takes no focus */
    if (known < 0 && !this.view) void this.sessions.api.commands.executeCommand(`${VIEW.plots}.focus`, { preserveFocus: true })
    else if (known < 0) this.view?.show(true)
  }

  private resolve(view: vscode.WebviewView): void {
    this.view = view
    view.webview.options = { enableScripts: true, localResourceRoots: [] }
    view.onDidDispose(() => (this.view = undefined))
    view.webview.onDidReceiveMessage((m: { type: 'ready' | 'go'; at?: number }) => {
      if (m.type === 'go') this.go(Number(m.at))
      else this.draw()
    })
    view.webview.html = pageHtml(STYLE, BODY, SCRIPT)
  }

  private go(to: number): void {
    this.at = this.list.length ? Math.max(0, Math.min(this.list.length - 1, to)) : -1
    this.draw()
  }

  private remove(): void {
    if (this.at < 0) return
    this.list.splice(this.at, 1)
    this.go(Math.min(this.at, this.list.length - 1))
  }

  private draw(): void {
    const plot = this.list[this.at]
    if (this.view) this.view.description = plot ? `${this.at + 1} of ${this.list.length}` : undefined
    void this.view?.webview.postMessage({ type: 'show', at: this.at, count: this.list.length, src: plot && srcOf(plot), title: plot ? `${plot.session}, ${new Date(plot.timeMs).toLocaleTimeString()}` : '' })
  }

  private async copy(): Promise<void> {
    const plot = this.list[this.at]
    if (!plot) return
    await navigator.clipboard.write([new ClipboardItem({ 'image/png': plot.mime === 'image/png' ? blobOf(plot) : await asPng(plot) })])
    this.sessions.api.window.setStatusBarMessage('Plot copied', 2000)
  }

  private async save(): Promise<void> {
    const { api } = this.sessions
    const plot = this.list[this.at]
    if (!plot) return
    const kind = plot.mime === 'image/svg+xml' ? 'svg' : plot.mime.slice('image/'.length)
    const folder = api.workspace.workspaceFolders?.[0].uri
    const uri = await api.window.showSaveDialog({ ...(folder ? { defaultUri: api.Uri.joinPath(folder, `plot-${this.at + 1}.${kind}`) } : {}), filters: { Image: [kind] } })
    if (uri) await api.workspace.fs.writeFile(uri, new Uint8Array(await blobOf(plot).arrayBuffer()))
  }
}

/* as an image even an SVG runs nothing */
function srcOf(p: Plot): string {
  return p.mime === 'image/svg+xml' ? `data:image/svg+xml;charset=utf-8,${encodeURIComponent(p.data)}` : `data:${p.mime};base64,${p.data.replace(/\s/g, '')}`
}

function blobOf(p: Plot): Blob {
  if (p.mime === 'image/svg+xml') return new Blob([p.data], { type: p.mime })
  return new Blob([Uint8Array.from(atob(p.data.replace(/\s/g, '')), (c) => c.charCodeAt(0))], { type: p.mime })
}

async function asPng(p: Plot): Promise<Blob> {
  const image = new Image()
  image.src = srcOf(p)
  await image.decode()
  const canvas = document.createElement('canvas')
  canvas.width = image.naturalWidth * 2
  canvas.height = image.naturalHeight * 2
  const paint = canvas.getContext('2d')!
  paint.fillStyle = 'white'
  paint.fillRect(0, 0, canvas.width, canvas.height)
  paint.drawImage(image, 0, 0, canvas.width, canvas.height)
  return new Promise((resolve, reject) => canvas.toBlob((b) => (b ? resolve(b) : reject(new Error('the picture could not be drawn'))), 'image/png'))
}

const STYLE = `
  body { display: flex; flex-direction: column; font-family: var(--vscode-font-family); font-size: var(--vscode-font-size); color: var(--vscode-foreground) }
  header { display: flex; align-items: center; gap: 2px; padding: 2px 8px } header span { flex: 1; overflow: hidden; white-space: nowrap; text-overflow: ellipsis; color: var(--vscode-descriptionForeground) }
  #place { flex: 1; overflow: auto; display: flex; background: var(--vscode-editor-background) }
  #place img { margin: auto; background: white; max-width: 100%; max-height: 100% } #place.zoomed img { max-width: none; max-height: none }
  #empty { margin: auto; padding: 12px; color: var(--vscode-descriptionForeground); text-align: center }`

const BODY = `<header><button id="back" title="Previous Plot" aria-label="Previous Plot">&#x2190;</button><button id="next" title="Next Plot" aria-label="Next Plot">&#x2192;</button><span id="title"></span>
<button id="out" title="Zoom Out" aria-label="Zoom Out">&#x2212;</button><button id="fit" title="Zoom to Fit">Fit</button><button id="in" title="Zoom In" aria-label="Zoom In">+</button></header>
<div id="place" tabindex="0"><div id="empty">Plots of your sessions are shown here.</div></div>`

const SCRIPT = String.raw`
const $ = (id) => document.getElementById(id)
const place = $('place'), empty = $('empty')
let at = -1, count = 0, zoom = 0, image
const apply = () => {
  place.classList.toggle('zoomed', zoom > 0)
  if (image) image.style.width = zoom ? image.naturalWidth * zoom + 'px' : ''
  $('fit').textContent = zoom ? Math.round(zoom * 100) + ' %' : 'Fit'
}
const fitted = () => image ? image.clientWidth / image.naturalWidth : 1
const zoomBy = (f) => { zoom = Math.max(0.1, Math.min(8, (zoom || fitted()) * f)); apply() }
$('back').onclick = () => code.postMessage({ type: 'go', at: at - 1 })
$('next').onclick = () => code.postMessage({ type: 'go', at: at + 1 })
$('in').onclick = () => zoomBy(1.25)
$('out').onclick = () => zoomBy(0.8)
$('fit').onclick = () => { zoom = 0; apply() }
place.addEventListener('wheel', (e) => { if (e.ctrlKey) { e.preventDefault(); zoomBy(e.deltaY < 0 ? 1.1 : 0.9) } }, { passive: false })
place.addEventListener('keydown', (e) => { if (e.key === 'ArrowLeft') $('back').click(); else if (e.key === 'ArrowRight') $('next').click() })
addEventListener('message', ({ data }) => {
  if (data.type !== 'show') return
  at = data.at; count = data.count
  $('back').disabled = at <= 0; $('next').disabled = at >= count - 1
  $('title').textContent = count ? (at + 1) + ' of ' + count + ' · ' + data.title : ''
  if (!data.src) { image = undefined; place.replaceChildren(empty); return }
  const fresh = new Image()
  fresh.alt = 'Plot ' + (at + 1) + ' of ' + count
  fresh.onload = apply
  fresh.src = data.src
  image = fresh
  place.replaceChildren(fresh)
})
code.postMessage({ type: 'ready' })
`
