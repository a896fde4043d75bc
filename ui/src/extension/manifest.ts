/* What Towline's own extension adds to the workbench: commands, the remote menu, the Remote Explorer, labels. */
import { SESSION_SETTINGS, sessionContributions } from '../sessions/manifest'
import { SSH_SETTINGS, TOWLINE_SETTINGS } from './settings'

export const CATEGORY = 'Remote-SSH'
export const TARGETS_VIEW = 'sshTargets'

/* the first ones have the names they have in VS Code, which keybindings and other extensions know */
export const ID = {
  connect: 'opensshremotes.openEmptyWindow',
  connectCurrent: 'opensshremotes.openEmptyWindowInCurrentWindow',
  addHost: 'opensshremotes.addNewSshHost',
  openConfig: 'opensshremotes.openConfigFile',
  killServer: 'opensshremotes.cleanRemoteServer',
  uninstallServer: 'opensshremotes.cleanDevBox',
  showLog: 'opensshremotes.showLog',
  settings: 'opensshremotes.settings',
  close: 'towline.closeRemoteConnection',
  reconnect: 'towline.reconnectNow',
  menu: 'towline.showMenu',
  lend: 'towline.lendInternet',
  stopLending: 'towline.stopLendingInternet',
  copyLending: 'towline.copyLendInternetLines',
  lending: 'towline.manageLendInternet',
  otherForwards: 'towline.showOtherForwards',
  socks: 'towline.startSocksProxy',
  reverse: 'towline.forwardToHost',
  targetsRefresh: 'towline.targets.refresh',
  targetOpen: 'towline.targets.open',
  targetOpenNew: 'towline.targets.openInNewWindow',
  targetForgetFolder: 'towline.targets.forgetFolder',
  targetConfigure: 'towline.targets.configure',
  targetRemove: 'towline.targets.remove'
} as const

