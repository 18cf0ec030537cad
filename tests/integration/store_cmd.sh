#!/usr/bin/env bash
# samovar store, and an actor's own program, on running and stopped environments; what ps, doctor, metrics and the
# policy make of a store; starts that are refused.
. "$(dirname "$0")/lib.sh"
tool provider_sim
cat > "$WORK/samovar.yaml" <<YAML
router: {providers: [{name: sim, base_url: "http://127.0.0.1:$TOOL_PORT/v1"}]}
supervisor: {routers: 2, restarts: 50}
ledger: {durability: strict}
YAML
export SAMOVAR_CONFIG=$WORK/samovar.yaml
STORE=$SAMOVAR_DATA/store
sam() { "$BIN/samovar" "$@"; }
own() { SAMOVAR_INSTANCE=$1 "$BIN/samovar-router" store "${@:2}"; }
ask() { [ "$(post "$(chat sim,tokens=2 hi)" | head -1)" = 200 ]; }
ends() { # ends CODE WORDS COMMAND...
    local code=$1 words=$2 out rc; shift 2
    out=$("$@" 2>&1 </dev/null); rc=$?
    [ $rc -eq "$code" ] || { echo "  exit code $rc: $out" >&3; return 1; }
    has "$out" "$words"
}

check "no environment yet" ends 1 "There is no environment" sam store stat
check "no subcommand" ends 2 "it needs stat|check|dump" sam store
check "an unknown subcommand" ends 2 "it takes stat, check, dump" sam store burn
check "--table only for dump" ends 2 "it takes stat, check, dump" sam store check --table rows
check "an unknown output" ends 2 "allowed are" sam store stat -o xml
check "help" ends 0 "looks at everything" sam store --help
check "an actor's own: help" ends 0 "Works on the environment of a stopped router" own 1 --help
check "an actor's own: no subcommand" ends 2 "missing subcommand" own 1
check "an actor's own: unknown" ends 2 "unknown subcommand" own 1 burn
check "an actor's own: missing word" ends 2 "missing word" own 1 verify
check "an actor's own: one too many" ends 2 "one word too many" own 1 stat now
check "an actor's own: wrong option" ends 2 "wrong option" own 1 stat --fast
check "an actor's own: no environment" ends 1 "There is no environment" own 1 stat
check "looking makes nothing" test ! -e "$STORE"
check "an actor without a store" ends 2 "it keeps nothing" "$BIN/samovar-edge" store stat

platform_up
for i in 1 2 3 4 5 6 7 8; do ask; done

