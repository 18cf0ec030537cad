#!/usr/bin/env bash
# Providers with keys of users' and organizations' own: tested on entry, sealed, used for their calls and
# nobody else's; other keys and deletions are everywhere within a second; what is nowhere in clear.
. "$(dirname "$0")/lib.sh"
tool provider_sim --models own-one,own-two
SIM=$TOOL_PORT
tool provider_sim --models plat-one
PLATFORM=$TOOL_PORT
export SAMOVAR_CONFIG=$WORK/samovar.yaml
cat > "$SAMOVAR_CONFIG" <<END
router:
  tenant_urls_private: true
  prices: [{model: own-two, input: 2500000, output: 10000000}]
  providers:
    - {name: plat, base_url: "http://127.0.0.1:$PLATFORM/v1"}
supervisor: {restarts: 50, routers: 2}
limits: {scale: 1000}
END
export SAMOVAR_AUTH_PASSWORD_MEMORY=19MiB
JSON='content-type: application/json'
PASSWORD='correct horse battery'
KEY=sk-own-first-7c1e9b40aa31 NEXT=sk-own-next-55d0e2f8bb42 WRONG=sk-own-wrong-113377990011
control() { curl -s -o /dev/null "http://127.0.0.1:$1/_control" -H "$JSON" -d "$2"; }
control "$SIM" "{\"keys\":{\"$WRONG\":401}}"
bearer() { printf 'authorization: Bearer %s' "$1"; }
req() { # req TOKEN METHOD PATH [BODY]: the body to $WORK/body, prints the status
    curl -s -m 30 -o "$WORK/body" -w '%{http_code}' -X "$2" -H "$(bearer "$1")" ${4:+-H "$JSON" -d "$4"} "$URL$3"
}
login() { curl -s -H "$JSON" -d "{\"email\":\"$1\",\"password\":\"$PASSWORD\"}" "$URL/api/auth/login" | jq -r .access_token; }
field() { jq -r "$1" "$WORK/body"; }
error() { jq -c '[.error.code // .code, .error.fields[0].path]' "$WORK/body"; }
ask() { # ask TOKEN MODEL [MEMBERS]: prints status and provider
    curl -s -m 30 -o "$WORK/answer" -D "$WORK/head" -H "$(bearer "$1")" -H "$JSON" -H 'x-samovar-explain: true' -d "$(chat "$2" hi "${3:-}")" "$URL/v1/chat/completions"
    printf '%s %s' "$(sed -n '1s/^[^ ]* \([0-9]*\).*/\1/p' "$WORK/head")" \
        "$(tr -d '\r' < "$WORK/head" | sed -n 's/^x-samovar-provider: //Ip')"
}
# Both routers answer some of ten calls. LATE: when the last call began that was answered otherwise.
all_say() {
    local i began
    for i in 1 2 3 4 5 6 7 8 9 10; do
        began=$(now_ms)
        [ "$(ask "$1" "$2")" = "$3" ] || { LATE=$began; return 1; }
    done
}

platform_up
for who in anna bob carl; do
    admin=; [ $who = anna ] && admin=--admin
    echo "$PASSWORD" | "$BIN/samovar" user add $who@example.org $admin --password-stdin >/dev/null
done
ANNA=$(login anna@example.org) BOB=$(login bob@example.org) CARL=$(login carl@example.org)
check "nobody has one at first" same "$(req "$BOB" GET /api/providers; field '.providers | length')" 2000

