/* The Ports view against the real thing (rows E1 E2 E5): Chromium, towlined, ssh, OpenSSH's sshd, towline-host, web servers started
 * in the integrated terminal. TAP. Host and window are one machine here, so a port that a program listens on is never free for its
 * forward: every address is one that had to be rewritten. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chownSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import * as win from './lib.mjs'

const tests = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const stand = spawn('python3', ['-m', 'harness.stand', '3'], { cwd: tests, stdio: ['pipe', 'pipe', 'inherit'] })
const lines = createInterface({ input: stand.stdout })[Symbol.asyncIterator]()
const nextLine = async () => {
  const { value, done } = await lines.next()
  if (done) throw new Error('the stand ended')
  return JSON.parse(value)
}
const order = async (what, more = {}) => {
  stand.stdin.write(JSON.stringify({ do: what, ...more }) + '\n')
  const answer = await nextLine()
  if (answer.error) throw new Error(`${what}: ${answer.error}`)
  return answer
}

const here = await nextLine()
const browser = await win.launch()
let page
const { test, run } = win.tap()
const { waitPort, waitNoPort, portMenu, portText } = win
/* a port nobody uses, of those VS Code tells of */
const freePort = async () => {
  for (let port = 3000 + (process.pid % 5000); ; port++) {
    const server = net.createServer()
    const free = await new Promise((r) => server.once('error', () => r(false)).listen(port, 'localhost', () => server.close(() => r(true))))
    if (free) return port
  }
}
const put = (name, text) => { const file = path.join(here.folder, name); writeFileSync(file, text); chownSync(file, here.uid, -1) }
const local = async (port) => /localhost:(\d+)/.exec((await portText(page, port)).join(' '))[1]
const note = (text) => page.waitForSelector(`.notification-toast:has-text("${text}")`, { timeout: win.DEADLINE })
const newTab = async (act) => {
  const [tab] = await Promise.all([browser.context.waitForEvent('page', { timeout: win.DEADLINE }), act()])
  await tab.waitForURL(/^http:/, { timeout: win.DEADLINE })
  return tab
}
const showView = async () => {
  await page.waitForSelector('.statusbar-item[id="status.forwardedPorts"]', { timeout: win.DEADLINE })
  await win.command(page, '~remote.forwardedPorts.focus')
  await page.waitForSelector('.ports-view', { state: 'attached', timeout: win.DEADLINE })
}
let web, app

test('python -m http.server in the terminal: told, shown, opened', async () => {
  page = await win.openWindow(browser, here.url.replace('#', '&test=1#'))
  await win.waitReady(page)
  await showView()
  await win.openTerminal(page)
  web = await freePort()
  await win.runInTerminal(page, `python3 -m http.server ${web} --bind 127.0.0.1`)
  await note(`running on port ${web} is available`)
  await showView()
  await waitPort(page, web)
  assert.match((await portText(page, web)).join('|'), new RegExp(`localhost:\\d+.*python3 -m http.server ${web}.*Auto Forwarded`))
  await win.shot(browser, page, 'e2e-ports')
  const tab = await newTab(() => page.click('.notification-toast .monaco-button:has-text("Open in Browser")'))
  assert.match(await tab.textContent('body'), /hello\.py/)
  assert.equal(new URL(tab.url()).port, await local(web))
  await tab.click('a:has-text("hello.py")')
  await tab.waitForURL(/hello\.py$/, { timeout: win.DEADLINE }).catch(() => {})
  await tab.close()
})

test('label and local port are changed, the command line sees them', async () => {
  await portMenu(page, web, 'Set Port Label')
  await page.waitForSelector('.ports-view input:visible', { timeout: win.DEADLINE })
  await page.keyboard.type('Files')
  await page.keyboard.press('Enter')
  await waitPort(page, `Files (${web})`)
  const wanted = await freePort()
  await portMenu(page, web, 'Change Local Address Port')
  await page.waitForSelector('.ports-view input:visible', { timeout: win.DEADLINE })
  await page.keyboard.type(String(wanted))
  await page.keyboard.press('Enter')
  await page.waitForSelector(`.ports-view .monaco-list-row:has-text("localhost:${wanted}")`, { timeout: win.DEADLINE })
  assert.match(await (await fetch(`http://localhost:${wanted}/`)).text(), /hello\.py/)
  await win.until(async () => /Files/.test((await order('towline', { argv: ['forward', here.alias] })).stdout), 'the label at the command line')
})

