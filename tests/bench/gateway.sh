#!/bin/bash
# gateway.sh - chat completions through edge, broker and router, beside the same requests sent straight to
# a fast local upstream, through nginx as a plain proxy and through the Portkey gateway. They take turns inside
# each round. Everything that a paying organization has is on: an API key, rate limits, a budget, the ledger.
. "$(dirname "$0")/common.bash"

ROUNDS=5 RUN_S=2 HOLD=2000 HOLD_S=10 COUNTED=20000 GROWTH=200000 NGINX=1 PORTKEY=1

usage() {
    cat <<'END'
./dev bench gateway [--rounds N] [--seconds S] [--streams N] [--hold S] [--quick] [--no-nginx] [--no-portkey]
  --rounds N    alternating rounds of direct, nginx, samovar, portkey [5]
  --seconds S   measured time of each run [2]
  --streams N   streams held open at once [2000]
  --hold S      seconds they are held [10]
  --growth N    requests over which memory is watched [200000]
  --quick       3 rounds of one second, streams held for 4 s, 40000 requests
  --no-nginx    leave nginx out
  --no-portkey  leave the Portkey gateway out; otherwise npm installs it once, in tests/bench/portkey
END
}

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) ROUNDS=${2:?--rounds needs a number}; shift ;;
    --seconds) RUN_S=${2:?--seconds needs a number}; shift ;;
    --streams) HOLD=${2:?--streams needs a number}; shift ;;
    --hold) HOLD_S=${2:?--hold needs a number}; shift ;;
    --growth) GROWTH=${2:?--growth needs a number}; shift ;;
    --quick) ROUNDS=3 RUN_S=1 HOLD_S=4 COUNTED=5000 GROWTH=40000 ;;
    --no-nginx) NGINX=0 ;;
    --no-portkey) PORTKEY=0 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "there is no option $1" ;;
    esac
    shift
done

need_tools samovar samovar-broker samovar-edge samovar-router samovar-auth samovar-cache samovar-mail \
    samovar-workspace http_load http_wait fast_upstream
for t in curl jq; do command -v $t >/dev/null || die "$t is missing"; done
CHAT=/v1/chat/completions

# ---- the request: about 1.5 KB, as a chat with some history is ----
sentence='The samovar is on the table and the water has just begun to sing, so please tell me in a few words what we should do next. '
message() { printf '{"role":"%s","content":"%s%s%s"}' "$1" "$sentence" "$sentence" "$sentence"; }
body() { # MODEL STREAM
    printf '{"model":"%s","stream":%s,"temperature":0.7,"max_tokens":256,"messages":[%s,%s,%s]}' "$1" "$2" \
        "$(message system)" "$(message user)" "$(message user)"
}
body fast false >"$TMP/plain.json"
body k20-d2000 true >"$TMP/paced.json"       # 20 events, 2 ms apart
body k50-d0 true >"$TMP/burst.json"          # 50 events at once
body k1000000-d100000 true >"$TMP/hold.json" # ten events a second, for ever
body k100000000-d0 true >"$TMP/flood.json"   # as fast as the reader takes them

# ---- the ways ----
start "$TMP/upstream.out" "$BIN/fast_upstream"
UPSTREAM_PID=$STARTED
UPSTREAM=$(wait_line "$TMP/upstream.out" port) || die "fast_upstream did not start"

start_nginx() {
    command -v nginx >/dev/null || { NGINX=0; echo "nginx is not installed: left out"; return; }
    NGINX_PORT=$(free_port)
    mkdir -p "$TMP/nginx"
    cat >"$TMP/nginx.conf" <<END
daemon off; worker_processes 1; pid $TMP/nginx/pid; error_log stderr error;
events { worker_connections 8192; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300;
  client_body_temp_path $TMP/nginx/body; proxy_temp_path $TMP/nginx/proxy; fastcgi_temp_path $TMP/nginx/f;
  uwsgi_temp_path $TMP/nginx/u; scgi_temp_path $TMP/nginx/s;
  upstream up { server 127.0.0.1:$UPSTREAM; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:$NGINX_PORT backlog=4096;
    location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }
  }
}
END
    start "$TMP/nginx.out" nginx -p "$TMP/nginx" -c "$TMP/nginx.conf"
    "$BIN/http_wait" --port "$NGINX_PORT" --path /v1/models >/dev/null || { cat "$TMP/nginx.out" >&2; die "nginx did not start"; }
    NGINX_PID=$(pgrep -P "$STARTED" | head -1)
}

