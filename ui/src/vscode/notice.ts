/* A notification that can be taken back: the extension API has none. */
import { INotificationService, getService } from '@codingame/monaco-vscode-api'
import { Severity } from '@codingame/monaco-vscode-api/vscode/vs/platform/notification/common/notification'

export interface Notice {
  close(): void
}

/** An error with buttons; it goes with the first of them, or when it is closed. */
export async function showError(message: string, choices: { label: string; run: () => void }[]): Promise<Notice> {
  return (await getService(INotificationService)).prompt(Severity.Error, message, choices)
}
