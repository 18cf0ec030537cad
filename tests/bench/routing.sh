#!/bin/bash
# routing.sh - how a model is chosen, without any provider: the labelled prompts of tests/data/prompts through
# the classifier and the planner. How often the task is found, what the choices cost and how many suffice beside
# always-cheap, always-strong and random, and how long choosing takes. Reproducible: nothing but time varies.
. "$(dirname "$0")/common.bash"

HALF=test ROUNDS=2000 SEED=1

usage() {
    cat <<'END'
./dev bench routing [--half tune|test] [--seed N] [--quick]
  --half H   which half of the prompts: rules and weights were set with tune, test is for telling [test]
  --seed N   of the random choice [1]
  --quick    fewer repetitions of what is timed
END
}

while [ $# -gt 0 ]; do
    case $1 in
    --half) HALF=${2:?--half needs tune or test}; shift ;;
    --seed) SEED=${2:?--seed needs a number}; shift ;;
    --quick) ROUNDS=200 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "there is no option $1" ;;
    esac
    shift
done
case $HALF in tune | test) ;; *) die "--half takes tune or test" ;; esac
case $SEED in '' | *[!0-9]*) die "--seed takes a whole number" ;; esac

need_tools bench_routing
ask() { # WHAT
    "$BIN/bench_routing" --what "$1" --half "$HALF" --seed "$SEED" --rounds "$ROUNDS" \
        --models "$BENCH_ROOT/actors/router/models.json" --prompts "$BENCH_ROOT/tests/data/prompts" \
        >"$TMP/$1" || die "bench_routing --what $1 failed"
}

classify_part() {
    ask classify
    echo "tasks found, $HALF half of the prompts:"
    while read -r line; do
        local task n right
        task=$(json task "$line") n=$(json prompts "$line") right=$(json right "$line")
        printf '  %-10s %3d of %3d  %5.1f %%\n' "$task" "$right" "$n" "$(calc "100 * $right / $n")"
        figure "routing.task.$task" "$(calc "100 * $right / $n")" percent
        [ "$task" = all ] || continue
        figure routing.complexity.right "$(calc "100 * $(json level_right "$line") / $n")" percent
        printf '  complexity low, medium or high as labelled: %.1f %%; at most one beside: %.1f %%\n' \
            "$(calc "100 * $(json level_right "$line") / $n")" "$(calc "100 * $(json level_near "$line") / $n")"
        printf '  mean complexity of low %s, medium %s, high %s\n' "$(json low "$line")" "$(json medium "$line")" \
            "$(json high "$line")"
    done <"$TMP/classify"
}

curve_part() {
    local line policy quality cost enough
    ask curve
    echo
    echo "cost of 1,000 such prompts, and how many were answered by a model of a class that suffices:"
    printf '  %-22s %12s %12s\n' policy USD sufficient
    while read -r line; do
        policy=$(json policy "$line") quality=$(json quality "$line")
        cost=$(json cost_per_1000 "$line") enough=$(json sufficient "$line")
        [ "$quality" = -1 ] || policy="$policy, quality $quality"
        printf '  %-22s %12.3f %10.1f %%\n' "$policy" "$cost" "$(calc "100 * $enough")"
        policy=$(printf '%s' "$policy" | tr -s ', ' '.')
        figure "routing.$policy.cost" "$cost" usd
        figure "routing.$policy.sufficient" "$(calc "100 * $enough")" percent
    done <"$TMP/curve"
}

time_part() {
    local line name
    ask time
    echo
    echo "time, the least of nine runs:"
    while read -r line; do
        # json stops at a comma, names have some
        name=$(printf '%s\n' "$line" | sed 's/.*"time":"\([^"]*\)".*/\1/')
        printf '  %-34s %10.2f us\n' "$name" "$(json us "$line")"
        figure "routing.us.$(printf '%s' "$name" | tr -d ',' | tr ' ' '.')" "$(json us "$line")" us
    done <"$TMP/time"
}

classify_part
curve_part
time_part
echo
echo "budgets:"
budget "classifying a prompt" "$(value routing.us.classify.a.prompt)" '<=' 1000 us
budget "classifying 1 MiB" "$(value routing.us.classify.1.MiB)" '<=' 1000 us
budget "a named model at one provider" "$(value routing.us.named.1.provider)" '<=' 5 us
budget "auto over 64 providers with 100 models each" "$(value routing.us.auto.64.providers.100.models)" '<=' 300 us
print_figures
exit "$FAILED"
