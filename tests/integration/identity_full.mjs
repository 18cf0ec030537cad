// identity_full.mjs - the disk under the data folder is full: who is in goes on, what has to be written is
// refused with a pause, and all goes on by itself when there is room.
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { account, address, answers, check, DATA, enter, get, login, me, post, processes, raw, sleep, sure, unclean,
    until } from './identity_client.mjs';

const KEPT = process.argv[2] === 'kept'; // the disk is large enough for auth to keep room on it
const filler = `${DATA}/filler`;
function fill() {
    const fd = openSync(filler, 'a');
    try {
        for (const size of [1 << 20, 4096, 512])
            for (;;) {
                try { if (writeSync(fd, Buffer.alloc(size)) < size) break; } catch { break; }
            }
    } finally { closeSync(fd); }
}
const upload = (token, bytes) => raw('POST', '/api/files', {
    headers: { authorization: `Bearer ${token}`, 'content-type': 'multipart/form-data; boundary=b' },
    body: Buffer.concat([Buffer.from('--b\r\ncontent-disposition: form-data; name="a"; filename="f"\r\n\r\n'), Buffer.alloc(bytes, 'x'), Buffer.from('\r\n--b--\r\n')]),
});

const a = await enter(await account('full@example.org'));
const key = (await sure(() => post('/api/keys', { scopes: ['read', 'files'] }, { token: a.token }))).body.key;
const kept = await sure(() => upload(a.token, 100000));
const file = kept.body.files[0].id;
const late = (await sure(() => post('/api/keys', { scopes: ['read'] }, { token: a.token }))).body.key; // no edge has seen it yet
const late_session = await enter({ ...a });
const before = processes().map((p) => `${p.name} ${p.pid}`).join();

fill();
// Without room kept for accounts a write finds none, sooner or later: what was free inside the store goes first.
const tries = [];
for (let i = 0; i < 60; i++) {
    fill();
    const r = await post('/api/keys', { name: 'x'.repeat(100), scopes: ['read'] }, { token: a.token });
    tries.push(r);
    if (r.status !== 201) break;
}
const refused = tries.at(-1);
if (KEPT) check('S-D7: accounts go on', refused.status === 201, `${refused.status} ${refused.code}`);
else check('S-D7: a write is refused with 507 and a pause', refused.status === 507 && Number(refused.headers['retry-after']) >= 1 && refused.code === 'store.full', `${refused.status} ${refused.code}`);
check('S-D7: who has a token goes on', (await me(a.token)).status === 200);
check('S-D7: who has a key goes on', (await me(key, { fresh: true })).status === 200);
check('S-D7: also with a key that no edge has seen', (await me(late, { fresh: true })).status === 200);
const read = await get(`/api/files/${file}`, { token: key });
check('S-D7: files are read', read.status === 200 && read.text.length === 100000);
check('lists are read', (await get('/api/files', { token: a.token })).body.files.length === 1);
const up = await upload(a.token, 3000000);
check('an upload: 507 and a pause', up.status === 507 && Number(up.headers['retry-after']) >= 1, `${up.status} ${up.text}`);
check('and nothing of it is left', (await get('/api/files', { token: a.token })).body.files.length === 1);
const tally = (list) => JSON.stringify(list.reduce((c, r) => ({ ...c, [`${r.status} ${r.code}`]: (c[`${r.status} ${r.code}`] ?? 0) + 1 }), {}));
const is_refused = (r) => r.status === 507 && r.code === 'store.full' && Number(r.headers['retry-after']) >= 1;
// The store's upkeep may free room inside of it at any moment: who finds some is answered.
const fits = (r, status) => r.status === status || (!KEPT && is_refused(r));
const how = KEPT ? 'goes on' : 'is refused with 507 and a pause';
const logins = [];
for (let i = 0; i < (KEPT ? 40 : 12); i++) { fill(); logins.push(await login(a)); }
check(`S-D7: a login ${how}`, logins.every((r) => fits(r, 200)) && (KEPT || logins.filter(is_refused).length >= 6), tally(logins));
const wrong = await post('/api/auth/login', { email: a.email, password: 'not this one' }, { from: address() });
check('a wrong password is none the more right', fits(wrong, 401), `${wrong.status} ${wrong.code}`);
const renewed = await post('/api/auth/refresh', { refresh_token: a.refresh }, { from: a.from });
check(`a refresh ${how}`, fits(renewed, 200), `${renewed.status} ${renewed.code}`);
const out = await post('/api/auth/logout', {}, { token: late_session.token });
await sleep(300);
const still = (await me(late_session.token, { fresh: true })).status;
check(`a logout ${how}, and is what it says`, fits(out, 204) && still === (out.status === 204 ? 401 : 200), `${out.status} ${out.code} ${still}`);
const health = await raw('GET', '/healthz', { fresh: true });
check('health answers', health.status === 200 && health.ms < 1000);

unlinkSync(filler);
const t0 = performance.now();
check('with room again logins succeed', await until(async () => (await login(a)).status === 200, 10));
check('and uploads', await until(async () => (await upload(a.token, 100000)).status === 201, 10));
check('and keys are made', await until(async () => (await post('/api/keys', {}, { token: a.token })).status === 201, 10));
console.log(`  all was well again ${Math.round(performance.now() - t0)} ms after there was room`);
if (renewed.status === 507) check('the refresh token that was not exchanged still holds', (await sure(() => post('/api/auth/refresh', { refresh_token: a.refresh }, { from: a.from }))).status === 200);
check('no process was restarted', processes().map((p) => `${p.name} ${p.pid}`).join() === before);
check('every 5xx said when to come again', unclean.length === 0, unclean);
console.log(`  answers: ${answers()}`);
process.exit(0);
