#!/usr/bin/env bash
# Hostile and mistaken input: each gives an error that a person can act on, and the platform goes on.
. "$(dirname "$0")/lib.sh"

# before anything runs: configuration, folders, ports
refused() { # refused WHAT EXIT WORDS COMMAND...
    local what=$1 code=$2 words=$3 out rc; shift 3
    out=$(timeout 20 "$@" 2>&1); rc=$?
    check "$what: exit $code" same $rc "$code"
    check "$what: says what to do" has "$out" "$words"
}
printf 'edge:\n  prot: 80\n' > "$WORK/bad.yaml"
refused "unknown setting" 78 "bad.yaml:2" env SAMOVAR_CONFIG="$WORK/bad.yaml" "$BIN/samovar" up
refused "unknown setting, suggestion" 78 "edge.port" env SAMOVAR_CONFIG="$WORK/bad.yaml" "$BIN/samovar" up
printf 'edge:\n  port: 99999\n' > "$WORK/bad.yaml"
refused "range" 78 "65535" env -u SAMOVAR_PORT SAMOVAR_CONFIG="$WORK/bad.yaml" "$BIN/samovar" up
printf 'edge: {port: [1]\n' > "$WORK/bad.yaml"
refused "broken YAML" 78 "bad.yaml:" env SAMOVAR_CONFIG="$WORK/bad.yaml" "$BIN/samovar" up
refused "missing file" 78 "nothing.yaml" env SAMOVAR_CONFIG="$WORK/nothing.yaml" "$BIN/samovar" up
refused "wrong environment value" 78 "SAMOVAR_PORT" env SAMOVAR_PORT=http "$BIN/samovar" up
refused "unknown environment name" 78 "SAMOVAR_PROT" env SAMOVAR_PROT=80 "$BIN/samovar" up
refused "public address" 78 "set edge.tls_cert" env SAMOVAR_EDGE_HOST=0.0.0.0 "$BIN/samovar" up
refused "config check" 78 "bad.yaml:" env SAMOVAR_CONFIG="$WORK/bad.yaml" "$BIN/samovar" config check
touch "$WORK/file"
refused "data folder is a file" 1 "$WORK/file" env SAMOVAR_DATA="$WORK/file" "$BIN/samovar" up
long=$WORK/$(head -c 120 /dev/zero | tr '\0' d)
refused "run folder too long" 78 "SAMOVAR_RUN" env SAMOVAR_DATA="$long" "$BIN/samovar" up
refused "unknown command" 2 "help" "$BIN/samovar" frobnicate
refused "call without a platform" 1 "Is the platform up" "$BIN/samovar" call router.ping '{}'

tool fast_upstream
refused "port in use" 1 "$TOOL_PORT" env SAMOVAR_PORT="$TOOL_PORT" "$BIN/samovar" up

