#!/usr/bin/env bash
# A disk that fails under a running router: answers that promise durability are refused in words, everything
# else goes on, and when the disk is well again so is the router, in the same process.
# Usage: BIN=build/asan/bin PRELOAD=build/asan/lib/fault_preload.so bash tests/fault/router.sh
. "$(dirname "$0")/../integration/lib.sh"
: "${PRELOAD:?PRELOAD must name the library}"
export SAMOVAR_CONFIG=$WORK/samovar.yaml
cat > "$SAMOVAR_CONFIG" <<END
router: {demo_delay_ms: 0}
ledger: {durability: strict}
END
page=$WORK/page
arm() { "$BIN/fault_arm" "$page" "$@"; }
usage() { "$BIN/samovar" usage -o json | jq ".total.requests"; }
sums_agree() { "$BIN/samovar" usage --check -o json | jq -e 'length > 0 and all(.differences == 0 and .days > 0)' >/dev/null; }
served() { [ "$(post "$(chat demo hi)" | head -1)" = 200 ]; }
ask() { # ask: one answer; counts it in SERVED, or its status in REFUSED
    local status
    status=$(post "$(chat demo hi)" -D "$WORK/head" | head -1)
    if [ "$status" = 200 ]; then SERVED=$((SERVED + 1)); else REFUSED=$status; fi
}
mkdir -p "$SAMOVAR_DATA/store"
arm new
platform_up LD_PRELOAD="$PRELOAD" ASAN_OPTIONS=verify_asan_link_order=0 FAULT_FOLDER="$SAMOVAR_DATA/store" FAULT_PAGE="$page"
pid=$(child_pid router/1)
SERVED=0
for _ in 1 2 3 4 5; do ask; done
check "answers while the disk is well" same "$SERVED $(usage)" "5 5"

for error in EIO full; do
    want=503 code=store.unavailable
    [ $error = full ] && want=507 code=store.full
    REFUSED=''
    arm $error
    for _ in 1 2 3 4; do ask; done
    check "$error: refused with $want" same "$REFUSED" $want
    check "$error: says when to come back" grep -qi '^retry-after: [1-9]' "$WORK/head"
    check "$error: in the stable words" has "$(post "$(chat demo hi)")" $code
    check "$error: reads go on" same "$(usage)" "$SERVED"
    check "$error: models are listed" same "$(curl -s -o /dev/null -w '%{http_code}' "$URL/v1/models")" 200
    check "$error: other actors answer" eval '"$BIN/samovar" ps -o json | jq -e ". | length > 2" >/dev/null'
    check "$error: it was the disk ($(arm off) calls)" test "$(arm off)" -gt 0
    check "$error: well again" until_ok 10 served
    SERVED=$((SERVED + 1))
    for _ in 1 2 3 4 5; do ask; done
    check "$error: in the same process" same "$(child_pid router/1)" "$pid"
    total=$(usage)
    check "$error: no answer is missing ($SERVED given, $total counted)" test "$total" -ge "$SERVED"
    check "$error: sums agree with rows" sums_agree
    SERVED=$total
done

# One call after the other fails, once.
for ((n = 1; n <= 30; n++)); do
    arm EIO $n 1
    ask
    ask
    [ "$(arm off)" = 1 ] || until_ok 5 served
done
until_ok 10 served
total=$(usage)
check "single errors: no answer is missing ($SERVED given, $total counted)" test "$total" -ge "$SERVED"
check "single errors: sums agree with rows" sums_agree
check "single errors: in the same process" same "$(child_pid router/1)" "$pid"
check "stops" platform_down
check "and is whole afterwards" sums_agree
