// api.js - the JSON API. The access token lives in this module's memory only; the refresh token in a
// cookie that no script sees. Tabs share the cookie, and a refresh token works once: so they refresh one
// at a time.
import { errorText, t } from './text.js'

let token = ''

export class ApiError extends Error {
  constructor(status, error) {
    super(errorText(error.code, error.message))
    this.status = status
    this.code = error.code
    this.fields = (error.fields || []).map((f) => ({ path: f.path, text: errorText(f.code, f.message) }))
  }
}

async function send(method, path, body, headers = {}) {
  const init = { method, headers: { ...headers }, credentials: 'same-origin', cache: 'no-store' }
  if (token) init.headers.authorization = `Bearer ${token}`
  if (method === 'POST' || method === 'PATCH') {
    init.headers['content-type'] = 'application/json'
    init.body = JSON.stringify(body || {})
  }
  let answer
  try {
    answer = await fetch(path, init)
  } catch {
    throw new ApiError(0, { code: 'offline', message: t('offline') })
  }
  if (answer.status === 204) return {}
  const json = await answer.json().catch(() => ({}))
  if (answer.ok) return json
  throw new ApiError(answer.status, json.error || { code: 'http', message: t('something_wrong', answer.status) })
}

// Keeps the token of an answer that has one.
export function keep(answer) {
  if (answer.access_token) token = answer.access_token
  return answer
}

function alone(work) {
  return navigator.locks ? navigator.locks.request('samovar-refresh', work) : work()
}

// A session from the cookie. True: there is one.
export async function resume() {
  token = ''
  try {
    await alone(async () => keep(await send('POST', '/api/auth/refresh', undefined, { 'x-samovar-csrf': '1' })))
    return true
  } catch (error) {
    if (error.status === 401 || error.status === 400) return false
    throw error
  }
}

// One request; a token that has run out is exchanged once.
export async function api(method, path, body) {
  try {
    return await send(method, path, body)
  } catch (error) {
    const stale = error.code === 'auth.token_expired' || error.code === 'auth.token_revoked'
    if (!token || !stale || !(await resume())) throw error
    return send(method, path, body)
  }
}

export async function logout() {
  await send('POST', '/api/auth/logout', undefined, { 'x-samovar-csrf': '1' })
  token = ''
}

// The organization that the access token is for: what the server put into it, for display only.
export function workplace() {
  try {
    const claims = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')
    return JSON.parse(atob(claims)).org || ''
  } catch {
    return ''
  }
}

// All pages of a list.
export async function all(path, member) {
  const found = []
  let after = ''
  do {
    const page = await api('GET', after ? `${path}?after=${encodeURIComponent(after)}` : path)
    found.push(...page[member])
    after = page.next
  } while (after && found.length < 1000)
  return found
}
