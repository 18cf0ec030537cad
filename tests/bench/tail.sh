#!/bin/bash
# tail.sh - a provider of which one answer in twenty is stuck for two seconds, with and without second calls
# (router.hedge_percent). Two platforms take turns inside each round.
. "$(dirname "$0")/common.bash"

ROUNDS=5 RUN_S=9 RATE=50 PERCENT=5

usage() {
    cat <<'END'
./dev bench tail [--rounds N] [--seconds S] [--rate N] [--percent N] [--quick]
  --rounds N    alternating rounds without and with second calls [5]
  --seconds S   measured time of each run [9]
  --rate N      requests a second, open loop [50]
  --percent N   router.hedge_percent of the second platform [5]
  --quick       3 rounds of six seconds
END
}

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) ROUNDS=${2:?--rounds needs a number}; shift ;;
    --seconds) RUN_S=${2:?--seconds needs a number}; shift ;;
    --rate) RATE=${2:?--rate needs a number}; shift ;;
    --percent) PERCENT=${2:?--percent needs a number}; shift ;;
    --quick) ROUNDS=3 RUN_S=6 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "there is no option $1" ;;
    esac
    shift
done

need_tools samovar samovar-broker samovar-edge samovar-router samovar-auth samovar-cache samovar-mail \
    samovar-workspace http_load http_wait provider_sim
for t in curl jq; do command -v $t >/dev/null || die "$t is missing"; done

# A provider of its own for each, so that its list of calls is about one platform. Sets PORT, SIM, CONTROL, ROUTER.
start_platform() { # NAME PERCENT
    local data=$TMP/$1
    start "$data.sim" "$BIN/provider_sim"
    SIM=$(wait_line "$data.sim" port) && CONTROL=$(wait_line "$data.sim" control) || die "provider_sim did not start"
    PORT=$(free_port)
    mkdir -m 700 "$data"
    cat >"$data/samovar.yaml" <<END
router:
  discover: false
  hedge_percent: $2
  prices:
    - {model: "$MODEL", input: 1000000, output: 4000000}
  providers:
    - {name: sim, base_url: "http://127.0.0.1:$SIM/v1", models: ["$MODEL"]}
END
    start "$data.log" env SAMOVAR_LIMITS_SCALE=1000000 SAMOVAR_DATA="$data" SAMOVAR_STORE_ROOT_KEY_FILE="$data.root.key" \
        SAMOVAR_PORT="$PORT" SAMOVAR_LOG_LEVEL=error "$BIN/samovar" up
    "$BIN/http_wait" --port "$PORT" --path /readyz --timeout-ms 15000 >/dev/null || { tail -20 "$data.log" >&2; die "the platform did not answer"; }
}

calls() { curl -s -m 10 "http://127.0.0.1:$1/_stats" | jq -r .requests; }
# Calls after number N whose caller did not wait for the answer; the provider remembers the last 512.
left() { curl -s -m 10 "http://127.0.0.1:$1/_stats" | jq -r "[.closed_by_peer[] | select(.number > $2)] | length"; }
spent() { curl -s -m 10 "http://127.0.0.1:$1/api/usage" | jq -r '[.. | objects | .price? // empty | numbers] | add // 0'; }

load() { # PORT STREAM SECONDS [--stream]
    "$BIN/http_load" --port "$1" --path /v1/chat/completions --mode open --rate "$RATE" --connections 1000 --warmup 0 \
        --seconds "$3" --body "{\"model\":\"$MODEL\",\"stream\":$2,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}" "${@:4}"
}

MODEL="sim,tokens=8,first_ms=5,slow_percent=5,slow_ms=2000"
machine
start_platform alone 0
ALONE=$PORT ALONE_SIM=$CONTROL
start_platform hedged "$PERCENT"
HEDGED=$PORT HEDGED_SIM=$CONTROL

echo "a provider answers after 5 ms, one call in twenty 2 s later; $RATE requests a second, $ROUNDS rounds of $RUN_S s"
printf '  %-7s %-8s %9s %9s %9s %9s %8s %8s %8s\n' "" "" "p50 us" "p90 us" "p99 us" "max us" answers calls cut
for kind in plain stream; do
    stream=false what='' flags=()
    [ $kind = stream ] && stream=true what=first_ flags=(--stream)
    # What is late has to be learned first.
    for way in alone hedged; do
        [ $way = alone ] && port=$ALONE || port=$HEDGED
        load "$port" $stream 6 ${flags[@]+"${flags[@]}"} >/dev/null
    done
    for _ in $(seq "$ROUNDS"); do
        for way in alone hedged; do
            if [ $way = alone ]; then port=$ALONE sim=$ALONE_SIM; else port=$HEDGED sim=$HEDGED_SIM; fi
            before=$(calls "$sim") paid=$(spent "$port")
            line=$(load "$port" $stream "$RUN_S" ${flags[@]+"${flags[@]}"})
            [ "$(json errors "$line")" = 0 ] || { say "errors: $line"; FAILED=1; }
            sleep 0.1 # rows of the ledger
            answers=$(json requests "$line") made=$(($(calls "$sim") - before)) cut=$(left "$sim" "$before")
            paid=$(calc "$(spent "$port") - $paid")
            printf '  %-7s %-8s %9s %9s %9s %9s %8s %8s %8s\n' $kind $way "$(json ${what}p50_us "$line")" "$(json ${what}p90_us "$line")" \
                "$(json ${what}p99_us "$line")" "$(json ${what}max_us "$line")" "$answers" "$made" "$cut"
            echo "$(json ${what}p99_us "$line") $answers $made $cut $paid $(json ${what}p50_us "$line")" >>"$TMP/$kind.$way"
        done
    done
    paste -d' ' "$TMP/$kind.alone" "$TMP/$kind.hedged" | awk '{print $1 / $7}' >"$TMP/ratio"
    figure "tail.$kind.ratio_p99" "$(median "$TMP/ratio")" times
    for way in alone hedged; do
        figure "tail.$kind.$way.p99_us" "$(median "$TMP/$kind.$way")" us
        figure "tail.$kind.$way.p50_us" "$(median "$TMP/$kind.$way" 6)" us
    done
    figure "tail.$kind.extra_calls_percent" "$(awk '{a += $2; m += $3} END {print 100 * (m / a - 1)}' "$TMP/$kind.hedged")" percent
    figure "tail.$kind.extra_cost_percent" \
        "$(awk 'FNR == NR {a += $2; p += $5; next} {b += $2; q += $5} END {print 100 * ((q / b) / (p / a) - 1)}' \
            "$TMP/$kind.alone" "$TMP/$kind.hedged")" percent
    # Each second call makes one of the two superfluous: the provider has to see that nobody waits for it.
    figure "tail.$kind.losers_cut_percent" "$(awk '{x += $3 - $2; c += $4} END {print x ? 100 * c / x : 0}' "$TMP/$kind.hedged")" percent
done

echo
echo "budgets:"
for kind in plain stream; do
    budget "$kind: p99 without second calls over p99 with them" "$(value tail.$kind.ratio_p99)" '>=' 3 times
    budget "$kind: second calls" "$(value tail.$kind.extra_calls_percent)" '<=' "$PERCENT" percent
    budget "$kind: of those that lost, the provider was told" "$(value tail.$kind.losers_cut_percent)" '>=' 100 percent
done
print_figures
exit "$FAILED"
