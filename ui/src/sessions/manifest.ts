/* What sessions add to the manifest of Towline's extension: notebooks, renderers, views, commands, keys, settings. */

export const CMD = {
  newConsole: 'towline.console.start',
  newPython: 'towline.console.startPython',
  newR: 'towline.console.startR',
  select: 'towline.console.select',
  focusConsole: 'towline.console.focus',
  run: 'towline.console.executeCode',
  runFile: 'towline.console.executeFile',
  refreshSpecs: 'towline.interpreters.refresh',
  attach: 'towline.sessions.attach',
  interrupt: 'towline.sessions.interrupt',
  restart: 'towline.sessions.restart',
  end: 'towline.sessions.end',
  rename: 'towline.sessions.rename',
  refresh: 'towline.sessions.refresh',
  output: 'towline.sessions.showLog',
  answer: 'towline.sessions.answer',
  interruptHere: 'towline.sessions.interruptHere',
  restartHere: 'towline.sessions.restartHere',
  restartRunAll: 'towline.sessions.restartRunAll',
  newNotebook: 'towline.notebook.new',
  refreshVariables: 'towline.variables.refresh',
  viewData: 'towline.variables.view',
  copyValue: 'towline.variables.copyValue',
  plotPrevious: 'towline.plots.previous',
  plotNext: 'towline.plots.next',
  plotSave: 'towline.plots.save',
  plotCopy: 'towline.plots.copy',
  plotRemove: 'towline.plots.remove',
  plotClear: 'towline.plots.clear'
} as const

export const VIEW = { sessions: 'towline.sessions', variables: 'towline.variables', plots: 'towline.plots' } as const
export const RENDERER = 'towline-renderer'

const RENDERED = [
  'application/vnd.code.notebook.stdout', 'application/vnd.code.notebook.stderr', 'application/vnd.code.notebook.error',
  'text/plain', 'text/html', 'text/latex', 'image/svg+xml', 'image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/bmp',
  'application/json', 'application/javascript'
]

export const SESSION_SETTINGS = {
  'kernelSupervisor.shutdownTimeout': {
    type: 'string', scope: 'window', default: 'immediately', enum: ['immediately', 'when idle', '4', '8', '12', '24', '168', 'indefinitely'],
    enumDescriptions: [
      'Ends idle sessions when their window is closed.', 'Ends sessions when their window is closed and all their code has run.', 'After 4 hours without a window and without work.',
      'After 8 hours without a window and without work.', 'After 12 hours without a window and without work.', 'After 24 hours (1 day) without a window and without work.',
      'After 168 hours (7 days) without a window and without work.', 'Sessions run until they are ended.'
    ],
    markdownDescription: 'When a session on the host ends whose window is closed. Only idle time without any window counts: running code is never ended. A window that vanished (a dead network, a closed browser) is waited for five minutes with the first two values.'
  },
  'plots.historyLength': { type: 'integer', scope: 'window', default: 50, minimum: 1, maximum: 500, description: 'How many plots the Plots pane keeps.' }
} as const

const title = (command: string, name: string, category: string, icon?: string) => ({ command, title: name, category, ...(icon ? { icon: `$(${icon})` } : {}) })