# ---- running ----
check "stat: all" same "$(sam store stat -o json | jq -r '[.[].environment] | join(" ")')" "auth/1 cache/1 mail/1 router/1 router/2 workspace/1"
check "stat: state" same "$(sam store stat -o json | jq -r '[.[].state] | unique | join(" ")')" ready
check "stat: figures are there when they are 0" same "$(sam store stat router/1 -o json | jq '.[0] | [.failures, .waiting, .long_reads] | @json' -r)" "[0,0,0]"
check "stat: tables of one" same "$(sam store stat router/1 -o json | jq -r '.[0].tables[0].name')" t.rows
check "stat: a table for people" ends 0 "router/2" sam store stat
check "stat: epoch 1" same "$(sam store stat router/2 -o json | jq '.[0].epoch')" 1
check "check" same "$(sam store check -o json | jq -c '[.[].problems]')" "[0,0,0,0,0,0]"
check "check for people" ends 0 "ok: " sam store check router
rows() { sam store dump "$1" --table rows; }
check "dump: every row once" same "$(($(rows router/1 | wc -l) + $(rows router/2 | wc -l)))" 8
check "dump: JSON lines of the table" same "$( (rows router/1; rows router/2) | jq -r .table | sort -u)" rows
check "dump: everything" eval 'sam store dump router/1 | jq -r .table | sort -u | grep -q sums'
check "dump: which one?" ends 2 "name one environment" sam store dump
check "dump: an unknown table" ends 1 "" sam store dump router/1 --table nothing
check "dump: a reader that leaves" eval 'sam store dump router/1 2>/dev/null | head -1 >/dev/null; true'
check "an unknown service" ends 1 "There is no environment of nobody" sam store stat nobody
check "an unknown instance" ends 1 "There is no environment of router/9" sam store stat router/9
check "a running one is not for its program" ends 1 "store.locked" own 1 check
check "by message" same "$(sam call router/2.store_stat | jq -c '[.service, .instance]')" '["router",2]'
check "a stream has to be asked for" eval 'sam call router/1.store_keys >/dev/null'
check "ps shows the store" same "$(sam ps -o json | jq -r '[.[] | select(.store) | .name + " " + .store] | join(", ")')" "auth/1 ready, mail/1 ready, cache/1 ready, workspace/1 ready, router/1 ready, router/2 ready"
check "doctor, too" ends 0 "router/1 ready" sam doctor
check "ping tells" same "$(sam call router/1.ping | jq -r .store)" ready
check "edge keeps nothing" same "$(sam call edge.ping | jq -r .store)" null
metric() { curl -s "$URL/metrics?service=router" | grep -c "^$1"; }
for m in samovar_store_state samovar_store_map_bytes samovar_store_used_bytes samovar_store_commits_total samovar_store_writes_total \
    samovar_store_failures_total samovar_store_commit_seconds_count samovar_store_write_seconds_count samovar_store_waiting_writes; do
    check "metric $m" until_ok 5 eval "[ \"\$(metric $m)\" = 1 ]"
done
for m in store_dump store_keys store_backup store_replace store_rekey; do
    check "the edge may not call router.$m" same "$(sam call bus.policy "{\"caller\":\"edge\",\"method\":\"router.$m\"}" | jq -r '.allowed // false')" false
done
check "but router.store_stat, for the health page" same "$(sam call bus.policy '{"caller":"edge","method":"router.store_stat"}' | jq .allowed)" true

# ---- two on one environment ----
check "a second process on router-1 is refused" ends 1 "store.locked" env SAMOVAR_INSTANCE=1 "$BIN/samovar-router"

# ---- restarts ----
pid=$(child_pid router/1)
kill -9 "$pid"
check "after kill -9: next epoch" until_ok 10 eval '[ "$(sam store stat router/1 -o json | jq ".[0].epoch")" = 2 ]'
check "and nothing is lost" same "$(($(rows router/1 | wc -l) + $(rows router/2 | wc -l)))" 8

# ---- stopped ----
check "stop" platform_down
check "stopped: stat" same "$(sam store stat -o json | jq -c '[.[].state]')" '["ready","ready","ready","ready","ready","ready"]'
check "stopped: a look is no opening" same "$(sam store stat router/1 -o json | jq '.[0].epoch')" 2
check "stopped: check" same "$(sam store check -o json | jq -c '[.[].problems]')" "[0,0,0,0,0,0]"
check "stopped: dump" same "$(($(rows router/1 | wc -l) + $(rows router/2 | wc -l)))" 8
check "its own: stat" same "$(own 2 stat | jq -c '[.service, .instance, .state]')" '["router",2,"ready"]'
check "its own: backup" same "$(own 1 backup "$WORK/copy.mdb" | jq -r .hash)" "$(b2sum -l 256 "$WORK/copy.mdb" | cut -d' ' -f1)"
check "its own: not over a file" ends 1 "cannot be made" own 1 backup "$WORK/copy.mdb"
mkdir "$WORK/copy"; mv "$WORK/copy.mdb" "$WORK/copy/data.mdb"
check "its own: verify" same "$(own 1 verify "$WORK/copy" | jq -c '[.service, .version]')" '["router",2]'
check "verify leaves nothing behind" same "$(ls "$WORK/copy")" data.mdb
check "its own: replace without a copy" ends 1 "no verified copy" own 1 replace
check "which leaves nothing behind" same "$(ls "$STORE" | tr '\n' ' ')" "auth-1 cache-1 mail-1 router-1 router-2 workspace-1 "
check "its own: another folder" ends 1 "There is no environment in $WORK/none" own 1 stat --folder "$WORK/none"

