#!/bin/bash
# bus.sh - request/reply through the broker, beside a bare libzmq forwarder that moves the same frames
# (alternating pairs, median of the ratios of each pair) and nats-server on the same work.
. "$(dirname "$0")/common.bash"

PAIRS=7 SECONDS_EACH=1.5 ONLY= NATS=1 NATS_RUNS=3

usage() {
    cat <<'END'
./dev bench bus [--pairs N] [--seconds S] [--quick] [--only TEXT] [--no-nats]
  --pairs N     alternating pairs for each row [7]
  --seconds S   measured time of each run [1.5]
  --quick       3 pairs of one second
  --only TEXT   only rows whose name contains TEXT, e.g. ipc.null.256.w64
  --no-nats     leave nats-server out
END
}

while [ $# -gt 0 ]; do
    case $1 in
    --pairs) PAIRS=${2:?--pairs needs a number}; shift ;;
    --seconds) SECONDS_EACH=${2:?--seconds needs a number}; shift ;;
    --quick) PAIRS=3 SECONDS_EACH=1 NATS_RUNS=1 ;;
    --only) ONLY=${2:?--only needs a text}; shift ;;
    --no-nats) NATS=0 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "there is no option $1" ;;
    esac
    shift
done
case $PAIRS in '' | *[!0-9]* | 0) die "--pairs takes a whole number from 1" ;; esac

need_tools samovar-broker bus_load bus_forwarder
export TMPDIR=$TMP # bus_load and bus_nats keep their folders here

wanted() { case $1 in *"$ONLY"*) return 0 ;; esac; return 1; }

# One run of bus_load; appends "rps p50 p99 cpu" to FILE. False when it failed.
one_run() { # FILE ARGS...
    local file=$1 line
    shift
    line=$("$BIN/bus_load" --seconds "$SECONDS_EACH" "$@" 2>"$TMP/err")
    if [ $? -ne 0 ] || [ -z "$line" ]; then
        say "failed: bus_load $*"
        sed 's/^/  /' "$TMP/err" >&2
        FAILED=1
        return 1
    fi
    echo "$(json rps "$line") $(json p50_us "$line") $(json p99_us "$line") $(json broker_cpu_us "$line")" >>"$file"
}

row() { # TRANSPORT SECURITY BODY WINDOW
    local name=$1.$2.$3.w$4 i args a b
    args=(--transport "$1" --security "$2" --body "$3" --window "$4")
    for i in $(seq "$PAIRS"); do
        : >"$TMP/a"; : >"$TMP/b"
        one_run "$TMP/a" --broker samovar "${args[@]}" || continue
        one_run "$TMP/b" --broker bare "${args[@]}" || continue
        read -ra a <"$TMP/a"
        read -ra b <"$TMP/b"
        cat "$TMP/a" >>"$TMP/$name.samovar"
        cat "$TMP/b" >>"$TMP/$name.bare"
        echo "$(calc "${a[0]}/${b[0]}") $(calc "${a[1]}/${b[1]}") $(calc "${a[2]}/${b[2]}")" >>"$TMP/$name.ratio"
    done
    local s=$TMP/$name.samovar r=$TMP/$name.bare q=$TMP/$name.ratio
    printf '%-4s %-5s %5s %6s | %8.0f %8.0f %6.2f | %7.0f %7.0f %6.2f | %7.0f %7.0f | %7.2f %7.2f\n' \
        "$1" "$2" "$3" "$4" "$(median "$s" 1)" "$(median "$r" 1)" "$(median "$q" 1)" \
        "$(median "$s" 2)" "$(median "$r" 2)" "$(median "$q" 2)" \
        "$(median "$s" 3)" "$(median "$r" 3)" "$(median "$s" 4)" "$(median "$r" 4)"
    figure "bus.$name.rps" "$(median "$s" 1)" req/s
    figure "bus.$name.bare_rps" "$(median "$r" 1)" req/s
    figure "bus.$name.ratio_throughput" "$(median "$q" 1)" ratio
    figure "bus.$name.p50_us" "$(median "$s" 2)" us
    figure "bus.$name.bare_p50_us" "$(median "$r" 2)" us
    figure "bus.$name.ratio_p50" "$(median "$q" 2)" ratio
    figure "bus.$name.p99_us" "$(median "$s" 3)" us
    figure "bus.$name.bare_p99_us" "$(median "$r" 3)" us
    figure "bus.$name.ratio_p99" "$(median "$q" 3)" ratio
    figure "bus.$name.cpu_us.broker" "$(median "$s" 4)" us
    figure "bus.$name.cpu_us.bare" "$(median "$r" 4)" us
}

