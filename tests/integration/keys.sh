# keys.sh - the root key of a running platform: made once, handed to whoever keeps something and to nobody
# else, changed while processes and the command itself are killed, refused when it is wrong or missing.
. "$(dirname "$0")/lib.sh"

export SAMOVAR_SUPERVISOR_RESTARTS=1000 # every kill here is one
KEY=$SAMOVAR_STORE_ROOT_KEY_FILE
STORE=$SAMOVAR_DATA/store/router-1
key_hex() { sed -n 's/^samovar-root-key 1 //p' "$1"; }
key_raw() { key_hex "$1" | sed 's/../\\x&/g'; }
random_key() { echo "samovar-root-key 1 $(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')" > "$1"; chmod 600 "$1"; }
router_ready() { [ "$("$BIN/samovar" ps -o json | jq -r '.[] | select(.name == "router/1") | .state')" = ready ]; }
answers() { has "$(post "$(chat demo hello)")" 200; }
# The router starts anew, with whatever key is the right one now.
router_again() {
    local pid; pid=$(child_pid router/1)
    kill -9 "$pid"
    until_ok 5 gone "$pid"
    until_ok 20 router_ready
}
# Neither the text of a key nor its bytes are in any file of the data folder or in the log.
nowhere() {
    local text raw; text=$(key_hex "$1"); raw=$(key_raw "$1")
    [ ${#text} = 64 ] || return 1
    ! grep -rqF "$text" "$SAMOVAR_DATA" "$WORK/up.log" && ! LC_ALL=C grep -rqaP "$raw" "$SAMOVAR_DATA"
}
# refused NAME: `samovar up` ends by itself with a configuration error; its words are in $WORK/refused.
refused() {
    timeout 60 "$BIN/samovar" up --log json > "$WORK/refused" 2>&1
    same $? 78
}

# ---- made once, in one place

platform_up
check "a root key was made, for its owner alone" same "$(stat -c %a "$KEY")" 600
check "the log says where and why to keep it" has "$(cat "$WORK/up.log")" "a root key was made"
check "the router's store is ready" has "$("$BIN/samovar" store keys)" "router/1"
check "the key is not in the data folder or the log" nowhere "$KEY"
for name in broker/1 auth/1 mail/1 cache/1 workspace/1 router/1 edge/1; do
    pid=$(child_pid $name)
    check "$name: not in its arguments or environment" \
        hasnt "$(tr '\0' '\n' < /proc/$pid/environ; tr '\0' ' ' < /proc/$pid/cmdline)" "$(key_hex "$KEY")"
    check "$name: has no descriptor of it" hasnt "$(ls -l /proc/$pid/fd)" samovar-root-key
done
check "only who keeps something was given one" \
    same "$(for n in broker/1 cache/1 edge/1; do tr '\0' '\n' < "/proc/$(child_pid $n)/environ"; done | grep -c ROOT_KEY_FD)" 0

# ---- rotation, and another root key while everything runs

"$BIN/samovar" store rotate > "$WORK/out" 2>&1
check "rotate answers with a newer key" has "$(cat "$WORK/out")" "router/1                        2"
cp "$KEY" "$WORK/first.key"
"$BIN/samovar" store rekey > "$WORK/out" 2>&1; rc=$?
check "rekey succeeds" same $rc 0
check "the key is another one" hasnt "$(key_hex "$KEY")" "$(key_hex "$WORK/first.key")"
check "the former one is kept beside it" cmp -s "$WORK/first.key" "$(ls "$KEY".old-*)"
check "nothing else is left there" same "$(ls "$KEY"*| wc -l)" 2
check "the router starts again with it" router_again
check "and answers" answers
random_key "$WORK/mine.key"
"$BIN/samovar" store rekey --new-key-file "$WORK/mine.key" > "$WORK/out" 2>&1; rc=$?
check "rekey takes a given key" same "$rc $(cat "$KEY")" "0 $(cat "$WORK/mine.key")"
"$BIN/samovar" store rekey --new-key-file "$WORK/mine.key" > "$WORK/out" 2>&1; rc=$?
check "the same again changes nothing" has "$rc $(cat "$WORK/out")" "0 samovar store: this is the root key already"
check "no change is under way" same "$(ls "$KEY.new" 2>/dev/null)" ""

# ---- the command is killed at any point; the router starts in between

killed=0
for i in $(seq 12); do
    "$BIN/samovar" store rekey > "$WORK/out" 2>&1 & pid=$!
    read -rt "0.$(printf %03d $((RANDOM % 90 + 5)))" <> <(:) || true
    kill -9 $pid 2>/dev/null && killed=$((killed + 1))
    wait $pid 2>/dev/null
    if [ $((i % 3)) = 0 ]; then check "killed $i: the router starts" router_again; fi
done
check "the command was killed in the middle at times" test $killed -gt 0
"$BIN/samovar" store rekey > "$WORK/out" 2>&1; rc=$?
check "run again, it finishes" same "$rc $(ls "$KEY.new" 2>/dev/null)" "0 "
check "the router starts again" router_again

# ---- the router is killed while it is asked

for i in $(seq 6); do
    pid=$(child_pid router/1)
    "$BIN/samovar" store rekey > "$WORK/out" 2>&1 & cli=$!
    read -rt "0.$(printf %03d $((RANDOM % 90 + 5)))" <> <(:) || true
    kill -9 "$pid"
    wait $cli
    until_ok 20 router_ready
done
check "run again, it finishes" "$BIN/samovar" store rekey > "$WORK/out" 2>&1
check "the router starts again" router_again
check "the store is in order" has "$("$BIN/samovar" store check)" ok
check "two changes at once are refused" eval \
    'exec 9< "$SAMOVAR_DATA"; flock -x 9; out=$("$BIN/samovar" store rekey 2>&1); exec 9<&-; has "$out" "Another samovar store rekey"'
platform_down
check "the platform stopped" same "$UP_EXIT" 0

# ---- a stopped platform

cp "$KEY" "$WORK/before.key"
"$BIN/samovar" store rekey > "$WORK/out" 2>&1; rc=$?
check "rekey of a stopped platform" same $rc 0
cp "$KEY" "$WORK/after.key"
# As if it had been killed before the last step.
cp "$WORK/before.key" "$KEY"; cp "$WORK/after.key" "$KEY.new"
platform_up
check "it starts in the middle of a change" answers
"$BIN/samovar" store rekey > "$WORK/out" 2>&1; rc=$?
check "and finishes it" same "$rc $(cat "$KEY")" "0 $(cat "$WORK/after.key")"
check "no key is in the data folder or the log" eval 'for k in "$KEY"*; do nowhere "$k" || exit 1; done'
platform_down

# A router that was handed the former key just before a change ended finds the present one.
exec 7< "$WORK/before.key"
SAMOVAR_ROOT_KEY_FD=7 SAMOVAR_INSTANCE=1 timeout 2 "$BIN/samovar-router" > "$WORK/out" 2>&1; rc=$?
exec 7<&-
check "a router with the former key starts" same "$rc" 124

# ---- refused

sum=$(sha256sum < "$STORE/data.mdb")
random_key "$KEY"
check "a wrong key: exit code 78" refused
check "with a clear line" has "$(cat "$WORK/refused")" "The root key does not open the keys of "
check "that names the key it needs" has "$(cat "$WORK/refused")" "$(basename "$(ls "$KEY".old-* | head -1)" | sed 's/.*old-.*/root key /')"
check "nothing was written" same "$(sha256sum < "$STORE/data.mdb")" "$sum"
rm "$KEY"
check "a missing key: exit code 78" refused
check "with a clear line" has "$(cat "$WORK/refused")" "put it back as $KEY"
check "no other key was made" test ! -e "$KEY"
cp "$WORK/after.key" "$KEY"; chmod 644 "$KEY"
check "a key that others may read: exit code 78" refused
check "with the way out" has "$(cat "$WORK/refused")" "chmod 600 $KEY"
chmod 600 "$KEY"; cp "$KEY" "$SAMOVAR_DATA/root.key"
SAMOVAR_STORE_ROOT_KEY_FILE=$SAMOVAR_DATA/root.key
check "a key in the data folder: exit code 78" refused
check "with the reason" has "$(cat "$WORK/refused")" "inside of the data folder"
rm "$SAMOVAR_DATA/root.key"
SAMOVAR_STORE_ROOT_KEY_FILE=$KEY
platform_up
check "the right key starts it" answers
platform_down
