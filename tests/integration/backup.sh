#!/usr/bin/env bash
# Backup and restore with real processes: under load, running and stopped, damaged in every way, killed in the middle.
. "$(dirname "$0")/lib.sh"
tool provider_sim
cat > "$WORK/samovar.yaml" <<YAML
router: {providers: [{name: sim, base_url: "http://127.0.0.1:$TOOL_PORT/v1"}]}
supervisor: {restarts: 1000}
ledger: {durability: strict}
YAML
export SAMOVAR_CONFIG=$WORK/samovar.yaml
B=$WORK/backups STORE=$SAMOVAR_DATA/store
sam() { "$BIN/samovar" "$@"; }
rows() { sam store dump router/1 --table rows 2>>"$WORK/tools.log" | wc -l; }
sound() { [ "$(sam store check router/1 -o json | jq '.[0].problems')" = 0 ]; }
ask() { [ "$(post "$(chat sim,tokens=2 hi)" | head -1)" = 200 ]; }
spend() { local i; for ((i = 0; i < $1; i++)); do ask || return 1; done; }
ROUTER='(.files[] | select(.service == "router"))' # its entry in a manifest
newest() { ls -d "$B"/*Z | tail -1; }
fails_with() { # fails_with WORDS COMMAND...: ends with 1 and says so
    local words=$1 out rc; shift
    out=$("$@" 2>&1 </dev/null); rc=$?
    [ $rc -eq 1 ] || { echo "  exit code $rc: $out" >&3; return 1; }
    has "$out" "$words"
}
mode() { stat -c %a "$1"; }
kill_router() { # kill_router [SIGNAL]: the router's process; nothing when it is just being started again
    local pid; pid=$(child_pid router/1)
    [ "${pid:-0}" -gt 0 ] && kill "${1:--9}" "$pid"
}

check "nothing to back up yet" fails_with "There is no environment" sam backup "$B"
platform_up
check "ten requests" spend 10
check "ten rows" same "$(rows)" 10

# ---- hot, under load ----
"$BIN/http_load" --port "$PORT" --path /v1/chat/completions --connections 8 --seconds 4 --warmup 0 --timeout-ms 8000 \
    --body "$(chat sim,tokens=2 hi)" > "$WORK/load" 2>>"$WORK/tools.log" &
LOAD=$!
for i in 1 2 3; do check "backup $i under load" sam backup "$B" >"$WORK/out"; done
wait $LOAD
check "the load went on ($(jq -c '{requests,errors}' "$WORK/load"))" jq -e '.requests > 20 and .errors == 0' "$WORK/load" >/dev/null
check "it says what is missing" has "$(cat "$WORK/out")" "The root key is not part of a backup"
check "three finished backups" same "$(ls "$B" | grep -c 'Z$')" 3
check "no leftovers" same "$(ls "$B" | grep -c partial)" 0
check "folder 0700" same "$(mode "$(newest)")" 700
check "file 0600" same "$(mode "$(newest)/router-1.mdb")" 600
check "manifest: bytes" same "$(jq "$ROUTER.bytes" "$(newest)/MANIFEST.json")" "$(stat -c %s "$(newest)/router-1.mdb")"
check "manifest: what it is" same "$(jq -c "[.format] + ($ROUTER | [.service, .instance, .version])" "$(newest)/MANIFEST.json")" '[1,"router",1,2]'
check "the root key is not in it" same "$(grep -rlaF "$(cut -d' ' -f3 "$WORK/root.key")" "$B" | wc -l)" 0

# ---- into the running platform ----
total=$(rows)
check "keep: none" fails_with "--keep takes" sh -c '"$0" backup "$1" --keep 0 || [ $? -ne 2 ] || exit 1' "$BIN/samovar" "$B"
check "backup with keep" sam backup "$B" --keep 2 >/dev/null
check "two are left" same "$(ls "$B" | grep -c 'Z$')" 2
check "more requests" spend 5
check "they are counted" same "$(rows)" $((total + 5))
check "without --yes nothing happens" fails_with "--yes" sam restore "$B"
check "nothing did" same "$(rows)" $((total + 5))
check "no copy is left" test ! -e "$STORE/router-1.restore"
pid=$(child_pid router/1)
check "restore into the running platform" sam restore "$B" --yes >"$WORK/out"
check "it says where the former data is" has "$(cat "$WORK/out")" "$STORE/router-1.before-restore"
check "the state of the backup" same "$(rows)" "$total"
check "it is sound" sound
check "the router was not restarted" same "$(child_pid router/1)" "$pid"
check "it goes on" spend 3
check "and counts" same "$(rows)" $((total + 3))
check "the former data is sound" same "$("$BIN/samovar-router" store verify "$STORE/router-1.before-restore" | jq .rows | head -1 | grep -c '^[0-9]')" 1
check "sums agree with rows" eval 'sam call router.usage_check >/dev/null'

# ---- refusals: each names what is wrong and changes nothing ----
state() { echo "$(rows) $(ls "$STORE" | tr '\n' ' ')"; }
before=$(state)
broken() { rm -rf "$WORK/broken"; cp -r "$(newest)" "$WORK/broken"; }
rehash() { # the manifest of the damaged file fits its bytes: only looking at the data finds it
    local f=$WORK/broken/router-1.mdb
    jq -c --arg h "$(b2sum -l 256 "$f" | cut -d' ' -f1)" --argjson n "$(stat -c %s "$f")" \
        "$ROUTER |= (.blake2b_256 = \$h | .bytes = \$n)" "$WORK/broken/MANIFEST.json" > "$WORK/m" && mv "$WORK/m" "$WORK/broken/MANIFEST.json"
}
edit() { jq -c "$1" "$WORK/broken/MANIFEST.json" > "$WORK/m" && mv "$WORK/m" "$WORK/broken/MANIFEST.json"; }
poke() { printf '%s' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }
restore_broken() { sam restore "$WORK/broken" --yes; }
size=$(stat -c %s "$(newest)/router-1.mdb")
broken; poke "$WORK/broken/router-1.mdb" $((size / 2)) XXXXXXXX
check "a changed byte" fails_with "its hash differs" restore_broken
broken; truncate -s $((size - 4096)) "$WORK/broken/router-1.mdb"
check "a cut file" fails_with "its size differs" restore_broken
broken; rm "$WORK/broken/router-1.mdb"
check "a missing file" fails_with "cannot be read" restore_broken
broken; truncate -s $((size / 2 / 4096 * 4096)) "$WORK/broken/router-1.mdb"; rehash
check "a cut file with a manifest that fits" fails_with "samovar:" restore_broken
broken; head -c "$size" /dev/urandom > "$WORK/broken/router-1.mdb"; rehash
check "noise with a manifest that fits" fails_with "samovar:" restore_broken
broken; : > "$WORK/broken/router-1.mdb"; rehash
check "an empty file" fails_with "samovar:" restore_broken
for at in $(seq 0 $((size / 12)) $((size - 9))); do
    broken; poke "$WORK/broken/router-1.mdb" "$at" 'ZZZZZZZZ'; rehash
    restore_broken >"$WORK/out" 2>&1; rc=$?
    check "damage at $at of $size is refused or harmless (exit $rc)" eval '[ $rc -eq 1 ] || { [ $rc -eq 0 ] && sound; }'
done
check "it still serves" ask
before=$(state)
broken; edit '.format = 2'
check "a manifest of another format" fails_with "format 2" restore_broken
broken; edit "$ROUTER.service = \"../../etc\""
check "a manifest with a path" fails_with "not a service's name" restore_broken
broken; edit "$ROUTER.file = \"other.mdb\""
check "a manifest with another file" fails_with "is not SERVICE-N.mdb" restore_broken
broken; edit '.files += .files'
check "an environment twice" fails_with "twice" restore_broken
broken; echo '{"format":1' > "$WORK/broken/MANIFEST.json"
check "half a manifest" fails_with "message.malformed" restore_broken
broken; rm "$WORK/broken/MANIFEST.json"
check "no manifest" fails_with "There is no finished backup" restore_broken
broken; edit "$ROUTER |= (.service = \"edge\" | .file = \"edge-1.mdb\")"; mv "$WORK/broken/router-1.mdb" "$WORK/broken/edge-1.mdb"
check "a service that keeps nothing" fails_with "samovar-edge" restore_broken
broken; edit "$ROUTER |= (.service = \"nobody\" | .file = \"nobody-1.mdb\")"; mv "$WORK/broken/router-1.mdb" "$WORK/broken/nobody-1.mdb"
check "a service that does not exist" fails_with "cannot be run" restore_broken
check "an environment that is not in it" fails_with "is not in the backup" sam restore "$B" router/7 --yes
mv "$WORK/root.key" "$WORK/root.key.away"
printf 'samovar-root-key 1 %064d\n' 1 > "$WORK/root.key"; chmod 600 "$WORK/root.key"
check "another root key" fails_with "store.wrong_key" sam restore "$B" --yes
mv "$WORK/root.key.away" "$WORK/root.key"
check "none of them changed anything" same "$(state)" "$before"

# ---- killed in the middle ----
pid=$(child_pid router/1)
kill -STOP "$pid" # what waits for it waits until it is let go
sam backup "$B" >/dev/null 2>&1 & cli=$!
check "a backup is under way" until_ok 5 eval 'ls "$B"/*.partial/router-1.mdb'
kill -9 $cli; wait $cli 2>/dev/null
kill -CONT "$pid"
check "a killed backup leaves a partial folder" eval 'ls -d "$B"/*.partial >/dev/null'
check "which is no backup" same "$(ls "$B" | grep -c 'Z$')" 2
check "the next one works" until_ok 15 sam backup "$B"
check "and removes it" same "$(ls "$B" | grep -c partial)" 0

pid=$(child_pid router/1)
kill -STOP "$pid"
sam backup "$B" >"$WORK/out" 2>&1 & cli=$!
check "another one is under way" until_ok 5 eval 'ls "$B"/*.partial/router-1.mdb'
kill -9 "$pid"
wait $cli; rc=$?
check "a backup whose router dies fails ($(cat "$WORK/out"))" same $rc 1
check "and leaves nothing" same "$(ls "$B" | grep -c partial)" 0
check "the router is back" until_ok 10 ask
check "its store is sound" until_ok 5 sound

count=$(rows)
pid=$(child_pid router/1)
kill -STOP "$pid"
sam restore "$B" --yes >/dev/null 2>&1 & cli=$!
check "a restore is under way" until_ok 20 test -s "$STORE/router-1.restore/verified"
kill -9 $cli; wait $cli 2>/dev/null
kill -CONT "$pid"
check "a killed restore leaves a sound store" until_ok 10 sound
check "the next restore works" until_ok 20 sam restore "$B" --yes
check "and leaves no copy" test ! -e "$STORE/router-1.restore"

pid=$(child_pid router/1)
kill -STOP "$pid"
sam restore "$B" --yes >"$WORK/out" 2>&1 & cli=$!
check "a restore waits for its router" until_ok 20 test -s "$STORE/router-1.restore/verified"
kill -9 "$pid"
wait $cli; rc=$? # its program does it while nobody has it open, or the next router has it open already
check "a restore whose router dies tells the truth (exit $rc)" eval '[ $rc -eq 0 ] && grep -q ", epoch" "$WORK/out" || grep -q "not restored" "$WORK/out"'
check "the router is back with sound data" until_ok 10 sound
check "no copy is left" test ! -e "$STORE/router-1.restore"

good=0
for i in 1 2 3 4 5 6; do
    sam restore "$B" --yes >/dev/null 2>&1 & cli=$!
    until_ok 20 test -s "$STORE/router-1.restore/verified"
    read -rt "0.0$((i * 7))" <> <(:)
    kill_router
    wait $cli
    until_ok 15 sound && good=$((good + 1))
done
check "kill -9 around the exchange, six times: sound each time" same $good 6
check "a last restore works" until_ok 20 sam restore "$B" --yes

# ---- stopped ----
check "it serves again" until_ok 15 ask
check "a backup" sam backup "$B" >/dev/null
count=$(rows)
check "five requests" spend 5
check "stop" platform_down
check "rows of a stopped platform" same "$(rows)" $((count + 5))
check "backup of a stopped platform" sam backup "$B" >/dev/null
cp -r "$(newest)" "$WORK/five"
check "restore of an older one" sam restore "$(ls -d "$B"/*Z | tail -2 | head -1)" --yes >/dev/null
check "its rows" same "$(rows)" "$count"
check "restore of the newest" sam restore "$B" router/1 --yes >/dev/null
check "its rows" same "$(rows)" $((count + 5))
head -c 8192 /dev/urandom > "$STORE/router-1/data.mdb"
check "a damaged environment is seen" fails_with "samovar" sam store check router
check "and can be replaced" sam restore "$WORK/five" --yes >/dev/null
check "its rows" same "$(rows)" $((count + 5))
rm -rf "$STORE"
check "a lost one, too" sam restore "$WORK/five" --yes >/dev/null
check "its rows" same "$(rows)" $((count + 5))
small() { # small FOLDER COMMAND...: with a file system of 64 KiB over the folder, where that is allowed
    unshare -rm bash -c 'mount -t tmpfs -o size=64k none "$0" && "$@"; rc=$?; ls -A "$0" > "${0%/*}/left"; exit $rc' "$@"
}
mkdir "$WORK/full"
if small "$WORK/full" true 2>/dev/null; then
    check "no room for a backup" fails_with "store.full" small "$WORK/full" "$BIN/samovar" backup "$WORK/full"
    check "nothing is left of it" same "$(cat "$WORK/left")" ""
    check "no room for a restore" fails_with "store.full" small "$STORE" "$BIN/samovar" restore "$WORK/five" --yes
    check "nothing is left of it" same "$(cat "$SAMOVAR_DATA/left")" ""
else
    echo "skip no room: mounting is not allowed here"
fi
platform_up
check "the platform starts from it" same "$(rows)" $((count + 5))
check "and serves" ask
check "clean stop" platform_down
check "no sanitizer report" hasnt "$(grep -aE 'Sanitizer|runtime error' "$WORK/up.log" "$WORK/tools.log")" "rror"
