/* After the bundle: no source maps in the product, and text assets stored compressed.
 * A file x of at least MIN bytes becomes x.gz only: the daemon serves it with Content-Encoding: gzip.
 * index.html stays plain, too, so that a person can look at it. */
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { gzipSync } from 'node:zlib'

const TEXT = new Set(['.js', '.mjs', '.css', '.json', '.html', '.svg', '.wasm', '.ttf', '.txt', '.md', '.code-snippets', '.tmlanguage', '.plist'])
const MIN = 1024
const root = process.argv[2]

if (!root) {
  console.error('finish: pack the window: no folder given: call it as node finish.mjs dist')
  process.exit(2)
}

let files = 0, before = 0, after = 0
const visit = (dir) => {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name)
    if (entry.isDirectory()) {
      visit(path)
      continue
    }
    if (entry.name.endsWith('.map')) {
      rmSync(path)
      continue
    }
    const size = statSync(path).size
    let kept = size
    if (TEXT.has(extname(entry.name).toLowerCase()) && size >= MIN && entry.name !== 'index.html') {
      const packed = gzipSync(readFileSync(path), { level: 9 })
      writeFileSync(path + '.gz', packed)
      rmSync(path)
      kept = packed.length
    }
    files++
    before += size
    after += kept
  }
}
visit(root)
const mib = (n) => (n / 1048576).toFixed(1)
console.log(`${root}: ${files} files, ${mib(before)} MiB, packed ${mib(after)} MiB`)
