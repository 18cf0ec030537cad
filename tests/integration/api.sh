#!/usr/bin/env bash
# The front door as a client sees it: open access and its end, logins for browsers and programs, tokens and
# keys and their end, limits, pages of other sites, live events. Two edges, so that what one of them
# hears the other has to know.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PASSWORD='seven calm otters'
JSON='content-type: application/json'
req() { # req METHOD PATH [curl options]: prints the body; headers in $WORK/head, status in $WORK/status
    local method=$1 path=$2; shift 2
    curl -s -m 20 -D "$WORK/head" -o "$WORK/body" -w '%{http_code}' -X "$method" "$@" "$URL$path" > "$WORK/status"
    cat "$WORK/body"
}
status() { cat "$WORK/status"; }
header() { tr -d '\r' < "$WORK/head" | sed -n "s/^$1: //Ip"; }
code() { jq -r '.error.code // .code // empty' "$WORK/body"; }
bearer() { printf 'authorization: Bearer %s' "$1"; }
status_of() { req "$@" > /dev/null; status; }
login() { # login EMAIL [JSON members]: sets ACCESS and REFRESH
    req POST /api/auth/login -H "$JSON" -d "{\"email\":\"$1\",\"password\":\"$PASSWORD\"${2:+,$2}}" > /dev/null
    ACCESS=$(jq -r .access_token "$WORK/body") REFRESH=$(jq -r .refresh_token "$WORK/body")
}

# ---- an address beyond this machine ----
refuses() { # refuses "words" ENV...: the platform's configuration is refused in these words
    local words=$1; shift
    local out; out=$(env "$@" timeout 20 "$BIN/samovar" up 2>&1)
    has "$out" "$words"
}
check "an address that others reach needs TLS or a proxy" refuses "edge.tls_cert" SAMOVAR_EDGE_HOST=0.0.0.0
check "and the name that they use" refuses "edge.origin" SAMOVAR_EDGE_HOST=0.0.0.0 SAMOVAR_EDGE_TRUSTED_PROXIES=10.0.0.1
check "limits are not multiplied there" refuses "limits.scale" SAMOVAR_EDGE_HOST=0.0.0.0 SAMOVAR_EDGE_TRUSTED_PROXIES=10.0.0.1 \
    SAMOVAR_EDGE_ORIGIN=https://x.example SAMOVAR_LIMITS_SCALE=10
rm -rf "$SAMOVAR_DATA"

platform_up SAMOVAR_SUPERVISOR_EDGES=2 SAMOVAR_LIMITS_SCALE=1000 SAMOVAR_EDGE_CORS_ORIGINS=https://app.example.org

# ---- open access, until there is an administrator ----
check "whoever comes is the operator at first" same "$(status_of GET /v1/models)" 200
check "a key that is none of ours does no harm" same "$(status_of GET /v1/models -H 'authorization: Bearer sk-whatever')" 200
check "a key that looks like ours must be one" same "$(status_of GET /v1/models -H 'authorization: Bearer sv_nothing')" 401
until_ok 5 grep -q 'setup#token=svs_' "$WORK/up.log"
SETUP=$(grep -o 'setup#token=svs_[0-9a-f]*' "$WORK/up.log" | tail -1)
check "the log has a setup link" has "$SETUP" "token=svs_"
req POST /api/auth/setup -H "$JSON" -d "{\"token\":\"${SETUP#*token=}\",\"email\":\"root@example.org\",\"password\":\"$PASSWORD\"}" >/dev/null
check "it makes the first administrator" same "$(status) $(jq -r .user.admin "$WORK/body")" "201 true"
closed() { [ "$(curl -s -o /dev/null -w '%{http_code}' "$URL/v1/models")" = 401 ]; }
all_closed() { local i; for i in 1 2 3 4 5 6 7 8 9 10; do closed || return 1; done; }
check "then nobody is let in without a name, at no edge" until_ok 2 all_closed
req POST /api/auth/setup -H "$JSON" -d "{\"token\":\"${SETUP#*token=}\",\"email\":\"two@example.org\",\"password\":\"$PASSWORD\"}" >/dev/null
check "the link works once" same "$(status) $(code)" "401 auth.setup_token_invalid"
check "401 says how" same "$(status_of GET /v1/models) $(header www-authenticate)" "401 Bearer"

