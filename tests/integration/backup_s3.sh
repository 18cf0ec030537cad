#!/usr/bin/env bash
# Scheduled backups and copies in an S3-compatible store: kept over restarts, with a store that fails in every way.
. "$(dirname "$0")/lib.sh"
B=$WORK/backups STORE=$SAMOVAR_DATA/store SECRET=very-secret-0123456789
sam() { "$BIN/samovar" "$@"; }
fails_with() { # fails_with CODE WORDS COMMAND...
    local code=$1 words=$2 out rc; shift 2
    out=$("$@" 2>&1 </dev/null); rc=$?
    [ $rc -eq "$code" ] || { echo "  exit code $rc: $out" >&3; return 1; }
    has "$out" "$words"
}
sim() { curl -s "http://127.0.0.1:$S3/_$1"; }
finished() { ls "$B" 2>/dev/null | grep -c 'Z$'; }
copies() { sim objects | grep -c 'MANIFEST.json$'; }
tool s3_sim --bucket attic --region eu-test-1 --secret "$SECRET" --page 2
S3=$TOOL_PORT
tool provider_sim
cat > "$WORK/samovar.yaml" <<YAML
router: {providers: [{name: sim, base_url: "http://127.0.0.1:$TOOL_PORT/v1"}]}
ledger: {durability: strict}
supervisor: {stop_ms: 1s}
YAML
export SAMOVAR_CONFIG=$WORK/samovar.yaml SAMOVAR_BACKUP_S3_REGION=eu-test-1
export SAMOVAR_BACKUP_S3_ACCESS_KEY=test-access SAMOVAR_BACKUP_S3_SECRET_KEY=$SECRET
URL3=http://127.0.0.1:$S3/attic/our/copies
ask() { [ "$(post "$(chat sim,tokens=2 hi)" | head -1)" = 200 ]; }
rows() { sam store dump router/1 --table rows 2>>"$WORK/tools.log" | wc -l; }
platform_up
for i in 1 2 3; do ask; done
check "three rows" same "$(rows)" 3

# ---- copies by hand ----
check "a backup and its copy" sam backup "$B" --to "$URL3" >"$WORK/out"
check "it says so" has "$(cat "$WORK/out")" "copied to $URL3/"
name=$(ls "$B" | tail -1)
check "all objects are there" same "$(sim objects | cut -d' ' -f3 | paste -sd,)" "our/copies/$name/MANIFEST.json,our/copies/$name/auth-1.mdb,our/copies/$name/cache-1.mdb,our/copies/$name/mail-1.mdb,our/copies/$name/router-1.mdb,our/copies/$name/workspace-1.mdb"
check "byte for byte" same "$(sim objects | grep router-1.mdb | cut -d' ' -f2)" "$(sha256sum < "$B/$name/router-1.mdb" | cut -d' ' -f1)"
check "the manifest came last" same "$(sim requests | awk '/ PUT /{print $3}' | tail -1)" "/attic/our/copies/$name/MANIFEST.json"
check "once more sends nothing" sam backup "$B" --copy-only --to "$URL3"
check "nothing" same "$(sim requests | grep -c ' PUT ')" 6
for fault in 500 503 cut refuse; do
    sim "fault/$fault/2"
    check "store: $fault twice is got over" sam backup "$B" --to "$URL3" >/dev/null
done
check "five copies" same "$(copies)" 5
check "lists agree" same "$(sam backup --list "$URL3" | paste -sd,)" "$(sam backup --list "$B" | paste -sd,)"
check "keep holds here and there" sam backup "$B" --keep 2 --to "$URL3" >/dev/null
check "two here" same "$(finished)" 2
check "two there" same "$(copies)" 2
check "and nothing else" same "$(sim objects | wc -l)" 12
export SAMOVAR_BACKUP_S3_URL=$URL3/

# ---- refusals ----
sim fault/403/0
check "store: 403 is told, and what was made stays" fails_with 3 "AccessDenied" sam backup "$B"
sim fault/none/0
check "three here" same "$(finished)" 3
check "wrong secret" fails_with 3 "SignatureDoesNotMatch" env SAMOVAR_BACKUP_S3_SECRET_KEY=wrong "$BIN/samovar" backup "$B" --copy-only
check "wrong region" fails_with 3 "AuthorizationHeaderMalformed" env SAMOVAR_BACKUP_S3_REGION=eu-test-2 "$BIN/samovar" backup "$B" --copy-only
check "no such bucket" fails_with 3 "NoSuchBucket" sam backup "$B" --copy-only --to "http://127.0.0.1:$S3/cellar"
check "no store there" fails_with 3 "does not answer" sam backup "$B" --copy-only --to http://127.0.0.1:1/attic
check "plain http to a public address" fails_with 3 "https" sam backup "$B" --copy-only --to http://203.0.114.1/attic
check "a URL without a bucket" fails_with 3 "names no bucket" sam backup "$B" --copy-only --to "http://127.0.0.1:$S3"
check "no keys" fails_with 3 "backup.s3_access_key" env -u SAMOVAR_BACKUP_S3_ACCESS_KEY "$BIN/samovar" backup "$B" --copy-only
big=$WORK/big/20200101T000000Z
mkdir -p "$big"; truncate -s 5368709121 "$big/router-1.mdb"
jq -c '.files |= [.[1] | .bytes = 5368709121]' "$B/$(ls "$B" | tail -1)/MANIFEST.json" > "$big/MANIFEST.json"
before=$(sim requests | wc -l)
check "more than one object may have" fails_with 3 "nothing was sent" sam backup "$WORK/big" --copy-only
check "nothing was" same "$(sim requests | tail -n +$((before + 1)) | grep -c PUT)" 0
check "a copy at last" sam backup "$B" --copy-only >/dev/null

