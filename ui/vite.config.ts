/* The bundle. Asset names carry hashes, so the daemon may let browsers keep them for ever. */
import { defineConfig } from 'vite'
import { fileURLToPath } from 'node:url'
import { frameScripts } from './build/frameScript.mjs'

const stub = fileURLToPath(new URL('./src/vscode/noDiagnostics.ts', import.meta.url))

export default defineConfig({
  base: './',
  plugins: [frameScripts()],
  build: {
    target: 'es2022',
    sourcemap: false,
    assetsInlineLimit: 0, /* data: addresses of scripts would need holes in the policy */
    chunkSizeWarningLimit: 20000,
    reportCompressedSize: false
  },
  worker: { format: 'es' },
  resolve: {
    dedupe: ['vscode'],
    /* the ligature add-on of the terminal imports this Node module, which no browser has */
    alias: { 'node:diagnostics_channel': stub }
  }
})
