#!/bin/bash
# edge.sh - the front door beside nginx: static files, authenticated requests over the bus, TLS handshakes, idle
# event streams; and what a flood of logins does to everybody else. The ways take turns inside each round.
. "$(dirname "$0")/common.bash"

ROUNDS=5 RUN_S=2 RATE=1000 IDLE=5000 STREAMS=10000 KEYS=4096 LOGINS=200 LOGIN_S=6 NGINX=1 ONLY=

usage() {
    cat <<'END'
./dev bench edge [--rounds N] [--seconds S] [--streams N] [--only PART] [--quick] [--no-nginx]
  --rounds N    alternating rounds of nginx and samovar [5]
  --seconds S   measured time of each run [2]
  --streams N   event streams held open at once [10000]
  --only PART   static, echo, keys, tls, streams or logins
  --quick       3 rounds of one second, 2000 streams, 512 keys
  --no-nginx    leave nginx out
END
}

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) ROUNDS=${2:?--rounds needs a number}; shift ;;
    --seconds) RUN_S=${2:?--seconds needs a number}; shift ;;
    --streams) STREAMS=${2:?--streams needs a number}; shift ;;
    --only) ONLY=${2:?--only needs a part}; shift ;;
    --quick) ROUNDS=3 RUN_S=1 STREAMS=2000 KEYS=512 LOGIN_S=4 ;;
    --no-nginx) NGINX=0 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "there is no option $1" ;;
    esac
    shift
done
case $ONLY in '' | static | echo | keys | tls | streams | logins) ;; *) die "there is no part $ONLY" ;; esac
part() { [ -z "$ONLY" ] || [ "$ONLY" = "$1" ]; }

need_tools samovar samovar-broker samovar-edge samovar-router samovar-auth samovar-cache samovar-mail \
    samovar-workspace http_load http_wait fast_upstream conn_hold tls_load
for t in curl jq openssl; do command -v $t >/dev/null || die "$t is missing"; done
ECHO=/v1/models/demo FILE=/assets/ten.txt SMALL=/assets/small.txt

# ---- what both serve: text that does not repeat, 10 KiB and 64 bytes ----
mkdir -p "$TMP/web/assets"
head -c 7680 /dev/urandom | base64 -w 76 | head -c 10240 >"$TMP/web/assets/ten.txt"
head -c 64 "$TMP/web/assets/ten.txt" >"$TMP/web/assets/small.txt"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout "$TMP/key.pem" -out "$TMP/cert.pem" 2>/dev/null ||
    die "openssl made no certificate"
chmod 600 "$TMP/key.pem"

# ---- the platform ----
# Nothing may be refused that is only there to be measured; a real platform's settings are far lower.
RAISED="SAMOVAR_LIMITS_SCALE=1000000 SAMOVAR_AUTH_KEYS_PER_USER=10000 SAMOVAR_EDGE_CONNECTIONS=30000
    SAMOVAR_EDGE_CONNECTIONS_PER_ADDRESS=30000 SAMOVAR_EDGE_EVENTS_PER_USER=30000 SAMOVAR_EDGE_IDLE_MS=10m"

