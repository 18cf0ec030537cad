#!/usr/bin/env bash
# The usage ledger: rows and sums of every kind of attempt, several routers in one report, what kill -9 and a
# full disk may and may not lose.
. "$(dirname "$0")/lib.sh"
tool provider_sim --models sim-small,sim-large,sim,status=400
SIM=$TOOL_PORT
export SAMOVAR_CONFIG=$WORK/samovar.yaml
settings() { # settings [LINES]: the configuration with these lines added
    cat > "$SAMOVAR_CONFIG" <<END
router:
  demo_delay_ms: 0
  attempts: 1
  first_byte_ms: 1500
  prices:
    - {model: sim-small, input: 2500000, output: 10000000}
    - {model: sim/sim-large, input: 1, output: 1}
  providers:
    - {name: sim, base_url: "http://127.0.0.1:$SIM/v1"}
    - {name: dead, base_url: "http://127.0.0.1:9/v1", models: [dead-model]}
supervisor: {restarts: 50}
${1:-}
END
}
usage() { "$BIN/samovar" usage -o json "$@"; }
total() { usage "${@:2}" | jq ".total.$1"; }
rows() { # rows JQ-FILTER: over the rows of all routers
    local e
    for e in "$SAMOVAR_DATA"/store/router-*; do "$BIN/samovar" store dump "router/${e##*-}" --table rows; done |
        jq -r ".row | $1"
}
sums_agree() { "$BIN/samovar" usage --check -o json | jq -e 'length > 0 and all(.differences == 0 and .days > 0)' >/dev/null; }
requests_are() { [ "$(total requests)" = "$1" ]; }
ready_model() { curl -s "$URL/v1/models" | jq -e '.data[] | select(.id == "sim-small")'; }
served() { [ "$(post "$(chat demo hi)" | head -1)" = 200 ]; }
metric() { curl -s "$URL/metrics?service=router" | awk -v n="$1" '$1 == n { print $2 }'; }

# ---- one row for each attempt, of every kind ----
settings
platform_up
until_ok 5 ready_model
post "$(chat sim-small,tokens=7 hi)" >/dev/null # not listed by that name
post "$(chat sim-small hi)" >/dev/null
post "$(chat sim-small hi '"stream":true')" >/dev/null
post "$(chat sim/sim-large hi)" >/dev/null
post "$(chat sim,status=400 hi)" >/dev/null
post "$(chat dead-model hi)" >/dev/null
post "$(chat demo hi)" >/dev/null
post "$(chat demo hi '"stream":true')" >/dev/null
post "$(chat sim,fault=cut,at=3 hi '"stream":true')" >/dev/null
curl -s -m 0.3 -H 'content-type: application/json' -d "$(chat sim,fault=hang hi)" "$URL/v1/chat/completions" >/dev/null
check "every attempt is counted" until_ok 5 requests_are 10
usage --by model > "$WORK/by_model"
of() { jq -c --arg n "$1" ".rows[] | select(.name == \$n) | $2" "$WORK/by_model"; }
check "plain and streamed: tokens and price" same "$(of sim-small '[.requests,.errors,.counted,.priced,.price > 0]')" "[2,0,2,2,true]"
tokens=$(of sim-small '[.prompt_tokens,.completion_tokens,.price]')
check "the price is that of the tokens ($tokens)" eval 'jq -e ".[2] >= .[0] * 2.5 + .[1] * 10 and .[2] <= .[0] * 2.5 + .[1] * 10 + 2" <<<"$tokens" >/dev/null'
check "an entry with its provider in front holds" same "$(of sim-large '[.requests,.priced]')" "[1,1]"
check "unreachable" same "$(of dead-model '[.requests,.errors,.priced]')" "[1,1,0]"
check "demo costs nothing" same "$(of demo '[.requests,.priced,.price]')" "[2,2,0]"
check "a model without a price" same "$(of sim-small,tokens=7 '[.requests,.counted,.priced]')" "[1,1,0]"
check "failures of names nobody lists are summed without the name" same "$(of '' '[.requests,.errors,.cancelled]')" "[3,2,1]"
check "outcomes" same "$(rows .outcome | sort | tr '\n' ' ')" "cancelled cut ok ok ok ok ok ok refused unreachable "
check "streams are marked" same "$(rows 'select(.streamed) | .model' | sort | tr '\n' ' ')" "demo sim,fault=cut,at=3 sim-small "
check "who it was for" same "$(rows '.org + "/" + .user' | sort -u)" default/operator
check "the model asked for and the one called" has "$(rows '.asked + ">" + .model')" "sim/sim-large>sim-large"
check "attempts have ids of their own" same "$(rows .attempt | sort -u | wc -l)" 10
check "by provider" same "$(usage --by provider | jq -c '[.rows[] | [.name, .requests]] | sort')" '[["dead",1],["demo",2],["sim",7]]'
today=$(date -u +%F)
check "by day" same "$(usage --by day | jq -r '.rows[].name')" "$today"
check "filters" same "$(total requests --model demo --from "$today" --to "$today") $(total requests --org nobody) $(total requests --key '')" "2 0 10"
check "a later day has nothing" same "$(total requests --from 2999-01-01)" 0
check "sums agree with rows" sums_agree
check "a table for people" has "$("$BIN/samovar" usage --by model)" "sim-small "
check "of which some have no price" has "$("$BIN/samovar" usage)" "requests have no price"
check "not everybody may ask" has "$("$BIN/samovar" call bus.policy '{"caller":"mail","method":"router.usage"}')" "default deny"
for words in '--by week' '--from 2024-02-30' '--to x' '--from 2024-02-02 --to 2024-02-01' '--repair' '--check --by day' '-o xml' 'more'; do
    "$BIN/samovar" usage $words >/dev/null 2>"$WORK/err"
    check "wrong words are refused: $words" same "$? $(grep -c 'samovar' "$WORK/err")" "2 1"
