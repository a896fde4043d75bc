/* ssh's questions in the workbench: an input box, or a modal question for host keys. */
import type * as vscode from 'vscode'
import type { Presenter } from '../page/prompts'
import { titleOf } from '../page/prompts'

export function workbenchPrompts(api: typeof vscode): Presenter {
  return async (prompt) => {
    const title = titleOf(prompt)
    if (prompt.kind === 'touch') {
      void api.window.showInformationMessage(`${title}. ${prompt.text}`)
      return { answer: '' }
    }
    if (prompt.kind === 'hostkey') {
      const yes = 'Yes, Connect'
      const choice = await api.window.showWarningMessage(title, { modal: true, detail: prompt.text }, yes)
      return choice === yes ? { answer: 'yes' } : { cancel: true }
    }
    const answer = await api.window.showInputBox({ title, prompt: prompt.text, password: !prompt.echo, ignoreFocusOut: true })
    return answer === undefined ? { cancel: true } : { answer }
  }
}
