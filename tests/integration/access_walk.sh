#!/usr/bin/env bash
# The whole route table with every kind of caller: what a row does not allow is refused, and refused in
# the words for it; what it allows is not. The rows are those of docs/routes.md, which is made from
# the table. Requests carry a field that nothing knows, so that none of them has an effect.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

platform_up SAMOVAR_LIMITS_SCALE=100000
PASSWORD='seven calm otters'
ADMIN=root@example.org
printf %s "$PASSWORD" | "$BIN/samovar" user add "$ADMIN" --admin --password-stdin >/dev/null
until_ok 5 sh -c "[ \$(curl -s -o /dev/null -w '%{http_code}' $URL/v1/models) = 401 ]"

call() { # call METHOD PATH TOKEN [BODY]
    curl -s -m 20 -X "$1" -H "authorization: Bearer $3" ${4:+-H 'content-type: application/json' --data-binary "$4"} "$URL$2"
}
token() { # token EMAIL
    curl -s -m 20 -H 'content-type: application/json' -d "{\"email\":\"$1\",\"password\":\"$PASSWORD\"}" "$URL/api/auth/login" | jq -r .access_token
}
ROOT_TOKEN=$(token "$ADMIN")

# An organization with somebody in each role.
call POST /api/admin/users "$ROOT_TOKEN" "{\"email\":\"owner@example.org\",\"password\":\"$PASSWORD\"}" >/dev/null
OWNER=$(token owner@example.org)
ORG=$(call POST /api/orgs "$OWNER" '{"name":"Walkers"}' | jq -r .org.id)
OWNER=$(call POST "/api/orgs/$ORG/switch" "$OWNER" | jq -r .access_token)
declare -A who
who[owner]=$OWNER
who[platform]=$ROOT_TOKEN
for role in viewer member admin; do
    call POST /api/admin/users "$ROOT_TOKEN" "{\"email\":\"$role@example.org\",\"password\":\"$PASSWORD\"}" >/dev/null
    t=$(token "$role@example.org")
    link=$(call POST "/api/orgs/$ORG/invitations" "$OWNER" "{\"role\":\"$role\"}" | jq -r .link)
    call POST /api/invitations/accept "$t" "{\"token\":\"${link#*token=}\"}" >/dev/null
    who[$role]=$(call POST "/api/orgs/$ORG/switch" "$t" | jq -r .access_token)
    check "somebody is $role" same "$(call GET /api/orgs "${who[$role]}" | jq -r --arg o "$ORG" '.orgs[] | select(.id == $o) | .role')" "$role"
done
for scope in chat read write files org; do
    who[key-$scope]=$(call POST /api/keys "$OWNER" "{\"scopes\":[\"$scope\"]}" | jq -r .key)
    check "there is a key for $scope" has "${who[key-$scope]}" sv_
done
who[key-admin]=$(call POST /api/keys "$ROOT_TOKEN" '{"scopes":["admin"]}' | jq -r .key)
who[anonymous]=''

mapfile -t ROWS < <(sed -n 's/^| \([A-Z]*\) | `\([^`]*\)` | \([^|]*\) | \([^|]*\) | .*/\1 \2 \3 | \4/p' "$ROOT/docs/routes.md" | cat)
check "the table was read" [ "${#ROWS[@]}" -ge 60 ]

# Paths as they are asked for, each with a field that nothing knows.
PATHS=()
for row in "${ROWS[@]}"; do
    read -r method path _ <<<"$row"
    path=${path//\{id...\}/none}
    while [[ $path =~ \{[a-z]+\} ]]; do path=${path/"${BASH_REMATCH[0]}"/0190a000-0000-7000-8000-000000000000}; done
    case $method in GET | DELETE) path+='?nothing_knows_this=1';; esac
    PATHS+=("$path")
done

