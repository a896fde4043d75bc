/* Trying again what fails only for a moment. */
import { isRetryable } from './errors'

const ATTEMPTS = 6
/* a stream may fail before the news about its host, or about the daemon, arrive */
const SETTLE_MS = 150

/** Runs `action` when `ready` resolves, again while its failure is one that passes. Rejects with the last failure, or that of `ready`. */
export async function insist<T>(ready: () => Promise<unknown>, action: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    await ready()
    try {
      return await action()
    } catch (error) {
      if (attempt >= ATTEMPTS || !isRetryable(error)) throw error
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS * attempt))
    }
  }
}
