/* The window against the real thing: Chromium, towlined, ssh, OpenSSH's sshd, towline-host (rows D1 D2 D5 D6 K1). TAP.
 * Everything a user sees in the first minutes, and what survives a reload, a dead ssh, a dead network, a dead agent. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chownSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import * as win from './lib.mjs'

const tests = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const FILES = 2000

/* host and daemon live in a Python process with the same fixtures as the other tests */
const stand = spawn('python3', ['-m', 'harness.stand', String(FILES)], { cwd: tests, stdio: ['pipe', 'pipe', 'inherit'] })
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
const at = (name) => path.join(here.folder, name)
const put = (name, text) => { writeFileSync(at(name), text); chownSync(at(name), here.uid, -1) }
const url = here.url.replace('#', '&test=1#')
const browser = await win.launch()
let page
const { test, run } = win.tap()
const withApi = (fn, argument) => win.withApi(page, fn, argument)
const document = () => withApi((api) => ({ text: api.window.activeTextEditor?.document.getText(), dirty: api.window.activeTextEditor?.document.isDirty }))
const filesBelow = (folder) => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((e) => e.isFile()).map((e) => path.join(e.parentPath ?? e.path, e.name))
let pid

const shellPid = async (mark) => {
  await win.runInTerminal(page, `echo ${mark.slice(0, 2)}''${mark.slice(2)}=$$.`)
  await win.waitTerminal(page, new RegExp(`${mark}=\\d+\\.`))
  return Number(new RegExp(`${mark}=(\\d+)\\.`).exec(await win.terminalText(page))[1])
}

test('a folder of the host with 2,000 files is shown', async () => {
  page = await win.openWindow(browser, url)
  await win.waitReady(page)
  await win.waitExplorer(page, 'f0000.txt')
  assert.match(await page.textContent('.statusbar-item[id="status.host"]'), /SSH: demo/)
  await win.command(page, 'workbench.files.action.focusFilesExplorer')
  await page.waitForSelector('.explorer-folders-view .monaco-list:focus', { timeout: win.DEADLINE })
  await win.command(page, 'list.focusLast')
  await win.waitExplorer(page, 'hello.py')
  const size = await page.$eval('.explorer-folders-view .monaco-list-row', (r) => Number(r.getAttribute('aria-setsize')))
  assert.equal(size, FILES + 1)
})

test('a file opens with colours, is edited and saved: the same bytes are on the host', async () => {
  await win.openFile(page, at('hello.py'))
  await page.waitForFunction(() => document.querySelectorAll('.monaco-editor .view-line span span[class^="mtk"]').length > 3)
  await win.typeInEditor(page, '# gr\u00fc\u00dfe \u2014 \u65e5\u672c\n')
  await win.save(page)
  assert.equal(readFileSync(at('hello.py'), 'utf8'), '# gr\u00fc\u00dfe \u2014 \u65e5\u672c\nimport math\n\n\ndef area(r):\n    return math.pi * r ** 2\n')
  await win.shot(browser, page, 'e2e-editor')
})

test('a file made on the host appears in the tree', async () => {
  await win.command(page, 'workbench.files.action.focusFilesExplorer')
  await win.command(page, 'list.focusFirst')
  await win.waitExplorer(page, 'f0000.txt')
  const begin = Date.now()
  put('a-new-one.txt', 'new\n')
  await win.waitExplorer(page, 'a-new-one.txt')
  console.log(`# new file on the host to row: ${Date.now() - begin} ms`)
})

test('a terminal is a login shell of the host on a real tty of the right size', async () => {
  await win.openTerminal(page)
  await win.runInTerminal(page, 'clear; tty; echo $SHELL; stty size; pwd')
  await win.waitTerminal(page, /\/dev\/pts\/\d+/)
  await win.waitTerminal(page, /\/bin\/bash/)
  await win.waitTerminal(page, /^\d+ \d+$/m)
  const size = /^(\d+) (\d+)$/m.exec(await win.terminalText(page))
  assert.ok(Number(size[1]) > 3 && Number(size[2]) > 40, size[0])
  await win.waitTerminal(page, here.folder.slice(-20))
  pid = await shellPid('first')
  await win.shot(browser, page, 'e2e-terminal')
})

test('after a reload it is the same shell with the same scrollback', async () => {
  await win.runInTerminal(page, 'for i in 1 2 3; do echo kept-$((i * 111)); done')
  await win.waitTerminal(page, 'kept-333')
  await page.reload()
  await win.waitReady(page)
  await win.waitTerminal(page, 'kept-333')
  assert.equal(await shellPid('again'), pid)
})

