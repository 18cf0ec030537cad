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

# What has to come back: 401, role, scope or pass.
rank() {
    case $1 in user) echo 0;; viewer) echo 1;; member) echo 2;; admin) echo 3;; owner) echo 4;; platform*) echo 9;; esac
}
expected() { # expected CALLER WHO SCOPE
    local caller=$1 need=$2 scope=$3
    [ "$need" = everybody ] && { echo pass; return; }
    [ "$caller" = anonymous ] && { echo 401; return; }
    case $caller in
    key-*)
        [ "$scope" = "${caller#key-}" ] || { echo scope; return; }
        [ "$need" != 'platform admin' ] || [ "$caller" = key-admin ] || { echo role; return; }
        echo pass; return;;
    esac
    if [ "$need" = 'platform admin' ]; then
        [ "$caller" = platform ] && echo pass || echo role
    elif [ "$caller" = platform ] || [ "$(rank "$caller")" -ge "$(rank "$need")" ]; then
        echo pass
    else
        echo role
    fi
}
# What did come back, by the code in the body.
seen() { # seen STATUS FILE WHO
    local code
    code=$(jq -r --arg status "$1" 'if .type? == "error" then # of Anthropic, without a code of ours
            if .error.type == "authentication_error" then "auth.credentials_missing"
            elif .error.message | test("scope|API keys") then "auth.scope_needed"
            elif .error.type == "permission_error" then "auth.role_needed" else empty end
        elif (.error? | type) == "string" then # of Ollama, a text alone
            if .error | test("scope|API keys") then "auth.scope_needed"
            elif $status == "401" then "auth.credentials_missing"
            elif $status == "403" then "auth.role_needed" else empty end
        else .error.code? // empty end' "$2" 2>/dev/null)
    case $code in
    auth.credentials_missing) echo 401;;
    auth.scope_needed) echo scope;;
    auth.role_needed) [ "$3" = user ] && echo pass || echo role;; # there the auth actor has judged
    *) [ "$1" != 401 ] && echo pass || echo "$1 $code";;
    esac
}

walk() { # walk CALLER: every row with this caller, in one run of curl
    local caller=$1 i row method path wrong=0
    : > "$WORK/walk"
    for i in "${!ROWS[@]}"; do
        read -r method path _ <<<"${ROWS[$i]}"
        path=${path//\{id...\}/none}
        path=$(sed 's/{[a-z]*}/0190a000-0000-7000-8000-000000000000/g' <<<"$path")
        {
            [ "$i" = 0 ] || echo next
            printf 'url = "%s%s"\nrequest = %s\nsilent\nmax-time = %s\noutput = "%s"\nwrite-out = "%%{http_code}\\n"\n' "$URL" \
                "$path$([ "$method" = GET ] || [ "$method" = DELETE ] && echo '?nothing_knows_this=1')" "$method" "$([ "$path" = /api/events ] && echo 0.3 || echo 20)" "$WORK/out.$i"
            [ -n "${who[$caller]}" ] && printf 'header = "authorization: Bearer %s"\n' "${who[$caller]}"
            case $method$path in
            */audio/transcriptions) printf 'form = "nothing_knows_this=1"\n';;
            POST* | PATCH*) printf 'header = "content-type: application/json"\ndata = "{\\"nothing_knows_this\\":1}"\n';;
            esac
        } >> "$WORK/walk"
    done
    mapfile -t STATUS < <(curl -K "$WORK/walk" 2>/dev/null)
    for i in "${!ROWS[@]}"; do
        row=${ROWS[$i]}
        read -r method path row <<<"$row"
        local need=${row%% |*} scope=${row##*| } want got
        scope=${scope## }
        want=$(expected "$caller" "$need" "$scope")
        got=$(seen "${STATUS[$i]}" "$WORK/out.$i" "$need")
        [ "$want" = "$got" ] || { echo >&3 "  $caller $method $path: $got instead of $want"; wrong=$((wrong + 1)); }
    done
    return $((wrong > 0))
}
for caller in anonymous viewer member admin owner platform key-chat key-read key-write key-files key-org key-admin; do
    check "every row answers $caller as it should" walk "$caller"
done