# ---- a program's login ----
login root@example.org
check "login gives tokens" same "$(status) $(jq -r '.token_type, .expires_in, (.refresh_token | startswith("svr_"))' "$WORK/body" | tr '\n' ' ')" "200 Bearer 900 true "
check "no cookie for a program" same "$(header set-cookie)" ""
check "the token is good" same "$(status_of GET /api/auth/me -H "$(bearer "$ACCESS")")" 200
check "no other spelling of it is" same "$(status_of GET /api/auth/me -H "$(bearer "$ACCESS=")") $(code)" "401 auth.token_invalid"
check "a wrong password is not" same "$(status_of POST /api/auth/login -H "$JSON" -d '{"email":"root@example.org","password":"wrong one here"}') $(code)" "401 auth.wrong_credentials"
check "an unknown field is named" same "$(status_of POST /api/auth/login -H "$JSON" -d '{"email":"root@example.org","password":"x","network":"1.2.3.4"}') $(jq -r '.error.fields[0].path' "$WORK/body")" "400 network"
check "a missing one too" same "$(status_of POST /api/auth/login -H "$JSON" -d '{"email":"root@example.org"}') $(jq -r '.error.fields[0].path' "$WORK/body")" "400 password"
check "JSON only" same "$(status_of POST /api/auth/login -d 'email=a') $(code)" "415 http.media_type"
OLD=$REFRESH
req POST /api/auth/refresh -H "$JSON" -d "{\"refresh_token\":\"$OLD\"}" > /dev/null
ACCESS2=$(jq -r .access_token "$WORK/body")
check "refresh gives the next tokens" same "$(status)" 200
check "a refresh token that comes twice" same "$(status_of POST /api/auth/refresh -H "$JSON" -d "{\"refresh_token\":\"$OLD\"}")" 401
ended() { local i; for i in 1 2 3 4 5 6; do [ "$(curl -s -o "$WORK/e" -w '%{http_code}' -H "$(bearer "$1")" "$URL/api/auth/me")" = 401 ] || return 1; done; }
check "ends the session within a second, at every edge" until_ok 1 ended "$ACCESS2"
check "and says so" same "$(status_of GET /api/auth/me -H "$(bearer "$ACCESS2")") $(code)" "401 auth.token_revoked"

# ---- a browser's login ----
login root@example.org '"cookie":true,"remember":true'
COOKIE=$(header set-cookie)
check "the refresh token is in a cookie for this host alone" has "$COOKIE" "__Host-samovar_refresh=svr_"
for word in HttpOnly Secure SameSite=Strict Path=/ Max-Age=; do check "with $word" has "$COOKIE" "$word"; done
check "and not in the body" same "$(jq -r .refresh_token "$WORK/body")" null
COOKIE=${COOKIE%%;*}
refresh() { status_of POST /api/auth/refresh -H "cookie: $COOKIE" "$@"; }
check "S-CSRF1: no Origin" same "$(refresh -H 'x-samovar-csrf: 1') $(code)" "403 auth.csrf"
check "S-CSRF1: no header" same "$(refresh -H "origin: $URL") $(code)" "403 auth.csrf"
check "S-CSRF1: another site" same "$(refresh -H 'origin: https://evil.example' -H 'x-samovar-csrf: 1')" 403
check "S-CSRF1: a site that may call the API" same "$(refresh -H 'origin: https://app.example.org' -H 'x-samovar-csrf: 1') $(code)" "403 auth.csrf"
check "the page's own refresh" same "$(refresh -H "origin: $URL" -H 'x-samovar-csrf: 1')" 200
NEXT=$(header set-cookie); NEXT=${NEXT%%;*}
check "changes the cookie" test "$NEXT" != "$COOKIE"
COOKIE=$NEXT
check "a cookie that comes twice is refused" same "$(status_of POST /api/auth/refresh -H "cookie: $COOKIE; $COOKIE" -H "origin: $URL" -H 'x-samovar-csrf: 1')" 400
check "logout" same "$(status_of POST /api/auth/logout -H "cookie: $COOKIE" -H "origin: $URL" -H 'x-samovar-csrf: 1')" 204
check "takes the cookie back" has "$(header set-cookie)" "Max-Age=0"
check "for good" same "$(refresh -H "origin: $URL" -H 'x-samovar-csrf: 1')" 401

