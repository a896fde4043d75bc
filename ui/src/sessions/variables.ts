/* The Variables pane: the values of the session in front, asked for anew after each execution. */
import type * as vscode from 'vscode'
import { Inspector, type Path, type Variable } from '../kernel/inspector'
import { HIDDEN, type KernelSession } from '../kernel/session'
import { nameOf } from './commands'
import { DataViews } from './dataView'
import { CMD, VIEW } from './manifest'
import { languageOf, type Sessions } from './service'

const REFRESH_MS = 150

export interface VariableRow {
  path: Path
  variable: Variable
}

/** One inspector for each attached session. */
export class Inspectors {
  private readonly made = new WeakMap<KernelSession, Inspector>()

  of(session: KernelSession): Inspector {
    let found = this.made.get(session)
    if (!found) this.made.set(session, (found = new Inspector(session, languageOf(session.info))))
    return found
  }
}

export function registerVariables(sessions: Sessions): void {
  const { api } = sessions
  const inspectors = new Inspectors()
  const data = new DataViews(sessions, inspectors)
  const changed = new api.EventEmitter<void>()
  let top: VariableRow[] = []
  let off: (() => void)[] = []
  let timer: ReturnType<typeof setTimeout> | undefined
  let asked = 0

  const view = api.window.createTreeView<VariableRow>(VIEW.variables, {
    showCollapseAll: true,
    treeDataProvider: {
      onDidChangeTreeData: changed.event,
      getChildren: async (row) => {
        if (!row) return top
        const session = sessions.foreground
        if (!session) return []
        const children = await inspectors.of(session).children(row.path).catch(() => [])
        return children.map((variable, i) => ({ path: [...row.path, i] as Path, variable }))
      },
      getTreeItem: (row) => itemOf(api, row)
    }
  })

  const refresh = async () => {
    const session = sessions.foreground
    const mine = ++asked
    view.description = session ? nameOf(session.info) : undefined
    const inspector = session && inspectors.of(session)
    if (!session || !inspector?.able) {
      top = []
      view.message = session ? `The values of ${session.info.language} are not shown.` : undefined
      changed.fire()
      return
    }
    try {
      const list = await inspector.list()
      if (mine !== asked) return
      top = list.map((variable) => ({ path: [variable.name], variable }))
      view.message = top.length ? undefined : 'No variables yet.'
    } catch (error) {
      if (mine !== asked) return
      top = []
      view.message = error instanceof Error ? error.message : String(error)
    }
    changed.fire()
  }
  const soon = () => {
    clearTimeout(timer)
    timer = setTimeout(() => void refresh(), REFRESH_MS)
  }

  const follow = (session: KernelSession | undefined) => {
    for (const stop of off) stop()
    off = session ? [
      session.onMessage.on((m) => m.header.msg_type === 'execute_reply' && session.caughtUp && !m.parent.msg_id?.startsWith(HIDDEN) && soon()),
      session.onStopped.on(soon),
      session.onCaughtUp.on(soon)
    ] : []
    void refresh()
  }
  sessions.onForeground.on(follow)
  follow(sessions.foreground)

  api.commands.registerCommand(CMD.refreshVariables, () => refresh())
  api.commands.registerCommand(CMD.copyValue, (row?: VariableRow) => row && api.env.clipboard.writeText(row.variable.value))
  api.commands.registerCommand(CMD.viewData, async (row?: VariableRow) => {
    const session = sessions.foreground
    if (row && session) await data.show(session, row.path, row.variable.name).catch((error) => sessions.tell(error))
  })
}

function itemOf(api: typeof vscode, { path, variable: v }: VariableRow): vscode.TreeItem {
  const item = new api.TreeItem(v.name, v.more ? api.TreeItemCollapsibleState.Collapsed : api.TreeItemCollapsibleState.None)
  item.id = JSON.stringify(path)
  item.description = v.value
  item.tooltip = `${v.name}: ${v.type}\n${v.value}`
  item.contextValue = v.table ? 'table' : 'value'
  item.iconPath = new api.ThemeIcon(icon(v))
  if (v.table) item.command = { command: CMD.viewData, title: 'View Data', arguments: [{ path, variable: v }] }
  return item
}

function icon(v: Variable): string {
  if (v.table) return 'table'
  if (/^(function|builtin_function|method|closure)/i.test(v.type)) return 'symbol-function'
  if (/^(str|character|bytes)$/.test(v.type)) return 'symbol-string'
  if (/^(int|float|complex|numeric|integer|double)$/.test(v.type)) return 'symbol-number'
  if (/^(bool|logical)$/.test(v.type)) return 'symbol-boolean'
  if (/^(list|tuple|set|ndarray|Series|factor)$/.test(v.type)) return 'symbol-array'
  if (v.type === 'type') return 'symbol-class'
  return v.more ? 'symbol-object' : 'symbol-variable'
}
