#!/usr/bin/env bash
# Budgets and usage as HTTP clients see them: who may set and see which, what is refused and how, and sums that
# are those of the ledger to the micro-unit.
. "$(dirname "$0")/lib.sh"
export SAMOVAR_AUTH_PASSWORD_MEMORY=19MiB
PASSWORD='correct horse battery'
tool provider_sim --models sim-small,sim-other,sim-draw,sim-hear,sim-judge
export SAMOVAR_CONFIG=$WORK/samovar.yaml
cat > "$SAMOVAR_CONFIG" <<END
router:
  demo_delay_ms: 0
  unpriced: refuse
  model_info:
    - {model: sim-draw, image: 40000, can: [media]}
    - {model: sim-hear, hour: 3600000, can: [media]}
    - {model: sim-judge, call: 7, can: [media]}
  prices:
    - {model: sim-small, input: 2500000, output: 10000000}
    - {model: sim-other, input: 2500000, output: 10000000}
    - {model: "+1+1", input: 0, output: 0}
  providers:
    - {name: sim, base_url: "http://127.0.0.1:$TOOL_PORT/v1"}
END
platform_up
for who in anna bob carl; do
    admin=; [ $who = anna ] && admin=--admin
    echo "$PASSWORD" | "$BIN/samovar" user add $who@example.org $admin --password-stdin >/dev/null
done
login() { curl -s -H 'content-type: application/json' -d "{\"email\":\"$1@example.org\",\"password\":\"$PASSWORD\"}" "$URL/api/auth/login" | jq -r .access_token; }
ANNA=$(login anna) BOB=$(login bob) CARL=$(login carl)
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
# a budget of one model holds for whoever names it, in whatever way, and others answer instead
other=$(set_budget "$BOB" '{"kind":"org","model":"sim-other","total":1}' | jq -r .budget.id)
named() { as "$KEY" /v1/chat/completions -d "$(chat "$1" hi "\"max_tokens\":9${2:-}")" | jq -r '.error.code // .model'; }
check "a model's own budget refuses" until_ok 2 eval '[ "$(named sim-other)" = budget.exceeded ]'
check "also with its provider in front" same "$(named sim/sim-other)" budget.exceeded
check "also as one of several" same "$(named sim-small ',"models":["sim-other"],"mode":"all"')" budget.exceeded
check "in a race the others run" same "$(named sim-small ',"models":["sim-other"],"mode":"race"')" sim-small
check "in a list the next one answers" same "$(named sim-other ',"models":["sim-small"]')" sim-small
as "$BOB" "/api/budgets/$other" -X DELETE
# what is not counted in tokens: pictures, sound, calls; and what nobody knows the price of
limit() { set_budget "$BOB" "{\"level\":\"user\",\"kind\":\"key\",\"subject\":\"$KEY_ID\",\"total\":$(($(used) + $1))}" >/dev/null; }
draw() { as "$KEY" /v1/images/generations -o /dev/null -w '%{http_code}' -d "{\"model\":\"sim-draw\",\"prompt\":\"a cat\"$1}"; }
cost() { as "$BOB" "/api/usage?key=$KEY_ID&model=$1" | jq -c '[.total.requests,.total.priced // 0,.total.price // 0]'; }
costs() { [ "$(cost $1)" = "$2" ]; }
limit 100000
check "three pictures do not fit" until_ok 2 eval '[ "$(draw ",\"n\":3")" = 402 ]'
check "two do" same "$(draw ',"n":2')" 200
check "and are paid" until_ok 5 costs sim-draw '[1,1,80000]'
limit 10000
hear() { head -c $1 /dev/zero | curl -s -o /dev/null -w '%{http_code}' -H "authorization: Bearer $KEY" -F model=sim-hear -F 'file=@-;filename=a.wav' "$URL/v1/audio/transcriptions"; }
check "a long recording does not fit" until_ok 2 eval '[ "$(hear 100000)" = 402 ]'
check "a short one does" same "$(hear 20000)" 200
check "and costs the second that its provider told" until_ok 5 costs sim-hear '[1,1,1000]'
embed() { as "$KEY" /v1/embeddings -o /dev/null -w '%{http_code}' -d "{\"model\":\"sim-small\",\"input\":[\"$(head -c $1 /dev/zero | tr '\0' a)\"]}"; }
limit 2000
check "a long text's vectors do not fit" until_ok 2 eval '[ "$(embed 8000)" = 402 ]'
check "a short one's do" same "$(embed 80)" 200
limit 10000
judge() { as "$KEY" /v1/moderations -d "{\"model\":\"$1\",\"input\":\"hello\"}" | jq -r '.error.param // .model'; }
check "a moderation" same "$(judge sim-judge)" sim-judge
check "costs its call" until_ok 5 costs sim-judge '[1,1,7]'
check "without a price money's budgets refuse, as is set" same "$(judge sim-other-2)" model
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
# a member sees what is his, whatever he asks for
TEAM=$(as "$BOB" /api/orgs -d '{"name":"team"}' | jq -r .org.id)
work_in() { curl -s -X POST -H "authorization: Bearer $1" "$URL/api/orgs/$TEAM/switch" | jq -r .access_token; }
LEADER=$(work_in "$BOB")
as "$LEADER" /v1/chat/completions -d "$(chat sim-small hi)" >/dev/null
link=$(as "$LEADER" "/api/orgs/$TEAM/invitations" -d '{"role":"member"}' | jq -r .link)
as "$CARL" /api/invitations/accept -d "{\"token\":\"${link#*token=}\"}" >/dev/null
CARL=$(work_in "$CARL")
one_request() { as "$LEADER" "/api/usage?by=user" | jq -e '.total.requests == 1' >/dev/null; }
check "the team's owner sees what it has used" until_ok 5 one_request
check "a member sees nothing of the others" same "$(as "$CARL" "/api/usage?by=user" | jq -c '[.rows, .total.requests // 0]')" '[[],0]'
for q in model=sim-small by=key org=$TEAM user=; do
    check "also by $q" same "$(as "$CARL" "/api/usage?$q" | jq -c '[.rows, .total.requests // 0]')" '[[],0]'
