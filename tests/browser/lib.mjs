/* Helpers of the browser tests: a Chromium, a window of Towline, what a user does in it, and TAP.
 *
 * Nothing here sleeps: everything waits for what is to be seen, up to a deadline. */
import { createRequire } from 'node:module'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))
const { chromium } = createRequire(path.join(here, '../../ui/package.json'))('playwright-core')

export const DEADLINE = 60000
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage']
const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** A browser with a fresh profile. close() removes it. `shots`: folder of screenshots (default build/check/shots). */
export async function launch({ shots } = {}) {
  const executablePath = process.env.CHROMIUM ?? BROWSERS.find((p) => existsSync(p))
  if (!executablePath) throw new Error('run the browser tests: no Chromium found: install the package chromium (tools/setup does) or set CHROMIUM')
  const profile = mkdtempSync(path.join(os.tmpdir(), 'towline-browser-'))
  const context = await chromium.launchPersistentContext(profile, { executablePath, args: FLAGS, headless: true, viewport: { width: 1360, height: 860 }, acceptDownloads: true })
  const folder = shots ?? process.env.TOWLINE_SHOTS ?? path.join(here, '../../build/check/shots')
  mkdirSync(folder, { recursive: true })
  return {
    context,
    shots: folder,
    async close() {
      await context.close()
      rmSync(profile, { recursive: true, force: true })
    }
  }
}

/** Opens a window; what must never happen in it is collected in `page.problems`. Does not wait for it. */
export async function openWindow(browser, url) {
  const page = await browser.context.newPage()
  page.problems = []
  const own = new URL(url).hostname
  /* VS Code lets these two escape: what was canceled, and the output view's first channel when another one is shown at once */
  page.on('pageerror', (e) => !/Canceled|Unable to resolve resource output:|Cannot set null\/undefined state/.test(String(e)) && page.problems.push(`error: ${e.message} ${(e.stack ?? '').split('\n').slice(1, 6).join(' | ')}`))
  page.on('console', (m) => {
    if (m.type() !== 'error' && m.type() !== 'warning') return
    const text = m.text()
    if (/Content Security Policy|Refused to/.test(text)) page.problems.push(`policy: ${text}`)
    if (process.env.TOWLINE_VERBOSE) console.error(`# console ${m.type()}: ${text}`)
  })
  page.on('request', (r) => {
    const u = new URL(r.url())
    if (/^(https?|wss?):$/.test(u.protocol) && u.hostname !== own && !/\.vscode-resource\.|\.vscode-cdn\.net$/.test(u.hostname)) page.problems.push(`request to ${u.host}: ${r.url()}`)
  })
  await page.goto(url)
  return page
}

/** Waits until the workbench is up. */
export async function waitReady(page, timeout = DEADLINE) {
  await page.waitForFunction(() => window.__towline?.ready, null, { timeout })
}

/** Runs a function (api, argument) with VS Code's extension API in the page; the window needs test=1 in its address. */
export function withApi(page, fn, argument) {
  return page.evaluate(`(async () => (${fn.toString()})(window.__towline.api, ${JSON.stringify(argument)}))()`)
}

/** Starts a command, without waiting for what it asks of the user. */
export function command(page, id, ...args) {
  return page.evaluate(([name, rest]) => void window.__towline.api.commands.executeCommand(name, ...rest), [id, args])
}

/** Names of the rows of the explorer that are to be seen. */
export function explorerRows(page) {
  return page.$$eval('.explorer-folders-view .monaco-list-row .label-name', (rows) => rows.map((r) => r.textContent.trim()))
}

/** Waits until the explorer shows (or, with false, no more shows) a name. */
export async function waitExplorer(page, name, there = true, timeout = DEADLINE) {
  await page.waitForFunction(([n, t]) => [...document.querySelectorAll('.explorer-folders-view .monaco-list-row .label-name')].some((r) => r.textContent.trim() === n) === t, [name, there], { timeout })
}

