#!/usr/bin/env bash
# Large requests to models have a bound together at one edge, and a key sees only the models that it may ask.
. "$(dirname "$0")/lib.sh"
export SAMOVAR_AUTH_PASSWORD_MEMORY=19MiB
J='content-type: application/json'
export SAMOVAR_CONFIG=$WORK/samovar.yaml
printf 'edge: {bodies_bytes: 32MiB}\nrouter: {discover: false, aliases: [{name: tea, models: [demo]}]}\n' > "$SAMOVAR_CONFIG"
platform_up

large=$WORK/large.json
{ printf '{"model":"demo","messages":[{"role":"user","content":"'; head -c 3000000 /dev/zero | tr '\0' a; printf '"}]}'; } > "$large"
status() { curl -s -m 20 -o /dev/null -D "$WORK/head" -w '%{http_code}' -H "$J" "$@" "$URL/v1/chat/completions"; }
check "a large request is answered" same "$(status --data-binary "@$large")" 200
# another one is coming, slowly
exec 9<> "/dev/tcp/127.0.0.1/${URL##*:}"
printf 'POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Length: 32000000\r\n\r\n{' "${URL#http://}" "$J" >&9
refused() { [ "$(status --data-binary "@$large")" = 503 ]; }
check "beside one that takes the room it is refused" until_ok 5 refused
check "with a time to come back" has "$(tr 'A-Z' 'a-z' < "$WORK/head")" "retry-after:"
check "a small one is not" same "$(status -d "$(chat demo hi)")" 200
check "nor is one of unsaid length" same "$(status -H 'transfer-encoding: chunked' -d "$(chat demo hi)")" 200
check "it is when it grows" same "$(status -H 'transfer-encoding: chunked' --data-binary "@$large")" 503
exec 9>&-
answered() { [ "$(status --data-binary "@$large")" = 200 ]; }
check "there is room when that one has gone" until_ok 5 answered
for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do status --data-binary "@$large" >/dev/null; done
check "what was answered takes no room" same "$(status --data-binary "@$large")" 200

# models of a key
echo 'correct horse battery' | "$BIN/samovar" user add anna@example.org --admin --password-stdin >/dev/null
token=$(curl -s -H "$J" -d '{"email":"anna@example.org","password":"correct horse battery"}' "$URL/api/auth/login" | jq -r .access_token)
key=$(curl -s -H "authorization: Bearer $token" -H "$J" -d '{"scopes":["chat"],"models":["tea"]}' "$URL/api/keys" | jq -r .key)
models() { curl -s -H "authorization: Bearer $1" "$URL/v1/models" | jq -c '[.data[].id] | sort'; }
check "a session sees all models" same "$(models "$token")" '["demo","tea"]'
check "a key those it may ask" same "$(models "$key")" '["tea"]'
check "another one is not there for it" same "$(curl -s -o /dev/null -w '%{http_code}' -H "authorization: Bearer $key" "$URL/v1/models/demo")" 404
