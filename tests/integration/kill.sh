#!/usr/bin/env bash
# kill -9 of every process under load: each client gets an answer or a clear 5xx, service is back within two
# seconds; of the supervisor: everything ends and the next start works.
. "$(dirname "$0")/lib.sh"
tool provider_sim
cat > "$WORK/samovar.yaml" <<EOF
router: {providers: [{name: sim, base_url: "http://127.0.0.1:$TOOL_PORT/v1"}]}
supervisor: {restarts: 50}
EOF
platform_up SAMOVAR_CONFIG="$WORK/samovar.yaml"
served() { [ "$(curl -s -m 2 -o /dev/null -w '%{http_code}' -H 'content-type: application/json' -d "$(chat sim,tokens=2 hi)" "$URL/v1/chat/completions")" = 200 ]; }
check "serves" served

load() { # load SECONDS NAME [args [members]]: JSON of http_load in $WORK/load.NAME
    "$BIN/http_load" --port "$PORT" --path /v1/chat/completions --connections 8 --seconds "$1" --warmup 0 --timeout-ms 8000 \
        --body "$(chat sim,tokens=5,gap_ms=5 hi "${4:-}")" ${3:-} > "$WORK/load.$2" 2>>"$WORK/tools.log" &
    LOADS+=($!)
}
kill_under_load() { # kill_under_load NAME: sets TOOK
    local name=$1 victim t0 kind LOADS=()
    load 3 plain
    load 3 stream --stream '"stream":true'
    until_ok 3 served
    victim=$(child_pid "$name")
    kill -9 "$victim"
    t0=$(now_ms)
    until_ok 10 served
    TOOK=$(($(now_ms) - t0))
    wait "${LOADS[@]}"
    for kind in plain stream; do
        check "$name $kind: nobody hung" same "$(jq '.error_kinds.timeout // 0' "$WORK/load.$kind")" 0
        if [ "$name" != edge/1 ]; then
            check "$name $kind: no connection was reset" same "$(jq '[.error_kinds | .reset, .connect, .cut | . // 0] | add' "$WORK/load.$kind")" 0
        fi
        check "$name $kind: work went on ($(jq -c '{requests,errors,error_kinds,status}' "$WORK/load.$kind"))" jq -e '.requests > 20' "$WORK/load.$kind" >/dev/null
    done
    check "$name: another process took over" test "$(child_pid "$name")" != "$victim"
}
for name in router/1 broker/1 edge/1 auth/1 cache/1 mail/1 workspace/1; do
    for _ in 1 2 3; do # what counts is ours, not what else the machine did
        kill_under_load $name
        [ $TOOK -le 2000 ] && break
    done
    check "$name: back within 2 s ($TOOK ms)" under $TOOK 2000
done
check "nothing is left open" until_ok 5 eval '"$BIN/samovar" call bus.stats "{}" | jq -e ".stats[] | select(.name == \"open\" and .value <= 1)"'

# a process that was stopped for a while, as by a long computation, has missed nothing: no call is lost
LOADS=()
load 4 plain
until_ok 3 served
victim=$(child_pid edge/1)
before=$(wc -l < "$WORK/up.log")
kill -STOP "$victim"
t0=$(now_ms)
until_ok 5 eval '[ $(($(now_ms) - t0)) -ge 1600 ]'
kill -CONT "$victim"
wait "${LOADS[@]}"
check "edge/1 stopped for 1.6 s: it does not blame the broker" eval '! tail -n "+$((before + 1))" "$WORK/up.log" | grep "\"service\":\"edge\"" | grep "the broker is silent"'
check "edge/1 stopped for 1.6 s: nothing failed" same "$(jq -c .errors "$WORK/load.plain")" 0

# a process that hangs
pid=$(child_pid router/1)
kill -STOP "$pid"
t0=$(now_ms)
got=$(curl -s -m 20 -o /dev/null -w '%{http_code}' -H 'content-type: application/json' -d "$(chat sim hi)" "$URL/v1/chat/completions")
check "a stopped router gives a clear 5xx ($got after $(($(now_ms) - t0)) ms)" test "$got" -ge 500
kill -CONT "$pid"
check "and serves again" until_ok 5 served

# clients that leave
fds() { ls /proc/"$1"/fd | wc -l; }
edge=$(child_pid edge/1)
before=$(fds "$edge")
for i in 1 2 3 4 5; do curl -s -m 0.05 -H 'content-type: application/json' -d "$(chat sim,fault=hang hi)" "$URL/v1/chat/completions" > /dev/null; done
check "left connections are closed" until_ok 5 eval '[ "$(fds '"$edge"')" -le '"$((before + 1))"' ]'

pids=$("$BIN/samovar" ps -o json | jq -r '.[].pid')
kill -9 $SUP
check "the supervisor's children end with it" until_ok 3 all_gone $pids
wait $SUP 2>/dev/null
platform_up SAMOVAR_CONFIG="$WORK/samovar.yaml"
check "the next up works" served
check "clean stop" platform_down
check "no sanitizer report" hasnt "$(grep -aE 'Sanitizer|runtime error' "$WORK/up.log")" "rror"
