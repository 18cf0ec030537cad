#!/usr/bin/env bash
# What operators see of requests to models: metrics, a line for each request, and prompts only of those organizations
# whose owner wants it so.
. "$(dirname "$0")/lib.sh"
export SAMOVAR_AUTH_PASSWORD_MEMORY=19MiB
PASSWORD='correct horse battery'
tool provider_sim; A=$TOOL_PORT
KINDS=(openai anthropic gemini ollama)
declare -A SHORT=([openai]=oa [anthropic]=an [gemini]=ge [ollama]=ol)
export SAMOVAR_CONFIG=$WORK/samovar.yaml
cat > "$SAMOVAR_CONFIG" <<EOF
limits: {free: {minute: 0}}
router:
  log_requests: "on"
  first_token_ms: 1s
  idle_ms: 1s
  attempts: 3
  providers:
    - {name: oa, kind: openai, base_url: "http://127.0.0.1:$A/v1", key_env: KEY_OA, models: [oa-small]}
    - {name: an, kind: anthropic, base_url: "http://127.0.0.1:$A/v1", key_env: KEY_AN, models: [an-small]}
    - {name: ge, kind: gemini, base_url: "http://127.0.0.1:$A/v1beta", key_env: KEY_GE, models: [ge-small]}
    - {name: ol, kind: ollama, base_url: "http://127.0.0.1:$A", models: [ol-small]}
EOF
platform_up KEY_OA=sk-one-1111112222 KEY_AN=sk-ant-333333 KEY_GE=g-444444
for who in anna bob; do
    admin=; [ $who = anna ] && admin=--admin
    echo "$PASSWORD" | "$BIN/samovar" user add $who@example.org $admin --password-stdin >/dev/null
done
login() { curl -s -H 'content-type: application/json' -d "{\"email\":\"$1@example.org\",\"password\":\"$PASSWORD\"}" "$URL/api/auth/login" | jq -r .access_token; }
ANNA=$(login anna) BOB=$(login bob)
ANNA_KEY=$("$BIN/samovar" key new --user anna@example.org --scope chat 2>/dev/null)
BOB_KEY=$("$BIN/samovar" key new --user bob@example.org --scope chat --scope org 2>/dev/null)
BOB_ORG=$("$BIN/samovar" key ls --user bob@example.org -o json | jq -r '.[0].org')
as() { curl -s -m 20 -H "authorization: Bearer $1" -H 'content-type: application/json' "${@:3}" "$URL$2"; }
ask() { # KEY PATH MODEL STREAM TEXT [more members]
    local body
    case $2 in
    */responses) body="\"input\":\"$5\"";;
    */messages) body="\"max_tokens\":500,\"messages\":[{\"role\":\"user\",\"content\":\"$5\"}]";;
    */embeddings) body="\"input\":\"$5\"";;
    *) body="\"messages\":[{\"role\":\"user\",\"content\":\"$5\"}]";;
    esac
    as "$1" "$2" -N -d "{\"model\":\"$3\",\"stream\":$4,$body${6:+,$6}}"
}
some() { jq -c "select($1)" | grep -q .; }
log() { cat "$WORK/up.log"; }
lines() { jq -Rc "fromjson? | select(.event == \"$1\")" "$WORK/up.log"; }