# What has to come back: 401, role, scope or pass.
rank() { # rank ROLE: sets RANK
    case $1 in user) RANK=0;; viewer) RANK=1;; member) RANK=2;; admin) RANK=3;; owner) RANK=4;; platform*) RANK=9;; esac
}
expected() { # expected CALLER WHO SCOPE: sets WANT
    local caller=$1 need=$2 scope=$3 has
    WANT=pass
    [ "$need" = everybody ] && return
    [ "$caller" = anonymous ] && { WANT=401; return; }
    case $caller in
    key-*)
        [ "$scope" = "${caller#key-}" ] || { WANT=scope; return; }
        [ "$need" != 'platform admin' ] || [ "$caller" = key-admin ] || WANT=role
        return;;
    esac
    [ "$caller" = platform ] && return
    rank "$caller"; has=$RANK
    rank "$need"
    [ "$need" != 'platform admin' ] && [ "$has" -ge "$RANK" ] || WANT=role
}
# What did come back, by the code in the body: lines of "STATUS WHO BODY", with tabs between.
seen() {
    jq -Rr 'split("\t") | .[0] as $status | .[1] as $need | (.[2:] | join(" ") | fromjson? // null)
        | (try (if type != "object" then null elif .type? == "error" then # of Anthropic, without a code of ours
            if .error.type == "authentication_error" then "auth.credentials_missing"
            elif .error.message | test("scope|API keys") then "auth.scope_needed"
            elif .error.type == "permission_error" then "auth.role_needed" else null end
        elif (.error? | type) == "string" then # of Ollama, a text alone
            if .error | test("scope|API keys") then "auth.scope_needed"
            elif $status == "401" then "auth.credentials_missing"
            elif $status == "403" then "auth.role_needed" else null end
        else .error.code end) catch null) as $code
        | if $code == "auth.credentials_missing" then "401"
        elif $code == "auth.scope_needed" then "scope"
        elif $code == "auth.role_needed" then (if $need == "user" then "pass" else "role" end) # there the auth actor has judged
        elif $status != "401" then "pass" else "401 \($code)" end'
}

walk() { # walk CALLER: every row with this caller, in one run of curl
    local caller=$1 i row method path need body patience wants=() wrong=0
    rm -f "$WORK"/out.*
    for i in "${!ROWS[@]}"; do
        row=${ROWS[$i]}
        read -r method path row <<<"$row"
        expected "$caller" "${row%% |*}" "${row##*| }"
        wants+=("$WANT")
        # who may listen to events would do so for ever
        patience=20; [ "$path $WANT" = '/api/events pass' ] && patience=0.3
        [ "$i" = 0 ] || echo next
        printf 'url = "%s%s"\nrequest = %s\nsilent\nmax-time = %s\noutput = "%s"\nwrite-out = "%%{http_code}\\n"\n' "$URL" \
            "${PATHS[$i]}" "$method" "$patience" "$WORK/out.$i"
        [ -n "${who[$caller]}" ] && printf 'header = "authorization: Bearer %s"\n' "${who[$caller]}"
        case $method$path in
        */audio/transcriptions) printf 'form = "nothing_knows_this=1"\n';;
        POST* | PATCH*) printf 'header = "content-type: application/json"\ndata = "{\\"nothing_knows_this\\":1}"\n';;
        esac
    done > "$WORK/walk"
    mapfile -t STATUS < <(curl -K "$WORK/walk" 2>/dev/null)
    mapfile -t GOT < <(for i in "${!ROWS[@]}"; do
        read -r _ _ row <<<"${ROWS[$i]}"
        body=''; [ -f "$WORK/out.$i" ] && body=$(<"$WORK/out.$i")
        printf '%s\t%s\t%s\n' "${STATUS[$i]}" "${row%% |*}" "${body//$'\n'/ }"
    done 2>/dev/null | seen)
    for i in "${!ROWS[@]}"; do
        [ "${wants[$i]}" = "${GOT[$i]}" ] && continue
        echo >&3 "  $caller ${ROWS[$i]}: ${GOT[$i]} instead of ${wants[$i]}"
        wrong=$((wrong + 1))
    done
    return $((wrong > 0))
}
for caller in anonymous viewer member admin owner platform key-chat key-read key-write key-files key-org key-admin; do
    check "every row answers $caller as it should" walk "$caller"
done