# Sets UP_PID, PORT, EDGE and the pids of all processes.
start_platform() { # NAME [VARIABLE=VALUE...]
    local data=$TMP/data.$1 scheme=http i
    shift
    [[ "$*" == *TLS_CERT* ]] && scheme=https
    mkdir -m 700 "$data"
    # shellcheck disable=SC2086
    start "$data.log" env $RAISED "$@" SAMOVAR_DATA="$data" SAMOVAR_STORE_ROOT_KEY_FILE="$data.root.key" SAMOVAR_PORT=0 \
        SAMOVAR_EDGE_WEB_DIR="$TMP/web" SAMOVAR_ROUTER_DISCOVER=false SAMOVAR_LOG_LEVEL=warn "$BIN/samovar" up
    UP_PID=$STARTED DATA=$data LOG=$data.log
    for i in $(seq 300); do
        if [ -s "$data/run/edge.port" ]; then
            PORT=$(cat "$data/run/edge.port")
            [ "$(curl -sk -m 5 -o /dev/null -w '%{http_code}' "$scheme://127.0.0.1:$PORT/readyz")" = 200 ] && break
        fi
        sleep 0.05
    done
    [ "$i" -lt 300 ] || { tail -20 "$LOG" >&2; die "the platform did not start"; }
    EDGE=$(child_named samovar-edge)
    BROKER=$(child_named samovar-broker)
    ROUTER=$(child_named samovar-router)
    AUTH=$(child_named samovar-auth)
    CACHE=$(child_named samovar-cache)
    SERVING=edge=$EDGE,broker=$BROKER,router=$ROUTER,auth=$AUTH,cache=$CACHE,up=$UP_PID
}
stop_platform() { stop_child "$UP_PID" 15; }

# ---- nginx: one worker, as there is one edge ----
start_nginx() {
    [ "$NGINX" = 1 ] || return 0
    command -v nginx >/dev/null || { NGINX=0; echo "nginx is not installed: left out"; return; }
    NGINX_PORT=$(free_port) NGINX_PROXY=$(free_port) NGINX_TLS=$(free_port)
    mkdir -p "$TMP/nginx"
    cat >"$TMP/nginx.conf" <<END
daemon off; worker_processes 1; pid $TMP/nginx/pid; error_log stderr error; worker_rlimit_nofile 40000;
events { worker_connections 30000; multi_accept on; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600;
  # read() and one writev() cost it less than sendfile() for files of this size
  sendfile off;
  open_file_cache max=100 inactive=600s; open_file_cache_valid 600s; default_type text/plain;
  client_body_temp_path $TMP/nginx/body; proxy_temp_path $TMP/nginx/proxy; fastcgi_temp_path $TMP/nginx/f;
  uwsgi_temp_path $TMP/nginx/u; scgi_temp_path $TMP/nginx/s;
  upstream up { server 127.0.0.1:$UPSTREAM; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:$NGINX_PORT backlog=4096;
    location / { root $TMP/web; }
  }
  server {
    listen 127.0.0.1:$NGINX_PROXY backlog=4096;
    location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
  server {
    listen 127.0.0.1:$NGINX_TLS ssl backlog=4096;
    ssl_certificate $TMP/cert.pem; ssl_certificate_key $TMP/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
    location / { root $TMP/web; }
  }
}
END
    # a worker of another user could not read the folder
    [ "$(id -u)" = 0 ] && sed -i '1i user root;' "$TMP/nginx.conf"
    start "$TMP/nginx.out" nginx -p "$TMP/nginx" -c "$TMP/nginx.conf"
    NGINX_UP=$STARTED
    "$BIN/http_wait" --port "$NGINX_PORT" --path $SMALL >/dev/null || { cat "$TMP/nginx.out" >&2; die "nginx did not start"; }
    NGINX_PID=$(pgrep -P "$NGINX_UP" | head -1)
}
stop_nginx() { [ "$NGINX" = 1 ] && stop_child "$NGINX_UP"; }
ways() { [ "$NGINX" = 1 ] && echo nginx samovar || echo samovar; }

start "$TMP/upstream.out" "$BIN/fast_upstream"
UPSTREAM_PID=$STARTED
UPSTREAM=$(wait_line "$TMP/upstream.out" port) || die "fast_upstream did not start"

# ---- measuring ----
load() { "$BIN/http_load" "$@" 2>"$TMP/err"; }

checked() { # WHAT JSON: complains about errors in a result
    local errors
    errors=$(json errors "$2")
    if [ "${errors:-1}" != 0 ]; then
        say "errors in $1: $(printf '%s' "$2" | sed -n 's/.*"error_kinds":{\([^}]*\)}.*/\1/p') $(cat "$TMP/err")"
        FAILED=1
    fi
}
# Appends the fields of FIELDS to TMP/SERIES.
keep() { # SERIES JSON
    local f v
    for f in $FIELDS; do
        v=$(json "$f" "$2")
        printf '%s ' "${v:-nan}"
    done >>"$TMP/$1"
    echo >>"$TMP/$1"
}
column() { # FIELD
    local i=1 f
    for f in $FIELDS; do
        [ "$f" = "$1" ] && break
        i=$((i + 1))
    done
    echo "$i"
}
field() { median "$TMP/$1" "$(column "$2")"; } # SERIES FIELD
# Median of the ratios of one series' field to the other's, round by round.
ratio() { # SERIES OTHER FIELD
    paste -d' ' "$TMP/$1" "$TMP/$2" | awk -v i="$(column "$3")" '{n = NF / 2; print ($(i + n) > 0 ? $i / $(i + n) : "nan")}' >"$TMP/ratios"
    median "$TMP/ratios"
}

# Starts conn_hold; its answers come from HOLD_OUT, commands go to HOLD_IN. Sets HELD.
hold() { # NAME ARGS...
    local name=$1 i
    shift
    rm -f "$TMP/$name.in"
    mkfifo "$TMP/$name.in"
    "$BIN/conn_hold" "$@" <"$TMP/$name.in" >"$TMP/$name.out" 2>&1 &
    HOLD_PID=$!
    CHILDREN+=("$HOLD_PID")
    exec {HOLD_IN}>"$TMP/$name.in"
    for i in $(seq 600); do
        grep -q '^held ' "$TMP/$name.out" && break
        kill -0 "$HOLD_PID" 2>/dev/null || break
        sleep 0.05
    done
    HELD=$(sed -n 's/^held //p' "$TMP/$name.out")
    [ -n "$HELD" ] || { cat "$TMP/$name.out" >&2; die "connections could not be held"; }
}
release() { # NAME PID FD: sets HOLD_LEFT
    echo end >&"$3"
    wait "$2"
    eval "exec $3>&-"
    HOLD_LEFT=$(json open "$(tail -1 "$TMP/$1.out")")
}

# ---- static files ----
bench_static() {
    local i w port pids line
    start_platform static
    start_nginx
    FIELDS="rps p50_us p99_us cpu_us_total"
    for i in $(seq "$ROUNDS"); do
        for w in $(ways); do
            case $w in
            nginx) port=$NGINX_PORT pids=nginx=$NGINX_PID ;;
            samovar) port=$PORT pids=$SERVING ;;
            esac
            line=$(load --port "$port" --path $FILE --connections 64 --seconds "$RUN_S" --warmup 0.3 --pids "$pids")
            checked "static files by $w" "$line"
            keep "static.$w" "$line"
        done
    done
    echo
    echo "static file of 10 KiB, 64 connections, closed loop; CPU of all processes of each"
    printf '  %-8s %9s %9s %9s %12s %18s\n' way req/s p50 p99 "CPU us each" "req / CPU second"
    for w in $(ways); do
        printf '  %-8s %9.0f %9.0f %9.0f %12.2f %18.0f\n' $w "$(field static.$w rps)" "$(field static.$w p50_us)" \
            "$(field static.$w p99_us)" "$(field static.$w cpu_us_total)" "$(calc "1e6 / $(field static.$w cpu_us_total)")"
    done
    figure edge.static.rps "$(field static.samovar rps)" req/s
    figure edge.static.cpu_us "$(field static.samovar cpu_us_total)" us
    if [ "$NGINX" = 1 ]; then
        figure edge.static.nginx_rps "$(field static.nginx rps)" req/s
        figure edge.static.nginx_cpu_us "$(field static.nginx cpu_us_total)" us
        figure edge.static.ratio_rps "$(ratio static.samovar static.nginx rps)" ratio
        figure edge.static.ratio_per_cpu "$(ratio static.nginx static.samovar cpu_us_total)" ratio
    fi
    stop_nginx
    stop_platform
}