# ---- metrics ----
check "a model answers" has "$(ask "$BOB_KEY" /v1/chat/completions oa/oa-small false hi)" tok0
ask "$BOB_KEY" /v1/chat/completions oa/oa-small true hi >/dev/null
for i in 1 2 3; do ask "$BOB_KEY" /v1/chat/completions "oa/foreign$i,tokens=$i,gap_ms=5" true hi >/dev/null; done
ask "$BOB_KEY" /v1/chat/completions oa/bad,status=429 false hi '"models":["an/an-small"]' >/dev/null
metrics() { as "$ANNA" "/metrics?service=router"; }
metrics > "$WORK/metrics"
one() { grep -F "$1" "$WORK/metrics" | awk '{ print $NF }'; }
SMALL='gen_ai_operation_name="chat",gen_ai_provider_name="oa",gen_ai_request_model="oa-small",gen_ai_response_model="oa-small"'
OTHER='gen_ai_operation_name="chat",gen_ai_provider_name="oa",gen_ai_request_model="other",gen_ai_response_model="other"'
check "tokens that went in" same "$(one "gen_ai_client_token_usage_sum{$SMALL,gen_ai_token_type=\"input\"}")" 20
check "and came out" same "$(one "gen_ai_client_token_usage_sum{$SMALL,gen_ai_token_type=\"output\"}")" 16
check "in powers of four" same "$(one "gen_ai_client_token_usage_bucket{$SMALL,gen_ai_token_type=\"output\",le=\"4\"}") $(one "gen_ai_client_token_usage_bucket{$SMALL,gen_ai_token_type=\"output\",le=\"16\"}")" "0 2"
check "time of calls" same "$(one "gen_ai_server_request_duration_seconds_count{$SMALL,error_type=\"\"}")" 2
check "time to the first token, of streams" same "$(one "gen_ai_server_time_to_first_token_seconds_count{$SMALL}")" 1
check "time of each further one" same "$(one "gen_ai_server_time_per_output_token_seconds_count{$OTHER}")" 2
check "names that nobody lists are one label" same "$(one "gen_ai_client_token_usage_sum{$OTHER,gen_ai_token_type=\"output\"}")" 6
check "and appear nowhere" hasnt "$(cat "$WORK/metrics")" foreign
check "failures say of which kind" test "$(one "gen_ai_server_request_duration_seconds_count{$OTHER,error_type=\"rate\"}")" -ge 1
check "who stood in" same "$(one 'samovar_provider_fallbacks_total{provider="an"}')" 1
check "no unknown metric came with it" same "$(grep -c '^# TYPE gen_ai_' "$WORK/metrics")" 4

# ---- a line for each request ----
written() { lines completion | some '.["gen_ai.original.model"] == "oa/oa-small"'; }
check "a request has its line" until_ok 5 written
check "with what it was" same "$(lines completion | jq -c 'select(.["gen_ai.original.model"] == "oa/oa-small" and .stream) | [.level, .["gen_ai.operation.name"], .["gen_ai.provider.name"], .["gen_ai.request.model"], .["gen_ai.usage.input_tokens"], .["gen_ai.usage.output_tokens"], .["gen_ai.response.finish_reasons"], .["error.type"], .attempts, .org]')" \
    "[\"info\",\"chat\",\"oa\",\"oa-small\",10,8,\"stop\",null,1,\"$BOB_ORG\"]"
check "one line each" same "$(lines completion | jq -s 'map(.request_id) | length == (unique | length)')" true
check "and the id of its decision" same "$(lines completion | jq -s 'all(.decision != null)')" true
ask "$BOB_KEY" /v1/chat/completions oa/broken,status=500 true hi >/dev/null
failed() { lines completion | some '.["gen_ai.original.model"] == "oa/broken,status=500" and .["error.type"] != null'; }
check "a failure says which" until_ok 5 failed

# ---- no prompts unless they are switched on ----
canary() { printf 'canary%s' "$1"; }
for path in /v1/chat/completions /v1/responses /v1/messages /ollama/api/chat; do
    for k in "${KINDS[@]}"; do
        p=${SHORT[$k]}
        for m in unicode=0 fault=cut fault=badjson status=400 fault=errorevent policy=1 fault=empty; do
            s=true; [ $m = fault=badjson ] && s=false
            ask "$BOB_KEY" $path "$p/off,echo=1,$m" $s "$(canary Off) hi" >/dev/null
        done
    done
done
ask "$BOB_KEY" /v1/embeddings oa/off false "$(canary Off)" >/dev/null
ask "$BOB_KEY" /v1/chat/completions nobody/off false "$(canary Off)" >/dev/null
as "$BOB_KEY" /v1/chat/completions -d '{"model":"oa/oa-small","messages":"'"$(canary Off)"'"}' >/dev/null
as "$BOB_KEY" /v1/chat/completions -d '{"model":"oa/oa-small","messages":['"$(canary Off)"'}' >/dev/null
as "$BOB" /api/chat -d '{"message":"'"$(canary Off)"'","model":"oa/oa-small"}' >/dev/null
check "there are lines of these requests" test "$(lines completion | wc -l)" -gt 20
check "prompts and answers are nowhere in the log" hasnt "$(log | grep -o 'canaryOff' | head -1)" canary
check "nor in what tools wrote" hasnt "$(cat "$SAMOVAR_DATA"/*.log "$SAMOVAR_DATA"/run/*.log 2>/dev/null | grep -o 'canaryOff' | head -1)" canary

