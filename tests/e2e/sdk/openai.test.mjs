// openai.test.mjs - OpenAI's client with providers of every kind.
import assert from 'node:assert/strict'
import test from 'node:test'
import OpenAI, { toFile } from 'openai'
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod'
import { z } from 'zod'
import { closes, counting, bodies, got_back, PIXEL, PROMPT, PROVIDERS, SCHEMA, seen, sim, URL_ROOT, words } from './kit.mjs'

const options = { apiKey: 'not-needed-on-loopback', baseURL: `${URL_ROOT}/v1`, maxRetries: 0 }
const client = new OpenAI(options)
const messages = [{ role: 'user', content: PROMPT }]
const tools = [{ type: 'function', function: { name: 'weather', description: 'of a city', parameters: SCHEMA } }]
const shape = z.object({ city: z.string(), degrees: z.number().int() })

for (const p of PROVIDERS) {
  test(`${p}: plain`, async () => {
    const answer = await client.chat.completions.create({ model: sim(p), messages })
    assert.equal(answer.choices[0].message.content, words(5))
    assert.equal(answer.choices[0].finish_reason, 'stop')
    assert.equal(answer.usage.prompt_tokens, 10)
    assert.equal(answer.usage.completion_tokens, 5)
    assert.ok(answer._request_id)
  })

  test(`${p}: what was asked arrives`, async () => {
    const answer = await client.chat.completions.create({ model: sim(p, 'echo=1'), messages })
    assert.equal(answer.choices[0].message.content, PROMPT)
  })

  test(`${p}: stream, read by the strict helper`, async () => {
    for (const fault of ['none', 'bytes']) {
      const model = sim(p, `tokens=12,unicode=1,fault=${fault}`)
      const runner = client.chat.completions.stream({ model, messages, stream_options: { include_usage: true } })
      let deltas = 0
      runner.on('content', () => { deltas += 1 })
      const final = await runner.finalChatCompletion()
      const plain = await client.chat.completions.create({ model: sim(p, 'tokens=12,unicode=1'), messages })
      assert.equal(final.choices[0].message.content, plain.choices[0].message.content)
      assert.ok(deltas > 3)
      assert.equal(final.usage.completion_tokens, 12)
    }
  })

  test(`${p}: parallel tools and their results`, async () => {
    for (const stream of [false, true]) {
      const model = sim(p, 'tools=2,tokens=3')
      const body = { model, messages, tools }
      const first = stream
        ? await client.chat.completions.stream(body).finalChatCompletion()
        : await client.chat.completions.create(body)
      const { message, finish_reason: reason } = first.choices[0]
      assert.equal(reason, 'tool_calls')
      assert.equal(message.tool_calls.length, 2)
      assert.notEqual(message.tool_calls[0].id, message.tool_calls[1].id)
      for (const call of message.tool_calls) {
        assert.equal(call.function.name, 'weather')
        assert.equal(typeof JSON.parse(call.function.arguments).city, 'string')
      }
      const results = message.tool_calls.map((call) => ({ role: 'tool', tool_call_id: call.id, content: '{"degrees":7}' }))
      const next = await client.chat.completions.create({ ...body, messages: [...messages, message, ...results] })
      assert.equal(next.choices[0].message.content, words(3))
    }
  })

  test(`${p}: runTools`, async () => {
    const asked = []
    const runner = client.chat.completions.runTools({
      model: sim(p, 'tools=2,tokens=3'),
      messages,
      tools: [{ type: 'function', function: { name: 'weather', parse: JSON.parse, parameters: SCHEMA, function: (a) => { asked.push(a); return 'cold' } } }]
    })
    assert.equal(await runner.finalContent(), words(3))
    assert.equal(asked.length, 2)
  })

  test(`${p}: structured output`, async () => {
    const answer = await client.chat.completions.parse({ model: sim(p), messages, response_format: zodResponseFormat(shape, 'weather') })
    assert.equal(typeof answer.choices[0].message.parsed.city, 'string')
    assert.ok(Number.isInteger(answer.choices[0].message.parsed.degrees))
  })

  test(`${p}: an image`, async () => {
    const content = [{ type: 'text', text: 'What is this?' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${PIXEL}` } }]
    const model = sim(p, 'echo=all')
    const answer = await client.chat.completions.create({ model, messages: [{ role: 'user', content }] })
    assert.match(answer.choices[0].message.content, /image/)
    assert.ok(JSON.stringify(await bodies(model)).includes(PIXEL))
  })

  test(`${p}: reasoning is told, and goes back`, async () => {
    const model = sim(p, 'thinking=4,tools=1,tokens=3')
    const body = { model, messages, tools, reasoning_effort: 'low', max_completion_tokens: 9000 }
    const first = await client.chat.completions.create(body)
    const { message } = first.choices[0]
    if (p !== 'openai' && p !== 'responses') assert.ok(message.reasoning_content)
    const results = message.tool_calls.map((call) => ({ role: 'tool', tool_call_id: call.id, content: 'cold' }))
    const next = await client.chat.completions.create({ ...body, messages: [...messages, message, ...results] })
    assert.equal(next.choices[0].message.content, words(3))
    if (p !== 'responses') await got_back(model)
  })

  test(`${p}: a 429 is the server's to try again`, async () => {
    const model = sim(p, 'status=429,fail_first=1,retry_after_ms=20,tokens=2')
    const answer = await client.chat.completions.create({ model, messages })
    assert.equal(answer.choices[0].message.content, words(2))
    assert.deepEqual((await seen(model)).map((r) => r.status), [429, 200])
  })

  test(`${p}: errors arrive as the right classes, once`, async () => {
    const fetch = counting()
    const patient = new OpenAI({ ...options, maxRetries: 2, fetch })
    const fails = async (behaviour, kind) =>
      assert.rejects(patient.chat.completions.create({ model: sim(p, behaviour), messages }), (e) => {
        assert.ok(e instanceof kind, `${behaviour}: ${e.status} ${e.message}`)
        assert.ok(e.requestID)
        assert.ok(e.message.length > 10)
        return true
      })
    await fails('status=429,retry_after_ms=5', OpenAI.RateLimitError)
    await fails('status=400', OpenAI.BadRequestError)
    await fails('status=401', OpenAI.AuthenticationError)
    await fails('status=404', OpenAI.NotFoundError)
    await fails('context=2', OpenAI.BadRequestError)
    if (p !== 'gemini') await fails('policy=1', OpenAI.BadRequestError) // says so in an answer
    assert.equal(fetch.n, p === 'gemini' ? 5 : 6)
  })

  test(`${p}: a stream that was cut is an error, not an end`, async () => {
    let text = ''
    await assert.rejects(async () => {
      const stream = await client.chat.completions.create({ model: sim(p, 'tokens=40,fault=cut,at=20'), messages, stream: true })
      for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? ''
    }, OpenAI.APIError)
    assert.match(text, /tok0/)
  })

  test(`${p}: leaving closes the provider's connection`, async () => {
    await closes(p, async (model) => {
      const stream = await client.chat.completions.create({ model, messages, stream: true })
      for await (const chunk of stream) if (chunk.choices[0]?.delta?.content) break
      return closes.now()
    })
    await closes(p, async (model) => {
      const stop = new AbortController()
      const answer = client.chat.completions.create({ model, messages }, { signal: stop.signal })
      while ((await seen(model)).length === 0) await new Promise((done) => setTimeout(done, 5))
      const left = closes.now()
      stop.abort()
      await assert.rejects(answer, OpenAI.APIUserAbortError)
      return left
    }, 'first_ms=20000')
  })

  test(`${p}: the older completions`, async () => {
    const answer = await client.completions.create({ model: sim(p), prompt: 'Once' })
    assert.equal(answer.choices[0].text.trim(), words(5))
    let text = ''
    for await (const chunk of await client.completions.create({ model: sim(p), prompt: 'Once', stream: true })) text += chunk.choices[0]?.text ?? ''
    assert.equal(text.trim(), words(5))
  })

  test(`${p}: responses`, async () => {
    const answer = await client.responses.create({ model: sim(p), input: PROMPT, store: false })
    assert.equal(answer.output_text, words(5))
    assert.equal(answer.status, 'completed')
    assert.equal(answer.usage.output_tokens, 5)
    const names = []
    const stream = client.responses.stream({ model: sim(p), input: PROMPT })
    stream.on('event', (e) => names.push(e.type))
    const final = await stream.finalResponse()
    assert.equal(final.output_text, words(5))
    for (const name of ['response.created', 'response.output_item.added', 'response.content_part.added', 'response.output_text.delta',
      'response.output_text.done', 'response.output_item.done', 'response.completed']) assert.ok(names.includes(name), name)
  })

  test(`${p}: responses with tools and structured output`, async () => {
    const own = [{ type: 'function', name: 'weather', parameters: SCHEMA, strict: true }]
    const model = sim(p, 'tools=2,tokens=3')
    for (const stream of [false, true]) {
      const body = { model, input: [{ role: 'user', content: PROMPT }], tools: own, store: false, include: ['reasoning.encrypted_content'] }
      const first = stream ? await client.responses.stream(body).finalResponse() : await client.responses.create(body)
      const calls = first.output.filter((item) => item.type === 'function_call')
      assert.equal(calls.length, 2)
      const results = calls.map((call) => ({ type: 'function_call_output', call_id: call.call_id, output: 'cold' }))
      const input = [...body.input, ...first.output.map(({ parsed_arguments, ...item }) => item), ...results]
      assert.equal((await client.responses.create({ ...body, input })).output_text, words(3))
    }
    const parsed = await client.responses.parse({ model: sim(p), input: PROMPT, text: { format: zodTextFormat(shape, 'weather') } })
    assert.equal(typeof parsed.output_parsed.city, 'string')
  })

  test(`${p}: responses with reasoning`, async () => {
    const model = sim(p, 'thinking=4,tools=1,tokens=3')
    const body = { model, tools: [{ type: 'function', name: 'weather', parameters: SCHEMA, strict: true }], store: false,
      include: ['reasoning.encrypted_content'], reasoning: { effort: 'low', summary: 'auto' }, max_output_tokens: 9000 }
    const input = [{ role: 'user', content: PROMPT }]
    const first = await client.responses.create({ ...body, input })
    const call = first.output.find((item) => item.type === 'function_call')
    if (p !== 'openai') assert.ok(first.output.some((item) => item.type === 'reasoning'))
    const next = await client.responses.create({ ...body, input: [...input, ...first.output, { type: 'function_call_output', call_id: call.call_id, output: 'cold' }] })
    assert.equal(next.output_text, words(3))
    await got_back(model)
  })

  test(`${p}: responses that fail in mid-stream`, async () => {
    await assert.rejects(async () => {
      const stream = await client.responses.create({ model: sim(p, 'tokens=40,fault=cut,at=20'), input: PROMPT, stream: true })
      let end
      for await (const event of stream) end = event
      assert.notEqual(end.type, 'response.completed')
      throw new OpenAI.APIError(undefined, undefined, end.type, undefined)
    }, OpenAI.APIError)
  })
}

for (const p of ['openai', 'gemini', 'ollama'])
  test(`${p}: embeddings`, async () => {
    const input = ['where is the red house', 'the RED house is where', 'a poem on rain']
    const packed = await client.embeddings.create({ model: sim(p, 'dims=64'), input })
    const plain = await client.embeddings.create({ model: sim(p, 'dims=64'), input, encoding_format: 'float' })
    assert.equal(packed.data.length, 3)
    packed.data.forEach(({ embedding }, i) => {
      assert.equal(embedding.length, 64)
      embedding.forEach((x, k) => assert.ok(Math.abs(x - plain.data[i].embedding[k]) < 1e-6))
    })
  })

test('anthropic: has no embeddings, and says so', async () => {
  await assert.rejects(client.embeddings.create({ model: sim('anthropic'), input: 'a' }), (e) => e.status < 500 && /no such endpoint/.test(e.message))
})

test('models', async () => {
  const ids = []
  for await (const model of client.models.list()) ids.push(model.id)
  assert.ok(ids.includes('sim-small'))
  assert.equal((await client.models.retrieve('sim-small')).id, 'sim-small')
})

test('moderations, images and transcriptions pass through', async () => {
  const verdict = await client.moderations.create({ model: sim('openai'), input: 'a violent text' })
  assert.equal(verdict.results[0].flagged, true)
  const picture = await client.images.generate({ model: sim('openai'), prompt: 'a samovar', response_format: 'b64_json' })
  assert.ok(picture.data[0].b64_json.length > 20)
  const sound = new Uint8Array(777)
  const model = sim('openai')
  const text = await client.audio.transcriptions.create({ model, file: await toFile(sound, 'a.wav') })
  assert.match(text.text, /777 bytes/)
  assert.match(text.text, new RegExp(model.slice(model.indexOf('/') + 1)))
})

test('a provider that has none of these says so', async () => {
  for (const p of ['anthropic', 'gemini', 'ollama']) {
    await assert.rejects(client.moderations.create({ model: sim(p), input: 'a' }), (e) => e.status < 500 && e.message.length > 10)
    await assert.rejects(client.images.generate({ model: sim(p), prompt: 'a' }), (e) => e.status < 500 && e.message.length > 10)
    await assert.rejects(client.audio.transcriptions.create({ model: sim(p), file: await toFile(new Uint8Array(9), 'a.wav') }), (e) => e.status < 500)
  }
})

test('several models, and what was dropped', async () => {
  const { data, response } = await client.chat.completions
    .create({ model: sim('openai', 'status=500'), models: [sim('anthropic')], messages, logit_bias: { 50256: -100 } }, { headers: { 'x-samovar-explain': '1' } })
    .withResponse()
  assert.equal(data.choices[0].message.content, words(5))
  assert.match(response.headers.get('x-samovar-dropped'), /logit_bias/)
  assert.equal(response.headers.get('x-samovar-provider'), 'anthropic')
})

test('the same again, by the cache', async () => {
  for (const p of PROVIDERS) {
    const body = { model: sim(p, 'unicode=1'), messages, temperature: 0 }
    const first = await client.chat.completions.create(body).withResponse()
    const second = await client.chat.completions.create(body).withResponse()
    assert.equal(second.response.headers.get('x-cache'), 'hit')
    assert.equal(second.data.choices[0].message.content, first.data.choices[0].message.content)
    const final = await client.chat.completions.stream(body).finalChatCompletion()
    const replayed = await client.chat.completions.stream(body).finalChatCompletion()
    assert.equal(replayed.choices[0].message.content, final.choices[0].message.content)
    assert.equal((await seen(body.model)).length, 2)
  }
})