# ---- messages of a request ----
# Messages through the broker, in and out, and requests among them, as bus.stats counts them.
bus_counts() {
    SAMOVAR_DATA=$DATA SAMOVAR_STORE_ROOT_KEY_FILE=$DATA.root.key "$BIN/samovar" call bus.stats '{}' |
        jq -r '[.stats[] | {(.name): .value}] | add | "\(.received + .forwarded + .emitted) \(.requests)"'
}
# Sets MESSAGES and REQUESTS, each for one of COUNTED requests. What a platform says to itself in the
# same time (measured just before) is taken off.
count_messages() { # ARGS of http_load
    local m0 r0 m1 r1 m2 r2 began quiet busy line n=2000
    load --port "$PORT" --path $ECHO --requests 200 --connections 8 "$@" >/dev/null
    read -r m0 r0 <<<"$(bus_counts)"
    began=${EPOCHREALTIME/./}
    sleep 2
    read -r m1 r1 <<<"$(bus_counts)"
    quiet=$((${EPOCHREALTIME/./} - began)) began=${EPOCHREALTIME/./}
    line=$(load --port "$PORT" --path $ECHO --requests $n --connections 8 "$@")
    checked "counted requests" "$line"
    read -r m2 r2 <<<"$(bus_counts)"
    busy=$((${EPOCHREALTIME/./} - began))
    # the second look itself is in both differences
    MESSAGES=$(calc "(($m2 - $m1) - ($m1 - $m0) * $busy / $quiet) / $n")
    REQUESTS=$(calc "(($r2 - $r1) - ($r1 - $r0) * $busy / $quiet) / $n")
}

