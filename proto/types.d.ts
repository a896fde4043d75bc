/* Shapes named in methods.def; copied into the generated TypeScript. */
/* network: names the loopback of this machine (boot and network namespace): the same text, the same 127.0.0.1 */
export interface HostInfo { version: string; protocol: number; pid: number; os: string; arch: string; kernel: string; hostname: string; user: string; uid: number; home: string; shell: string; tmp: string; dataDir: string; network?: string; runDir: string; startedMs: number; rssBytes: number; links: number; terminals: number; plain?: PlainInfo }
/* a host that cannot run our server (docs/hosts.md): why, as a sentence and as a name of proto/errors.def; what there is; limits: what is missing, a sentence each */
export interface PlainInfo { why: string; error: string; files: boolean; commands: boolean; limits: string[] }
export interface TermInfo { id: string; pid: number; holdPid: number; name: string; tag: string; title: string; cwd: string; shell: string; cols: number; rows: number; startedMs: number; first: number; end: number; viewers: number; rssBytes: number; exit?: { kind: 'exit' | 'signal'; value: number } }
export interface HostOptions { configFile?: string; identities?: string[]; port?: number; options?: string[] }
export type HostPhase = 'disconnected' | 'connecting' | 'connected' | 'reconnecting' | 'failed'
/* generation grows each time the link was lost for good: streams of an older one are gone and everything is attached again */
export interface HostState { host: string; phase: HostPhase; generation: number; sinceMs: number; notice?: string; retryInMs?: number; rttMs?: number; streams: number; silentMs?: number; error?: { code: number; name: string; message: string }; info?: HostInfo }
export interface HostFolder { path: string; openedMs: number }
/* configured: it stands in the ssh configuration, at file and line; platform: as of the last connection; folders: opened before, most recent first */
export interface KnownHost { name: string; configured: boolean; file?: string; line?: number; phase: HostPhase; lastConnectedMs?: number; platform?: { os: string; arch: string; hostname: string; user: string; version: string }; folders: HostFolder[] }
/* unused: what an ssh configuration cannot hold; overruled: what another part of the configuration says instead; written false: dryRun */
export interface AddedHost { name: string; file: string; line: number; block: string; written: boolean; unused: { option: string; reason: string }[]; overruled: { keyword: string; wanted: string; effective: string }[] }
/* connected: the answer came through the connection there is; dir: where the server is installed on the host; processes: those of every version; face: agent, hold, kernel-hold … */
export interface ServerStatus { host: string; connected: boolean; dir: string; installed: boolean; versions: { name: string; bytes: number; usedMs: number; running: boolean }[]; processes: { pid: number; face: string; version: string }[] }
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
/* url and token: what a Jupyter client needs */
export interface GatewayInfo { host: string; url: string; port: number; token: string; origin?: string }
export type ShutdownTimeout = 'immediately' | 'when idle' | '4' | '8' | '12' | '24' | '168' | 'indefinitely'
/* id: give it to kernel/create; source: where it was found; ready false: reason says why, install what to type on the host */
export interface KernelSpec { id: string; displayName: string; language: string; source: 'kernelspec' | 'venv' | 'conda' | 'pyenv' | 'uv' | 'opt' | 'path'; path: string; version?: string; argv: string[]; interruptMode: 'signal' | 'message'; ready: boolean; reason?: string; install?: string; resources?: string; files?: string[]; metadata?: object }
export type KernelState = 'starting' | 'idle' | 'busy' | 'restarting' | 'dead'
/* uuid: for Jupyter's clients; first, end: offsets of its log; silentMs: since the last heartbeat, while somebody watches; endsAtMs: when the shutdown timeout ends it if nothing happens */
export interface KernelInfo { id: string; uuid: string; pid: number; holdPid: number; name: string; tag: string; notebook: string; kernel: string; displayName: string; language: string; state: KernelState; cwd: string; startedMs: number; activityMs: number; stateSinceMs: number; executions: number; restarts: number; queue: number; inputWanted: boolean; viewers: number; first: number; end: number; rssBytes: number; cpuMs: number; holdRssBytes: number; silentMs: number; shutdownTimeout: ShutdownTimeout; endsAtMs?: number; connectionFile: string; exit?: { kind: 'exit' | 'signal'; value: number } }
export interface KernelExecution { msgId: string; session: string; code: string; sinceMs: number }
/* true at the log's end; kernelInfo: content of kernel_info_reply; input: the input_request that waits for its one answer; cut: something did not fit */
export interface KernelSnapshot { info: KernelInfo; kernelInfo: object | null; running: KernelExecution | null; queue: KernelExecution[]; input: { header: object; content: object } | null; comms: { comm_id: string; target_name: string; data: object; metadata: object }[]; output: string; cut?: boolean }
