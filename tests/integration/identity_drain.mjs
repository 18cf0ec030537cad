// identity_drain.mjs - one edge of two is told to end, then the whole platform, under load: who has begun gets
// the whole answer or hears that there is none, and it does not take long.
import http from 'node:http';
import net from 'node:net';
import { account, BASE, check, enter, listeners, now, pid, processes, raw, sleep, until } from './identity_client.mjs';

const SUPERVISOR = Number(process.argv[2]);
const PORT = Number(new URL(BASE).port);
const a = await enter(await account('drain@example.org'));
const auth = { authorization: `Bearer ${a.token}` };

function listen() { // a stream of live events
    const s = { text: '', state: 'open' };
    const req = http.request({ host: '127.0.0.1', port: PORT, path: '/api/events', headers: auth, agent: false }, (res) => {
        s.status = res.statusCode;
        res.on('data', (d) => { s.text += d; });
        res.on('end', () => { s.state = res.complete ? 'ended' : 'cut'; });
        res.on('error', () => { s.state = 'cut'; });
        res.on('close', () => { if (s.state === 'open') s.state = 'cut'; });
    });
    req.on('error', () => { s.state = 'cut'; });
    req.end();
    s.close = () => req.destroy();
    return s;
}
function upload(ms) { // a body that takes so long
    const size = 100000, s = { state: 'open' };
    const head = '--b\r\ncontent-disposition: form-data; name="a"; filename="f"\r\n\r\n', tail = '\r\n--b--\r\n';
    s.done = new Promise((done) => {
        const req = http.request({ host: '127.0.0.1', port: PORT, method: 'POST', path: '/api/files', agent: false,
            headers: { ...auth, 'content-type': 'multipart/form-data; boundary=b', 'content-length': head.length + size + tail.length } }, (res) => {
            res.resume();
            res.on('end', () => { s.state = `${res.statusCode}`; done(); });
            res.on('error', () => { s.state = 'cut'; done(); });
        });
        req.on('error', (e) => { s.state = e.code; done(); });
        req.write(head);
        (async () => {
            for (let i = 0; i < 20; i++) { req.write('x'.repeat(size / 20)); await sleep(ms / 20); }
            req.end(tail);
        })();
    });
    return s;
}
function chat() { // a streamed completion
    const s = { text: '', state: 'open' };
    const body = JSON.stringify({ model: 'demo', stream: true, messages: [{ role: 'user', content: 'a b c d e f g h i j k l m n o p' }] });
    s.done = new Promise((done) => {
        const req = http.request({ host: '127.0.0.1', port: PORT, method: 'POST', path: '/v1/chat/completions', agent: false,
            headers: { ...auth, 'content-type': 'application/json', 'content-length': body.length } }, (res) => {
            s.status = res.statusCode;
            res.on('data', (d) => { s.text += d; });
            res.on('end', () => { s.state = s.text.includes('[DONE]') ? 'whole' : `ended: ${s.text.slice(-200)}`; done(); });
            res.on('error', () => { s.state = 'cut'; done(); });
        });
        req.on('error', (e) => { s.state = e.code; done(); });
        req.end(body);
    });
    return s;
}
let going = true;
const got = {};
async function asks(fresh) {
    while (going) {
        const r = await raw('GET', '/api/orgs', { headers: auth, fresh });
        const key = `${fresh ? 'fresh' : 'kept'} ${r.body?.error?.code ?? ''} ${r.status || r.error}`;
        got[key] = (got[key] ?? 0) + 1;
        await sleep(5);
    }
}
const tally = (list) => JSON.stringify(list.reduce((c, s) => ({ ...c, [s.state]: (c[s.state] ?? 0) + 1 }), {}));

// ---- one of two edges ----
await until(() => listeners() === 2);
let load = [...Array.from({ length: 8 }, () => asks(false)), ...Array.from({ length: 8 }, () => asks(true))];
let events = Array.from({ length: 30 }, listen), uploads = Array.from({ length: 8 }, () => upload(2500)), chats = Array.from({ length: 16 }, chat);
await until(() => events.every((s) => s.text.includes('retry')), 5);
await until(() => chats.every((s) => s.text.includes('data:')), 5);
const victim = pid('edge/1');
let t0 = now();
process.kill(victim, 'SIGTERM');
await until(() => { try { process.kill(victim, 0); return false; } catch { return true; } }, 15);
console.log(`  the edge ended after ${Math.round(now() - t0)} ms`);
await Promise.all([...uploads, ...chats].map((s) => s.done));
await sleep(300);
going = false;
await Promise.all(load);
const left = events.filter((s) => s.state !== 'open');
console.log(`  events ${tally(events)}, uploads ${tally(uploads)}, chats ${tally(chats)}, requests ${JSON.stringify(got)}`);
console.log(`  last words: ${JSON.stringify(left[0]?.text.slice(-200))}`);
check('SIGTERM of an edge: its live events end, those of the other go on', left.length > 0 && left.length < events.length && left.every((s) => s.state === 'ended'), tally(events));
check('uploads that had begun are stored', uploads.every((s) => s.state === '201'), tally(uploads));
check('completions that had begun are whole', chats.every((s) => s.state === 'whole'), tally(chats));
check('no request was cut', Object.keys(got).every((k) => k.endsWith(' 200')), got);
check('another edge takes its place', await until(() => { const p = pid('edge/1'); return p > 0 && p !== victim; }, 10));
for (const s of events) s.close();

// ---- everything ----
await until(async () => (await raw('GET', '/readyz', { fresh: true })).status === 200);
for (const k of Object.keys(got)) delete got[k];
going = true;
load = [...Array.from({ length: 8 }, () => asks(false)), ...Array.from({ length: 8 }, () => asks(true))];
events = Array.from({ length: 30 }, listen);
uploads = Array.from({ length: 8 }, () => upload(1500));
chats = Array.from({ length: 16 }, chat);
await until(() => events.every((s) => s.text.includes('retry')) && chats.every((s) => s.text.includes('data:')), 5);
t0 = now();
process.kill(SUPERVISOR, 'SIGINT');
await until(() => { try { process.kill(SUPERVISOR, 0); return processes().length === 0; } catch { return true; } }, 20).catch(() => {});
const took = Math.round(now() - t0);
going = false;
await Promise.all([...load, ...[...uploads, ...chats].map((s) => s.done)]);
console.log(`  events ${tally(events)}, uploads ${tally(uploads)}, chats ${tally(chats)}, requests ${JSON.stringify(got)}`);
check(`Ctrl-C under load: all has ended within 10 s (${took} ms)`, took < 10000);
check('live events ended in order', events.every((s) => s.state === 'ended'), tally(events));
check('uploads and completions that had begun were finished or refused', [...uploads, ...chats].every((s) => ['201', '503', 'whole'].includes(s.state)), `${tally(uploads)} ${tally(chats)}`);
check('requests were answered or refused', Object.keys(got).every((k) => / (200|503|ECONNREFUSED)$/.test(k)), got);
process.exit(0);
