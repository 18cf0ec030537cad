#!/usr/bin/env bash
# API keys and revocations over the bus and the CLI, and what becomes of them when the auth actor is killed: the
# numbers of revocations never go back, a key that was deleted stays deleted, one that was shown works.
. "$(dirname "$0")/lib.sh"
export SAMOVAR_AUTH_PASSWORD_MEMORY=19MiB SAMOVAR_SUPERVISOR_RESTARTS=100 SAMOVAR_AUTH_KEYS_PER_USER=60
PASSWORD='correct horse battery'
call() { "$BIN/samovar" call --reveal "$@" 2>"$WORK/err"; }
code() { sed 's/: .*//' "$WORK/err"; }
key() { "$BIN/samovar" key "$@" 2>"$WORK/err"; }
hash_of() { printf %s "$1" | openssl dgst -sha256 -binary | base64; }
key_check() { call auth.key_check "{\"hash\":\"$(hash_of "$1")\"}"; }
works() { [ -n "$(key_check "$1")" ]; }
refused() { key_check "$1" >/dev/null; [ "$(code)" = auth.key_invalid ]; }
sequence() { call auth.revocations '{}' | jq -r '.sequence // 0'; }
auth_is_back() { [ "$(child_pid auth/1)" != "$1" ] && "$BIN/samovar" call auth.ping >/dev/null 2>&1; }
kill_auth() { local pid; pid=$(child_pid auth/1); kill -9 "$pid"; until_ok 10 auth_is_back "$pid"; }

platform_up
check "before the first administrator" same "$(call auth.revocations '{}' | jq -c '[.has_admin // false, .issuer, (.jwks|fromjson|.keys|length)]')" '[false,"samovar",1]'
echo "$PASSWORD" | "$BIN/samovar" user add anna@example.org --admin --password-stdin >/dev/null
echo "$PASSWORD" | "$BIN/samovar" user add bob@example.org --password-stdin >/dev/null
check "and with one" same "$(call auth.revocations '{}' | jq -c .has_admin)" true

# ---- the command ----
first=$(key new --user bob@example.org --name 'my script' --scope chat --scope=files --model demo/echo --model demo/fail --expires-days 7)
check "new prints the key alone" eval '[[ $first =~ ^sv_[0-9a-f]{12}_[0-9a-f]{64}$ ]]'
check "and says what else there is to say elsewhere" has "$(cat "$WORK/err")" "not shown again"
check "ls shows it without its secret" same \
    "$(key ls --user bob@example.org -o json | jq -c '[.[]|[.name,.shown,.scopes,.models,.last_used // 0]]')" \
    "[[\"my script\",\"${first:0:15}\",[\"chat\",\"files\"],[\"demo/echo\",\"demo/fail\"],0]]"
check "for people, too" has "$(key ls --user bob@example.org)" "chat,files  my script"
check "it expires in a week" same "$(key ls --user bob@example.org -o json | jq '.[0] | (.expires - .created) / 86400000 | round')" 7
check "an edge hears what it may" same "$(key_check "$first" | jq -c '[.role,.tier,.admin // false,.key.scopes,.key.models]')" \
    '["owner","free",false,["chat","files"],["demo/echo","demo/fail"]]'
check "one letter less is nothing" refused "${first%?}"
key new --user bob@example.org --scope root >/dev/null
check "an unknown scope is named, with those there are" has "$(cat "$WORK/err")" 'no scope "root": use chat, read, write, files, org or admin'
key new --user bob@example.org --scope admin >/dev/null
check "nobody's key may more than he" has "$(cat "$WORK/err")" auth.role_needed
key new --user nobody@example.org >/dev/null
check "a user there is not" has "$(cat "$WORK/err")" "no such user"
key new --user bob@example.org --expires-days 0 >/dev/null
check "days are counted from one" has "$(cat "$WORK/err")" "1 to 36500"
for words in 'new' 'ls' 'rm' 'rm a b' 'forget x' 'ls --user a@example.org --scope chat' 'rm x --user a@example.org' 'new --user a@example.org -o json' 'new --user a@example.org --scope'; do
    key $words >/dev/null
    check "wrong words are refused: key $words" same "$? $(grep -c '^samovar key' "$WORK/err")" "2 1"
