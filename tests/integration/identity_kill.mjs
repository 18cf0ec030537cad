// identity_kill.mjs - people use their accounts while every process is killed, one after another and all at
// once. What was acknowledged must hold, what is used once must not work twice, whatever was lost between.
import { account, address, answers, call, check, claims, enter, get, login, me, note, now, PASSWORD, pick, post, processes, raw, ready,
    samovar, sleep, sure, totp, unclean, until, link } from './identity_client.mjs';

const ROUNDS = Number(process.argv[2] ?? 2);
const VICTIMS = ['auth/1', 'cache/1', 'mail/1', 'workspace/1', 'broker/1', 'edge/1', 'edge/2'];
let going = true;
const wrong = []; // broken promises
const counts = {};
const did = (what) => { counts[what] = (counts[what] ?? 0) + 1; };

// What was acknowledged, to be looked at again at the end.
const registered = [], ended = [], dead_keys = [], keys = [], spent = [], accepted = [], codes = [], resets = [], files = [];

async function registers(n) {
    for (let i = 0; going; i++) {
        const a = { email: `new-${n}-${i}@example.org`, from: address(), password: PASSWORD };
        const r = await post('/api/auth/register', { email: a.email, password: PASSWORD }, { from: a.from });
        if (r.status === 202) { registered.push(a); did('accounts'); }
        await sleep(150);
    }
}

async function refreshes(a) {
    await enter(a);
    while (going) {
        const token = a.refresh;
        const r = await post('/api/auth/refresh', { refresh_token: token }, { from: a.from });
        if (r.status === 200) {
            a.refresh = r.body.refresh_token;
            a.token = r.body.access_token;
            spent.push({ token, from: a.from });
            did('refreshes');
        } else if (r.status === 401) { // only an answer that was lost may have spent it
            if (!a.unsure) wrong.push(`a refresh token that nobody used was refused: ${r.code}`);
            a.unsure = false;
            await enter(a);
        } else if (r.status === 0 || r.status >= 500) a.unsure = true;
        if (r.status === 200) a.unsure = false;
        await sleep(20);
    }
}

async function sessions(a) {
    while (going) {
        await enter(a);
        const r = await post('/api/auth/logout', {}, { token: a.token, from: a.from });
        if (r.status === 204) { ended.push({ token: a.token, at: now()}); did('logouts'); }
        await sleep(50);
    }
}

async function makes_keys(a) {
    await enter(a);
    while (going) {
        const made = await post('/api/keys', { scopes: ['read'] }, { token: a.token });
        if (made.status === 201) {
            const key = { id: made.body.info.id, text: made.body.key, from: a.from };
            const r = Math.random() < 0.7 ? await call('DELETE', `/api/keys/${key.id}`, { token: a.token }) : null;
            if (r?.status === 204) { dead_keys.push({ ...key, at: now() }); did('keys deleted'); }
            else if (!r) { keys.push(key); did('keys'); }
        } else if (made.status === 401) await enter(a);
        if (made.status === 507 || made.status === 409) break;
        await sleep(40);
    }
}

// A hole between the end of a session or key and its proof: asks any edge, for as long as the test takes.
async function asks_with_the_dead() {
    while (going) {
        const list = Math.random() < 0.5 ? ended : dead_keys;
        const one = pick(list);
        if (one && now() - one.at > 1000) {
            const r = await me(one.token ?? one.text, { fresh: true });
            if (r.status === 200) wrong.push(`${one.token ? 'a session' : 'a key'} that had ended ${Math.round(now() - one.at)} ms before was let in`);
            did('asked with the dead');
        }
        await sleep(25);
    }
}

async function switches(a) {
    await enter(a);
    const made = await sure(() => post('/api/orgs', { name: 'second' }, { token: a.token }));
    const orgs = [made.body.org.id, claims(a.token).org];
    for (let i = 0; going; i++) {
        const to = orgs[i % 2];
        const r = await post(`/api/orgs/${to}/switch`, {}, { token: a.token });
        if (r.status === 200) {
            a.token = r.body.access_token;
            if (claims(a.token).org !== to) wrong.push('a switch led elsewhere');
            did('switches');
        } else if (r.status === 401) await enter(a);
        await sleep(60);
    }
}