done
check "nor in a file" same "$(as "$CARL" "/api/usage/export?by=model&format=jsonl" | wc -c)" 0
for q in user=$(as "$BOB" /api/auth/me | jq -r .user.id) org=$BOB_ORG; do
    check "asking for $q is refused" same "$(as "$CARL" "/api/usage?$q" | jq -r .error.code)" auth.role_needed
done
for q in by=hour from=2030-02-30 from=1969-12-31 to=x "from=2030-01-02&to=2030-01-01" after=x format=csv; do
    check "$q is refused" same "$(as "$BOB" "/api/usage?$q" -o /dev/null -w '%{http_code}')" 400
done
check "days are of UTC" same "$(TZ=Pacific/Kiritimati as "$BOB" "/api/usage?from=1970-01-01&to=9999-12-31" | jq -r '.rows[-1].name')" "$(date -u +%F)"
check "a file of lines" same "$(as "$ANNA" "/api/usage/export?format=jsonl&by=model" | jq -s 'map(.price) | add')" "$(as "$ANNA" "/api/usage" | jq .total.price)"
check "a table" same "$(as "$ANNA" "/api/usage/export?by=model" | head -1 | tr -d '\r')" "name,requests,errors,cancelled,counted,priced,prompt_tokens,completion_tokens,cached_tokens,reasoning_tokens,price,latency_us,first_token_us,first_tokens,estimated,cache_write_tokens,hedges"
as "$ANNA" /v1/chat/completions -d "$(chat "+1+1" hi)" >/dev/null
no_formula() { as "$ANNA" "/api/usage/export?by=model" | grep -qF "\"'+1+1\","; }
check "in which no name is a formula" until_ok 2 no_formula
check "an unknown form is refused" same "$(as "$ANNA" "/api/usage/export?format=xml" | jq -r .error.code)" request.invalid
check "changes are in the audit log" has "$("$BIN/samovar" audit --chain "$BOB_ORG" 2>/dev/null || as "$BOB" /api/audit)" budget.set
