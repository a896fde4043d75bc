/* Our defaults; the user's settings win. */
export const CONFIGURATION: Record<string, unknown> = {
  'window.title': '${dirty}${activeEditorShort}${separator}${rootName}${separator}${remoteName}${separator}${appName}',
  'files.autoSave': 'off',
  'files.hotExit': 'onExitAndWindowClose',
  'telemetry.telemetryLevel': 'off',
  'chat.disableAIFeatures': true,
  'chat.commandCenter.enabled': false,
  'security.workspace.trust.enabled': false,
  'workbench.startupEditor': 'none',
  'workbench.iconTheme': 'vs-seti',
  'workbench.enableExperiments': false,
  'workbench.settings.enableNaturalLanguageSearch': false,
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
  'extensions.ignoreRecommendations': true,
  'interactiveWindow.executeWithShiftEnter': false,
  'interactiveWindow.collapseCellInputCode': 'never',
  /* the program's own title is the best name of a tab */
  'terminal.integrated.tabs.title': '${sequence}',
  'terminal.integrated.tabs.description': '${task}${separator}${local}',
  'terminal.integrated.scrollback': 5000,
  'npm.fetchOnlinePackageInfo': false,
  'json.schemaDownload.enable': false,
  'update.showReleaseNotes': false
}

/* a browser test reads the screen of a terminal, which only the DOM renderer has as text */
export const TEST_CONFIGURATION: Record<string, unknown> = { 'terminal.integrated.gpuAcceleration': 'off' }

export const PRODUCT = {
  nameShort: 'Towline',
  nameLong: 'Towline',
  applicationName: 'towline',
  enableTelemetry: false,
  /* without this VS Code waits ten seconds for a sign-in that is not there */
  defaultChatAgent: undefined,
  extensionsGallery: undefined
}