# ---- pages of other sites ----
login root@example.org
A=$(bearer "$ACCESS")
check "S-H4: a page on the list may ask" same "$(status_of OPTIONS /v1/chat/completions -H 'origin: https://app.example.org' -H 'access-control-request-method: POST') $(header access-control-allow-origin)" "204 https://app.example.org"
check "without credentials" same "$(header access-control-allow-credentials)" ""
check "and is answered" same "$(status_of GET /v1/models -H 'origin: https://app.example.org' -H "$A") $(header access-control-allow-origin)" "200 https://app.example.org"
check "also with an error" same "$(status_of GET /v1/models -H 'origin: https://app.example.org') $(header access-control-allow-origin)" "401 https://app.example.org"
check "S-H4: others hear nothing of it" same "$(status_of OPTIONS /v1/chat/completions -H 'origin: https://app.example.org.evil.example' -H 'access-control-request-method: POST') $(header access-control-allow-origin)" "204 "
check "null neither" same "$(status_of GET /v1/models -H 'origin: null' -H "$A") $(header access-control-allow-origin)" "200 "
check "a foreign host name is refused" same "$(status_of GET /healthz -H 'host: evil.example')" 421

# ---- API keys ----
req POST /api/keys -H "$A" -H "$JSON" -d '{"name":"models","models":["demo"]}' > /dev/null
KEY=$(jq -r .key "$WORK/body") KEY_ID=$(jq -r .info.id "$WORK/body")
check "a key is made" same "$(status)" 201
chat_as() { status_of POST /v1/chat/completions -H "$JSON" -H "authorization: Bearer $1" -d "$(chat "$2" hello)"; }
check "and may ask its model" same "$(chat_as "$KEY" demo)" 200
check "as x-api-key too" same "$(status_of GET /v1/models -H "x-api-key: $KEY")" 200
check "and no other" same "$(chat_as "$KEY" gpt-4o) $(code)" "403 model.not_allowed"
check "it makes no keys" same "$(status_of POST /api/keys -H "x-api-key: $KEY" -H "$JSON" -d '{}') $(code)" "403 auth.scope_needed"
check "it is told of in the list, without its secret" same "$(req GET /api/keys -H "$A" | jq -r --arg id "$KEY_ID" '.keys[] | select(.id == $id) | .name, has("key")' | tr '\n' ' ')" "models false "

# What an authenticated request costs on the bus: as much as one of the open operator, one request.
served() { "$BIN/samovar" call bus.services '{}' | jq '[.instances[] | select(.service == "auth" or .service == "cache") | .served] | add'; }
chat_as "$KEY" demo > /dev/null; chat_as "$KEY" demo > /dev/null
BEFORE=$(served)
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do chat_as "$KEY" demo > /dev/null; done
check "twenty authenticated requests cost no message to auth or cache each: leases only" under "$(( $(served) - BEFORE ))" 4

req DELETE "/api/keys/$KEY_ID" -H "$A" > /dev/null
check "a key ends" same "$(status)" 204
key_gone() { local i; for i in 1 2 3 4 5 6; do [ "$(curl -s -o /dev/null -w '%{http_code}' -H "x-api-key: $KEY" "$URL/v1/models")" = 401 ] || return 1; done; }
check "within a second, at every edge" until_ok 1 key_gone

# ---- live events ----
login root@example.org
A=$(bearer "$ACCESS")
curl -sN -m 60 -H "$A" "$URL/api/events" > "$WORK/events" &
PIDS+=($!); LISTENER=$!
until_ok 5 grep -q retry "$WORK/events"
req POST /api/keys -H "$A" -H "$JSON" -d '{"name":"seen"}' > /dev/null
check "S-SSE1: what happens is heard of" until_ok 3 grep -q 'event: key.created' "$WORK/events"
FIRST=$(sed -n 's/^id: //p' "$WORK/events" | head -1)
req POST /api/keys -H "$A" -H "$JSON" -d '{"name":"missed"}' > /dev/null
until_ok 3 sh -c "[ \$(grep -c '^id: ' '$WORK/events') -ge 2 ]"
SECOND=$(sed -n 's/^id: //p' "$WORK/events" | tail -1)
resumed() { curl -sN -m 1 -H "$A" -H "last-event-id: $FIRST" "$URL/api/events" > "$WORK/again"; grep -q "id: $SECOND" "$WORK/again" && ! grep -q "id: $FIRST" "$WORK/again"; }
check "what was missed comes after a pause" resumed
curl -sN -m 1 -H "$A" -H "last-event-id: 0190a000-0000-7000-8000-000000000000" "$URL/api/events" > "$WORK/gap"
check "or that it is not known any more" grep -q 'event: gap' "$WORK/gap"
req POST /api/auth/logout -H "$A" > /dev/null
check "S-SSE1: the stream ends with the session" wait_gone "$LISTENER" 2
check "and says why" grep -q 'auth.token_revoked' "$WORK/events"

