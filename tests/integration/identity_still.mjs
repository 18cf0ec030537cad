// identity_still.mjs - a process stands still (SIGSTOP) and goes on: known callers are served meanwhile, limits
// hold, what needs the one that stands is refused in time, and nothing is done twice.
import { account, address, answers, check, enter, get, HANG_MS, login, me, pid, post, raw, sleep, sure, unclean, until } from './identity_client.mjs';

const SECONDS = Number(process.argv[2]);
const a = await enter(await account('still@example.org'));
const key = (await sure(() => post('/api/keys', { scopes: ['chat', 'read'] }, { token: a.token }))).body.key;
const limited = (await sure(() => post('/api/keys', { scopes: ['chat'], minute_limit: 5 }, { token: a.token }))).body.key;
const models = (token, o) => get('/v1/models', { token, fresh: true, ...o });
for (let i = 0; i < 8; i++) { await models(a.token); await models(key); }

async function still(name, during) {
    const p = pid(name);
    process.kill(p, 'SIGSTOP');
    const end = performance.now() + SECONDS * 1000;
    let known = 0, slowest = 0;
    const bad = [];
    const others = (async () => {
        while (performance.now() < end) {
            for (const token of [a.token, key]) {
                const r = await models(token);
                if (r.status !== 200) bad.push(`${r.status} ${r.code} ${r.error ?? ''}`);
                else known++;
                slowest = Math.max(slowest, r.ms);
            }
            await sleep(150);
        }
    })();
    try { await during(); await others; } finally { try { process.kill(p, 'SIGCONT'); } catch { /* it was replaced */ } }
    check(`${name} stands still: known callers are served (${known}, slowest ${Math.round(slowest)} ms)`, bad.length === 0 && known > 10, bad.slice(0, 5));
    check(`${name} goes on`, await until(async () => (await me(a.token)).status === 200 && (await raw('GET', '/readyz')).status === 200, 15));
}
const clear = (r) => r.status >= 500 && r.headers['retry-after'] && r.ms < HANG_MS;

await still('auth/1', async () => {
    const [one, made, refresh] = await Promise.all([
        login(a), post('/api/keys', { name: 'once' }, { token: a.token }), post('/api/auth/refresh', { refresh_token: a.refresh }, { from: a.from })]);
    check(`auth stands still: a login is refused in time (${one.status} ${one.code}, ${Math.round(one.ms)} ms)`, clear(one), one.text.toString());
    check(`a new key too (${made.status}, ${Math.round(made.ms)} ms)`, clear(made));
    check(`and a refresh (${refresh.status}, ${Math.round(refresh.ms)} ms)`, clear(refresh));
});
await sleep(300);
const list = await sure(() => get('/api/keys', { token: a.token }));
check('what was refused was done once at most', list.body.keys.filter((k) => k.name === 'once').length <= 1);
const sessions = await sure(() => get('/api/auth/sessions', { token: a.token }));
check('also the login', sessions.body?.sessions.length <= 2, sessions.body);

await still('cache/1', async () => {
    const from = address();
    const got = [], anonymous = [];
    for (let i = 0; i < 12; i++) got.push((await models(limited)).status);
    for (let i = 0; i < 40; i++) anonymous.push((await raw('GET', '/', { from, fresh: true })).status);
    console.log(`  a key of five a minute without the owner of limits: ${got.join(' ')}`);
    check('cache stands still: a limit of five is no more than five at each of two edges', got.filter((s) => s === 200).length <= 5 && got.includes(429), got);
    check('the anonymous are held too', anonymous.includes(429) && anonymous.filter((s) => s === 200).length <= 10, anonymous);
});
const email = 'twice@example.org';
await account(email);
let asked;
await still('mail/1', async () => {
    asked = await post('/api/auth/forgot-password', { email }, { from: address() });
    check(`mail stands still: a link is promised (${asked.status}, ${Math.round(asked.ms)} ms)`, asked.status === 202 && asked.ms < HANG_MS);
});
const links = async () => (await import('node:fs')).readFileSync(`${process.env.WORK}/up.log`, 'utf8').split('\n').filter((l) => l.includes('reset-password#') && l.includes(email)).length;
check('and comes', await until(async () => (await links()) > 0, 20));
await sleep(1000);
check('once', (await links()) === 1, String(await links()));
const before = (await sure(() => get('/api/files', { token: a.token }))).body.files.length;
await still('workspace/1', async () => {
    const up = await raw('POST', '/api/files', { body: `--b\r\ncontent-disposition: form-data; name="a"; filename="f"\r\n\r\nhello\r\n--b--\r\n`, timeout: 15000,
        headers: { authorization: `Bearer ${a.token}`, 'content-type': 'multipart/form-data; boundary=b' } });
    check(`workspace stands still: an upload is refused in time (${up.status}, ${Math.round(up.ms)} ms)`, clear(up), up.text.toString());
});
const after = (await sure(() => get('/api/files', { token: a.token }))).body.files.length;
check('and was stored once at most', after - before <= 1, { before, after });
check('every 5xx said when to come again', unclean.length === 0, unclean.slice(0, 6));
console.log(`  answers: ${answers()}`);
process.exit(0);
