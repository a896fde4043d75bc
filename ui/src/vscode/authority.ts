/* The name of a host in VS Code's addresses: `ssh-remote+HOST`, and hexadecimal where a name has letters that an authority
 * would change or refuse. */
import { URI } from '@codingame/monaco-vscode-api/vscode/vs/base/common/uri'

const PLAIN = /^[a-z0-9.-]+$/
const HEX = 'hex-'

export function authorityOf(host: string): string {
  if (PLAIN.test(host) && !host.startsWith(HEX)) return `ssh-remote+${host}`
  return `ssh-remote+${HEX}${[...new TextEncoder().encode(host)].map((b) => b.toString(16).padStart(2, '0')).join('')}`
}

export function hostOf(authority: string): string | undefined {
  const name = /^ssh-remote\+(.+)$/.exec(authority)?.[1]
  if (!name?.startsWith(HEX)) return name
  const pairs = name.slice(HEX.length).match(/../g) ?? []
  return new TextDecoder().decode(Uint8Array.from(pairs, (p) => parseInt(p, 16)))
}

export function remoteUri(authority: string, path: string): URI {
  return URI.from({ scheme: 'vscode-remote', authority, path })
}
