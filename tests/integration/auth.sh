#!/usr/bin/env bash
# Users and sessions over the bus and the CLI: who may log in, that a refresh token works once also when the
# auth actor is killed in the middle, and that no secret appears where it does not belong.
. "$(dirname "$0")/lib.sh"
export SAMOVAR_AUTH_PASSWORD_MEMORY=19MiB SAMOVAR_SUPERVISOR_RESTARTS=100
PASSWORD='canary horse battery one' NEXT='canary horse battery two'
call() { "$BIN/samovar" call --reveal "$@" 2>"$WORK/err"; }
code() { sed 's/: .*//' "$WORK/err"; }
user() { "$BIN/samovar" user "$@"; }
login() { # login EMAIL PASSWORD NETWORK: the answer
    jq -nc --arg e "$1" --arg p "$2" --arg n "$3" '{email:$e,password:$p,network:$n,device:"a test"}' | call auth.login --body -
}
refresh() { jq -nc --arg t "$1" '{refresh_token:$t}' | call auth.refresh --body -; }
auth_is_back() { [ "$(child_pid auth/1)" != "$1" ] && "$BIN/samovar" call auth.ping >/dev/null 2>&1; }

# ---- the first administrator ----
platform_up
setup_token() { grep -o 'svs_[0-9a-f]*' "$WORK/up.log" | tail -1; }
check "an empty platform shows a setup token" until_ok 5 eval '[ -n "$(setup_token)" ]'
first_token=$(setup_token)
setup() { # setup TOKEN EMAIL
    jq -nc --arg t "$1" --arg e "$2" --arg p "$PASSWORD" '{token:$t,email:$e,name:"Anna",password:$p}' | call auth.setup --body -
}
setup "${first_token%?}x" eve@example.org >/dev/null
check "another token is refused" same "$(code)" auth.setup_token_invalid
check "it makes the first administrator" same "$(setup "$first_token" anna@example.org | jq -c '[.user.email,.user.admin]')" '["anna@example.org",true]'
setup "$first_token" eve@example.org >/dev/null
check "and is worth nothing then" same "$(code)" auth.setup_token_invalid
printf '%s\n' "$PASSWORD" | user add dave@example.org --admin --password-stdin >"$WORK/out"
check "the operator makes another one" has "$(cat "$WORK/out")" "dave@example.org is an administrator now"
printf '%s\r\n' "$PASSWORD" | user add 'Bob@Example.org ' --password-stdin >/dev/null
check "users are listed in one spelling" same "$(user ls -o json | jq -c '[.[] | [.email, .admin, .disabled]]')" \
    '[["anna@example.org",true,false],["bob@example.org",false,false],["dave@example.org",true,false]]'
check "and for people" has "$(user ls)" "anna@example.org"
echo "$PASSWORD" | user add bob@example.org --password-stdin 2>"$WORK/err"
check "an address is taken once" has "$(cat "$WORK/err")" "request.conflict"
for weak in short password bob.example samovar123; do
    echo "$weak" | user add carl@example.org --password-stdin 2>"$WORK/err"
    check "refused as a password: $weak" has "$(cat "$WORK/err")" "auth.weak_password"
done
for words in 'add' 'add x@example.org' 'ls x@example.org' 'disable' 'forget x@example.org' 'ls --admin' 'ls --2fa' 'reset x@example.org' 'reset x@example.org --2fa --tier own' 'disable x@example.org -o json'; do
    user $words >/dev/null 2>"$WORK/err" </dev/null
    check "wrong words are refused: user $words" same "$? $(grep -c '^samovar user' "$WORK/err")" "2 1"
done
check "the edge may not ask" has "$("$BIN/samovar" call bus.policy '{"caller":"edge","method":"auth.user_add"}')" "default deny"

# ---- sessions ----
answer=$(login anna@example.org "$PASSWORD" 192.0.2.1)
token=$(jq -r .refresh_token <<<"$answer")
check "login answers user, session and claims" same \
    "$(jq -c '[.user.email,.claims.role,.claims.admin,.claims.user == .user.id,.claims.session == .session,.claims.expires - .claims.issued,(.refresh_token|length)]' <<<"$answer")" \
    '["anna@example.org","owner",true,true,true,900,68]'
