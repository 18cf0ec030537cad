#!/usr/bin/env bash
# A real provider path: bytes pass through, usage is counted, and every way a provider can misbehave ends in
# a clear answer in time.
. "$(dirname "$0")/lib.sh"
tool provider_sim
SIM=$TOOL_PORT SIM_PID=$TOOL_PID
stats() { curl -s "http://127.0.0.1:$SIM/_stats"; }
cat > "$WORK/samovar.yaml" <<EOF
edge: {model_bytes: 1MiB}
router:
  first_byte_ms: 1500
  idle_ms: 1500
  connect_ms: 1s
  answer_bytes: 1MiB
  providers:
    - {name: sim, base_url: "http://127.0.0.1:$SIM/v1", key_env: SIM_SECRET_VALUE}
    - {name: dead, base_url: "http://127.0.0.1:9/v1", models: [dead-model]}
EOF
canary=sk-canary-7f3a91c2
platform_up SAMOVAR_CONFIG="$WORK/samovar.yaml" SIM_SECRET_VALUE=$canary

stream() { # stream MODEL [members]: the raw event stream
    curl -sN -m 20 -H 'content-type: application/json' -d "$(chat "$1" hi '"stream":true'"${2:+,$2}")" "$URL/v1/chat/completions"
}
status_of() { head -1 <<<"$1"; }
text_of() { sed -n 's/^data: {/{/p' <<<"$1" | jq -sr 'map(.choices[0]?.delta.content // "") | add // ""' 2>/dev/null; }
usage='"stream_options":{"include_usage":true}'

until_ok 5 eval 'curl -s "$URL/v1/models" | jq -e ".data[] | select(.id == \"sim-small\")"'
check "models of the provider are listed" curl -sf "$URL/v1/models/sim-small" -o /dev/null

# what passes must be the provider's bytes
model=sim,tokens=30,odd=1,comments=1,unicode=1
direct=$(curl -sN -H 'content-type: application/json' -d "$(chat $model hi '"stream":true,'"$usage")" "http://127.0.0.1:$SIM/v1/chat/completions")
through=$(stream $model "$usage")
blank() { sed -E 's/"(id|system_fingerprint)": *"[^"]*"/"\1":""/g; s/"created": *[0-9]+/"created":0/g' <<<"$1" | grep -v '^: ping$'; }
check "stream: bytes pass through" same "$(blank "$through" | sha256sum)" "$(blank "$direct" | sha256sum)"
direct=$(curl -s -H 'content-type: application/json' -d "$(chat $model hi)" "http://127.0.0.1:$SIM/v1/chat/completions")
through=$(post "$(chat $model hi)" | tail -n +2)
check "plain: bytes pass through" same "$(blank "$through")" "$(blank "$direct")"
quiet=$(stream $model)
check "usage is not shown unless asked" same "$(sed -n 's/^data: {/{/p' <<<"$quiet" | jq -se 'map(select(.choices == [])) | length')" 0
check "and the text is the same" same "$(text_of "$quiet")" "$(text_of "$(stream $model "$usage")")"
check "usage was asked upstream" has "$(stats)" include_usage
for m in bytes drip,drip_ms=1,tokens=4; do
    check "one byte a write ($m)" same "$(text_of "$(stream "sim,unicode=1,fault=$m")" | wc -w | tr -d ' ')" "$(text_of "$(stream "sim,unicode=1,${m#*,}")" | wc -w | tr -d ' ')"
done
check "crlf event ends" has "$(stream sim,crlf=1,tokens=5)" "[DONE]"
metrics=$(curl -s "$URL/metrics?service=router")
check "tokens are counted" grep -Eq 'samovar_provider_tokens_total\{provider="sim",kind="completion"\} [1-9]' <<<"$metrics"

# before the first byte: a proper status
expect() { # expect WHAT STATUS WORD MODEL [members]
    local got; got=$(post "$(chat "$4" hi "${5:-}")" -D "$WORK/head")
    check "$1: status $2" same "$(status_of "$got")" "$2"
    check "$1: says so" has "$got" "$3"
}
for s in '' '"stream":true'; do
    w=${s:+stream }
    expect "${w}401" 401 error sim,status=401 "$s"
    expect "${w}400" 400 error sim,status=400 "$s"
    expect "${w}429" 429 error sim,status=429,retry_after=2 "$s"
    check "${w}429: Retry-After passes" grep -qi '^retry-after: 2' "$WORK/head"
    expect "${w}500" 500 error sim,status=500 "$s"
    expect "${w}503" 503 error sim,status=503 "$s"
    expect "${w}reset" 502 provider. sim,fault=reset "$s"
    expect "${w}close" 502 provider. sim,fault=close "$s"
    expect "${w}hang" 504 provider.timeout sim,fault=hang "$s"
    expect "${w}html" 502 provider. sim,fault=html,status=200 "$s"
    expect "${w}garbage" 502 provider. sim,fault=garbage "$s"
    expect "${w}endless headers" 502 provider. sim,fault=headers "$s"
    expect "${w}dead" 502 provider.unreachable dead-model "$s"
