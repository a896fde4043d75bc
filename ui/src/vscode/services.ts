/* The services of the workbench: which overrides there are, in which order, and where its state is kept. */
import { IRemoteAgentService, IRemoteExplorerService, ITunnelService, SyncDescriptor, type IEditorOverrideServices } from '@codingame/monaco-vscode-api'
import accessibility from '@codingame/monaco-vscode-accessibility-service-override'
import authentication from '@codingame/monaco-vscode-authentication-service-override'
import bulkEdit from '@codingame/monaco-vscode-bulk-edit-service-override'
import comments from '@codingame/monaco-vscode-comments-service-override'
import configuration from '@codingame/monaco-vscode-configuration-service-override'
import debug from '@codingame/monaco-vscode-debug-service-override'
import dialogs from '@codingame/monaco-vscode-dialogs-service-override'
import emmet from '@codingame/monaco-vscode-emmet-service-override'
import environment from '@codingame/monaco-vscode-environment-service-override'
import explorer from '@codingame/monaco-vscode-explorer-service-override'
import gallery from '@codingame/monaco-vscode-extension-gallery-service-override'
import extensions from '@codingame/monaco-vscode-extensions-service-override'
import host from '@codingame/monaco-vscode-host-service-override'
import interactive from '@codingame/monaco-vscode-interactive-service-override'
import keybindings from '@codingame/monaco-vscode-keybindings-service-override'
import languageDetection from '@codingame/monaco-vscode-language-detection-worker-service-override'
import languages from '@codingame/monaco-vscode-languages-service-override'
import lifecycle from '@codingame/monaco-vscode-lifecycle-service-override'
import log from '@codingame/monaco-vscode-log-service-override'
import markers from '@codingame/monaco-vscode-markers-service-override'
import model from '@codingame/monaco-vscode-model-service-override'
import multiDiff from '@codingame/monaco-vscode-multi-diff-editor-service-override'
import notifications from '@codingame/monaco-vscode-notifications-service-override'
import outline from '@codingame/monaco-vscode-outline-service-override'
import output from '@codingame/monaco-vscode-output-service-override'
import preferences from '@codingame/monaco-vscode-preferences-service-override'
import quickaccess from '@codingame/monaco-vscode-quickaccess-service-override'
import relauncher from '@codingame/monaco-vscode-relauncher-service-override'
import remoteAgent from '@codingame/monaco-vscode-remote-agent-service-override'
import scm from '@codingame/monaco-vscode-scm-service-override'
import search from '@codingame/monaco-vscode-search-service-override'
import secrets from '@codingame/monaco-vscode-secret-storage-service-override'
import snippets from '@codingame/monaco-vscode-snippets-service-override'
import storage, { StorageScope } from '@codingame/monaco-vscode-storage-service-override'
import task from '@codingame/monaco-vscode-task-service-override'
import terminal from '@codingame/monaco-vscode-terminal-service-override'
import testing from '@codingame/monaco-vscode-testing-service-override'
import textmate from '@codingame/monaco-vscode-textmate-service-override'
import theme from '@codingame/monaco-vscode-theme-service-override'
import timeline from '@codingame/monaco-vscode-timeline-service-override'
import userDataProfile from '@codingame/monaco-vscode-user-data-profile-service-override'
import banner from '@codingame/monaco-vscode-view-banner-service-override'
import statusBar from '@codingame/monaco-vscode-view-status-bar-service-override'
import titleBar from '@codingame/monaco-vscode-view-title-bar-service-override'
import walkthrough from '@codingame/monaco-vscode-walkthrough-service-override'
import welcome from '@codingame/monaco-vscode-welcome-service-override'
import workbench from '@codingame/monaco-vscode-workbench-service-override'
import workingCopy from '@codingame/monaco-vscode-working-copy-service-override'
import trust from '@codingame/monaco-vscode-workspace-trust-service-override'
import type { TowlineFileSystem } from '../host/fs'
import type { TowlineTerminals } from '../host/terminal'
import { notebookServices } from './notebookGate'
import { withoutRemoteExtensionHost } from './remoteAgent'
import { StateFile } from './stateFile'
import { TowlineRemoteExplorerService, TowlineTunnelService } from './tunnelServices'

export interface RemoteParts {
  terminals: TowlineTerminals
  agentService: new () => object
}

/** VS Code's state goes to `userData`; `remote` is left out in a window without a host. `notebooksReady`: it is known
 *  how to read notebooks. */
export function services(userData: TowlineFileSystem, remote: RemoteParts | undefined, notebooksReady: Promise<void>): IEditorOverrideServices {
  const extensionServices = extensions({ enableWorkerExtensionHost: true }) as Record<string, unknown>
  if ('extensionService' in extensionServices) withoutRemoteExtensionHost(extensionServices.extensionService)
  return {
    ...log(), ...extensionServices, ...gallery({ webOnly: true }), ...model(), ...notifications(), ...dialogs(), ...configuration(),
    ...keybindings(), ...textmate(), ...theme(), ...languages(), ...debug(), ...preferences(), ...outline(), ...timeline(), ...banner(),
    ...statusBar(), ...titleBar(), ...snippets(), ...output(), ...terminal(remote?.terminals), ...search(), ...markers(),
    ...accessibility(), ...languageDetection(), ...storage({ databaseFactories: databases(userData) }), ...lifecycle(), ...environment(), ...trust(),
    ...workingCopy(), ...scm(), ...testing(), ...notebookServices(notebooksReady), ...welcome(), ...walkthrough(), ...userDataProfile(), ...task(),
    ...comments(), ...emmet(), ...interactive(), ...multiDiff(), ...relauncher(), ...host(), ...explorer(), ...secrets(), ...bulkEdit(),
    ...authentication(), ...remoteAgent({ scanRemoteExtensions: false }),
    ...(remote ? {
      [IRemoteAgentService.toString()]: new SyncDescriptor(remote.agentService, [], true),
      [ITunnelService.toString()]: new SyncDescriptor(TowlineTunnelService, [], true),
      [IRemoteExplorerService.toString()]: new SyncDescriptor(TowlineRemoteExplorerService, [], true)
    } : {}),
    ...workbench(),
    ...quickaccess({ isKeybindingConfigurationVisible: () => true, shouldUseGlobalPicker: () => true })
  }
}

const databases = (files: TowlineFileSystem) => {
  const open = (name: string) => new StateFile(files, name)
  return {
    [StorageScope.APPLICATION]: () => open('application'),
    [StorageScope.PROFILE]: () => open('profile'),
    [StorageScope.WORKSPACE]: (_accessor: unknown, workspace: { id: string }) => open(`workspace-${workspace.id}`)
  }
}
