/* The replacement of VS Code's own remote connection: the environment is real, the connection is a stand-in that answers channel
 * calls with neutral values, its state is the state of our host.
 *
 * The shapes here are VS Code's internal ones (IRemoteAgentService, IRemoteAgentConnection, 1.128). */
import { Emitter, Event } from '@codingame/monaco-vscode-api/vscode/vs/base/common/event'
import { OperatingSystem } from '@codingame/monaco-vscode-api/vscode/vs/base/common/platform'
import { PersistentConnectionEventType as Type } from '@codingame/monaco-vscode-api/vscode/vs/platform/remote/common/remoteAgentConnection'
import type { HostConnection, LinkPhase } from '../host/connection'
import type { HostInfo } from '../net/proto'
import { remoteUri } from './authority'

/* the dialog appears only for a silence longer than this (40 s in VS Code): by then we have our own opinion */
const LONG_SILENCE_MS = 60000
const SHORT_DROP_MS = 2500

const NEUTRAL: Record<string, unknown> = {
  getInstalled: [], scanExtensions: [], getExtensionsControlManifest: { malicious: [], deprecated: {}, search: [] }, getUserDataProfiles: [],
  getInitialData: [], getTargetPlatform: 'linux-x64', getRegisteredLoggers: []
}

const channel = () => ({
  call: async (command: string) => NEUTRAL[command],
  listen: () => Event.None
})

interface StateEvent {
  type: Type
  reconnectionToken: string
  millisSinceLastIncomingData: number
  durationSeconds?: number
  attempt?: number
  handled?: boolean
  skipWait?: () => void
}

/** Turns phases of the host into the events of VS Code's reconnection dialog. */
class ConnectionEvents {
  private readonly emitter = new Emitter<StateEvent>()
  readonly event = this.emitter.event
  private shown = false
  private timer?: ReturnType<typeof setTimeout>
  private lost = false
  private retryAt = 0

  constructor(private readonly connection: HostConnection) {
    connection.onPhase.on((phase) => this.hear(phase))
  }

  private hear(phase: LinkPhase): void {
    if (phase === 'connected') {
      clearTimeout(this.timer)
      this.timer = undefined
      if (this.lost) this.fire(Type.ConnectionGain, { attempt: 1 })
      this.lost = false
      this.shown = false
      this.retryAt = 0
      return
    }
    if (phase === 'failed' || phase === 'refused' || phase === 'disconnected') {
      /* our own message says why; VS Code's only offers a reload */
      clearTimeout(this.timer)
      this.timer = undefined
      if (this.lost) this.fire(Type.ReconnectionPermanentFailure, { attempt: 1, handled: true })
      this.lost = true
      this.shown = false
      return
    }
    if (!this.lost) {
      this.lost = true
      /* a short drop does not deserve a dialog */
      this.timer = setTimeout(() => {
        this.shown = true
        this.fire(Type.ConnectionLost, {})
        this.tell()
      }, SHORT_DROP_MS)
    } else if (this.shown) {
      this.tell()
    }
  }

  private tell(): void {
    const { retryInMs } = this.connection.state
    if (this.connection.phase === 'reconnecting' && retryInMs) {
      const at = Date.now() + retryInMs
      if (Math.abs(at - this.retryAt) < 500) return
      this.retryAt = at
      this.fire(Type.ReconnectionWait, {
        durationSeconds: Math.max(1, Math.round(retryInMs / 1000)), skipWait: () => void this.connection.reconnect().catch(() => {})
      })
    } else {
      this.retryAt = 0
      this.fire(Type.ReconnectionRunning, { attempt: 1 })
    }
  }

  private fire(type: Type, more: Partial<StateEvent>): void {
    this.emitter.fire({ type, reconnectionToken: '', millisSinceLastIncomingData: LONG_SILENCE_MS, ...more })
  }
}

/** The class that takes the place of VS Code's RemoteAgentService in a window with a host. */
export function remoteAgentClass(connection: HostConnection, authority: string, info: HostInfo) {
  const events = new ConnectionEvents(connection)
  const stub = {
    remoteAuthority: authority,
    onReconnecting: Event.None,
    onDidStateChange: events.event,
    getChannel: channel,
    withChannel: async (_name: string, use: (c: unknown) => unknown) => use(channel()),
    registerChannel() {},
    async getInitialConnectionTimeMs() {
      return 1
    },
    updateGraceTime() {},
    async end() {},
    dispose() {}
  }
  const environment = makeEnvironment(authority, info)
  return class TowlineRemoteAgentService {
    declare _serviceBrand: undefined
    getConnection() {
      return stub
    }
    async getEnvironment() {
      return environment
    }
    /* null keeps VS Code's own remote file system from claiming the scheme */
    async getRawEnvironment() {
      return null
    }
    async getExtensionHostExitInfo() {
      return null
    }
    async getRoundTripTime() {
      return connection.state.rttMs
    }
    async endConnection() {}
    async getDiagnosticInfo() {
      return undefined
    }
    async updateTelemetryLevel() {}
    async logTelemetry() {}
    async flushTelemetry() {}
  }
}

function makeEnvironment(authority: string, info: HostInfo) {
  const uri = (path: string) => remoteUri(authority, path)
  const data = (path: string) => uri(`${info.dataDir}/${path}`)
  const profile = {
    id: '__default__profile__', isDefault: true, name: 'Default', location: uri(info.dataDir), globalStorageHome: data('globalStorage'),
    settingsResource: data('Machine/settings.json'), keybindingsResource: data('Machine/keybindings.json'), tasksResource: data('Machine/tasks.json'),
    snippetsHome: data('Machine/snippets'), promptsHome: data('Machine/prompts'), extensionsResource: data('Machine/extensions.json'),
    mcpResource: data('Machine/mcp.json'), languageModelsResource: data('Machine/languageModels.json'),
    agentPluginsHome: data('Machine/agentPlugins'), cacheHome: data('cache')
  }
  return {
    pid: info.pid, connectionToken: '', appRoot: uri('/'), execPath: '/bin/true', tmpDir: uri(info.tmp || '/tmp'),
    settingsPath: profile.settingsResource, mcpResource: profile.mcpResource, logsPath: data('logs'), extensionHostLogsPath: data('logs'),
    globalStorageHome: profile.globalStorageHome, workspaceStorageHome: data('workspaceStorage'), localHistoryHome: data('History'),
    userHome: uri(info.home), os: OperatingSystem.Linux, arch: info.arch === 'aarch64' ? 'arm64' : 'x64', marks: [], useHostProxy: false,
    profiles: { all: [profile], home: data('profiles') }, isUnsupportedGlibc: false
  }
}

/** VS Code's own remote extension host is never started: wraps the extension service's descriptor. */
export function withoutRemoteExtensionHost<T>(descriptor: T): T {
  const REMOTE = 3
  const target = descriptor as { ctor: new (...args: any[]) => any }
  const Base = target.ctor
  target.ctor = class extends Base {
    constructor(...args: any[]) {
      super(...args)
      const factory = this._extensionHostFactory
      const create = factory.createExtensionHost.bind(factory)
      factory.createExtensionHost = (runningLocations: unknown, where: { kind: number }, first: unknown) =>
        where.kind === REMOTE ? null : create(runningLocations, where, first)
    }
  }
  return descriptor
}
