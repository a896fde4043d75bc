/* The window against the scripted daemon: files, editor, terminals, reconnection, questions. TAP.
 * Needs ui/dist (make ui). TOWLINE_ONLY=words runs the cases whose names have them. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { startFakeDaemon } from './fake-daemon.mjs'
import * as win from './lib.mjs'

const base = mkdtempSync(path.join(os.tmpdir(), 'towline-ui-'))
process.env.FAKE_HOME = path.join(base, 'home')
const folder = path.join(process.env.FAKE_HOME, 'project')
const at = (name) => path.join(folder, name)
mkdirSync(path.join(folder, 'src'), { recursive: true })
writeFileSync(at('hello.py'), 'import math\n\ndef area(r):\n    return math.pi * r ** 2\n')
writeFileSync(at('README.md'), '# Project\n\nSome *text*.\n')
writeFileSync(at('src/main.c'), 'int main(void)\n{\n\treturn 0;\n}\n')
mkdirSync(at('.vscode'))
writeFileSync(at('.vscode/tasks.json'), JSON.stringify({ version: '2.0.0', tasks: [{ label: 'say', type: 'shell', command: 'echo task-output > task.txt; exit 3', problemMatcher: [], presentation: { close: true } }] }))

const fake = await startFakeDaemon({ configDir: path.join(base, 'config') })
const browser = await win.launch()
let page
const { test, run } = win.tap()
const withApi = (fn, argument) => win.withApi(page, fn, argument)
const setText = (text) => withApi(async (api, t) => {
  const editor = api.window.activeTextEditor
  await editor.edit((e) => e.replace(new api.Range(0, 0, editor.document.lineCount, 0), t))
}, text)
const closeEditors = () => withApi((api) => api.commands.executeCommand('workbench.action.closeAllEditors'))
const clean = () => assert.deepEqual(page.problems, [])

test('the outline of the window is there before the workbench', async () => {
  page = await win.openWindow(browser, fake.url('devbox', folder))
  assert.match(await page.textContent('#sk-where'), /devbox/)
  assert.equal(await page.evaluate(() => location.hash), '', 'the token leaves the address bar')
})

test('the workbench comes up with the folder of the host', async () => {
  await win.waitReady(page)
  await win.waitExplorer(page, 'hello.py')
  assert.deepEqual((await win.explorerRows(page)).sort(), ['.vscode', 'README.md', 'hello.py', 'src'])
  assert.match(await page.textContent('.statusbar-item[id="status.host"]'), /SSH: devbox/)
  await page.waitForFunction(() => /SSH: devbox/.test(document.title), null, { timeout: win.DEADLINE })
  await win.shot(browser, page, 'window')
  clean()
})

test('a file opens with colours, is edited and saved', async () => {
  await win.openFile(page, at('hello.py'))
  await page.waitForFunction(() => document.querySelectorAll('.monaco-editor .view-line span span[class^="mtk"]').length > 3)
  await win.typeInEditor(page, '# first line\n')
  await win.save(page)
  assert.match(readFileSync(at('hello.py'), 'utf8'), /^# first line\nimport math/)
})

test('a change from outside appears in the editor and the explorer', async () => {
  writeFileSync(at('hello.py'), 'changed = True\n')
  await page.waitForFunction(() => window.__towline.api.window.activeTextEditor.document.getText() === 'changed = True\n', null, { timeout: win.DEADLINE })
  writeFileSync(at('new.txt'), 'new\n')
  await win.waitExplorer(page, 'new.txt')
  rmSync(at('new.txt'))
  await win.waitExplorer(page, 'new.txt', false)
})

test('a save does not overwrite what somebody else wrote meanwhile', async () => {
  /* the watcher must not be faster than the save */
  fake.state.saved = null
  await setText('mine = 1\n')
  writeFileSync(at('hello.py'), 'theirs = 1 # longer\n')
  await page.keyboard.press('Control+s')
  await page.waitForSelector('.notification-toast:has-text("newer")', { timeout: win.DEADLINE })
  assert.equal(readFileSync(at('hello.py'), 'utf8'), 'theirs = 1 # longer\n')
  await win.shot(browser, page, 'conflict')
  await withApi((api) => api.commands.executeCommand('workbench.action.files.revert'))
  await withApi((api) => api.commands.executeCommand('notifications.clearAll'))
})

