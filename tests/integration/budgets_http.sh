#!/usr/bin/env bash
# Budgets and usage as HTTP clients see them: who may set and see which, what is refused and how, and sums that
# are those of the ledger to the micro-unit.
. "$(dirname "$0")/lib.sh"
export SAMOVAR_AUTH_PASSWORD_MEMORY=19MiB
PASSWORD='correct horse battery'
tool provider_sim --models sim-small,sim-other
export SAMOVAR_CONFIG=$WORK/samovar.yaml
cat > "$SAMOVAR_CONFIG" <<END
router:
  demo_delay_ms: 0
  prices:
    - {model: sim-small, input: 2500000, output: 10000000}
    - {model: sim-other, input: 2500000, output: 10000000}
  providers:
    - {name: sim, base_url: "http://127.0.0.1:$TOOL_PORT/v1"}
END
platform_up
for who in anna bob; do
    admin=; [ $who = anna ] && admin=--admin
    echo "$PASSWORD" | "$BIN/samovar" user add $who@example.org $admin --password-stdin >/dev/null
done
login() { curl -s -H 'content-type: application/json' -d "{\"email\":\"$1@example.org\",\"password\":\"$PASSWORD\"}" "$URL/api/auth/login" | jq -r .access_token; }
ANNA=$(login anna) BOB=$(login bob)
KEY=$("$BIN/samovar" key new --user bob@example.org --scope chat --scope read 2>/dev/null)
KEY_ID=$("$BIN/samovar" key ls --user bob@example.org -o json | jq -r '.[0].id')
BOB_ORG=$("$BIN/samovar" key ls --user bob@example.org -o json | jq -r '.[0].org')
as() { curl -s -H "authorization: Bearer $1" -H 'content-type: application/json' "${@:3}" "$URL$2"; }
status() { as "$@" -o /dev/null -w '%{http_code}'; }
set_budget() { as "$1" /api/budgets -d "$2"; }
ask() { as "$KEY" /v1/chat/completions -d "$(chat sim-small hi)" "$@"; }
lists_model() { ask -o /dev/null -w '%{http_code}' | grep -q 200; }

# ---- who may ----
check "a model answers" until_ok 10 lists_model
check "nothing limits bob yet" same "$(as "$BOB" /api/budgets | jq -c '.budgets // []')" '[]'
check "an owner limits his organization" same "$(set_budget "$BOB" '{"kind":"org","month":1000000000}' | jq -c '[.budget.level,.budget.kind,.budget.month]')" '["org","org",1000000000]'
check "and replaces it" same "$(set_budget "$BOB" '{"kind":"org","month":2000000000}' | jq .budget.month)" 2000000000
check "there is one" same "$(as "$BOB" /api/budgets | jq '.budgets | length')" 1
check "not the platform's" same "$(set_budget "$BOB" '{"level":"platform","org":"*","kind":"org","month":1}' | jq -r .error.code)" auth.role_needed
check "its administrator may" same "$(set_budget "$ANNA" '{"level":"platform","org":"*","kind":"user","subject":"*","day":900000000}' | jq -r .budget.level)" platform
check "a key without the scope sets nothing" same "$(set_budget "$KEY" '{"kind":"org","month":1}' | jq -r .error.code)" auth.scope_needed
check "without an account nothing is seen" same "$(curl -s -H 'authorization: Bearer no' -o /dev/null -w '%{http_code}' "$URL/api/budgets")" 401
check "wrong words are named" same "$(set_budget "$BOB" '{"kind":"org","month":-1}' | jq -r '.error.fields[0].path')" month

