/* What Towline's own extension adds to the workbench: commands, the remote menu, labels, settings. */
import { SESSION_SETTINGS, sessionContributions } from '../sessions/manifest'

export const CATEGORY = 'Remote-SSH'

export const ID = {
  connect: 'towline.connectToHost',
  connectCurrent: 'towline.connectCurrentWindow',
  showLog: 'towline.showLog',
  close: 'towline.closeRemoteConnection',
  reconnect: 'towline.reconnectNow',
  menu: 'towline.showMenu',
  lend: 'towline.lendInternet',
  stopLending: 'towline.stopLendingInternet',
  copyLending: 'towline.copyLendInternetLines',
  lending: 'towline.manageLendInternet',
  otherForwards: 'towline.showOtherForwards',
  socks: 'towline.startSocksProxy',
  reverse: 'towline.forwardToHost'
} as const

/* scope application: neither the host nor a folder on it may set these */
const SETTINGS = {
  'towline.openUrlsFromHost': {
    type: 'string', scope: 'application', default: 'ask', enum: ['always', 'ask', 'never'],
    enumDescriptions: ['Pages are opened at once.', 'A notification asks first.', 'Nothing is opened.'],
    markdownDescription: 'What happens when a program on the host wants to open a page in your browser (`$BROWSER`). Addresses of the host itself, like `http://localhost:8000`, are opened through a forward.'
  },
  'towline.lendInternet.allow': {
    type: 'array', scope: 'application', default: [], items: { type: 'string' },
    markdownDescription: 'Addresses and networks (`10.20.0.0/16`) of this machine that a host to which you lend your internet may reach, besides the public internet. Everything else private stays out of reach.'
  },
  'towline.lendInternet.newTerminals': {
    type: 'boolean', scope: 'application', default: true,
    markdownDescription: 'New terminals use the internet that is lent to the host: `http_proxy` and its kin are set in them.'
  },
  'remote.SSH.defaultForwardedPorts': {
    type: 'array', scope: 'application', default: [],
    markdownDescription: 'Ports that are forwarded on every host you connect to.',
    items: {
      type: 'object', required: ['localPort', 'remotePort'], additionalProperties: false,
      properties: {
        name: { type: 'string', description: 'A name for the Ports view.' },
        localPort: { type: 'integer', minimum: 1, maximum: 65535, description: 'The port on this machine.' },
        remotePort: { type: 'integer', minimum: 1, maximum: 65535, description: 'The port on the host.' }
      }
    }
  }
} as const

export function manifest(authority: string | undefined, host: string | undefined) {
  const command = (id: string, title: string) => ({ command: id, title, category: CATEGORY })
  const remote = 'towline.remote'
  const lends = 'towline.lendsInternet'
  const sessions = authority ? sessionContributions() : undefined
  return {
    name: 'towline',
    displayName: 'Towline',
    publisher: 'towline',
    version: '0.1.0',
    engines: { vscode: '*' },
    enabledApiProposals: ['contribLabelFormatterWorkspaceTooltip', 'resolvers', 'externalUriOpener'],
    contributes: {
      notebooks: sessions?.notebooks,
      notebookRenderer: sessions?.notebookRenderer,
      languages: sessions?.languages,
      viewsContainers: sessions?.viewsContainers,
      views: sessions?.views,
      keybindings: sessions?.keybindings,
      commands: [
        ...(sessions?.commands ?? []),
        command(ID.connect, 'Connect to Host...'),
        command(ID.connectCurrent, 'Connect Current Window to Host...'),
        command(ID.showLog, 'Show Log'),
        command(ID.reconnect, 'Reconnect Now'),
        command(ID.close, 'Close Remote Connection'),
        command(ID.menu, 'Show Remote Menu'),
        command(ID.lend, "Lend This Machine's Internet to the Host"),
        command(ID.stopLending, "Stop Lending This Machine's Internet"),
        command(ID.copyLending, 'Copy Lines for the Lent Internet'),
        command(ID.otherForwards, 'Show Other Forwards'),
        command(ID.socks, 'Start a SOCKS Proxy'),
        command(ID.reverse, 'Forward a Port of This Machine to the Host...'),
        { command: 'simpleBrowser.show', title: 'Show', category: 'Simple Browser' }
      ],
      menus: {
        ...sessions?.menus,
        commandPalette: [
          ...(sessions?.menus.commandPalette ?? []),
          { command: ID.reconnect, when: remote },
          { command: ID.close, when: remote },
          { command: ID.menu, when: 'false' },
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
          { command: ID.showLog, group: 'remote_10_ssh_2@1' },
          { command: ID.reconnect, group: 'remote_10_ssh_2@2', when: `${remote} && towline.state != connected` },
          { command: ID.lend, group: 'remote_10_ssh_2@3', when: `${remote} && !${lends}` },
          { command: ID.stopLending, group: 'remote_10_ssh_2@3', when: `${remote} && ${lends}` },
          { command: ID.close, group: 'remote_10_ssh_3@1', when: remote }
        ]
      },
      configuration: { title: 'Towline', properties: { ...SETTINGS, ...SESSION_SETTINGS } },
      resourceLabelFormatters: authority
        ? [{ scheme: 'vscode-remote', authority, formatting: { label: '${path}', separator: '/', tildify: true, workspaceSuffix: `SSH: ${host}` } }]
        : [],
      viewsWelcome: sessions
        ? sessions.viewsWelcome
        : [{ view: 'workbench.explorer.emptyView', contents: `Connect to a host to open its folders.\n[Connect to Host...](command:${ID.connect})` }]
    }
  }
}
