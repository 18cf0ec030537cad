// pages.test.mjs - every page under its content policy, then the ways through them: from the setup link
// to an account with a second factor, a key and an organization that somebody is invited to.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import test, { after, before } from 'node:test'
import { base, launch, looks, open, shoot } from './browser.mjs'

const root = { email: 'root@example.org', password: 'samovars need charcoal 1' }
const guest = { email: 'guest@example.org', password: 'cups and saucers, two' }
let browser
let admin // a window, logged in

before(async () => { browser = await launch() })
after(async () => { await browser.close() })

const title = (w) => w.page.locator('h1').innerText()
const fill = (w, label, text, within = w.page) => within.getByLabel(label, { exact: true }).fill(text)
const press = (w, name, within = w.page) => within.getByRole('button', { name, exact: true }).click()
const card = (w, name) => w.page.getByRole('region', { name, exact: true })
const calm = (w) => assert.deepEqual(w.complaints, [])
// Failed requests that the page is meant to handle are errors on the console all the same.
const calmBut = (w, status) => assert.deepEqual(w.complaints.filter((c) => !c.includes(`status of ${status}`)), [])

async function ready(w) {
  await w.page.locator('main[aria-busy=false], .opblock').first().waitFor()
  await w.page.waitForLoadState('networkidle')
}

// Waits for a text; what is there instead is told.
async function sees(w, text, within = w.page) {
  try {
    await within.getByText(text).first().waitFor()
  } catch {
    assert.fail(`no ${text} in: ${await w.page.locator('main').innerText()} ${w.complaints}`)
  }
}

async function visit(w, path) {
  await w.page.goto(path.startsWith('http') ? path : `${base}${path}`)
  await ready(w)
}

async function login(w, who) {
  await visit(w, '/login')
  await fill(w, 'E-mail', who.email)
  await fill(w, 'Password', who.password)
  await w.page.keyboard.press('Enter')
}

// RFC 6238, as an authenticator program does it.
function totp(secret) {
  const bits = [...secret].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('')
  const key = Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)))
  const step = Buffer.alloc(8)
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000)))
  const mac = createHmac('sha1', key).update(step).digest()
  return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1000000).padStart(6, '0')
}

// The newest link to a page that went to the operator's log, there being no mail server.
async function mailed(page) {
  for (let tries = 0; tries < 100; tries++) {
    const log = await readFile(process.env.UP_LOG, 'utf8')
    const links = [...log.matchAll(new RegExp(`http[^"\\s]*/${page}#token=[A-Za-z0-9_-]+`, 'g'))]
    if (links.length) return links.at(-1)[0]
    await new Promise((r) => { setTimeout(r, 100) })
  }
  throw new Error(`no link to ${page} in the log`)
}

const pages = ['/setup#token=x', '/login', '/register', '/verify-email#token=x', '/forgot-password',
  '/reset-password#token=x', '/invitation', '/docs']

test('every page, in every look, says nothing on the console and asks nobody else', async () => {
  await Promise.all(looks.map(async (look) => {
    const w = await open(browser, look)
    for (const path of pages) {
      const answer = await w.page.goto(`${base}${path}`)
      const policy = answer.headers()['content-security-policy']
      for (const part of ["default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'", "frame-ancestors 'none'"]) {
        assert.ok(policy.includes(part), `${path}: ${part}`)
      }
      assert.ok(!policy.includes('unsafe'), path)
      await ready(w)
      const wide = await w.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      assert.ok(wide <= 0 || path === '/docs', `${path} is ${wide} px too wide on ${look.name}`)
      await shoot(w, path.slice(1).split('#')[0])
      assert.deepEqual(w.complaints, [], `${path} ${look.name}`)
    }
    await w.context.close()
  }))
})

test('everything that can be filled in has a name, and the title has the focus or its first field', async () => {
  const w = await open(browser)
  for (const path of pages.slice(0, -1)) {
    await visit(w, path)
    const bare = await w.page.$$eval('input:not([type=hidden]), select, button', (list) => list
      .filter((e) => !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.textContent.trim()).length)
    assert.equal(bare, 0, path)
    assert.ok(await w.page.evaluate(() => ['H1', 'INPUT'].includes(document.activeElement.tagName)), path)
  }
  await w.context.close()
})

test('Russian by the browser’s language', async () => {
  const w = await open(browser, looks[2], 'ru-RU')
  await visit(w, '/login')
  assert.equal(await title(w), 'Вход')
  assert.equal(await w.page.evaluate(() => document.documentElement.lang), 'ru')
  await fill(w, 'Эл. почта', 'nobody@example.org')
  await fill(w, 'Пароль', 'wrong wrong wrong')
  await press(w, 'Войти')
  await sees(w, 'Неверный адрес эл. почты или пароль.')
  calmBut(w, 401)
  await w.context.close()
})

