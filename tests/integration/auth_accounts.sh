#!/usr/bin/env bash
# Accounts that people make and recover themselves, and their second factor, over the bus and through the outbox:
# what works once stays used when the auth actor is killed in the middle, mails go out once, and many logins at a
# time cost no more memory than two.
. "$(dirname "$0")/lib.sh"
export SAMOVAR_AUTH_PASSWORD_MEMORY=19MiB SAMOVAR_SUPERVISOR_RESTARTS=100
export SAMOVAR_AUTH_REGISTRATION=open SAMOVAR_AUTH_VERIFY_EMAIL=always
PASSWORD='canary horse battery one' NEXT='canary horse battery two'
call() { "$BIN/samovar" call --reveal "$@" 2>"$WORK/err"; }
code() { sed 's/: .*//' "$WORK/err"; }
ask() { # ask METHOD JQ-OBJECT [jq arguments]: the answer
    local method=$1 object=$2; shift 2
    jq -nc --arg p "$PASSWORD" --arg n "192.0.$((RANDOM % 250)).$((RANDOM % 250))" "$@" "$object" | # the account alone counts
        call "auth.$method" --body -
}
login() { # login EMAIL PASSWORD
    ask login '{email:$e,password:$w,network:$n,device:"a test"}' --arg e "$1" --arg w "$2"
}
mails() { call mail.list | jq -c --arg t "$1" --arg a "$2" '[.mails[] | select(.template == $t and .to == $a)]'; }
count() { mails "$1" "$2" | jq length; }
one_more() { [ "$(count "$1" "$2")" = "$3" ]; }
token() { # token TEMPLATE ADDRESS: of the newest link
    call mail.show "{\"id\":\"$(mails "$1" "$2" | jq -r '.[0].id')\"}" | jq -r .link | sed 's/.*#token=//'
}
auth_is_back() { [ "$(child_pid auth/1)" != "$1" ] && "$BIN/samovar" call auth.jwks >/dev/null 2>&1; } # with its keys, too
kill_auth() { local pid; pid=$(child_pid auth/1); kill -9 "$pid"; until_ok 10 auth_is_back "$pid"; }

# ---- the first administrator ----
platform_up
register() { ask register '{email:$e,password:$p,network:$n,name:"Bob",locale:"ru"}' --arg e "$1"; }
register bob@example.org >/dev/null
check "nobody registers before there is an administrator" same "$(code)" auth.registration_closed
setup_link() { grep -o '"setup_link":"[^"]*"' "$WORK/up.log" | tail -1 | cut -d'"' -f4; }
check "the log shows a whole link" until_ok 10 eval '[ -n "$(setup_link)" ]'
check "to the platform's own address" same "$(setup_link | sed 's/svs_[0-9a-f]*/TOKEN/')" "$URL/setup#token=TOKEN"
check "it makes an administrator with a confirmed address" same \
    "$(ask setup '{token:$t,email:"anna@example.org",password:$p,network:$n}' --arg t "$(setup_link | sed 's/.*=//')" |
        jq -c '[.user.admin,.user.verified]')" '[true,true]'

# ---- registration and confirmed addresses ----
free=$(register bob@example.org) taken=$(register anna@example.org)
check "a free address is registered" same "$free" '{"status":"verify"}'
check "a taken one is answered alike" same "$taken" "$free"
check "its owner gets a mail" until_ok 5 one_more taken_address anna@example.org 1
check "the other one a link" until_ok 5 one_more verify_email bob@example.org 1
check "in his language" same "$(mails verify_email bob@example.org | jq -r '.[0].locale')" ru
first=$(token verify_email bob@example.org)
login bob@example.org wrong >/dev/null
check "a wrong password tells nothing about that" same "$(code)" auth.wrong_credentials
login bob@example.org "$PASSWORD" >/dev/null
check "the right one does not help before" same "$(code)" auth.email_not_verified
check "and brings the link again" until_ok 5 one_more verify_email bob@example.org 2
login bob@example.org "$PASSWORD" >/dev/null
link=$(token verify_email bob@example.org)
ask verify_email '{token:$t}' --arg t "$first" >/dev/null
check "the former link is worth nothing then" same "$(code)" auth.link_invalid
check "a link confirms" same "$(ask verify_email '{token:$t}' --arg t "$link")" '{"status":"ok"}'
kill_auth
ask verify_email '{token:$t}' --arg t "$link" >/dev/null
check "once, also after a kill" same "$(code)" auth.link_invalid
check "not more than once in ten minutes" one_more verify_email bob@example.org 2
answer=$(login bob@example.org "$PASSWORD")
check "login answers what clients look for" same "$(jq -c '[.token_type,.expires_in,.user.email,.user.locale,.claims.tier]' <<<"$answer")" \
    '["Bearer",900,"bob@example.org","ru","free"]'