# ---- the switch ----
switch() { as "$1" "/api/orgs/$BOB_ORG" -X PATCH -d "{\"log_prompts\":\"$2\"}"; }
check "it is off" same "$(as "$BOB" "/api/orgs/$BOB_ORG" | jq -r .org.log_prompts)" off
check "strangers do not find it" same "$(switch "$ANNA" on | jq -r .error.code)" request.not_found
check "other words are refused" same "$(switch "$BOB" maybe | jq -r '.error.fields[0].path')" log_prompts
check "an owner switches it on" same "$(switch "$BOB" on | jq -r .org.log_prompts)" on
check "renaming does not touch it" same "$(as "$BOB" "/api/orgs/$BOB_ORG" -X PATCH -d '{"name":"Bob & Co"}' | jq -r .org.log_prompts)" on
check "that is in the audit log" has "$(as "$BOB" /api/audit)" org.log_prompts
shown() { ask "$BOB_KEY" /v1/chat/completions oa/on,echo=1 false "$(canary Ready)" >/dev/null; log | grep -q canaryReady; }
check "routers hear of it" until_ok 5 shown
for path in /v1/chat/completions /v1/messages; do
    for k in "${KINDS[@]}"; do
        for s in true false; do
            tag=On${path##*/}$k$s
            ask "$BOB_KEY" $path "${SHORT[$k]}/on,echo=1" $s "$(canary $tag) sk-one-1111112222 $BOB_KEY" >/dev/null
            parts() { lines prompt | jq -r --arg t "canary$tag" 'select(.text | contains($t)) | .part' | sort -u | tr '\n' ' ' | grep -q 'answer request'; }
            check "$path, $k, stream $s: prompt and answer" until_ok 5 parts
        done
    done
done
check "they are marked" same "$(lines prompt | jq -s 'all(.private) and all(.org == "'"$BOB_ORG"'")')" true
check "without the providers' keys" hasnt "$(log | grep -o 'sk-one-1111112222' | head -1)" sk-one
check "and without the platform's" hasnt "$(log | grep -oF "$BOB_KEY" | head -1)" sv_
ask "$ANNA_KEY" /v1/chat/completions oa/on,echo=1 false "$(canary Anna)" >/dev/null
big=$(head -c 40000 /dev/zero | tr '\0' 'x')
ask "$BOB_KEY" /v1/chat/completions oa/on true "$(canary Big)$big" >/dev/null
whole() { lines prompt | jq -es '[.[] | select(.pieces > 1)] | length == .[0].pieces and (map(.text) | join("") | length) == 16384' >/dev/null; }
check "a long one comes in pieces, up to 16 KiB" until_ok 5 whole
check "nothing of another organization" hasnt "$(log | grep -o canaryAnna | head -1)" canary
check "off again" same "$(switch "$BOB" off | jq -r .org.log_prompts)" off
quiet() { local t=canaryQ$RANDOM$RANDOM; ask "$BOB_KEY" /v1/chat/completions oa/on,echo=1 false $t >/dev/null; ! log | grep -q $t; }
check "and nothing more is logged" until_ok 5 quiet

# ---- health ----
for i in 1 2 3 4 5 6; do ask "$BOB_KEY" /v1/chat/completions ge/ge-small,status=503 false hi >/dev/null; done
as "$ANNA" /api/health/detailed > "$WORK/health"
check "health shows breakers" same "$(jq -c '.parts.providers.detail.providers | map(select(.name == "ge"))[0] | [.breaker == "partly" or .breaker == "open", .open_ms > 0, .error_rate > 0.5, .calls > 5]' "$WORK/health")" '[true,true,true,true]'
opened() { metrics | awk '/^samovar_provider_open_breakers\{provider="ge"\}/ { found = $2 > 0 } END { exit !found }'; }
again() { ask "$BOB_KEY" /v1/chat/completions ge/ge-small,status=503 false hi >/dev/null; opened; }
check "and so do metrics" until_ok 10 again
