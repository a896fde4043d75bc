/* Shapes named in methods.def; copied into the generated TypeScript. */
export interface HostInfo { version: string; protocol: number; pid: number; os: string; arch: string; kernel: string; hostname: string; user: string; uid: number; home: string; shell: string; tmp: string; dataDir: string; runDir: string; startedMs: number; rssBytes: number; links: number; terminals: number }
export interface TermInfo { id: string; pid: number; holdPid: number; name: string; tag: string; title: string; cwd: string; shell: string; cols: number; rows: number; startedMs: number; first: number; end: number; viewers: number; rssBytes: number; exit?: { kind: 'exit' | 'signal'; value: number } }
export interface HostOptions { configFile?: string; identities?: string[]; port?: number; options?: string[] }
export type HostPhase = 'disconnected' | 'connecting' | 'connected' | 'reconnecting' | 'failed'
/* generation grows each time the link was lost for good: streams of an older one are gone and everything is attached again */
export interface HostState { host: string; phase: HostPhase; generation: number; sinceMs: number; retryInMs?: number; rttMs?: number; streams: number; silentMs?: number; error?: { code: number; name: string; message: string }; info?: HostInfo }
export interface DaemonStatus { version: string; pid: number; startedMs: number; origin: string; frameOrigin: string; controlSocket: string; configDir: string; stateDir: string; windows: number; rssBytes: number; hosts: HostState[] }
