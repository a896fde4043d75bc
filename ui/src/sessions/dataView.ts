/* The data viewer: a table of the kernel as a grid. Only what is to be seen is fetched, in pages; a million rows cost as much as a
 * hundred. The frame has the grid (scrolling, keys, columns), this side asks the kernel. */
import type * as vscode from 'vscode'
import type { Path, Sort, TableInfo } from '../kernel/inspector'
import { HIDDEN, type KernelSession } from '../kernel/session'
import { nameOf } from './commands'
import { pageHtml } from './html'
import type { Sessions } from './service'
import type { Inspectors } from './variables'
import { GRID_BODY, GRID_SCRIPT, GRID_STYLE } from './grid'

interface Want {
  type: 'ready' | 'rows'
  id: number
  from: number
  to: number
  first: number
  last: number
  sort: Sort | null
}

interface Open {
  panel: vscode.WebviewPanel
  table?: TableInfo
  dispose(): void
}

export class DataViews {
  private readonly open = new Map<string, Open>()

  constructor(private readonly sessions: Sessions, private readonly inspectors: Inspectors) {}

  async show(session: KernelSession, path: Path, name: string): Promise<void> {
    const { api } = this.sessions
    const key = `${session.id} ${JSON.stringify(path)}`
    const known = this.open.get(key)
    if (known) {
      known.panel.reveal()
      return
    }
    const inspector = this.inspectors.of(session)
    const panel = api.window.createWebviewPanel('towline.data', `${name} — ${nameOf(session.info)}`, api.ViewColumn.Active, { enableScripts: true, retainContextWhenHidden: true, localResourceRoots: [] })
    panel.iconPath = new api.ThemeIcon('table')
    const view: Open = { panel, dispose: () => {} }
    this.open.set(key, view)
    let stale = false
    const load = async () => {
      try {
        const old = view.table
        view.table = await inspector.open(path)
        if (old) inspector.close(old.table)
        await panel.webview.postMessage({ type: 'table', rows: view.table.rows, columns: view.table.columns })
      } catch (error) {
        await panel.webview.postMessage({ type: 'gone', text: `${name}: ${error instanceof Error ? error.message : error}` })
      }
    }
    /* after an execution the table may be another one: asked for when it is looked at */
    const off = session.onMessage.on((m) => {
      if (m.header.msg_type !== 'execute_reply' || !session.caughtUp || m.parent.msg_id?.startsWith(HIDDEN)) return
      if (panel.visible) void load()
      else stale = true
    })
    panel.onDidChangeViewState(() => {
      if (!panel.visible || !stale) return
      stale = false
      void load()
    })
    panel.onDidDispose(() => {
      off()
      this.open.delete(key)
      if (view.table && session.state !== 'ended') inspector.close(view.table.table)
    })
    panel.webview.onDidReceiveMessage(async (m: Want) => {
      if (m.type === 'ready') return load()
      if (m.type !== 'rows' || !view.table) return
      try {
        const rows = await inspector.rows(view.table.table, m.from, m.to, m.first, m.last, m.sort)
        await panel.webview.postMessage({ type: 'rows', id: m.id, ...rows })
      } catch (error) {
        await panel.webview.postMessage({ type: 'failed', id: m.id, text: error instanceof Error ? error.message : String(error) })
      }
    })
    panel.webview.html = pageHtml(GRID_STYLE, GRID_BODY, GRID_SCRIPT)
  }
}
