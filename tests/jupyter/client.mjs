// client.mjs CASE - what JupyterLab's own client does with a gateway, for tests/e2e/test_gateway_lab.py. URL and TOKEN come from the
// environment, KERNEL is the kernelspec's name; FRAMING=old leaves the newer subprotocol out. Lines of standard input are permissions to
// go on. Ends with status 0 when everything was as it should.
import assert from 'node:assert/strict'
import readline from 'node:readline'
import WS from 'ws'
import coreutils from '@jupyterlab/coreutils'
import services from '@jupyterlab/services'

const { KernelManager, KernelSpecManager, ServerConnection, SessionManager, TerminalManager } = services
const { URL: baseUrl, TOKEN: token, KERNEL: name = 'python3', FRAMING } = process.env
const sockets = new Set()
let away = false // the network is gone

class Socket extends WS {
  constructor(url, protocols) {
    if (away) super('ws://127.0.0.1:1/')
    else if (FRAMING === 'old') super(url)
    else super(url, protocols)
    sockets.add(this)
    this.on('close', () => sockets.delete(this))
  }
}

const serverSettings = ServerConnection.makeSettings({
  baseUrl: baseUrl + '/', wsUrl: baseUrl.replace('http', 'ws') + '/', token, appendToken: true, WebSocket: Socket })
coreutils.PageConfig.setOption('terminalsAvailable', 'true')
const kernels = new KernelManager({ serverSettings })
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const permission = () => lines.next()
const say = text => process.stdout.write(text + '\n')

// Runs code; what came, in order.
async function run(kernel, code, options = {}) {
  const out = { text: '', results: [], errors: [], onText: options.onText }
  const future = kernel.requestExecute({ code, allow_stdin: Boolean(options.answer) })
  future.onIOPub = m => {
    if (m.header.msg_type === 'stream') {
      out.text += m.content.text
      out.onText?.(out.text)
    }
    // IRkernel shows results, it has none
    if (m.header.msg_type === 'execute_result' || m.header.msg_type === 'display_data') out.results.push(m.content.data)
    if (m.header.msg_type === 'error') out.errors.push(m.content.ename)
  }
  if (options.answer)
    future.onStdin = m => {
      assert.equal(m.header.msg_type, 'input_request')
      future.sendInputReply({ value: options.answer, status: 'ok' }, m.header)
    }
  out.reply = (await future.done).content
  return out
}

