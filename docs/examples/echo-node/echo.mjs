// echo.mjs - an actor in Node.js. Run: samovar keys new echo; then with the printed SAMOVAR_* lines: node echo.mjs
import { Bus, STATUS } from './bus.mjs'

const bus = new Bus('echo', {
  say: {
    idempotent: true,
    doc: 'says it again',
    handler: ({ text }, call) => {
      if (typeof text !== 'string') throw Object.assign(new Error('Field text must be a string.'), { status: STATUS.INVALID_ARGUMENT })
      return { text, caller: call.caller }
    },
  },
  count: {
    doc: 'counts, one item each',
    handler: async ({ to }, call) => {
      for (let n = 1; n <= to; n++) await call.partial({ n })
      return { n: to }
    },
  },
})

const welcome = await bus.connect()
console.log(`serving as ${welcome.service}/${welcome.instance}`)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => bus.close().then(() => process.exit(0)))