# ---- authenticated requests over the bus ----
ECHO_S=$RUN_S
echo_run() { # SERIES PORT PIDS [ARGS]
    local series=$1 port=$2 pids=$3 line
    shift 3
    line=$(load --port "$port" --path $ECHO --mode open --rate "$RATE" --connections 64 --seconds "$ECHO_S" --warmup 0.3 --pids "$pids" "$@")
    checked "$series" "$line"
    keep "$series" "$line"
}
echo_both() { # STATE
    [ "$NGINX" = 1 ] && echo_run "echo.nginx.$1" "$NGINX_PROXY" "nginx=$NGINX_PID,upstream=$UPSTREAM_PID"
    echo_run "echo.samovar.$1" "$PORT" "$SERVING" --headers "$WITH_KEY"
}
hold_both() {
    hold idle_samovar --port "$PORT" --path /healthz --connections "$IDLE"
    HOLD_S=$HOLD_PID HOLD_S_IN=$HOLD_IN
    [ "$NGINX" = 1 ] || return 0
    hold idle_nginx --port "$NGINX_PORT" --path $SMALL --connections "$IDLE"
    HOLD_N=$HOLD_PID HOLD_N_IN=$HOLD_IN
}
all_left() { # NAME
    [ "${HOLD_LEFT:-0}" = "$IDLE" ] && return
    say "$1: ${HOLD_LEFT:-0} of $IDLE idle connections were left"
    FAILED=1
}
release_both() {
    release idle_samovar "$HOLD_S" "$HOLD_S_IN"
    all_left samovar
    [ "$NGINX" = 1 ] || return 0
    release idle_nginx "$HOLD_N" "$HOLD_N_IN"
    all_left nginx
}

