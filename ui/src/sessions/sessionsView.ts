/* The Sessions view: every session of this user on the host, whoever started it. */
import type * as vscode from 'vscode'
import type { KernelInfo } from '../net/proto.gen'
import { nameOf } from './commands'
import { VIEW } from './manifest'
import type { SessionViews } from './index'

const POLL_MS = 4000

export interface Row {
  info: KernelInfo
}

export function registerSessionsView({ sessions, consoles }: SessionViews): void {
  const { api } = sessions
  const changed = new api.EventEmitter<void>()
  const view = api.window.createTreeView<Row>(VIEW.sessions, {
    treeDataProvider: {
      onDidChangeTreeData: changed.event,
      getChildren: (row) => (row ? [] : [...sessions.list].sort((a, b) => a.startedMs - b.startedMs).map((info) => ({ info }))),
      getTreeItem: ({ info }) => itemOf(info)
    }
  })
  let timer: ReturnType<typeof setTimeout> | undefined
  const poll = () => {
    clearTimeout(timer)
    if (!view.visible) return
    timer = setTimeout(() => void sessions.refresh().catch(() => {}).then(poll), POLL_MS)
  }
  view.onDidChangeVisibility(() => {
    if (view.visible) void sessions.refresh().catch(() => {})
    poll()
  })
  poll()
  let soon: ReturnType<typeof setTimeout> | undefined
  sessions.onChanged.on(() => {
    /* of those of this window, which are known to the moment */
    const busy = [...sessions.attached.values()].filter((s) => s.busy).length
    view.badge = busy ? { value: busy, tooltip: `${busy} busy` } : undefined
    soon ??= setTimeout(() => {
      soon = undefined
      changed.fire()
    }, 100)
  })

  /* what an attached session does is known sooner than the list */
  const stateOf = (info: KernelInfo): string => {
    const state = sessions.attached.get(info.id)?.state
    return state && state !== 'connecting' ? state : info.state
  }

  const itemOf = (info: KernelInfo): vscode.TreeItem => {
    const state = stateOf(info)
    const item = new api.TreeItem(nameOf(info))
    const input = info.inputWanted || !!sessions.attached.get(info.id)?.input
    const age = ago(Date.now() - info.startedMs)
    item.id = info.id
    item.description = [input ? 'waits for input' : state, memory(info.rssBytes), age, info.notebook ? info.notebook.split('/').at(-1) : ''].filter(Boolean).join(' · ')
    const colour = { idle: 'charts.green', busy: 'charts.blue', starting: 'charts.yellow', restarting: 'charts.yellow', dead: 'charts.red' }[state] ?? 'charts.yellow'
    item.iconPath = new api.ThemeIcon(input ? 'comment-unresolved' : state === 'busy' ? 'loading~spin' : state === 'dead' ? 'error' : 'circle-filled', new api.ThemeColor(colour))
    item.contextValue = [state, input ? 'input' : '', info.notebook ? 'notebook' : 'console', consoles.bySession(info.id) ? 'open' : ''].join(' ')
    const lines = [`**${nameOf(info)}** (${info.displayName})`, `State: ${state} for ${ago(Date.now() - info.stateSinceMs)}${info.queue ? `, ${info.queue} waiting` : ''}`, `Memory: ${memory(info.rssBytes)}, processor: ${(info.cpuMs / 1000).toFixed(1)} s`,
      `Process ${info.pid} in ${info.cwd}`, ...(info.notebook ? [`Notebook: ${info.notebook}`] : []), `Ends: ${ends(info)}`, `Windows: ${info.viewers}`, `Session ${info.id}`]
    item.tooltip = new api.MarkdownString(lines.join('  \n'))
    item.command = { command: 'towline.sessions.attach', title: 'Open', arguments: [{ info }] }
    item.accessibilityInformation = { label: `${nameOf(info)}, ${item.description}` }
    return item
  }
}

function ends(info: KernelInfo): string {
  if (info.endsAtMs) return `at ${new Date(info.endsAtMs).toLocaleTimeString()}`
  if (info.shutdownTimeout === 'indefinitely') return 'when it is ended'
  return /^\d+$/.test(info.shutdownTimeout) ? `after ${info.shutdownTimeout} hours without a window and without work` : info.shutdownTimeout === 'immediately' ? 'when its window is closed and it is idle' : 'when its window is closed and its work is done'
}

function memory(bytes: number): string {
  return bytes >= 1 << 30 ? `${(bytes / (1 << 30)).toFixed(1)} GiB` : `${Math.round(bytes / (1 << 20))} MiB`
}

function ago(ms: number): string {
  const s = Math.max(0, ms) / 1000
  if (s < 60) return `${Math.floor(s)} s`
  if (s < 3600) return `${Math.floor(s / 60)} min`
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`
}
