// register.js - an account of one's own, maybe with an invitation's token in the fragment.
import { api } from './api.js'
import { lang, t } from './text.js'
import { el, email, field, form, fragment, link, notice, password, show } from './ui.js'

const invitation = fragment.get('invitation') || ''
const address = email()
const name = field({ path: 'name', label: t('name'), autocomplete: 'name', maxLength: 200, hint: t('name_hint') })
const secret = password('password', t('password'), 'new-password', t('password_hint'))
const next = invitation ? `/login#next=invitation&token=${encodeURIComponent(invitation)}` : '/login'

show(t('register_title'), form({
  fields: [address, name, secret],
  button: t('register_button'),
  submit: async () => {
    const body = { email: address.value, name: name.value, password: secret.value, locale: lang }
    if (invitation) body.invitation = invitation
    const { status } = await api('POST', '/api/auth/register', body)
    const text = status === 'verify' ? t('register_mail', address.value) : t('register_ready')
    show(t('register_title'), notice(text, 'good'), link(next, t('login_link')))
  },
}), el('nav', { class: 'links' }, link(next, t('login_link'))))