# ---- entry ----
new() { req "$BOB" POST /api/providers "{\"name\":\"mine\",\"base_url\":\"http://127.0.0.1:$SIM/v1\",\"key\":\"$1\"${2:+,$2}}"; }
check "a key that the provider refuses is refused" same "$(new $WRONG) $(error)" '400 ["request.invalid","key"]'
check "in words" has "$(cat "$WORK/body")" "refuses this key (status 401)"
check "and is not kept" same "$(req "$BOB" GET /api/providers; field '.providers | length')" 2000
check "a provider that is not there" same "$(req "$BOB" POST /api/providers '{"name":"gone","base_url":"http://127.0.0.1:1/v1","key":"sk-none-123456789"}') $(error)" '400 ["request.invalid","base_url"]'
check "an unknown name needs its address" same "$(req "$BOB" POST /api/providers '{"name":"gone","key":"sk-none-123456789"}') $(error)" '400 ["request.missing_field","base_url"]'
check "a kind there is not" same "$(new $KEY '"kind":"acme"') $(error)" '400 ["request.invalid","kind"]'
check "a key is needed" same "$(req "$BOB" POST /api/providers '{"name":"openai"}') $(error)" '400 ["request.missing_field","key"]'
check "a name is one" same "$(req "$BOB" POST /api/providers '{"name":"a/b","key":"x"}') $(error)" '400 ["request.invalid","name"]'
check "it is kept" same "$(new $KEY)" 201
ID=$(field .provider.id) ORG=$(field .provider.org)
check "with the end of its key" same "$(field '.provider | [.name,.kind,.last4,.status,.state,.models] | join(" ")')" "mine openai ${KEY: -4} active ready 2"
check "and nothing more of it" hasnt "$(cat "$WORK/body")" "$KEY"
check "the name is taken" same "$(new $KEY) $(error)" '409 ["request.conflict","name"]'
known() { req "$BOB" GET "/api/providers/$ID" >/dev/null; [ "$(field .provider.state)" = ready ]; }
check "the routers know it within a second" until_ok 2 known
check "test" same "$(req "$BOB" POST "/api/providers/$ID/test") $(field '[.ok,.models,.state]|join(" ")')" "200 true 2 ready"

# ---- use ----
check "both routers use it" until_ok 5 all_say "$BOB" own-one "200 own:mine"
check "by its name" same "$(ask "$BOB" mine/own-two)" "200 own:mine"
check "its models are listed" has "$(curl -s -H "$(bearer "$BOB")" "$URL/v1/models")" '"own-one"'
check "the platform's are there, too" same "$(ask "$BOB" plat-one)" "200 plat"
check "nobody else has its models" hasnt "$(curl -s -H "$(bearer "$CARL")" "$URL/v1/models")" '"own-one"'
asked_plat() { ask "$CARL" mine/own-one; }
check "or can call it" hasnt "$(asked_plat)" "own:"
check "or see it" same "$(req "$CARL" GET /api/providers; field '.providers | length')" 2000
check "by its id" same "$(req "$CARL" GET "/api/providers/$ID") $(error)" '404 ["request.not_found","id"]'
check "or test it" same "$(req "$CARL" POST "/api/providers/$ID/test")" 404
check "or change it" same "$(req "$CARL" PATCH "/api/providers/$ID" '{"name":"his"}')" 404
check "or end it" same "$(req "$CARL" DELETE "/api/providers/$ID")" 404
check "administrators of the platform neither" same "$(req "$ANNA" GET "/api/providers/$ID")" 404
usage() { curl -s -H "$(bearer "$1")" "$URL/api/usage?by=provider" | jq -c '[.rows[].name]'; }
said() { has "$(usage "$BOB")" 'own:mine'; }
check "the usage tells whose key it was" until_ok 5 said
check "others' rankings do not have it" hasnt "$(curl -s -H "$(bearer "$CARL")" "$URL/api/rankings")" "own:"
check "the platform's neither" hasnt "$(curl -s -H "$(bearer "$ANNA")" "$URL/api/rankings")" "own:"
metrics() { "$BIN/samovar" call --reveal router/1.metrics; "$BIN/samovar" call --reveal router/2.metrics; }
check "one label for all of them in metrics" has "$(metrics)" 'tenant'
check "and not their names" hasnt "$(metrics)" 'mine'

# ---- an organization's ----
check "a provider of the organization" same "$(req "$CARL" POST /api/providers "{\"name\":\"plat\",\"level\":\"org\",\"base_url\":\"http://127.0.0.1:$SIM/v1\",\"key\":\"$KEY\"}")" 201
CARLS=$(field .provider.id)
check "hides the platform's of its name" until_ok 5 all_say "$CARL" plat/own-one "200 own:plat"
check "for that organization only" same "$(ask "$BOB" plat/plat-one)" "200 plat"

# ---- the command ----
listed=$("$BIN/samovar" providers ls --org "$ORG")
check "the operator sees an organization's" has "$listed" "mine"
check "with state" has "$listed" "ready"
check "as JSON, without keys" same "$("$BIN/samovar" providers ls --org "$ORG" -o json | jq -r '.[] | [.id,.name,.last4,.state] | join(" ")')" "$ID mine ${KEY: -4} ready"
check "and the platform's" has "$("$BIN/samovar" providers ls)" "plat "
"$BIN/samovar" providers new 2>/dev/null
check "wrong words" same $? 2

