#!/usr/bin/env bash
# TLS and HTTP/2 with real clients: curl, openssl s_client, node; new certificates, floods, kill -9.
. "$(dirname "$0")/lib.sh"
CERT=$WORK/cert.pem KEY=$WORK/key.pem

new_pair() { # new_pair NAME CERT KEY
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout "$3" -out "$2" 2>>"$WORK/tools.log"
    chmod 600 "$3"
}
tls_ready() {
    [ -s "$SAMOVAR_DATA/run/edge.port" ] || return 1
    PORT=$(cat "$SAMOVAR_DATA/run/edge.port")
    URL=https://127.0.0.1:$PORT
    [ "$(curl -sk -m 5 -o /dev/null -w '%{http_code}' "$URL/readyz")" = 200 ]
}
platform_ready() { tls_ready; }
client() { timeout 20 openssl s_client -connect "127.0.0.1:$PORT" "$@" </dev/null 2>&1; }
name() { client | sed -n 's/^subject=CN = //p'; }

# ---- settings ----

new_pair first "$CERT" "$KEY"
start_fails() { # start_fails WORD ENV=VALUE...
    local word=$1; shift
    env "$@" timeout 30 "$BIN/samovar" up > "$WORK/bad.log" 2>&1
    same "$?" 78 && has "$(cat "$WORK/bad.log")" "$word"
}
check "a certificate without a key is refused" start_fails edge.tls_key SAMOVAR_EDGE_TLS_CERT="$CERT"
check "a key without a certificate is refused" start_fails edge.tls_cert SAMOVAR_EDGE_TLS_KEY="$KEY"
chmod 644 "$KEY"
check "a key that others may read is refused" start_fails "chmod 600" SAMOVAR_EDGE_TLS_CERT="$CERT" SAMOVAR_EDGE_TLS_KEY="$KEY"
chmod 600 "$KEY"
check "a certificate that is not there is named" start_fails "$WORK/none.pem" SAMOVAR_EDGE_TLS_CERT="$WORK/none.pem" SAMOVAR_EDGE_TLS_KEY="$KEY"
check "TLS opens no door beyond loopback" start_fails edge.host SAMOVAR_EDGE_HOST=0.0.0.0 SAMOVAR_EDGE_TLS_CERT="$CERT" SAMOVAR_EDGE_TLS_KEY="$KEY"

tool provider_sim
SIM=$TOOL_PORT
cat > "$WORK/samovar.yaml" <<EOF
router: {providers: [{name: sim, base_url: "http://127.0.0.1:$SIM/v1"}]}
edge: {tls_cert: "$CERT", tls_key: "$KEY", head_ms: 3s}
EOF
platform_up SAMOVAR_CONFIG="$WORK/samovar.yaml"

# ---- protocols ----

for version in --http1.1 --http2; do
    got=$(curl -s --cacert "$CERT" $version -D "$WORK/head" -o /dev/null -w '%{http_version} %{http_code}' "$URL/healthz")
    check "curl $version" has "1.1 200 2 200" "$got"
    check "with HSTS for a year" grep -qi '^strict-transport-security: max-age=31536000' "$WORK/head"
done
check "two protocols were spoken" same "$got" "2 200"
check "completion over HTTP/2" has "$(curl -s --cacert "$CERT" --http2 -H 'content-type: application/json' -d "$(chat sim,tokens=3 hi)" "$URL/v1/chat/completions")" '"choices"'
check "events over HTTP/2" has "$(curl -sN --cacert "$CERT" --http2 -H 'content-type: application/json' -d "$(chat sim,tokens=5,gap_ms=10 hi '"stream":true')" "$URL/v1/chat/completions")" '[DONE]'
check "an absolute target names the port's scheme" has "$(printf 'GET https://localhost/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
    timeout 20 openssl s_client -quiet -connect "127.0.0.1:$PORT" 2>/dev/null)" "200 OK"
hop=$(curl -s "http://127.0.0.1:$SIM/_stats" | grep -o 'samovar-[0-9a-f]\{16\}' | head -1)
check "the provider is told whose requests these are" has "$hop" samovar-
check "a request that came back, over HTTP/2 with Via in two fields" same 508 \
    "$(curl -s --cacert "$CERT" --http2 -o /dev/null -w '%{http_code}' -H 'via: 1.1 other' -H "via: 2 $hop" "$URL/v1/models")"
check "one that came from elsewhere" same 200 \
    "$(curl -s --cacert "$CERT" --http2 -o /dev/null -w '%{http_code}' -H 'via: 1.1 other' -H 'via: 2 another' "$URL/v1/models")"
