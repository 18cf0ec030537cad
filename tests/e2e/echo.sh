#!/usr/bin/env bash
# The example actors in C and Node.js, with keys, as docs/examples describes them.
. "$(dirname "$0")/../integration/lib.sh"
cd "$ROOT/docs/examples/echo-node"
[ -x node_modules/.bin/node ] || npm ci --no-audit --no-fund --loglevel=error || exit 1
platform_up
echo_ready() { "$BIN/samovar" call echo.ping '{}' 2>&1 | grep -qv service.unknown && "$BIN/samovar" call bus.services '{}' | grep -q '"echo"'; }
no_echo() { ! "$BIN/samovar" call bus.services '{}' | grep -q '"echo"'; }

"$BIN/samovar" keys new echo > "$WORK/keys" || exit 1
check "keys new prints three lines" same "$(grep -c '^export SAMOVAR_\|^SAMOVAR_' "$WORK/keys")" 3
check "the key file is private" same "$(stat -c %a "$SAMOVAR_DATA/keys/echo.key")" 600
check "a second key of the same name is refused" has "$("$BIN/samovar" keys new echo 2>&1)" "echo"
mapfile -t KEYS < <(grep ^SAMOVAR_ "$WORK/keys")

exercise() {
    local what=$1
    check "$what: registered" until_ok 10 echo_ready
    check "$what: say" same "$("$BIN/samovar" call echo.say '{"text":"hello"}' | jq -rc '.text + " " + .caller')" "hello operator"
    count=$("$BIN/samovar" call echo.count '{"to":1000}' | jq -s 'length, (map(.n) | add)' | tr '\n' ' ')
    check "$what: a stream of 1000 items past the window" same "$count" "1001 501500 "
    bad=$("$BIN/samovar" call echo.say '{"text":7}' 2>&1)
    check "$what: a wrong type is named" has "$bad" "text"
}

env "${KEYS[@]}" "$BIN/example_echo" 2>"$WORK/echo-c.log" & actor=$!; PIDS+=($actor)
exercise C
kill -TERM $actor
check "C: leaves cleanly" until_ok 5 gone $actor
check "C: gone from the bus" until_ok 5 no_echo

env "${KEYS[@]}" node_modules/.bin/node echo.mjs > "$WORK/echo-node.log" 2>&1 & actor=$!; PIDS+=($actor)
exercise Node
kill -9 $actor
check "Node: kill -9 is noticed at once" until_ok 3 no_echo

cp echo.mjs "$WORK/liar.mjs"; sed -i "s/new Bus('echo'/new Bus('router'/; s#'./bus.mjs'#'$PWD/bus.mjs'#" "$WORK/liar.mjs"
liar=$(env "${KEYS[@]}" timeout 10 node_modules/.bin/node "$WORK/liar.mjs" 2>&1)
check "a key for echo that says HELLO as router is refused" has "$liar" "bus.identity"
check "the router still serves" same "$("$BIN/samovar" call router.ping '{}' | jq -r 'has("uptime_ms")')" true