# ---- back from the store ----
for i in 1 2; do ask; done
check "five rows" same "$(rows)" 5
check "a name that is none" fails_with 1 "names no backup" sam restore s3:yesterday --yes
check "one that is not there" fails_with 1 "There is no finished backup" sam restore s3:20200101T000000Z --yes
check "an unfinished one is none" eval 'curl -s "http://127.0.0.1:$S3/_objects" | grep -q MANIFEST && fails_with 1 "no finished backup" sam restore "http://127.0.0.1:$S3/attic/our" --yes'
sim fault/cut/1
check "the newest" sam restore s3: --yes >"$WORK/out"
check "three rows again" same "$(rows)" 3
check "nothing is left of the download" same "$(ls "$SAMOVAR_DATA/download" | wc -l)" 0
for i in 1 2; do ask; done
sim fault/slow/0
check "by URL and name, from a slow store" sam restore "$URL3/$(sam backup --list s3: | tail -1)" --yes >/dev/null
sim fault/none/0
check "three rows again" same "$(rows)" 3
newest=$(sam backup --list s3: | tail -1)
sim fault/500/0
check "a store that fails all the time" fails_with 1 "InternalError" sam restore s3: --yes
sim fault/none/0
check "nothing changed" same "$(rows)" 3
check "the store is there" same "$(sam backup --list s3: | tail -1)" "$newest"
check "clean stop" platform_down

# ---- on a schedule ----
unset SAMOVAR_BACKUP_S3_URL
rm -rf "$B"
cat >> "$WORK/samovar.yaml" <<YAML
backup: {dir: "$B", every: 2s, keep: 3}
YAML
check "doctor: none yet" has "$(sam doctor)" "none yet"
platform_up
check "the first one comes by itself" until_ok 15 eval '[ "$(finished)" -ge 1 ]'
check "and the next" until_ok 10 eval '[ "$(finished)" -ge 3 ]'
check "doctor: the last one" has "$(sam doctor)" "the last one is $(ls "$B" | tail -1 | cut -c1-8)"
newest=$(ls "$B" | grep 'Z$' | tail -1)
check "more come, and only three stay" until_ok 10 eval '[ "$(ls "$B" | grep Z$ | tail -1)" != "$newest" ] && [ "$(finished)" -le 3 ]'
check "the log tells" has "$(cat "$WORK/up.log")" '"event":"backup made"'
chmod 700 "$WORK"; mv "$B" "$WORK/aside"; : > "$B" # a file in the folder's place
check "a failure is an error line" until_ok 10 eval 'grep "\"level\":\"error\"" "$WORK/up.log" | grep -q "\"dir\":\"$B\""'
rm "$B"; mv "$WORK/aside" "$B"
newest=$(ls "$B" | grep 'Z$' | tail -1)
check "it is tried again" until_ok 15 eval '[ "$(ls "$B" | grep Z$ | tail -1)" != "$newest" ]'
check "the platform serves all the while" ask
kill -STOP "$(child_pid router/1)" # the backup under way waits for it
check "one is under way" until_ok 10 eval 'ls "$B"/*.partial/router-1.mdb'
backup=$(pgrep -f "samovar backup --keep 3 -- $B")
check "it is a process" test -n "$backup"
check "stop" platform_down
check "no backup runs on" gone "$backup"
check "nothing is finished by that" eval 'ls "$B"/*.partial'

# ---- to the store, kept over a restart ----
sed -i 's/every: 2s/every: 1h/' "$WORK/samovar.yaml"
rm -rf "$B"/*.partial
count=$(finished)
platform_up
lines=$(wc -l < "$WORK/up.log")
platform_log() { tail -n +"$lines" "$WORK/up.log"; }
check "it says when the next one comes" until_ok 15 eval 'platform_log | grep -q "next backup"'
check "not yet" test "$(platform_log | grep -o '"after_s":[0-9]*' | tail -1 | cut -d: -f2)" -gt 3000
check "none was made" same "$(finished)" "$count"
check "clean stop" platform_down
for n in "$B"/*Z; do mv "$n" "$B/2020$(basename "$n" | cut -c5-)"; done
check "doctor: too old" has "$(sam doctor)" "more than twice backup.every"
export SAMOVAR_BACKUP_S3_URL=$URL3
sim fault/403/0
platform_up
check "the missed one is made soon after the start" until_ok 15 eval 'ls "$B" | grep -qv ^2020'
check "the copy fails, with an alarm" until_ok 10 eval 'grep -q "not copied to the store" "$WORK/up.log"'
made=$(ls "$B" | grep -v ^2020)
check "no actor sees the keys of the store" same "$(tr '\0' '\n' < "/proc/$(child_pid router/1)/environ" | grep -c "$SECRET")" 0
check "clean stop" platform_down
check "it is not in the store" same "$(sim objects | grep -c "$made")" 0
sim fault/none/0
platform_up
check "after a restart it is copied" until_ok 15 eval 'sim objects | grep -q "$made/MANIFEST.json"'
check "and not made again" same "$(ls "$B" | grep -v ^2020)" "$made"
check "clean stop" platform_down
check "the secret is nowhere" same "$(sam config show 2>&1 | cat - "$WORK/up.log" "$WORK/out" | grep -c "$SECRET")" 0
check "no sanitizer report" hasnt "$(grep -aE 'Sanitizer|runtime error' "$WORK/up.log" "$WORK/tools.log")" "rror"