test('files and folders are made, renamed, copied and removed', async () => {
  await withApi(async (api, root) => {
    const uri = (p) => api.workspace.workspaceFolders[0].uri.with({ path: `${root}/${p}` })
    const { fs } = api.workspace
    await fs.createDirectory(uri('made/deep'))
    await fs.writeFile(uri('made/deep/a.txt'), new TextEncoder().encode('a'))
    await fs.rename(uri('made/deep/a.txt'), uri('made/b.txt'))
    await fs.copy(uri('made'), uri('copied'))
    await fs.delete(uri('made'), { recursive: true })
    const errors = []
    await fs.rename(uri('copied/b.txt'), uri('README.md')).catch((e) => errors.push(e.code))
    await fs.readFile(uri('nothing')).catch((e) => errors.push(e.code))
    await fs.readFile(uri('src')).catch((e) => errors.push(e.code))
    if (JSON.stringify(errors) !== '["FileExists","FileNotFound","FileIsADirectory"]') throw new Error(`wrong errors ${JSON.stringify(errors)}`)
  }, folder)
  assert.equal(readFileSync(at('copied/b.txt'), 'utf8'), 'a')
  assert.ok(!existsSync(at('made')) && existsSync(at('copied/deep')))
  rmSync(at('copied'), { recursive: true })
})

test('a large file is read and written in pieces', async () => {
  const bytes = Buffer.alloc(9_000_000, 'The quick brown fox. ')
  writeFileSync(at('large.bin'), bytes)
  const sum = await withApi(async (api, root) => {
    const uri = api.workspace.workspaceFolders[0].uri.with({ path: `${root}/large.bin` })
    const data = await api.workspace.fs.readFile(uri)
    await api.workspace.fs.writeFile(uri.with({ path: `${root}/large2.bin` }), data)
    return data.length
  }, folder)
  assert.equal(sum, bytes.length)
  assert.ok(readFileSync(at('large2.bin')).equals(bytes))
  rmSync(at('large.bin'))
  rmSync(at('large2.bin'))
})

test('quick open finds a file by some of its letters', async () => {
  await page.keyboard.press('Control+p')
  await page.waitForSelector('.quick-input-widget input')
  await page.keyboard.type('mainc')
  await page.waitForSelector('.quick-input-list .monaco-list-row:has-text("main.c")', { timeout: win.DEADLINE })
  await page.keyboard.press('Enter')
  await page.waitForFunction(() => window.__towline.api.window.activeTextEditor?.document.uri.path.endsWith('/src/main.c'), null, { timeout: win.DEADLINE })
})

test('searching text says that it is not there yet', async () => {
  await win.command(page, 'workbench.action.findInFiles', { query: 'main', triggerSearch: true })
  await page.waitForSelector('.search-view:has-text("not there yet")', { timeout: win.DEADLINE })
  await win.command(page, 'workbench.view.explorer')
})

test('the user\'s settings and the host\'s settings are two files', async () => {
  await withApi(async (api) => {
    await api.workspace.getConfiguration('editor').update('fontSize', 15, api.ConfigurationTarget.Global)
  })
  await win.until(() => existsSync(path.join(base, 'config/User/settings.json')), 'settings.json of the user')
  assert.equal(JSON.parse(readFileSync(path.join(base, 'config/User/settings.json'), 'utf8'))['editor.fontSize'], 15)
  const remote = path.join(process.env.FAKE_HOME, '.towline-server/data/Machine/settings.json')
  assert.ok(!existsSync(path.dirname(remote)), 'nothing is made on the host without need')
  mkdirSync(path.dirname(remote), { recursive: true })
  await win.command(page, 'workbench.action.openRemoteSettingsFile')
  await page.waitForFunction(() => window.__towline.api.window.activeTextEditor?.document.uri.path.endsWith('/Machine/settings.json'), null, { timeout: win.DEADLINE })
  await closeEditors()
})

test('a terminal runs, is resized, and shows what it says', async () => {
  await win.openTerminal(page)
  await win.runInTerminal(page, 'X=kept; echo "six times seven is $((6*7))"; pwd')
  await win.waitTerminal(page, 'six times seven is 42')
  await win.waitTerminal(page, new RegExp(`^${folder}$`, 'm'))
  await win.runInTerminal(page, 'stty size')
  await win.waitTerminal(page, /^\d+ \d{2,3}$/m)
  await win.shot(browser, page, 'terminal')
})

