/* The beginning: small, so that the page answers at once. The workbench (many megabytes) loads while the host is connected. */
import { Control } from './net/control'
import { TowlineError, causeOf } from './net/errors'
import { VERSION, type Prompt } from './net/proto'
import { Endpoint } from './net/socket'
import { HostConnection } from './host/connection'
import { addressOf, takeAddress } from './page/address'
import { Prompts, dismissPage } from './page/prompts'
import { Skeleton } from './page/skeleton'

const address = takeAddress()
const skeleton = new Skeleton()
const prompts = new Prompts()
const secure = location.protocol === 'https:'
const endpoint = new Endpoint(`${secure ? 'wss' : 'ws'}://${location.host}/ws`, address.token, VERSION)
const control = new Control(endpoint)

control.onRequest = (method, params) => {
  dismissPage()
  if (method !== 'prompt/ask') throw TowlineError.of('no_method', `answer ${method}`)
  return prompts.ask(params as Prompt)
}
control.onPhase.on((phase) => {
  if (phase === 'lost') skeleton.busy('The local daemon does not answer. Trying again… (it starts with any towline command)')
})
control.start()

/* the same address with a new token, opened in this tab: only the fragment changes, so the browser does not load the page again */
window.addEventListener('hashchange', () => {
  if (!location.hash.includes('token=')) return
  takeAddress()
  location.reload()
})

const bundle = import('./workbench')
bundle.catch(() => {})

async function main(): Promise<void> {
  let hello
  try {
    hello = await control.whenOpen()
  } catch (error) {
    skeleton.failed(words(error), [])
    return
  }
  let connection: HostConnection | undefined
  if (address.host) {
    connection = await connect(address.host)
  }
  skeleton.busy('Loading the workbench…')
  try {
    const { startWorkbench } = await bundle
    await startWorkbench({ address, hello, control, endpoint, connection, prompts, skeleton })
  } catch (error) {
    console.error(error)
    skeleton.failed(`The workbench could not start: ${words(error)}`, [{ label: 'Reload', run: () => location.reload() }])
  }
}

/** Until it is connected; the user decides about failures. */
async function connect(host: string): Promise<HostConnection> {
  const connection = new HostConnection(control, endpoint, host)
  skeleton.title(`${address.folder ?? ''} [SSH: ${host}] - Towline`, `>< SSH: ${host}`)
  document.title = `[SSH: ${host}] - Towline`
  connection.onProgress.on((progress) => skeleton.progress(progress))
  for (;;) {
    skeleton.busy(`Connecting to ${host}…`)
    try {
      await connection.connect()
      dismissPage()
      return connection
    } catch (error) {
      dismissPage()
      await choose(host, error)
      skeleton.clearSteps()
    }
  }
}

function choose(host: string, error: unknown): Promise<void> {
  return new Promise((again) => {
    skeleton.failed(`Could not connect to ${host}.\n${causeOf(error)}`, [
      { label: 'Try Again', run: again },
      {
        label: 'Show Log',
        run: () => void control.call('daemon/log', { host, lines: 200 }).then((log) => skeleton.showLog(log.text || '(the log is empty)'), (e) => skeleton.showLog(words(e)))
      },
      { label: 'Other Host…', run: () => (location.href = addressOf({}, false)) }
    ])
  })
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

void main()
