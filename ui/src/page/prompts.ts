/* ssh's questions, one at a time, in the order they came: in the page's own dialog until the workbench is up, then in VS Code's
 * (`present` is replaced). Answers go nowhere else and are not kept. */
import type { Prompt, PromptAnswer } from '../net/proto'

export type Presenter = (prompt: Prompt) => Promise<PromptAnswer>

export class Prompts {
  present: Presenter = askInPage
  private last: Promise<unknown> = Promise.resolve()

  ask(prompt: Prompt): Promise<PromptAnswer> {
    const next = this.last.then(() => this.present(prompt))
    this.last = next.catch(() => {})
    return next
  }
}

/** A heading for a question. */
export function titleOf(prompt: Prompt): string {
  const again = prompt.attempt > 1 ? ' (once more: the last answer was not accepted)' : ''
  switch (prompt.kind) {
    case 'hostkey':
      return `Is this really ${prompt.host}?`
    case 'passphrase':
      return `Passphrase of a key for ${prompt.host}${again}`
    case 'password':
      return `Password for ${prompt.host}${again}`
    case 'pin':
      return `PIN of the security key for ${prompt.host}${again}`
    case 'touch':
      return `${prompt.host} waits for your security key`
    default:
      return `${prompt.host} asks${again}`
  }
}

const element = <E extends HTMLElement>(id: string) => document.getElementById(id) as E

export function askInPage(prompt: Prompt): Promise<PromptAnswer> {
  const dialog = element<HTMLDialogElement>('prompt')
  const input = element<HTMLInputElement>('prompt-input')
  const ok = element<HTMLButtonElement>('prompt-ok')
  const yesNo = prompt.kind === 'hostkey'
  const told = prompt.kind === 'touch'
  element('prompt-title').textContent = titleOf(prompt)
  element('prompt-text').textContent = prompt.text
  input.hidden = yesNo || told
  input.type = prompt.echo ? 'text' : 'password'
  input.value = ''
  ok.textContent = yesNo ? 'Yes, connect' : 'OK'
  element('prompt-cancel').textContent = yesNo ? 'No' : 'Cancel'
  element('prompt-cancel').hidden = told
  dialog.showModal()
  /* a host key is not confirmed by a stray Enter */
  if (yesNo) element('prompt-cancel').focus()
  else if (!told) input.focus()
  if (told) {
    element<HTMLDialogElement>('prompt').onclose = null
    return Promise.resolve({ answer: '' })
  }
  return new Promise((resolve) => {
    let accepted = false
    element('prompt-cancel').onclick = () => dialog.close()
    dialog.querySelector('form')!.onsubmit = () => {
      accepted = true
    }
    dialog.onclose = () => {
      const answer = yesNo ? 'yes' : input.value
      input.value = ''
      resolve(accepted ? { answer } : { cancel: true })
    }
  })
}

/** Takes away what only informed (kind touch), when something else happens. */
export function dismissPage(): void {
  const dialog = element<HTMLDialogElement>('prompt')
  if (dialog.open && element<HTMLInputElement>('prompt-input').hidden && !dialog.onclose) dialog.close()
}
