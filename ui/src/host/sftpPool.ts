/* File streams of one host: one for interactive requests, one for bulk; opened when first used, opened again when they broke.
 *
 * Requests that may be repeated are, on the next stream. */
import { TowlineError, isRetryable } from '../net/errors'
import type { Stream } from '../net/socket'
import { SftpSession } from './sftp'

const ATTEMPTS = 5

export type Lane = 'normal' | 'bulk'

export class SftpPool {
  private readonly lanes: Partial<Record<Lane, Promise<SftpSession>>> = {}

  constructor(private readonly openStream: (open: object) => Promise<Stream>) {}

  /** Runs `action`, which may run twice without harm, on a session. */
  async run<R>(action: (session: SftpSession) => Promise<R>, lane: Lane = 'normal'): Promise<R> {
    for (let attempt = 1; ; attempt++) {
      const session = await this.session(lane)
      try {
        return await action(session)
      } catch (error) {
        if (session.usable || attempt >= ATTEMPTS || !isRetryable(error)) throw error
      }
    }
  }

  /** Runs a change. When its answer was lost it is tried again, and a failure that only says that it is done already
   *  (`done`, told the failure) counts as success. */
  async change(action: (session: SftpSession) => Promise<void>, done: (error: TowlineError, session: SftpSession) => boolean | Promise<boolean>): Promise<void> {
    let again = false
    await this.run(async (session) => {
      const repeated = again
      again = true
      try {
        await action(session)
      } catch (error) {
        if (!repeated || !(error instanceof TowlineError) || !session.usable || !(await done(error, session))) throw error
      }
    })
  }

  /** Gives up what the bulk stream does, when nothing else needs it. */
  async abandonBulk(): Promise<void> {
    const session = await this.lanes.bulk
    if (session && session.busy <= 1) session.close()
  }

  private session(lane: Lane): Promise<SftpSession> {
    const current = this.lanes[lane]
    if (current) return current
    const forget = () => {
      if (this.lanes[lane] === opening) delete this.lanes[lane]
    }
    const opening: Promise<SftpSession> = this.openStream(lane === 'bulk' ? { open: 'sftp', class: 'bulk' } : { open: 'sftp' }).then(
      (stream) => new SftpSession(stream, forget),
      (error: unknown) => {
        forget()
        throw error instanceof Error ? error : TowlineError.of('closed', 'open the files', String(error))
      }
    )
    this.lanes[lane] = opening
    return opening
  }
}
