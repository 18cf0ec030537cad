#!/bin/bash
# store.sh - the store beside bare LMDB and SQLite doing the same work on the same disk: durable writes, reads by
# key and by index, scans, what a loop notices of commits, and what a long life does to the file.
# The three take turns; ratios are taken within a round, then the median over the rounds.
BENCH_HOME=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$BENCH_HOME/build"
export TMPDIR=${BENCH_DATA:-$BENCH_HOME/build} # on the disk, not in memory
. "$(dirname "$0")/common.bash"

ROUNDS=5 RUN_S=0.5 READ_S=0.2 STALL_S=1 SIZES="1e3 1e5 1e6" SOAK_ROWS=20000 SOAK_OPS=200000 ONLY=

usage() {
    cat <<'END'
./dev bench store [--rounds N] [--seconds S] [--only PART] [--quick]
  --rounds N    alternating rounds [5]
  --seconds S   measured time of each run of writes [0.5]
  --only PART   write, stall, read, grow or soak
  --quick       2 rounds, short, without the million rows
environment: BENCH_DATA, a folder on the disk to measure [build/]
END
}

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) ROUNDS=${2:?--rounds needs a number}; shift ;;
    --seconds) RUN_S=${2:?--seconds needs a number}; shift ;;
    --only) ONLY=${2:?--only needs a part}; shift ;;
    --quick) ROUNDS=2 RUN_S=0.3 READ_S=0.1 STALL_S=0.5 SIZES="1e3 1e5" SOAK_ROWS=5000 SOAK_OPS=50000 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "there is no option $1" ;;
    esac
    shift
done
case $ROUNDS in '' | *[!0-9]* | 0) die "--rounds takes a whole number from 1" ;; esac
case $ONLY in '' | write | stall | read | grow | soak) ;; *) die "--only takes write, stall, read, grow or soak" ;; esac
case $(stat -f -c %T "$TMP") in
tmpfs | ramfs) die "$TMP is in memory: durable writes there say nothing. Set BENCH_DATA to a folder on a disk" ;;
esac

need_tools bench_store
wanted() { [ -z "$ONLY" ] || [ "$ONLY" = "$1" ]; }
number() { awk "BEGIN {printf \"%d\", $1}"; }
last() { tail -1 "$1" 2>/dev/null | awk '{print $1}'; }

# One measurement; appends FIELD... of its answer to FILE as a line. False when it failed.
one() { # FILE "FIELD..." ARGS...
    local file=$1 fields=$2 line f out=
    shift 2
    line=$("$BIN/bench_store" "$@" 2>"$TMP/err")
    if [ $? -ne 0 ] || [ -z "$line" ]; then
        say "failed: bench_store $*"
        sed 's/^/  /' "$TMP/err" >&2
        FAILED=1
        return 1
    fi
    for f in $fields; do out="$out $(json "$f" "$line")"; done
    echo "${out# }" >>"$file"
}

# The ratio of the last lines' first columns of two files, appended to a third.
ratio() { # OURS THEIRS TO
    [ -s "$1" ] && [ -s "$2" ] && calc "$(last "$1") / $(last "$2")" >>"$3"
}

ENGINES="samovar lmdb"
if "$BIN/bench_store" --engine sqlite --what load --rows 1 --folder "$TMP" >/dev/null 2>&1; then
    ENGINES="$ENGINES sqlite"
else
    echo "SQLite is left out: it needs the package libsqlite3-dev at build time"
fi
rm -f "$TMP"/bench.sqlite*

load() { # ENGINE SIZE FOLDER
    mkdir -p "$TMP/$3"
    one "$TMP/load.$2.$1" "rows_s seconds file_bytes" --what load --engine "$1" --rows "$(number "$2")" --folder "$TMP/$3"
}

# ---- durable writes ----

write_round() {
    local c e
    for c in 1 16 64 256; do
        for e in $ENGINES; do
            one "$TMP/write.$c.$e" "per_s p50_us p99_us cpu_us" --what write --engine "$e" --callers $c \
                --seconds "$RUN_S" --folder "$TMP/write.$e"
            [ "$e" = samovar ] || ratio "$TMP/write.$c.samovar" "$TMP/write.$c.$e" "$TMP/write.$c.to_$e"
        done
        [ $c = 1 ] || ratio "$TMP/write.$c.samovar" "$TMP/write.1.samovar" "$TMP/write.$c.to_single"
    done
    case $ENGINES in *sqlite*)
        one "$TMP/write.64.single" "per_s" --what write --engine sqlite --callers 64 --single --seconds "$RUN_S" \
            --folder "$TMP/write.sqlite"
        ratio "$TMP/write.64.samovar" "$TMP/write.64.single" "$TMP/write.64.to_sqlite_single"
        ;;
    esac
}