bench_echo() {
    local i w q open_messages open_requests
    start_platform echo
    start_nginx
    count_messages
    open_messages=$MESSAGES open_requests=$REQUESTS
    first_admin
    count_messages --headers "$WITH_KEY"
    echo
    echo "messages through the broker for GET $ECHO, in and out; of 2,000 requests each"
    printf '  %-34s %8.3f messages, of them requests %6.3f\n' "by the open operator, no credential" "$open_messages" "$open_requests"
    printf '  %-34s %8.3f messages, of them requests %6.3f\n' "with an API key" "$MESSAGES" "$REQUESTS"
    figure edge.echo.messages.open "$open_messages" per_request
    figure edge.echo.messages.key "$MESSAGES" per_request
    figure edge.echo.messages.added "$(calc "$MESSAGES - $open_messages")" per_request
    figure edge.echo.requests.added "$(calc "$REQUESTS - $open_requests")" per_request

    FIELDS="rps p50_us p99_us cpu_us_total"
    ECHO_S=$(calc "$RUN_S * 2") # a 99th percentile needs the answers
    for i in $(seq "$ROUNDS"); do
        if [ $((i % 2)) = 1 ]; then
            echo_both free
            hold_both
            echo_both idle
            release_both
        else
            hold_both
            echo_both idle
            release_both
            echo_both free
        fi
    done
    ECHO_S=$RUN_S
    echo
    echo "GET $ECHO at $RATE requests a second, open loop; samovar: with an API key, through edge, broker and router;"
    echo "nginx: a plain proxy to an upstream that answers from memory. Alone, and beside $IDLE idle connections"
    printf '  %-8s %9s %9s %9s %9s %10s %10s %12s\n' way p50 "p50 idle" p99 "p99 idle" "ratio p50" "ratio p99" "CPU us each"
    for w in $(ways); do
        printf '  %-8s %9.0f %9.0f %9.0f %9.0f %10.2f %10.2f %12.1f\n' $w "$(field echo.$w.free p50_us)" "$(field echo.$w.idle p50_us)" \
            "$(field echo.$w.free p99_us)" "$(field echo.$w.idle p99_us)" "$(ratio echo.$w.idle echo.$w.free p50_us)" \
            "$(ratio echo.$w.idle echo.$w.free p99_us)" "$(field echo.$w.free cpu_us_total)"
        q=edge.echo
        [ $w = nginx ] && q=edge.echo.nginx
        for i in p50 p99; do
            figure $q.${i}_us "$(field echo.$w.free ${i}_us)" us
            figure $q.idle_${i}_us "$(field echo.$w.idle ${i}_us)" us
            figure $q.idle_ratio_$i "$(ratio echo.$w.idle echo.$w.free ${i}_us)" ratio
        done
        figure $q.cpu_us "$(field echo.$w.free cpu_us_total)" us
    done
    stop_nginx
    stop_platform
}

# ---- many keys ----
bench_keys() {
    local i few
    start_platform keys
    first_admin
    # one connection for each curl process; the answers are one JSON document after the other
    for i in $(seq "$KEYS"); do
        [ "$i" -gt 1 ] && echo next
        printf 'url = "http://127.0.0.1:%s/api/keys"\nsilent\nheader = "content-type: application/json"\nheader = "authorization: Bearer %s"\ndata = "{\\"name\\":\\"%s\\"}"\n' \
            "$PORT" "$TOKEN" "k$i"
    done >"$TMP/made.curl"
    curl --parallel --parallel-immediate --parallel-max 32 -s -K "$TMP/made.curl" >"$TMP/made.json" 2>"$TMP/err"
    jq -r '.key // empty | "Authorization: Bearer " + .' "$TMP/made.json" >"$TMP/made.lines"
    [ "$(wc -l <"$TMP/made.lines")" = "$KEYS" ] || die "$(wc -l <"$TMP/made.lines") of $KEYS keys were made: $(head -c 300 "$TMP/made.json")"
    head -10 "$TMP/made.lines" >"$TMP/made.few"
    # each key is asked about once
    load --port "$PORT" --path $ECHO --connections 32 --requests $((KEYS * 2)) --header-lines "$TMP/made.lines" >"$TMP/first"
    checked "first use of the keys" "$(cat "$TMP/first")"
    FIELDS="rps p50_us p99_us cpu_us_total"
    for i in $(seq "$ROUNDS"); do
        echo_run keys.few "$PORT" "$SERVING" --header-lines "$TMP/made.few"
        shuf "$TMP/made.lines" >"$TMP/made.mixed" # each run begins with the first line
        echo_run keys.many "$PORT" "$SERVING" --header-lines "$TMP/made.mixed"
    done
    count_messages --header-lines "$TMP/made.few"
    few=$MESSAGES
    shuf "$TMP/made.lines" >"$TMP/made.mixed"
    count_messages --header-lines "$TMP/made.mixed"
    echo
    echo "the same request with distinct API keys in turn"
    printf '  %-8s %9s %9s %12s %14s\n' keys p50 p99 "CPU us each" "messages each"
    printf '  %-8s %9.0f %9.0f %12.1f %14.3f\n' 10 "$(field keys.few p50_us)" "$(field keys.few p99_us)" "$(field keys.few cpu_us_total)" "$few" \
        "$KEYS" "$(field keys.many p50_us)" "$(field keys.many p99_us)" "$(field keys.many cpu_us_total)" "$MESSAGES"
    figure edge.keys.few_messages "$few" per_request
    figure edge.keys.many_messages "$MESSAGES" per_request
    figure edge.keys.few_p50_us "$(field keys.few p50_us)" us
    figure edge.keys.many_p50_us "$(field keys.many p50_us)" us
    figure edge.keys.ratio_p50 "$(ratio keys.many keys.few p50_us)" ratio
    figure edge.keys.ratio_p99 "$(ratio keys.many keys.few p99_us)" ratio
    stop_platform
}

