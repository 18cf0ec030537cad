// identity_client.mjs - what the programs of identity_faults.sh share: requests that tell an answer from a
// clean refusal and from silence, accounts, the platform's processes, checks that lib.sh counts.
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';

export const { URL: BASE, WORK, BIN, SAMOVAR_DATA: DATA } = process.env;
export const PASSWORD = 'seven calm otters';
export const HANG_MS = 10000;
const PORT = new URL(BASE).port;
const agent = new http.Agent({ keepAlive: true, maxSockets: 4000 });

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
export const now = () => performance.now();
export const pick = (list) => list[Math.floor(Math.random() * list.length)];

// ---- requests ----
// Answers {status, body, headers, ms}; status 0: none came, error says why ('hung' after HANG_MS).
// fresh: a connection of its own, so that any edge may get it. from: as a trusted proxy says it.
export const seen = new Map(); // "status code" -> how often
export const unclean = [];     // 5xx without Retry-After, or of a kind that no fault explains
export function note(key) { seen.set(key, (seen.get(key) ?? 0) + 1); }

export function raw(method, path, { body, headers = {}, fresh, from, timeout = HANG_MS } = {}) {
    return new Promise((resolve) => {
        const start = now();
        const h = { ...headers };
        if (from) h['x-forwarded-for'] = from;
        if (body !== undefined) h['content-length'] = Buffer.byteLength(body);
        let over = false;
        const end = (r) => { if (!over) { over = true; clearTimeout(timer); resolve({ ms: now() - start, headers: {}, body: null, text: '', ...r }); } };
        const req = http.request({ host: '127.0.0.1', port: PORT, method, path, headers: h, agent: fresh ? false : agent }, (res) => {
            const parts = [];
            res.on('data', (d) => parts.push(d));
            res.on('error', (e) => end({ status: 0, error: e.code ?? 'cut' }));
            res.on('end', () => {
                if (!res.complete) return end({ status: 0, error: 'cut' });
                const text = Buffer.concat(parts);
                let json = null;
                try { json = JSON.parse(text.toString()); } catch { /* not JSON */ }
                end({ status: res.statusCode, headers: res.headers, body: json, text });
            });
        });
        const timer = setTimeout(() => { end({ status: 0, error: 'hung' }); req.destroy(); }, timeout);
        req.on('error', (e) => end({ status: 0, error: e.code ?? String(e) }));
        req.end(body);
    });
}

export async function call(method, path, { json, token, headers = {}, ...rest } = {}) {
    const h = { ...headers };
    if (json !== undefined) h['content-type'] = 'application/json';
    if (token) h.authorization = `Bearer ${token}`;
    const r = await raw(method, path, { ...rest, headers: h, body: json === undefined ? undefined : JSON.stringify(json) });
    const code = r.body?.error?.code ?? '';
    note(`${r.status || r.error}${code && ' '}${code}`);
    if (r.status >= 500 && r.status !== 501 && (r.status === 500 || !r.headers['retry-after']))
        unclean.push(`${method} ${path} ${r.status} ${code}`);
    if (r.error === 'hung') unclean.push(`${method} ${path} hung`);
    return { ...r, code };
}
export const get = (path, o) => call('GET', path, o);
export const post = (path, json, o) => call('POST', path, { json, ...o });

// Again until it is answered by something else than a refusal for now; for what may be done twice.
export async function sure(fn, seconds = 20) {
    const end = now() + seconds * 1000;
    for (;;) {
        const r = await fn();
        if (r.status && r.status < 500 && r.status !== 429) return r;
        if (now() > end) return r;
        await sleep(Math.min(500, Number(r.headers['retry-after-ms'] ?? 50)));
    }
}

// ---- accounts ----
// Each a network of its own, also beside those of programs that ran before: wrong tries are counted by network.
let people = 0;
const net = 20 + (process.pid % 200);
export const address = () => { people++; return `10.${net}.${(people >> 8) & 255}.${people & 255}`; };
export function listeners() { // edges that take connections
    const at = `:${Number(PORT).toString(16).toUpperCase().padStart(4, '0')} `;
    return readFileSync('/proc/net/tcp', 'utf8').split('\n').filter((l) => l.includes(at) && / 0A /.test(l)).length;
}
export async function account(email, from = address()) {
    const r = await sure(() => post('/api/auth/register', { email, password: PASSWORD }, { from }));
    if (r.status !== 202) throw new Error(`register: ${r.status} ${r.text}`);
    return { email, from, password: PASSWORD };
}
export const login = (a, password = a.password) => post('/api/auth/login', { email: a.email, password }, { from: a.from });
export async function enter(a) {
    const r = await sure(() => login(a));
    if (r.status !== 200) throw new Error(`login of ${a.email}: ${r.status} ${r.text}`);
    a.token = r.body.access_token;
    a.refresh = r.body.refresh_token;
    a.id = r.body.user?.id;
    return a;
}
export const me = (token, o) => get('/api/auth/me', { token, ...o });
export const claims = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());

export function totp(base32, time = Date.now()) {
    let bits = '';
    for (const c of base32.replace(/=+$/, '')) bits += 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0');
    const key = Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)));
    const step = Buffer.alloc(8);
    step.writeBigUInt64BE(BigInt(Math.floor(time / 30000)));
    const mac = createHmac('sha1', key).update(step).digest();
    const at = mac[19] & 15;
    return String((mac.readUInt32BE(at) & 0x7fffffff) % 1000000).padStart(6, '0');
}

// The newest link of a kind in the log that was made for an address.
export function link(kind, email) {
    let found;
    for (const line of readFileSync(`${WORK}/up.log`, 'utf8').split('\n')) {
        if (!line.includes(`${kind}#token=`) || !line.includes(`"${email}"`)) continue;
        found = /#token=(\w+)/.exec(line)[1];
    }
    return found;
}

// ---- processes ----
export function samovar(...args) {
    return execFileSync(`${BIN}/samovar`, args, { encoding: 'utf8', timeout: 20000, stdio: ['ignore', 'pipe', 'ignore'] });
}
export const processes = () => JSON.parse(samovar('ps', '-o', 'json'));
export const pid = (name) => processes().find((p) => p.name === name && p.pid > 0)?.pid; // 0, while it is started again, would be everybody
export const ready = async () => (await raw('GET', '/readyz', { fresh: true, timeout: 2000 })).status === 200;
export async function until(fn, seconds = 15) {
    for (const end = now() + seconds * 1000; now() < end; await sleep(30)) if (await fn()) return true;
    return false;
}
export function memory(p) { // MiB of its own that are resident
    try { return Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${p}/status`, 'utf8'))[1]) / 1024; } catch { return NaN; }
}

// ---- checks, in the words of lib.sh, which counts them ----
export function check(what, ok, detail) {
    if (!ok && detail !== undefined) console.log(`  ${typeof detail === 'string' ? detail : JSON.stringify(detail)}`.slice(0, 900));
    console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}`);
}
export function answers() {
    return [...seen].sort((a, b) => b[1] - a[1]).map(([k, n]) => `${n}x ${k}`).join(', ');
}