export function manifest(authority: string | undefined, host: string | undefined) {
  const command = (id: string, title: string, icon?: string) => ({ command: id, title, category: CATEGORY, ...(icon ? { icon: `$(${icon})` } : {}) })
  const inView = `view == ${TARGETS_VIEW}`
  const isHost = `${inView} && viewItem =~ /^host/`
  const isFolder = `${inView} && viewItem == folder`
  const remote = 'towline.remote'
  const lends = 'towline.lendsInternet'
  const sessions = authority ? sessionContributions() : undefined
  return {
    name: 'towline',
    displayName: 'Towline',
    publisher: 'towline',
    version: '0.1.0',
    engines: { vscode: '*' },
    enabledApiProposals: ['contribLabelFormatterWorkspaceTooltip', 'contribViewsRemote', 'resolvers', 'externalUriOpener'],
    contributes: {
      notebooks: sessions?.notebooks,
      notebookRenderer: sessions?.notebookRenderer,
      languages: sessions?.languages,
      viewsContainers: sessions?.viewsContainers,
      views: { ...sessions?.views, remote: [{ id: TARGETS_VIEW, name: 'SSH', group: 'targets@1', remoteName: 'ssh-remote', icon: '$(remote-explorer)' }] },
      keybindings: sessions?.keybindings,
      commands: [
        ...(sessions?.commands ?? []),
        command(ID.connect, 'Connect to Host...'),
        command(ID.connectCurrent, 'Connect Current Window to Host...'),
        command(ID.addHost, 'Add New SSH Host...', 'add'),
        command(ID.openConfig, 'Open SSH Configuration File...', 'gear'),
        command(ID.killServer, 'Kill Server on Host...'),
        command(ID.uninstallServer, 'Uninstall Server from Host...'),
        command(ID.showLog, 'Show Log'),
        command(ID.settings, 'Settings'),
        command(ID.reconnect, 'Reconnect Now'),
        command(ID.close, 'Close Remote Connection'),
        command(ID.menu, 'Show Remote Menu'),
        command(ID.lend, "Lend This Machine's Internet to the Host"),
        command(ID.stopLending, "Stop Lending This Machine's Internet"),
        command(ID.copyLending, 'Copy Lines for the Lent Internet'),
        command(ID.otherForwards, 'Show Other Forwards'),
        command(ID.socks, 'Start a SOCKS Proxy'),
        command(ID.reverse, 'Forward a Port of This Machine to the Host...'),
        command(ID.targetsRefresh, 'Refresh', 'refresh'),
        command(ID.targetOpen, 'Connect in Current Window', 'arrow-right'),
        command(ID.targetOpenNew, 'Connect in New Window', 'empty-window'),
        command(ID.targetForgetFolder, 'Remove From Recent List', 'close'),
        command(ID.targetConfigure, 'Configure'),
        command(ID.targetRemove, 'Remove Host...'),
        { command: 'simpleBrowser.show', title: 'Show', category: 'Simple Browser' }
      ],
      menus: {
        ...sessions?.menus,
        commandPalette: [
          ...(sessions?.menus.commandPalette ?? []),
          { command: ID.reconnect, when: remote },
          { command: ID.close, when: remote },
          ...[ID.menu, ID.targetOpen, ID.targetOpenNew, ID.targetForgetFolder, ID.targetConfigure, ID.targetRemove, ID.targetsRefresh].map((id) => ({ command: id, when: 'false' })),
          { command: ID.lend, when: `${remote} && !${lends}` },
          { command: ID.stopLending, when: `${remote} && ${lends}` },
          { command: ID.copyLending, when: `${remote} && ${lends}` },
          { command: ID.socks, when: remote },
          { command: ID.reverse, when: remote },
          { command: ID.otherForwards, when: `${remote} && towline.hasOtherForwards` },
          { command: 'simpleBrowser.show', when: remote }
        ],
        'statusBar/remoteIndicator': [
          { command: ID.connect, group: 'remote_10_ssh_1@1' },
          { command: ID.connectCurrent, group: 'remote_10_ssh_1@2', when: remote },
          { command: ID.addHost, group: 'remote_10_ssh_1@3' },
          { command: ID.openConfig, group: 'remote_10_ssh_1@4' },
          { command: ID.showLog, group: 'remote_10_ssh_2@1' },
          { command: ID.settings, group: 'remote_10_ssh_2@2' },
          { command: ID.lend, group: 'remote_10_ssh_2@3', when: `${remote} && !${lends}` },
          { command: ID.stopLending, group: 'remote_10_ssh_2@3', when: `${remote} && ${lends}` },
          { command: ID.reconnect, group: 'remote_10_ssh_3@1', when: `${remote} && towline.state != connected` },
          { command: ID.killServer, group: 'remote_10_ssh_3@2', when: remote },
          { command: ID.close, group: 'remote_10_ssh_3@3', when: remote }
        ],
        'view/title': [
          ...(sessions?.menus['view/title'] ?? []),
          { command: ID.addHost, group: 'navigation@1', when: inView },
          { command: ID.openConfig, group: 'navigation@2', when: inView },
          { command: ID.targetsRefresh, group: 'navigation@3', when: inView }
        ],
        'view/item/context': [
          ...(sessions?.menus['view/item/context'] ?? []),
          ...['inline', 'navigation'].flatMap((group) => [
            { command: ID.targetOpen, group: `${group}@1`, when: `${isHost} || ${isFolder}` },
            { command: ID.targetOpenNew, group: `${group}@2`, when: `${isHost} || ${isFolder}` },
            { command: ID.targetForgetFolder, group: `${group}@3`, when: isFolder }
          ]),
          { command: ID.targetConfigure, group: 'ssh_1@1', when: `${isHost} && viewItem =~ /configured/` },
          { command: ID.killServer, group: 'ssh_2@1', when: isHost },
          { command: ID.uninstallServer, group: 'ssh_2@2', when: isHost },
          { command: ID.targetRemove, group: 'ssh_3@1', when: isHost }
        ]
      },
      configuration: [{ title: 'Remote-SSH', properties: SSH_SETTINGS }, { title: 'Towline', properties: { ...TOWLINE_SETTINGS, ...SESSION_SETTINGS } }],
      resourceLabelFormatters: authority
        ? [{ scheme: 'vscode-remote', authority, formatting: { label: '${path}', separator: '/', tildify: true, workspaceSuffix: `SSH: ${host}` } }]
        : [],
      viewsWelcome: sessions
        ? sessions.viewsWelcome
        : [{ view: 'workbench.explorer.emptyView', contents: `Connect to a host to open its folders.\n[Connect to Host...](command:${ID.connect})` }]
    }
  }
}