test('ssh killed: the terminal keeps its shell, unsaved text is kept, a save works', async () => {
  await win.openFile(page, at('hello.py'))
  await win.typeInEditor(page, '# unsaved\n')
  const { killed } = await order('kill-ssh')
  assert.ok(killed > 0)
  assert.equal(await shellPid('killed'), pid)
  assert.match((await document()).text, /^# unsaved\n/)
  await page.click('.editor-group-container.active .monaco-editor .view-lines')
  await win.save(page)
  assert.match(readFileSync(at('hello.py'), 'utf8'), /^# unsaved\n/)
})

test('the network gone and back: the status bar says so, nothing is lost', async () => {
  await win.runInTerminal(page, 'sleep 2; echo while-$((40 + 2))-away')
  await win.typeInEditor(page, '# typed while away\n')
  await order('cut')
  await page.waitForFunction(() => /reconnecting|disconnected/i.test(globalThis.document.querySelector('.statusbar-item[id="status.host"]').textContent), null, { timeout: win.DEADLINE })
  await win.shot(browser, page, 'e2e-away')
  await order('heal')
  await page.waitForFunction(() => /SSH: demo/.test(globalThis.document.querySelector('.statusbar-item[id="status.host"]').textContent), null, { timeout: win.DEADLINE })
  await win.waitTerminal(page, 'while-42-away')
  await page.click('.editor-group-container.active .monaco-editor .view-lines')
  await win.save(page)
  assert.match(readFileSync(at('hello.py'), 'utf8'), /^# typed while away\n/)
})

test('the agent killed: the terminal lives in its hold and is attached again, files work', async () => {
  assert.ok((await order('kill-agent')).killed > 0)
  assert.equal(await shellPid('agentless'), pid)
  put('after-agent.txt', 'x\n')
  await win.openFile(page, at('after-agent.txt'))
  assert.equal((await document()).text, 'x\n')
  put('watch-again.txt', 'x\n')
  await win.waitExplorer(page, 'after-agent.txt')
})

test('what is typed while the agent and the daemon die arrives once, in order', async () => {
  const lines = Array.from({ length: 90 }, (_, i) => `typed line ${i}`)
  await win.runInTerminal(page, `cat > ${at('typed.txt')}; echo al''l-there`)
  await win.until(() => existsSync(at('typed.txt')), 'the file')
  const type = (from, to) => withApi(async (api, more) => { for (const line of more) api.window.activeTerminal.sendText(line) }, lines.slice(from, to))
  await type(0, 20)
  /* not waited for: the keys go on while it happens */
  const agent = order('kill-agent')
  await type(20, 40)
  await agent
  await type(40, 50)
  const daemon = order('kill-daemon')
  await type(50, 60)
  await daemon
  await type(60, 90)
  await order('towline', { argv: ['connect', here.alias] })
  await withApi((api) => api.window.activeTerminal.sendText('\x04', false))
  await win.waitTerminal(page, 'all-there')
  assert.equal(readFileSync(at('typed.txt'), 'utf8'), lines.map((l) => l + '\n').join(''))
})

test('a Markdown preview is a frame in a frame of the second port', async () => {
  put('notes.md', '# Notes\n\nSome *text*.\n')
  await win.openFile(page, at('notes.md'))
  await win.command(page, 'markdown.showPreview')
  const own = new URL(here.url).origin
  await win.until(async () => {
    for (const frame of page.frames()) if (!frame.url().startsWith(own) && /Some text/.test(await frame.evaluate(() => globalThis.document.body?.innerText ?? '').catch(() => ''))) return true
    return false
  }, 'the text in a frame')
  await win.command(page, 'workbench.action.closeActiveEditor')
})

test('unsaved text survives closing the window', async () => {
  await win.openFile(page, at('hello.py'))
  await win.typeInEditor(page, '# hot exit\n')
  await win.until(() => withApi((api) => api.window.activeTextEditor?.document.isDirty), 'a dirty editor')
  /* the backup is written about a second after the last key, into the daemon's configuration folder */
  await win.until(() => filesBelow(path.join(here.config, 'towline')).some((f) => readFileSync(f).includes('# hot exit')), 'the backup')
  await page.reload()
  await win.waitReady(page)
  await win.openFile(page, at('hello.py'))
  await win.until(async () => /^# hot exit\n/.test((await document()).text ?? ''), 'the unsaved text')
  assert.doesNotMatch(readFileSync(at('hello.py'), 'utf8'), /hot exit/)
})

test('the daemon stopped and started: the same window goes on', async () => {
  await order('stop-daemon')
  await order('towline', { argv: ['connect', here.alias] })
  assert.equal(await shellPid('daemon'), pid)
})

test('the exit of the shell closes the terminal', async () => {
  await win.runInTerminal(page, 'exit')
  await page.waitForFunction(() => !globalThis.document.querySelector('.terminal-wrapper.active'), null, { timeout: win.DEADLINE })
})

test('nothing was asked of other machines, no policy was broken, no error was left', () => {
  assert.deepEqual(page.problems, [])
  assert.ok(existsSync(path.join(here.config, 'towline')))
})

const failed = await run({ browser, current: () => page })
await browser.close()
stand.stdin.end()
await new Promise((r) => stand.on('exit', r))
process.exit(failed ? 1 : 0)
