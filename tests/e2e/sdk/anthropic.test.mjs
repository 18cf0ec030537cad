// anthropic.test.mjs - Anthropic's client with providers of every kind.
import assert from 'node:assert/strict'
import test from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import { closes, counting, bodies, got_back, PIXEL, PROMPT, PROVIDERS, SCHEMA, seen, sim, URL_ROOT, words } from './kit.mjs'

const options = { apiKey: 'not-needed-on-loopback', baseURL: URL_ROOT, maxRetries: 0 }
const client = new Anthropic(options)
const messages = [{ role: 'user', content: PROMPT }]
const tools = [{ name: 'weather', description: 'of a city', input_schema: SCHEMA }]
const max_tokens = 9000
const text_of = (m) => m.content.filter((b) => b.type === 'text').map((b) => b.text).join('')
const results_of = (m) => ({ role: 'user', content: m.content.filter((b) => b.type === 'tool_use').map((b) => ({ type: 'tool_result', tool_use_id: b.id, content: 'cold' })) })

for (const p of PROVIDERS) {
  test(`${p}: plain`, async () => {
    const answer = await client.messages.create({ model: sim(p), max_tokens, messages })
    assert.equal(text_of(answer), words(5))
    assert.equal(answer.stop_reason, 'end_turn')
    assert.equal(answer.usage.input_tokens, 10)
    assert.equal(answer.usage.output_tokens, 5)
    assert.ok(answer._request_id)
  })

  test(`${p}: system, also among the messages`, async () => {
    const model = sim(p, 'echo=1')
    const answer = await client.messages.create({ model, max_tokens, system: 'Be brief.',
      messages: [{ role: 'user', content: 'one' }, { role: 'assistant', content: 'two' }, { role: 'system', content: 'Be kind.' }, ...messages] })
    assert.equal(text_of(answer), PROMPT)
    const sent = JSON.stringify(await bodies(model))
    assert.match(sent, /Be brief/)
    assert.match(sent, /Be kind/)
  })

  test(`${p}: stream, read by the helper`, async () => {
    for (const fault of ['none', 'bytes']) {
      const plain = await client.messages.create({ model: sim(p, 'tokens=12,unicode=1'), max_tokens, messages })
      const stream = client.messages.stream({ model: sim(p, `tokens=12,unicode=1,fault=${fault}`), max_tokens, messages })
      let deltas = 0
      stream.on('text', () => { deltas += 1 })
      const final = await stream.finalMessage()
      assert.equal(text_of(final), text_of(plain))
      assert.ok(deltas > 3)
      assert.equal(final.usage.output_tokens, 12)
      assert.equal(final.stop_reason, 'end_turn')
    }
  })

  test(`${p}: parallel tools and their results`, async () => {
    const body = { model: sim(p, 'tools=2,tokens=3'), max_tokens, messages, tools }
    for (const stream of [false, true]) {
      const first = stream ? await client.messages.stream(body).finalMessage() : await client.messages.create(body)
      assert.equal(first.stop_reason, 'tool_use')
      const calls = first.content.filter((b) => b.type === 'tool_use')
      assert.equal(calls.length, 2)
      for (const call of calls) assert.equal(typeof call.input.city, 'string')
      const { role, content } = first
      const next = await client.messages.create({ ...body, messages: [...messages, { role, content }, results_of(first)] })
      assert.equal(text_of(next), words(3))
    }
  })

  test(`${p}: structured output`, async () => {
    const answer = await client.messages.create({ model: sim(p), max_tokens, messages, output_config: { format: { type: 'json_schema', schema: SCHEMA } } })
    assert.equal(typeof JSON.parse(text_of(answer)).city, 'string')
  })

  test(`${p}: an image`, async () => {
    const model = sim(p, 'echo=all')
    const source = { type: 'base64', media_type: 'image/png', data: PIXEL }
    await client.messages.create({ model, max_tokens, messages: [{ role: 'user', content: [{ type: 'image', source }, { type: 'text', text: 'What is this?' }] }] })
    assert.ok(JSON.stringify(await bodies(model)).includes(PIXEL))
  })

  test(`${p}: thinking with its signature goes back`, async () => {
    const body = { model: sim(p, 'thinking=4,tools=1,tokens=3'), max_tokens, messages, tools, thinking: { type: 'enabled', budget_tokens: 2048 } }
    for (const stream of [false, true]) {
      const first = stream ? await client.messages.stream(body).finalMessage() : await client.messages.create(body)
      const kinds = first.content.map((b) => b.type)
      if (p === 'anthropic') assert.ok(first.content.find((b) => b.type === 'thinking').signature)
      if (p === 'ollama') assert.ok(kinds.includes('thinking'))
      const { role, content } = first
      const next = await client.messages.create({ ...body, messages: [...messages, { role, content }, results_of(first)] })
      assert.equal(text_of(next), words(3))
      if (p !== 'responses') await got_back(body.model)
    }
  })

  test(`${p}: a 429 is the server's to try again`, async () => {
    const model = sim(p, 'status=429,fail_first=1,retry_after_ms=20,tokens=2')
    assert.equal(text_of(await client.messages.create({ model, max_tokens, messages })), words(2))
    assert.deepEqual((await seen(model)).map((r) => r.status), [429, 200])
  })

  test(`${p}: errors arrive as the right classes, once`, async () => {
    const fetch = counting()
    const patient = new Anthropic({ ...options, maxRetries: 2, fetch })
    const fails = async (behaviour, kind, type) =>
      assert.rejects(patient.messages.create({ model: sim(p, behaviour), max_tokens, messages }), (e) => {
        assert.ok(e instanceof kind, `${behaviour}: ${e.status} ${e.message}`)
        assert.equal(e.error.type, 'error')
        assert.equal(e.error.error.type, type)
        assert.ok(e.requestID)
        return true
      })
    await fails('status=429,retry_after_ms=5', Anthropic.RateLimitError, 'rate_limit_error')
    await fails('status=400', Anthropic.BadRequestError, 'invalid_request_error')
    await fails('status=401', Anthropic.AuthenticationError, 'authentication_error')
    await fails('status=404', Anthropic.NotFoundError, 'not_found_error')
    await fails('context=2', Anthropic.BadRequestError, 'invalid_request_error')
    assert.equal(fetch.n, 5)
  })

  test(`${p}: a stream that was cut is an error, not an end`, async () => {
    await assert.rejects(client.messages.stream({ model: sim(p, 'tokens=40,fault=cut,at=20'), max_tokens, messages }).finalMessage(), Anthropic.APIError)
  })

  test(`${p}: leaving closes the provider's connection`, async () => {
    await closes(p, async (model) => {
      const stream = await client.messages.create({ model, max_tokens, messages, stream: true })
      for await (const event of stream) if (event.type === 'content_block_delta') break
      return closes.now()
    })
  })

  test(`${p}: count_tokens`, async () => {
    const few = await client.messages.countTokens({ model: sim(p), messages })
    const many = await client.messages.countTokens({ model: sim(p), messages: [{ role: 'user', content: PROMPT.repeat(50) }] })
    assert.ok(few.input_tokens > 0 && many.input_tokens > few.input_tokens)
  })
}