# ---- what is used and refused ----
id=$(set_budget "$BOB" "{\"level\":\"user\",\"kind\":\"key\",\"subject\":\"$KEY_ID\",\"total\":100000000}" | jq -r .budget.id)
used() { as "$BOB" "/api/budgets/$id" | jq '.budget.used.total // 0'; }
spent() { as "$BOB" "/api/usage?key=$KEY_ID" | jq .total.price; }
before=$(spent)
for i in 1 2 3 4 5; do ask >/dev/null; done
costs_more() { [ "$(spent)" -gt "$before" ] && [ "$(used)" = $(($(spent) - before)) ]; }
check "the budget counts what the ledger does" until_ok 5 costs_more
# what is asked for at once is taken at once: several answers, several models
set_budget "$BOB" "{\"level\":\"user\",\"kind\":\"key\",\"subject\":\"$KEY_ID\",\"total\":$(($(used) + 15000))}" >/dev/null
much() { as "$KEY" /v1/chat/completions -o /dev/null -w '%{http_code}' -d "$(chat sim-small hi "\"max_tokens\":1000$1")"; }
check "two answers cost twice as much" until_ok 2 eval '[ "$(much ",\"n\":2")" = 402 ]'
check "also in a request that only its provider understands" same "$(much ',"n":2,"temperature":1e999')" 402
check "so do two models" same "$(much ',"models":["sim-other"],"mode":"all"')" 402
check "one fits" same "$(much '')" 200
set_budget "$BOB" "{\"level\":\"user\",\"kind\":\"key\",\"subject\":\"$KEY_ID\",\"total\":1}" >/dev/null
refused() { ask | jq -e '.error.code == "budget.exceeded"' >/dev/null; }
check "a budget that is used up refuses within a second" until_ok 1 refused
check "as payment needed" same "$(ask -o /dev/null -w '%{http_code}')" 402
check "the field says which" same "$(ask | jq -r .error.param)" total
check "a refused request is not billed" same "$(spent)" "$(spent)"
check "ending it" same "$(status "$BOB" "/api/budgets/$id" -X DELETE)" 204
check "lets requests through again" until_ok 2 lists_model
set_budget "$BOB" "{\"level\":\"user\",\"kind\":\"key\",\"subject\":\"$KEY_ID\",\"minute_requests\":3}" >/dev/null
limited() { ask | jq -e '.error.code == "limit.tokens"' >/dev/null; }
check "requests a minute" until_ok 5 limited
check "are a pause" same "$(ask -o /dev/null -w '%{http_code}')" 429
check "with its length" has "$(ask -D - -o /dev/null | tr A-Z a-z)" retry-after

# ---- usage ----
for by in day model provider key user org; do
    check "by $by: rows add up to the total" same "$(as "$ANNA" "/api/usage?by=$by" | jq '([.rows[].price] | add) == .total.price and .total.price > 0')" true
done
check "the same as the command's" same "$(as "$ANNA" "/api/usage?by=model" | jq -c '[.total.price,.total.requests]')" "$("$BIN/samovar" usage -o json --by model | jq -c '[.total.price,.total.requests]')"
check "an owner sees his organization" same "$(as "$BOB" "/api/usage?by=org" | jq -r '[.rows[].name] | join(" ")')" "$BOB_ORG"
check "and no other" same "$(as "$BOB" "/api/usage?org=somebody" | jq -r .error.code)" auth.role_needed
check "a file of lines" same "$(as "$ANNA" "/api/usage/export?format=jsonl&by=model" | jq -s 'map(.price) | add')" "$(as "$ANNA" "/api/usage" | jq .total.price)"
check "a table" same "$(as "$ANNA" "/api/usage/export?by=model" | head -1 | tr -d '\r')" "name,requests,errors,cancelled,counted,priced,prompt_tokens,completion_tokens,cached_tokens,reasoning_tokens,price,latency_us,first_token_us,first_tokens,estimated,cache_write_tokens,hedges"
check "an unknown form is refused" same "$(as "$ANNA" "/api/usage/export?format=xml" | jq -r .error.code)" request.invalid
check "changes are in the audit log" has "$("$BIN/samovar" audit --chain "$BOB_ORG" 2>/dev/null || as "$BOB" /api/audit)" budget.set
