// kit.mjs - what the clients' tests share: names of models at each kind of provider, the simulator's figures.
import assert from 'node:assert/strict'

export const URL_ROOT = process.env.SAMOVAR_URL
export const PROVIDERS = ['openai', 'responses', 'anthropic', 'gemini', 'ollama']
export const PROMPT = 'What is a samovar? «Самовар» 茶'
export const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
export const SCHEMA = {
  type: 'object',
  properties: { city: { type: 'string' }, degrees: { type: 'integer' } },
  required: ['city', 'degrees'],
  additionalProperties: false
}

let made = 0
// The simulator's model with these behaviours; a seed makes the name this test's own.
export const sim = (provider, behaviour = 'tokens=5') =>
  `${provider}/sim,${behaviour},seed=${(process.pid % 100000) * 1000 + ++made}`

export const words = (n) => Array.from({ length: n }, (_, i) => `tok${i}`).join(' ')

const get = async (path) => (await fetch(process.env.SIM_URL + path)).json()

// What the provider has seen of a model, oldest first.
export const seen = async (model) => {
  const name = model.slice(model.indexOf('/') + 1)
  return (await get('/_stats')).recent.filter((r) => r.model === name)
}
export const bodies = async (model) =>
  Promise.all((await seen(model)).map(async (r) => JSON.parse((await get(`/_request?n=${r.number}`)).body)))

// What a provider calls the opaque part of its reasoning, which must come back to it as it was.
const opaque = { anthropic: '"signature":', gemini: '"thoughtSignature":', responses: '"encrypted_content":' }
export const got_back = async (model) => {
  const provider = model.slice(0, model.indexOf('/'))
  if (opaque[provider]) assert.ok(JSON.stringify((await bodies(model)).slice(-1)).includes(opaque[provider]), `${provider}: ${opaque[provider]}`)
}

// A fetch that counts.
export const counting = () => {
  const count = async (...args) => {
    count.n += 1
    return fetch(...args)
  }
  count.n = 0
  return count
}

const now_us = () => Number(process.hrtime.bigint() / 1000n) // the simulator's clock too

// The provider's connection closes within 50 ms of leaving; one of three times, for a busy machine.
export const closes = async (provider, start, behaviour = 'tokens=2000,gap_ms=10') => {
  let best = Infinity
  for (let i = 0; i < 3 && best > 50000; i++) {
    const model = sim(provider, behaviour)
    const left = await start(model)
    for (let wait = 0; wait < 200; wait++) {
      const [r] = await seen(model)
      if (r?.outcome === 'closed_by_peer') {
        best = Math.min(best, r.closed_us - left)
        break
      }
      await new Promise((done) => setTimeout(done, 25))
    }
  }
  assert.ok(best <= 50000, `the provider's connection was closed after ${best} us`)
}
closes.now = now_us