test('the setup link makes the first administrator', async () => {
  const w = await open(browser)
  await visit(w, process.env.SETUP_LINK)
  await fill(w, 'E-mail', root.email)
  await fill(w, 'Name', 'Root')
  await fill(w, 'Password', 'password')
  await press(w, 'Create administrator')
  const field = w.page.getByLabel('Password', { exact: true })
  await w.page.locator('[aria-invalid=true]').waitFor()
  assert.equal(await field.getAttribute('aria-invalid'), 'true') // the API's error, at its field
  await field.fill(root.password)
  await press(w, 'Create administrator')
  await sees(w, 'The administrator is ready.')
  assert.equal(await w.page.evaluate(() => location.hash), '')
  calmBut(w, 400)
  await w.context.close()
})

test('a wrong password is told, the right one opens the account', async () => {
  admin = await open(browser)
  await login(admin, { ...root, password: 'not this one, no' })
  await admin.page.locator('.notice.bad').getByText(/wrong/).waitFor()
  await fill(admin, 'Password', root.password)
  await press(admin, 'Log in')
  await admin.page.waitForURL('**/account')
  await ready(admin)
  assert.equal(await title(admin), 'Account')
  const cookies = await admin.context.cookies()
  assert.deepEqual(cookies.map((c) => [c.name, c.httpOnly, c.secure, c.sameSite, c.path]),
    [['__Host-samovar_refresh', true, true, 'Strict', '/']])
  assert.deepEqual(await admin.page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]), [0, 0, ''])
  await shoot(admin, 'account')
  calmBut(admin, 401)
})

test('a reload goes on by the cookie; two tabs at once do not spoil it', async () => {
  await admin.page.reload()
  await ready(admin)
  assert.equal(await title(admin), 'Account')
  const other = await admin.context.newPage()
  await Promise.all([admin.page.reload(), other.goto(`${base}/account`)])
  await ready(admin)
  await other.locator('main[aria-busy=false]').waitFor()
  assert.equal(await other.locator('h1').innerText(), 'Account')
  await other.close()
})

test('the account on a phone in the dark, by keyboard', async () => {
  await admin.page.setViewportSize(looks[1].viewport)
  await admin.page.emulateMedia({ colorScheme: 'dark' })
  const wide = await admin.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  assert.ok(wide <= 0, `${wide} px too wide`)
  await shoot({ page: admin.page, look: looks[1] }, 'account')
  await card(admin, 'Sessions').getByRole('button', { name: 'Log out everywhere' }).focus()
  await admin.page.keyboard.press('Enter')
  const dialog = admin.page.getByRole('dialog')
  await dialog.waitFor()
  await shoot({ page: admin.page, look: looks[1] }, 'account-ask')
  assert.equal(await admin.page.evaluate(() => document.activeElement.textContent), 'Cancel')
  await admin.page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'detached' })
  assert.equal(await title(admin), 'Account')
  await admin.page.emulateMedia({ colorScheme: 'light' })
  await admin.page.setViewportSize(looks[2].viewport)
})

test('profile and sessions', async () => {
  const profile = card(admin, 'Profile')
  await fill(admin, 'Name', 'Root Rooted', profile)
  await press(admin, 'Save', profile)
  await sees(admin, 'Saved.', profile)
  const second = await open(browser)
  await login(second, root)
  await second.page.waitForURL('**/account')
  await visit(admin, '/account')
  const sessions = card(admin, 'Sessions')
  await sees(admin, 'this one', sessions)
  const others = sessions.getByRole('button', { name: 'End', exact: true })
  assert.ok(await others.count() >= 1)
  while (await others.count()) {
    const before = await others.count()
    await others.first().click()
    await admin.page.waitForFunction((n) => [...document.querySelectorAll('main button')].filter((b) => b.textContent === 'End').length < n, before)
  }
  await second.page.reload()
  await second.page.waitForURL('**/login')
  await second.context.close()
})

test('an API key is shown once, works, and ends', async () => {
  const keys = card(admin, 'API keys')
  await keys.getByText('New key').click()
  await fill(admin, 'What it is for', 'a test', keys)
  await press(admin, 'Create', keys)
  const shown = keys.getByLabel(/not shown again/)
  await shown.waitFor()
  const key = await shown.inputValue()
  assert.match(key, /^sv_/)
  await shoot(admin, 'account-key')
  const models = () => fetch(`${base}/v1/models`, { headers: { authorization: `Bearer ${key}` } })
  assert.equal((await models()).status, 200)
  await press(admin, 'Remove', keys)
  await press(admin, 'Remove', admin.page.getByRole('dialog'))
  await sees(admin, 'No keys yet.', keys)
  assert.equal((await models()).status, 401)
})

