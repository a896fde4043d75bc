/* Hosts in the window against the real thing (rows B1 B2 B3 B4 B5 B7 B8 B9): Chromium, towlined, ssh, OpenSSH's sshd and another SSH
 * server that asks for one-time codes. TAP. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import * as win from './lib.mjs'

const tests = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const stand = spawn('python3', ['-m', 'harness.stand_hosts'], { cwd: tests, stdio: ['pipe', 'pipe', 'inherit'] })
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
const url = (query = '') => here.url.replace('/#', '/?#').replace('?', `?test=1${query}`)
const settings = path.join(here.configHome, 'towline/User/settings.json')
let page
const { test, run } = win.tap()
const wait = (selector, more = {}) => page.waitForSelector(selector, { timeout: win.DEADLINE, ...more })
const pickRow = (text) => `.quick-input-list .monaco-list-row:has-text("${text}")`
const targets = '.pane:has(.pane-header[aria-label*="SSH"]) .monaco-list-row'
const targetRow = (text) => `${targets}:has-text("${text}")`
const status = (text) => page.waitForFunction((t) => new RegExp(t).test(document.querySelector('.statusbar-item[id="status.host"]')?.textContent ?? ''), text, { timeout: win.DEADLINE })
const answerInPage = async (question, answer) => {
  await page.waitForFunction((q) => document.getElementById('prompt').open && document.getElementById('prompt-text').textContent.includes(q), question, { timeout: win.DEADLINE })
  await page.fill('#prompt-input', answer)
  if (/Code/.test(question)) await win.shot(browser, page, 'hosts-code')
  await page.click('#prompt-ok')
}
const showTargets = async () => {
  await win.command(page, 'sshTargets.focus')
  await wait(targetRow('demo'))
}

test('the list has the hosts of remote.SSH.configFile; a chosen one opens in the empty window', async () => {
  page = await win.openWindow(browser, url())
  await win.waitReady(page)
  await wait(pickRow('codes'))
  for (const text of ['demo', 'gone', 'Add New SSH Host...', 'Configure SSH Hosts...']) await wait(pickRow(text))
  await win.shot(browser, page, 'hosts-list')
  await page.keyboard.type('codes')
  /* the list is filtered a moment after the key */
  await wait('.quick-input-list .monaco-list-row.focused:has-text("codes")')
  await page.keyboard.press('Enter')
  await page.waitForURL(/host=codes/, { timeout: win.DEADLINE })
})

test('two questions and a one-time code, each once, then the window', async () => {
  await answerInPage('Name of the ship', 'Alma')
  await answerInPage('Secret', 's3cret')
  await answerInPage('Code', '424242')
  await win.waitReady(page)
  await status('SSH: codes')
  /* files, terminals and watches came without another question */
  assert.equal(await page.evaluate(() => document.getElementById('prompt').open), false)
})

test('a host that cannot be reached: what failed, why, what to do, and the log', async () => {
  page = await win.openWindow(browser, url('&host=gone'))
  await wait('#sk-actions button:has-text("Try Again")')
  const text = await page.textContent('#sk-text')
  assert.match(text, /Could not connect to gone/)
  assert.match(text, /refused/i)
  await page.click('#sk-actions button:has-text("Show Log")')
  await page.waitForFunction(() => /gone/.test(document.getElementById('sk-log').textContent), null, { timeout: win.DEADLINE })
  await win.shot(browser, page, 'hosts-failed')
  await page.close()
})

test('the Remote Explorer shows hosts, and folders that were opened; a folder opens in this window', async () => {
  page = await win.openWindow(browser, url(`&host=demo&folder=${here.folder}`))
  await win.waitReady(page)
  await showTargets()
  await wait(targetRow('gone'))
  await wait(targetRow('project'))
  await wait(`${targetRow('demo')}:has-text("connected")`)
  await win.shot(browser, page, 'hosts-explorer')
  await page.hover(targetRow('project'))
  await Promise.all([page.waitForNavigation({ timeout: win.DEADLINE }), page.click(`${targetRow('project')} .action-label[aria-label*="Current Window"]`)])
  await win.waitReady(page)
  await win.waitExplorer(page, 'hello.py')
})

test('a folder is removed from the list', async () => {
  await showTargets()
  await page.hover(targetRow('project'))
  await page.click(`${targetRow('project')} .action-label[aria-label*="Recent"]`)
  await page.waitForSelector(targetRow('project'), { state: 'detached', timeout: win.DEADLINE })
})

test('Add New SSH Host takes a whole command; the rest of the file stays', async () => {
  const before = readFileSync(here.config, 'utf8')
  await win.command(page, 'opensshremotes.addNewSshHost')
  await wait('.quick-input-widget:has-text("Enter SSH Connection Command")')
  await page.keyboard.type('ssh -p notaport new.example')
  await page.keyboard.press('Enter')
  await wait('.quick-input-widget .quick-input-message:has-text("notaport")')
  await page.fill('.quick-input-widget input[type="text"]', 'ssh -p 2222 -A -L 8080:localhost:80 me@new.example')
  await win.shot(browser, page, 'hosts-add')
  await page.keyboard.press('Enter')
  await wait(pickRow(path.basename(here.config)))
  await page.keyboard.press('Enter')
  await wait('.notification-toast:has-text("Host new.example added")')
  const after = readFileSync(here.config, 'utf8')
  assert.ok(after.includes(before.trimEnd()), after)
  assert.match(after, /Host new\.example\n\s+HostName new\.example\n/)
  assert.match(after, /User me/)
  assert.match(after, /Port 2222/)
  assert.match(after, /ForwardAgent yes/)
  await showTargets()
  await wait(targetRow('new.example'))
})