# ---- what operators see ----
login root@example.org
A=$(bearer "$ACCESS")
req POST /api/admin/users -H "$A" -H "$JSON" -d "{\"email\":\"ann+1@example.org\",\"name\":\"Ann Other\",\"password\":\"$PASSWORD\"}" > /dev/null
found() { req GET "/api/admin/users?q=$1" -H "$A" | jq -r '.users[].email' | tr '\n' ' '; }
check "a plus in a query is a space" same "$(found Ann+Other)" "ann+1@example.org "
check "%2B is a plus" same "$(found ann%2B1)" "ann+1@example.org "
req GET /api/health/detailed -H "$A" > /dev/null
check "health in detail" same "$(status) $(jq -r '.status, .parts.auth.status, .parts.mail.status, .parts.disk.status, .parts.cache.status' "$WORK/body" | tr '\n' ' ')" "200 ok ok ok ok ok "
req GET '/api/audit?chain=platform&format=csv' -H "$A" > /dev/null
check "the audit log as CSV" same "$(status) $(header content-type)" "200 text/csv; charset=utf-8"
req GET '/api/audit?format=jsonl&event=login.' -H "$A" > /dev/null
check "as lines, filtered" same "$(jq -r .event "$WORK/body" | cut -d. -f1 | sort -u)" login
check "keys of tokens for others" same "$(req GET /.well-known/jwks.json | jq -r '.keys[0].crv')" Ed25519

# ---- kill -9 ----
TOKEN_ENDED=$ACCESS2
kill -9 "$(child_pid auth/1)" "$(child_pid edge/1)" "$(child_pid edge/2)" "$(child_pid cache/1)"
check "everything comes back" until_ok 10 platform_ready
check "what has ended stays ended" until_ok 5 ended "$TOKEN_ENDED"
good() { [ "$(curl -s -o /dev/null -w '%{http_code}' -H "$A" "$URL/api/auth/me")" = 200 ]; }
check "what was good still is" until_ok 5 good
AUTH=$(child_pid auth/1)
kill -STOP "$AUTH"
EDGES=$("$BIN/samovar" ps -o json | jq -r '.[] | select((.name | startswith("edge/")) and .pid > 0) | .pid')
kill -9 $EDGES
blind() { [ "$(curl -s -m 2 -o "$WORK/r" -w '%{http_code}' "$URL/readyz")" = 503 ] && grep -q '"identities":"missing"' "$WORK/r"; }
check "an edge that has no snapshot is not ready" until_ok 8 blind
check "and lets nobody in" same "$(curl -s -m 5 -o /dev/null -w '%{http_code}' -H "$A" "$URL/v1/models")" 503
kill -CONT "$AUTH"
check "until it has" until_ok 8 good
platform_down

# ---- limits as they are ----
platform_up
ten() { local i; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do curl -s -o "$WORK/body" -D "$WORK/head" -w '%{http_code} ' "$URL/"; done; }
check "ten a minute for the anonymous" same "$(ten)" "200 200 200 200 200 200 200 200 200 200 429 429 "
check "with the pause to make" test "$(header retry-after)" -ge 1 -a "$(header x-ratelimit-remaining)" = 0 -a "$(header x-ratelimit-limit)" = 10
check "which is in the words of the API" same "$(code)" limit.exceeded
check "health is not limited" same "$(status_of GET /healthz)" 200
check "X-Forwarded-For of nobody in particular changes nothing" same "$(status_of GET / -H 'x-forwarded-for: 203.0.113.7')" 429
platform_down
platform_up SAMOVAR_EDGE_TRUSTED_PROXIES=127.0.0.1
check "that of a trusted proxy does" same "$(ten >/dev/null; status_of GET / -H 'x-forwarded-for: 203.0.113.7')" 200
