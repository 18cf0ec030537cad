#!/bin/bash
# cache.sh - answers from the response cache, end to end through edge, broker and cache: beside an upstream that
# takes a second, as entries grow, a hundred identical requests at once, and how often a crowd's questions are known.
. "$(dirname "$0")/common.bash"

PART=15000 # bodies that http_load takes at once
ROUNDS=5 RUN_S=2 SIZES="1000 100000" REQUESTS=100000 SEED=1

usage() {
    cat <<'END_USAGE'
./dev bench cache [--rounds N] [--seconds S] [--sizes "N N"] [--requests N] [--seed N] [--quick]
  --rounds N    measurements of each kind; the median counts [5]
  --seconds S   measured time of each [2]
  --sizes LIST  kept answers among which hits are spread [1000 100000]
  --requests N  of the crowd [100000]
  --seed N      of the crowd [1]
  --quick       3 rounds of one second, 1,000 and 10,000 answers, 20,000 requests
END_USAGE
}

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) ROUNDS=${2:?--rounds needs a number}; shift ;;
    --seconds) RUN_S=${2:?--seconds needs a number}; shift ;;
    --sizes) SIZES=${2:?--sizes needs numbers}; shift ;;
    --requests) REQUESTS=${2:?--requests needs a number}; shift ;;
    --seed) SEED=${2:?--seed needs a number}; shift ;;
    --quick) ROUNDS=3 RUN_S=1 SIZES="1000 10000" REQUESTS=20000 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "there is no option $1" ;;
    esac
    shift
done

need_tools samovar samovar-broker samovar-edge samovar-router samovar-cache http_load http_wait fast_upstream provider_sim \
    zipf_bodies
CHAT=/v1/chat/completions
SLOW=slow,first_ms=1000,tokens=50

start "$TMP/fast.out" "$BIN/fast_upstream"
FAST=$(wait_line "$TMP/fast.out" port) || die "fast_upstream did not start"
start "$TMP/sim.out" "$BIN/provider_sim"
SIM=$(wait_line "$TMP/sim.out" port) || die "provider_sim did not start"

# Sets UP_PID, PORT, BROKER, EDGE, CACHE, PIDS, DATA.
start_platform() { # NAME [SETTING of cache]
    local name
    DATA=$TMP/$1
    PORT=$(free_port)
    mkdir -m 700 "$DATA"
    cat >"$DATA/samovar.yaml" <<END_CONFIG
router:
  discover: false
  providers:
    - {name: fast, base_url: "http://127.0.0.1:$FAST/v1", models: [fast]}
    - {name: slow, base_url: "http://127.0.0.1:$SIM/v1", models: ["$SLOW"]}
cache: {${2:-answers: 1000000, bytes: 4GiB, memory_bytes: 1GiB}}
END_CONFIG
    start "$DATA.log" env SAMOVAR_DATA="$DATA" SAMOVAR_STORE_ROOT_KEY_FILE="$DATA.root.key" SAMOVAR_PORT="$PORT" \
        SAMOVAR_LOG_LEVEL=warn "$BIN/samovar" up
    UP_PID=$STARTED
    "$BIN/http_wait" --port "$PORT" --path $CHAT --body '{"model":"fast","messages":[{"role":"user","content":"hello"}]}' \
        --timeout-ms 15000 >/dev/null || { tail -20 "$DATA.log" >&2; die "the platform did not answer"; }
    BROKER=$(child_named samovar-broker) EDGE=$(child_named samovar-edge) CACHE=$(child_named samovar-cache)
    [ -n "$BROKER" ] && [ -n "$EDGE" ] && [ -n "$CACHE" ] || die "not all processes run"
    PIDS=edge=$EDGE,broker=$BROKER,cache=$CACHE
}
stop_platform() { stop_child "$UP_PID" 15; }
stats() { SAMOVAR_DATA=$DATA "$BIN/samovar" call cache.stats '{}' | tr -d ' \n'; }
outcome() { # FIELD: of all requests until now
    local n
    n=$(json "$1" "$(stats | sed 's/,"models":.*//')")
    echo "${n:-0}"
}

load() { "$BIN/http_load" --path $CHAT "$@" 2>"$TMP/err"; }
checked() { # WHAT JSON
    local errors
    errors=$(json errors "$2")
    [ "${errors:-1}" = 0 ] && return
    say "errors in $1: $(printf '%s' "$2" | sed -n 's/.*"error_kinds":{\([^}]*\)}.*/\1/p') $(cat "$TMP/err")"
    FAILED=1
}

FIELDS="rps p50_us p99_us cpu_us_total cpu_us_edge cpu_us_broker cpu_us_cache"
rounds() { # NAME ARGS...: ROUNDS measurements of hits into TMP/NAME
    local i name=$1 line f before
    shift
    before=$(outcome misses)
    for i in $(seq "$ROUNDS"); do
        line=$(load --port "$PORT" --seconds "$RUN_S" --warmup 0.3 --pids "$PIDS" "$@")
        checked "$name" "$line"
        for f in $FIELDS; do
            f=$(json "$f" "$line")
            printf '%s ' "${f:-nan}"
        done >>"$TMP/$name"
        echo >>"$TMP/$name"
    done
    [ "$(outcome misses)" = "$before" ] || { say "$name: not every request was a hit"; FAILED=1; }
}
field() { # NAME FIELD
    local i=1 f
    for f in $FIELDS; do
        [ "$f" = "$2" ] && break
        i=$((i + 1))
    done
    median "$TMP/$1" "$i"
}
row() { # NAME TEXT
    local f
    printf '  %-34s' "$2"
    for f in rps p50_us p99_us; do printf ' %8.0f' "$(field "$1" $f)"; done
    printf '   %.1f (edge %.1f, broker %.1f, cache %.1f)\n' "$(field "$1" cpu_us_total)" "$(field "$1" cpu_us_edge)" \
        "$(field "$1" cpu_us_broker)" "$(field "$1" cpu_us_cache)"
    for f in $FIELDS; do figure "cache.$1.$f" "$(field "$1" $f)" "$([ $f = rps ] && echo req/s || echo us)"; done
}

