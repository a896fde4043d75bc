/* Pages of our own in frames: no scripts but the one with the nonce, nothing from anywhere. */
export function nonce(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('')
}

/** A page; `body` and `script` are ours, never text of the host. */
export function pageHtml(style: string, body: string, script: string): string {
  const once = nonce()
  return `<!doctype html>
<html><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'nonce-${once}'; script-src 'nonce-${once}'; img-src data: blob:">
<style nonce="${once}">
  html, body { height: 100%; margin: 0; padding: 0; overflow: hidden }
  button { border: 0; border-radius: 4px; min-width: 26px; height: 24px; font: inherit; background: none; color: var(--vscode-icon-foreground); cursor: pointer }
  button:hover:enabled { background: var(--vscode-toolbar-hoverBackground) } button:disabled { opacity: 0.4; cursor: default }
  button:focus-visible, [tabindex]:focus-visible { outline: 1px solid var(--vscode-focusBorder); outline-offset: -1px }
  ${style}
</style></head><body>${body}<script nonce="${once}">(() => {\nconst code = acquireVsCodeApi()\n${script}\n})()</script></body></html>`
}
