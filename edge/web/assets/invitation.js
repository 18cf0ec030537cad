// invitation.js - shows what it is to; then to accept it, or to log in or register first.
import { api, resume } from './api.js'
import { dayText, has, t } from './text.js'
import { el, form, fragment, link, notice, run, show } from './ui.js'

const token = fragment.get('token')

function accept(invitation) {
  return form({
    button: t('accept'),
    submit: async () => {
      await api('POST', '/api/invitations/accept', { token })
      history.replaceState(null, '', '/invitation')
      show(t('invitation_title'), notice(t('invitation_done', invitation.org_name), 'good'), link('/account', t('continue')))
    },
  })
}

run(async () => {
  if (!token) {
    show(t('invitation_title'), notice(t('link_missing'), 'bad'))
    return
  }
  let invitation
  try {
    ({ invitation } = await api('POST', '/api/invitations/look', { token }))
  } catch (error) {
    show(t('invitation_title'), notice(error.message, 'bad'))
    return
  }
  const role = has(`role_${invitation.role}`) ? t(`role_${invitation.role}`) : invitation.role
  const words = [el('p', {}, t('invitation_text', invitation.org_name, role)),
    invitation.email && el('p', {}, t('invitation_for', invitation.email)),
    el('p', { class: 'soft' }, t('invitation_holds', dayText(invitation.expires)))]
  if (await resume()) {
    const { user } = await api('GET', '/api/auth/me')
    show(t('invitation_title'), words, el('p', { class: 'soft' }, t('invitation_as', user.email)), accept(invitation))
    return
  }
  const kept = encodeURIComponent(token)
  show(t('invitation_title'), words, el('nav', { class: 'links' },
    link(`/login#next=invitation&token=${kept}`, t('login_link')),
    link(`/register#invitation=${kept}`, t('register_link'))))
})
