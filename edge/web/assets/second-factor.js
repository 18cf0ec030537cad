// second-factor.js - turning codes on (secret, picture, first code, recovery codes) and off.
import { api } from './api.js'
import { t } from './text.js'
import { el, field, form, notice, password, secret, section } from './ui.js'

function codeField(hint) {
  return field({ path: 'code', label: t('code'), autocomplete: 'one-time-code', inputMode: 'text', required: true, maxLength: 32, hint })
}

function codesList(codes, next) {
  return [notice(t('recovery_text')), el('ul', { class: 'codes' }, codes.map((c) => el('li', {}, c))),
    el('button', { type: 'button', onclick: next }, t('close'))]
}

function picture(svg) {
  const bytes = new TextEncoder().encode(svg)
  let text = ''
  for (const b of bytes) text += String.fromCharCode(b)
  return el('img', { class: 'qr', alt: t('second_qr'), src: `data:image/svg+xml;base64,${btoa(text)}` })
}

function enable(body, me, again) {
  const now = password('password', t('current_password'), 'current-password')
  body.replaceChildren(el('p', {}, t('second_off')), form({
    fields: [now],
    button: t('second_enable'),
    submit: async () => {
      const made = await api('POST', '/api/auth/2fa/setup', { password: now.value })
      const code = codeField(t('code_six'))
      body.replaceChildren(el('p', {}, t('second_scan')), picture(made.qr_svg), secret(t('second_secret'), made.secret), form({
        fields: [code],
        button: t('second_enable'),
        submit: async () => {
          const { recovery_codes: codes } = await api('POST', '/api/auth/2fa/enable', { code: code.value.trim() })
          me.user.two_factor = true
          body.replaceChildren(...codesList(codes, again))
        },
      }))
      code.input.focus()
    },
  }))
}

function disable(body, me, again) {
  const now = password('password', t('current_password'), 'current-password')
  const code = codeField(t('code_hint'))
  const fresh = codeField(t('code_six'))
  body.replaceChildren(el('p', {}, t('second_on')),
    el('details', {}, el('summary', {}, t('recovery_again')), form({
      fields: [fresh],
      button: t('create'),
      submit: async () => {
        const { recovery_codes: codes } = await api('POST', '/api/auth/2fa/recovery-codes', { code: fresh.value.trim() })
        body.replaceChildren(...codesList(codes, again))
      },
    })),
    el('details', {}, el('summary', {}, t('second_disable')), form({
      fields: [now, code],
      button: t('second_disable'),
      submit: async () => {
        await api('POST', '/api/auth/2fa/disable', { password: now.value, code: code.value.trim() })
        me.user.two_factor = false
        await again()
      },
    })))
}

export function secondFactor(me) {
  return section(t('second'), async (body, line, again) => {
    if (me.user.two_factor) disable(body, me, again)
    else enable(body, me, again)
  })
}