test('models, in its own shape', async () => {
  const ids = []
  for await (const model of client.models.list()) {
    assert.equal(model.type, 'model')
    assert.ok(model.display_name && !Number.isNaN(Date.parse(model.created_at)))
    ids.push(model.id)
  }
  assert.ok(ids.includes('sim-small'))
  assert.equal((await client.models.retrieve('sim-small')).id, 'sim-small')
  await assert.rejects(client.models.retrieve('nothing'), Anthropic.NotFoundError)
})

test('the older version of the interface', async () => {
  const older = new Anthropic({ ...options, defaultHeaders: { 'anthropic-version': '2023-06-01' } })
  assert.equal(text_of(await older.messages.create({ model: sim('anthropic'), max_tokens, messages })), words(5))
})

test('what is wrong with a request is said with its field', async () => {
  await assert.rejects(client.messages.create({ model: sim('openai'), max_tokens, messages, thinking: { type: 'perhaps' } }), (e) =>
    e instanceof Anthropic.BadRequestError && /thinking\.type/.test(e.message))
  await assert.rejects(client.messages.create({ max_tokens, messages }), (e) => e instanceof Anthropic.BadRequestError && /model/.test(e.message))
})

test('thinking between tools', async () => {
  const thinking = { type: 'between_tools' }
  const { data, response } = await client.messages.create({ model: sim('openai'), max_tokens, messages, thinking }).withResponse()
  assert.equal(text_of(data), words(5))
  assert.match(response.headers.get('x-samovar-dropped'), /thinking/)
})