# It listens on all addresses: it has no option for one of them.
start_portkey() {
    local folder=$BENCH_ROOT/tests/bench/portkey i
    if [ ! -x "$folder/node_modules/.bin/node" ]; then
        command -v npm >/dev/null || { PORTKEY=0; echo "npm is not installed: portkey is left out"; return; }
        (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error >"$TMP/npm" 2>&1) ||
            { PORTKEY=0; echo "portkey is left out, npm could not install it: $(tail -1 "$TMP/npm")"; return; }
    fi
    PORTKEY_PORT=$(free_port)
    start "$TMP/portkey.out" "$folder/node_modules/.bin/node" \
        "$folder/node_modules/@portkey-ai/gateway/build/start-server.js" --port="$PORTKEY_PORT" --headless
    PORTKEY_PID=$STARTED
    PORTKEY_HEADERS="x-portkey-provider: openai|x-portkey-custom-host: http://127.0.0.1:$UPSTREAM/v1|Authorization: Bearer none"
    for i in $(seq 100); do
        if curl -s -m 5 -o /dev/null "http://127.0.0.1:$PORTKEY_PORT/"; then # its code is compiled by use
            "$BIN/http_load" --port "$PORTKEY_PORT" --path $CHAT --headers "$PORTKEY_HEADERS" --body "@$TMP/plain.json" \
                --mode closed --connections 64 --seconds 4 >/dev/null
            return
        fi
        sleep 0.1
    done
    PORTKEY=0
    echo "portkey is left out, it did not start: $(tail -1 "$TMP/portkey.out")"
}

# What would refuse a load that is only there to be measured is raised.
RAISED="SAMOVAR_LIMITS_SCALE=1000000 SAMOVAR_EDGE_CONNECTIONS=30000 SAMOVAR_EDGE_CONNECTIONS_PER_ADDRESS=30000"

# Starts the platform in a data folder of its own. Sets UP_PID, PORT, LOG, pids of all, START_MS.
start_platform() { # NAME [VARIABLE=VALUE...]
    local data=$TMP/$1 began t
    shift
    PORT=$(free_port)
    mkdir -m 700 "$data"
    cat >"$data/samovar.yaml" <<END
router:
  discover: false
  prices:
    - {model: fast, input: 150000, output: 600000}
    - {model: k20-d2000, input: 150000, output: 600000}
    - {model: k50-d0, input: 150000, output: 600000}
  providers:
    - name: fast
      base_url: http://127.0.0.1:$UPSTREAM/v1
      models: [fast]
END
    began=${EPOCHREALTIME/./}
    # shellcheck disable=SC2086
    start "$data.log" env $RAISED "$@" SAMOVAR_DATA="$data" SAMOVAR_STORE_ROOT_KEY_FILE="$data.root.key" SAMOVAR_PORT="$PORT" SAMOVAR_LOG_LEVEL=warn "$BIN/samovar" up
    UP_PID=$STARTED LOG=$data.log
    t=$("$BIN/http_wait" --port "$PORT" --path $CHAT --body '{"model":"fast","messages":[{"role":"user","content":"hello"}]}' \
        --timeout-ms 15000 --pause-ms 1) || { tail -20 "$data.log" >&2; die "the platform did not answer"; }
    START_MS=$(calc "(${EPOCHREALTIME/./} - $began) / 1000")
    BROKER=$(child_named samovar-broker)
    EDGE=$(child_named samovar-edge)
    ROUTER=$(child_named samovar-router)
    AUTH=$(child_named samovar-auth)
    CACHE=$(child_named samovar-cache)
    [ -n "$BROKER" ] && [ -n "$EDGE" ] && [ -n "$ROUTER" ] && [ -n "$CACHE" ] || die "not all processes run"
    SERVING=edge=$EDGE,broker=$BROKER,router=$ROUTER,cache=$CACHE,auth=$AUTH,up=$UP_PID
    HEADERS="Accept: */*"
}