check "an unknown certificate stops curl" hasnt "$(curl -s -o /dev/null -w '%{http_code}' "$URL/healthz")" 200
check "TLS 1.1 is refused (curl)" hasnt "$(curl -sk --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0 -o /dev/null -w '%{http_code}' "$URL/healthz")" 200
check "TLS 1.1 is refused" has "$(client -tls1_1 -cipher DEFAULT@SECLEVEL=0)" "alert protocol version"
check "TLS 1.2 is spoken" has "$(client -tls1_2)" "Protocol  : TLSv1.2"
check "TLS 1.3 is spoken" has "$(client -tls1_3)" "TLSv1.3"
check "no cipher without forward secrecy" has "$(client -tls1_2 -cipher AES128-GCM-SHA256)" "handshake failure"
check "ALPN h2" has "$(client -alpn h2)" "ALPN protocol: h2"
check "an unknown protocol is refused" has "$(client -alpn h3)" "no application protocol"
check "no renegotiation" has "$(printf 'R\n' | timeout 10 openssl s_client -tls1_2 -connect "127.0.0.1:$PORT" 2>&1)" "no renegotiation"
check "no compression" has "$(client -tls1_2)" "Compression: NONE"
got=$(curl -s -m 5 -w '\n%{http_code}' "http://127.0.0.1:$PORT/healthz")
check "plain HTTP is answered 400" same "$(tail -1 <<<"$got")" 400
check "with a sentence" has "$got" "HTTPS only"

# ---- node ----

cat > "$WORK/h2.mjs" <<'EOF'
import http2 from 'node:http2'
import tls from 'node:tls'
import http from 'node:http'
import fs from 'node:fs'
const [what, port, cert, sim] = process.argv.slice(2)
const ca = fs.readFileSync(cert)
const now_us = () => Number(process.hrtime.bigint() / 1000n)
const connect = () => http2.connect(`https://127.0.0.1:${port}`, { ca })
const text = s => new Promise((yes, no) => {
    let body = '', status
    s.on('response', h => { status = h[':status'] })
    s.on('data', d => { body += d })
    s.on('end', () => yes({ status, body }))
    s.on('error', no)
    s.setEncoding('utf8')
})
const ask = (c, body) => {
    const s = c.request({ ':method': 'POST', ':path': '/v1/chat/completions', 'content-type': 'application/json' })
    s.end(body)
    return s
}
const chat = (model, more) => JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }], ...more })
const stats = () => new Promise(yes => http.get(`http://127.0.0.1:${sim}/_stats`, r => {
    let t = ''
    r.on('data', d => { t += d })
    r.on('end', () => yes(JSON.parse(t)))
}))
const jobs = {
    async parallel() {
        const c = connect(), streams = []
        for (let i = 0; i < 80; i++) streams.push(text(ask(c, chat('sim,tokens=10,gap_ms=20', { stream: i % 2 === 0 }))))
        const got = await Promise.all(streams)
        c.close()
        const whole = got.filter((r, i) => r.status === 200 && (i % 2 ? r.body.includes('choices') : r.body.includes('[DONE]')))
        return `${whole.length} of 80`
    },
    async abort() {
        const c = connect(), other = ask(c, chat('sim,tokens=40,gap_ms=50', { stream: true })), rest = text(other)
        const s = ask(c, chat('sim,tokens=1000,gap_ms=20', { stream: true }))
        s.on('error', () => {})
        await new Promise(yes => s.once('data', yes))
        const at = now_us()
        s.close(http2.constants.NGHTTP2_CANCEL)
        let gone
        for (let i = 0; i < 200 && !gone; i++) {
            gone = (await stats()).closed_by_peer.find(r => r.closed_us > at)
            if (!gone) await new Promise(yes => setTimeout(yes, 10))
        }
        const r = await rest
        c.close()
        return `${gone ? Math.ceil((gone.closed_us - at) / 1000) : -1} ${r.body.includes('[DONE]') ? 'whole' : 'cut'}`
    },
    async upload() {
        const c = connect(), got = []
        for (const n of [900000, 34000000]) {
            const s = ask(c, JSON.stringify({ model: 'sim,tokens=1', messages: [{ role: 'user', content: 'x'.repeat(n) }] }))
            got.push((await text(s)).status)
        }
        const six = await Promise.all(Array.from({ length: 6 }, () =>
            text(ask(c, JSON.stringify({ model: 'sim,tokens=1', messages: [{ role: 'user', content: 'x'.repeat(900000) }] })))))
        c.close()
        return got.join(' ') + ' ' + six.filter(r => r.status === 200).length
    },
    async handshakes() {
        const one = () => new Promise(yes => {
            const s = tls.connect({ port, host: '127.0.0.1', ca, ALPNProtocols: ['h2', 'http/1.1'] })
            s.on('secureConnect', () => { s.destroy(); yes(s.alpnProtocol === 'h2') })
            s.on('error', () => yes(false))
        })
        const all = await Promise.all(Array.from({ length: 500 }, one))
        return String(all.filter(Boolean).length)
    },
    async stop() { // streams until the server stops; GOAWAY must come before the stream's end
        const c = connect()
        let goaway = false
        c.on('goaway', () => { goaway = true })
        const s = ask(c, chat('sim,tokens=60,gap_ms=50', { stream: true })), rest = text(s)
        await new Promise(yes => s.once('data', yes))
        fs.writeFileSync(process.argv[6], 'x')
        const r = await rest
        return `${goaway} ${r.body.includes('[DONE]')}`
    },
}
console.log(await jobs[what]())
process.exit(0)
EOF
h2() { timeout 60 node "$WORK/h2.mjs" "$1" "$PORT" "$CERT" "$SIM" "${@:2}" 2>>"$WORK/tools.log"; }
check "80 parallel streams on one connection" same "$(h2 parallel)" "80 of 80"
ms=9999 # the best of some: what counts is ours, not what else the machine did
for _ in 1 2 3 4 5 6 7 8 9 10; do
    got=$(h2 abort)
    check "a cancelled stream leaves the others whole" same "${got#* }" whole
    [ "${got% *}" -ge 0 ] && [ "${got% *}" -lt $ms ] && ms=${got% *}
    [ "$ms" -le 50 ] && break
