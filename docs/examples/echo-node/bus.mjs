// bus.mjs - the Samovar bus from Node.js, after docs/protocol.md: header, HELLO, calls, answers, windows.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { decode, encode } from '@msgpack/msgpack'
import { Dealer } from 'zeromq'

const KIND = { HELLO: 1, WELCOME: 2, REQUEST: 3, REPLY: 4, PARTIAL: 5, CREDIT: 6, CANCEL: 7, PING: 8, PONG: 9, GOODBYE: 14 }
const STREAM = 2
const WINDOW = { items: 64, bytes: 262144 }
export const STATUS = { OK: 0, INVALID_ARGUMENT: 3, UNIMPLEMENTED: 12, INTERNAL: 13 }

function uuid7() {
  const id = randomBytes(16)
  id.writeUIntBE(Date.now(), 0, 6)
  id[6] = 0x70 | (id[6] & 0x0f)
  id[8] = 0x80 | (id[8] & 0x3f)
  return id
}

// Section 3: thirteen elements at fixed offsets, then five strings.
function writeHeader(h) {
  const b = Buffer.alloc(130)
  b.set([0xdc, 0, 18, 0xcc, 1, 0xcc, h.kind, 0xcd])
  b.writeUInt16BE(h.flags ?? 0, 8)
  b[10] = 0xce
  b.writeUInt32BE(h.items ?? 0, 11)
  b[15] = 0xcf
  b.writeBigUInt64BE(BigInt(h.bytes ?? 0), 16)
  b[24] = 0xce
  b.writeUInt32BE(h.ttl ?? 10000, 25)
  b.set([0xd9, 24], 29)
  b[55] = 0xce
  b[60] = 0xcc
  b.set([0xc4, 16], 62)
  b.set(h.id, 64)
  b.set([0xc4, 16], 80)
  if (h.parent) b.set(h.parent, 82)
  b.set([0xc4, 25], 98)
  if (h.trace) b.set(h.trace, 100)
  b[125] = 0xce
  b.writeUInt32BE(h.code ?? 0, 126)
  return Buffer.concat([b, ...[h.target, h.key, h.tracestate, h.ticket, h.contentType].map((v) => encode(v ?? null))])
}

function readHeader(b) {
  const e = decode(b, { useBigInt64: false })
  return { kind: e[1], flags: e[2], items: e[3], bytes: Number(e[4]), ttl: e[5], sender: e[6].replace(/\0+$/, ''),
    id: Buffer.from(e[9]), trace: Buffer.from(e[11]), code: e[12], target: e[13], ticket: e[15] }
}

function key(file, word) {
  const line = readFileSync(file, 'utf8').split('\n').find((l) => l.startsWith(word + ' '))
  return line?.slice(word.length + 1).trim()
}

export class Bus {
  constructor(service, methods = {}, slots = 64) {
    Object.assign(this, { service, methods, slots, epoch: Date.now(), calls: new Map(), serving: new Map() })
    this.socket = new Dealer({ linger: 500, immediate: true, maxMessageSize: 65536 })
    this.queue = Promise.resolve()
    this.ready = new Promise((resolve, reject) => Object.assign(this, { welcomed: resolve, refused: reject }))
  }

  connect({ endpoint = process.env.SAMOVAR_BUS, own = process.env.SAMOVAR_KEY, broker = process.env.SAMOVAR_BUS_KEY } = {}) {
    if (own) {
      this.socket.curvePublicKey = key(own, 'public')
      this.socket.curveSecretKey = key(own, 'secret')
      this.socket.curveServerKey = key(broker, 'public')
    }
    this.socket.connect(endpoint)
    this.receive().catch((e) => this.refused(e))
    this.hello()
    this.ready.then(({ ping_ms }) => { this.timer = setInterval(() => this.lookAfterBroker(ping_ms), ping_ms) }, () => {})
    return this.ready
  }

  // A broker that restarted knows nobody and says so to whoever speaks: so speak when it is silent.
  lookAfterBroker(ping_ms) {
    if (Date.now() - this.heard < ping_ms || this.pinging) return
    this.pinging = true
    this.send({ kind: KIND.PING, id: uuid7() }).finally(() => { this.pinging = false })
  }

  send(header, body = Buffer.alloc(0)) { // one send at a time, in order
    this.queue = this.queue.then(() => this.socket.send([writeHeader(header), body])).catch(() => {})
    return this.queue
  }