# ---- other keys ----
control "$SIM" "{\"keys\":{\"$WRONG\":401}}"
check "a wrong next key changes nothing" same "$(req "$BOB" PATCH "/api/providers/$ID" "{\"key\":\"$WRONG\"}") $(error)" '400 ["request.invalid","key"]'
check "the former one works on" same "$(ask "$BOB" own-one)" "200 own:mine"
check "the next key" same "$(req "$BOB" PATCH "/api/providers/$ID" "{\"key\":\"$NEXT\"}") $(field .provider.last4)" "200 ${NEXT: -4}"
control "$SIM" "{\"keys\":{\"$WRONG\":401,\"$KEY\":401}}"
BEGAN=$(now_ms) LATE=$BEGAN
check "is with both routers" until_ok 5 all_say "$BOB" own-one "200 own:mine"
check "within a second ($((LATE - BEGAN)) ms)" under $((LATE - BEGAN)) 1200
check "test says when a key is refused" same "$(req "$CARL" POST "/api/providers/$CARLS/test") $(field '[.ok // false,.state]|join(" ")')" "200 false its key was refused: status 401"
check "another name" same "$(req "$BOB" PATCH "/api/providers/$ID" '{"name":"renamed"}') $(field .provider.name)" "200 renamed"
check "counts" until_ok 3 all_say "$BOB" renamed/own-one "200 own:renamed"
check "disabled" same "$(req "$BOB" PATCH "/api/providers/$ID" '{"status":"disabled"}') $(field .provider.status)" "200 disabled"
not_used() {
    local i began
    for i in 1 2 3 4 5 6; do
        began=$(now_ms)
        case $(ask "$BOB" own-one) in *own:*) LATE=$began; return 1;; esac
    done
}
check "it is not used" until_ok 3 not_used
check "enabled" same "$(req "$BOB" PATCH "/api/providers/$ID" '{"status":"active"}')" 200
check "it is" until_ok 5 all_say "$BOB" own-one "200 own:renamed"

# ---- limits of its own ----
limits() { req "$BOB" PATCH "/api/providers/$ID" "{\"limits\":$1}"; }
check "a limit that is none" same "$(limits '{"day":-1}') $(error)" '400 ["request.out_of_range","limits.day"]'
check "a limit there is not" same "$(limits '{"hour":1}') $(error)" '400 ["request.unknown_field","limits.hour"]'
check "requests a minute" same "$(limits '{"minute_requests":50}') $(field .provider.limits.minute_requests)" "200 50"
told() { req "$1" GET "/api/providers/$ID" >/dev/null; field "$2"; }
sleepless() { [ "$(ask "$BOB" renamed/own-one)" = "200 own:renamed" ] && [ "$(told "$BOB" '.provider.used.minute_requests // 0')" -gt 0 ]; }
check "hold within a second" until_ok 3 sleepless
many() { # many COUNT: so many at once, prints how often there was which status
    curl -s -Z --parallel-immediate --parallel-max 200 -m 60 -H "$(bearer "$BOB")" -H "$JSON" -d "$(chat renamed/own-one hi)" \
        -o /dev/null -w '%{http_code}\n' "$URL/v1/chat/completions?n=[1-$1]" 2>/dev/null | sort | uniq -c | awk '{printf "%s:%s ", $2, $1}'
}
before=$(told "$BOB" .provider.used.minute_requests)
check "of two hundred at once pass as many as are left" same "$(many 200)" "200:$((50 - before)) 429:$((150 + before)) "
check "all of it is used" same "$(told "$BOB" .provider.used.minute_requests)" 50
check "then it is named" same "$(ask "$BOB" renamed/own-one | cut -c1-3) $(jq -c '[.error.code,.error.param]' "$WORK/answer")" '429 ["provider.limit","minute_requests"]'
check "with a pause" has "$(tr A-Z a-z < "$WORK/head")" "retry-after: "
check "or somebody else answers" same "$(req "$BOB" POST /v1/chat/completions "$(chat renamed/own-one hi '"models":["plat-one"]')")" 200
check "the operator sees it" has "$("$BIN/samovar" providers ls --org "$ORG")" "(requests a minute 50 of 50)"
check "money" same "$(limits '{"month":1100}') $(field '.provider.limits | [.day,.month] | tostring')" '200 [0,1100]'
spent() { ask "$BOB" renamed/own-two '"max_tokens":100' >/dev/null; same "$(jq -c '[.error.code,.error.param]' "$WORK/answer")" '["provider.limit","month"]'; }
check "of a month" until_ok 5 spent
check "is no pause to wait for" has "$(tr A-Z a-z < "$WORK/head")" "x-should-retry: false"
check "and it is said when it ends" has "$(jq -r .error.message "$WORK/answer")" "own:renamed: What is left of the limit of this provider for the month"
check "what was spent is known" same "$(told "$BOB" '.provider.used.month > 0 and .provider.used.month <= 1100')" true
check "more than all of it" same "$(ask "$BOB" renamed/own-two | cut -c1-3) $(jq -r .error.message "$WORK/answer" | grep -c max_tokens)" "429 1"
check "a model without a price costs none" same "$(ask "$BOB" renamed/own-one)" "200 own:renamed"
check "without limits" same "$(limits '{}') $(field .provider.limits)" "200 null"
check "it answers" until_ok 3 all_say "$BOB" own-two "200 own:renamed"

