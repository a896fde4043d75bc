/* `import url from './x.ts?frame-script'`: x becomes one file of its own, a module with its exports, for a frame of the second port. */
import { build } from 'vite'

const QUERY = '?frame-script'

export function frameScripts() {
  return {
    name: 'frame-script',
    async load(id) {
      if (!id.endsWith(QUERY)) return null
      const entry = id.slice(0, -QUERY.length)
      const made = await build({ configFile: false, logLevel: 'error', build: { write: false, target: 'es2022', minify: true, lib: { entry, formats: ['es'], fileName: 'x' } } })
      const code = made[0].output[0].code
      const name = entry.slice(entry.lastIndexOf('/') + 1).replace(/\.ts$/, '.js')
      const file = this.emitFile({ type: 'asset', name, source: code })
      return `export default import.meta.ROLLUP_FILE_URL_${file}`
    }
  }
}
