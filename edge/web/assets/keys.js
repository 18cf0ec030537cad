// keys.js - API keys: those there are, a new one, ending one.
import { all, api } from './api.js'
import { dayText, momentText, t } from './text.js'
import { action, check, confirmed, el, field, form, secret, section, select } from './ui.js'

const scopes = ['chat', 'read', 'write', 'files', 'org', 'admin']
const DAY_MS = 86400000

function keyRow(k, line, again) {
  const facts = [(k.scopes || []).join(', '), k.last_used ? t('key_last_used', momentText(k.last_used)) : t('key_never_used'),
    k.expires ? t('expires', dayText(k.expires)) : '']
  return el('li', {}, el('div', { class: 'grow' },
    el('div', { class: 'name' }, k.name || k.shown, el('span', { class: 'tag' }, `${k.shown}…`)),
    el('div', { class: 'soft' }, facts.filter(Boolean).join(' · '))),
  action(t('remove'), line, async () => {
    if (!await confirmed(t('remove'), t('key_delete_text', k.name || k.shown), t('remove'))) return
    await api('DELETE', `/api/keys/${k.id}`)
    await again()
  }, 'danger'))
}

function newKey(made, again) {
  const name = field({ path: 'name', label: t('key_name'), maxLength: 100, required: true, autocomplete: 'off' })
  const choices = scopes.map((s) => check(t(`scope_${s}`), s === 'chat', s))
  const expires = select(t('key_expires'), [['0', t('never')], ...[30, 90, 365].map((n) => [`${n}`, t('later_days', n)])], '90')
  return el('div', {}, made, el('details', {}, el('summary', {}, t('key_new')), form({
    fields: [name],
    extra: [el('fieldset', {}, el('legend', {}, t('scopes')), choices.map((c) => c.box)), expires.box],
    button: t('create'),
    submit: async () => {
      const days = Number(expires.input.value)
      const { key } = await api('POST', '/api/keys', {
        name: name.value,
        scopes: choices.filter((c) => c.input.checked).map((c) => c.input.value),
        expires: days ? Date.now() + days * DAY_MS : 0,
      })
      name.input.value = ''
      await again()
      made.replaceChildren(secret(t('key_shown'), key))
      made.querySelector('input').focus()
    },
  })))
}

export function keys() {
  const list = el('div')
  const made = el('div', { 'aria-live': 'polite' }) // a new key, until something else happens
  let form = null
  return section(t('keys'), async (body, line, again) => {
    const found = await all('/api/keys', 'keys')
    list.replaceChildren(found.length
      ? el('ul', { class: 'list' }, found.map((k) => keyRow(k, line, again)))
      : el('p', { class: 'soft' }, t('keys_none')))
    made.replaceChildren()
    form = form || newKey(made, again)
    if (!form.isConnected) body.replaceChildren(list, form)
  })
}
