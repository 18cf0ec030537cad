// browser.mjs - pages in Debian's Chromium: what a page says on its console, asks of whom, and looks like.
import { mkdirSync } from 'node:fs'
import { chromium } from 'playwright-core'

export const base = process.env.SAMOVAR_URL
const shots = process.env.PAGES_SHOTS // a folder for pictures; absent: none are taken

const phone = { width: 360, height: 740 }
const desk = { width: 1280, height: 900 }
export const looks = [
  { name: 'phone-light', viewport: phone, colorScheme: 'light' },
  { name: 'phone-dark', viewport: phone, colorScheme: 'dark' },
  { name: 'desk-light', viewport: desk, colorScheme: 'light' },
  { name: 'desk-dark', viewport: desk, colorScheme: 'dark' },
]

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] })
}

// A window of its own. `complaints` is what must stay empty: errors and warnings of the console (refused
// by the content policy, among others), exceptions, requests to other servers.
export async function open(browser, look = looks[2], locale = 'en-US') {
  const context = await browser.newContext({ viewport: look.viewport, colorScheme: look.colorScheme, locale })
  context.setDefaultTimeout(60000)
  const page = await context.newPage()
  const complaints = []
  page.on('console', (m) => { if (m.type() === 'error' || m.type() === 'warning') complaints.push(`${m.type()}: ${m.text()}`) })
  page.on('pageerror', (e) => complaints.push(`exception: ${e.message}`))
  page.on('request', (r) => { if (!r.url().startsWith(`${base}/`) && !r.url().startsWith('data:')) complaints.push(`outside: ${r.url()}`) })
  return { context, page, complaints, look }
}

export async function shoot(window, name) {
  if (!shots) return
  mkdirSync(shots, { recursive: true })
  await window.page.screenshot({ path: `${shots}/${name}-${window.look.name}.png`, fullPage: true })
}