# ---- starts that are refused, with their reason ----
start() { timeout 20 env SAMOVAR_INSTANCE=1 "$BIN/samovar-router"; }
mv "$WORK/root.key" "$WORK/key"
check "without its root key: 78" ends 78 "root key" start
printf 'samovar-root-key 1 %064d\n' 7 > "$WORK/root.key"; chmod 600 "$WORK/root.key"
check "with another root key: 78" ends 78 "store.wrong_key" start
check "so is a look" ends 1 "store.wrong_key" sam store check router/1
chmod 644 "$WORK/root.key"
check "with a root key that others can read: 78" ends 78 "config.invalid" start
mv "$WORK/key" "$WORK/root.key"
cp "$STORE/router-1/data.mdb" "$WORK/good.mdb"
head -c 40960 /dev/urandom > "$STORE/router-1/data.mdb"
check "noise in its place" ends 78 "store.foreign" start
head -c 4096 "$WORK/good.mdb" > "$STORE/router-1/data.mdb"
check "a stump" ends 1 "store.damaged" start
head -c $(($(stat -c %s "$WORK/good.mdb") / 8192 * 4096)) "$WORK/good.mdb" > "$STORE/router-1/data.mdb"
check "a cut file" ends 1 "store.damaged" start
cp "$WORK/good.mdb" "$STORE/router-1/data.mdb"
check "the good one again" same "$(sam store check router/1 -o json | jq '.[0].problems')" 0
# ---- full ----
rm -rf "$STORE"
sed -i 's/routers: 2/routers: 1/' "$WORK/samovar.yaml"
platform_up SAMOVAR_STORE_MAP_BYTES=1MiB
"$BIN/http_load" --port "$PORT" --path /v1/chat/completions --connections 8 --seconds 120 --warmup 0 --timeout-ms 8000 \
    --body "$(chat sim,tokens=1 hi)" > "$WORK/load" 2>>"$WORK/tools.log" & LOAD=$!
check "a full map: 507" until_ok 25 eval '[ "$(post "$(chat sim,tokens=1 hi)" | head -1)" = 507 ]'
check "full: Retry-After" until_ok 5 eval 'curl -s -i -H "content-type: application/json" -d "$(chat sim,tokens=1 hi)" "$URL/v1/chat/completions" | grep -qi "^retry-after: [1-9]"'
check "full: ps" until_ok 5 eval '[ "$(sam ps -o json | jq -r ".[] | select(.name == \"router/1\") | .store")" = full ]'
check "full: doctor fails and says what to do" until_ok 5 ends 1 "make room" sam doctor
check "full: ping" until_ok 5 eval '[ "$(sam call router.ping | jq -r .store)" = full ]'
check "full: the metric" until_ok 5 eval 'curl -s "$URL/metrics?service=router" | grep -q "^samovar_store_state 1"'
check "full: alarms are counted" eval 'curl -s "$URL/metrics?service=router" | grep -q "^samovar_store_alarms_total [1-9]"'
check "full: reads go on" eval 'rows router/1 | head -1 | jq -e .row >/dev/null'
check "full: it is sound" same "$(sam store check -o json | jq -c '[.[].problems]')" "[0,0,0,0,0]"
kill $LOAD; wait $LOAD 2>/dev/null
check "full: models are told" eval 'curl -sf "$URL/v1/models" >/dev/null'
check "full: a backup can be made" sam backup "$WORK/b" >/dev/null
check "stop" platform_down
platform_up
check "a larger map: it goes on" until_ok 10 ask
check "clean stop" platform_down
check "no sanitizer report" hasnt "$(grep -aE 'Sanitizer|runtime error' "$WORK/up.log")" "rror"