# ---- kill -9 ----
for name in auth/1 router/1 broker/1; do
    pid=$(child_pid $name)
    check "there is a $name to kill" kill -9 "$pid"
    check "after kill -9 of $name" until_ok 20 all_say "$BOB" own-one "200 own:renamed"
done
curl -s -N -m 30 -H "$(bearer "$BOB")" -H "$JSON" -d "$(chat renamed/own-one,tokens=20,gap_ms=200 hi '"stream":true')" \
    "$URL/v1/chat/completions" > "$WORK/stream" & STREAM=$!
check "a stream is under way" until_ok 5 grep -q '"content"' "$WORK/stream"
pid=$(child_pid auth/1); kill -9 "$pid"
deleted() { [ "$(req "$BOB" DELETE "/api/providers/$ID")" = 204 ]; }
check "deleting, while auth comes back" until_ok 15 deleted
BEGAN=$(now_ms) LATE=$BEGAN
check "ends it" until_ok 5 not_used
check "within a second ($((LATE - BEGAN)) ms)" under $((LATE - BEGAN)) 1200
wait $STREAM
check "the stream under way came to its end" eval 'grep -q "^data: \[DONE\]" "$WORK/stream" && ! grep -q "\"error\"" "$WORK/stream"'
check "it is gone" same "$(req "$BOB" GET "/api/providers/$ID")" 404

# ---- what is told ----
events=$("$BIN/samovar" call --reveal auth.audit "{\"chain\":\"$ORG\"}")
for event in provider.created provider.changed provider.deleted; do
    check "the audit log has $event" has "$events" "\"event\":\"$event\""
done
check "and says what was changed" has "$events" "user mine: another key"
check "not the keys" eval '! grep -qF -e "$KEY" -e "$NEXT" <<<"$events"'
platform_down
clear_text() { grep -rlaF -e "$KEY" -e "$NEXT" -e "$WRONG" "$SAMOVAR_DATA" "$WORK/up.log" 2>/dev/null; }
check "no key is in stores or logs" same "$(clear_text)" ""

# ---- another root key ----
"$BIN/samovar" store rekey >/dev/null 2>&1; rc=$?
check "the root key is changed" same $rc 0
platform_up
CARL=$(login carl@example.org)
unopened() { req "$CARL" GET "/api/providers/$CARLS" >/dev/null; has "$(field .provider.state)" "$1"; }
check "what it cannot open says so" until_ok 10 unopened "enter the key again"
check "the platform's answers" same "$(ask "$CARL" plat/plat-one)" "200 plat"
check "with the key it is there again" same "$(req "$CARL" PATCH "/api/providers/$CARLS" "{\"key\":\"$NEXT\"}")" 200
check "for all routers" until_ok 5 all_say "$CARL" plat/own-one "200 own:plat"
platform_down

# ---- as it is by default ----
platform_up SAMOVAR_ROUTER_TENANT_URLS_PRIVATE=false
CARL=$(login carl@example.org)
closed() { req "$CARL" POST /api/providers "{\"name\":\"x\",\"base_url\":\"$1\",\"key\":\"$KEY\"}" >/dev/null; error; }
check "no http" has "$(closed "http://127.0.0.1:$SIM/v1")" base_url
check "no address that is not public" has "$(closed https://127.0.0.1/v1)" base_url
check "nor another port" has "$(closed https://example.org:22/v1)" base_url
check "what was brought before is not used" until_ok 10 unopened "not used"
check "and the platform's answers" same "$(ask "$CARL" plat/plat-one)" "200 plat"
platform_down