const cases = {
  async execute() {
    const kernel = await kernels.startNew({ name })
    const info = await kernel.info
    assert.equal(info.language_info.name, name === 'ir' ? 'R' : 'python')
    const r = name === 'ir' ? await run(kernel, 'cat("ha\\n"); 1 + 1') : await run(kernel, 'print("hä"); 1 + 1')
    assert.equal(r.text, name === 'ir' ? 'ha\n' : 'hä\n')
    assert.match(r.results[0]['text/plain'], /2$/)
    assert.equal(r.reply.status, 'ok')
    assert.equal((await run(kernel, name === 'ir' ? 'stop("x")' : '1/0')).reply.status, 'error')
    const listed = []
    for (const k of kernels.running()) listed.push(k.id)
    assert.ok(listed.includes(kernel.id))
    await kernel.shutdown()
  },

  async buffers() {
    const kernel = await kernels.startNew({ name })
    await run(kernel, `
def opened(comm, message):
    @comm.on_msg
    def _(m):
        comm.send({'n': len(m['buffers'])}, buffers=[bytes(b)[::-1] for b in m['buffers']])
get_ipython().kernel.comm_manager.register_target('echo', opened)`)
    const comm = kernel.createComm('echo')
    const answer = new Promise(resolve => { comm.onMsg = resolve })
    comm.open({})
    const big = new Uint8Array(300000).map((_, i) => i % 251)
    comm.send({}, {}, [new Uint8Array([1, 2, 3]).buffer, new Uint8Array(0).buffer, big.buffer])
    const m = await answer
    assert.equal(m.content.data.n, 3)
    const got = m.buffers.map(b => Array.from(new Uint8Array(b.buffer ?? b, b.byteOffset ?? 0, b.byteLength)))
    assert.deepEqual(got[0], [3, 2, 1])
    assert.deepEqual(got[1], [])
    assert.deepEqual(got[2], Array.from(big).reverse())
    await kernel.shutdown()
  },

  async restart() {
    const kernel = await kernels.startNew({ name })
    await run(kernel, 'x = 1')
    const seen = []
    kernel.statusChanged.connect((_, s) => seen.push(s))
    await kernel.restart()
    assert.ok(seen.includes('restarting'), String(seen))
    assert.deepEqual((await run(kernel, 'x')).errors, ['NameError'])
    await kernel.shutdown()
  },

  async dead() {
    const kernel = await kernels.startNew({ name })
    const dead = new Promise(resolve => kernel.statusChanged.connect((_, s) => s === 'dead' && resolve()))
    kernel.requestExecute({ code: 'import os; os._exit(3)' }).done.catch(() => {})
    await dead
  },

  async interrupt() {
    const kernel = await kernels.startNew({ name })
    const r = await run(kernel, 'print("begun", flush=True)\nwhile True: pass', { onText: () => void kernel.interrupt() })
    assert.deepEqual(r.errors, ['KeyboardInterrupt'])
    await kernel.shutdown()
  },

  async input() {
    const kernel = await kernels.startNew({ name })
    const r = await run(kernel, 'print("got", input("name? "))', { answer: 'Bob' })
    assert.equal(r.text, 'got Bob\n')
    await kernel.shutdown()
  },

  // The connection dies, the kernel prints on, and only after that the client comes back: it gets what it missed, once and in order.
  async reconnect() {
    const kernel = await kernels.startNew({ name })
    let back
    const r = await run(kernel, 'import os, time\nprint("begun", flush=True)\nhome = os.path.expanduser("~")\n' +
      'while not os.path.exists(home + "/cut"): time.sleep(0.05)\nfor i in range(20000): print(i)\n' +
      'open(home + "/printed", "w").close()', {
      onText: async text => {
        if (text !== 'begun\n') return
        away = true
        for (const s of sockets) s.terminate()
        say('cut')
        await permission()
        away = false
        back = true
      } })
    assert.ok(back)
    assert.equal(r.reply.status, 'ok')
    assert.ok(r.text === 'begun\n' + Array.from({ length: 20000 }, (_, i) => i + '\n').join(''), 'lines are missing, doubled or out of order')
    await kernel.shutdown()
  },

  // The WebSocket stays open though the agent is killed (by the test, between the permissions).
  async survive() {
    const kernel = await kernels.startNew({ name })
    await kernel.info
    let opened = 0
    kernel.connectionStatusChanged.connect((_, s) => { opened += s === 'connected' })
    const r = run(kernel, 'import os, time\nprint("begun", flush=True)\n' +
      'while not os.path.exists(os.path.expanduser("~/gate")): time.sleep(0.05)\nfor i in range(20000): print(i)',
    { onText: text => { if (text === 'begun\n') say('begun') } })
    const out = await r
    assert.ok(out.text === 'begun\n' + Array.from({ length: 20000 }, (_, i) => i + '\n').join(''), 'lines are missing')
    assert.equal(opened, 0)
    await kernel.shutdown()
  },

  // Two clients see the same kernel; replies go to whom they are for.
  async two() {
    const kernel = await kernels.startNew({ name })
    const other = kernels.connectTo({ model: kernel.model })
    await run(other, 'y = 20')
    const seen = []
    other.iopubMessage.connect((_, m) => m.header.msg_type === 'execute_result' && seen.push(m.content.data['text/plain']))
    const strays = []
    other.anyMessage.connect((_, { msg, direction }) => {
      if (direction === 'recv' && msg.channel === 'shell' && msg.parent_header.session !== other.clientId) strays.push(msg.header.msg_type)
    })
    const r = await run(kernel, 'y + 1')
    assert.equal(r.results[0]['text/plain'], '21')
    await run(other, '2')
    assert.deepEqual(seen, ['21', '2'])
    assert.deepEqual(strays, [])
    await kernel.shutdown()
  },

  async sessions() {
    const sessions = new SessionManager({ kernelManager: kernels, serverSettings })
    await sessions.ready
    const s = await sessions.startNew({ path: 'work/a.ipynb', name: 'a.ipynb', type: 'notebook', kernel: { name } })
    const id = s.kernel.id
    assert.equal((await run(s.kernel, '6 * 7')).results[0]['text/plain'], '42')
    await s.setPath('work/b.ipynb')
    await sessions.refreshRunning()
    assert.deepEqual([...sessions.running()].map(x => [x.path, x.kernel.id]), [['work/b.ipynb', id]])
    const found = await sessions.findByPath('work/b.ipynb')
    assert.equal(found.id, s.id)
    await s.changeKernel({ name })
    assert.notEqual(s.kernel.id, id)
    assert.equal(s.id, found.id)
    assert.equal((await run(s.kernel, '1')).results[0]['text/plain'], '1')
    await s.shutdown()
    await sessions.refreshRunning()
    assert.deepEqual([...sessions.running()], [])
    sessions.dispose()
  },

  async specs() {
    const specs = new KernelSpecManager({ serverSettings })
    await specs.ready
    assert.ok(specs.specs.default)
    assert.equal(specs.specs.kernelspecs.ir.language, 'R')
    const logo = specs.specs.kernelspecs.python3.resources['logo-64x64']
    const answer = await fetch(baseUrl + logo, { headers: { authorization: 'token ' + token } })
    assert.equal(answer.status, 200)
    assert.equal(answer.headers.get('content-type'), 'image/png')
    assert.equal(Buffer.from(await answer.arrayBuffer()).toString('latin1', 1, 4), 'PNG')
    specs.dispose()
  },

  async terminals() {
    const terminals = new TerminalManager({ serverSettings })
    await terminals.ready
    const t = await terminals.startNew()
    let text = ''
    await new Promise(resolve => {
      t.messageReceived.connect((_, m) => {
        if (m.type === 'stdout') text += m.content[0]
        if (text.includes('sum 42 ü')) resolve()
      })
      t.send({ type: 'set_size', content: [30, 100, 0, 0] })
      t.send({ type: 'stdin', content: ['echo sum $((6*7)) ü\r'] })
    })
    await t.shutdown()
    await terminals.refreshRunning()
    assert.deepEqual([...terminals.running()].map(x => x.name).filter(n => n === t.name), [])
    terminals.dispose()
  },
}

await kernels.ready
await cases[process.argv[2]]()
say('done')
process.exit(0)