# From now on every request has an API key whose organization has a budget of money, requests and tokens; and
# its price is known, so that each reserves and settles.
everything_on() {
    local i answer
    first_admin
    answer=$(post /api/budgets '{"kind":"org","month":100000000000000,"minute_requests":100000000,"minute_tokens":1000000000}' \
        -H "authorization: Bearer $TOKEN")
    [ "$(jq -r .budget.month <<<"$answer" 2>/dev/null)" = 100000000000000 ] || die "no budget was made: $answer"
    HEADERS=$WITH_KEY
    for i in $(seq 100); do # until it counts
        load --port "$PORT" --body "@$TMP/plain.json" --mode closed --connections 1 --requests 5 --warmup 0 >/dev/null
        answer=$(curl -s -m 5 -H "authorization: Bearer $TOKEN" "http://127.0.0.1:$PORT/api/budgets")
        jq -e '.budgets[0].used.month > 0' <<<"$answer" >/dev/null 2>&1 && return
        sleep 0.1
    done
    die "the budget does not count: $answer"
}
stop_platform() { stop_child "$UP_PID" 15; }

pss_of_three() {
    local sum=0 m p
    for p in "$BROKER" "$EDGE" "$ROUTER"; do
        m=$(memory "$p")
        sum=$((sum + ${m% *}))
    done
    echo "$sum"
}

load() { "$BIN/http_load" --path $CHAT --headers "$HEADERS" "$@" 2>"$TMP/err"; }

checked() { # WHAT JSON: complains about errors in a result
    local errors
    errors=$(json errors "$2")
    if [ "${errors:-1}" != 0 ]; then
        say "errors in $1: $(printf '%s' "$2" | sed -n 's/.*"error_kinds":{\([^}]*\)}.*"status":{\([^}]*\)}.*/\1, status \2/p') $(cat "$TMP/err")"
        FAILED=1
    fi
}

# Waits until a process that was given too much has done it or thrown it away.
settle() { # PID
    local i before after
    for i in $(seq 50); do
        before=$(awk '{print $14 + $15}' "/proc/$1/stat")
        sleep 0.2
        after=$(awk '{print $14 + $15}' "/proc/$1/stat")
        [ $((after - before)) -gt 2 ] || return 0
    done
}

# One round: the same load by each way; appends the wanted fields to TMP/NAME.WAY.
FIELDS="rps p50_us p99_us first_p50_us first_p99_us gap_p99_us events_per_s cpu_us_total cpu_us_edge cpu_us_broker cpu_us_router cpu_us_cache"
round() { # NAME ARGS...
    local name=$1 way line pids port f headers
    shift
    for way in $(ways); do
        headers=$HEADERS
        case $way in
        direct) port=$UPSTREAM pids=upstream=$UPSTREAM_PID ;;
        nginx) port=$NGINX_PORT pids=nginx=$NGINX_PID ;;
        samovar) port=$PORT pids=$SERVING ;;
        portkey) port=$PORTKEY_PORT pids=portkey=$PORTKEY_PID headers=$PORTKEY_HEADERS ;;
        esac
        line=$(load --port "$port" --headers "$headers" --seconds "$RUN_S" --warmup 0.4 --pids "$pids" "$@")
        if [ $way = portkey ]; then
            [ "$(json errors "$line")" = 0 ] || say "$name through portkey: $(json errors "$line") errors, $(cat "$TMP/err")"
            settle "$PORTKEY_PID"
        else
            checked "$name through $way" "$line"
        fi
        for f in $FIELDS; do
            f=$(json "$f" "$line")
            printf '%s ' "${f:-nan}"
        done >>"$TMP/$name.$way"
        echo >>"$TMP/$name.$way"
    done
}
rounds() { # NAME ARGS...
    local i
    for i in $(seq "$ROUNDS"); do round "$@"; done
}
field() { # NAME WAY FIELD: median over the rounds
    local i=1 f
    for f in $FIELDS; do
        [ "$f" = "$3" ] && break
        i=$((i + 1))
    done
    median "$TMP/$1.$2" "$i"
}
added() { # NAME WAY FIELD: median of the differences to direct, round by round
    local i=1 f
    for f in $FIELDS; do
        [ "$f" = "$3" ] && break
        i=$((i + 1))
    done
    paste -d' ' "$TMP/$1.$2" "$TMP/$1.direct" | awk -v i="$i" '{n = NF / 2; print $i - $(i + n)}' >"$TMP/added"
    median "$TMP/added"
}
# Median of our figure over the rival's, round by round; the other way round for times.
ratio() { # NAME FIELD RIVAL
    local i=1 f
    for f in $FIELDS; do
        [ "$f" = "$2" ] && break
        i=$((i + 1))
    done
    paste -d' ' "$TMP/$1.samovar" "$TMP/$1.$3" |
        awk -v i="$i" -v up="$([ "$2" = rps ] && echo 1 || echo 0)" \
            '{n = NF / 2; a = $i; b = $(i + n); if (a > 0 && b > 0) print up ? a / b : b / a}' >"$TMP/ratio"
    median "$TMP/ratio"
}
ways() {
    echo direct
    [ "$NGINX" = 1 ] && echo nginx
    echo samovar
    [ "$PORTKEY" = 1 ] && echo portkey
    return 0
}

