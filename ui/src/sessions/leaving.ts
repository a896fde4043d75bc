/* VS Code in a browser closes documents when the page goes; that is no wish of the user. */
let going = false

export function watchLeaving(): void {
  for (const name of ['beforeunload', 'pagehide']) {
    window.addEventListener(name, () => {
      going = true
      /* the page may stay after all */
      setTimeout(() => (going = false), 2000)
    }, true)
  }
}

/** True while the page is being closed or reloaded. */
export const isLeaving = (): boolean => going