done
"$BIN/samovar" call router.usage '{"by":"week"}' 2>"$WORK/err"
check "and by the router, with the field" has "$(cat "$WORK/err")" "field: by"

# ---- draining writes everything; a stopped router's ledger is read by its program ----
for _ in 1 2 3 4 5; do post "$(chat demo hi)" >/dev/null; done
check "stops" platform_down
check "nothing was lost by stopping" same "$(total requests)" 15
check "sums agree, offline" sums_agree
check "offline report by model" same "$(usage --by model | jq -c '[.rows[] | select(.name == "demo") | .requests]')" "[7]"
check "offline filters" same "$(total requests --provider dead)" 1

# ---- several routers, one report ----
platform_up SAMOVAR_SUPERVISOR_ROUTERS=2
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do post "$(chat demo "$i")" >/dev/null & done
wait $(jobs -p | grep -vx "$SUP" | grep -vx "$TOOL_PID")
check "two ledgers are merged" until_ok 5 requests_are 27
check "both are asked" same "$(usage | jq -c '[.routers,.failed]')" "[2,0]"
check "their sums agree" sums_agree
pid=$(child_pid router/2)
kill -STOP "$pid"
"$BIN/samovar" usage -o json >"$WORK/some" 2>"$WORK/err"
check "one that does not answer makes the report incomplete, and says so" same "$? $(jq -c .failed "$WORK/some") $(grep -c router/2 "$WORK/err")" "1 1 1"
kill -CONT "$pid"
check "and is complete again" until_ok 5 requests_are 27
check "stops" platform_down
check "merged offline" same "$(total requests)" 27

# ---- load that knows which answers it has completely received ----
# A trace id is 16 decimal digits, so that it can be read in a row.
loader() { # loader N MEMBERS MODEL: a line "ID END_US" for each complete answer, until $WORK/stop is there
    local n=$1 count=0 id hex i
    while [ ! -e "$WORK/stop" ]; do
        count=$((count + 1))
        printf -v id '%04d%012d' "$n" "$count"
        hex=''
        for ((i = 0; i < 16; i++)); do hex+=3${id:i:1}; done
        local got; got=$(curl -s -m 5 -w '\n%{http_code}' -H 'content-type: application/json' -H "traceparent: 00-$hex-00f067aa0ba902b7-01" \
            -d "$(chat "$3" hi "$2")" "$URL/v1/chat/completions")
        [ "${got##*$'\n'}" = 200 ] || continue
        if [ -n "$2" ]; then [[ $got == *'data: [DONE]'* ]] || continue; fi
        echo "$id ${EPOCHREALTIME/[.,]/}"
    done >> "$WORK/received.$n"
}
start_load() {
    rm -f "$WORK/stop" "$WORK"/received.*
    LOADERS=()
    local i
    for i in 1 2 3 4; do loader $((ROUND * 10 + i)) '' sim-small,tokens=2 & LOADERS+=($!); done
    for i in 5 6; do loader $((ROUND * 10 + i)) '"stream":true' sim-small,tokens=3 & LOADERS+=($!); done
}
stop_load() { touch "$WORK/stop"; wait "${LOADERS[@]}"; }
kept() { rows '.trace | @base64d' | sort -u > "$WORK/kept"; }
missing() { # missing FILE: how many of its ids have no row
    sort -u "$1" | comm -23 - "$WORK/kept" | wc -l
}
kill_under_load() { # sets KILLED_US; load goes on afterwards for a moment
    start_load
    read -rt 1.2 <> <(:)
    local victim; victim=$(child_pid router/1)
    KILLED_US=${EPOCHREALTIME/[.,]/}
    kill -9 "$victim"
    until_ok 10 served
    read -rt 0.3 <> <(:)
    stop_load
    until_ok 5 served
}

