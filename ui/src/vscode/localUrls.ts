/* Addresses like http://localhost:8000 mean the host here: clicked in a terminal, given by an extension, or sent by a program of
 * the host ($BROWSER). They are opened through a forward, which is there before the page is asked for; where the same port was not
 * free here the address gets the other one. */
import { IConfigurationService, IOpenerService, getService } from '@codingame/monaco-vscode-api'
import type { URI } from '@codingame/monaco-vscode-api/vscode/vs/base/common/uri'
import type * as vscode from 'vscode'
import type { HostPorts } from '../host/ports'
import type { Control } from '../net/control'
import type { PortsView } from './ports'

const LOCAL = /^(localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\]|\[::\]):(\d{1,5})$/
const SETTING = 'towline.openUrlsFromHost'

/** The host's port an address leads to, if it is one of a web server on the host itself. */
export function localPortOf(uri: { scheme: string; authority: string }): number | undefined {
  if (uri.scheme !== 'http' && uri.scheme !== 'https') return undefined
  const port = Number(LOCAL.exec(uri.authority)?.[2])
  return port > 0 && port < 65536 ? port : undefined
}

/** Opens what the host asks for, by the user's rule; everything local goes through forwards. */
export async function openLocalUrls(api: typeof vscode, control: Control, host: string, view: PortsView, ports: HostPorts): Promise<void> {
  const [opener, configuration] = await Promise.all([getService(IOpenerService), getService(IConfigurationService)])
  opener.registerExternalUriResolver({
    async resolveExternalUri(uri, options) {
      const port = options?.allowTunneling ? localPortOf(uri) : undefined
      if (port === undefined) return undefined
      /* an address of this side already, as the preview's own button gives it */
      if (view.atLocalPort(port) && !ports.find('localhost', port)) return undefined
      const local = await forwarded(view, port)
      return local === undefined ? undefined : { resolved: uri.with({ authority: local }) as URI, dispose() {} }
    }
  })

  /* one question at a time for one address: a program that asks in a loop does not fill the window */
  const asking = new Set<string>()
  control.on('url/open', async ({ host: from, url }) => {
    if (from !== host || !/^https?:\/\//i.test(url)) return
    const rule = configuration.getValue<string>(SETTING)
    if (rule === 'never' || asking.has(url)) return
    if (rule === 'always') {
      await opener.open(url, { openExternal: true, allowTunneling: true, allowContributedOpeners: true })
      return
    }
    asking.add(url)
    try {
      const inBrowser = 'Open in Browser'
      const preview = 'Preview in Editor'
      const near = localPortOf(api.Uri.parse(url)) !== undefined
      const choice = await api.window.showInformationMessage(`A program on ${host} wants to open ${shorten(url)}`, ...(near ? [inBrowser, preview] : [inBrowser]))
      if (choice === inBrowser) await opener.open(url, { openExternal: true, allowTunneling: true })
      if (choice === preview) await opener.open(url, { openExternal: true, allowTunneling: true, allowContributedOpeners: 'simpleBrowser.open' })
    } finally {
      asking.delete(url)
    }
  })
}

/** Forwards the port, if it is not yet; answers the local authority. */
async function forwarded(view: PortsView, port: number): Promise<string | undefined> {
  await view.explorer.whenRestored()
  const there = view.localOf('localhost', port)
  if (there) return there
  const tunnel = await view.explorer.forward({ remote: { host: 'localhost', port } })
  return tunnel && typeof tunnel !== 'string' ? tunnel.localAddress : undefined
}

function shorten(url: string): string {
  return url.length > 200 ? `${url.slice(0, 199)}…` : url
}
