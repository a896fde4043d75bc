/* What Towline's own extension adds to the workbench: commands, the remote menu, labels, settings. */
export const CATEGORY = 'Remote-SSH'

export const ID = {
  connect: 'towline.connectToHost',
  connectCurrent: 'towline.connectCurrentWindow',
  showLog: 'towline.showLog',
  close: 'towline.closeRemoteConnection',
  reconnect: 'towline.reconnectNow',
  menu: 'towline.showMenu'
} as const

/* scope application: neither the host nor a folder on it may set these */
const SETTINGS = {
  'towline.openUrlsFromHost': {
    type: 'string', scope: 'application', default: 'ask', enum: ['always', 'ask', 'never'],
    enumDescriptions: ['Pages are opened at once.', 'A notification asks first.', 'Nothing is opened.'],
    markdownDescription: 'What happens when a program on the host wants to open a page in your browser (`$BROWSER`). Addresses of the host itself, like `http://localhost:8000`, are opened through a forward.'
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
  return {
    name: 'towline',
    publisher: 'towline',
    version: '0.1.0',
    engines: { vscode: '*' },
    enabledApiProposals: ['contribLabelFormatterWorkspaceTooltip', 'resolvers', 'externalUriOpener'],
    contributes: {
      commands: [
        command(ID.connect, 'Connect to Host...'),
        command(ID.connectCurrent, 'Connect Current Window to Host...'),
        command(ID.showLog, 'Show Log'),
        command(ID.reconnect, 'Reconnect Now'),
        command(ID.close, 'Close Remote Connection'),
        command(ID.menu, 'Show Remote Menu'),
        { command: 'simpleBrowser.show', title: 'Show', category: 'Simple Browser' }
      ],
      menus: {
        commandPalette: [
          { command: ID.reconnect, when: remote },
          { command: ID.close, when: remote },
          { command: ID.menu, when: 'false' },
          { command: 'simpleBrowser.show', when: remote }
        ],
        'statusBar/remoteIndicator': [
          { command: ID.connect, group: 'remote_10_ssh_1@1' },
          { command: ID.connectCurrent, group: 'remote_10_ssh_1@2', when: remote },
          { command: ID.showLog, group: 'remote_10_ssh_2@1' },
          { command: ID.reconnect, group: 'remote_10_ssh_2@2', when: `${remote} && towline.state != connected` },
          { command: ID.close, group: 'remote_10_ssh_3@1', when: remote }
        ]
      },
      configuration: { title: 'Towline', properties: SETTINGS },
      resourceLabelFormatters: authority
        ? [{ scheme: 'vscode-remote', authority, formatting: { label: '${path}', separator: '/', tildify: true, workspaceSuffix: `SSH: ${host}` } }]
        : [],
      viewsWelcome: authority
        ? []
        : [{ view: 'workbench.explorer.emptyView', contents: `Connect to a host to open its folders.\n[Connect to Host...](command:${ID.connect})` }]
    }
  }
}