# ---- TLS ----
bench_tls() {
    local i w how port pids line resume
    start_platform tls SAMOVAR_EDGE_TLS_CERT="$TMP/cert.pem" SAMOVAR_EDGE_TLS_KEY="$TMP/key.pem"
    start_nginx
    FIELDS="per_s p50_us p99_us cpu_us_total handshakes resumed"
    for i in $(seq "$ROUNDS"); do
        for how in full resumed; do
            for w in $(ways); do
                case $w in
                nginx) port=$NGINX_TLS pids=nginx=$NGINX_PID ;;
                samovar) port=$PORT pids=edge=$EDGE ;;
                esac
                resume=()
                [ $how = resumed ] && resume=(--resume)
                line=$("$BIN/tls_load" --port "$port" --path $SMALL --connections 16 --seconds "$RUN_S" --warmup 0.3 --pids "$pids" \
                    ${resume[@]+"${resume[@]}"} 2>"$TMP/err")
                checked "TLS handshakes by $w" "$line"
                keep "tls.$how.$w" "$line"
            done
        done
    done
    echo
    echo "TLS 1.3 handshakes, ECDSA P-256, a new connection and a request of 64 bytes each, 16 at once"
    printf '  %-8s %-8s %9s %9s %9s %12s %16s %9s\n' way "" each/s p50 p99 "CPU us each" "each/CPU second" resumed
    for how in full resumed; do
        for w in $(ways); do
            printf '  %-8s %-8s %9.0f %9.0f %9.0f %12.1f %16.0f %8.0f%%\n' $w $how "$(field tls.$how.$w per_s)" "$(field tls.$how.$w p50_us)" \
                "$(field tls.$how.$w p99_us)" "$(field tls.$how.$w cpu_us_total)" "$(calc "1e6 / $(field tls.$how.$w cpu_us_total)")" \
                "$(calc "100 * $(field tls.$how.$w resumed) / $(field tls.$how.$w handshakes)")"
        done
        figure edge.tls.$how.per_s "$(field tls.$how.samovar per_s)" handshakes/s
        figure edge.tls.$how.cpu_us "$(field tls.$how.samovar cpu_us_total)" us
        [ "$NGINX" = 1 ] || continue
        figure edge.tls.$how.nginx_per_s "$(field tls.$how.nginx per_s)" handshakes/s
        figure edge.tls.$how.nginx_cpu_us "$(field tls.$how.nginx cpu_us_total)" us
        figure edge.tls.$how.ratio_per_s "$(ratio tls.$how.samovar tls.$how.nginx per_s)" ratio
        figure edge.tls.$how.ratio_per_cpu "$(ratio tls.$how.nginx tls.$how.samovar cpu_us_total)" ratio
    done
    stop_nginx
    stop_platform
}

# ---- idle event streams ----
peak() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"; } # PID: most RSS so far, KiB
pss() { memory "$1" | cut -d' ' -f1; }

