#!/usr/bin/env bash
# Bounds hold: full queues, loops of gateways, many streams with stalled readers, slow requests, drain.
. "$(dirname "$0")/lib.sh"
tool provider_sim
SIM=$TOOL_PORT
LOOP=$(( 20000 + RANDOM % 20000 ))
while (exec 3<>/dev/tcp/127.0.0.1/$LOOP) 2>/dev/null; do LOOP=$((LOOP + 1)); done
cat > "$WORK/samovar.yaml" <<EOF
router:
  slots: 8
  providers:
    - {name: sim, base_url: "http://127.0.0.1:$SIM/v1"}
    - {name: self, base_url: "http://127.0.0.1:$LOOP/v1", models: [round-and-round]}
bus: {queue_messages: 4}
edge: {head_ms: 1s, idle_ms: 2s}
EOF
platform_up SAMOVAR_CONFIG="$WORK/samovar.yaml" SAMOVAR_PORT=$LOOP

# a provider that is this very platform
got=$(post "$(chat round-and-round hi)")
check "a request that comes back to this platform ends with 508" same "$(head -1 <<<"$got")" 508

# eight slots, four places in the queue, twenty callers
calls=()
for i in $(seq 20); do
    calls+=(--next -s -m 20 -D "$WORK/h$i" -o "$WORK/b$i" -w '%{http_code}\n' -H 'content-type: application/json'
        -d "$(chat sim,first_ms=1500 hi)" "$URL/v1/chat/completions")
done
curl -Z --parallel-immediate --parallel-max 20 "${calls[@]:1}" > "$WORK/codes" # all at once, however slow the machine is
served=$(grep -c 200 "$WORK/codes") # the edge's own look at the router may hold one place
check "eight run and four wait ($served)" test "$served" -ge 11 -a "$served" -le 12
check "the others are refused at once with 429" same "$(grep -c 429 "$WORK/codes")" $((20 - served))
refused=$(grep -l '^HTTP/1.1 429' "$WORK"/h* | head -1)
check "which says when to come back" grep -qi '^retry-after: [0-9]' "$refused"
check "and why" has "$(cat "${refused/\/h//b}")" "waiting"

# a head that drips, a connection that says nothing
t0=$(now_ms)
exec 4<>"/dev/tcp/127.0.0.1/$PORT"
printf 'GET / HTTP/1.1\r\nHost: loc' >&4
timeout 10 cat <&4 > "$WORK/slow"
exec 4>&-
check "half a head is closed after its deadline" under $(( $(now_ms) - t0 )) 3000
check "with 408" grep -q '^HTTP/1.1 408' "$WORK/slow"

# drain: what is open is finished, nothing new is taken
curl -sN -m 20 -H 'content-type: application/json' -d "$(chat sim,tokens=40,gap_ms=50 hi '"stream":true')" "$URL/v1/chat/completions" > "$WORK/drained" &
stream=$!
until_ok 5 test -s "$WORK/drained"
check "clean stop while a stream is open" platform_down
wait $stream
check "the open stream was finished" grep -q '\[DONE\]' "$WORK/drained"
check "no sanitizer report" hasnt "$(grep -aE 'Sanitizer|runtime error' "$WORK/up.log")" "rror"

# many streams, one reader in ten stalled
cat > "$WORK/samovar.yaml" <<EOF
router: {providers: [{name: sim, base_url: "http://127.0.0.1:$SIM/v1"}]}
EOF
platform_up SAMOVAR_CONFIG="$WORK/samovar.yaml" ASAN_OPTIONS=quarantine_size_mb=8
"$BIN/http_load" --mode closed --stream --connections 400 --stall-every 10 --seconds 6 --warmup 1 --port "$PORT" --receive-bytes 4096 \
    --path /v1/chat/completions --timeout-ms 20000 \
    --body "$(chat sim,tokens=2000,gap_ms=20,size=2000 hi '"stream":true')" > "$WORK/load" 2>>"$WORK/tools.log" &
load=$!
rss() { awk '/VmRSS/ {print $2}' /proc/"$(child_pid "$1")"/status; }
until_ok 10 eval '[ "$(curl -s "http://127.0.0.1:$SIM/_stats" | jq .open)" -ge 390 ]'
before=$(rss router/1)
wait $load
after=$(rss router/1)
check "400 streams run beside stalled readers ($(jq -c '{open,stalled,errors,lost}' "$WORK/load"))" jq -e '.errors == 0 and .stalled >= 1' "$WORK/load" >/dev/null
check "the router's memory stays flat ($before -> $after KiB)" under $((after - before)) 40000
check "the streams' ends reach the provider" until_ok 10 eval '[ "$(curl -s "http://127.0.0.1:$SIM/_stats" | jq .open)" = 0 ]'
check "clean stop" platform_down
check "no sanitizer report" hasnt "$(grep -aE 'Sanitizer|runtime error' "$WORK/up.log")" "rror"