  hello() {
    const methods = Object.entries(this.methods).map(([name, m]) => ({ name, idempotent: !!m.idempotent, doc: m.doc ?? '' }))
    this.send({ kind: KIND.HELLO, id: uuid7() }, encode({ service: this.service, epoch: this.epoch, version: '1.0', methods,
      slots: methods.length ? this.slots : 0, pid: process.pid }))
  }

  // Calls a method; `onItem` receives the items of a stream.
  call(target, body = {}, { onItem, ttl = 10000 } = {}) {
    const id = uuid7()
    return new Promise((resolve, reject) => {
      this.calls.set(id.toString('hex'), { resolve, reject, onItem, items: 0, bytes: 0 })
      this.send({ kind: KIND.REQUEST, flags: onItem ? STREAM : 0, id, ttl, target, items: WINDOW.items, bytes: WINDOW.bytes }, encode(body))
    })
  }

  async receive() {
    for await (const [head, ...data] of this.socket) {
      this.heard = Date.now()
      const h = readHeader(head)
      const id = h.id.toString('hex')
      if (h.kind === KIND.PING) this.send({ kind: KIND.PONG, id: h.id })
      else if (h.kind === KIND.WELCOME) this.welcomed(decode(data[0]))
      else if (h.kind === KIND.GOODBYE) this.goodbye(data[0])
      else if (h.kind === KIND.REQUEST) this.serve(h, data[0])
      else if (h.kind === KIND.PARTIAL) this.item(h, id, data)
      else if (h.kind === KIND.REPLY) this.answered(h, id, data[0])
      else if (h.kind === KIND.CREDIT) this.serving.get(id)?.grant(h)
      else if (h.kind === KIND.CANCEL) this.serving.get(id)?.cancel()
    }
  }

  goodbye(body) {
    const error = body?.length ? decode(body) : { code: 'bus.hello_required', message: 'goodbye' }
    if (error.code !== 'bus.hello_required') return this.refused(new Error(`${error.code}: ${error.message}`))
    for (const c of this.calls.values()) c.reject(new Error('bus.restarted: the broker forgot the request'))
    this.calls.clear()
    this.hello()
  }

  item(h, id, data) {
    const c = this.calls.get(id)
    if (!c) return
    c.items += 1
    c.bytes += data.reduce((n, d) => n + d.length, 0)
    c.onItem?.(decode(data[0]))
    if (c.items % (WINDOW.items / 2) === 0)
      this.send({ kind: KIND.CREDIT, id: h.id, items: c.items + WINDOW.items, bytes: c.bytes + WINDOW.bytes })
  }

  answered(h, id, body) {
    const c = this.calls.get(id)
    if (!c) return
    this.calls.delete(id)
    const value = body.length ? decode(body) : {}
    if (h.code === STATUS.OK) c.resolve(value)
    else c.reject(Object.assign(new Error(`${value.code}: ${value.message}`), { status: h.code, body: value }))
  }

  // Runs a handler; `call.partial` waits while the caller's window is shut.
  async serve(h, body) {
    const id = h.id.toString('hex')
    const window = { items: h.items, bytes: h.bytes, sent: 0, sentBytes: 0, wake: null, cancelled: false }
    const call = {
      caller: h.sender,
      window,
      grant(c) { window.items = Math.max(window.items, c.items); window.bytes = Math.max(window.bytes, c.bytes); window.wake?.() },
      cancel() { window.cancelled = true; window.wake?.() },
      partial: async (value) => {
        const bytes = encode(value)
        while (!window.cancelled && (window.sent >= window.items || window.sentBytes + bytes.length > window.bytes))
          await new Promise((wake) => { window.wake = wake })
        if (window.cancelled) throw new Error('cancelled')
        window.sentBytes += bytes.length
        await this.send({ kind: KIND.PARTIAL, id: h.id, trace: h.trace, target: h.target, code: ++window.sent }, bytes)
      },
    }
    this.serving.set(id, call)
    const reply = { kind: KIND.REPLY, id: h.id, trace: h.trace, target: h.target }
    try {
      const method = this.methods[h.target.slice(this.service.length + 1)]
      await this.send(reply, encode(await method.handler(body.length ? decode(body) : {}, call) ?? {}))
    } catch (e) {
      const status = e.status ?? STATUS.INTERNAL
      const code = status === STATUS.INVALID_ARGUMENT ? 'request.invalid' : 'server.internal'
      await this.send({ ...reply, code: status }, encode({ code, message: String(e.message).slice(0, 250) }))
    } finally {
      this.serving.delete(id)
    }
  }

  async close() {
    clearInterval(this.timer)
    await this.send({ kind: KIND.GOODBYE, id: uuid7() })
    this.socket.close()
  }
}