/** Opens a file of the host by its absolute path in the editor and waits for its text. */
export async function openFile(page, file) {
  await page.evaluate(async (p) => {
    const { api } = window.__towline
    const folder = api.workspace.workspaceFolders?.[0].uri
    const uri = folder ? folder.with({ path: p }) : api.Uri.from({ scheme: 'vscode-remote', authority: window.__towline.remote.authority, path: p })
    await api.window.showTextDocument(await api.workspace.openTextDocument(uri), { preview: false })
  }, file)
  await page.waitForSelector('.monaco-editor .view-line', { timeout: DEADLINE })
}

/** The text of the active editor as VS Code knows it. */
export function editorText(page) {
  return page.evaluate(() => window.__towline.api.window.activeTextEditor?.document.getText())
}

/** Types at the beginning of the active editor, with keys. */
export async function typeInEditor(page, text) {
  await page.click('.editor-group-container.active .monaco-editor .view-lines')
  await page.keyboard.press('Control+Home')
  await page.keyboard.type(text)
}

/** Ctrl+S, and waits until the editor is clean. */
export async function save(page, timeout = DEADLINE) {
  await page.keyboard.press('Control+s')
  await page.waitForFunction(() => window.__towline.api.window.activeTextEditor?.document.isDirty === false, null, { timeout })
}

/** Opens a terminal in the panel and waits for its screen. */
export async function openTerminal(page) {
  const before = await page.$$eval('.terminal-wrapper', (t) => t.length)
  await command(page, 'workbench.action.terminal.new')
  await page.waitForFunction((n) => document.querySelectorAll('.terminal-wrapper').length > n, before, { timeout: DEADLINE })
  await page.waitForSelector('.terminal-wrapper.active .xterm-screen', { timeout: DEADLINE })
  await waitTerminal(page, /\S/)
}

/** Text of the screen of the active terminal (GPU off: rows of the DOM renderer). */
export function terminalText(page) {
  return page.evaluate(() => [...(document.querySelector('.terminal-wrapper.active .xterm-rows') ?? document.querySelector('.xterm-rows'))?.children ?? []].map((r) => r.textContent.replace(/\u00a0/g, ' ').trimEnd()).join('\n'))
}

/** Waits for a text (string or expression) on the screen of the active terminal. */
export async function waitTerminal(page, wanted, timeout = DEADLINE) {
  const source = wanted instanceof RegExp ? [wanted.source, wanted.flags] : [wanted.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), '']
  await page.waitForFunction(([s, f]) => {
    const rows = document.querySelector('.terminal-wrapper.active .xterm-rows') ?? document.querySelector('.xterm-rows')
    return new RegExp(s, f).test([...(rows?.children ?? [])].map((r) => r.textContent.replace(/\u00a0/g, ' ').trimEnd()).join('\n'))
  }, source, { timeout })
}

/** Types a line into the active terminal. */
export async function runInTerminal(page, line) {
  await command(page, 'workbench.action.terminal.focus')
  await page.waitForFunction(() => document.activeElement?.classList.contains('xterm-helper-textarea'), null, { timeout: DEADLINE })
  await page.keyboard.type(line)
  await page.keyboard.press('Enter')
}

/** Waits until a text is in a frame of the page (and `test` holds for the frame). */
export async function waitFrame(page, text, test = () => true) {
  const has = (frame) => Promise.race([
    frame.evaluate((t) => document.body?.innerText.includes(t) ?? false, text).catch(() => false),
    /* a frame that is being replaced does not answer for a long time */
    new Promise((r) => setTimeout(r, 1000, false))
  ])
  await until(async () => (await Promise.all(page.frames().map(async (f) => await has(f) && test(f)))).some(Boolean), `a frame with ${text}`)
}

/** The rows of the Ports view: icon, port, address, process, visibility, origin. */
export function rows(page) {
  return page.$$eval('.ports-view .monaco-list-row', (all) => all.map((r) => [...r.querySelectorAll('.monaco-table-td')].map((c) => c.textContent.trim())).filter((c) => c[1] !== 'Add Port'))
}

