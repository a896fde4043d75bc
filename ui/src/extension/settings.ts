/* Settings that Towline adds, under the names that users of VS Code know. Each is obeyed by the window or read by the daemon from the
 * user's settings.json (src/hub/hub_settings.c); what would do nothing here is not offered.
 *
 * Scope application: neither the host nor a folder on it may set these. */
const perHost = { type: 'object', scope: 'application', default: {} } as const

export const SSH_SETTINGS = {
  'remote.SSH.configFile': {
    type: 'string', scope: 'application', default: '',
    markdownDescription: 'The absolute path of a custom SSH configuration file (or one below the home: `~/work/ssh_config`). Empty: `~/.ssh/config`.'
  },
  'remote.SSH.path': {
    type: 'string', scope: 'application', default: '',
    markdownDescription: 'The ssh program: an absolute path, or a name that is looked for in `PATH`. Empty: `ssh`.'
  },
  'remote.SSH.connectTimeout': {
    type: 'integer', scope: 'application', default: 60, minimum: 1, maximum: 3600,
    markdownDescription: 'Seconds until an attempt to reach a host is given up. Time in which a question waits for you does not count.'
  },
  'remote.SSH.enableAgentForwarding': {
    type: 'boolean', scope: 'application', default: true,
    markdownDescription: 'Off: your key agent is not forwarded to hosts, whatever the SSH configuration (`ForwardAgent`) says.'
  },
  'remote.SSH.maxReconnectionAttempts': {
    type: ['integer', 'null'], scope: 'application', default: null, minimum: 0,
    markdownDescription: 'How often a lost connection is tried again before the window says that it is lost for good. `null`: until it works.'
  },
  'remote.SSH.serverInstallPath': {
    ...perHost, additionalProperties: { type: 'string' },
    markdownDescription: 'Where the server goes on a host: a map of host names or patterns to folders, absolute or below the home there, e.g. `{ "build-*": "/scratch/me/towline", "*": "~/tools/towline" }`. The first pattern that fits counts; nothing or an empty text: `~/.towline-server`. Looked at when a host gets connected.'
  },
  'remote.SSH.foldersSortOrder': {
    type: 'string', scope: 'application', default: 'mostRecentlyUsed', enum: ['mostRecentlyUsed', 'alphabetical'],
    enumDescriptions: ['The folder that was opened last comes first.', 'By their paths.'],
    description: 'The order of the folders of a host in the Remote Explorer.'
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

export const TOWLINE_SETTINGS = {
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
  }
} as const