test('Remove Host takes its block out, after a question', async () => {
  await page.click(targetRow('new.example'), { button: 'right' })
  await win.chooseFromMenu(page, 'Remove Host...')
  await page.click('.monaco-dialog-box .monaco-button:has-text("Remove Host")', { timeout: win.DEADLINE })
  await page.waitForSelector(targetRow('new.example'), { state: 'detached', timeout: win.DEADLINE })
  assert.doesNotMatch(readFileSync(here.config, 'utf8'), /new\.example/)
})

test('the SSH configuration is edited in the window; somebody else\'s change is not overwritten', async () => {
  await win.command(page, 'opensshremotes.openConfigFile')
  await wait(pickRow(path.basename(here.config)))
  await page.keyboard.press('Enter')
  await win.until(async () => /asks for codes/.test(await win.editorText(page) ?? ''), 'the file in the editor')
  await win.typeInEditor(page, '# edited\n')
  await win.save(page)
  assert.match(readFileSync(here.config, 'utf8'), /^# edited\n/)
  await win.typeInEditor(page, '# mine\n')
  appendFileSync(here.config, '\nHost later\n    HostName 127.0.0.1\n')
  await page.keyboard.press('Control+s')
  await wait('.notification-toast:has-text("Failed to save")')
  assert.doesNotMatch(readFileSync(here.config, 'utf8'), /mine/)
  assert.match(readFileSync(here.config, 'utf8'), /Host later/)
  await win.withApi(page, async (api) => {
    await api.commands.executeCommand('workbench.action.files.revert')
    await api.commands.executeCommand('notifications.clearAll')
    await api.commands.executeCommand('workbench.action.closeAllEditors')
  })
  await showTargets()
  await win.command(page, 'towline.targets.refresh')
  await wait(targetRow('later'))
})

test('remote.SSH settings are in the settings editor', async () => {
  await win.command(page, 'opensshremotes.settings')
  await wait('.settings-editor .setting-item-contents:has-text("Config File")')
  await wait('.settings-editor .setting-item-contents:has-text("custom SSH configuration file")')
  await win.shot(browser, page, 'hosts-settings')
  await win.command(page, 'workbench.action.closeAllEditors')
})

test('a connection lost for good is explained, and made again when the host is back', async () => {
  await win.withApi(page, (api) => api.workspace.getConfiguration('remote.SSH').update('maxReconnectionAttempts', 1, api.ConfigurationTarget.Global))
  await win.until(() => /maxReconnectionAttempts/.test(readFileSync(settings, 'utf8')), 'the setting in the file')
  await order('sshd', { up: false })
  await status('Disconnected from demo')
  await page.click('.notification-toast .monaco-button:has-text("Connect Again")', { timeout: win.DEADLINE })
  await wait('.monaco-dialog-box:has-text("Could not establish connection to \\"demo\\"")')
  assert.match(await page.textContent('.monaco-dialog-box'), /refused/i)
  await win.shot(browser, page, 'hosts-dialog')
  await order('sshd', { up: true })
  await page.click('.monaco-dialog-box .monaco-button:has-text("Retry")')
  await status('SSH: demo')
  await page.waitForFunction(() => ![...document.querySelectorAll('.notification-toast')].some((n) => /Disconnected from demo/.test(n.textContent)), null, { timeout: win.DEADLINE })
  /* everything is looked at again then, and what the user looks at stays in front */
  await wait(`${targetRow('demo')}:has-text("connected")`)
})

test('Show Log has every step of the connection', async () => {
  await win.command(page, 'opensshremotes.showLog')
  await wait('.output-view .view-line:has-text("demo")')
  await win.shot(browser, page, 'hosts-log')
})

test('Kill Server ends it after a question; Connect Again starts it; Uninstall takes its folder', async () => {
  await showTargets()
  await page.click(targetRow('demo'), { button: 'right' })
  await win.chooseFromMenu(page, 'Kill Server on Host...')
  await page.click('.monaco-dialog-box .monaco-button:has-text("Kill Server")', { timeout: win.DEADLINE })
  await wait('.notification-toast:has-text("The server on demo has ended")')
  await status('Disconnected from demo')
  await win.withApi(page, (api) => api.commands.executeCommand('notifications.clearAll'))
  await win.command(page, 'towline.reconnectNow')
  await status('SSH: demo')
  await wait(`${targetRow('demo')}:has-text("connected")`)
  await page.click(targetRow('demo'), { button: 'right' })
  await win.chooseFromMenu(page, 'Uninstall Server from Host...')
  await page.click('.monaco-dialog-box .monaco-button:has-text("Uninstall Server")', { timeout: win.DEADLINE })
  await wait('.notification-toast:has-text("The server was uninstalled from demo")')
  await win.until(() => !existsSync(path.join(path.dirname(here.folder), '.towline-server')), 'the end of the folder')
})

test('nothing was asked of other machines, no policy was broken, no error was left', () => {
  /* what VS Code does by itself while the host is gone on purpose (the local history of saved files), it lets escape */
  assert.deepEqual(page.problems.filter((p) => !/^error: cannot connect to demo: .* refuses connections/.test(p)), [])
})

const failed = await run({ browser, current: () => page })
await browser.close()
stand.stdin.end()
await new Promise((r) => stand.on('exit', r))
process.exit(failed ? 1 : 0)