write_part() {
    local i c e f
    for e in $ENGINES; do load "$e" 1e5 "write.$e"; done
    for i in $(seq "$ROUNDS"); do write_round; done
    echo
    echo "durable writes of 256-byte rows with one index into 100,000 rows; one commit for all that wait"
    echo "callers | samovar/s     lmdb   sqlite | to lmdb to sqlite to 1 caller |  p50 us   p99 us | CPU us   lmdb sqlite"
    for c in 1 16 64 256; do
        f=$TMP/write.$c
        printf '%7s | %9.0f %8.0f %8.0f | %7.2f %9.2f %11.2f | %7.0f %8.0f | %6.1f %6.1f %6.1f\n' $c \
            "$(median "$f.samovar")" "$(median "$f.lmdb")" "$(median "$f.sqlite")" "$(median "$f.to_lmdb")" \
            "$(median "$f.to_sqlite")" "$(median "$f.to_single")" "$(median "$f.samovar" 2)" "$(median "$f.samovar" 3)" \
            "$(median "$f.samovar" 4)" "$(median "$f.lmdb" 4)" "$(median "$f.sqlite" 4)"
        figure "store.write.c$c.per_s" "$(median "$f.samovar")" writes/s
        figure "store.write.c$c.p50_us" "$(median "$f.samovar" 2)" us
        figure "store.write.c$c.p99_us" "$(median "$f.samovar" 3)" us
        figure "store.write.c$c.cpu_us" "$(median "$f.samovar" 4)" us
        [ $c = 1 ] || figure "store.write.c$c.ratio_to_single" "$(median "$f.to_single")" ratio
        for e in ${ENGINES#samovar }; do
            figure "store.write.c$c.${e}_per_s" "$(median "$f.$e")" writes/s
            figure "store.write.c$c.ratio_to_$e" "$(median "$f.to_$e")" ratio
            figure "store.write.c$c.${e}_cpu_us" "$(median "$f.$e" 4)" us
        done
    done
    [ -s "$TMP/write.64.single" ] || return
    printf 'sqlite with a commit for each of 64 callers: %.0f/s\n' "$(median "$TMP/write.64.single")"
    figure store.write.c64.sqlite_single_per_s "$(median "$TMP/write.64.single")" writes/s
    figure store.write.c64.ratio_to_sqlite_single "$(median "$TMP/write.64.to_sqlite_single")" ratio
}

# ---- the loop ----

stall_part() {
    local i
    [ -d "$TMP/write.samovar" ] || load samovar 1e5 write.samovar
    for i in $(seq "$ROUNDS"); do
        one "$TMP/stall" "p99_us idle_p99_us p50_us idle_p50_us max_us per_s" --what stall --callers 64 --seconds "$STALL_S" \
            --folder "$TMP/write.samovar"
    done
    echo
    printf 'a timer of 1 ms on the loop of 64 callers (%.0f writes/s) comes late by: p50 %.0f us, p99 %.0f us (idle %.0f, %.0f)\n' \
        "$(median "$TMP/stall" 6)" "$(median "$TMP/stall" 3)" "$(median "$TMP/stall" 1)" "$(median "$TMP/stall" 4)" \
        "$(median "$TMP/stall" 2)"
    figure store.loop_stall_p99_us "$(median "$TMP/stall" 1)" us
    figure store.loop_stall_p50_us "$(median "$TMP/stall" 3)" us
    figure store.loop_idle_p99_us "$(median "$TMP/stall" 2)" us
}

# ---- reads, and writes as the data grows ----

sizes_loaded=
load_sizes() {
    local size e
    [ -z "$sizes_loaded" ] || return
    sizes_loaded=1
    echo
    echo "loading   rows | samovar rows/s     lmdb   sqlite | samovar MiB     lmdb   sqlite"
    for size in $SIZES; do
        for e in $ENGINES; do load "$e" "$size" "$size.$e"; done
        printf '%14s | %14.0f %8.0f %8.0f | %11.1f %8.1f %8.1f\n' "$size" \
            $(for e in samovar lmdb sqlite; do median "$TMP/load.$size.$e"; done) \
            $(for e in samovar lmdb sqlite; do awk -v b="$(median "$TMP/load.$size.$e" 3)" 'BEGIN {print b / 1048576}'; done)
        figure "store.load.$size.rows_s" "$(median "$TMP/load.$size.samovar")" rows/s
    done
}

read_round() {
    local size what e first=${SIZES%% *}
    for what in read index scan; do
        for size in $SIZES; do
            for e in $ENGINES; do
                one "$TMP/$what.$size.$e" "us per_s" --what $what --engine "$e" --rows "$(number "$size")" --seconds "$READ_S" \
                    --warmup 0.05 --folder "$TMP/$size.$e"
                # Theirs over ours: above 1 is faster.
                [ "$e" = samovar ] || ratio "$TMP/$what.$size.$e" "$TMP/$what.$size.samovar" "$TMP/$what.$size.to_$e"
            done
            [ "$size" = "$first" ] ||
                ratio "$TMP/$what.$size.samovar" "$TMP/$what.$first.samovar" "$TMP/$what.$size.to_$first"
        done
        [ -d "$TMP/1e6.samovar" ] && ratio "$TMP/$what.1e6.samovar" "$TMP/$what.1e5.samovar" "$TMP/$what.1e6.to_1e5"
    done
}

read_part() {
    local i size what e f first=${SIZES%% *}
    load_sizes
    for i in $(seq "$ROUNDS"); do read_round; done
    echo
    echo "reads, each a transaction of its own; us"
    echo "what      rows |  samovar     lmdb   sqlite | to lmdb to sqlite | time to $first rows"
    for what in read index scan; do
        for size in $SIZES; do
            f=$TMP/$what.$size
            printf '%-5s %8s | %8.2f %8.2f %8.2f | %7.2f %9.2f | %7.2f\n' $what "$size" "$(median "$f.samovar")" \
                "$(median "$f.lmdb")" "$(median "$f.sqlite")" "$(median "$f.to_lmdb")" "$(median "$f.to_sqlite")" \
                "$(median "$f.to_$first")"
            figure "store.$what.$size.us" "$(median "$f.samovar")" us
            for e in ${ENGINES#samovar }; do
                figure "store.$what.$size.${e}_us" "$(median "$f.$e")" us
                figure "store.$what.$size.ratio_to_$e" "$(median "$f.to_$e")" ratio
            done
            [ "$size" = "$first" ] || figure "store.$what.$size.ratio_to_$first" "$(median "$f.to_$first")" ratio
        done
        [ -s "$TMP/$what.1e6.to_1e5" ] && figure "store.$what.1e6.ratio_to_1e5" "$(median "$TMP/$what.1e6.to_1e5")" ratio
    done
}

grow_part() {
    local i size e f first=${SIZES%% *}
    load_sizes
    for i in $(seq "$ROUNDS"); do
        for size in $SIZES; do
            for e in $ENGINES; do
                one "$TMP/grow.$size.$e" "per_s p99_us" --what write --update --engine "$e" --callers 64 \
                    --rows "$(number "$size")" --seconds "$RUN_S" --folder "$TMP/$size.$e"
                [ "$e" = samovar ] || ratio "$TMP/grow.$size.samovar" "$TMP/grow.$size.$e" "$TMP/grow.$size.to_$e"
            done
            [ "$size" = "$first" ] ||
                ratio "$TMP/grow.$size.samovar" "$TMP/grow.$first.samovar" "$TMP/grow.$size.to_$first"
        done
    done
    echo
    echo "64 callers that replace random rows"
    echo "     rows | samovar/s     lmdb   sqlite | to lmdb to sqlite | to $first rows |  p99 us"
    for size in $SIZES; do
        f=$TMP/grow.$size
        printf '%9s | %9.0f %8.0f %8.0f | %7.2f %9.2f | %11.2f | %7.0f\n' "$size" "$(median "$f.samovar")" \
            "$(median "$f.lmdb")" "$(median "$f.sqlite")" "$(median "$f.to_lmdb")" "$(median "$f.to_sqlite")" \
            "$(median "$f.to_$first")" "$(median "$f.samovar" 2)"
        figure "store.grow.$size.per_s" "$(median "$f.samovar")" writes/s
        figure "store.grow.$size.p99_us" "$(median "$f.samovar" 2)" us
        for e in ${ENGINES#samovar }; do figure "store.grow.$size.ratio_to_$e" "$(median "$f.to_$e")" ratio; done
        [ "$size" = "$first" ] || figure "store.grow.$size.ratio_to_$first" "$(median "$f.to_$first")" ratio
    done
}

# ---- a long life ----

soak_part() {
    mkdir "$TMP/soak"
    one "$TMP/soak.out" "ratio file_bytes live_bytes per_s" --what soak --rows "$SOAK_ROWS" --ops "$SOAK_OPS" --callers 64 \
        --folder "$TMP/soak" || return
    echo
    printf 'soak: %s writes and deletes of 40 to 2,048 bytes over %s rows: file %.1f MiB, live data %.1f MiB, ratio %.2f (%.0f/s)\n' \
        "$SOAK_OPS" "$SOAK_ROWS" $(awk '{print $2 / 1048576, $3 / 1048576, $1, $4}' "$TMP/soak.out")
    figure store.soak.file_to_live "$(last "$TMP/soak.out")" ratio
}

machine
echo "data in $TMP ($(stat -f -c %T "$TMP")); medians of $ROUNDS rounds"
wanted write && write_part
wanted stall && stall_part
wanted read && read_part
wanted grow && grow_part
wanted soak && soak_part

value() { awk -v n="$1" '$2 == n {v = $3} END {print v == "" ? "nan" : v}' "$TMP/figures" 2>/dev/null || echo nan; }
echo
echo "budgets:"
wanted write && budget "64 callers against one" "$(value store.write.c64.ratio_to_single)" '>=' 5 x
wanted write && budget "64 callers: p99" "$(value store.write.c64.p99_us)" '<=' 10000 us
wanted stall && budget "loop stall p99 while 64 callers write" "$(value store.loop_stall_p99_us)" '<=' 1000 us
wanted read && [ -d "$TMP/1e6.samovar" ] &&
    budget "read by index of 1,000,000 rows against 100,000" "$(value store.index.1e6.ratio_to_1e5)" '<=' 1.5 x
wanted soak && budget "file against live data after a soak" "$(value store.soak.file_to_live)" '<=' 2 x

print_figures
exit "$FAILED"
