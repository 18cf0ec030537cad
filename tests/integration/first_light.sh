#!/usr/bin/env bash
# A new user's first minute: up, a streamed and a plain completion, what the tap shows, the CLI, a clean end.
. "$(dirname "$0")/lib.sh"
platform_up

check "health" same "$(curl -s -o /dev/null -w '%{http_code}' "$URL/healthz")" 200
models=$(curl -s "$URL/v1/models")
check "models list demo" same "$(jq -r '.object + " " + .data[0].id + " " + .data[0].object' <<<"$models")" "list demo model"

"$BIN/samovar" tap -o json --count 6 router.complete > "$WORK/tap" &
tap=$!
until_ok 5 eval '"$BIN/samovar" call bus.stats "{}" | jq -e ".stats[] | select(.name == \"taps\" and .value == 1)"'
trace=4bf92f3577b34da6a3ce929d0e0e4736
plain=$(curl -s -D "$WORK/head" -H 'content-type: application/json' -H "traceparent: 00-$trace-00f067aa0ba902b7-01" \
    -H 'x-request-id: my-request-1' -d "$(chat demo 'hello there')" "$URL/v1/chat/completions")
check "plain: object" same "$(jq -r .object <<<"$plain")" chat.completion
check "plain: says it is no AI" has "$(jq -r '.choices[0].message.content' <<<"$plain")" "no AI"
check "plain: quotes the question" has "$(jq -r '.choices[0].message.content' <<<"$plain")" "hello there"
check "plain: usage adds up" jq -e '.usage.total_tokens == .usage.prompt_tokens + .usage.completion_tokens and .usage.total_tokens > 0' <<<"$plain" >/dev/null
check "request id comes back" grep -qi '^x-request-id: my-request-1' "$WORK/head"
check "both request id headers" grep -qi '^request-id: my-request-1' "$WORK/head"
check "trace goes on" grep -qi "^traceparent: 00-$trace-" "$WORK/head"

stream=$(curl -sN -D "$WORK/head" -H 'content-type: application/json' \
    -d "$(chat demo 'again' '"stream":true,"stream_options":{"include_usage":true}')" "$URL/v1/chat/completions")
check "stream: media type" grep -qi '^content-type: text/event-stream' "$WORK/head"
check "stream: ends with [DONE]" same "$(grep '^data: ' <<<"$stream" | tail -1)" "data: [DONE]"
chunks=$(sed -n 's/^data: {/{/p' <<<"$stream")
check "stream: role first" same "$(head -1 <<<"$chunks" | jq -r '.choices[0].delta.role')" assistant
check "stream: many chunks" test "$(wc -l <<<"$chunks")" -gt 10
check "stream: finish reason" jq -se 'map(.choices[0].finish_reason // empty) == ["stop"]' <<<"$chunks" >/dev/null
check "stream: one id" jq -se 'map(.id) | unique | length == 1' <<<"$chunks" >/dev/null
check "stream: usage last" jq -se 'last.choices == [] and last.usage.completion_tokens > 0' <<<"$chunks" >/dev/null
check "stream text equals the plain one's shape" has "$(jq -sr 'map(.choices[0].delta.content // "") | add' <<<"$chunks")" "again"
no_usage=$(curl -sN -H 'content-type: application/json' -d "$(chat demo 'again' '"stream":true')" "$URL/v1/chat/completions")
check "stream: no usage unless asked" hasnt "$no_usage" '"usage":{'

