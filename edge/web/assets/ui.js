// ui.js - elements, forms and messages. Text enters the page as text only.
import { t } from './text.js'

export const main = document.getElementById('main')

export function el(tag, props = {}, ...children) {
  const e = document.createElement(tag)
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === false || value === null) continue
    if (key.startsWith('on')) e.addEventListener(key.slice(2), value)
    else if (key === 'class') e.className = value
    else if (key in e && key !== 'list' && key !== 'form') e[key] = value
    else e.setAttribute(key, value === true ? '' : value)
  }
  e.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false))
  return e
}

// What the page shows from now on; the focus goes to its title, so that it is read out.
export function show(title, ...content) {
  const head = el('h1', { tabIndex: -1 }, title)
  document.title = `${title} - Samovar`
  main.replaceChildren(el('div', { class: 'card' }, head, content))
  main.setAttribute('aria-busy', 'false')
  const first = main.querySelector('input:not([type=hidden])')
  ;(first || head).focus()
}

export function notice(text, kind = '') {
  return el('p', { class: `notice ${kind}`, role: kind === 'bad' ? 'alert' : 'status' }, text)
}

let ids = 0

// A labelled input. `path` is the field's name in the API's errors.
export function field({ path, label, hint, type = 'text', value = '', ...rest }) {
  const id = `f${++ids}`
  const input = el('input', { id, name: path, type, value, 'aria-describedby': hint ? `${id}h ${id}e` : `${id}e`, ...rest })
  const wrong = el('p', { class: 'wrong', id: `${id}e`, hidden: true })
  const box = el('div', { class: 'field' }, el('label', { htmlFor: id }, label), input,
    hint && el('p', { class: 'hint', id: `${id}h` }, hint), wrong)
  if (type === 'password') {
    const reveal = el('input', { type: 'checkbox', onchange: () => { input.type = reveal.checked ? 'text' : 'password' } })
    box.append(el('label', { class: 'check hint' }, reveal, t('password_show')))
  }
  return {
    box, path, input,
    get value() { return input.value },
    fail(text) {
      wrong.textContent = text
      wrong.hidden = !text
      if (text) input.setAttribute('aria-invalid', 'true')
      else input.removeAttribute('aria-invalid')
    },
  }
}

export function check(label, checked = false, value = '') {
  const input = el('input', { type: 'checkbox', checked, value })
  return { input, box: el('label', { class: 'check' }, input, label) }
}

export function select(label, options, value, quiet = false) {
  const id = `f${++ids}`
  const input = el('select', { id }, options.map(([v, text]) => el('option', { value: v, selected: v === value }, text)))
  return { input, box: el('div', { class: quiet ? '' : 'field' }, el('label', { htmlFor: id, class: quiet ? 'hidden' : '' }, label), input) }
}

function tell(error, fields, line) {
  let first = null
  const rest = []
  for (const wrong of error.fields || []) {
    const at = fields.find((f) => f.path === wrong.path)
    if (!at) continue
    at.fail(wrong.text)
    first = first || at.input
  }
  if (!first) rest.push(error.message)
  line.className = 'notice bad'
  line.textContent = rest.join(' ')
  if (first) first.focus()
}

// A form: `submit` is awaited; its errors go to their fields, or above the button.
export function form({ fields = [], extra = [], button, submit, done }) {
  const line = el('p', { class: 'notice', role: 'alert' })
  const send = el('button', { class: 'main', type: 'submit' }, button)
  const whole = el('form', {
    onsubmit: async (event) => {
      event.preventDefault()
      line.textContent = ''
      for (const f of fields) f.fail('')
      send.disabled = true
      whole.setAttribute('aria-busy', 'true')
      try {
        await submit()
        if (done) {
          line.className = 'notice good'
          line.textContent = done
        }
      } catch (error) {
        tell(error, fields, line)
      } finally {
        send.disabled = false
        whole.removeAttribute('aria-busy')
      }
    },
  }, fields.map((f) => f.box), extra, line, send)
  return whole
}

// A button whose work may fail; what went wrong is told in `line`.
export function action(label, line, work, kind = '') {
  const b = el('button', { type: 'button', class: `small ${kind}`, onclick: async () => {
    b.disabled = true
    line.textContent = ''
    try {
      await work()
    } catch (error) {
      line.className = 'notice bad'
      line.textContent = error.message
    } finally {
      b.disabled = false
    }
  } }, label)
  return b
}

// Asks before something that cannot be undone.
export function confirmed(title, text, button) {
  return new Promise((resolve) => {
    const yes = el('button', { class: 'danger', value: 'yes' }, button)
    const dialog = el('dialog', { 'aria-labelledby': 'ask', onclose: () => {
      dialog.remove()
      resolve(dialog.returnValue === 'yes')
    } }, el('form', { method: 'dialog' }, el('h2', { id: 'ask' }, title), el('p', {}, text),
      el('div', { class: 'row' }, el('button', { value: 'no', autofocus: true }, t('cancel')), yes)))
    document.body.append(dialog)
    dialog.showModal()
  })
}

// A card that fills itself, and again whenever something in it has changed.
export function section(title, load) {
  const id = `s${++ids}`
  const line = notice('')
  const body = el('div')
  const again = async () => {
    try {
      await load(body, line, again)
    } catch (error) {
      line.className = 'notice bad'
      line.textContent = error.message
    }
  }
  again()
  return el('section', { class: 'card', 'aria-labelledby': id }, el('h2', { id }, title), line, body)
}

// Something to be copied, shown once.
export function secret(label, value) {
  const told = el('span', { role: 'status', class: 'hint' })
  const input = el('input', { readOnly: true, value, 'aria-label': label, onfocus: () => input.select() })
  const copy = el('button', { type: 'button', onclick: async () => {
    try {
      await navigator.clipboard.writeText(value)
      told.textContent = t('copied')
    } catch {
      input.focus()
    }
  } }, t('copy'))
  return el('div', {}, el('p', { class: 'soft' }, label), el('div', { class: 'secret' }, input, copy), told)
}

// What follows the # of the address: never sent to a server.
export const fragment = new URLSearchParams(location.hash.slice(1))

export function link(href, text) {
  return el('a', { href }, text)
}

export function password(path, label, autocomplete, hint) {
  return field({ path, label, type: 'password', autocomplete, hint, required: true, maxLength: 128 })
}

export function email(value = '') {
  return field({ path: 'email', label: t('email'), type: 'email', autocomplete: 'username', required: true, maxLength: 254, value })
}

// Runs a page; what it cannot recover from is shown.
export async function run(work) {
  try {
    await work()
  } catch (error) {
    show(t('account'), notice(error.message, 'bad'),
      el('button', { type: 'button', onclick: () => location.reload() }, t('again')))
  }
}