done
check "and its end reaches the provider within 50 ms ($ms ms)" under "$ms" 50
check "large uploads, one too large" same "$(h2 upload)" "200 413 6"
check "500 handshakes at once" same "$(h2 handshakes)" 500
check "and the edge is well" same "$(curl -s --cacert "$CERT" -o /dev/null -w '%{http_code}' "$URL/healthz")" 200

# ---- a new certificate ----

check "the first certificate is shown" same "$(name)" first
echo broken > "$WORK/next.pem"
cp "$CERT" "$WORK/good.pem"
mv "$WORK/next.pem" "$CERT"
check "a broken one is told" until_ok 10 grep -q 'new certificate cannot be used' "$WORK/up.log"
check "and the former stays" same "$(name)" first
new_pair second "$WORK/next.pem" "$WORK/next.key"
curl -sN -m 60 --cacert "$WORK/good.pem" --http2 -H 'content-type: application/json' -d "$(chat sim,tokens=120,gap_ms=50 hi '"stream":true')" "$URL/v1/chat/completions" > "$WORK/long" &
long=$!
until_ok 10 test -s "$WORK/long"
mv "$WORK/next.key" "$KEY"
mv "$WORK/next.pem" "$CERT"
is_second() { [ "$(name)" = second ]; }
check "a good one is shown within seconds" until_ok 10 is_second
check "the stream of before is still open" kill -0 $long
wait $long
check "and ends whole" grep -q '\[DONE\]' "$WORK/long"

# ---- hostile bytes ----

for i in $(seq 30); do
    (exec 4<>"/dev/tcp/127.0.0.1/$PORT"; head -c $((i * 50)) /dev/urandom >&4; timeout 5 cat <&4) > /dev/null 2>&1 &
    PIDS+=($!)
    (exec 4<>"/dev/tcp/127.0.0.1/$PORT"; printf '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' | head -c $((i % 11 + 1)) >&4) > /dev/null 2>&1
done
t0=$(now_ms)
exec 4<>"/dev/tcp/127.0.0.1/$PORT"
printf '\x16\x03\x01\x02' >&4
timeout 10 cat <&4 > /dev/null
exec 4>&-
check "half a handshake ends with its time limit" under $(( $(now_ms) - t0 )) 5000
check "and the edge is well after garbage" same "$(curl -s --cacert "$CERT" -o /dev/null -w '%{http_code}' "$URL/healthz")" 200

# ---- kill -9, stop ----

edge=$(child_pid edge/1)
kill -9 "$edge"
wait_gone "$edge"
check "after kill -9 TLS is spoken again" until_ok 20 tls_ready
check "with the newest certificate" same "$(name)" second
h2 stop "$WORK/begun" > "$WORK/stopped" &
node=$!
until_ok 10 test -s "$WORK/begun"
check "clean stop while a stream is open" platform_down
wait $node
check "GOAWAY came, and the stream was finished" same "$(cat "$WORK/stopped")" "true true"
check "no sanitizer report" hasnt "$(grep -aE 'Sanitizer|runtime error' "$WORK/up.log")" "rror"
