#!/usr/bin/env bash
# The description of the API: linted, complete, and true of the answers.
. "$(dirname "$0")/../integration/lib.sh"
cd "$ROOT/tests/openapi"
[ -x node_modules/.bin/node ] || npm ci --no-audit --no-fund --loglevel=error || exit 1
printf 'correct horse battery 9\n' > "$WORK/password"
platform_up
DOC=$WORK/openapi.json
curl -s -o "$DOC" "$URL/openapi.json"
REDOCLY_TELEMETRY=off node_modules/.bin/node node_modules/.bin/redocly lint --config redocly.yaml --format stylish "$DOC" > "$WORK/lint.log" 2>&1
check "the linter finds nothing" same $? 0
grep -q 'is valid' "$WORK/lint.log" && ! grep -q 'warning' "$WORK/lint.log" || { cat "$WORK/lint.log"; check "no warnings" false; }

doc() { jq -r "$1" "$DOC"; }
check "version" same "$(doc .openapi)" 3.1.0
check "what the edge says is not asked for" same "$(doc '[.paths[][] | .requestBody? // empty | .. | objects | .properties? // empty | keys[] | select(. == "network" or . == "device" or . == "session")] | length')" 0
check "a session's network is the one of the answer" same "$(doc '.components.schemas.auth_session_info.properties | has("network")')" true
check "path names are not in the body" same "$(doc '.paths["/api/orgs/{id}"].patch.requestBody.content["application/json"].schema.properties | keys | join(",")')" log_prompts,name
check "queries" same "$(doc '.paths["/api/admin/users"].get.parameters | map(.in + ":" + .name) | join(",")')" query:q,query:after
check "access" same "$(doc '.paths["/api/keys"].post | .["x-samovar-access"].scope + " " + (.security | tojson)')" 'session [{"accessToken":[]}]'
check "pages are no part of it" same "$(doc '.paths | has("/login")')" false
check "OpenAI's errors under /v1" same "$(doc '.paths["/v1/models"].get.responses["401"]["$ref"]')" '#/components/responses/OpenAI401'
check "Anthropic's under /v1/messages" same "$(doc '.paths["/v1/messages"].post.responses["401"]["$ref"]')" '#/components/responses/Anthropic401'
check "Ollama's under /ollama" same "$(doc '.paths["/ollama/api/chat"].post.responses["401"]["$ref"]')" '#/components/responses/Ollama401'
check "all codes of errors" same "$(doc '.["x-samovar-errors"]["auth.wrong_code"].status')" 401

"$BIN/samovar" user add one@example.org --admin --password-stdin < "$WORK/password" > /dev/null
login=$(jq -n --rawfile p "$WORK/password" '{email: "one@example.org", password: ($p | rtrimstr("\n"))}' |
    curl -s -H 'content-type: application/json' -d @- "$URL/api/auth/login")
token=$(jq -r .access_token <<< "$login")
get() { curl -s -H "authorization: Bearer $token" "$URL$1"; }
# true_of ANSWER SCHEMA: its members are those of the schema, neither more nor less.
true_of() {
    local want got
    want=$(doc ".components.schemas.$2.required | sort | join(\",\")")
    got=$(jq -r 'keys | join(",")' <<< "$1")
    same "$got" "$want"
}
check "login is as described" true_of "$login" auth_login_reply
check "its user is" true_of "$(jq .user <<< "$login")" auth_user_info
check "me is" true_of "$(get /api/auth/me)" auth_me_reply
check "a session is" true_of "$(get /api/auth/sessions | jq '.sessions[0]')" auth_session_info
check "an organization is" true_of "$(get /api/orgs | jq '.orgs[0]')" auth_org
check "an event of the audit log is" true_of "$(get '/api/audit?chain=platform' | jq '.events[0]')" auth_audit_event
check "an error is" same "$(get /api/keys/x | jq -r '.error | keys | join(",")')" \
    "$(doc '.components.schemas.Error.properties.error.required | sort | join(",")')"

head() { curl -s -o /dev/null -D - "$@" "$URL/openapi.json" | tr -d '\r'; }
tag=$(head | sed -n 's/^etag: //p')
check "a second look costs nothing" has "$(head -H "if-none-match: $tag")" "HTTP/1.1 304"
check "brotli is the same" same "$(curl -s -H 'accept-encoding: br' "$URL/openapi.json" | brotli -dc | cksum)" "$(cksum < "$DOC")"
check "gzip is the same" same "$(curl -s -H 'accept-encoding: gzip' "$URL/openapi.json" | gzip -dc | cksum)" "$(cksum < "$DOC")"
platform_down
check "ends well" same "$UP_EXIT" 0
