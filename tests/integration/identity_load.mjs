// identity_load.mjs - ten times too much of everything: memory stays bounded and comes back, health answers
// within a second, and who has nothing to do with it is served.
import net from 'node:net';
import { account, answers, BASE, call, check, enter, login, me, memory, now, PASSWORD, post, processes, raw, seen, sleep, sure, unclean } from './identity_client.mjs';

const GROWTH = Number(process.argv[2]); // MiB that a process may keep
const all = processes();
const sizes = () => Object.fromEntries(all.map((p) => [p.name, Math.round(memory(p.pid))]));
const a = await enter(await account('busy@example.org'));
const other = await enter(await account('other@example.org'));
const key = (await sure(() => post('/api/keys', { scopes: ['read', 'chat'] }, { token: other.token }))).body.key;
await sure(() => me(key));
await sure(() => login(a));
const before = sizes(), most = { ...before };

// Those who have nothing to do with it.
let going = true, name = '';
const calm = {}, ill = [];
const watch = (async () => {
    while (going) {
        const [health, one, two] = await Promise.all([
            raw('GET', '/healthz', { fresh: true }), raw('GET', '/v1/models', { headers: { authorization: `Bearer ${other.token}` } }),
            raw('GET', '/api/orgs', { headers: { authorization: `Bearer ${key}` } })]);
        const c = (calm[name] ??= { health: 0, known: 0, bus: 0, n: 0 });
        c.n++;
        c.health = Math.max(c.health, Math.round(health.ms));
        c.known = Math.max(c.known, Math.round(one.ms));
        c.bus = Math.max(c.bus, Math.round(two.ms));
        if (health.status !== 200) ill.push(`${name}: health ${health.status} ${health.error}`);
        if (one.status !== 200) ill.push(`${name}: models ${one.status} ${one.error} ${one.text}`);
        if (two.status !== 200) ill.push(`${name}: orgs ${two.status} ${two.error} ${two.text}`);
        for (const [k, v] of Object.entries(sizes())) if (v > most[k]) most[k] = v;
        await sleep(40);
    }
})();
async function flood(what, n, at_once, one) {
    name = what;
    let i = 0;
    const t0 = now();
    await Promise.all(Array.from({ length: at_once }, async () => { while (i < n) await one(i++); }));
    console.log(`  ${what}: ${n} in ${Math.round(now() - t0)} ms`);
}
const counted = (fn) => { seen.clear(); return fn().then(() => console.log(`    ${answers()}`)); };

await counted(() => flood('logins', 500, 500, (i) => post('/api/auth/login', { email: i % 50 ? `nobody${i}@example.org` : a.email, password: i % 50 ? 'not this one' : PASSWORD },
    { from: `10.9.${i >> 8}.${i & 255}`, timeout: 20000 })));
check('500 logins at once: each is answered, some by a pause', [...seen].every(([k]) => /^(200|401|503|429)/.test(k)), answers());

// Live events: opened by the hundred, dropped all at once.
const sockets = new Set();
let streams = 0, refused = 0;
const open = () => new Promise((resolve) => {
    const s = net.connect(new URL(BASE).port, '127.0.0.1');
    sockets.add(s);
    s.on('error', () => { refused++; resolve(); });
    s.on('connect', () => s.write(`GET /api/events HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${a.token}\r\n\r\n`));
    s.once('data', (d) => { if (String(d).startsWith('HTTP/1.1 200')) streams++; else refused++; resolve(); });
    setTimeout(resolve, 10000).unref();
});
await flood('events', 2000, 100, open);
console.log(`    ${streams} streams, ${refused} refused; memory ${JSON.stringify(sizes())}`);
check('2000 streams of live events at once', streams === 2000, `${streams}, ${refused} refused`);
for (const s of sockets) s.destroy();

const form = Buffer.concat([Buffer.from('--b\r\ncontent-disposition: form-data; name="a"; filename="f"\r\n\r\n'), Buffer.alloc(200000, 'x'), Buffer.from('\r\n--b--\r\n')]);
const owners = await Promise.all(Array.from({ length: 25 }, (_, i) => account(`owner${i}@example.org`)));
for (const o of owners) await enter(o);
let stored = 0, later = 0;
const odd = [];
await flood('uploads', 200, 200, async (i) => {
    const r = await raw('POST', '/api/files', { body: form, fresh: true, timeout: 20000, headers: { authorization: `Bearer ${owners[i % 25].token}`, 'content-type': 'multipart/form-data; boundary=b' } });
    if (r.status === 201) stored++;
    else if ([429, 503].includes(r.status) && r.headers['retry-after']) later++;
    else odd.push(`${r.status} ${r.error} ${r.text}`);
});
console.log(`    ${stored} stored, ${later} told to come later`);
check('200 uploads at once: stored or told to come later', odd.length === 0 && stored >= 64, odd.slice(0, 4));
let count = 0;
for (const o of owners) count += (await sure(() => call('GET', '/api/files', { token: o.token }))).body.files.length;
check('what was answered is stored, no more', count === stored, { count, stored });

await counted(() => flood('wrong keys', 10000, 64, (i) => call('GET', '/v1/models', { token: `sv_${String(i % 5000).padStart(12, '0')}_${'a'.repeat(52)}` })));
check('10,000 requests with 5000 wrong keys: none is let in', [...seen].every(([k]) => /^(401|429|503)/.test(k)), answers());
await counted(() => flood('addresses', 5000, 64, (i) => call('GET', '/', { from: `172.${16 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}` })));
check('5000 addresses are answered', [...seen].every(([k]) => /^(200|429)/.test(k)), answers());
name = 'after';
await sleep(300);
going = false;
await watch;

console.log(`  slowest ms beside it: ${JSON.stringify(calm)}`);
console.log(`  MiB before ${JSON.stringify(before)}\n      most   ${JSON.stringify(most)}\n      after  ${JSON.stringify(sizes())}`);
check('health answered within a second throughout', Object.values(calm).every((c) => c.health < 1000), calm);
check('unrelated requests were served throughout', ill.length === 0, [ill.length, ...ill.slice(0, 4)]);
check(`no process keeps more than ${GROWTH} MiB of it`, Object.entries(sizes()).every(([k, v]) => v - before[k] <= GROWTH));
check('no process was restarted', processes().map((p) => p.pid).join() === all.map((p) => p.pid).join());
check('every 5xx said when to come again', unclean.length === 0, unclean.slice(0, 6));
process.exit(0);