async function invites(owner, guests) {
    await Promise.all([owner, ...guests].map(enter));
    const made = await sure(() => post('/api/orgs', { name: 'guests' }, { token: owner.token }));
    owner.team = made.body.org.id;
    for (let i = 0; going; i++) {
        const r = await post(`/api/orgs/${owner.team}/invitations`, { role: 'viewer' }, { token: owner.token });
        if (r.status === 401) await enter(owner);
        if (r.status !== 201) { await sleep(100); continue; }
        const token = r.body.link.split('token=')[1];
        const [a, b] = [guests[i % guests.length], guests[(i + 1) % guests.length]];
        const both = await Promise.all([a, b].map((g) => post('/api/invitations/accept', { token }, { token: g.token, from: g.from })));
        const won = both.filter((x) => x.status === 200).length;
        if (won > 1) wrong.push('an invitation was accepted twice');
        if (won === 1) { accepted.push({ token, who: both[0].status === 200 ? a : b }); did('invitations'); }
        for (const [k, g] of [a, b].entries()) {
            if (both[k].status === 401) await enter(g);
            if (both[k].status === 200) await call('POST', `/api/orgs/${owner.team}/leave`, { json: {}, token: g.token });
        }
        await sleep(50);
    }
}

async function recovers(a) {
    await enter(a);
    const made = await sure(() => post('/api/auth/2fa/setup', { password: PASSWORD }, { token: a.token, from: a.from }));
    const on = await sure(() => post('/api/auth/2fa/enable', { code: totp(made.body.secret) }, { token: a.token, from: a.from }));
    let races = 3; // a loser is a wrong try: more of them lock the factor
    for (const code of on.body.recovery_codes) {
        if (!going) break;
        const half = await sure(() => login(a));
        if (!half.body?.half_token) { wrong.push(`no half token: ${half.status} ${half.code}`); break; }
        const halves = [half];
        if (races-- > 0) halves.push(await sure(() => login(a)));
        const both = await Promise.all(halves.map((h) =>
            post('/api/auth/2fa/verify', { half_token: h.body.half_token, code }, { from: a.from })));
        const won = both.filter((r) => r.status === 200).length;
        if (won > 1) wrong.push('a recovery code was taken twice');
        if (won) { codes.push({ a, code }); did('recovery codes'); }
        await sleep(200);
    }
}

async function forgets(a) {
    for (let i = 0; going; i++) {
        const asked = await post('/api/auth/forgot-password', { email: a.email }, { from: a.from });
        const before = a.link;
        if (asked.status !== 202) { await sleep(100); continue; }
        if (!await until(() => link('reset-password', a.email) !== before, 5)) { a.lost = (a.lost ?? 0) + 1; continue; }
        const token = a.link = link('reset-password', a.email);
        const words = [`first choice ${i} ottering`, `second choice ${i} ottering`];
        const both = await Promise.all(words.map((password) => post('/api/auth/reset-password', { token, password }, { from: address() })));
        const won = both.filter((r) => r.status === 200).length;
        if (won > 1) wrong.push('a reset link worked twice');
        if (won === 1) { a.password = words[both[0].status === 200 ? 0 : 1]; a.known = true; resets.push({ token }); did('resets'); }
        else if (both.some((r) => r.status === 0 || r.status >= 500)) a.known = false;
        await sleep(200);
    }
}

async function uploads(a) {
    await enter(a);
    for (let i = 0; going; i++) {
        const text = `file ${i} ${'x'.repeat(20000)}`;
        const body = `--b\r\ncontent-disposition: form-data; name="a"; filename="f${i}"\r\n\r\n${text}\r\n--b--\r\n`;
        const r = await raw('POST', '/api/files', { body, headers: { authorization: `Bearer ${a.token}`, 'content-type': 'multipart/form-data; boundary=b' } });
        note(`upload ${r.status || r.error}`);
        if (r.status >= 500 && (r.status === 500 || !r.headers['retry-after'])) unclean.push(`upload ${r.status} ${r.text}`);
        if (r.error === 'hung') unclean.push('upload hung');
        if (r.status === 201) { files.push({ id: r.body.files[0].id, text }); did('files'); }
        if (r.status === 401) await enter(a);
        await sleep(60);
    }
    return a;
}

// What an edge would be told: never less than before.
async function follows_the_sequence() {
    let last = 0;
    while (going) {
        try {
            let r, after = last;
            do { r = JSON.parse(samovar('call', 'auth.revocations', JSON.stringify({ after }))); after = r.items?.at(-1)?.sequence ?? 0; } while (r.items?.length === 256);
            if ((r.sequence ?? 0) < last) wrong.push(`the sequence of revocations went from ${last} to ${r.sequence}`);
            last = r.sequence ?? last;
            did('sequences');
        } catch { /* nobody answers just now */ }
        await sleep(400);
    }
    return last;
}