test('much output does not get stuck', async () => {
  await win.runInTerminal(page, 'seq 1 200000; echo end-of-seq')
  await win.waitTerminal(page, /200000\nend-of-seq/)
})

test('a terminal and unsaved text survive a reload', async () => {
  await win.openFile(page, at('README.md'))
  await win.typeInEditor(page, 'unsaved words ')
  await page.waitForFunction(() => window.__towline.api.window.activeTextEditor.document.isDirty)
  await win.until(() => backups().length > 0, 'a backup of the unsaved text')
  page.on('dialog', (d) => d.accept().catch(() => {}))
  await page.reload()
  await win.waitReady(page)
  await page.waitForFunction(() => /^unsaved words/.test(window.__towline.api.window.activeTextEditor?.document.getText() ?? ''), null, { timeout: win.DEADLINE })
  assert.match(readFileSync(at('README.md'), 'utf8'), /^# Project/)
  await win.waitTerminal(page, 'end-of-seq')
  await win.runInTerminal(page, 'echo "the variable is $X"')
  await win.waitTerminal(page, 'the variable is kept')
  assert.equal(fake.state.terminals.size, 1)
  await win.shot(browser, page, 'reloaded')
})

test('lost streams are opened again; what runs goes on', async () => {
  await win.runInTerminal(page, 'echo before')
  await win.waitTerminal(page, /^before$/m)
  fake.breakStreams()
  await win.runInTerminal(page, 'echo after')
  await win.waitTerminal(page, /^after$/m)
  await win.openFile(page, at('src/main.c'))
  await win.typeInEditor(page, '/* again */\n')
  fake.breakStreams()
  await win.save(page)
  assert.match(readFileSync(at('src/main.c'), 'utf8'), /^\/\* again \*\//)
  writeFileSync(at('later.txt'), 'x')
  await win.waitExplorer(page, 'later.txt')
  rmSync(at('later.txt'))
})

test('a save whose answer is lost is not done twice', async () => {
  let saves = 0
  /* VS Code keeps saving its own state meanwhile: only this file counts */
  fake.state.saved = (file, ws) => { if (file.endsWith('main.c') && saves++ === 0) ws.close(4006, 'lost') }
  await setText('int once;\n')
  await win.save(page)
  fake.state.saved = null
  assert.equal(saves, 1)
  assert.equal(readFileSync(at('src/main.c'), 'utf8'), 'int once;\n')
})

test('a gap in a terminal is shown', async () => {
  const [term] = fake.state.terminals.values()
  fake.lose('devbox')
  await page.waitForFunction(() => /Reconnecting/.test(document.querySelector('.statusbar-item[id="status.host"]').textContent), null, { timeout: win.DEADLINE })
  term.child.stdin.write('seq 1 3000; echo gap-over\n')
  // its own line, not the echo of the command; a prompt of any length may already be behind it
  await win.until(() => term.bytes.includes('\ngap-over\r\n'), 'the output nobody sees')
  term.drop(term.bytes.lastIndexOf('\ngap-over\r\n') - 20)
  fake.back('devbox')
  await win.waitTerminal(page, /bytes of output were dropped/)
  await win.waitTerminal(page, 'gap-over')
})

test('VS Code\'s dialog tells of an interruption, and Reconnect Now works', async () => {
  fake.interrupt('devbox')
  await page.waitForSelector('.monaco-dialog-box:has-text("Reconnect Now")', { timeout: win.DEADLINE })
  await win.shot(browser, page, 'reconnecting')
  await page.click('.monaco-dialog-box .monaco-button:has-text("Reconnect Now")')
  await page.waitForSelector('.monaco-dialog-box', { state: 'detached', timeout: win.DEADLINE })
  assert.ok(fake.state.calls.includes('host/reconnect'))
  await page.waitForFunction(() => /SSH: devbox/.test(document.querySelector('.statusbar-item[id="status.host"]').textContent), null, { timeout: win.DEADLINE })
})

test('the daemon goes away and comes back', async () => {
  fake.leave()
  await page.waitForFunction(() => /No Towline daemon/.test(document.querySelector('.statusbar-item[id="status.host"]').textContent), null, { timeout: win.DEADLINE })
  fake.comeBack()
  await page.waitForFunction(() => /SSH: devbox/.test(document.querySelector('.statusbar-item[id="status.host"]').textContent), null, { timeout: win.DEADLINE })
  await page.waitForSelector('.monaco-dialog-box', { state: 'detached', timeout: win.DEADLINE })
  await win.runInTerminal(page, 'echo "still $X"')
  await win.waitTerminal(page, 'still kept')
})

test('a host that is gone for good is said, with a way back', async () => {
  fake.lose('devbox', 'failed', { error: { code: 43, name: 'authentication_failed', message: 'reconnect to devbox: the host did not accept the login. Check user, key, agent and password.' } })
  await page.waitForSelector('.notification-toast:has-text("did not accept the login")', { timeout: win.DEADLINE })
  await win.shot(browser, page, 'failed')
  await page.click('.notification-toast .monaco-button:has-text("Connect Again")')
  await page.waitForFunction(() => /SSH: devbox/.test(document.querySelector('.statusbar-item[id="status.host"]').textContent), null, { timeout: win.DEADLINE })
  await win.runInTerminal(page, 'echo "and still $X"')
  await win.waitTerminal(page, 'and still kept')
  writeFileSync(at('later.txt'), 'x')
  await win.waitExplorer(page, 'later.txt')
  rmSync(at('later.txt'))
})

test('a terminal that is closed is ended, one that exits goes', async () => {
  await win.runInTerminal(page, 'exit')
  await page.waitForFunction(() => !document.querySelector('.terminal-wrapper'), null, { timeout: win.DEADLINE })
  await win.openTerminal(page)
  const count = fake.state.calls.filter((c) => c === 'term/kill').length
  await win.command(page, 'workbench.action.terminal.kill')
  await win.until(() => fake.state.calls.filter((c) => c === 'term/kill').length > count, 'term/kill')
})

test('Markdown is shown in a frame of the second port', async () => {
  await win.openFile(page, at('README.md'))
  await withApi((api) => api.commands.executeCommand('workbench.action.files.revert'))
  await win.command(page, 'markdown.showPreview')
  await win.until(async () => {
    for (const frame of page.frames()) if (frame.url().startsWith(fake.frameOrigin) && /Some text/.test(await frame.evaluate(() => document.body?.innerText ?? '').catch(() => ''))) return true
    return false
  }, 'the text in a frame')
  await win.shot(browser, page, 'markdown')
  await closeEditors()
})

test('a task of tasks.json runs on the host and tells its status', async () => {
  await page.evaluate(() => {
    const { api } = window.__towline
    api.tasks.onDidEndTaskProcess((e) => { window.taskStatus = e.exitCode })
    void api.commands.executeCommand('workbench.action.tasks.runTask', 'say')
  })
  await page.waitForFunction(() => window.taskStatus !== undefined, null, { timeout: win.DEADLINE })
  assert.equal(await page.evaluate(() => window.taskStatus), 3)
  assert.equal(readFileSync(at('task.txt'), 'utf8'), 'task-output\n')
})

test('a second window on the same folder shows the same terminal', async () => {
  await win.openTerminal(page)
  await win.runInTerminal(page, 'echo from the first')
  await win.waitTerminal(page, /^from the first$/m)
  const id = [...fake.state.terminals.keys()].at(-1)
  await win.until(() => JSON.stringify(layouts()).includes(id), 'the layout of the terminals')
  const other = await win.openWindow(browser, fake.url('devbox', folder))
  await win.waitReady(other)
  /* whether the panel is open is state that the first window writes in its own time */
  await win.command(other, 'workbench.action.terminal.focus')
  await win.waitTerminal(other, /^from the first$/m)
  await win.runInTerminal(other, 'echo from the second')
  await win.waitTerminal(page, /^from the second$/m)
  assert.deepEqual(other.problems, [])
  await other.close()
  await win.runInTerminal(page, 'echo alone again')
  await win.waitTerminal(page, /^alone again$/m)
})

test('old questions of programs are not answered again after a reload', async () => {
  await win.runInTerminal(page, "printf '\\033[c\\033[6n'; read -t 5 -d R answer; echo; echo \"got ${#answer}\"; read -t 1 rest; clear; echo ready")
  await win.waitTerminal(page, /^ready$/m)
  await page.reload()
  await win.waitReady(page)
  await win.waitTerminal(page, /^ready$/m)
  await win.runInTerminal(page, 'echo asked-after')
  await win.waitTerminal(page, /^asked-after$/m)
  assert.ok(!/\d+;\d+R|\?1;2c/.test(await win.terminalText(page)), await win.terminalText(page))
  await win.command(page, 'workbench.action.terminal.killAll')
})

test('a file of this computer is uploaded into a folder', async () => {
  const local = path.join(base, 'local.txt')
  writeFileSync(local, 'from here\n')
  await page.click('.explorer-folders-view .monaco-list-row:has-text("src")')
  const chooser = page.waitForEvent('filechooser', { timeout: win.DEADLINE })
  await win.command(page, 'explorer.upload')
  await (await chooser).setFiles(local)
  await win.until(() => existsSync(at('src/local.txt')) && readFileSync(at('src/local.txt'), 'utf8') === 'from here\n', 'the uploaded file')
  await win.waitExplorer(page, 'local.txt')
  rmSync(at('src/local.txt'))
  await win.waitExplorer(page, 'local.txt', false)
})

test('the log and the remote menu are at hand', async () => {
  fake.state.log.push('a line of the log')
  await win.command(page, 'opensshremotes.showLog')
  await page.waitForSelector('.output-view .view-line:has-text("a line of the log")', { timeout: win.DEADLINE })
  await page.click('.statusbar-item[id="status.host"]')
  await page.waitForSelector('.quick-input-list .monaco-list-row:has-text("Close Remote Connection")', { timeout: win.DEADLINE })
  await win.shot(browser, page, 'menu')
  await page.keyboard.press('Escape')
})

test('the list of hosts leads to another host', async () => {
  await win.command(page, 'opensshremotes.openEmptyWindowInCurrentWindow')
  await page.waitForSelector('.quick-input-list .monaco-list-row:has-text("cluster")', { timeout: win.DEADLINE })
  await page.keyboard.type('me@far.example')
  await page.waitForSelector('.quick-input-list .monaco-list-row:has-text("me@far.example")')
  await win.shot(browser, page, 'hosts')
  await page.keyboard.press('Enter')
  await page.waitForURL(/host=me%40far.example/)
  await win.waitReady(page)
  await page.waitForFunction(() => /SSH: me@far.example/.test(document.querySelector('.statusbar-item[id="status.host"]').textContent), null, { timeout: win.DEADLINE })
  await win.shot(browser, page, 'no-folder')
})

test('a window without a folder offers the folders of the host', async () => {
  await page.waitForSelector('.quick-input-widget:has-text("Open Folder")', { timeout: win.DEADLINE })
  await page.waitForFunction((home) => document.querySelector('.quick-input-widget input[type="text"]')?.value.startsWith(home), process.env.FAKE_HOME, { timeout: win.DEADLINE })
  await page.waitForSelector('.quick-input-list .monaco-list-row:has-text("project")', { timeout: win.DEADLINE })
  await win.shot(browser, page, 'open-folder')
  await page.fill('.quick-input-widget input[type="text"]', folder + '/')
  await page.waitForSelector('.quick-input-list .monaco-list-row:has-text("src")', { timeout: win.DEADLINE })
  await page.keyboard.press('Enter')
  await page.waitForURL(/folder=/)
  await win.waitReady(page)
  await win.waitExplorer(page, 'README.md')
})

test('Close Remote Connection leads to a window without host', async () => {
  await win.command(page, 'towline.closeRemoteConnection')
  await page.waitForURL((u) => !u.searchParams.has('host'))
  await win.waitReady(page)
  await page.waitForSelector('.quick-input-widget:has-text("Connect to Host")', { timeout: win.DEADLINE })
  assert.ok(fake.state.calls.includes('host/close'))
  await page.keyboard.press('Escape')
  await win.shot(browser, page, 'welcome')
  clean()
})

test('questions come one after the other, before the workbench', async () => {
  fake.state.hosts.clear()
  fake.state.prompts = [
    { kind: 'hostkey', text: 'The authenticity of host \'devbox\' can\'t be established.\nED25519 key fingerprint is SHA256:abc.\nAre you sure you want to continue connecting (yes/no/[fingerprint])?' },
    { kind: 'password', text: 'me@devbox\'s password:' }, { kind: 'question', text: 'Verification code:', echo: true }
  ]
  await page.goto(fake.url('devbox', folder))
  await page.waitForSelector('#prompt[open]:has-text("SHA256:abc")')
  await win.shot(browser, page, 'hostkey')
  await page.click('#prompt-ok')
  await page.waitForSelector('#prompt[open]:has-text("password:")')
  assert.equal(await page.getAttribute('#prompt-input', 'type'), 'password')
  await page.keyboard.type('secret')
  await win.shot(browser, page, 'password')
  await page.keyboard.press('Enter')
  await page.waitForSelector('#prompt[open]:has-text("Verification code")')
  assert.equal(await page.getAttribute('#prompt-input', 'type'), 'text')
  await page.keyboard.type('123456')
  await page.keyboard.press('Enter')
  await win.waitReady(page)
  assert.deepEqual(fake.state.answers, [{ answer: 'yes' }, { answer: 'secret' }, { answer: '123456' }])
})

test('a cancelled question and a failure are told, and can be tried again', async () => {
  fake.state.hosts.clear()
  fake.state.prompts = [{ kind: 'password', text: 'Password:' }]
  await page.goto(fake.url('devbox', folder))
  await page.waitForSelector('#prompt[open]')
  await page.keyboard.press('Escape')
  await page.waitForSelector('#sk-text:has-text("canceled")')
  fake.state.prompts = []
  fake.state.log.push('a line of the log')
  fake.state.failConnect = { name: 'unreachable', number: 42, message: 'connect to devbox: the host cannot be reached. Check the network, VPN and firewall.' }
  await page.click('#sk-actions button:has-text("Try Again")')
  await page.waitForSelector('#sk-text:has-text("cannot be reached")')
  await page.click('#sk-actions button:has-text("Show Log")')
  await page.waitForSelector('#sk-log:has-text("a line of the log")')
  await win.shot(browser, page, 'cannot-connect')
  await page.click('#sk-actions button:has-text("Try Again")')
  await win.waitReady(page)
})

test('a question after the start is asked in the workbench', async () => {
  fake.state.prompts = [{ kind: 'password', text: 'Password again:' }]
  fake.lose('devbox', 'failed', { error: { code: 43, name: 'authentication_failed', message: 'the login was refused' } })
  await page.waitForSelector('.notification-toast:has-text("login was refused")', { timeout: win.DEADLINE })
  await page.click('.notification-toast .monaco-button:has-text("Connect Again")')
  await page.waitForSelector('.quick-input-widget:has-text("Password again:") input[type="password"]', { timeout: win.DEADLINE })
  fake.state.answers.length = 0
  await page.keyboard.type('word')
  await page.keyboard.press('Enter')
  await win.until(() => fake.state.answers.length > 0, 'the answer')
  assert.deepEqual(fake.state.answers, [{ answer: 'word' }])
  fake.state.prompts = []
  clean()
})

test('a wrong token is refused with words', async () => {
  const other = await win.openWindow(browser, `${fake.origin}/?host=devbox&test=1#token=wrong`)
  await other.waitForSelector('#sk-text:has-text("token")')
  await other.close()
})

function layouts() {
  const state = path.join(base, 'config/User/state')
  return existsSync(state) ? readdirSync(state).filter((n) => n.startsWith('terminals-')).map((n) => JSON.parse(readFileSync(path.join(state, n), 'utf8'))) : []
}

function backups() {
  const found = []
  const visit = (dir) => {
    if (!existsSync(dir)) return
    for (const e of readdirSync(dir, { withFileTypes: true })) e.isDirectory() ? visit(path.join(dir, e.name)) : found.push(path.join(dir, e.name))
  }
  visit(path.join(base, 'config/User/Backups'))
  visit(path.join(base, 'config/Backups'))
  return found
}

const failed = await run({ browser, current: () => page })
await browser.close()
await fake.close()
rmSync(base, { recursive: true, force: true })
process.exit(failed ? 1 : 0)