table() { # NAME TITLE [stream]
    echo
    echo "$2"
    local w f columns="rps p50_us p99_us"
    [ $# -gt 2 ] && columns="$columns first_p50_us first_p99_us events_per_s"
    printf '  %-8s' way
    for f in $columns; do
        case $f in rps) f=req/s ;; first_*) f=${f%_us}; f=${f/_/ } ;; events*) f=events/s ;; *) f=${f%_us} ;; esac
        printf ' %9s' "$f"
    done
    printf '   CPU us a request\n'
    for w in $(ways); do
        printf '  %-8s' "$w"
        for f in $columns; do printf ' %9.0f' "$(field "$1" $w $f)"; done
        printf '   '
        if [ $w = samovar ]; then
            printf '%.1f (edge %.1f, broker %.1f, router %.1f, cache %.1f)\n' "$(field "$1" $w cpu_us_total)" \
                "$(field "$1" $w cpu_us_edge)" "$(field "$1" $w cpu_us_broker)" "$(field "$1" $w cpu_us_router)" \
                "$(field "$1" $w cpu_us_cache)"
        else
            printf '%.1f\n' "$(field "$1" $w cpu_us_total)"
        fi
    done
}
figures_of() { # NAME FIGURE
    local w f
    for f in edge broker router cache total; do figure "$2.cpu_us.$f" "$(field "$1" samovar cpu_us_$f)" us; done
    figure "$2.rps" "$(field "$1" samovar rps)" req/s
    figure "$2.p50_us" "$(field "$1" samovar p50_us)" us
    figure "$2.p99_us" "$(field "$1" samovar p99_us)" us
    figure "$2.direct_rps" "$(field "$1" direct rps)" req/s
    for w in $(ways); do
        [ "$w" = direct ] && continue
        local prefix=
        [ "$w" = samovar ] || prefix=${w}_
        figure "$2.${prefix}added_p50_us" "$(added "$1" $w p50_us)" us
        figure "$2.${prefix}added_p99_us" "$(added "$1" $w p99_us)" us
    done
    for w in $(ways); do
        case $w in direct | samovar) continue ;; esac
        figure "$2.${w}_rps" "$(field "$1" "$w" rps)" req/s
        figure "$2.cpu_us.$w" "$(field "$1" "$w" cpu_us_total)" us
    done
    [ "$PORTKEY" = 1 ] || return 0
    figure "$2.portkey_ratio_rps" "$(ratio "$1" rps portkey)" times
    figure "$2.portkey_ratio_per_cpu" "$(ratio "$1" cpu_us_total portkey)" times
}

# ---- start and idle memory ----
machine
for i in 1 2 3; do
    start_platform "start$i"
    echo "$START_MS" >>"$TMP/starts"
    [ $i = 3 ] || stop_platform
