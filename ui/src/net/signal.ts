/* The smallest event: a set of listeners. A listener that throws does not keep the others from hearing. */
export class Signal<T> {
  private readonly listeners = new Set<(value: T) => void>()

  /** Adds a listener; the result takes it away. */
  on(listener: (value: T) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  fire(value: T): void {
    for (const listener of [...this.listeners]) {
      try {
        listener(value)
      } catch (error) {
        console.error(error)
      }
    }
  }

  /** Resolves with the first value that passes. */
  once(test: (value: T) => boolean = () => true): Promise<T> {
    return new Promise((resolve) => {
      const off = this.on((value) => {
        if (test(value)) {
          off()
          resolve(value)
        }
      })
    })
  }
}
