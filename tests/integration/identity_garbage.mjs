// identity_garbage.mjs - every address of the API is given what no client should send, made from its own
// description: never an answer that says our own fault.
import { account, check, enter, note, raw, ready, answers, processes } from './identity_client.mjs';

const api = (await raw('GET', '/openapi.json')).body;
const resolve = (s) => { while (s?.$ref) s = s.$ref.slice(2).split('/').reduce((at, k) => at[k], api); return s; };
const a = await enter(await account('strange@example.org'));
const root = await enter({ email: 'root@example.org', from: '10.7.7.7', password: 'seven calm otters' });
const WORDS = [null, true, -1, 0, 1e308, -1e308, 9007199254740993, 0.5, '', 'x', '\u0000', '\ud800', 'x'.repeat(600), 'x'.repeat(40000), '../../..', [], [null], [[[[]]]], {}, { a: {} },
    '01a1ff88-8903-728c-8d63-88657115d80a', Array(300).fill('x'), ['\u202e'], `sv_${'a'.repeat(64)}`];
const deep = (n) => '{"a":'.repeat(n) + '1' + '}'.repeat(n);
const bytes = (n) => Buffer.from(Array.from({ length: n }, () => Math.floor(Math.random() * 256)));
const BODIES = [
    '', '{', '[]', 'null', '"x"', '1e999', '{"a":1,"a":2}', '{"email":"a","email":"b"}', '{"\u0000":1}', deep(31), deep(33), deep(65), deep(5000), '['.repeat(40000),
    `{"email":"${'x'.repeat(50 * 1024)}"}`, `{"email":"${'x'.repeat(1100 * 1024)}"}`, Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]), Buffer.from('{"email":"\xc3\x28"}', 'latin1'),
    `{"n":${'9'.repeat(5000)}}`, '{"a":"\\ud800"}', '\ufeff{}', bytes(64), bytes(3000),
];
const faults = [];
let n = 0;
async function send(method, path, body, token, type = 'application/json') {
    const headers = { authorization: `Bearer ${token}`, 'content-type': type };
    const r = await raw(method, path, { body, headers, from: `10.8.${(n >> 8) & 255}.${n & 255}` });
    n++;
    const code = r.body?.error?.code ?? '';
    note(`${r.status || r.error} ${code}`);
    const early = r.status === 0 && ['EPIPE', 'ECONNRESET'].includes(r.error) && Buffer.byteLength(body ?? '') > 48 * 1024; // closed on what is too large
    if ((r.status === 0 && !early) || (r.status >= 500 && ![501, 503].includes(r.status)))
        faults.push(`${method} ${path} ${String(body).slice(0, 120)} -> ${r.status || r.error} ${r.text.toString().slice(0, 200)}`);
}
const jobs = [];
for (const [pattern, methods] of Object.entries(api.paths)) {
    for (const [m, op] of Object.entries(methods)) {
        const method = m.toUpperCase();
        if (!['GET', 'POST', 'PATCH', 'DELETE', 'PUT'].includes(method) || pattern === '/api/events' || pattern.includes('logout')) continue;
        const fill = (v) => pattern.replace(/\{[^}]+\}/g, () => encodeURIComponent(v));
        const bad = ['x', '%00', '..', '\u202e', 'x'.repeat(3000), '01a1ff88-8903-728c-8d63-88657115d80a', a.id];
        const path = fill('01a1ff88-8903-728c-8d63-88657115d80a');
        const token = pattern.startsWith('/api/admin') ? root.token : a.token;
        const add = (...args) => jobs.push(() => send(method, ...args));
        if (pattern.includes('{')) {
            for (const v of bad) add(fill(v), method === 'GET' || method === 'DELETE' ? undefined : '{}', token);
            add(pattern.replace(/\{[^}]+\}/g, '%ff%fe'), undefined, token);
            add(pattern.replace(/\{[^}]+\}/g, '%zz'), undefined, token);
        }
        for (const q of ['?', '?a=b', '?after=%ff', `?after=${'9'.repeat(400)}`, '?from=-1&to=9e99', '?limit=%00', '?&&&==', `?${'after=1&'.repeat(60)}`]) add(path + q, method === 'GET' || method === 'DELETE' ? undefined : '{}', token);
        if (method === 'GET' || method === 'DELETE') { add(path, bytes(100), token); continue; }
        for (const body of BODIES) add(path, body, token);
        add(path, '{}', token, 'text/plain'); add(path, '{}', token, 'application/json; charset=utf-16'); add(path, bytes(200), token, 'multipart/form-data; boundary=b');
        const schema = resolve(op.requestBody?.content?.['application/json']?.schema);
        const properties = schema?.properties ?? {};
        const good = Object.fromEntries((schema?.required ?? []).map((k) => [k, resolve(properties[k])?.type === 'integer' ? 1 : 'x'.repeat(12)]));
        for (const [k, p] of Object.entries(properties)) {
            for (const w of WORDS) add(path, JSON.stringify({ ...good, [k]: w }), token);
            const inner = resolve(resolve(p)?.items);
            if (inner?.properties) for (const kk of Object.keys(inner.properties)) for (const w of WORDS) add(path, JSON.stringify({ ...good, [k]: [{ [kk]: w }] }), token);
        }
    }
}
const pids = () => processes().map((p) => p.pid).join();
const before = pids();
let at = 0;
await Promise.all(Array.from({ length: 16 }, async () => { while (at < jobs.length) await jobs[at++](); }));
console.log(`  ${jobs.length} requests to ${Object.keys(api.paths).length} addresses: ${answers().slice(0, 900)}`);
check('garbage: never our own fault, never no answer', faults.length === 0, [faults.length, ...faults.slice(0, 5)]);
check('nothing was restarted', pids() === before);
check('ready', await ready());
process.exit(0);