machine
start_platform one
body() { printf '{"model":"%s","temperature":0,"messages":[{"role":"user","content":"What is on the table when the samovar begins to sing?"}]}' "$1"; }
body "$SLOW" >"$TMP/slow.json"

# ---- a hit beside the answer it replaces ----
line=$(load --port "$SIM" --body "@$TMP/slow.json" --connections 1 --warmup 0 --requests 5 --seconds 8)
checked "the upstream" "$line"
UPSTREAM_US=$(json p50_us "$line")
load --port "$PORT" --body "@$TMP/slow.json" --connections 1 --warmup 0 --requests 1 --seconds 5 >/dev/null
echo
echo "hits, closed loop: median of $ROUNDS times $RUN_S s; times in us"
printf '  %-34s %8s %8s %8s   %s\n' '' 'hits/s' p50 p99 'CPU us a hit'
rounds single --body "@$TMP/slow.json" --connections 1
row single "one answer, 1 connection"
rounds c64 --body "@$TMP/slow.json" --connections 64
row c64 "one answer, 64 connections"
printf '%s' "$(body "$SLOW" | sed 's/"temperature"/"stream":true,"temperature"/')" >"$TMP/stream.json"
load --port "$PORT" --body "@$TMP/stream.json" --connections 1 --warmup 0 --requests 1 --seconds 5 --stream >/dev/null
rounds stream --body "@$TMP/stream.json" --connections 1 --stream
row stream "a stream of 50 tokens, 1 connection"

# ---- as entries grow ----
for n in $SIZES; do
    for ((at = 0; at < n; at += PART)); do
        part=$((n - at < PART ? n - at : PART))
        "$BIN/zipf_bodies" --questions "$part" --first "$at" --each >"$TMP/each"
        line=$(load --port "$PORT" --bodies "$TMP/each" --connections 32 --warmup 0 --requests "$part" --seconds 600)
        checked "filling with $n" "$line"
    done
    "$BIN/zipf_bodies" --questions "$n" --requests $PART --exponent 0 --seed "$SEED" >"$TMP/spread" 2>/dev/null
    rounds "n$n" --bodies "$TMP/spread" --connections 1
    row "n$n" "$n answers, 1 connection"
    rounds "n$n.c64" --bodies "$TMP/spread" --connections 64
    row "n$n.c64" "$n answers, 64 connections"
    read -r pss _ <<<"$(memory "$CACHE")"
    figure "cache.n$n.pss_kib" "$pss" KiB
    printf '  %-34s %8d KiB\n' "  memory of the cache process (PSS)" "$pss"
done

# ---- a hundred at once ----
sim_calls() { curl -s -m 5 "http://127.0.0.1:$SIM/_stats" | jq --arg m "$1" '.models[$m] // 0'; }
crowd=slow,first_ms=1000,tokens=51
body "slow/$crowd" >"$TMP/crowd.json"
line=$(load --port "$PORT" --body "@$TMP/crowd.json" --connections 100 --warmup 0 --requests 100 --seconds 10)
checked "a hundred at once" "$line"
CALLS=$(sim_calls "$crowd")
echo
echo "a hundred identical requests at once: $CALLS call of the upstream, $(json p99_us "$line") us until the last had its answer"
figure cache.at_once.calls "$CALLS" calls
figure cache.at_once.p99_us "$(json p99_us "$line")" us
stop_platform

# ---- a crowd ----
echo
echo "$REQUESTS requests of a crowd: 10,000 questions, Zipf 0.9, seed $SEED"
printf '  %12s %10s %10s   %s\n' 'room' 'hits' 'ideal' 'ideal: that many of the most asked are known from their second time on'
for room in 100 1000 100000; do
    ideal=$("$BIN/zipf_bodies" --requests "$REQUESTS" --seed "$SEED" --room "$room" 2>&1 >"$TMP/zipf")
    rm -f "$TMP"/part.*
    split -l $PART "$TMP/zipf" "$TMP/part."
    start_platform "zipf$room" "answers: $room"
    hits=$(outcome hits) misses=$(outcome misses) shared=$(outcome shared)
    for part in "$TMP"/part.*; do
        line=$(load --port "$PORT" --bodies "$part" --connections 1 --warmup 0 --requests "$(wc -l <"$part")" --seconds 600)
        checked "the crowd" "$line"
    done
    hits=$(($(outcome hits) - hits)) misses=$(($(outcome misses) - misses)) shared=$(($(outcome shared) - shared))
    rate=$(calc "100 * $hits / ($hits + $misses + $shared)")
    best=$(calc "100 * $(json ideal_set "$ideal")")
    printf '  %12d %8.2f %% %8.2f %%\n' "$room" "$rate" "$best"
    figure "cache.zipf.$room.hits" "$rate" percent
    figure "cache.zipf.$room.ideal" "$best" percent
    stop_platform
done

echo
echo "budgets"
budget "p50 of a hit, end to end" "$(field single p50_us)" '<=' 500 us
budget "the answer of one second over it" "$(calc "$UPSTREAM_US / $(field single p50_us)")" '>=' 2000 times
budget "calls of the upstream for a hundred at once" "$CALLS" '<=' 1 calls
figure cache.single.times "$(calc "$UPSTREAM_US / $(field single p50_us)")" times
print_figures
exit "$FAILED"