bench_streams() {
    local before after line i
    start_platform streams
    first_admin
    start_nginx
    # what the first requests bring into memory is not a connection's
    load --port "$PORT" --path $ECHO --requests 500 --connections 8 --headers "$WITH_KEY" >/dev/null
    [ "$NGINX" = 1 ] && load --port "$NGINX_PORT" --path $SMALL --requests 500 --connections 8 >/dev/null
    echo
    echo "connections held: ours with GET /api/events open, nginx's kept alive behind one request"
    printf '  %-8s %9s %12s %12s %16s\n' way held "KiB before" "KiB after" "KiB each (PSS)"
    if [ "$NGINX" = 1 ]; then
        before=$(pss "$NGINX_PID")
        hold plain --port "$NGINX_PORT" --path $SMALL --connections "$STREAMS"
        after=$(pss "$NGINX_PID")
        printf '  %-8s %9s %12s %12s %16.2f\n' nginx "$HELD" "$before" "$after" "$(calc "($after - $before) / $HELD")"
        figure edge.streams.nginx_kib "$(calc "($after - $before) / $HELD")" KiB
        release plain "$HOLD_PID" "$HOLD_IN"
    fi
    stop_nginx
    before=$(pss "$EDGE")
    hold events --port "$PORT" --path /api/events --headers "$WITH_KEY" --connections "$STREAMS" --stream \
        --fire-path /api/keys --fire-body '{"name":"heard"}' --fire-headers "Authorization: Bearer $TOKEN"
    [ "$HELD" = "$STREAMS" ] || { say "$HELD of $STREAMS streams were opened"; FAILED=1; }
    after=$(pss "$EDGE")
    printf '  %-8s %9s %12s %12s %16.2f\n' samovar "$HELD" "$before" "$after" "$(calc "($after - $before) / $HELD")"
    figure edge.streams.held "$HELD" streams
    figure edge.streams.kib "$(calc "($after - $before) / $HELD")" KiB
    FIELDS="heard p50_us p99_us max_us answer_us"
    for i in $(seq "$ROUNDS"); do
        echo fire >&"$HOLD_IN"
        for _ in $(seq 800); do
            [ "$(grep -c '"heard"' "$TMP/events.out")" -ge "$i" ] && break
            sleep 0.05
        done
        keep heard "$(tail -1 "$TMP/events.out")"
    done
    after=$(pss "$EDGE")
    release events "$HOLD_PID" "$HOLD_IN"
    [ "${HOLD_LEFT:-0}" = "$STREAMS" ] || { say "${HOLD_LEFT:-0} of $STREAMS streams were left"; FAILED=1; }
    echo
    echo "an event for all of them (a key is made), from the request to the reading; the reader is one thread"
    printf '  %9s %12s %12s %12s %16s %16s\n' heard "p50 us" "p99 us" "last us" "KiB each after" "edge's peak KiB"
    printf '  %9.0f %12.0f %12.0f %12.0f %16.2f %16s\n' "$(field heard heard)" "$(field heard p50_us)" "$(field heard p99_us)" \
        "$(field heard max_us)" "$(calc "($after - $before) / $HELD")" "$(peak "$EDGE")"
    figure edge.streams.peak_kib "$(peak "$EDGE")" KiB
    figure edge.streams.heard "$(awk 'NR == 1 || $1 < m {m = $1} END {print m}' "$TMP/heard")" streams
    figure edge.streams.event_p50_us "$(field heard p50_us)" us
    figure edge.streams.event_p99_us "$(field heard p99_us)" us
    figure edge.streams.kib_after_events "$(calc "($after - $before) / $HELD")" KiB
    stop_platform
}