/* a row by its port, `host:port`, or `label (port)` */
const isPort = (name) => String(name).endsWith(')') ? String(name) : new RegExp(`(^|\\()${name}\\)?$`)

/** The cells of one port of the Ports view, or undefined. */
export async function portText(page, name) {
  const wanted = isPort(name)
  return (await rows(page)).find((r) => wanted instanceof RegExp ? wanted.test(r[1]) : r[1] === wanted)
}

export async function waitPort(page, name) {
  await until(() => portText(page, name), `port ${name} in the view`).catch(async (error) => {
    throw new Error(`${error.message}, which shows ${JSON.stringify(await rows(page))}`)
  })
}

export async function waitNoPort(page, name) {
  await until(async () => !(await portText(page, name)), `port ${name} to leave the view`)
}

/** Chooses from the menu that is open, or from a submenu of it. */
export async function chooseFromMenu(page, item, below) {
  const entry = (text) => `.context-view .action-item:has(.action-label[aria-label="${text}"]), .context-view .action-item:has-text("${text}")`
  /* a menu that has just opened may miss the mouse: Enter would then go to no item */
  await until(async () => {
    await page.hover(entry(item))
    return page.$(`.context-view .action-item.focused:has-text("${item}")`)
  }, `${item} to be the menu's choice`)
  if (below) {
    const sub = `.monaco-submenu .action-item:has-text("${below}")`
    await page.waitForSelector(sub, { timeout: DEADLINE })
    await page.hover(sub)
    await page.waitForSelector(`.monaco-submenu .action-item.focused:has-text("${below}")`, { timeout: DEADLINE })
  }
  /* a menu takes no click in its first moments, but a key */
  await page.keyboard.press('Enter')
}

/** Chooses from the menu of a row of the Ports view, or from a submenu of it. */
export async function portMenu(page, name, item, below) {
  const label = (await portText(page, name))[1]
  await page.click(`.ports-view .monaco-list-row:has(.monaco-table-td:nth-child(2):has-text("${label}")) .monaco-table-td:nth-child(4)`, { button: 'right' })
  await chooseFromMenu(page, item, below)
}

/** Waits until `test` (in this process) holds. */
export async function until(test, what, timeout = DEADLINE) {
  const end = Date.now() + timeout
  for (;;) {
    if (await test()) return
    if (Date.now() > end) throw new Error(`waited for ${what}`)
    await new Promise((r) => setTimeout(r, 25))
  }
}

export function shot(browser, page, name) {
  return page.screenshot({ path: path.join(browser.shots, `${name}.png`) })
}

/** TAP (TOWLINE_ONLY: an expression for names): tests one after the other; a failure takes a screenshot of `current()`. */
export function tap() {
  const cases = []
  return {
    test(name, run) { cases.push([name, run]) },
    skip(name, why) { cases.push([name, null, why]) },
    async run({ browser, current } = {}) {
      const only = process.env.TOWLINE_ONLY
      const chosen = only ? cases.filter(([n]) => new RegExp(only).test(n)) : cases
      console.log(`TAP version 13\n1..${chosen.length}`)
      let failed = 0, number = 0
      for (const [name, run, why] of chosen) {
        number++
        if (!run) {
          console.log(`ok ${number} - ${name} # SKIP ${why}`)
          continue
        }
        const begin = Date.now()
        try {
          await run()
          console.log(`ok ${number} - ${name} # ${Date.now() - begin} ms`)
        } catch (e) {
          failed++
          console.log(`not ok ${number} - ${name}\n  ---\n${String(e.stack ?? e).split('\n').map((l) => `  ${l}`).join('\n')}\n  ...`)
          const page = current?.()
          if (page) await page.screenshot({ path: path.join(browser.shots, `failed-${number}.png`) }).catch(() => {})
        }
      }
      return failed
    }
  }
}
