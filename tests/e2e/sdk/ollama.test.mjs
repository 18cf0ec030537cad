// ollama.test.mjs - Ollama's client with providers of every kind.
import assert from 'node:assert/strict'
import test from 'node:test'
import { Ollama } from 'ollama'
import { closes, bodies, PIXEL, PROMPT, PROVIDERS, SCHEMA, seen, sim, URL_ROOT, words } from './kit.mjs'

const client = new Ollama({ host: `${URL_ROOT}/ollama` })
const messages = [{ role: 'user', content: PROMPT }]
const tools = [{ type: 'function', function: { name: 'weather', description: 'of a city', parameters: SCHEMA } }]

for (const p of PROVIDERS) {
  test(`${p}: plain`, async () => {
    const answer = await client.chat({ model: sim(p), messages })
    assert.equal(answer.message.content, words(5))
    assert.equal(answer.done_reason, 'stop')
    assert.equal(answer.prompt_eval_count, 10)
    assert.equal(answer.eval_count, 5)
  })

  test(`${p}: stream`, async () => {
    const plain = await client.chat({ model: sim(p, 'tokens=12,unicode=1'), messages })
    for (const fault of ['none', 'bytes']) {
      let text = '', pieces = 0, last
      for await (const part of await client.chat({ model: sim(p, `tokens=12,unicode=1,fault=${fault}`), messages, stream: true })) {
        text += part.message.content
        pieces += 1
        last = part
      }
      assert.equal(text, plain.message.content)
      assert.ok(pieces > 3 && last.done)
      assert.equal(last.eval_count, 12)
    }
  })

  test(`${p}: parallel tools and their results`, async () => {
    const model = sim(p, 'tools=2,tokens=3')
    const first = await client.chat({ model, messages, tools })
    assert.equal(first.message.tool_calls.length, 2)
    for (const call of first.message.tool_calls) assert.equal(typeof call.function.arguments.city, 'string')
    const results = first.message.tool_calls.map((call) => ({ role: 'tool', tool_name: call.function.name, content: 'cold' }))
    const next = await client.chat({ model, messages: [...messages, first.message, ...results], tools })
    assert.equal(next.message.content, words(3))
    let calls = 0
    for await (const part of await client.chat({ model, messages, tools, stream: true })) calls += part.message.tool_calls?.length ?? 0
    assert.equal(calls, 2)
  })

  test(`${p}: structured output`, async () => {
    const answer = await client.chat({ model: sim(p), messages, format: SCHEMA })
    assert.equal(typeof JSON.parse(answer.message.content).city, 'string')
  })

  test(`${p}: an image`, async () => {
    const model = sim(p, 'echo=all')
    await client.chat({ model, messages: [{ role: 'user', content: 'What is this?', images: [PIXEL] }] })
    assert.ok(JSON.stringify(await bodies(model)).includes(PIXEL))
  })

  test(`${p}: thinking`, async () => {
    const answer = await client.chat({ model: sim(p, 'thinking=4,tokens=3'), messages, think: true })
    if (p !== 'openai' && p !== 'responses') assert.ok(answer.message.thinking)
    assert.equal(answer.message.content, words(3))
    const next = await client.chat({ model: sim(p, 'thinking=4,tokens=3'), messages: [...messages, answer.message, ...messages], think: true })
    assert.equal(next.message.content, words(3))
  })

  test(`${p}: generate`, async () => {
    const model = sim(p, 'echo=all')
    await client.generate({ model, prompt: PROMPT, system: 'Be brief.', images: [PIXEL] })
    const sent = JSON.stringify(await bodies(model))
    for (const part of [PROMPT, 'Be brief.', PIXEL]) assert.ok(sent.includes(part))
    const answer = await client.generate({ model: sim(p), prompt: PROMPT })
    assert.equal(answer.response, words(5))
    assert.equal(answer.done_reason, 'stop')
    assert.equal(answer.eval_count, 5)
    let text = '', last
    for await (const part of await client.generate({ model: sim(p), prompt: PROMPT, stream: true })) {
      text += part.response
      last = part
    }
    assert.equal(text, words(5))
    assert.ok(last.done)
    const shaped = await client.generate({ model: sim(p), prompt: PROMPT, format: SCHEMA })
    assert.equal(typeof JSON.parse(shaped.response).city, 'string')
    const filled = client.generate({ model: sim(p), prompt: 'a', suffix: 'b' })
    if (p === 'ollama') assert.equal((await filled).response, words(5))
    else await assert.rejects(filled, (e) => e.status_code === 400 && /suffix/.test(e.error))
  })

  test(`${p}: a 429 is the server's to try again`, async () => {
    const model = sim(p, 'status=429,fail_first=1,retry_after_ms=20,tokens=2')
    assert.equal((await client.chat({ model, messages })).message.content, words(2))
    assert.deepEqual((await seen(model)).map((r) => r.status), [429, 200])
  })

  test(`${p}: errors`, async () => {
    for (const status of [400, 401, 404, 429])
      await assert.rejects(client.chat({ model: sim(p, `status=${status},retry_after_ms=5`), messages }), (e) => e.status_code === status && e.error.length > 10)
  })

  test(`${p}: a stream that was cut is an error, not an end`, async () => {
    await assert.rejects(async () => {
      for await (const part of await client.chat({ model: sim(p, 'tokens=40,fault=cut,at=20'), messages, stream: true })) assert.ok(!part.done)
    })
  })

  test(`${p}: leaving closes the provider's connection`, async () => {
    await closes(p, async (model) => {
      const stream = await client.chat({ model, messages, stream: true })
      let left
      await assert.rejects(async () => {
        for await (const part of stream)
          if (part.message.content && !left) {
            left = closes.now()
            stream.abort()
          }
      })
      return left
    })
  })
}

for (const p of ['openai', 'gemini', 'ollama'])
  test(`${p}: embeddings`, async () => {
    const { embeddings } = await client.embed({ model: sim(p, 'dims=64'), input: ['a red house', 'a poem'] })
    assert.deepEqual(embeddings.map((e) => e.length), [64, 64])
    const { embedding } = await client.embeddings({ model: sim(p, 'dims=64'), prompt: 'a red house' })
    assert.equal(embedding.length, 64)
    embedding.forEach((x, i) => assert.ok(Math.abs(x - embeddings[0][i]) < 1e-6))
  })

test('models', async () => {
  const { models } = await client.list()
  assert.ok(models.some((m) => m.name === 'sim-small'))
  const shown = await client.show({ model: 'sim-small' })
  assert.equal(shown.details.family, 'openai')
  await assert.rejects(client.show({ model: 'nothing' }), (e) => e.status_code === 404)
  assert.ok((await client.version()).version)
})
