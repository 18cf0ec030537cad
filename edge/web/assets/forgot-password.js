// forgot-password.js - the answer is the same whether there is such an account or not.
import { api } from './api.js'
import { t } from './text.js'
import { el, email, form, link, notice, show } from './ui.js'

const address = email()
const back = () => el('nav', { class: 'links' }, link('/login', t('back_to_login')))
show(t('forgot_title'), el('p', {}, t('forgot_text')), form({
  fields: [address],
  button: t('forgot_send'),
  submit: async () => {
    await api('POST', '/api/auth/forgot-password', { email: address.value })
    show(t('forgot_title'), notice(t('forgot_done'), 'good'), back())
  },
}), back())
