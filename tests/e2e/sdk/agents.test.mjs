// agents.test.mjs - OpenAI's agents, by responses and by chat completions.
import assert from 'node:assert/strict'
import test from 'node:test'
import { Agent, OpenAIProvider, Runner, setTracingDisabled, tool } from '@openai/agents'
import OpenAI from 'openai'
import { z } from 'zod'
import { closes, PROMPT, PROVIDERS, seen, sim, URL_ROOT, words } from './kit.mjs'

setTracingDisabled(true)
const openAIClient = new OpenAI({ apiKey: 'not-needed-on-loopback', baseURL: `${URL_ROOT}/v1`, maxRetries: 0 })
const shape = z.object({ city: z.string(), degrees: z.number().int() })
const weather = (asked) => tool({ name: 'weather', description: 'of a city', parameters: shape, execute: async (input) => { asked.push(input); return 'cold' } })

for (const p of PROVIDERS)
  for (const useResponses of [true, false]) {
    const way = `${p} by ${useResponses ? 'responses' : 'chat completions'}`
    const runner = new Runner({ modelProvider: new OpenAIProvider({ openAIClient, useResponses }), tracingDisabled: true })
    const agent = (behaviour, more) => new Agent({ name: 'helper', instructions: 'Be brief.', model: sim(p, behaviour), ...more })

    test(`${way}: plain`, async () => {
      assert.equal((await runner.run(agent(), PROMPT)).finalOutput, words(5))
    })

    test(`${way}: stream`, async () => {
      const result = await runner.run(agent('tokens=12'), PROMPT, { stream: true })
      let text = ''
      for await (const piece of result.toTextStream()) text += piece
      await result.completed
      assert.equal(text, words(12))
      assert.equal(result.finalOutput, words(12))
    })

    test(`${way}: parallel tools and their results`, async () => {
      for (const stream of [false, true]) {
        const asked = []
        const result = await runner.run(agent('tools=2,tokens=3', { tools: [weather(asked)] }), PROMPT, { stream })
        if (stream) await result.completed
        assert.equal(result.finalOutput, words(3))
        assert.equal(asked.length, 2)
      }
    })

    test(`${way}: reasoning goes back with the tools' results`, async () => {
      const settings = { modelSettings: { reasoning: { effort: 'low', summary: 'auto' }, maxTokens: 9000, store: false, providerData: useResponses ? { include: ['reasoning.encrypted_content'] } : {} } }
      const result = await runner.run(agent('thinking=4,tools=1,tokens=3', { tools: [weather([])], ...settings }), PROMPT)
      assert.equal(result.finalOutput, words(3))
    })

    test(`${way}: structured output`, async () => {
      const result = await runner.run(agent('tokens=5', { outputType: shape }), PROMPT)
      assert.equal(typeof result.finalOutput.city, 'string')
    })

    test(`${way}: a 429 is the server's to try again, and an error when it lasts`, async () => {
      const helper = agent('status=429,fail_first=1,retry_after_ms=20,tokens=2')
      assert.equal((await runner.run(helper, PROMPT)).finalOutput, words(2))
      assert.deepEqual((await seen(helper.model)).map((r) => r.status), [429, 200])
      await assert.rejects(runner.run(agent('status=400'), PROMPT), OpenAI.BadRequestError)
      await assert.rejects(runner.run(agent('status=401'), PROMPT), OpenAI.AuthenticationError)
    })

    test(`${way}: leaving closes the provider's connection`, async () => {
      await closes(p, async (model) => {
        const stop = new AbortController()
        const result = await runner.run(new Agent({ name: 'helper', model }), PROMPT, { stream: true, signal: stop.signal })
        let left
        try {
          for await (const piece of result.toTextStream())
            if (piece && !left) {
              left = closes.now()
              stop.abort()
            }
          await result.completed
        } catch (e) {
          assert.match(String(e), /abort/i)
        }
        return left
      })
    })
  }