test('a reload brings the forward back, the page in the preview with it', async () => {
  const before = await local(web)
  await portMenu(page, web, 'Preview in Editor')
  const shown = () => win.waitFrame(page, 'hello.py', (f) => new URL(f.url()).port === before)
  await shown()
  await win.shot(browser, page, 'e2e-ports-preview')
  await page.reload()
  await win.waitReady(page)
  await showView()
  await waitPort(page, `Files (${web})`)
  assert.equal(await local(web), before)
  await shown()
  await win.command(page, 'workbench.action.closeAllEditors')
})

test('Ctrl+C in the terminal withdraws the port', async () => {
  await win.command(page, 'workbench.action.terminal.focus')
  await page.waitForFunction(() => document.activeElement?.classList.contains('xterm-helper-textarea'), null, { timeout: win.DEADLINE })
  await page.keyboard.press('Control+c')
  await showView()
  await waitNoPort(page, web)
})

test('an application with WebSocket, redirect and server-sent events works through its forward', async () => {
  put('app.py', APP)
  app = await freePort()
  await win.runInTerminal(page, `clear; python3 app.py ${app}`)
  await win.waitTerminal(page, new RegExp(`http://localhost:${app}/`))
  await showView()
  await waitPort(page, app)
  const tab = await newTab(() => portMenu(page, app, 'Open in Browser'))
  await tab.waitForSelector('#ws:has-text("echo: hello")', { timeout: win.DEADLINE })
  await tab.waitForSelector('#sse:has-text("event 3")', { timeout: win.DEADLINE })
  await tab.goto(`http://localhost:${await local(app)}/old`)
  assert.equal(new URL(tab.url()).pathname, '/new')
  assert.equal(new URL(tab.url()).port, await local(app), 'a redirect by the Host header leads through the forward')
  await tab.close()
})

test('the same application in the viewer inside the window', async () => {
  await showView()
  await portMenu(page, app, 'Preview in Editor')
  const at = await local(app)
  const inViewer = (frame) => new URL(frame.url()).port === at && frame.parentFrame() !== null
  await win.waitFrame(page, 'echo: hello', inViewer)
  await win.waitFrame(page, 'event 3', inViewer)
  await win.shot(browser, page, 'e2e-ports-app')
  await win.command(page, 'workbench.action.closeAllEditors')
})

test('ssh killed: the WebSocket stays open and goes on', async () => {
  const tab = await newTab(() => portMenu(page, app, 'Open in Browser'))
  await tab.waitForSelector('#ws:has-text("echo: hello")', { timeout: win.DEADLINE })
  await order('kill-ssh')
  await tab.evaluate(() => window.ws.send('after'))
  await tab.waitForSelector('#ws:has-text("echo: after")', { timeout: win.DEADLINE })
  assert.equal(await tab.evaluate(() => window.ws.readyState), 1)
  await tab.close()
})

test('the address in the terminal opens through the forward', async () => {
  const opener = (rule) => win.withApi(page, (api, r) => api.workspace.getConfiguration('workbench').update('externalUriOpeners', r ?? undefined, api.ConfigurationTarget.Global), rule)
  await opener({ 'http://localhost:*': 'default' })
  const port = await local(app)
  await win.command(page, 'workbench.action.terminal.focus')
  const tab = await newTab(() => win.command(page, 'workbench.action.terminal.openUrlLink'))
  await tab.waitForSelector('#ws:has-text("echo: hello")', { timeout: win.DEADLINE })
  assert.equal(new URL(tab.url()).port, port)
  await tab.close()
  await opener(null)
})

test('Stop Forwarding ends it; Forward a Port offers it again', async () => {
  await showView()
  await portMenu(page, app, 'Stop Forwarding Port')
  await waitNoPort(page, app)
  await win.command(page, 'remote.tunnel.forwardCommandPalette')
  await page.waitForSelector(`.quick-input-list .monaco-list-row:has-text("python3 app.py ${app}")`, { timeout: win.DEADLINE })
  await page.keyboard.type(String(app))
  await page.keyboard.press('Enter')
  await waitPort(page, app)
  assert.match((await portText(page, app)).join('|'), /User Forwarded/)
})

test('$BROWSER in the terminal: asked, then opened through the forward', async () => {
  await win.openTerminal(page)
  await win.runInTerminal(page, `clear; python3 -m webbrowser http://localhost:${app}/`)
  await note(`wants to open http://localhost:${app}/`)
  const tab = await newTab(() => page.click('.notification-toast .monaco-button:has-text("Open in Browser")'))
  await tab.waitForSelector('#ws:has-text("echo: hello")', { timeout: win.DEADLINE })
  await tab.close()
})

test('towline forward shows in the view, towline unforward takes it away', async () => {
  const port = await freePort()
  await order('towline', { argv: ['forward', here.alias, String(port)] })
  await showView()
  await waitPort(page, port)
  assert.match((await portText(page, port)).join('|'), /Forwarded by a Command/)
  await order('towline', { argv: ['unforward', here.alias, String(port)] })
  await waitNoPort(page, port)
})