done
[ "$NGINX" = 1 ] && start_nginx
[ "$PORTKEY" = 1 ] && start_portkey
sleep 2
echo
echo "start to the first completion: $(median "$TMP/starts") ms (median of 3)"
echo "idle memory, KiB        PSS      RSS"
sum=0
for name in broker edge router supervisor; do
    case $name in broker) p=$BROKER ;; edge) p=$EDGE ;; router) p=$ROUTER ;; *) p=$UP_PID ;; esac
    read -r pss rss <<<"$(memory "$p")"
    printf '  %-16s %8d %8d\n' $name "$pss" "$rss"
    figure "platform.idle_pss_kib.$name" "$pss" KiB
    figure "platform.idle_rss_kib.$name" "$rss" KiB
    [ $name = supervisor ] || sum=$((sum + pss))
done
figure platform.idle_pss_kib "$sum" KiB
figure platform.start_ms "$(median "$TMP/starts")" ms

everything_on

# ---- the ways in turn ----
echo
echo "$ROUNDS rounds of $RUN_S s; upstream, load generator and platform share the cores; times in us; request body $(wc -c <"$TMP/plain.json") bytes"
rounds c64 --body "@$TMP/plain.json" --mode closed --connections 64
table c64 "plain completions, 64 connections, closed loop"
figures_of c64 gateway.c64
rounds r500 --body "@$TMP/plain.json" --mode open --rate 500 --connections 256
table r500 "plain completions, 500 requests a second, open loop"
figures_of r500 gateway.r500
rounds stream --body "@$TMP/paced.json" --mode open --rate 500 --connections 512 --stream
table stream "streams of 20 events 2 ms apart, 500 streams a second, open loop" stream
for f in first_p50_us first_p99_us; do
    g=${f#first_}
    for w in $(ways); do
        case $w in
        direct) ;;
        samovar) figure "gateway.stream.added_first_chunk_$g" "$(added stream samovar $f)" us ;;
        *) figure "gateway.stream.${w}_added_first_chunk_$g" "$(added stream "$w" $f)" us ;;
        esac
    done
done
for f in edge broker router cache total; do figure "gateway.stream.cpu_us.$f" "$(field stream samovar cpu_us_$f)" us; done
figure gateway.stream.added_gap_p99_us "$(added stream samovar gap_p99_us)" us
rounds sc64 --body "@$TMP/burst.json" --mode closed --connections 64 --stream
table sc64 "streams of 50 events sent at once, 64 connections, closed loop" stream
figure gateway.stream.c64.rps "$(field sc64 samovar rps)" req/s
figure gateway.stream.c64.events_per_s "$(field sc64 samovar events_per_s)" events/s
[ "$NGINX" = 1 ] && figure gateway.stream.c64.nginx_events_per_s "$(field sc64 nginx events_per_s)" events/s
figure gateway.stream.c64.cpu_us.total "$(field sc64 samovar cpu_us_total)" us

echo
echo "memory after the load, KiB  PSS      RSS"
for name in broker edge router; do
    case $name in broker) p=$BROKER ;; edge) p=$EDGE ;; router) p=$ROUTER ;; esac
    read -r pss rss <<<"$(memory "$p")"
    printf '  %-20s %8d %8d\n' $name "$pss" "$rss"
    figure "gateway.loaded_pss_kib.$name" "$pss" KiB
    figure "gateway.loaded_rss_kib.$name" "$rss" KiB
done

