// demo.test.mjs - OpenAI's client and the model that needs no provider.
import assert from 'node:assert/strict'
import test from 'node:test'
import OpenAI from 'openai'

const client = new OpenAI({ apiKey: 'not-needed-on-loopback', baseURL: `${process.env.SAMOVAR_URL}/v1`, maxRetries: 0 })
const messages = [{ role: 'user', content: 'What is a samovar? «Самовар» 茶' }]

test('models', async () => {
  const ids = []
  for await (const model of client.models.list()) ids.push(model.id)
  assert.ok(ids.includes('demo'))
})

test('one model', async () => {
  assert.equal((await client.models.retrieve('demo')).id, 'demo')
  await assert.rejects(client.models.retrieve('nothing'), OpenAI.NotFoundError)
})

test('plain completion with its request id', async () => {
  const answer = await client.chat.completions.create({ model: 'demo', messages })
  assert.match(answer.choices[0].message.content, /no AI/)
  assert.match(answer.choices[0].message.content, /Самовар/)
  assert.equal(answer.choices[0].finish_reason, 'stop')
  assert.ok(answer._request_id)
})

test('stream, read by the strict helper', async () => {
  const runner = client.chat.completions.stream({ model: 'demo', messages, stream_options: { include_usage: true } })
  let deltas = 0
  runner.on('content', () => { deltas += 1 })
  const final = await runner.finalChatCompletion()
  assert.ok(deltas > 10)
  assert.match(final.choices[0].message.content, /茶/)
  assert.ok(final.usage.completion_tokens > 0)
})

test('stream and plain say the same', async () => {
  const plain = await client.chat.completions.create({ model: 'demo', messages })
  let text = ''
  for await (const chunk of await client.chat.completions.create({ model: 'demo', messages, stream: true }))
    text += chunk.choices[0]?.delta?.content ?? ''
  assert.equal(text, plain.choices[0].message.content)
})

test('errors arrive as the right classes', async () => {
  await assert.rejects(client.chat.completions.create({ model: 'demo' }), (e) => {
    assert.ok(e instanceof OpenAI.BadRequestError)
    assert.equal(e.param, 'messages')
    assert.equal(e.type, 'invalid_request_error')
    assert.ok(e.requestID)
    return true
  })
})

test('leaving a stream early', async () => {
  const stream = await client.chat.completions.create({ model: 'demo', messages, stream: true })
  for await (const chunk of stream) { void chunk; break }
  assert.match((await client.chat.completions.create({ model: 'demo', messages })).choices[0].message.content, /no AI/)
})