access=$(jq -r .access_token <<<"$answer")
jwks() { call auth.jwks | jq -r .jwks; }
raw() { tr -- '-_' '+/' | sed 's/$/==/' | base64 -d 2>/dev/null; }
kid=$(cut -d. -f1 <<<"$access" | raw | jq -r .kid)
signed() { # by the key of that name, as OpenSSL judges
    { printf '302a300506032b6570032100' | xxd -r -p; jwks | jq -r --arg k "$kid" '.keys[] | select(.kid == $k) | .x' | raw; } >"$WORK/key.der"
    printf %s "${access%.*}" >"$WORK/signed"; printf %s "${access##*.}" | raw >"$WORK/signature"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$WORK/key.der" -rawin -in "$WORK/signed" -sigfile "$WORK/signature" >/dev/null 2>&1
}
check "the access token says the same" same "$(cut -d. -f2 <<<"$access" | raw | jq -c '[.iss,.org,.roles,.exp - .iat]')" \
    "$(jq -c '["samovar",.claims.org,["owner","platform_admin"],900]' <<<"$answer")"
check "and is signed by a key of auth.jwks" signed
call auth.key_rotate >/dev/null
check "another key makes two" same "$(jwks | jq '.keys | length')" 2
check "the former one holds" signed
call auth.key_rotate >/dev/null
check "the third one does away with it" eval '[ "$(jwks | jq ".keys | length")" = 2 ] && ! signed'
check "without --reveal nothing is shown" has "$(jq -nc --arg t "$token" '{refresh_token:$t}' | "$BIN/samovar" call auth.refresh --body -)" '"refresh_token":"[redacted]"'
refresh "$token" >/dev/null
check "a token works once" same "$(code)" auth.refresh_token_invalid
check "its second use is in the audit log" has "$(jq -r .user.org <<<"$answer" | xargs -I{} "$BIN/samovar" audit --org {} -o json)" '"token.reused"'
login anna@example.org wrong 192.0.2.9 >/dev/null; known=$(cat "$WORK/err")
login nobody@example.org wrong 192.0.2.9 >/dev/null; unknown=$(cat "$WORK/err")
check "unknown and known accounts are answered alike" same "$unknown" "$known"
check "with words that tell nothing" has "$known" auth.wrong_credentials
for _ in 1 2 3; do login dora@example.org guess 192.0.2.7 >/dev/null; done
for _ in 4 5; do login dora@example.org guess 192.0.2.8 >/dev/null; done
login dora@example.org guess 192.0.2.10 >/dev/null
check "five wrong tries bring a delay" same "$(code)" auth.locked_out
answer=$(login bob@example.org "$PASSWORD" 2001:db8::1)
bob=$(jq -r .refresh_token <<<"$answer")
check "me" same "$(call auth.me '{"email":"bob@example.org"}' | jq -c '[.user.email,.orgs[0].role,.orgs[0].personal]')" '["bob@example.org","owner",true]'
check "sessions" same "$(call auth.sessions '{"email":"bob@example.org"}' | jq -c '[.sessions[]|[.device,.network]]')" '[["a test","2001:db8::"]]'
jq -nc --arg a "$PASSWORD" --arg b "$NEXT" '{email:"bob@example.org",password:$a,new_password:$b,network:"2001:db8::1"}' | call auth.change_password --body - >/dev/null
check "a password is changed" same "$?" 0
refresh "$bob" >/dev/null
check "and ends the sessions" same "$(code)" auth.refresh_token_invalid
login bob@example.org "$PASSWORD" 198.51.100.1 >/dev/null
check "the old one is worth nothing" same "$(code)" auth.wrong_credentials
bob=$(login bob@example.org "$NEXT" 198.51.100.1 | jq -r .refresh_token)
jq -nc --arg t "$bob" '{refresh_token:$t}' | call auth.logout --body - >/dev/null
refresh "$bob" >/dev/null
check "logout ends a session" same "$(code)" auth.refresh_token_invalid
login bob@example.org "$NEXT" 198.51.100.1 >/dev/null
check "logout everywhere" same "$(call auth.logout_all '{"email":"bob@example.org"}')" '{"sessions":1}'
bob=$(login bob@example.org "$NEXT" 198.51.100.1 | jq -r .refresh_token)
check "a user is disabled" has "$(user disable bob@example.org)" "cannot log in any more"
refresh "$bob" >/dev/null
check "its sessions have ended" same "$(code)" auth.refresh_token_invalid
login bob@example.org "$NEXT" 198.51.100.2 >/dev/null
check "it cannot log in" same "$(code)" auth.wrong_credentials
check "until it is enabled" has "$(user enable bob@example.org)" "can log in again"
bob=$(login bob@example.org "$NEXT" 198.51.100.3 | jq -r .refresh_token)
check "the operator gives another password" has "$(echo "$PASSWORD" | user reset bob@example.org --password-stdin)" \
    "has another password; its sessions have ended"