check "tap ends by itself" until_ok 10 gone $tap
check "tap: the path is visible" jq -se 'map(select(.kind == "REQUEST" and .from == "edge/1" and .to == "router/1" and .method == "router.complete")) | length >= 1' < "$WORK/tap" >/dev/null
check "tap: the answer is visible" jq -se 'map(select(.kind == "REPLY" and .from == "router/1" and .status == "OK" and .service_us > 0)) | length >= 1' < "$WORK/tap" >/dev/null
check "tap: the trace id" jq -se --arg t $trace 'map(select(.trace_id == $t)) | length >= 2' < "$WORK/tap" >/dev/null
check "tap: all keys" jq -se 'all(has("ts") and has("from") and has("to") and has("kind") and has("method") and has("id") and has("trace_id") and has("status") and has("bytes") and has("queue_us") and has("service_us"))' < "$WORK/tap" >/dev/null
"$BIN/samovar" tap > /dev/null & tap=$!
until_ok 5 eval '"$BIN/samovar" call bus.stats "{}" | jq -e ".stats[] | select(.name == \"taps\" and .value == 1)"'
kill -9 $tap
check "a killed tap leaves nothing" until_ok 8 eval '"$BIN/samovar" call bus.stats "{}" | jq -e ".stats[] | select(.name == \"taps\" and .value == 0)"'

check "ps" same "$("$BIN/samovar" ps -o json | jq -r '[.[] | select(.state == "ready") | .name] | sort | join(" ")')" "auth/1 broker/1 cache/1 edge/1 mail/1 router/1 workspace/1"
check "call" same "$("$BIN/samovar" call router.ping '{}' | jq -r 'has("uptime_ms")')" true
check "call: error on stderr" has "$("$BIN/samovar" call router.nothing '{}' 2>&1 >/dev/null)" "method.unknown"
check "call: unknown service" has "$("$BIN/samovar" call nobody.home '{}' 2>&1)" "service.unknown"
check "call: unknown field is named" has "$("$BIN/samovar" call bus.tap '{"fliter":"x"}' 2>&1)" "fliter"
check "config show" has "$("$BIN/samovar" config show)" "edge"
check "doctor" "$BIN/samovar" doctor >/dev/null
check "metrics" has "$(curl -s "$URL/metrics")" 'samovar_http_requests_total{route="'
check "router's metrics" has "$(curl -s "$URL/metrics?service=router")" 'samovar_provider_requests_total'
check "second up is refused, saying who runs" has "$("$BIN/samovar" up 2>&1)" "$SUP"
pids=$("$BIN/samovar" ps -o json | jq -r '.[].pid')
check "clean stop" platform_down
check "exit code 0" same "$UP_EXIT" 0
check "no process left" all_gone $pids
check "no sanitizer report" hasnt "$(grep -aE 'Sanitizer|runtime error' "$WORK/up.log")" "rror"
platform_up SAMOVAR_SUPERVISOR_ROUTERS=2
check "a second start works" same "$(curl -s -o /dev/null -w '%{http_code}' "$URL/healthz")" 200
both_routers() { [ "$("$BIN/samovar" ps -o json | jq '[.[] | select((.name | startswith("router/")) and .state == "ready")] | length')" = 2 ]; }
check "two routers" until_ok 10 both_routers
"$BIN/samovar" tap -o json --for 20s kind=REQUEST from=operator router > "$WORK/tap2" & tap=$!
until_ok 5 eval '"$BIN/samovar" call bus.stats "{}" | jq -e ".stats[] | select(.name == \"taps\" and .value == 1)"'
for i in 1 2 1 2 2 2; do
    "$BIN/samovar" call router/$i.ping | jq -e 'has("uptime_ms")' > /dev/null || echo failed
done > "$WORK/pings"
check "call: one given instance" same "$(cat "$WORK/pings")" ""
seen() { [ "$(jq -r '.to + " " + .method' < "$WORK/tap2" | paste -sd,)" = "$1" ]; }
check "call: it alone is asked" until_ok 5 seen \
    "router/1 router/1.ping,router/2 router/2.ping,router/1 router/1.ping,router/2 router/2.ping,router/2 router/2.ping,router/2 router/2.ping"
kill $tap
missing=$("$BIN/samovar" call --timeout 1s router/3.ping 2>&1)
check "call: no such instance" has "$missing" "service.unknown: Instance 3 of service router is not connected."
check "call: no number" has "$("$BIN/samovar" call router/x.ping 2>&1)" "SERVICE/N.METHOD"
