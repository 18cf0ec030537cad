// organizations.js - the caller's organizations; of an open one members, invitations and what its role
// allows. The server judges; what is not allowed is only not offered.
import { all, api, keep, workplace } from './api.js'
import { dayText, t } from './text.js'
import { action, confirmed, el, field, form, notice, secret, section, select } from './ui.js'

const roles = ['owner', 'admin', 'member', 'viewer']
const roleText = (r) => (roles.includes(r) ? t(`role_${r}`) : r)

function memberRow(org, m, me, line, again) {
  const rules = org.role === 'owner' || org.role === 'admin'
  const self = m.user === me.user.id
  const who = m.email || m.name || m.user
  const row = el('li', {}, el('div', { class: 'grow' }, el('div', { class: 'name' }, m.name || m.email || m.user),
    el('div', { class: 'soft' }, [m.name ? m.email : '', roleText(m.role)].filter(Boolean).join(' · '))))
  if (!rules || self || org.personal) return row
  const offered = roles.filter((r) => r !== 'owner' || org.role === 'owner' || m.role === 'owner')
  const role = select(t('role_of', who), offered.map((r) => [r, roleText(r)]), m.role, true)
  row.append(role.box,
    action(t('change'), line, async () => {
      await api('PATCH', `/api/orgs/${org.id}/members/${m.user}`, { role: role.input.value })
      await again()
    }),
    action(t('remove'), line, async () => {
      if (!await confirmed(t('remove'), t('remove_member_text', who), t('remove'))) return
      await api('DELETE', `/api/orgs/${org.id}/members/${m.user}`)
      await again()
    }, 'danger'))
  return row
}

function inviteForm(org, made, again) {
  const address = field({ path: 'email', label: t('invite_email'), type: 'email', maxLength: 254, autocomplete: 'off' })
  const role = select(t('role'), roles.slice(1).map((r) => [r, roleText(r)]), 'member')
  return form({
    fields: [address],
    extra: [role.box],
    button: t('invite'),
    submit: async () => {
      const body = { role: role.input.value }
      if (address.value) body.email = address.value
      const { link } = await api('POST', `/api/orgs/${org.id}/invitations`, body)
      await again()
      made.replaceChildren(secret(t('invite_link'), link))
    },
  })
}

function invitations(org, list, made, line, again) {
  return [el('h3', {}, t('invitations')), made,
    el('ul', { class: 'list' }, list.map((i) => el('li', {}, el('div', { class: 'grow' },
      el('div', { class: 'name' }, i.email || t('invitation_by_link')),
      el('div', { class: 'soft' }, `${roleText(i.role)} · ${t('expires', dayText(i.expires))}`)),
    action(t('remove'), line, async () => {
      await api('DELETE', `/api/orgs/${org.id}/invitations/${i.id}`)
      await again()
    })))),
    inviteForm(org, made, again)]
}

function ownWays(org, line, refresh) {
  if (org.personal) return null
  const leave = action(t('leave'), line, async () => {
    if (!await confirmed(t('leave'), t('leave_text', org.name), t('leave'))) return
    await api('POST', `/api/orgs/${org.id}/leave`)
    await refresh()
  }, 'danger')
  const end = org.role === 'owner' && action(t('org_delete'), line, async () => {
    if (!await confirmed(t('org_delete'), t('org_delete_text', org.name), t('org_delete'))) return
    await api('DELETE', `/api/orgs/${org.id}`)
    await refresh()
  }, 'danger')
  return el('div', { class: 'row end' }, leave, end)
}

function renameForm(org, refresh) {
  const name = field({ path: 'name', label: t('org_name'), maxLength: 200, required: true, value: org.name || '' })
  return form({
    fields: [name],
    button: t('rename'),
    submit: async () => {
      await api('PATCH', `/api/orgs/${org.id}`, { name: name.value })
      await refresh()
    },
  })
}

// What an organization shows when it is opened.
async function fill(org, me, inside, made, line, refresh) {
  const again = () => fill(org, me, inside, made, line, refresh)
  const rules = (org.role === 'owner' || org.role === 'admin') && !org.personal
  const members = await all(`/api/orgs/${org.id}/members`, 'members')
  const invited = rules ? await all(`/api/orgs/${org.id}/invitations`, 'invitations') : []
  const here = org.id === workplace()
  const parts = [
    !here && el('p', {}, action(t('org_switch'), line, async () => {
      keep(await api('POST', `/api/orgs/${org.id}/switch`))
      await refresh()
    })),
    el('h3', {}, t('members')),
    el('ul', { class: 'list' }, members.map((m) => memberRow(org, m, me, line, again))),
    ...(rules ? invitations(org, invited, made, line, again) : []),
    rules && renameForm(org, refresh),
    ownWays(org, line, refresh),
  ]
  inside.replaceChildren(...parts.filter(Boolean))
}

function orgBox(org, me, refresh) {
  const inside = el('div')
  const made = el('div', { 'aria-live': 'polite' })
  const line = notice('')
  const box = el('details', { ontoggle: async () => {
    if (!box.open || inside.hasChildNodes()) return
    try {
      await fill(org, me, inside, made, line, refresh)
    } catch (error) {
      line.className = 'notice bad'
      line.textContent = error.message
    }
  } }, el('summary', {}, org.name || (org.personal ? me.user.email : org.id), el('span', { class: 'tag' }, roleText(org.role)),
    org.personal && el('span', { class: 'tag' }, t('org_personal')),
    org.id === workplace() && el('span', { class: 'tag' }, t('org_here'))), line, inside)
  return box
}

export function organizations(me) {
  return section(t('organizations'), async (body, line, again) => {
    const orgs = await all('/api/orgs', 'orgs')
    const name = field({ path: 'name', label: t('org_name'), maxLength: 200, required: true })
    body.replaceChildren(...orgs.map((o) => orgBox(o, me, again)),
      el('details', {}, el('summary', {}, t('org_new')), form({
        fields: [name],
        button: t('create'),
        submit: async () => {
          await api('POST', '/api/orgs', { name: name.value })
          await again()
        },
      })))
  })
}