refresh "$bob" >/dev/null
check "sessions of before have ended" same "$(code)" auth.refresh_token_invalid
check "and it lets in" eval '[ -n "$(login bob@example.org "$PASSWORD" 198.51.100.3)" ]'
check "a second factor that is not there is no error" has "$(user reset bob@example.org --2fa)" "has no second factor"
check "users have a tier" has "$(user ls)" "free"
check "organizations are listed" same "$("$BIN/samovar" org ls -o json | jq -c 'map([.personal, .tier, .members]) | unique')" '[[true,"free",1]]'
check "and for people" same "$("$BIN/samovar" org ls | wc -l)" 4

# ---- kill -9 in the middle of refreshing ----
token=$(login anna@example.org "$PASSWORD" 203.0.113.1 | jq -r .refresh_token)
spent=() kills=0 good=0 lost=0
for i in $(seq 1 24); do
    if [ $((i % 6)) = 0 ]; then
        pid=$(child_pid auth/1)
        refresh "$token" >"$WORK/answer" & call_pid=$!
        read -rt "0.0$((2 * kills))" <> <(:) # before, in the middle of and behind the write
        kill -9 "$pid"
        wait "$call_pid"; rc=$?
        kills=$((kills + 1))
        until_ok 10 auth_is_back "$pid"
        answer=$([ $rc = 0 ] && cat "$WORK/answer")
    else
        answer=$(refresh "$token")
    fi
    if [ -n "$answer" ]; then
        spent+=("$token"); token=$(jq -r .refresh_token <<<"$answer"); good=$((good + 1))
    else # its answer was lost: the token may be used or not, but works at most once from here
        lost=$((lost + 1))
        again=$(refresh "$token")
        if [ -n "$again" ]; then
            spent+=("$token"); token=$(jq -r .refresh_token <<<"$again")
        else
            token=$(login anna@example.org "$PASSWORD" 203.0.113.1 | jq -r .refresh_token); spent=()
        fi
    fi
done
check "refreshed through $kills kills ($good answered, $lost lost)" eval '[ $good -ge 20 ]'
twice=0
for t in "${spent[@]: -3}"; do refresh "$t" >/dev/null && twice=$((twice + 1)); done
check "what was used stays used" same "$twice" 0
for i in 1 2 3; do login frank@example.org guess 203.0.113.2$i >/dev/null; done
pid=$(child_pid auth/1); kill -9 "$pid"; until_ok 10 auth_is_back "$pid"
for i in 4 5; do login frank@example.org guess 203.0.113.2$i >/dev/null; done
login frank@example.org guess 203.0.113.30 >/dev/null
check "what was counted stays counted" same "$(code)" auth.locked_out
check "no new setup token once there is an administrator" same "$(setup_token)" "$first_token"
check "the audit log is sound" has "$("$BIN/samovar" audit verify)" "ok: "
check "it has the platform's events" same "$("$BIN/samovar" audit -o json | jq -r '[.[].event] | map(select(startswith("user."))) | join(" ")')" \
    "user.added_admin user.added user.disabled user.enabled user.reset user.reset"
check "the keys survived the kills" eval '[ "$(jwks | jq ".keys | length")" = 2 ]'

# ---- what other commands make of one more store ----
check "doctor is content" eval '"$BIN/samovar" doctor >"$WORK/doctor"'
check "store check covers it" has "$("$BIN/samovar" store check)" "auth/1"
check "keys are rotated" eval '"$BIN/samovar" store rotate >"$WORK/rotate" 2>&1'
check "login after the rotation" eval '[ -n "$(login anna@example.org "$PASSWORD" 203.0.113.40)" ]'
"$BIN/samovar" backup "$WORK/backup" >"$WORK/out" 2>&1
check "a backup has it" eval 'ls -R "$WORK/backup" | grep -q auth-1.mdb'

# ---- canaries ----
"$BIN/samovar" store dump auth/1 >"$WORK/dump"
check "a dump shows no hash" hasnt "$(cat "$WORK/dump")" 'argon2id'
platform_down
last=$(user ls -o json | jq -r '.[0].email')
check "users are listed while it is stopped" same "$last" anna@example.org
check "and organizations" same "$("$BIN/samovar" org ls -o json | jq length)" 3
check "and the audit log verified" has "$("$BIN/samovar" audit verify)" "ok: "
found=$(grep -rlaF -e "$PASSWORD" -e "$NEXT" -e "$token" -e "$bob" -e "$access" "$SAMOVAR_DATA" "$WORK/up.log" "$WORK/dump" "$WORK/backup" "$WORK/doctor")
check "passwords and tokens are in no log, dump, data file or backup" same "$found" ""
check "nor the hashes in the data files" same "$(grep -rlaF 'argon2id' "$SAMOVAR_DATA" "$WORK/backup")" ""
