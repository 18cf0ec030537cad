// langchain.test.mjs - LangChain's classes for OpenAI.
import assert from 'node:assert/strict'
import test from 'node:test'
import { HumanMessage, ToolMessage } from '@langchain/core/messages'
import { tool } from '@langchain/core/tools'
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import { z } from 'zod'
import { closes, bodies, PIXEL, PROMPT, PROVIDERS, seen, sim, URL_ROOT, words } from './kit.mjs'

const base = { apiKey: 'not-needed-on-loopback', maxRetries: 0, configuration: { baseURL: `${URL_ROOT}/v1` } }
const chat = (model, more) => new ChatOpenAI({ ...base, model, ...more })
const shape = z.object({ city: z.string(), degrees: z.number().int() })
const weather = tool(async () => 'cold', { name: 'weather', description: 'of a city', schema: shape })

for (const p of PROVIDERS) {
  for (const useResponsesApi of [false, true]) {
    const way = `${p}${useResponsesApi ? ' by responses' : ''}`

    test(`${way}: plain`, async () => {
      const answer = await chat(sim(p), { useResponsesApi }).invoke(PROMPT)
      assert.equal(answer.text, words(5))
      assert.equal(answer.usage_metadata.output_tokens, 5)
    })

    test(`${way}: stream`, async () => {
      let all
      let pieces = 0
      for await (const piece of await chat(sim(p, 'tokens=12'), { useResponsesApi }).stream(PROMPT)) {
        all = all ? all.concat(piece) : piece
        pieces += 1
      }
      assert.equal(all.text, words(12))
      assert.ok(pieces > 3)
      assert.equal(all.usage_metadata.output_tokens, 12)
    })

    test(`${way}: parallel tools and their results`, async () => {
      const model = chat(sim(p, 'tools=2,tokens=3'), { useResponsesApi }).bindTools([weather])
      const question = new HumanMessage(PROMPT)
      const first = await model.invoke([question])
      assert.equal(first.tool_calls.length, 2)
      const results = first.tool_calls.map((call) => new ToolMessage({ tool_call_id: call.id, content: 'cold' }))
      assert.equal((await model.invoke([question, first, ...results])).text, words(3))
    })
  }

  test(`${p}: structured output`, async () => {
    for (const method of ['jsonSchema', 'functionCalling']) {
      const model = sim(p, method === 'functionCalling' ? 'tools=1' : 'tokens=5') // Ollama's cannot be forced to
      const answer = await chat(model).withStructuredOutput(shape, { name: 'weather', method }).invoke(PROMPT)
      assert.equal(typeof answer.city, 'string')
    }
  })

  test(`${p}: an image`, async () => {
    const model = sim(p)
    await chat(model).invoke([new HumanMessage({ content: [{ type: 'text', text: 'What is this?' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${PIXEL}` } }] })])
    assert.ok(JSON.stringify(await bodies(model)).includes(PIXEL))
  })

  test(`${p}: a 429 is the server's to try again, and an error when it lasts`, async () => {
    const model = sim(p, 'status=429,fail_first=1,retry_after_ms=20,tokens=2')
    assert.equal((await chat(model).invoke(PROMPT)).text, words(2))
    assert.deepEqual((await seen(model)).map((r) => r.status), [429, 200])
    for (const status of [400, 401, 404]) await assert.rejects(chat(sim(p, `status=${status}`)).invoke(PROMPT), (e) => e.status === status)
  })

  test(`${p}: a stream that was cut is an error`, async () => {
    await assert.rejects(async () => {
      for await (const piece of await chat(sim(p, 'tokens=40,fault=cut,at=20')).stream(PROMPT)) void piece
    })
  })

  test(`${p}: leaving closes the provider's connection`, async () => {
    await closes(p, async (model) => {
      const stop = new AbortController()
      let left
      await assert.rejects(async () => {
        for await (const piece of await chat(model).stream(PROMPT, { signal: stop.signal }))
          if (piece.text && !left) {
            left = closes.now()
            stop.abort()
          }
      })
      return left
    })
  })
}

for (const p of ['openai', 'gemini', 'ollama'])
  test(`${p}: embeddings`, async () => {
    const [a, b] = await new OpenAIEmbeddings({ ...base, model: sim(p, 'dims=64') }).embedDocuments(['a red house', 'a poem'])
    assert.equal(a.length, 64)
    assert.notDeepEqual(a, b)
  })
