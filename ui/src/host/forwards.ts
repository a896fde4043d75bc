/* The forwards of one host as the daemon holds them: what there is, and what this window changes.
 *
 * Owns nothing but the last list: forwards belong to the daemon, outlive the window, and are seen by every window of the host. */
import type { Control } from '../net/control'
import type { ForwardInfo, ForwardSpec } from '../net/proto'
import { Signal } from '../net/signal'

export class Forwards {
  /** Every forward of the host, after one came, went or changed. */
  readonly onChanged = new Signal<ForwardInfo[]>()
  list: ForwardInfo[] = []

  constructor(private readonly control: Control, readonly host: string) {
    control.on('forward/changed', ({ host: of, forwards }) => {
      if (of === host) this.take(forwards)
    })
  }

  /** Asks for the list: at the beginning, and after the daemon was away. */
  async refresh(): Promise<void> {
    this.take((await this.control.call('forward/list', { host: this.host })).forwards)
  }

  /** Forwards a port; answers the one that exists when there is one for the target. Rejects with a TowlineError. */
  async add(spec: Omit<ForwardSpec, 'host'>): Promise<ForwardInfo> {
    const info = await this.control.call('forward/add', { ...spec, host: this.host })
    this.list = [...this.list.filter((f) => f.id !== info.id), info]
    return info
  }

  async remove(id: string): Promise<void> {
    this.list = this.list.filter((f) => f.id !== id)
    await this.control.call('forward/remove', { id })
  }

  async update(id: string, change: { label?: string; protocol?: 'http' | 'https' }): Promise<void> {
    const info = await this.control.call('forward/update', { id, ...change })
    this.list = this.list.map((f) => (f.id === id ? info : f))
  }

  byId(id: string): ForwardInfo | undefined {
    return this.list.find((f) => f.id === id)
  }

  private take(forwards: ForwardInfo[]): void {
    this.list = forwards
    this.onChanged.fire(forwards)
  }
}

/** A forward of a port of the host to a port here: what VS Code's Ports view can show. */
export function isPort(info: ForwardInfo): boolean {
  return info.kind === 'local' && info.targetPort > 0 && info.localPort > 0 && !info.targetPath && !info.localPath
}

/** The forward by which the host uses this machine's internet, if there is one. */
export function lentOf(list: ForwardInfo[]): ForwardInfo | undefined {
  return list.find((f) => f.proxy)
}

/** What makes programs of a shell on the host use a proxy; the lines of `towline forward HOST --lend-internet`. */
export function proxyLines(url: string): string {
  return `export http_proxy=${url} https_proxy=${url}\nexport HTTP_PROXY=$http_proxy HTTPS_PROXY=$https_proxy no_proxy=localhost,127.0.0.1,::1\n`
}
