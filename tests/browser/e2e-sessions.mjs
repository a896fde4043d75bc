/* Python and R sessions in the window, against the real thing: Chromium, towlined, ssh, sshd, ipykernel, IRkernel (rows F1-F6). TAP.
 * What a person does on a day with data: a notebook, consoles, plots, variables, a large table, and the window closed meanwhile.
 * deadline: 900 */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { chownSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import * as win from './lib.mjs'

const tests = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
/* a kernel's start on a loaded machine */
const SLOW = 120000
/* TOWLINE_LINES=1000000 for the figure in the documents; the sanitizer build takes its time */
const LINES = Number(process.env.TOWLINE_LINES ?? 200000)

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
const at = (name) => path.join(here.folder, name)
const put = (name, text) => { writeFileSync(at(name), text); chownSync(at(name), here.uid, -1) }
const url = here.url.replace('#', '&test=1#')
const browser = await win.launch()
let page
const { test, skip, run } = win.tap()
/* These fail in some runs and the cause is not known yet: docs/testing.md. TOWLINE_UNSTEADY=1 runs them. */
const unsteady = process.env.TOWLINE_UNSTEADY ? test : (name) => skip(name, 'unsteady, TOWLINE_UNSTEADY=1 runs it')
const withApi = (fn, argument) => win.withApi(page, fn, argument)
const until = (check, what, timeout = SLOW) => win.until(check, what, timeout)
const sessions = async () => JSON.parse((await order('towline', { argv: ['sessions', '--json', here.alias] })).stdout).kernels

/** Cells of an open document by the end of its name: code, outputs as text by mime type, order, success. */
const cells = (name) => withApi((api, ending) => {
  const n = api.workspace.notebookDocuments.find((d) => d.uri.path.endsWith(ending))
  const text = (i) => (/^image\/(?!svg)/.test(i.mime) ? `${i.data.length} bytes` : new TextDecoder().decode(i.data))
  return n?.getCells().map((c) => ({
    code: c.document.getText(), kind: c.kind, order: c.executionSummary?.executionOrder, success: c.executionSummary?.success,
    outputs: c.outputs.map((o) => Object.fromEntries(o.items.map((i) => [i.mime.replace('application/vnd.code.notebook.', ''), text(i)])))
  })) ?? []
}, name)
const words = (cell) => (cell?.outputs ?? []).flatMap((o) => Object.values(o)).join('\n')
const console_ = async () => (await cells('.interactive'))
const openNotebook = (name) => withApi(async (api, file) => {
  const uri = api.workspace.workspaceFolders[0].uri.with({ path: file })
  await api.window.showNotebookDocument(await api.workspace.openNotebookDocument(uri))
}, at(name))
/** The first thing that `find` finds. */
const until2 = async (find, what) => {
  let found
  await until(async () => (found = await find()), what)
  return found
}
const kernelChosen = (name) => page.waitForFunction((n) => [...document.querySelectorAll('.notebook-toolbar-right .kernel-label, .notebook-toolbar-container .kernel-label')].some((k) => k.textContent.includes(n)), name, { timeout: SLOW })
const runAll = () => win.command(page, 'notebook.execute')
const saved = (name) => withApi((api, ending) => {
  const n = api.workspace.notebookDocuments.find((d) => d.uri.path.endsWith(ending))
  return n.save()
}, name)
/** nbformat and nobody else says what a notebook is. */
const nbformat = (code, ...files) => execFileSync('/usr/bin/python3', ['-c', `import nbformat, json, sys\nfrom nbformat import v4\na = [nbformat.read(f, 4) for f in sys.argv[1:]]\nfor n in a: nbformat.validate(n)\n${code}`, ...files], { encoding: 'utf8' })

const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
const NOTEBOOK = {
  cells: [
    { attachments: { 'dot.png': { 'image/png': PIXEL } }, cell_type: 'markdown', id: 'intro', metadata: { tags: ['kept'] }, source: ['# A notebook\n', '\n', 'Euler: $e^{i\\pi} + 1 = 0$ and ![dot](attachment:dot.png)\n', '\n', '| a | b |\n', '|---|---|\n', '| 1 | 2 |'] },
    { cell_type: 'code', execution_count: 7, id: 'first', metadata: { collapsed: false, custom: { deep: [1, 2.5, null] } }, outputs: [
      { name: 'stdout', output_type: 'stream', text: ['old\n'] },
      { data: { 'image/png': PIXEL + '\n', 'text/plain': ['<a picture>'] }, metadata: { needs_background: 'light' }, output_type: 'display_data' },
      { data: { 'application/vnd.x+json': { a: [1] }, 'text/plain': ['42'] }, execution_count: 7, metadata: {}, output_type: 'execute_result' },
      { ename: 'E', evalue: 'v', output_type: 'error', traceback: ['\u001b[0;31mE\u001b[0m', 'line'] }
    ], source: ['print("hello", 6 * 7)'] },
    { cell_type: 'raw', id: 'raw-one', metadata: { format: 'text/x-rst' }, source: ['raw *text*'] },
    { cell_type: 'code', execution_count: null, id: 'no-output', metadata: {}, outputs: [], source: [] }
  ],
  metadata: { authors: [{ name: 'A. Nyone' }], kernelspec: { display_name: 'Python 3 (ipykernel)', language: 'python', name: 'python3' }, language_info: { name: 'python', version: '3.11' } },
  nbformat: 4, nbformat_minor: 5
}

test('the window opens', async () => {
  page = await win.openWindow(browser, url)
  await win.waitReady(page)
})

test('a notebook opens, a cell runs on the host, the file is what Jupyter reads', async () => {
  put('first.ipynb', JSON.stringify(NOTEBOOK, null, 1) + '\n')
  await openNotebook('first.ipynb')
  await page.waitForSelector('.notebookOverlay .cell-list-container .code-cell-row', { timeout: win.DEADLINE })
  await until(async () => (await cells('first.ipynb')).length === 4, 'the cells')
  /* saved again without a change but one: the same file */
  await withApi(async (api, ending) => {
    const n = api.workspace.notebookDocuments.find((d) => d.uri.path.endsWith(ending))
    const edit = new api.WorkspaceEdit()
    edit.insert(n.cellAt(3).document.uri, new api.Position(0, 0), 'x = 1')
    await api.workspace.applyEdit(edit)
  }, 'first.ipynb')
  await saved('first.ipynb')
  const file = JSON.parse(readFileSync(at('first.ipynb'), 'utf8'))
  const wanted = structuredClone(NOTEBOOK)
  wanted.cells[3].source = ['x = 1']
  assert.deepEqual(file, wanted)
  nbformat('', at('first.ipynb'))
  await win.shot(browser, page, 'e2e-sessions-opened')

  const frame = await until2(async () => {
    for (const f of page.frames()) if (await f.$('img[alt="dot"]').catch(() => null)) return f
  }, 'the picture of the Markdown cell')
  assert.deepEqual(await frame.$eval('img[alt="dot"]', (i) => [i.src.slice(0, 22), i.naturalWidth]), ['data:image/png;base64,', 1])
  assert.ok(await frame.$('math'), 'mathematics')
  await kernelChosen('Python 3')
  await runAll()
  await until(async () => words((await cells('first.ipynb'))[1]).includes('hello 42'), 'the output of the first cell')
  await until(async () => (await cells('first.ipynb'))[3].success === true, 'the last cell')
  await saved('first.ipynb')
  const back = JSON.parse(nbformat('print(json.dumps([[c.id, c.source, c.get("outputs"), c.get("execution_count")] for c in a[0].cells]))', at('first.ipynb')))
  assert.deepEqual(back[1], ['first', 'print("hello", 6 * 7)', [{ name: 'stdout', output_type: 'stream', text: 'hello 42\n' }], 1])
  assert.deepEqual(back.map((c) => c[0]), ['intro', 'first', 'raw-one', 'no-output'])
  await win.shot(browser, page, 'e2e-sessions-notebook')
})

test('outputs of every kind: text with colours, a table, LaTeX, a plot, an error with its traceback', async () => {
  const code = ['import sys, time', 'print("\\x1b[31mred\\x1b[0m plain"); print("to stderr", file=sys.stderr)', 'import pandas as pd; pd.DataFrame({"city": ["Oslo", "Rome"], "n": [1, 2]})',
    'from IPython.display import Latex, Markdown, HTML, display; display(Latex(r"$\\int_0^1 x^2 dx = \\frac{1}{3}$")); display(HTML("<b id=bold>bold</b>"))',
    'import matplotlib.pyplot as plt; fig = plt.figure(figsize=(4, 3)); plt.plot([1, 3, 2]); plt.title("a plot");', 'name = input("Who? "); print("hi", name)', 'def f(): return 1 / 0\nf()', 'print("never")']
  const nb = { cells: code.map((source, i) => ({ cell_type: 'code', execution_count: null, id: `c${i}`, metadata: {}, outputs: [], source: source.split('\\n').map((l, j, a) => (j < a.length - 1 ? l + '\n' : l)) })), metadata: NOTEBOOK.metadata, nbformat: 4, nbformat_minor: 5 }
  put('kinds.ipynb', JSON.stringify(nb))
  await openNotebook('kinds.ipynb')
  await kernelChosen('Python 3')
  await runAll()
  const box = '.quick-input-widget:visible input'
  await page.waitForSelector(box, { timeout: SLOW })
  assert.match(await page.textContent('.quick-input-widget'), /Who\?/)
  await win.shot(browser, page, 'e2e-sessions-input')
  await page.fill(box, 'Ada')
  await page.keyboard.press('Enter')
  await until(async () => (await cells('kinds.ipynb'))[6].success === false, 'the error')
  const c = await cells('kinds.ipynb')
  assert.equal(c[1].outputs[0].stdout, '\x1b[31mred\x1b[0m plain\n')
  assert.equal(c[1].outputs[1].stderr, 'to stderr\n')
  assert.match(c[2].outputs[0]['text/html'], /<table[\s\S]*Oslo/)
  assert.match(c[3].outputs[0]['text/latex'], /frac/)
  assert.match(c[4].outputs[0]['image/png'], /\d{4,} bytes/)
  assert.equal(words(c[5]), 'Who? hi Ada\n'.replace('Who? ', ''))
  assert.match(words(c[6]), /ZeroDivisionError/)
  assert.match(words(c[6]), /in f\(\)|in \\?u001b|f\(\)/)
  await until(async () => (await cells('kinds.ipynb'))[7].order === undefined && !words((await cells('kinds.ipynb'))[7]), 'what came after the error not to run')
  await saved('kinds.ipynb')
  nbformat('', at('kinds.ipynb'))
  const drawn = await until2(async () => {
    for (const f of page.frames()) if (await f.$('table.dataframe').catch(() => null)) return f
  }, 'the outputs in the frame')
  assert.notEqual(new URL(drawn.url()).origin, new URL(here.url).origin)
  assert.ok(await drawn.$('.tl-text span[style*="ansiRed"]'), 'a colour')
  assert.ok(await drawn.$('math'), 'LaTeX')
  await win.shot(browser, page, 'e2e-sessions-kinds')
})

unsteady('a reload while a cell runs: the output made meanwhile is there, in order, the cell runs on', async () => {
  const code = 'import time\nfor i in range(400):\n    print("line", i, flush=True)\n    time.sleep(0.05)'
  put('long.ipynb', JSON.stringify({ cells: [{ cell_type: 'code', execution_count: null, id: 'loop', metadata: {}, outputs: [], source: code }], metadata: NOTEBOOK.metadata, nbformat: 4, nbformat_minor: 5 }))
  await openNotebook('long.ipynb')
  await kernelChosen('Python 3')
  await runAll()
  await until(async () => words((await cells('long.ipynb'))[0]).includes('line 20\n'), 'the first lines')
  await page.reload()
  await win.waitReady(page)
  await until(async () => (await cells('long.ipynb'))[0]?.success === true, 'the end of the loop')
  const c = (await cells('long.ipynb'))[0]
  assert.equal(words(c), Array.from({ length: 400 }, (_, i) => `line ${i}\n`).join(''))
  assert.equal(c.order, 1)
  assert.equal((await sessions()).filter((k) => k.notebook.endsWith('long.ipynb')).length, 1)
  await saved('long.ipynb')
  await win.command(page, 'workbench.action.closeAllEditors')
})

const row = (name) => page.locator('.pane-body .monaco-list-row', { has: page.locator('.label-name', { hasText: new RegExp(`^${name}$`) }) }).first()
const frameWith = (selector, what) => until2(async () => {
  for (const f of page.frames()) if (await f.$(selector).catch(() => null)) return f
}, what)
const FRAME = 'big = pd.DataFrame({"n": np.arange(1_000_000)[::-1], "half": np.arange(1_000_000) / 2, "name": "row"})'
const TWICE = 'def twice(n):\n    """Twice of it."""\n    return 2 * n'
const boxed = '.quick-input-widget:visible input'

test('a Python console: lines and blocks of an editor run with Ctrl+Enter, variables, completion, hover', async () => {
  put('work.py', `x = 41\n${TWICE}\n\nprint("got", twice(x + 1))\nimport pandas as pd, numpy as np\n${FRAME}\nnested = {"a": [1, {"b": 2}]}\n`)
  await win.openFile(page, at('work.py'))
  await page.click('.editor-group-container.active .monaco-editor .view-lines')
  await page.keyboard.press('Control+Home')
  const step = async (text, output) => {
    await page.keyboard.press('Control+Enter')
    await until(async () => (await console_()).some((c) => c.code === text && c.success === true && (!output || words(c).includes(output))), `${text} in the console`)
  }
  await step('x = 41')
  await step(TWICE)
  await step('print("got", twice(x + 1))', 'got 84')
  for (const l of ['import pandas as pd, numpy as np', FRAME, 'nested = {"a": [1, {"b": 2}]}']) await step(l)
  assert.equal(await withApi((api) => api.window.activeTextEditor?.document.fileName.split('/').at(-1)), 'work.py')
  await row('big').waitFor({ timeout: SLOW })
  await until(async () => /1000000 rows × 3 columns/.test(await row('big').textContent()), 'the shape of the table')
  /* a nested value unfolds */
  await row('nested').locator('.monaco-tl-twistie').click()
  await page.locator('.pane-body .monaco-list-row', { hasText: "'a'" }).first().waitFor({ timeout: SLOW })
  /* completion and hover come from the kernel */
  const found = await withApi(async (api, file) => {
    const d = await api.workspace.openTextDocument(api.workspace.workspaceFolders[0].uri.with({ path: file }))
    const list = await api.commands.executeCommand('vscode.executeCompletionItemProvider', d.uri, new api.Position(5, 15))
    const hovers = await api.commands.executeCommand('vscode.executeHoverProvider', d.uri, new api.Position(5, 15))
    return { completions: list.items.map((i) => i.label?.label ?? i.label), hover: hovers.flatMap((h) => h.contents.map((c) => c.value ?? c)).join(' ') }
  }, at('work.py'))
  assert.ok(found.completions.includes('twice'), found.completions.slice(0, 20).join(' '))
  assert.match(found.hover, /Twice of it/)
  await win.shot(browser, page, 'e2e-sessions-console')
})

test('a table of 1,000,000 rows: first and last rows, sorted by a column', async () => {
  await row('big').click()
  const grid = await frameWith('#grid', 'the grid')
  const seen = () => grid.$$eval('.cell:not(.label)', (all) => all.map((c) => c.textContent))
  await until(async () => (await seen()).slice(0, 3).join() === '999999,0.0,row', 'the first row')
  assert.match(await grid.textContent('#shape'), /1,000,000 rows × 3 columns/)
  await grid.focus('#grid')
  await page.keyboard.press('End')
  await until(async () => (await seen()).slice(-3).join() === '0,499999.5,row', 'the last row')
  await win.shot(browser, page, 'e2e-sessions-grid-end')
  await page.keyboard.press('Home')
  await grid.click('.head:has-text("n")')
  await until(async () => (await seen()).slice(0, 3).join() === '0,499999.5,row', 'the smallest first')
  await grid.focus('#grid')
  for (let i = 0; i < 30; i++) await page.keyboard.press('PageDown')
  await until(async () => !(await seen()).includes('…') && Number((await seen())[0]) > 500, 'all pages')
  await win.shot(browser, page, 'e2e-sessions-grid')
  await win.command(page, 'workbench.action.closeActiveEditor')
})

test('an R console beside it: a base plot, a data frame, questions', async () => {
  put('work.R', 'y <- c(3, 1, 2)\nplot(y, main = "an R plot")\ndf <- data.frame(\n  a = 1:3,\n  b = letters[1:3]\n)\nanswer <- readline("Which? ")\ncat("chose", answer, "\\n")\n')
  await win.openFile(page, at('work.R'))
  await page.click('.editor-group-container.active .monaco-editor .view-lines')
  await page.keyboard.press('Control+Home')
  const r = () => cells('Interactive-2.interactive')
  const step = async (text) => {
    await page.keyboard.press('Control+Enter')
    await until(async () => (await r()).some((c) => c.code === text && c.success === true), `${text} in the R console`)
  }
  await step('y <- c(3, 1, 2)')
  await step('plot(y, main = "an R plot")')
  await step('df <- data.frame(\n  a = 1:3,\n  b = letters[1:3]\n)')
  await page.keyboard.press('Control+Enter')
  await page.waitForSelector(boxed, { timeout: SLOW })
  await page.fill(boxed, 'B')
  await page.keyboard.press('Enter')
  await until(async () => (await r()).some((c) => /readline/.test(c.code) && c.success), 'the answer')
  await win.openFile(page, at('work.R'))
  await win.command(page, 'towline.console.executeFile')
  await page.waitForSelector(boxed, { timeout: SLOW })
  await page.fill(boxed, 'C')
  await page.keyboard.press('Enter')
  await until(async () => (await r()).some((c) => words(c).includes('chose C')), 'the file to run')
  const plots = await frameWith('#place img', 'the plot in the pane')
  await until(async () => (await plots.$eval('#place img', (i) => i.naturalWidth)) > 300, 'the plot to be drawn')
  assert.notEqual(new URL(plots.url()).origin, new URL(here.url).origin)
  await row('df').waitFor({ timeout: SLOW })
  await win.shot(browser, page, 'e2e-sessions-r')
  const before = await plots.$eval('#title', (t) => t.textContent)
  await win.command(page, 'towline.plots.previous')
  await until(async () => (await plots.$eval('#title', (t) => t.textContent)) !== before, 'the plot before')
  await row('df').click()
  const grid = await frameWith('#grid', 'the grid')
  await until(async () => (await grid.$$eval('.cell:not(.label)', (all) => all.map((c) => c.textContent))).join() === '1,a,2,b,3,c', 'the data frame')
  await win.command(page, 'workbench.action.closeActiveEditor')
})

test('after a reload both consoles are there with all they said, and what was made meanwhile', async () => {
  put('loop.py', 'import time\nfor i in range(200):\n    print("tick", i, flush=True)\n    time.sleep(0.05)\n')
  await win.openFile(page, at('loop.py'))
  await win.command(page, 'towline.console.executeFile')
  await until(async () => (await cells('Interactive-1.interactive')).some((c) => words(c).includes('tick 10\n')), 'the loop')
  await page.reload()
  await win.waitReady(page)
  await until(async () => (await cells('Interactive-1.interactive')).some((c) => words(c).includes('tick 199\n') && c.success), 'the end of the loop')
  const python = await cells('Interactive-1.interactive')
  assert.equal(words(python.at(-1)), Array.from({ length: 200 }, (_, i) => `tick ${i}\n`).join(''))
  assert.deepEqual(python.map((c) => c.code).slice(0, 2), ['x = 41', TWICE])
  await until(async () => (await cells('Interactive-2.interactive')).some((c) => words(c).includes('chose C')), 'the R console')
  await win.command(page, 'towline.sessions.focus')
  await row('R').waitFor({ timeout: SLOW })
  await win.shot(browser, page, 'e2e-sessions-again')
})

const shown = () => page.evaluate(() => [...document.querySelectorAll('.notifications-toasts .notification-list-item-message, .notification-list-item-message')].map((n) => n.textContent))
const inConsole = async (n, name, code) => {
  put(name, code)
  await win.openFile(page, at(name))
  await win.command(page, 'towline.console.executeFile')
  return async () => (await cells(`Interactive-${n}.interactive`)).filter((c) => c.code.trim() === code.trim()).at(-1)
}
const state = (id) => withApi((_api, one) => window.__towline.sessions.sessions.attached.get(one)?.state, id)
const sessionOf = async (language) => (await sessions()).find((k) => k.language.toLowerCase() === language && !k.notebook)

test('interrupt and restart: the cell says so, the variables are gone', async () => {
  const loop = await inConsole(1, 'forever.py', 'import time\nkept = 1\nwhile True:\n    time.sleep(0.1)\n')
  const { id } = await sessionOf('python')
  await until(async () => (await state(id)) === 'busy' && (await loop())?.order, 'the loop to run')
  await withApi((api, info) => api.commands.executeCommand('towline.sessions.interrupt', { info }), { id })
  await until(async () => (await loop()).success === false && words(await loop()).includes('KeyboardInterrupt'), 'the interrupt')
  await row('kept').waitFor({ timeout: SLOW })
  await withApi((_api, one) => window.__towline.sessions.sessions.restart(one), id)
  await until(async () => (await cells('Interactive-1.interactive')).some((c) => c.kind === 1 && /restarted/.test(c.code)), 'a word about the restart')
  await row('kept').waitFor({ state: 'detached', timeout: SLOW })
  const gone = await inConsole(1, 'gone.py', 'kept\n')
  await until(async () => words(await gone()).includes('NameError'), 'the name to be gone')
})

test('a kernel that dies says so; a restart brings it back', async () => {
  const dead = await inConsole(1, 'die.py', 'import os, sys\nprint("last words", flush=True)\nos._exit(3)\n')
  const { id } = await sessionOf('python')
  await until(async () => (await state(id)) === 'dead' && (await dead()).success === false, 'the death')
  assert.match(words(await dead()), /The kernel has died/)
  await withApi((_api, one) => window.__towline.sessions.sessions.restart(one), id)
  const again = await inConsole(1, 'again.py', 'print("back", 1 + 1)\n')
  await until(async () => words(await again()) === 'back 2\n', 'the new kernel')
})

test('a loop of very many lines, the window reloaded meanwhile: every line once, in order', async () => {
  const million = await inConsole(1, 'million.py', `for i in range(${LINES}): print(i)\n`)
  await until(async () => words(await million()).includes('\n1000\n'), 'the first thousand')
  await page.reload()
  await win.waitReady(page)
  const begin = Date.now()
  await until(async () => (await million())?.success === true, 'the end', 240000)
  console.log(`# ${LINES} lines shown ${Date.now() - begin} ms after the reload`)
  /* the text is compared in the page: a million lines are 6.9 MB */
  const wrong = await withApi((api, count) => {
    const n = api.workspace.notebookDocuments.find((d) => d.uri.path.endsWith('Interactive-1.interactive'))
    const text = n.getCells().at(-1).outputs.flatMap((o) => o.items.map((i) => new TextDecoder().decode(i.data))).join('')
    const lines = text.split('\n')
    return lines.length === count + 1 ? lines.findIndex((l, i) => l !== (i < count ? String(i) : '')) : `${lines.length} lines: ${text.slice(0, 200)} … ${text.slice(-200)}`
  }, LINES)
  assert.equal(wrong, -1)
  await win.shot(browser, page, 'e2e-sessions-million')
})

unsteady('a second window shows the same session, and what is run in the first', async () => {
  const second = await win.openWindow(browser, url)
  await win.waitReady(second, SLOW)
  const there = await inConsole(1, 'both.py', 'print("for both")\n')
  await until(async () => words(await there()) === 'for both\n', 'the first window')
  await win.until(() => win.withApi(second, (api) => api.workspace.notebookDocuments.some((n) => n.uri.path.endsWith('Interactive-1.interactive') && n.getCells().some((c) => c.outputs.some((o) => o.items.some((i) => new TextDecoder().decode(i.data) === 'for both\n'))))), 'the second window', SLOW)
  await second.close()
  await page.bringToFront()
})

test('an interpreter without ipykernel is told about, with the command that changes that', async () => {
  await order('remote', { command: `/usr/bin/python3 -m venv --without-pip ${at('.venv')}` })
  await win.command(page, 'towline.console.startPython')
  const pick = page.locator('.quick-input-list .monaco-list-row', { hasText: '.venv/bin/python' }).first()
  await pick.waitFor({ timeout: SLOW })
  await win.shot(browser, page, 'e2e-sessions-pick')
  await pick.click()
  await until(async () => (await shown()).some((t) => /ipykernel is not installed/.test(t) && /pip install ipykernel/.test(t)), 'the message')
  await win.shot(browser, page, 'e2e-sessions-missing')
  await win.command(page, 'notifications.clearAll')
})

unsteady('closing a console: its session goes on where the setting says so, and opens again with its log', async () => {
  const set = (value) => withApi((api, v) => api.workspace.getConfiguration('kernelSupervisor').update('shutdownTimeout', v, api.ConfigurationTarget.Global), value)
  const { id } = await sessionOf('r')
  const close = () => withApi(async (api) => {
    for (const g of api.window.tabGroups.all) for (const t of g.tabs) if (t.label.startsWith('R')) if (t.input instanceof api.TabInputInteractiveWindow) await api.window.tabGroups.close(t)
  })
  const info = async () => (await sessions()).find((k) => k.id === id)
  await set('indefinitely')
  await until(async () => (await info()).shutdownTimeout === 'indefinitely', 'the setting to reach the session')
  await close()
  await until(async () => (await info()).viewers === 0, 'nobody to watch')
  await page.reload()
  await win.waitReady(page)
  await until(async () => (await cells('Interactive-1.interactive')).length > 0, 'the other console')
  assert.equal((await info()).viewers, 0)
  await withApi((api, one) => api.commands.executeCommand('towline.sessions.attach', { info: one }), await info())
  await until(async () => (await withApi((api) => api.workspace.notebookDocuments.filter((n) => n.getCells().some((c) => /readline/.test(c.document.getText()) && c.outputs.length)).length)) > 0, 'the log of the console')
})

test('a console that is closed takes its session with it, where the setting is immediately', async () => {
  await withApi((api) => api.workspace.getConfiguration('kernelSupervisor').update('shutdownTimeout', 'immediately', api.ConfigurationTarget.Global))
  await until(() => withApi(() => window.__towline.sessions.sessions.specs.length > 0), 'kernels')
  const fresh = await withApi(async () => {
    const { sessions, consoles } = window.__towline.sessions
    return (await consoles.start(sessions.specs.find((s) => s.id === 'ir'))).session.id
  })
  await withApi(async (api) => {
    for (const g of api.window.tabGroups.all) for (const t of g.tabs) if (t.input instanceof api.TabInputInteractiveWindow) await api.window.tabGroups.close(t)
  })
  await until(async () => !(await sessions()).some((k) => k.id === fresh), 'the end of the session')
})

test('nothing was asked of other machines, no policy was broken', () => {
  assert.deepEqual(page.problems.filter((p) => !p.startsWith('error: ')), [])
})

unsteady('no error was left', () => {
  /* VS Code's list of cells measures one that has just been replaced: it says so, and measures again */
  assert.deepEqual(page.problems.filter((p) => p.startsWith('error: ') && !/'domNode'.*updateElementHeight/.test(p)), [])
})

const failed = await run({ browser, current: () => page })
await browser.close()
stand.stdin.end()
await new Promise((r) => stand.on('exit', r))
process.exit(failed ? 1 : 0)