short=$(jq -r '.refresh_expires' <<<"$answer")
long=$(ask login '{email:"bob@example.org",password:$p,network:$n,remember:true}' | jq -r .refresh_expires)
check "to be remembered is longer" eval '[ $((long - short)) -gt 86400000 ]'
check "name and language are changed" same \
    "$(call auth.me_change '{"email":"bob@example.org","name":"Bobby","locale":"en"}' | jq -c '[.user.name,.user.locale]')" '["Bobby","en"]'
call auth.me_change '{"email":"bob@example.org","locale":"xx"}' >/dev/null
check "to one that there is" same "$(code)" request.invalid

# ---- sessions ----
session=$(jq -r .session <<<"$answer")
sessions() { call auth.sessions "{\"email\":\"bob@example.org\",\"session\":\"$session\"}"; }
check "the session that asks is marked" same "$(sessions | jq -c "[.sessions[]|select(.id==\"$session\")|.current] + [([.sessions[]|select(.current)]|length)]")" '[true,1]'
call auth.session_end_one "{\"id\":\"$session\"}" >/dev/null
check "one session is ended" same "$? $(sessions | jq '.sessions|length')" "0 1"
call auth.session_end_one "{\"id\":\"$session\"}" >/dev/null
check "not twice" same "$(code)" request.not_found
session=$(login bob@example.org "$PASSWORD" | jq -r .session)
call auth.logout "{\"session\":\"$session\"}" >/dev/null
check "logout of the access token's session" same "$(sessions | jq '.sessions|length')" 1

# ---- a forgotten password, through kills ----
forgot() { ask forgot '{email:$e,network:$n}' --arg e "$1"; }
known=$(forgot bob@example.org) unknown=$(forgot nobody@example.org)
check "known and unknown addresses are answered alike" same "$unknown" "$known"
check "the known one gets a link" until_ok 5 one_more reset_password bob@example.org 1
# The mail actor stands still, the auth actor dies with the mail in hand: it goes out once.
kill -STOP "$(child_pid mail/1)"
stopped=$(child_pid mail/1)
forgot bob@example.org >/dev/null
check "mails hold up nothing" same "$?" 0
kill_auth
kill -CONT "$stopped"
check "a mail survives its sender" until_ok 40 one_more reset_password bob@example.org 2
empty() { ! "$BIN/samovar" store dump auth/1 | grep -q '"table":"outbox"'; }
check "the outbox is empty then" until_ok 40 empty
check "and it came once" one_more reset_password bob@example.org 2
link=$(token reset_password bob@example.org)
reset() { ask reset '{token:$t,password:$w,network:$n}' --arg t "$link" --arg w "$1"; }
reset short >/dev/null
check "a weak password is refused" same "$(code)" auth.weak_password
check "the link holds still" same "$(reset "$NEXT")" '{"status":"ok"}'
check "sessions have ended" same "$(sessions | jq '.sessions|length')" 0
kill_auth
reset "$PASSWORD" >/dev/null
check "it worked once" same "$(code)" auth.link_invalid
login bob@example.org "$PASSWORD" >/dev/null
check "the former password is worth nothing" same "$(code)" auth.wrong_credentials
check "he hears of it" until_ok 5 one_more password_changed bob@example.org 1

# ---- the second factor ----
bob() { ask "$1" "{email:\"bob@example.org\",network:\$n} + $2" --arg w "$NEXT" --arg c "${3-}"; }
factor=$(bob 2fa_setup '{password:$w}')
secret=$(jq -r .secret <<<"$factor")
check "a secret of 160 bits" eval '[ "$(base32 -d <<<"$secret" | wc -c)" = 20 ]'
check "its URI" same "$(jq -r .uri <<<"$factor")" \
    "otpauth://totp/Samovar:bob@example.org?secret=$secret&issuer=Samovar&algorithm=SHA1&digits=6&period=30"
check "as a picture without references" eval 'jq -r .qr_svg <<<"$factor" | grep -q "^<svg .*viewBox" && ! jq -r .qr_svg <<<"$factor" | grep -q "href\|url("'
totp() { # totp STEPS: the code of the step so many from now
    printf '{"op":"totp","alg":"SHA1","secret_hex":"%s","time":%d,"step":30,"digits":6}\n' \
        "$(base32 -d <<<"$secret" | xxd -p)" $(($(date +%s) + 30 * $1)) | "$BIN/samovar-vectors" | jq -r .code
}
while [ $(($(date +%s) % 30)) -gt 24 ]; do read -rt 0.2 <> <(:); done # the former step is taken for a while
bob 2fa_enable '{code:$c}' 000000 >/dev/null
check "a wrong code does not enable it" same "$(code)" auth.wrong_code
spent=$(totp -1)
codes=$(bob 2fa_enable '{code:$c}' "$spent")
check "a code of it brings ten recovery codes" same "$(jq '.recovery_codes|unique|length' <<<"$codes")" 10
half() { login bob@example.org "$NEXT" | jq -r .half_token; }
second() { ask login_code '{half_token:$h,code:$c,network:$n}' --arg h "$1" --arg c "$2"; }
check "a login answers no token then" same "$(login bob@example.org "$NEXT" | jq -c '[.two_factor_required,(.half_token|length>100),has("access_token"),has("user")]')" \
    '[true,true,false,false]'
kill_auth
h=$(half)
second "$h" "$spent" >/dev/null
check "the code was used" same "$(code)" auth.wrong_code
now=$(totp 0)
check "the next one logs in" same "$(second "$h" "$now" | jq -r .user.email)" bob@example.org
kill_auth
second "$h" "$(totp 1)" >/dev/null
check "a half-login works once" same "$(code)" auth.half_token_invalid
second "$(half)" "$now" >/dev/null
check "and so does a code, also after a kill" same "$(code)" auth.wrong_code
spare=$(jq -r '.recovery_codes[0]' <<<"$codes")
check "a recovery code replaces one" same "$(second "$(half)" "$spare" | jq -r .token_type)" Bearer
kill_auth
second "$(half)" "$spare" >/dev/null
check "once" same "$(code)" auth.wrong_code
second "$(jq -r .access_token <<<"$answer")" "$(totp 1)" >/dev/null
check "an access token is no half-login" same "$(code)" auth.half_token_invalid
h=$(half)
for i in 1 2 3 4 5; do second "$h" 000000 >/dev/null; [ $i = 2 ] && kill_auth; done
second "$h" "$(totp 1)" >/dev/null
check "wrong codes bring a delay, through kills" same "$(code)" auth.locked_out
check "the audit log is sound" has "$("$BIN/samovar" audit verify)" "ok: "

# ---- canaries ----
"$BIN/samovar" store dump auth/1 >"$WORK/dump"
platform_down
raw=$(base32 -d <<<"$secret" | xxd -p)
found=$(grep -rlaF -e "$PASSWORD" -e "$NEXT" -e "$secret" -e "$h" -e "$spare" "$SAMOVAR_DATA/store/"auth* "$WORK/up.log" "$WORK/dump")
check "secrets and codes are in no log, dump or data file" same "$found" ""
check "nor links, but in the operator's log while there is no mail server" same "$(grep -rlaF -e "$link" "$SAMOVAR_DATA/store" "$WORK/dump")" ""
check "nor the secret's bytes" eval '! xxd -p "$SAMOVAR_DATA"/store/auth-1/data.mdb | tr -d "\n" | grep -q "$raw"'

# ---- many at once ----
platform_up SAMOVAR_AUTH_PASSWORD_MEMORY=128MiB
peak() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(child_pid auth/1)/status"; }
before=$(peak)
"$BIN/login_load" --count 200 >"$WORK/many"
check "200 logins at once are answered or told to come later" same "$(awk '{ print $1 }' "$WORK/many" | xargs)" \
    "server.overloaded auth.wrong_credentials"
check "no more than 66 are in hand" under "$(awk '$1 == "auth.wrong_credentials" { print $2 }' "$WORK/many")" 80
check "the others hear when" same "$(awk '$1 == "server.overloaded" { print $3 }' "$WORK/many")" 1000
grown=$(($(peak) - before))
check "in the memory of two ($grown KiB)" under "$grown" 400000
check "and the platform goes on" eval '[ -n "$(jq -nc --arg p "$NEXT" "{email:\"bob@example.org\",password:\$p,network:\"203.0.113.1\"}" | call auth.login --body -)" ]'
