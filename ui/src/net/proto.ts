/* The generated tables under the names the window uses. */
import { ERRORS, HOLD, LIMITS, type Methods as All, type MethodsOf, type Params } from './proto.gen'

export type { DaemonStatus, ErrorName, ForwardInfo, ForwardSpec, HostInfo, PlainInfo, HostPhase, HostState, HostFolder, KnownHost, PortInfo, TermInfo } from './proto.gen'
export { VERSION } from './proto.gen'
export const errors = Object.values(ERRORS)
export const limits = LIMITS
export const holdFrames = HOLD

export type Methods = { [M in MethodsOf<'DAEMON', 'REQUEST'>]: All[M] }
export type HostCalls = { [M in MethodsOf<'HOST', 'REQUEST'>]: All[M] }
export type Notifications = { [M in MethodsOf<'CLIENT', 'NOTIFICATION'>]: Params<M> }
export type Prompt = Params<'prompt/ask'>
export type PromptAnswer = All['prompt/ask']['result']
export type HostProgress = Params<'host/progress'>