export function sessionContributions() {
  const remote = 'towline.remote'
  const script = 'editorTextFocus && editorLangId =~ /^(python|r)$/ && !notebookEditorFocused && !isInDiffEditor && resourceScheme != vscode-interactive-input && resourceScheme != vscode-notebook-cell'
  const notebook = 'notebookKernel =~ /^towline\\.towline\\//'
  const plots = `view == ${VIEW.plots}`
  return {
    notebooks: [{ type: 'jupyter-notebook', displayName: 'Jupyter Notebook', selector: [{ filenamePattern: '*.ipynb' }], priority: 'default' }],
    notebookRenderer: [
      { id: RENDERER, displayName: 'Towline outputs', entrypoint: './renderer/outputs.js', mimeTypes: RENDERED },
      { id: 'towline-markdown', displayName: 'Mathematics and attachments', entrypoint: { extends: 'vscode.markdown-it-renderer', path: './renderer/markdownCells.js' } }
    ],
    languages: [{ id: 'raw', aliases: ['Raw'] }],
    viewsContainers: {
      activitybar: [{ id: 'towline-sessions', title: 'Sessions', icon: '$(server-process)' }],
      secondarySidebar: [{ id: 'towline-panes', title: 'Session', icon: '$(symbol-variable)' }]
    },
    views: {
      'towline-sessions': [{ id: VIEW.sessions, name: 'Sessions', icon: '$(server-process)', when: remote }],
      'towline-panes': [
        { id: VIEW.variables, name: 'Variables', icon: '$(symbol-variable)', when: remote },
        { id: VIEW.plots, name: 'Plots', type: 'webview', icon: '$(graph)', when: remote }
      ]
    },
    viewsWelcome: [
      { view: VIEW.sessions, contents: `No session runs on this host.\n[Start a Console](command:${CMD.newConsole})\nSessions go on when the window is closed.` },
      { view: VIEW.variables, contents: `No session is in front.\n[Start a Console](command:${CMD.newConsole})` }
    ],
    commands: [
      title(CMD.newConsole, 'Start Console...', 'Console', 'add'), title(CMD.newPython, 'Start Python Console', 'Console'), title(CMD.newR, 'Start R Console', 'Console'),
      title(CMD.select, 'Switch to Console...', 'Console'), title(CMD.focusConsole, 'Focus Console', 'Console'), title(CMD.run, 'Run Line or Selection', 'Console', 'play'), title(CMD.runFile, 'Run File in Console', 'Console', 'run-all'),
      title(CMD.refreshSpecs, 'Discover All Interpreters', 'Interpreter'), title(CMD.newNotebook, 'New Notebook', 'Notebook'),
      title(CMD.attach, 'Open', 'Sessions', 'window'), title(CMD.interrupt, 'Interrupt', 'Sessions', 'debug-stop'), title(CMD.restart, 'Restart', 'Sessions', 'debug-restart'),
      title(CMD.end, 'End Session', 'Sessions', 'trash'), title(CMD.rename, 'Rename...', 'Sessions'), title(CMD.refresh, 'Refresh', 'Sessions', 'refresh'), title(CMD.output, 'Show Log', 'Sessions'), title(CMD.answer, 'Answer the Waiting Question...', 'Sessions', 'comment'),
      title(CMD.interruptHere, 'Interrupt', 'Session', 'debug-stop'), title(CMD.restartHere, 'Restart', 'Session', 'debug-restart'), title(CMD.restartRunAll, 'Restart and Run All', 'Notebook', 'run-all'),
      title(CMD.refreshVariables, 'Refresh', 'Variables', 'refresh'), title(CMD.viewData, 'View Data', 'Variables', 'table'), title(CMD.copyValue, 'Copy Value', 'Variables'),
      title(CMD.plotPrevious, 'Previous Plot', 'Plots', 'arrow-left'), title(CMD.plotNext, 'Next Plot', 'Plots', 'arrow-right'), title(CMD.plotSave, 'Save Plot As...', 'Plots', 'save'),
      title(CMD.plotCopy, 'Copy Plot', 'Plots', 'copy'), title(CMD.plotRemove, 'Remove Plot', 'Plots', 'close'), title(CMD.plotClear, 'Clear All Plots', 'Plots', 'clear-all')
    ],
    keybindings: [
      { command: CMD.run, key: 'ctrl+enter', mac: 'cmd+enter', when: script },
      { command: CMD.runFile, key: 'ctrl+shift+enter', mac: 'cmd+shift+enter', when: script }
    ],
    menus: {
      commandPalette: [
        ...[CMD.attach, CMD.interrupt, CMD.restart, CMD.end, CMD.rename, CMD.viewData, CMD.copyValue].map((command) => ({ command, when: 'false' })),
        ...[CMD.newConsole, CMD.newPython, CMD.newR, CMD.select, CMD.refreshSpecs, CMD.newNotebook, CMD.run, CMD.runFile, CMD.refresh, CMD.output].map((command) => ({ command, when: remote }))
      ],
      'view/title': [
        { command: CMD.newConsole, when: `view == ${VIEW.sessions}`, group: 'navigation@1' }, { command: CMD.refresh, when: `view == ${VIEW.sessions}`, group: 'navigation@2' },
        { command: CMD.refreshVariables, when: `view == ${VIEW.variables}`, group: 'navigation' },
        { command: CMD.plotPrevious, when: plots, group: 'navigation@1' }, { command: CMD.plotNext, when: plots, group: 'navigation@2' }, { command: CMD.plotSave, when: plots, group: 'navigation@3' },
        { command: CMD.plotCopy, when: plots, group: 'navigation@4' }, { command: CMD.plotRemove, when: plots, group: '1_plots@1' }, { command: CMD.plotClear, when: plots, group: '1_plots@2' }
      ],
      'view/item/context': [
        { command: CMD.answer, when: `view == ${VIEW.sessions} && viewItem =~ /input/`, group: 'inline@0' },
        { command: CMD.interrupt, when: `view == ${VIEW.sessions} && viewItem =~ /busy/`, group: 'inline@1' },
        { command: CMD.restart, when: `view == ${VIEW.sessions}`, group: 'inline@2' },
        { command: CMD.end, when: `view == ${VIEW.sessions}`, group: 'inline@3' },
        { command: CMD.attach, when: `view == ${VIEW.sessions}`, group: '1_open@1' },
        { command: CMD.interrupt, when: `view == ${VIEW.sessions}`, group: '2_work@1' }, { command: CMD.restart, when: `view == ${VIEW.sessions}`, group: '2_work@2' },
        { command: CMD.rename, when: `view == ${VIEW.sessions}`, group: '3_change@1' }, { command: CMD.end, when: `view == ${VIEW.sessions}`, group: '3_change@2' },
        { command: CMD.viewData, when: `view == ${VIEW.variables} && viewItem =~ /table/`, group: 'inline' },
        { command: CMD.viewData, when: `view == ${VIEW.variables} && viewItem =~ /table/`, group: '1_open' },
        { command: CMD.copyValue, when: `view == ${VIEW.variables}`, group: '2_copy' }
      ],
      'notebook/toolbar': [
        { command: CMD.restartHere, when: notebook, group: 'navigation/execute@5' },
        { command: CMD.restartRunAll, when: `${notebook} && notebookType == jupyter-notebook`, group: 'navigation/execute@6' }
      ],
      'interactive/toolbar': [
        { command: CMD.restartHere, when: notebook, group: 'navigation@2' }
      ],
      'editor/title/run': [
        { command: CMD.run, when: 'resourceLangId =~ /^(python|r)$/ && towline.remote', group: 'navigation@1' }, { command: CMD.runFile, when: 'resourceLangId =~ /^(python|r)$/ && towline.remote', group: 'navigation@2' }
      ],
      'file/newFile': [{ command: CMD.newNotebook, group: 'notebook' }]
    }
  }
}
