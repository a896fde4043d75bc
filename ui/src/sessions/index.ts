/* Python, R and other sessions in the window: puts the parts together. */
import { Consoles } from './consoles'
import { watchLeaving } from './leaving'
import { registerCommands } from './commands'
import { askForInput } from './input'
import { registerLanguage } from './language'
import { Notebooks } from './notebooks'
import { Plots } from './plots'
import { Sessions, type SessionsParts } from './service'
import { registerSessionsView } from './sessionsView'
import { registerVariables } from './variables'

export interface SessionViews {
  sessions: Sessions
  consoles: Consoles
  notebooks: Notebooks
  plots: Plots
}

/** Registers everything; what runs already is attached in the background. */
export function registerSessions(parts: SessionsParts): SessionViews {
  watchLeaving()
  const sessions = new Sessions(parts)
  const notebooks = new Notebooks(sessions)
  const consoles = new Consoles(sessions)
  const views = { sessions, consoles, notebooks, plots: new Plots(sessions) }
  sessions.onAttached.on((s) => askForInput(sessions, s))
  registerCommands(views)
  registerSessionsView(views)
  registerVariables(sessions)
  registerLanguage(views)
  void begin(views)
  return views
}

async function begin({ sessions, consoles, notebooks }: SessionViews): Promise<void> {
  try {
    await sessions.load()
    await Promise.all([sessions.findSpecs(), sessions.refresh()])
    notebooks.start()
    await consoles.restore()
  } catch (error) {
    sessions.log.appendLine(`the sessions of this host could not be read: ${error instanceof Error ? error.message : error}`)
  }
}
