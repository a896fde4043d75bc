/* input() and readline(): the session waits for one answer, from whatever window. */
import type { InputWanted, KernelSession } from '../kernel/session'
import type { Sessions } from './service'

const asking = new WeakMap<KernelSession, () => void>()

export function askForInput(sessions: Sessions, session: KernelSession): void {
  session.onInput.on((wanted) => {
    asking.get(session)?.()
    asking.delete(session)
    sessions.onChanged.fire()
    if (wanted) void ask(sessions, session, wanted)
  })
}

/** Asks; an answer from elsewhere takes the question away. Escape leaves the code waiting. */
export async function ask(sessions: Sessions, session: KernelSession, wanted: InputWanted): Promise<void> {
  const { api } = sessions
  asking.get(session)?.()
  const gone = new api.CancellationTokenSource()
  asking.set(session, () => gone.cancel())
  const value = await api.window.showInputBox({
    title: session.info.name || session.info.displayName, prompt: String(wanted.content.prompt ?? '') || 'The code waits for a line of input', password: !!wanted.content.password, ignoreFocusOut: true
  }, gone.token)
  if (gone.token.isCancellationRequested || session.input !== wanted) return
  asking.delete(session)
  if (value !== undefined) {
    session.answer(wanted, value)
    return
  }
  const answer = 'Answer'
  const interrupt = 'Interrupt'
  const choice = await api.window.showInformationMessage(`${session.info.name || session.info.displayName} waits for input: ${String(wanted.content.prompt ?? '')}`, answer, interrupt)
  if (session.input !== wanted) return
  if (choice === answer) await ask(sessions, session, wanted)
  else if (choice === interrupt) await sessions.interrupt(session.id).catch((error) => sessions.tell(error))
}
