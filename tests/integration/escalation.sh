#!/usr/bin/env bash
# What somebody tries who wants more than he has: an access token kept alive without its refresh token,
# a token out of a race, an address that is not his, another organization's name, a lock on somebody
# else's account, all places for uploads.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PASSWORD='seven calm otters'
JSON='content-type: application/json'
platform_up SAMOVAR_LIMITS_SCALE=100000 SAMOVAR_AUTH_REGISTRATION=open SAMOVAR_EDGE_UPLOADS=16 \
    SAMOVAR_EDGE_TRUSTED_PROXIES=127.0.0.1 SAMOVAR_EDGE_ORIGIN=http://127.0.0.1
printf %s "$PASSWORD" | "$BIN/samovar" user add root@example.org --admin --password-stdin >/dev/null

call() { # call METHOD PATH TOKEN [BODY] [curl options]: status in $WORK/status
    local method=$1 path=$2 token=$3 body=${4:-}; shift 3; [ $# -gt 0 ] && shift
    curl -s -m 20 -o "$WORK/body" -w '%{http_code}' -X "$method" ${token:+-H "authorization: Bearer $token"} \
        ${body:+-H "$JSON" --data-binary "$body"} "$@" "$URL$path" >"$WORK/status"
    cat "$WORK/body"
}
status_of() { call "$@" >/dev/null; cat "$WORK/status"; }
login() { # login EMAIL [PASSWORD [NETWORK]]: the answer
    call POST /api/auth/login '' "{\"email\":\"$1\",\"password\":\"${2:-$PASSWORD}\"}" -H "x-forwarded-for: ${3:-192.0.2.1}"
}
token() { login "$@" | jq -r .access_token; }
person() { call POST /api/admin/users "$ROOT" "{\"email\":\"$1\",\"password\":\"$PASSWORD\"}" | jq -r .user.id; }
ROOT=$(token root@example.org)
for name in olga max eve; do person "$name@example.org" >/dev/null; done
OLGA=$(token olga@example.org)
ORG=$(call POST /api/orgs "$OLGA" '{"name":"Acme"}' | jq -r .org.id)

# ---- tokens ----
ends() { jq -rR 'split(".")[1] | gsub("-"; "+") | gsub("_"; "/") | . + "=" * ((4 - length % 4) % 4) | @base64d | fromjson | .exp' <<<"$1"; }
first=$(ends "$OLGA")
until_ok 3 eval "[ \$(date +%s) -ge $((first - 898)) ]"
OLGA=$(call POST "/api/orgs/$ORG/switch" "$OLGA" | jq -r .access_token)
check "switching prolongs nothing" under "$(ends "$OLGA")" "$first"
check "a body of no bytes is none" same "$(status_of POST "/api/orgs/$ORG/switch" "$OLGA" '' -H 'content-length: 0')" 200

refresh_race() { # twenty at once with one refresh token; the winner's access token holds for no longer
    local refresh i winner
    refresh=$(login max@example.org | jq -r .refresh_token)
    for i in $(seq 20); do
        curl -s -m 20 -H "$JSON" -d "{\"refresh_token\":\"$refresh\"}" "$URL/api/auth/refresh" >"$WORK/race.$i" &
        PIDS+=($!)
    done
    for i in "${PIDS[@]}"; do wait "$i"; done
    PIDS=()
    winner=$(jq -r '.access_token // empty' "$WORK"/race.* | head -1)
    [ -n "$winner" ] && until_ok 2 eval "[ \$(status_of GET /api/auth/me $winner) = 401 ]"
}
check "S-RT1: who wins a race for a refresh token that is reused wins nothing" refresh_race

# ---- addresses and organizations ----
link=$(call POST "/api/orgs/$ORG/invitations" "$OLGA" '{"email":"chief@corp.example"}' | jq -r .link)
call POST /api/auth/register '' "{\"email\":\"chief@corp.example\",\"password\":\"$PASSWORD\",\"invitation\":\"${link#*token=}\"}" >/dev/null
check "who invites an address has not confirmed it" same \
    "$(call GET '/api/admin/users?q=chief' "$ROOT" | jq -r '.users[0].verified')" false
KEY=$(call POST /api/keys "$OLGA" '{"scopes":["read"]}' | jq -r .key)
check "a key hears of its own organization alone" same "$(call GET /api/auth/me "$KEY" | jq -r '[.orgs[].id] | join(" ")')" "$ORG"
check "its user of all" same "$(call GET /api/auth/me "$OLGA" | jq '.orgs | length')" 2

denied() { call GET '/api/audit?chain=platform&event=access.denied' "$ROOT" | jq '.events | length'; }
before=$(denied)
call GET /api/audit "$OLGA" >/dev/null
check "reading one's own events is no refusal" same "$(denied)" "$before"
call GET '/api/audit?chain=platform' "$OLGA" >/dev/null
check "reading the platform's is one" same "$(denied)" "$((before + 1))"

call POST /api/keys "$(token eve@example.org)" '{"name":"hers"}' >"$WORK/key"
eve=$(jq -r .info.user "$WORK/key")
AS=$(call POST "/api/admin/users/$eve/impersonate" "$ROOT" '{"reason":"looking"}' | jq -r .access_token)
check "who acts as a user looks at keys" same "$(status_of GET "/api/keys/$(jq -r .info.id "$WORK/key")" "$AS")" 200
check "and takes none away" same "$(status_of DELETE "/api/keys/$(jq -r .info.id "$WORK/key")" "$AS")" 403

# ---- somebody else's account ----
for i in 1 2 3 4 5 6; do login olga@example.org wrong-wrong "198.51.100.$i" >/dev/null; done
check "S-LK1: strangers wait" same "$(login olga@example.org "$PASSWORD" 198.51.100.9 | jq -r .error.code)" auth.locked_out
check "S-LK1: the owner does not, where she was before" same "$(login olga@example.org "$PASSWORD" | jq -r .token_type)" Bearer

# ---- places for uploads ----
upload() { # upload TOKEN: begins one and waits with the rest
    exec {fd}<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'POST /api/files HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer %s\r\ncontent-type: multipart/form-data; boundary=xx\r\ncontent-length: 79\r\n\r\n--xx\r\ncontent-disposition: form-data; name="f"; filename="a"\r\n\r\nhello' "$1" >&"$fd"
}
full() { [ "$(status_of POST /api/files "$OLGA" '' -F "a=@$WORK/body")" = 429 ]; }
echo text >"$WORK/text"
upload "$OLGA"; upload "$OLGA"
check "one user has an eighth of the places" until_ok 3 full
MAX=$(token max@example.org)
check "others have theirs" same "$(status_of POST /api/files "$MAX" '' -F "a=@$WORK/text")" 201
upload "$MAX"
until_ok 3 eval "[ \$(status_of GET /api/files $MAX) = 200 ]"
call POST /api/auth/logout-all "$MAX" '{}' >/dev/null
until_ok 2 eval "[ \$(status_of GET /api/files $MAX) = 401 ]"
printf '\r\n--xx--\r\n' >&"$fd"
read -r -t 5 _ answer _ <&"$fd"
check "who has lost his access while the bytes came stores nothing" same "$answer" 401
