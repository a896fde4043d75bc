/* The page before the workbench: progress, failures with something to do about them. */
import type { HostProgress } from '../net/proto'

const STEPS_SHOWN = 12

const element = <E extends HTMLElement>(id: string) => document.getElementById(id) as E

export interface Action {
  label: string
  run: () => void
}

export class Skeleton {
  private readonly root = element('skeleton')
  private readonly text = element('sk-text')
  private readonly spin = element('sk-spin')
  private readonly steps = element('sk-steps')
  private readonly bar = element<HTMLProgressElement>('sk-bar')
  private readonly actions = element('sk-actions')
  private readonly log = element('sk-log')
  private lastStep = ''

  /** Whom the window is for. */
  title(text: string, remote: string): void {
    element('sk-where').textContent = text
    element('sk-remote').textContent = remote
  }

  /** Something goes on. */
  busy(text: string): void {
    this.spin.hidden = false
    this.text.textContent = text
    this.actions.replaceChildren()
    this.log.hidden = true
  }

  progress(p: HostProgress): void {
    if (p.total) {
      this.bar.hidden = false
      this.bar.max = p.total
      this.bar.value = p.done ?? 0
    } else {
      this.bar.hidden = true
    }
    if (p.step === this.lastStep && this.steps.lastElementChild) {
      this.steps.lastElementChild.textContent = p.text
      return
    }
    this.lastStep = p.step
    const line = document.createElement('li')
    line.textContent = p.text
    this.steps.append(line)
    while (this.steps.childElementCount > STEPS_SHOWN) this.steps.firstElementChild!.remove()
  }

  /** It failed: why, and what one can do. */
  failed(text: string, actions: Action[]): void {
    this.spin.hidden = true
    this.bar.hidden = true
    this.text.textContent = text
    this.actions.replaceChildren(
      ...actions.map((action, i) => {
        const button = document.createElement('button')
        button.textContent = action.label
        if (i === 0) button.className = 'primary'
        button.onclick = action.run
        return button
      })
    )
    this.actions.querySelector('button')?.focus()
  }

  showLog(text: string): void {
    this.log.hidden = false
    this.log.textContent = text
    this.log.scrollTop = this.log.scrollHeight
  }

  clearSteps(): void {
    this.lastStep = ''
    this.steps.replaceChildren()
  }

  hide(): void {
    this.root.hidden = true
    this.root.setAttribute('aria-hidden', 'true')
  }
}
