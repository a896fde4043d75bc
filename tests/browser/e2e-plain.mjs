/* The window on a host that allows files only (ForceCommand internal-sftp): open, edit, save, what is missing is said (row C9). TAP.
 * parallel: ok */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chownSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import * as win from './lib.mjs'

const tests = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const stand = spawn('python3', ['-m', 'harness.stand', '5', 'ForceCommand internal-sftp'], { cwd: tests, stdio: ['pipe', 'pipe', 'inherit'] })
const here = JSON.parse((await createInterface({ input: stand.stdout })[Symbol.asyncIterator]().next()).value)
const at = (name) => path.join(here.folder, name)
const browser = await win.launch()
const { test, run } = win.tap()
let page

test('the window opens, and says what is missing and why', async () => {
  page = await win.openWindow(browser, here.url.replace('#', '&test=1#'))
  await win.waitReady(page)
  await win.waitExplorer(page, 'hello.py')
  const message = () => page.$$eval('.notification-list-item-message', (all) => all.map((m) => m.textContent).join('\n'))
  await win.until(async () => /Our server does not run on demo/.test(await message()), 'the message')
  assert.match(await message(), /files and forwarded ports only: demo runs no commands: it allows files only \(SFTP\)/)
  assert.match(await page.textContent('.statusbar-item[id="status.host"]'), /SSH: demo/)
  await win.shot(browser, page, 'plain-message')
  await page.getByRole('button', { name: 'What Is Missing' }).click()
  await win.until(async () => /There are no terminals and no commands/.test(await page.textContent('.monaco-dialog-box')), 'the details')
  await win.shot(browser, page, 'plain-details')
  await page.keyboard.press('Escape')
})

test('a file is edited and saved over SFTP: the same bytes, the same mode, nothing beside it', async () => {
  await win.openFile(page, at('hello.py'))
  await win.typeInEditor(page, '# grüße\n')
  await win.save(page)
  assert.match(readFileSync(at('hello.py'), 'utf8'), /^# grüße\nimport math\n/)
  assert.deepEqual(readdirSync(here.folder).filter((n) => n.includes('towline')), [])
})

test("a file that somebody else makes appears, somebody else's change is a conflict", async () => {
  writeFileSync(at('later.txt'), 'later\n')
  chownSync(at('later.txt'), here.uid, -1)
  await win.waitExplorer(page, 'later.txt')
  await win.openFile(page, at('later.txt'))
  await win.typeInEditor(page, 'mine ')
  writeFileSync(at('later.txt'), 'somebody else was faster\n')
  await win.command(page, 'workbench.action.files.save').catch(() => {})
  await win.until(async () => /newer|overwrite|conflict/i.test(await page.textContent('.notifications-toasts')), 'the conflict')
  assert.equal(readFileSync(at('later.txt'), 'utf8'), 'somebody else was faster\n')
})

test('a terminal says that there is none', async () => {
  await win.command(page, 'workbench.action.terminal.new').catch(() => {})
  await win.until(async () => /it allows files only/.test(await page.textContent('body')), 'the reason')
  await win.shot(browser, page, 'plain-terminal')
  assert.deepEqual(page.problems, [])
})

const failed = await run({ browser, current: () => page })
stand.stdin.end()
await browser.close()
process.exit(failed ? 1 : 0)