done
expect "plain cut" 502 provider. sim,fault=cut
expect "plain bad JSON" 502 provider.bad_answer sim,fault=badjson
expect "plain bad UTF-8" 502 provider. sim,fault=badutf8
expect "plain endless" 502 provider. sim,fault=endless
expect "plain oversized" 502 provider.too_large sim,fault=oversized
expect "silent in a plain body" 504 provider.timeout sim,fault=silent

# after it: a clean error in the stream, never an answer that looks complete
broken() { # broken WHAT MODEL
    local got; got=$(stream "$2")
    check "$1: an error event" grep -q '^data: {"error":{' <<<"$got"
    check "$1: no end marker" hasnt "$got" "[DONE]"
}
broken "cut" sim,tokens=60,fault=cut,at=40
check "what came before the cut is there" has "$(text_of "$(stream sim,tokens=60,fault=cut,at=40)")" " "
broken "reset in mid-stream" sim,tokens=60,fault=cutreset,at=40
broken "silent in mid-stream" sim,fault=silent,at=3
broken "bad UTF-8" sim,fault=badutf8
broken "an event of 2 MiB" sim,fault=bigevent
broken "endless stream" sim,fault=endless
check "the provider's own error event passes" grep -q '"error"' <<<"$(stream sim,fault=errorevent)"
check "missing end marker is added" same "$(grep '^data: ' <<<"$(stream sim,fault=noend)" | tail -1)" "data: [DONE]"

# a client that leaves stops the provider's work at once: both clocks in microseconds of this machine
left_after() { # left_after MODEL MEMBERS: microseconds between the client's end and the provider's notice
    local now before client left
    before=$(stats | jq '.closed_by_peer | length')
    curl -sN -H 'content-type: application/json' -d "$(chat "$1" hi "$2")" "$URL/v1/chat/completions" > /dev/null &
    client=$!
    until_ok 5 eval '[ "$(stats | jq .open)" -ge 1 ]'
    local t0=${EPOCHREALTIME/[.,]/} answer t1
    answer=$(stats)
    t1=${EPOCHREALTIME/[.,]/}
    now=$(jq .now_us <<<"$answer")
    local offset=$(((t0 + t1) / 2 - now))
    left=${EPOCHREALTIME/[.,]/}
    kill -9 $client
    until_ok 3 eval '[ "$(stats | jq ".closed_by_peer | length")" -gt '"$before"' ]' || { echo 99999999; return; }
    echo $(( $(stats | jq '.closed_by_peer[-1] | if type == "object" then .closed_us else . end') + offset - left ))
}
for what in 'a stream|sim,tokens=1000,gap_ms=20|"stream":true' 'a silent provider|sim,fault=hang|' 'a silent stream|sim,fault=hang|"stream":true'; do
    IFS='|' read -r words model members <<<"$what"
    us=99999999 # the best of some: what counts is ours, not what else the machine did
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        took=$(left_after "$model" "$members")
        [ "$took" -lt "$us" ] && us=$took
        [ "$us" -le 50000 ] && break
    done
    check "$words: the provider connection closes within 50 ms of the client's leaving ($us us)" under "$us" 50000
done

# models that nobody lists, a prefix, a large body
check "an unknown model goes to the first provider" has "$(stats)" '"sim,fault=hang"'
check "provider prefix" same "$(post "$(chat sim/sim-small hi)" | tail -n +2 | jq -r .model)" sim-small
text=$(head -c 700000 /dev/zero | tr '\0' x)
printf '{"model":"sim","messages":[{"role":"user","content":"%s"}]}' "$text" > "$WORK/big"
got=$(curl -s -m 20 -w '%{http_code}' -o /dev/null -H 'content-type: application/json' --data-binary @"$WORK/big" "$URL/v1/chat/completions")
check "a body of 700 kB travels in parts" same "$got" 200
text=$(head -c 1100000 /dev/zero | tr '\0' x)
printf '{"model":"sim","messages":[{"role":"user","content":"%s"}]}' "$text" > "$WORK/big"
got=$(curl -s -m 20 -w '%{http_code}' -o /dev/null -H 'content-type: application/json' -H 'expect:' --data-binary @"$WORK/big" "$URL/v1/chat/completions")
check "a body over the limit is 413" same "$got" 413

# secrets: the key went to the provider and nowhere else
check "the key reaches the provider" has "$(stats)" "$canary"
for name in edge/1 broker/1; do
    check "$name never had the key" hasnt "$(tr '\0' '\n' < /proc/"$(child_pid $name)"/environ)" "$canary"
done
check "the router dropped it from its environment" hasnt "$("$BIN/samovar" call router.providers '{}')" "$canary"
check "no log line holds the key" hasnt "$(cat "$WORK/up.log")" "$canary"
check "no file holds the key" test -z "$(grep -rl "$canary" "$SAMOVAR_DATA" 2>/dev/null)"

kill -9 $SIM_PID
expect "provider gone" 502 provider.unreachable sim-small
check "demo still answers" same "$(status_of "$(post "$(chat demo hi)")")" 200
check "clean stop" platform_down
check "no sanitizer report" hasnt "$(grep -aE 'Sanitizer|runtime error' "$WORK/up.log")" "rror"