test('a second factor: on by a code, asked for at login, off again', async () => {
  const second = card(admin, 'Second factor')
  await fill(admin, 'Current password', root.password, second)
  await press(admin, 'Turn on', second)
  await second.getByRole('img', { name: 'QR code for your authenticator' }).waitFor()
  const drawn = await second.getByRole('img').evaluate((i) => i.complete && i.naturalWidth > 0)
  assert.ok(drawn)
  await shoot(admin, 'account-second-factor')
  const secret = await second.getByLabel('Key for typing').inputValue()
  await fill(admin, 'Code', '000000', second)
  await press(admin, 'Turn on', second)
  await sees(admin, /code is wrong/i, second)
  await fill(admin, 'Code', totp(secret), second)
  await press(admin, 'Turn on', second)
  await second.locator('.codes li').first().waitFor()
  const codes = await second.locator('.codes li').allInnerTexts()
  assert.equal(codes.length, 10)
  await press(admin, 'Close', second)
  await sees(admin, 'Logins ask for a code', second)
  await press(admin, 'Log out')
  await admin.page.waitForURL('**/login')
  await login(admin, root)
  await fill(admin, 'Code', codes[0])
  await shoot(admin, 'login-code')
  await press(admin, 'Continue')
  await admin.page.waitForURL('**/account')
  await ready(admin)
  await second.locator('summary', { hasText: 'Turn off' }).click()
  const off = second.locator('details', { hasText: 'Turn off' })
  await fill(admin, 'Current password', root.password, off)
  await fill(admin, 'Code', codes[1], off)
  await press(admin, 'Turn off', off)
  await sees(admin, 'Logins ask for your password only.', second)
})

test('an organization, and somebody invited to it by a link', async () => {
  const orgs = card(admin, 'Organizations')
  await orgs.locator('summary', { hasText: 'New organization' }).click()
  await fill(admin, 'Name of the organization', 'Tea <b>House</b>', orgs)
  await press(admin, 'Create', orgs)
  const box = orgs.locator('details', { hasText: 'Tea <b>House</b>' })
  await box.locator('summary').first().click()
  await press(admin, 'Invite', box)
  const shown = box.getByLabel(/not shown again/)
  await shown.waitFor()
  const invitation = await shown.inputValue()
  await shoot(admin, 'account-organization')

  const w = await open(browser, looks[0])
  await visit(w, invitation)
  await sees(w, 'You are invited to “Tea <b>House</b>” as member.')
  await shoot(w, 'invitation-shown')
  await w.page.getByRole('link', { name: 'Create an account' }).click()
  await fill(w, 'E-mail', guest.email)
  await fill(w, 'Name', 'Guest')
  await fill(w, 'Password', guest.password)
  await press(w, 'Create account')
  await sees(w, /Your account is ready|Almost done/)
  await w.page.getByRole('link', { name: 'Log in' }).click()
  await fill(w, 'E-mail', guest.email)
  await fill(w, 'Password', guest.password)
  await press(w, 'Log in')
  await w.page.waitForURL('**/invitation#**')
  await ready(w)
  const accept = w.page.getByRole('button', { name: 'Accept', exact: true })
  if (await accept.count()) {
    await accept.click()
    await sees(w, 'You are in “Tea <b>House</b>” now.')
  } else {
    await sees(w, /does not hold/) // registering with it has used it
  }
  calmBut(w, '4')
  await w.context.close()
  await visit(admin, '/account')
  await box.locator('summary').first().click()
  await sees(admin, /^Guest$/, box)
  assert.equal(await admin.page.locator('main b').count(), 0)
})

test('a forgotten password: the link of the log, then the new one', async () => {
  const w = await open(browser)
  await visit(w, '/forgot-password')
  await fill(w, 'E-mail', guest.email)
  await press(w, 'Send the link')
  await sees(w, /a mail with a link is on its way/)
  await visit(w, await mailed('reset-password'))
  await fill(w, 'New password', 'another cup of tea, 3')
  await press(w, 'Set password')
  await sees(w, 'Your new password holds')
  await login(w, { ...guest, password: 'another cup of tea, 3' })
  await w.page.waitForURL('**/account')
  calm(w)
  await w.context.close()
})

test('logging out everywhere', async () => {
  await press(admin, 'Log out everywhere', card(admin, 'Sessions'))
  await press(admin, 'Log out everywhere', admin.page.getByRole('dialog'))
  await admin.page.waitForURL('**/login')
  await visit(admin, '/login')
  await admin.page.goto(`${base}/account`)
  await admin.page.waitForURL('**/login')
})
