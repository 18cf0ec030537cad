// account.js - the account: profile, password, second factor, sessions, keys, organizations.
import { api, logout, resume } from './api.js'
import { keys } from './keys.js'
import { organizations } from './organizations.js'
import { secondFactor } from './second-factor.js'
import { momentText, t } from './text.js'
import { action, confirmed, el, field, form, main, notice, password, run, section, select } from './ui.js'

function leave() {
  location.replace('/login')
}

function profile(me) {
  return section(t('profile'), async (body, line) => {
    const { user } = me
    const name = field({ path: 'name', label: t('name'), autocomplete: 'name', maxLength: 200, value: user.name || '' })
    const language = select(t('language'), [['en', 'English'], ['ru', 'Русский']], user.locale || 'en')
    body.replaceChildren(el('p', {}, user.email), form({
      fields: [name],
      extra: [language.box],
      button: t('save'),
      submit: async () => { me.user = (await api('PATCH', '/api/auth/me', { name: name.value, locale: language.input.value })).user },
      done: t('saved'),
    }))
    if (user.verified) return
    const sent = el('span', { role: 'status' })
    body.prepend(el('div', { class: 'notice' }, el('p', {}, t('verify_needed')),
      action(t('verify_resend'), line, async () => {
        await api('POST', '/api/auth/verify-email/resend')
        sent.textContent = t('verify_sent')
      }), ' ', sent))
  })
}

function changePassword(me) {
  return section(t('password_title'), async (body) => {
    const user = el('input', { type: 'hidden', autocomplete: 'username', value: me.user.email })
    const old = password('password', t('current_password'), 'current-password')
    const fresh = password('new_password', t('new_password'), 'new-password', t('password_hint'))
    body.replaceChildren(form({
      fields: [old, fresh],
      extra: [user],
      button: t('change'),
      submit: async () => {
        await api('POST', '/api/auth/change-password', { password: old.value, new_password: fresh.value })
        old.input.value = ''
        fresh.input.value = ''
      },
      done: t('password_changed'),
    }))
  })
}

// A browser's words about itself, in two of them where they are known.
function deviceText(words) {
  const browser = [['Edg/', 'Edge'], ['OPR/', 'Opera'], ['YaBrowser/', 'Yandex'], ['Firefox/', 'Firefox'], ['Chrome/', 'Chrome'], ['Safari/', 'Safari']]
    .find(([mark]) => words.includes(mark))
  const system = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS', 'Linux'].find((mark) => words.includes(mark))
  return browser && system ? `${browser[1]}, ${system}` : words
}

function sessionRow(s, line, again) {
  const times = [t('created', momentText(s.created)), t('session_used', momentText(s.last_used)), s.network]
  return el('li', {}, el('div', { class: 'grow' },
    el('div', { class: 'name' }, s.device ? deviceText(s.device) : t('unknown_device'), s.current && el('span', { class: 'tag' }, t('session_this'))),
    el('div', { class: 'soft' }, times.filter(Boolean).join(' · '))),
  !s.current && action(t('session_end'), line, async () => {
    await api('DELETE', `/api/auth/sessions/${s.id}`)
    await again()
  }))
}

function sessions() {
  return section(t('sessions'), async (body, line, again) => {
    const list = (await api('GET', '/api/auth/sessions')).sessions
    body.replaceChildren(el('ul', { class: 'list' }, list.map((s) => sessionRow(s, line, again))),
      action(t('logout_all'), line, async () => {
        if (!await confirmed(t('logout_all'), t('logout_all_text'), t('logout_all'))) return
        await api('POST', '/api/auth/logout-all')
        leave()
      }, 'danger'))
  })
}

function head(me) {
  const line = notice('')
  const title = el('h1', { tabIndex: -1 }, t('account'))
  document.title = `${t('account')} - Samovar`
  document.querySelector('.top').append(el('div', { class: 'row' },
    el('a', { href: '/docs' }, t('api_docs')),
    action(t('logout'), line, async () => {
      await logout()
      leave()
    })))
  return [title, line]
}

run(async () => {
  if (!await resume()) {
    leave()
    return
  }
  const me = await api('GET', '/api/auth/me')
  main.replaceChildren(...head(me), profile(me), changePassword(me), secondFactor(me), sessions(),
    keys(), organizations(me))
  main.setAttribute('aria-busy', 'false')
})
