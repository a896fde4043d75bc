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