# ---- many streams, one reader in ten stalled ----
# A stalled reader's stream comes as fast as it can, so that every buffer on its way fills at once; that is
# over before the measured time begins, and so is the opening of the streams.
hold() { # NAME WARMUP_S ARGS...
    local name=$1 warm=$2 pid line
    shift 2
    load --port "$PORT" --mode closed --connections "$HOLD" --stream --body "@$TMP/hold.json" --ramp 1 \
        --warmup "$warm" --seconds "$HOLD_S" --timeout-ms 3600000 "$@" >"$TMP/hold.$name" &
    pid=$!
    CHILDREN+=("$pid")
    sleep "$warm"
    HOLD_EARLY=$(pss_of_three)
    read -r HOLD_EDGE _ <<<"$(memory "$EDGE")"
    sleep "$(calc "$HOLD_S - 0.5")"
    HOLD_LATE=$(pss_of_three)
    wait "$pid"
    line=$(cat "$TMP/hold.$name")
    checked "$HOLD streams ($name)" "$line"
    HOLD_GAP50=$(json gap_p50_us "$line") HOLD_GAP99=$(json gap_p99_us "$line") HOLD_MAX=$(json gap_max_us "$line")
    printf '  %-20s %6s %8s %9s %9s %9s %10s %10s\n' "${name//_/ }" "$(json open "$line")" "$(json stalled "$line")" \
        "$HOLD_GAP50" "$HOLD_GAP99" "$HOLD_MAX" "$HOLD_EARLY" "$HOLD_LATE"
    figure "gateway.hold.$name.gap_p50_us" "$HOLD_GAP50" us
    figure "gateway.hold.$name.gap_p99_us" "$HOLD_GAP99" us
    figure "gateway.hold.$name.gap_max_us" "$HOLD_MAX" us
    figure "gateway.hold.$name.pss_kib" "$HOLD_LATE" KiB
    figure "gateway.hold.$name.pss_growth_kib" "$((HOLD_LATE - HOLD_EARLY))" KiB
}
echo
echo "$HOLD streams at once, an event every 100 ms each; gap between two events of one stream in us,"
echo "PSS of broker, edge and router at the beginning and the end of $HOLD_S s"
printf '  %-20s %6s %8s %9s %9s %9s %10s %10s\n' "" open stalled "gap p50" "gap p99" "gap max" "KiB before" "KiB after"
read -r edge_before _ <<<"$(memory "$EDGE")"
hold all_read 4
figure gateway.hold.edge_kib_per_stream "$(calc "($HOLD_EDGE - $edge_before) / $HOLD")" KiB
sleep 1
hold one_in_ten_stalled 12 --stall-every 10 --stall-body "@$TMP/flood.json"

# ---- a crowd at the door ----
sleep 1
rounds burst --body "@$TMP/paced.json" --mode closed --connections 500 --requests 500 --stream --warmup 0
table burst "500 streams at once, each on a connection of its own that is opened with them" stream
for f in first_p50_us first_p99_us; do
    for w in $(ways); do figure "gateway.burst.$w.first_chunk_${f#first_}" "$(field burst "$w" $f)" us; done
done

# ---- memory over many requests ----
# Anonymous memory: what the process has made for itself. Pages of the ledger's file are the kernel's cache.
own_memory() { awk '/^Anonymous:/ {a = $2} END {print a + 0}' "/proc/$1/smaps_rollup"; }
echo
echo "anonymous memory over $GROWTH requests, 64 connections, one in ten a stream of 50 events; KiB"
printf '  %10s %8s %8s %8s %8s\n' requests edge broker router cache
for i in $(seq 0 10); do
    if [ "$i" -gt 0 ]; then
        checked growth "$(load --port "$PORT" --mode closed --connections 64 --warmup 0 --requests $((GROWTH * 9 / 100)) --body "@$TMP/plain.json")"
        checked growth "$(load --port "$PORT" --mode closed --connections 64 --warmup 0 --requests $((GROWTH / 100)) --body "@$TMP/burst.json" --stream)"
    fi
    row="$((GROWTH * i / 10))"
    for p in "$EDGE" "$BROKER" "$ROUTER" "$CACHE"; do row="$row $(own_memory "$p")"; done
    echo "$row" >>"$TMP/growth"
    # shellcheck disable=SC2086
    printf '  %10s %8s %8s %8s %8s\n' $row
done
# The slope of the line through the second half: what is still growing then goes on growing.
slope() { # COLUMN: bytes a request
    tail -6 "$TMP/growth" | awk -v c="$1" '{n++; x += $1; y += $c; xx += $1 * $1; xy += $1 * $c}
        END {print 1024 * (n * xy - x * y) / (n * xx - x * x)}'
}
i=2
for name in edge broker router cache; do
    figure "gateway.growth.bytes_per_request.$name" "$(slope $i)" bytes
    i=$((i + 1))
done
stop_platform