done
id=$(key ls --user bob@example.org -o json | jq -r '.[0].id')
before=$(sequence)
check "rm" has "$(key rm "$id")" "does not work any more"
check "ends it" refused "$first"
check "and is told to the edges" same "$(call auth.revocations "{\"after\":$before}" | jq -c '[.items[]|[.sequence,.subject]]')" "[[$((before + 1)),\"key/$id\"]]"
key rm "$id" >/dev/null
check "once" has "$(cat "$WORK/err")" "no such API key"

# ---- what is not said ----
second=$(key new --user anna@example.org --scope org --scope admin)
check "an administrator's key with that scope" same "$(key_check "$second" | jq -c '[.role,.admin]')" '["owner",true]'
call auth.key_used "{\"keys\":[{\"id\":\"$(key ls --user anna@example.org -o json | jq -r '.[0].id')\",\"at\":$(now_ms)}]}" >/dev/null
check "the last use is kept" eval '[ "$(key ls --user anna@example.org -o json | jq ".[0].last_used")" -gt 1600000000000 ]'
check "no log has a key" hasnt "$(cat "$WORK/up.log")" "${second:16}"
check "nor has a dump" hasnt "$("$BIN/samovar" store dump auth/1 2>/dev/null)" "${second:16}"
check "nor the file" eval '! grep -qa "${second:16:32}" "$SAMOVAR_DATA"/store/auth-1/data.mdb'
check "without --reveal no answer shows one" has "$("$BIN/samovar" call auth.key_new '{"email":"anna@example.org"}')" '"key":"[redacted]"'
check "the edge may make keys for its users" has "$("$BIN/samovar" call bus.policy '{"caller":"edge","method":"auth.key_new"}')" "edge may call auth.key_new"
check "and nothing for the operator alone" has "$("$BIN/samovar" call bus.policy '{"caller":"edge","method":"auth.key_rotate"}')" "default deny"
check "the router may not check keys" has "$("$BIN/samovar" call bus.policy '{"caller":"router","method":"auth.key_check"}')" "default deny"
check "it may ask for grants" has "$("$BIN/samovar" call bus.policy '{"caller":"router","method":"auth.delegate"}')" "router may call"
call auth.grant '{"job":"x"}' >/dev/null
check "with a user's ticket only" same "$(code)" auth.credentials_missing
call auth.delegate '{"grant":"x"}' >/dev/null
check "there is no such grant" same "$(code)" request.not_found

# ---- the events ----
from=$(now_ms)
timeout 20 "$BIN/samovar" tap kind=EVENT auth.revoked -o json --count 5 >"$WORK/tap" 2>/dev/null
took=$(($(now_ms) - from))
check "where the list ends is said twice a second" same "$(jq -r 'select(.kind == "EVENT") | .method' "$WORK/tap" | sort | uniq -c | awk '{ print $2 }')" auth.revoked
check "five of them in about two seconds: $took ms" eval '[ $took -ge 1000 ] && [ $took -le 6000 ]'

# ---- export ----
printf '%s\n' "$PASSWORD" | "$BIN/samovar" user add carl@example.org --password-stdin >/dev/null
"$BIN/samovar" audit export >"$WORK/events.jsonl"
check "an export has every event as an object" same "$(jq -s length "$WORK/events.jsonl")" "$("$BIN/samovar" audit -o json | jq length)"
"$BIN/samovar" audit export --format csv --event user. >"$WORK/events.csv"
check "as CSV with a heading" same "$(head -1 "$WORK/events.csv")" $'number,time,event,actor,target,network,detail,hash\r'
check "only of that kind" same "$(tail -n +2 "$WORK/events.csv" | cut -d, -f3 | sort -u | tr '\n' ' ')" '"user.added" "user.added_admin" '
check "a filter by name" same "$("$BIN/samovar" audit -o json --event user.added | jq -c '[.[].event]|unique')" '["user.added"]'
for words in 'import' 'verify --org x' '--format csv' 'export --format xml' 'export -o json' 'verify --event x'; do
    "$BIN/samovar" audit $words >/dev/null 2>"$WORK/err"
    check "wrong words are refused: audit $words" same "$? $(grep -c '^samovar audit' "$WORK/err")" "2 1"
done

# ---- killed in the middle ----
live=() dead=() lost=0 back=0 last=$(sequence)
for round in 1 2 3 4 5 6; do
    made=$(key new --user bob@example.org) && live+=("$made")
    doomed=$(key new --user bob@example.org)
    id=$(key ls --user bob@example.org -o json | jq -r --arg s "${doomed:0:15}" '.[]|select(.shown == $s)|.id')
    pid=$(child_pid auth/1)
    { key rm "$id" >"$WORK/rm.$round"; } & work=$!
    [ $((round % 2)) -eq 0 ] && wait "$work"
    kill -9 "$pid"
    wait "$work" 2>/dev/null
    until_ok 10 auth_is_back "$pid"
    grep -q "not work" "$WORK/rm.$round" && dead+=("$doomed")
    now=$(sequence)
    [ "$now" -ge "$last" ] || back=$((back + 1))
    items=$(call auth.revocations "{\"after\":$last}" | jq -c '[.items[]?.sequence]')
    [ "$items" = "$(jq -nc --argjson a "$last" --argjson b "$now" '[range($a + 1; $b + 1)]')" ] || lost=$((lost + 1))
    last=$now
done
check "numbers never go back" same $back 0
check "and have no gaps" same $lost 0
check "deletions that were answered: ${#dead[@]}" eval '[ ${#dead[@]} -ge 3 ]'
still=0; for k in "${dead[@]}"; do refused "$k" || still=$((still + 1)); done
check "what was deleted stays deleted" same $still 0
gone=0; for k in "${live[@]}"; do works "$k" || gone=$((gone + 1)); done
check "what was shown works" same $gone 0
"$BIN/samovar" user disable bob@example.org >/dev/null
check "a disabled user's keys do not" refused "${live[0]}"
check "the edges hear of it" has "$(call auth.revocations "{\"after\":$last}")" '"subject":"user/'
check "the log of it all is sound" has "$("$BIN/samovar" audit verify)" ok:
platform_down