# ---- strict: nothing that was answered is lost ----
rm -rf "$SAMOVAR_DATA/store"
settings 'ledger: {durability: strict}'
platform_up
until_ok 5 ready_model
for ROUND in 1 2 3; do
    kill_under_load
    kept
    cut -d' ' -f1 "$WORK"/received.* > "$WORK/received"
    check "strict, kill $ROUND: of $(wc -l < "$WORK/received") complete answers none is missing" same "$(missing "$WORK/received")" 0
    check "strict, kill $ROUND: sums agree" sums_agree
done
check "the load was one" test "$(wc -l < "$WORK/received")" -gt 20
post "$(chat sim-small hi '"stream":true')" > "$WORK/stream"
check "a stream has its end marker" same "$(grep -c 'data: \[DONE\]' "$WORK/stream")" 1
check "stops" platform_down

# ---- relaxed: what had ended 50 ms before is kept ----
rm -rf "$SAMOVAR_DATA/store"
settings
platform_up
until_ok 5 ready_model
older_than() { # older_than US: the answers that had come so long before the kill
    cat "$WORK"/received.* | awk -v t=$((KILLED_US - $1)) '$2 <= t { print $1 }'
}
ROUND=3
for n in 4 5 6; do
    for _ in 1 2 3 4; do # a busy machine may give the ledger no time for 50 ms
        ROUND=$((ROUND + 1)) # each has ids of its own
        kill_under_load
        kept
        older_than 50000 > "$WORK/early"
        older_than 1000000 > "$WORK/old"
        check "relaxed, kill $n: of $(wc -l < "$WORK/old") answers that were older than a second none is missing" same "$(missing "$WORK/old")" 0
        check "relaxed, kill $n: sums agree" sums_agree
        [ "$(missing "$WORK/early")" = 0 ] && break
    done
    late=$(older_than 0 | sort | comm -23 - <(sort "$WORK/early") | comm -23 - "$WORK/kept" | wc -l)
    check "relaxed, kill $n: of $(wc -l < "$WORK/early") answers that were older than 50 ms none is missing ($late younger ones are)" same "$(missing "$WORK/early")" 0
done
check "stops" platform_down

# ---- a full disk ----
disk_full() { # disk_full DURABILITY
    rm -rf "$SAMOVAR_DATA/store"
    mkdir -p "$SAMOVAR_DATA/store"
    mount -t tmpfs -o size=1500k tmpfs "$SAMOVAR_DATA/store" 2>/dev/null || { echo "skip $1 on a full disk: mounting is not allowed here"; return; }
    settings "ledger: {durability: $1}"
    platform_up
    until_ok 5 ready_model
    local answered=0 refused=0 status i pid
    pid=$(child_pid router/1)
    dd if=/dev/zero of="$SAMOVAR_DATA/store/filler" bs=4096 2>/dev/null
    for ((i = 0; i < 400; i++)); do
        status=$(post "$(chat demo hi)" -D "$WORK/head" | head -1)
        if [ "$status" = 200 ]; then answered=$((answered + 1)); else refused=$((refused + 1)); fi
        if [ "$1" = strict ]; then [ $refused -ge 3 ] && break
        elif [ "$(metric samovar_ledger_queue_rows)" != 0 ] && [ $((i % 8)) = 7 ]; then break; fi
    done
    if [ "$1" = strict ]; then
        check "full disk, strict: refused with 507 after $answered answers" same "$status" 507
        check "full disk, strict: says when to try again" grep -qi '^retry-after: ' "$WORK/head"
        check "full disk, strict: in the stable words" has "$(post "$(chat demo hi '"stream":true')")" store.full
    else
        check "full disk, relaxed: answers go on" same "$refused" 0
        check "full disk, relaxed: rows wait" test "$(metric samovar_ledger_queue_rows)" -gt 0
    fi
    check "full disk, $1: reports go on" test "$(total requests)" -ge 0
    rm "$SAMOVAR_DATA/store/filler"
    check "full disk, $1: serves when there is room again" until_ok 10 served
    check "full disk, $1: nothing waits any more" until_ok 10 eval '[ "$(metric samovar_ledger_queue_rows)" = 0 ]'
    check "full disk, $1: the same process" same "$(child_pid router/1)" "$pid"
    # in strict mode the attempt that could not be kept was answered with an error, and is kept by now
    check "full disk, $1: every answer is in the ledger" test "$(total requests)" -gt $answered
    check "full disk, $1: nothing was lost" same "$(metric samovar_ledger_rows_lost_total)" 0
    check "full disk, $1: sums agree" sums_agree
    check "stops" platform_down
    umount "$SAMOVAR_DATA/store"
}
disk_full relaxed
disk_full strict
check "no sanitizer report" hasnt "$(grep -aE 'Sanitizer|runtime error' "$WORK/up.log")" "rror"