async function kills() {
    const slowest = {};
    const order = [];
    for (let i = 0; i < ROUNDS; i++) order.push(...VICTIMS, VICTIMS, i % 2 ? ['auth/1', 'edge/1', 'edge/2'] : ['broker/1', 'auth/1']);
    for (const victim of order) {
        await sleep(200 + Math.random() * 500);
        const names = [victim].flat();
        const before = processes().filter((p) => names.includes(p.name) && p.pid > 0).map((p) => p.pid);
        for (const p of before) { try { process.kill(p, 'SIGKILL'); } catch { /* it is gone */ } }
        const t0 = now();
        const back = await until(async () => (await ready()) && (await get('/api/auth/me', { token: 'x.y.z', fresh: true })).status === 401, 15);
        const name = names.length > 2 ? 'all' : names.join(' and ');
        slowest[name] = Math.max(slowest[name] ?? 0, Math.round(now() - t0));
        if (!back) wrong.push(`${name}: not back after 15 s`);
        did('kills');
    }
    return slowest;
}

const people = await Promise.all(Array.from({ length: 16 }, (_, i) => account(`p${i}@example.org`)));
const work = [
    registers(0), registers(1), refreshes(people[0]), refreshes(people[1]), refreshes(people[2]), sessions(people[3]), sessions(people[4]),
    makes_keys(people[5]), makes_keys(people[6]), switches(people[7]), invites(people[8], people.slice(9, 12)), recovers(people[12]),
    recovers(people[13]), forgets(people[14]), uploads(people[15]), asks_with_the_dead(), asks_with_the_dead(), follows_the_sequence(),
];
const slowest = await kills();
going = false;
await Promise.all(work);
await until(ready);

check(`work went on beside ${counts.kills} kills`, ['accounts', 'refreshes', 'logouts', 'keys deleted', 'keys', 'switches', 'invitations',
    'recovery codes', 'resets', 'files', 'sequences'].every((k) => counts[k] > 0), counts);
console.log(`  done: ${JSON.stringify(counts)}`);
console.log(`  back after, ms: ${JSON.stringify(slowest)}`);
console.log(`  answers: ${answers()}`);
check('S-RT1, S-TOTP1, S-RS1, S-JWT2: no promise was broken meanwhile', wrong.length === 0, wrong);
check('every request had an answer, or a clear 5xx with Retry-After', unclean.length === 0, unclean.slice(0, 8));
check('each was back within 5 s, all of them within 8 s', Object.entries(slowest).every(([name, ms]) => ms < (name === 'all' ? 8000 : 5000)), slowest);

// What was acknowledged holds.
const bad = [];
const expect = (what, r, ...ok) => { if (!ok.includes(r.status)) bad.push(`${what}: ${r.status} ${r.code}`); };
const some = (list, n) => (list.length <= n ? list : [...list].sort(() => Math.random() - 0.5).slice(0, n));
for (const a of some(registered, 25)) expect('an account', await sure(() => login(a)), 200);
for (const s of ended) expect('an ended session', await sure(() => me(s.token, { fresh: true })), 401);
for (const k of dead_keys) expect('a deleted key', await sure(() => me(k.text, { fresh: true })), 401);
for (const k of keys) expect('a key', await sure(() => me(k.text, { fresh: true })), 200);
for (const f of files) {
    await enter(people[15]).catch(() => {});
    const r = await sure(() => get(`/api/files/${f.id}`, { token: people[15].token }));
    if (r.status !== 200 || r.text.toString() !== f.text) bad.push(`a file: ${r.status}`);
    if (files.length > 60) break;
}
check('accounts, keys and files are there; what was ended and deleted stays so', bad.length === 0, [bad.length, ...bad.slice(0, 6)]);
bad.length = 0;
await enter(people[9]);
for (const i of some(accepted, 20)) expect('an invitation', await sure(() => post('/api/invitations/accept', { token: i.token }, { token: people[9].token, from: address() })), 400, 401, 404, 409);
for (const c of codes) {
    const half = await login(c.a);
    if (!half.body?.half_token) continue; // locked by the tries before
    expect('a recovery code', await post('/api/auth/2fa/verify', { half_token: half.body.half_token, code: c.code }, { from: c.a.from }), 401, 429);
}
for (const r of resets) expect('a reset link', await sure(() => post('/api/auth/reset-password', { token: r.token, password: 'third choice ottering' }, { from: address() })), 400);
if (people[14].known) expect('the new password', await sure(() => login(people[14])), 200);
for (const s of some(spent, 40)) expect('a spent refresh token', await sure(() => post('/api/auth/refresh', { refresh_token: s.token }, { from: s.from })), 401);
check('nothing that was used once works again', bad.length === 0, [bad.length, ...bad.slice(0, 6)]);
for (const a of people.slice(0, 3)) expect('the end of the family', await me(a.token), 401);
check('a spent refresh token ended its family', bad.length === 0, bad);
check('the audit log fits together', samovar('audit', 'verify').startsWith('ok'));
check('mails were not lost', !people[14].lost, `${people[14].lost} links did not come`);
process.exit(0);
