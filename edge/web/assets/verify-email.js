// verify-email.js - a click and not the mere opening confirms: mail programs open links by themselves.
import { api } from './api.js'
import { t } from './text.js'
import { el, form, fragment, link, notice, show } from './ui.js'

const token = fragment.get('token')
if (token) {
  show(t('verify_title'), el('p', {}, t('verify_text')), form({
    button: t('verify_button'),
    submit: async () => {
      await api('POST', '/api/auth/verify-email', { token })
      history.replaceState(null, '', '/verify-email')
      show(t('verify_title'), notice(t('verify_done'), 'good'), link('/account', t('continue')))
    },
  }))
} else {
  show(t('verify_title'), notice(t('link_missing'), 'bad'))
}