# ---- logins ----
bench_logins() {
    local i before line alone beside pid later faults users=40
    start_platform logins
    first_admin
    for i in $(seq $users); do
        post /api/admin/users "{\"email\":\"user$i@example.org\",\"password\":\"$PASSWORD\"}" -H "authorization: Bearer $TOKEN" \
            -o /dev/null -w '%{http_code}\n'
    done >"$TMP/users"
    [ "$(sort -u "$TMP/users")" = 201 ] || die "users could not be made: $(sort "$TMP/users" | uniq -c | xargs)"
    for i in $(seq $users); do echo "{\"email\":\"user$i@example.org\",\"password\":\"$PASSWORD\"}"; done >"$TMP/logins"
    unrelated() { load --port "$PORT" --path $ECHO --mode open --rate 200 --connections 64 --headers "$WITH_KEY" --warmup 1 --seconds "$LOGIN_S"; }
    before=$(peak "$AUTH")
    alone=$(unrelated)
    checked "requests before the logins" "$alone"
    # Who is told to come later comes a second later, as the answer says.
    "$BIN/http_load" --port "$PORT" --path /api/auth/login --bodies "$TMP/logins" --connections "$LOGINS" --retry-ms 1000 \
        --warmup 0 --seconds "$((LOGIN_S + 1))" >"$TMP/login.out" 2>/dev/null &
    pid=$!
    CHILDREN+=("$pid")
    beside=$(unrelated)
    checked "requests beside the logins" "$beside"
    wait "$pid"
    line=$(cat "$TMP/login.out")
    echo
    echo "GET $ECHO with a key, 200 a second, alone and beside $LOGINS clients that log in again and again with right passwords"
    echo "(of $users users; what the bounded queue does not take is told to come a second later)"
    printf '  %-8s %9s %9s %9s\n' "" p50 p99 max
    printf '  %-8s %9s %9s %9s\n' alone "$(json p50_us "$alone")" "$(json p99_us "$alone")" "$(json max_us "$alone")" \
        beside "$(json p50_us "$beside")" "$(json p99_us "$beside")" "$(json max_us "$beside")"
    later=$(json 503 "$line") faults=$(json errors "$line")
    faults=$((${faults:-1} - ${later:-0}))
    echo "  logins a second: $(json rps "$line"), p50 $(($(json p50_us "$line") / 1000)) ms; told to come later: ${later:-0}; other faults: $faults"
    [ "$faults" = 0 ] || { say "errors in logins: $line"; FAILED=1; }
    echo "  memory of auth (peak RSS): $before KiB before, $(peak "$AUTH") KiB after"
    figure edge.logins.per_s "$(json rps "$line")" logins/s
    figure edge.logins.alone_p99_us "$(json p99_us "$alone")" us
    figure edge.logins.beside_p99_us "$(json p99_us "$beside")" us
    figure edge.logins.auth_peak_kib "$(peak "$AUTH")" KiB
    stop_platform
}

# ---- the run ----
machine
echo "raised for the run: $(echo $RAISED)"
echo "$ROUNDS rounds of $RUN_S s; one edge process, one nginx worker; load generator, upstream and servers share the cores; times in us"
for p in static echo keys tls streams logins; do part $p && bench_$p; done

echo
echo "aims:"
aim() { # FIGURE TEXT OPERATOR LIMIT UNIT: only of what was measured
    local v
    v=$(value "$1")
    [ "$v" = nan ] || budget "$2" "$v" "$3" "$4" "$5"
}
aim edge.static.ratio_per_cpu "static file: requests per CPU second, ours over nginx's" '>=' 0.6 ""
aim edge.echo.idle_ratio_p50 "echo p50 beside $IDLE idle connections over alone" '<=' 1.5 ""
aim edge.echo.idle_ratio_p99 "echo p99 beside $IDLE idle connections over alone" '<=' 1.5 ""
aim edge.echo.messages.added "bus messages that a key adds to a request" '<=' 0.05 ""
aim edge.streams.kib "memory of the edge for an idle event stream" '<=' 8 KiB
aim edge.streams.heard "streams that hear an event" '>=' "$STREAMS" ""
aim edge.logins.beside_p99_us "p99 of another request beside $LOGINS logins at once" '<=' 50000 us

print_figures
exit "$FAILED"
