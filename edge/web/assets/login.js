// login.js - password, then a code where one is asked for. Where it goes on to is one of our own pages.
import { api, keep } from './api.js'
import { t } from './text.js'
import { check, el, email, field, form, fragment, link, password, show } from './ui.js'

function go() {
  const token = fragment.get('token')
  if (fragment.get('next') === 'invitation' && token) location.replace(`/invitation#token=${encodeURIComponent(token)}`)
  else location.replace('/account')
}

function askCode(half, remember) {
  const code = field({ path: 'code', label: t('code'), autocomplete: 'one-time-code', hint: t('code_hint'), required: true, maxLength: 32, autocapitalize: 'none' })
  show(t('code_title'), form({
    fields: [code],
    button: t('continue'),
    submit: async () => {
      keep(await api('POST', '/api/auth/2fa/verify', { half_token: half, code: code.value.trim(), remember, cookie: true }))
      go()
    },
  }), el('div', { class: 'links' }, el('a', { href: location.href, onclick: (e) => { e.preventDefault(); location.reload() } }, t('back_to_login'))))
}

const address = email()
const secret = password('password', t('password'), 'current-password')
const remember = check(t('remember'))
show(t('login_title'), form({
  fields: [address, secret],
  extra: [remember.box],
  button: t('at_login'),
  submit: async () => {
    const answer = keep(await api('POST', '/api/auth/login', { email: address.value, password: secret.value, remember: remember.input.checked, cookie: true }))
    if (answer.two_factor_required) askCode(answer.half_token, remember.input.checked)
    else go()
  },
}), el('nav', { class: 'links' }, link('/forgot-password', t('forgot_link')), link('/register', t('register_link'))))