nats_row() { # MODE BODY WINDOW
    local name=nats.$1.$2.w$3 i line flag=
    [ "$1" = batched ] && flag=--batched
    for i in $(seq "$NATS_RUNS"); do
        line=$("$BIN/bus_nats" $flag --body "$2" --window "$3" --seconds "$SECONDS_EACH" 2>"$TMP/err")
        if [ $? -ne 0 ] || [ -z "$line" ]; then
            say "failed: bus_nats $flag --body $2 --window $3"
            sed 's/^/  /' "$TMP/err" >&2
            FAILED=1
            continue
        fi
        echo "$(json rps "$line") $(json p50_us "$line") $(json p99_us "$line") $(json broker_cpu_us "$line")" >>"$TMP/$name"
    done
    printf '%-8s %5s %6s | %8.0f | %7.0f %7.0f | %7.2f\n' "$1" "$2" "$3" "$(median "$TMP/$name" 1)" \
        "$(median "$TMP/$name" 2)" "$(median "$TMP/$name" 3)" "$(median "$TMP/$name" 4)"
    figure "bus.$name.rps" "$(median "$TMP/$name" 1)" req/s
    figure "bus.$name.p50_us" "$(median "$TMP/$name" 2)" us
    figure "bus.$name.p99_us" "$(median "$TMP/$name" 3)" us
    figure "bus.$name.cpu_us.server" "$(median "$TMP/$name" 4)" us
}

machine
echo "request/reply, one client and one worker process; medians of $PAIRS alternating pairs of $SECONDS_EACH s"
echo
echo "transport and security,  |  requests a second       | p50 us                 | p99 us          | broker CPU us"
echo "body bytes, window       |  samovar     bare  ratio | samovar    bare  ratio | samovar    bare | samovar   bare"
for transport in ipc tcp; do
    for security in null curve; do
        for body in 256 4096; do
            for window in 1 64 512; do
                wanted "$transport.$security.$body.w$window" && row $transport $security $body $window
            done
        done
    done
done

if [ "$NATS" = 1 ]; then
    if [ -x "$BIN/bus_nats" ] && command -v nats-server >/dev/null; then
        echo
        echo "nats-server over tcp, no encryption, libnats client; medians of $NATS_RUNS runs of $SECONDS_EACH s"
        echo "mode, body, window     | requests | p50 us  p99 us  | server CPU us"
        for mode in flushed batched; do
            for body in 256 4096; do
                for window in 1 64 512; do
                    wanted "nats.$mode.$body.w$window" && nats_row $mode $body $window
                done
            done
        done
    else
        echo
        echo "nats-server is left out: it needs the packages nats-server and libnats-dev at build time"
    fi
fi

value() { awk -v n="$1" '$2 == n {v = $3} END {print v == "" ? "nan" : v}' "$TMP/figures" 2>/dev/null || echo nan; }
echo
echo "budgets:"
budget "ipc NULL 256 B window 64: throughput against bare" "$(value bus.ipc.null.256.w64.ratio_throughput)" '>=' 0.8 x
budget "ipc NULL 256 B window 64: p50 against bare" "$(value bus.ipc.null.256.w64.ratio_p50)" '<=' 1.3 x
budget "ipc NULL 256 B window 1: p50 against bare" "$(value bus.ipc.null.256.w1.ratio_p50)" '<=' 1.3 x

print_figures
exit "$FAILED"
