/* The address of this window, and of others: ?host=…&folder=…#token=…. The token goes into sessionStorage at once, so that it
 * is neither in the address bar nor in the history. */
const TOKEN_KEY = 'towline.token'

export interface Target {
  host?: string
  folder?: string
  file?: string
  workspace?: string
}

export interface Address extends Target {
  token: string
  test: boolean
}

export function takeAddress(): Address {
  const query = new URLSearchParams(location.search)
  const fragment = new URLSearchParams(location.hash.slice(1))
  const fresh = fragment.get('token')
  if (fresh) {
    sessionStorage.setItem(TOKEN_KEY, fresh)
    fragment.delete('token')
    const rest = fragment.toString()
    history.replaceState(null, '', location.pathname + location.search + (rest ? `#${rest}` : ''))
  }
  const get = (name: string) => query.get(name) || undefined
  return {
    token: sessionStorage.getItem(TOKEN_KEY) ?? '', test: query.has('test'), host: get('host'), folder: get('folder'), file: get('file'),
    workspace: get('workspace')
  }
}

/** The address of a window. `withToken` for one in another tab, which has a session storage of its own. */
export function addressOf(target: Target, withToken: boolean): string {
  const query = new URLSearchParams()
  for (const name of ['host', 'folder', 'file', 'workspace'] as const) {
    const value = target[name]
    if (value) query.set(name, value)
  }
  if (new URLSearchParams(location.search).has('test')) query.set('test', '1')
  /* slashes may stand in a query as they are, and are easier to read */
  const text = query.toString().replaceAll('%2F', '/')
  const token = withToken ? `#token=${encodeURIComponent(sessionStorage.getItem(TOKEN_KEY) ?? '')}` : ''
  return `${location.origin}/${text ? `?${text}` : ''}${token}`
}
