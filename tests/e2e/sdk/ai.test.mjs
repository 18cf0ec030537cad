// ai.test.mjs - the AI SDK with its OpenAI-compatible provider.
import assert from 'node:assert/strict'
import test from 'node:test'
import { embed, embedMany, generateText, Output, stepCountIs, streamText, tool } from 'ai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { z } from 'zod'
import { closes, counting, bodies, PIXEL, PROMPT, PROVIDERS, seen, sim, URL_ROOT, words } from './kit.mjs'

const fetch = counting()
const at = createOpenAICompatible({ name: 'samovar', baseURL: `${URL_ROOT}/v1`, includeUsage: true, supportsStructuredOutputs: true, fetch })
const shape = z.object({ city: z.string(), degrees: z.number().int() })
const weather = (asked) => tool({ description: 'of a city', inputSchema: shape, execute: async (input) => { asked.push(input); return 'cold' } })

for (const p of PROVIDERS) {
  test(`${p}: plain`, async () => {
    const { text, finishReason, usage } = await generateText({ model: at(sim(p)), prompt: PROMPT, maxRetries: 0 })
    assert.equal(text, words(5))
    assert.equal(finishReason, 'stop')
    assert.equal(usage.inputTokens, 10)
    assert.equal(usage.outputTokens, 5)
  })

  test(`${p}: stream`, async () => {
    const answer = streamText({ model: at(sim(p, 'tokens=12')), prompt: PROMPT, maxRetries: 0 })
    let pieces = 0
    for await (const piece of answer.textStream) if (piece) pieces += 1
    assert.ok(pieces > 3)
    assert.equal(await answer.text, words(12))
    assert.equal((await answer.usage).outputTokens, 12)
  })

  test(`${p}: parallel tools and their results`, async () => {
    for (const stream of [false, true]) {
      const asked = []
      const body = { model: at(sim(p, 'tools=2,tokens=3')), prompt: PROMPT, tools: { weather: weather(asked) }, stopWhen: stepCountIs(3), maxRetries: 0 }
      const answer = stream ? streamText(body) : await generateText(body)
      assert.equal(await answer.text, words(3))
      assert.equal((await answer.steps).length, 2)
      assert.equal(asked.length, 2)
    }
  })

  test(`${p}: structured output`, async () => {
    const { output } = await generateText({ model: at(sim(p)), prompt: PROMPT, output: Output.object({ schema: shape }), maxRetries: 0 })
    assert.equal(typeof output.city, 'string')
  })

  test(`${p}: an image`, async () => {
    const model = sim(p)
    await generateText({ model: at(model), maxRetries: 0, messages: [{ role: 'user', content: [{ type: 'text', text: 'What is this?' }, { type: 'file', data: PIXEL, mediaType: 'image/png' }] }] })
    assert.ok(JSON.stringify(await bodies(model)).includes(PIXEL))
  })

  test(`${p}: reasoning`, async () => {
    const answer = await generateText({ model: at(sim(p, 'thinking=4,tokens=3')), prompt: PROMPT, maxRetries: 0, maxOutputTokens: 9000, providerOptions: { samovar: { reasoningEffort: 'low' } } })
    assert.equal(answer.text, words(3))
    if (p !== 'openai' && p !== 'responses') assert.ok(answer.reasoningText)
  })

  test(`${p}: a 429 is the server's to try again, and an error when it lasts`, async () => {
    const model = sim(p, 'status=429,fail_first=1,retry_after_ms=20,tokens=2')
    assert.equal((await generateText({ model: at(model), prompt: PROMPT, maxRetries: 0 })).text, words(2))
    assert.deepEqual((await seen(model)).map((r) => r.status), [429, 200])
    for (const status of [400, 401, 404])
      await assert.rejects(generateText({ model: at(sim(p, `status=${status}`)), prompt: PROMPT }), (e) => e.statusCode === status && e.message.length > 10)
  })

  test(`${p}: a stream that was cut is an error`, async () => {
    const errors = []
    const answer = streamText({ model: at(sim(p, 'tokens=40,fault=cut,at=20')), prompt: PROMPT, maxRetries: 0, onError: ({ error }) => errors.push(error) })
    let finish
    for await (const part of answer.fullStream) if (part.type === 'finish') finish = part.finishReason
    assert.ok(errors.length > 0)
    assert.notEqual(finish, 'stop')
  })

  test(`${p}: leaving closes the provider's connection`, async () => {
    await closes(p, async (model) => {
      const stop = new AbortController()
      const answer = streamText({ model: at(model), prompt: PROMPT, maxRetries: 0, abortSignal: stop.signal, onError: () => {} })
      let left
      for await (const part of answer.fullStream)
        if (part.type === 'text-delta' && !left) {
          left = closes.now()
          stop.abort()
        }
      return left
    })
  })
}

for (const p of ['openai', 'gemini', 'ollama'])
  test(`${p}: embeddings`, async () => {
    const one = await embed({ model: at.embeddingModel(sim(p, 'dims=64')), value: 'a red house' })
    const many = await embedMany({ model: at.embeddingModel(sim(p, 'dims=64')), values: ['a red house', 'a poem'] })
    assert.equal(many.embeddings.length, 2)
    assert.deepEqual(many.embeddings[0], one.embedding)
    assert.equal(one.embedding.length, 64)
  })
