// setup.js - the first administrator, with the token of the setup link.
import { api } from './api.js'
import { t } from './text.js'
import { el, email, field, form, fragment, link, notice, password, show } from './ui.js'

const token = fragment.get('token')

function ask() {
  const address = email()
  const name = field({ path: 'name', label: t('name'), autocomplete: 'name', maxLength: 200, hint: t('name_hint') })
  const secret = password('password', t('password'), 'new-password', t('password_hint'))
  show(t('setup_title'), el('p', {}, t('setup_text')), form({
    fields: [address, name, secret],
    button: t('setup_button'),
    submit: async () => {
      await api('POST', '/api/auth/setup', { token, email: address.value, name: name.value, password: secret.value })
      history.replaceState(null, '', '/setup')
      show(t('setup_title'), notice(t('setup_done'), 'good'), link('/login', t('login_link')))
    },
  }))
}

if (token) ask()
else show(t('setup_title'), notice(t('link_missing'), 'bad'))
