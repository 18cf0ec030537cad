// reset-password.js - a new password with the token of the mailed link; it does not log in.
import { api } from './api.js'
import { t } from './text.js'
import { el, form, fragment, link, notice, password, show } from './ui.js'

const token = fragment.get('token')
if (token) {
  const secret = password('password', t('new_password'), 'new-password', t('password_hint'))
  show(t('reset_title'), form({
    fields: [secret],
    button: t('reset_button'),
    submit: async () => {
      await api('POST', '/api/auth/reset-password', { token, password: secret.value })
      history.replaceState(null, '', '/reset-password')
      show(t('reset_title'), notice(t('reset_done'), 'good'), link('/login', t('login_link')))
    },
  }))
} else {
  show(t('reset_title'), notice(t('link_missing'), 'bad'),
    el('nav', { class: 'links' }, link('/forgot-password', t('forgot_link'))))
}