# ---- allocations and system calls ----
counted() { # NAME BODY [ARGS...]: prints a row of each
    local name=$1 file=$2 p pid before after calls n
    shift 2
    load --port "$PORT" --mode closed --connections 64 --requests 2000 --body "@$file" "$@" >/dev/null
    n=$COUNTED
    for p in edge broker router; do
        case $p in edge) pid=$EDGE ;; broker) pid=$BROKER ;; router) pid=$ROUTER ;; esac
        before=$(od -An -t u8 -N 8 "$TMP/counts/$pid" | tr -d ' ')
        calls=nan
        if [ "$PERF" = 1 ]; then
            perf stat -x , -o "$TMP/perf" -e raw_syscalls:sys_enter -p "$pid" -- "$BIN/http_load" --path $CHAT --headers "$HEADERS" --port "$PORT" \
                --mode closed --connections 64 --requests "$n" --body "@$file" "$@" >/dev/null 2>&1
            calls=$(awk -F, -v n="$n" '/sys_enter/ && $1 + 0 == $1 {print $1 / n}' "$TMP/perf")
        else
            timeout 60 strace -c -f -q -o "$TMP/strace" -p "$pid" 2>/dev/null &
            local tracer=$!
            sleep 0.5
            load --port "$PORT" --mode closed --connections 64 --requests "$n" --body "@$file" "$@" >/dev/null
            kill -INT "$tracer" 2>/dev/null
            wait "$tracer" 2>/dev/null
            calls=$(awk -v n="$n" '$NF == "total" {print $(NF - 1) == "total" ? "nan" : $3 / n}' "$TMP/strace" 2>/dev/null | tail -1)
        fi
        after=$(od -An -t u8 -N 8 "$TMP/counts/$pid" | tr -d ' ')
        after=$(calc "($after - $before) / $n")
        printf '  %-8s %-8s %10.2f %12.2f\n' "$name" $p "$after" "${calls:-nan}"
        figure "gateway.$name.mallocs.$p" "$after" per_request
        figure "gateway.$name.syscalls.$p" "${calls:-nan}" per_request
    done
}
PERF=0
perf stat -x , -o "$TMP/perf" -e raw_syscalls:sys_enter true 2>/dev/null && grep -q '^[0-9]' "$TMP/perf" && PERF=1
PRELOAD=$(dirname "$BIN")/lib/count_malloc.so
echo
if [ ! -f "$PRELOAD" ]; then
    echo "allocations and system calls are left out: $PRELOAD is missing"
elif [ "$PERF" = 0 ] && ! command -v strace >/dev/null; then
    echo "allocations and system calls are left out: neither perf with tracepoints nor strace is here"
else
    mkdir "$TMP/counts"
    start_platform counted LD_PRELOAD="$PRELOAD" COUNT_MALLOC_DIR="$TMP/counts"
    everything_on
    echo "allocations and system calls a request, 64 connections, $COUNTED requests each (a stream has 50 events)"
    printf '  %-8s %-8s %10s %12s\n' "" process mallocs "system calls"
    counted plain "$TMP/plain.json"
    counted stream "$TMP/burst.json" --stream
    stop_platform
fi

echo
echo "budgets:"
budget "64 connections: CPU summed over all processes" "$(value gateway.c64.cpu_us.total)" '<=' 150 us
budget "500/s: added p99" "$(value gateway.r500.added_p99_us)" '<=' 2000 us
budget "500/s: CPU summed over all processes" "$(value gateway.r500.cpu_us.total)" '<=' 400 us
budget "first chunk of a stream: added p50" "$(value gateway.stream.added_first_chunk_p50_us)" '<=' 500 us
budget "500 streams at once: p99 of the first chunk" "$(value gateway.burst.samovar.first_chunk_p99_us)" '<=' 60000 us
if [ "$PORTKEY" = 1 ]; then
    budget "64 connections: requests a second over Portkey's" "$(value gateway.c64.portkey_ratio_rps)" '>=' 10 times
    budget "64 connections: requests per CPU second over Portkey's" "$(value gateway.c64.portkey_ratio_per_cpu)" '>=' 4 times
fi
for name in edge broker router cache; do
    budget "memory that a further request leaves behind: $name" "$(value gateway.growth.bytes_per_request.$name)" '<=' 1 bytes
done
budget "idle PSS of broker, edge and router" "$(value platform.idle_pss_kib)" '<=' 40960 KiB
budget "start to the first healthy answer" "$(value platform.start_ms)" '<=' 1000 ms
budget "an open stream in the edge" "$(value gateway.hold.edge_kib_per_stream)" '<=' 8 KiB

print_figures
exit "$FAILED"
