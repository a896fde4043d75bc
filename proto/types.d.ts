/* Shapes named in methods.def; copied into the generated TypeScript. */
export interface HostInfo { version: string; protocol: number; pid: number; os: string; arch: string; kernel: string; hostname: string; user: string; uid: number; home: string; shell: string; tmp: string; dataDir: string; runDir: string; startedMs: number; rssBytes: number; links: number; terminals: number }
export interface TermInfo { id: string; pid: number; holdPid: number; name: string; tag: string; title: string; cwd: string; shell: string; cols: number; rows: number; startedMs: number; first: number; end: number; viewers: number; rssBytes: number; exit?: { kind: 'exit' | 'signal'; value: number } }
export interface HostOptions { configFile?: string; identities?: string[]; port?: number; options?: string[] }
export type HostPhase = 'disconnected' | 'connecting' | 'connected' | 'reconnecting' | 'failed'
/* generation grows each time the link was lost for good: streams of an older one are gone and everything is attached again */
export interface HostState { host: string; phase: HostPhase; generation: number; sinceMs: number; retryInMs?: number; rttMs?: number; streams: number; silentMs?: number; error?: { code: number; name: string; message: string }; info?: HostInfo }
export interface DaemonStatus { version: string; pid: number; startedMs: number; origin: string; frameOrigin: string; controlSocket: string; configDir: string; stateDir: string; windows: number; rssBytes: number; hosts: HostState[] }
/* a listener on the host. address as bound (0.0.0.0, 127.0.0.1, ::, ::1, other); owned: below one of this user's terminals, tasks, debug runs or kernels; term: that terminal */
export interface PortInfo { port: number; address: string; family: 4 | 6; uid: number; pid?: number; process?: string; command?: string; cwd?: string; owned: boolean; term?: string; kernel?: string }
export type ForwardKind = 'local' | 'remote' | 'socks'
export type ForwardSource = 'user' | 'auto' | 'config' | 'default' | 'command'
/* waiting: the host is away, or what listens there is not up yet. For kind remote, local* is where the connections go on this machine (proxy: its internet) and target* where the host listens; for socks, target* is empty.
   A path takes the place of address and port; proxyUrl: what programs on the host use, with its password. bytesIn came from the host, bytesOut went there. */
export interface ForwardInfo { id: string; host: string; kind: ForwardKind; localAddress: string; localPort: number; localPath?: string; targetHost: string; targetPort: number; targetPath?: string; proxy?: boolean; proxyUrl?: string; label?: string; source: ForwardSource; protocol?: 'http' | 'https'; process?: string; connections: number; bytesIn: number; bytesOut: number; state: 'listening' | 'waiting' | 'failed'; error?: { code: number; name: string; message: string } }
/* localAddress: localhost (127.0.0.1 and ::1; the default), allInterfaces, or an address. elevate: the port may need more rights, which an error names */
export interface ForwardSpec { host: string; kind?: ForwardKind; localAddress?: string; localPort?: number; localPath?: string; targetHost?: string; targetPort?: number; targetPath?: string; proxy?: boolean; label?: string; source?: ForwardSource; protocol?: 'http' | 'https'; process?: string; requireLocalPort?: boolean; elevate?: boolean }