test('httpuv, which Shiny stands on, in the viewer: page and WebSocket', async () => {
  put('app.R', SHINY)
  const port = await freePort()
  await win.openTerminal(page)
  await win.runInTerminal(page, `clear; Rscript app.R ${port}`)
  await showView()
  await waitPort(page, port)
  await win.until(async () => (await fetch(`http://localhost:${await local(port)}/`).then((r) => r.text(), () => '')).includes('WebSocket'), 'the page')
  await portMenu(page, port, 'Preview in Editor')
  await win.waitFrame(page, 'R says: 42')
  await win.shot(browser, page, 'e2e-ports-httpuv')
  await win.command(page, 'workbench.action.closeAllEditors')
})

test('the internet lent from the window: a new terminal asks this machine, which keeps its own networks to itself', async () => {
  await win.command(page, 'towline.lendInternet')
  const lent = '.statusbar-item[id*="towline.lending"]:has-text("Internet lent")'
  await page.waitForSelector(lent, { timeout: win.DEADLINE })
  await win.openTerminal(page)
  await win.runInTerminal(page, 'clear; python3 -c "import urllib.request as u; u.urlopen(\'http://10.1.2.3/\')" 2>&1 | tail -1')
  await win.waitTerminal(page, /HTTP Error 403: Forbidden/)
  await win.withApi(page, (api) => api.commands.executeCommand('notifications.clearAll'))
  await win.command(page, 'towline.stopLendingInternet')
  await page.waitForSelector(lent, { state: 'detached', timeout: win.DEADLINE })
  await win.until(async () => !/internet/.test((await order('towline', { argv: ['forward', here.alias] })).stdout), 'its end at the command line')
})

test('no policy was broken, no error was left', () => {
  assert.deepEqual(page.problems, [])
})

/* a page with a WebSocket echo, server-sent events and a redirect made from the Host header; standard library only */
const APP = String.raw`
import base64, hashlib, struct, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"""<!doctype html><p id=ws></p><p id=sse></p><script>
window.ws = new WebSocket('ws://' + location.host + '/ws')
ws.onopen = () => ws.send('hello')
ws.onmessage = (e) => document.getElementById('ws').textContent += ' ' + e.data
const events = new EventSource('/events')
events.onmessage = (e) => { document.getElementById('sse').textContent += ' ' + e.data; if (e.data === 'event 3') events.close() }
</script>"""

class App(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *a):
        pass

    def do_GET(self):
        if self.path == '/ws':
            return self.echo()
        if self.path == '/old':
            self.send_response(302)
            self.send_header('Location', 'http://' + self.headers['Host'] + '/new')
            self.send_header('Content-Length', '0')
            return self.end_headers()
        body = b''.join(b'data: event %d\n\n' % n for n in (1, 2, 3)) if self.path == '/events' else PAGE
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream' if self.path == '/events' else 'text/html')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def echo(self):
        key = self.headers['Sec-WebSocket-Key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
        self.send_response(101)
        self.send_header('Upgrade', 'websocket')
        self.send_header('Connection', 'Upgrade')
        self.send_header('Sec-WebSocket-Accept', base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 15 == 8:
                return
            mask = self.rfile.read(4)
            text = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(head[1] & 127)))
            out = b'echo: ' + text
            self.wfile.write(struct.pack('!BB', 0x81, len(out)) + out)
            self.wfile.flush()

# a page that is closed resets its connections: no matter for the terminal
ThreadingHTTPServer.handle_error = lambda *a: None
port = int(sys.argv[1])
print('listening on http://localhost:%d/' % port, flush=True)
ThreadingHTTPServer(('127.0.0.1', port), App).serve_forever()
`

/* a page whose numbers come from R over a WebSocket */
const SHINY = String.raw`
page <- paste0("<!doctype html><h1>httpuv</h1><p id=out></p><script>",
  "const ws = new WebSocket('ws://' + location.host + '/'); ws.onopen = () => ws.send('6 * 7');",
  "ws.onmessage = (e) => document.getElementById('out').textContent = 'R says: ' + e.data</script>")
httpuv::runServer('127.0.0.1', as.integer(commandArgs(TRUE)[1]), list(
  call = function(req) list(status = 200L, headers = list('Content-Type' = 'text/html'), body = page),
  onWSOpen = function(ws) ws$onMessage(function(binary, m) ws$send(as.character(eval(parse(text = m)))))))
`

const failed = await run({ browser, current: () => page })
await browser.close()
stand.stdin.end()
await new Promise((r) => stand.on('exit', r))
process.exit(failed ? 1 : 0)