platform_up
alive() { [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "$URL/readyz")" = 200 ]; }
same_pids() { "$BIN/samovar" ps -o json | jq -r '.[].pid' | tr '\n' ' '; }
pids=$(same_pids)

# JSON bodies
json() { # json WHAT STATUS WORDS BODY
    local got; got=$(post "$4")
    check "$1: $2" same "$(head -1 <<<"$got")" "$2"
    check "$1: OpenAI's error shape" jq -e '.error | has("message") and has("type") and has("param") and has("code")' <<<"$(tail -n +2 <<<"$got")" >/dev/null
    check "$1: says so" has "$got" "$3"
}
json "empty" 400 "JSON" ''
json "no JSON" 400 "byte" 'hello'
json "truncated" 400 "byte" '{"model":"demo","messages":['
json "duplicate key" 400 "twice" '{"model":"demo","model":"demo","messages":[{"role":"user","content":"x"}]}'
json "duplicate key, escaped" 400 "twice" '{"model":"demo","mod\u0065l":"demo","messages":[{"role":"user","content":"x"}]}'
json "bad UTF-8" 400 "UTF-8" "$(printf '{"model":"demo","messages":[{"role":"user","content":"\xff"}]}')"
json "lone surrogate" 400 "byte" '{"model":"demo","messages":[{"role":"user","content":"\ud800"}]}'
json "too deep" 400 "deep" "{\"model\":\"demo\",\"messages\":$(printf '[%.0s' {1..70})$(printf ']%.0s' {1..70})}"
json "no model" 400 "model" '{"messages":[{"role":"user","content":"x"}]}'
json "model is a number" 400 "model" '{"model":7,"messages":[{"role":"user","content":"x"}]}'
json "no messages" 400 "messages" '{"model":"demo"}'
json "messages is text" 400 "messages" '{"model":"demo","messages":"x"}'
json "stream is text" 400 "stream" '{"model":"demo","messages":[{"role":"user","content":"x"}],"stream":"yes"}'
json "an array" 400 "object" '[]'
json "unknown model" 404 "no-such-model" '{"model":"no-such-model","messages":[{"role":"user","content":"x"}]}'
code() { curl -s -m 10 -o /dev/null -w '%{http_code}' "$@"; }
check "media type" same "$(code -H 'content-type: text/plain' -d x "$URL/v1/chat/completions")" 415
check "unknown path" same "$(code "$URL/v1/nothing")" 404
check "wrong method" same "$(code -X DELETE "$URL/v1/models")" 405
check "a foreign Host" same "$(code -H 'host: evil.example' "$URL/v1/models")" 421
check "a foreign Origin" same "$(code -H 'origin: https://evil.example' -H 'content-type: application/json' -d "$(chat demo x)" "$URL/v1/chat/completions")" 403
check "embeddings of nothing" same "$(code -H 'content-type: application/json' -d '{}' "$URL/v1/embeddings")" 400
via=$(curl -s -D - -o /dev/null "$URL/v1/models" | sed -n 's/^[Vv]ia: *\(.*\)\r$/\1/p')
[ -n "$via" ] && check "a request that came back" same "$(code -H "via: $via" "$URL/v1/models")" 508

# raw HTTP that enables smuggling
raw() { # raw WHAT STATUS BYTES (printf format)
    local got; got=$(exec 3<>"/dev/tcp/127.0.0.1/$PORT"; printf "$3" >&3; timeout 5 head -c 12 <&3)
    check "$1: $2" same "$got" "HTTP/1.1 $2"
}
raw "both lengths" 400 'POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
raw "two lengths" 400 'POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc'
raw "space before the colon" 400 'GET / HTTP/1.1\r\nHost : localhost\r\n\r\n'
raw "no host" 400 'GET / HTTP/1.1\r\n\r\n'
raw "bare LF" 400 'GET / HTTP/1.1\nHost: localhost\n\n'
raw "NUL" 400 'GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n'
raw "xchunked" 501 'POST /v1/models HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n'
raw "HTTP/2 preface" 505 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

# the bus: garbage, strangers, liars (tests/tools/bus_liar prints one line a case)
"$BIN/bus_liar" "$SAMOVAR_DATA/run" > "$WORK/liar" 2>&1
check "bus liar ran" same $? 0
while read -r verdict what; do check "bus: $what" same "$verdict" ok; done < "$WORK/liar"

# file descriptors run out: a clear answer, and it recovers
edge=$(child_pid edge/1)
prlimit --pid "$edge" --nofile=64:
timeout 20 "$BIN/http_load" --port "$PORT" --mode idle --connections 200 --seconds 2 --warmup 0 >/dev/null 2>&1 &
flood=$!
wait $flood
check "alive after descriptors ran out" until_ok 10 alive
prlimit --pid "$edge" --nofile=4096:
check "no process died" same "$(same_pids)" "$pids"
check "still serves" same "$(head -1 <<<"$(post "$(chat demo hi)")")" 200

# policy: default deny, hot reload, a broken file changes nothing
allowed() { "$BIN/samovar" call bus.policy "{\"caller\":\"$1\",\"method\":\"$2\"}" | jq -r ".allowed // false"; }
check "policy: edge may call the router" same "$(allowed edge router.complete)" true
check "policy: the router may not call bus.drain" same "$(allowed router bus.drain)" false
cat > "$SAMOVAR_DATA/policy.yaml" <<'EOF'
allow:
  - {from: operator, call: ["*"]}
EOF
"$BIN/samovar" call bus.policy '{"reload":true}' > /dev/null
check "policy: reloaded" until_ok 5 eval '[ "$(allowed edge router.complete)" = false ]'
check "policy: the file is named" has "$("$BIN/samovar" call bus.policy "{}")" policy.yaml
got=$(post "$(chat demo hi)")
check "policy: a denied call is 403" same "$(head -1 <<<"$got")" 403
echo 'allow: [{form: edge}]' > "$SAMOVAR_DATA/policy.yaml"
check "policy: a broken file is named" has "$("$BIN/samovar" call bus.policy '{"reload":true}' 2>&1)" "policy.yaml:1"
check "policy: and the old one stays" same "$(allowed operator router.ping)" true
rm "$SAMOVAR_DATA/policy.yaml"
"$BIN/samovar" call bus.policy '{"reload":true}' > /dev/null
check "policy: without a file the built-in one" until_ok 5 eval '[ "$(allowed edge router.complete)" = true ]'
check "clean stop" platform_down
check "no sanitizer report" hasnt "$(grep -aE 'Sanitizer|runtime error' "$WORK/up.log")" "rror"
