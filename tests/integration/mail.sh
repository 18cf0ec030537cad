#!/usr/bin/env bash
# Outgoing mail: without a mail server, with one that logs in over TLS, with one that misbehaves, and with the
# mail actor killed in the middle of everything.
. "$(dirname "$0")/lib.sh"
BOX=$WORK/box CERT=$WORK/cert.pem KEY=$WORK/key.pem PASSWORD=correct-horse-mail
mkdir "$BOX"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=sim \
    -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout "$KEY" -out "$CERT" 2>>"$WORK/tools.log"

call() { "$BIN/samovar" call "$@" 2>"$WORK/err"; }
sam() { "$BIN/samovar" "$@" 2>"$WORK/err"; }
code() { sed -n 's/^samovar: \([a-z_.]*\): .*/\1/p' "$WORK/err"; }
uuid() { cat /proc/sys/kernel/random/uuid; }
send() { # send ID TEMPLATE LINK [JSON members]: its state
    jq -nc --arg i "$1" --arg t "$2" --arg l "$3" "{id:\$i,to:\"anna@example.org\",template:\$t} +
        (if \$l == \"\" then {} else {link:\$l} end) + {${4-}}" | call mail.send --body - | jq -r .state
}
field() { sam mail ls -o json | jq -r --arg i "$1" --arg f "$2" '.[] | select(.id == $i) | .[$f]'; }
in_state() { [ "$(field "$1" state)" = "$2" ]; }
tried() { [ "$(field "$1" tries)" = "$2" ] && in_state "$1" queued; }
copies() { grep -l "^Message-ID: <$1@" "$BOX"/*.eml 2>/dev/null | wc -l; }
the() { grep -l "^Message-ID: <$1@" "$BOX"/*.eml | head -1; }
envelope() { local f; f=$(the "$1"); cat "${f%.eml}.env"; }
plain() { awk 'part && /^--=_/ { exit } /^Content-Type: text\/plain/ { part = 1 } part && body { print } part && /^\r$/ { body = 1 }' \
    "$(the "$1")" | tr -d '\r' | base64 -d; }
fault() { echo "$1 ${2:-1}" > "$BOX/fault"; }
server() { # server [options]: another mail server on the same folder
    [ -n "${SIM:-}" ] && { kill "$SIM"; wait "$SIM"; PIDS=("${PIDS[@]/$SIM/}"); } 2>/dev/null
    rm -f "$BOX"/*.eml "$BOX"/*.env "$BOX/fault"
    tool smtp_sim --folder "$BOX" "$@"
    SIM=$TOOL_PID SIM_PORT=$TOOL_PORT
}
start_fails() { # start_fails WORD ENV=VALUE...
    local word=$1; shift
    env "$@" timeout 60 "$BIN/samovar" up > "$WORK/bad.log" 2>&1
    same "$?" 78 && has "$(cat "$WORK/bad.log")" "$word"
}

# ---- without a mail server

platform_up
held=$(uuid)
check "a mail is held" same "$(send "$held" reset_password 'https://example.org/r?token=canary-link')" held
check "the log has address, template and link" same \
    "$(grep -c 'anna@example.org.*canary-link' "$WORK/up.log")/$(grep -c '"template":"reset_password"\|template.*reset_password' "$WORK/up.log")" 1/1
check "the same id again is the same mail" same "$(send "$held" test '')" held
check "and is not logged again" same "$(grep -c 'this mail is held' "$WORK/up.log")" 1
check "ls" same "$(sam mail ls -o json | jq -c '[.[]|[.id,.to,.template,.state,.tries,.next]]')" "[[\"$held\",\"anna@example.org\",\"reset_password\",\"held\",0,0]]"
check "ls shows a table" has "$(sam mail ls)" "reset_password"
check "ls of another state" same "$(sam mail ls --state sent -o json)" "[]"
check "show has the link" has "$(sam mail show "$held")" "https://example.org/r?token=canary-link"
check "show as JSON" same "$(sam mail show "$held" -o json | jq -r .link)" "https://example.org/r?token=canary-link"
check "a call without --reveal has not" hasnt "$(call mail.show "{\"id\":\"$held\"}")" canary-link
check "a dump has not" hasnt "$(sam store dump mail/1)" canary-link
check "the data file has not" same "$(grep -c canary-link "$SAMOVAR_DATA/store/mail-1/data.mdb")" 0
sam mail retry "$held"
check "retry needs a mail server" same "$(code)" mail.no_server
sam mail test anna@example.org >/dev/null
check "test says that there is none" has "$?$(cat "$WORK/err")" "1samovar mail: there is no mail server: set mail.smtp_url"
sam mail show "$(uuid)"; check "an id that is not there" same "$(code)" request.not_found
sam mail show nonsense; check "an id that is none" same "$(code)" request.invalid
send "$(uuid)" nothing '' >/dev/null; check "an unknown template is named" has "$(cat "$WORK/err")" template
send "$(uuid)" verify_email '' >/dev/null; check "a missing link is named" has "$(cat "$WORK/err")" link
send "$(uuid)" verify_email 'javascript:alert(1)' >/dev/null; check "a wrong link is named" has "$(cat "$WORK/err")" link
for bad in 'a@b\r\nBcc: c@d' 'a@b>' nobody; do
    send "$(uuid)" test '' "to:\"$bad\"" >/dev/null; check "refused as an address: $bad" has "$(cat "$WORK/err")" request.invalid
done
check "the edge may not send" has "$(call bus.policy '{"caller":"edge","method":"mail.send"}')" "default deny"
check "auth may send" has "$(call bus.policy '{"caller":"auth","method":"mail.send"}')" '"allowed":true'
check "and nothing else" has "$(call bus.policy '{"caller":"auth","method":"mail.show"}')" "default deny"
gone_id=$(uuid); send "$gone_id" test '' >/dev/null
check "drop" has "$(sam mail drop "$gone_id")" "is forgotten"
check "it is gone" same "$(field "$gone_id" state)" ""
for words in "" "ls x" "show" "test" "nonsense" "retry -o json x" "show x --state held" "ls --locale ru"; do
    sam mail $words >/dev/null; check "wrong words: mail $words" same $? 2
done
platform_down
check "ls works while the platform is stopped" same "$(field "$held" state)" held

# ---- settings

on=(SAMOVAR_MAIL_SMTP_URL=smtp://mail.example.org:587 SAMOVAR_MAIL_FROM=s@example.org)
check "a server without a sender is refused" start_fails mail.from SAMOVAR_MAIL_SMTP_URL=smtp://127.0.0.1
check "a URL that is none is refused" start_fails mail.smtp_url SAMOVAR_MAIL_SMTP_URL=http://127.0.0.1 SAMOVAR_MAIL_FROM=s@example.org
check "a user in the URL is refused" start_fails mail.smtp_url SAMOVAR_MAIL_SMTP_URL=smtp://u:p@127.0.0.1 SAMOVAR_MAIL_FROM=s@example.org
check "a sender that is none is refused" start_fails mail.from "${on[0]}" SAMOVAR_MAIL_FROM=nobody
check "a user without a password is refused" start_fails mail.smtp_password "${on[@]}" SAMOVAR_MAIL_SMTP_USER=u
check "a password in the clear is refused" start_fails mail.starttls "${on[@]}" SAMOVAR_MAIL_SMTP_USER=u SAMOVAR_MAIL_SMTP_PASSWORD=p SAMOVAR_MAIL_STARTTLS=opportunistic
check "STARTTLS inside of TLS is refused" start_fails mail.starttls SAMOVAR_MAIL_SMTP_URL=smtps://127.0.0.1 "${on[1]}" SAMOVAR_MAIL_STARTTLS=required
check "a CA file that is not there is refused" start_fails mail.ca_file "${on[@]}" SAMOVAR_MAIL_CA_FILE="$WORK/none.pem"

# ---- STARTTLS and a login

server --cert "$CERT" --key "$KEY" --user robot --password "$PASSWORD"
mail_on() { # mail_on [ENV=VALUE...]: the platform with the mail server
    platform_up SAMOVAR_MAIL_SMTP_URL="smtp://localhost:$SIM_PORT" SAMOVAR_MAIL_FROM='Samovar <samovar@example.org>' \
        SAMOVAR_MAIL_REPLY_TO=help@example.org SAMOVAR_MAIL_SMTP_USER=robot SAMOVAR_MAIL_SMTP_PASSWORD="$PASSWORD" \
        SAMOVAR_MAIL_STARTTLS=required SAMOVAR_MAIL_CA_FILE="$CERT" SAMOVAR_MAIL_TIMEOUT_MS=5s SAMOVAR_SUPERVISOR_RESTARTS=100 "$@"
}
mail_on
check "test" has "$(sam mail test anna@example.org --locale ru)" "the mail server has taken the mail"
check "what was held stays held" same "$(field "$held" state)/$(copies "$held")" held/0
check "retry" has "$(sam mail retry "$held")" "is sent now"
check "sends it" until_ok 10 in_state "$held" sent
check "over TLS, logged in, with our names" same "$(envelope "$held")" "samovar@example.org anna@example.org tls robot example.org"
check "with its link" has "$(plain "$held")" "https://example.org/r?token=canary-link"
check "the link is gone afterwards" hasnt "$(sam mail show "$held" -o json)" canary-link
sam mail retry "$held"; check "a sent mail is not sent again" same "$(code)" request.conflict
id=$(uuid)
check "queued" same "$(send "$id" invitation 'https://example.org/i?a=1&b=2' 'org:"Самовар & Co",name:"<b>Анна</b>",locale:"ru",detail:"bob@example.org"')" queued
check "sent" until_ok 10 in_state "$id" sent
check "in Russian" has "$(plain "$id")" "вас приглашают присоединиться к организации Самовар & Co."
check "header" same "$(sed -n '/^From/,/^To/p' "$(the "$id")" | tr -d '\r' | paste -sd'|')" 'From: "Samovar"| <samovar@example.org>|Reply-To: help@example.org|To: anna@example.org'
check "it says that nobody wrote it" grep -q '^Auto-Submitted: auto-generated' "$(the "$id")"
check "an id in capitals is the same" same "$(send "${id^^}" test '')" sent
check "one copy" same "$(copies "$id")" 1
for name in broker/1 auth/1 router/1 edge/1; do
    check "$name: has no password of the mail server" hasnt "$(tr '\0' '\n' < "/proc/$(child_pid $name)/environ")" "$PASSWORD"
done
check "nor has the log a password or a link" same "$(grep -c "$PASSWORD\|example.org/i?a" "$WORK/up.log")" 0
check "metrics" has "$(call mail.metrics)" 'samovar_mail_total{template=\"invitation\",outcome=\"sent\"} 1'
check "nothing waits" has "$(call mail.metrics)" 'samovar_mail_queue 0'

# ---- a server that misbehaves

one() { # one FAULT [TEMPLATE]: sends a mail into it, sets id
    id=$(uuid); fault "$1"; send "$id" test '' >/dev/null
}
again() { sam mail retry "$id" >/dev/null; until_ok 10 in_state "$id" sent; }
for bad in mail_4xx rcpt_4xx data_4xx drop_data greet_5xx auth_4xx; do
    one $bad
    check "$bad: tried again later" until_ok 10 tried "$id" 1
    check "$bad: retry sends it" again
    check "$bad: one copy" same "$(copies "$id")" 1
done
one rcpt_4xx; until_ok 10 tried "$id" 1
pause=$(( ($(field "$id" next) - $(now_ms)) / 1000 ))
check "the next try is in a minute ($pause s)" eval '[ $pause -ge 40 ] && [ $pause -le 61 ]'
check "the server's words are kept" same "$(field "$id" error)" "451 4.7.1 Greylisted"
check "metrics count it" has "$(call mail.metrics)" 'samovar_mail_queue 1'
sam mail drop "$id" >/dev/null
for bad in rcpt_5xx data_5xx; do
    one $bad
    check "$bad: given up" until_ok 10 in_state "$id" failed
    check "$bad: with the server's words" has "$(field "$id" error)" "55"
    check "$bad: retry all the same" again
done
one drop_after
check "no 250: tried again" until_ok 10 tried "$id" 1
check "no 250: retry" again
check "no 250: two copies of one id" same "$(copies "$id")" 2
one hang_quit; t0=$(now_ms)
check "no answer to QUIT: sent" until_ok 10 in_state "$id" sent
check "no answer to QUIT: within 4 s" under $(( $(now_ms) - t0 )) 4000
one hang_data
check "no answer at all: time is limited" until_ok 20 tried "$id" 1
fault hang_greet 1; sam mail test anna@example.org >/dev/null
check "test tells why not" has "$?$(cat "$WORK/err")" "1samovar mail: not sent, it is tried again"

# ---- kill -9

back() { [ "$(child_pid mail/1)" != "$1" ] && call mail.ping >/dev/null; }
kill_mail() { local pid; pid=$(child_pid mail/1); kill -9 "$pid" 2>/dev/null; until_ok 10 back "$pid"; }
one hang_data
until_ok 10 in_state "$id" sending
kill_mail
check "killed while it sent: sent after all" until_ok 10 in_state "$id" sent
check "once" same "$(copies "$id")" 1
rm -f "$BOX/fault"
ids=() kills=0
for i in $(seq 40); do
    ids+=("$(uuid)")
    if [ $((i % 10)) = 5 ]; then
        kill -9 "$(child_pid mail/1)" 2>/dev/null
        kills=$((kills + 1))
    fi
    sent_one() { [ -n "$(send "${ids[-1]}" reset_password https://example.org/r)" ]; }
    until_ok 20 sent_one
done
all_sent() { [ "$(sam mail ls -o json | jq '[.[] | select(.state == "queued" or .state == "sending")] | length')" = 0 ]; }
# Three were left waiting before: they go, too.
for i in $(sam mail ls --state queued -o json | jq -r '.[].id'); do sam mail retry "$i" >/dev/null; done
check "after $kills times kill -9 all were sent" until_ok 40 all_sent
lost=0 twice=0 more=0
for i in "${ids[@]}"; do
    case $(copies "$i") in 0) lost=$((lost + 1));; 1) ;; 2) twice=$((twice + 1));; *) more=$((more + 1));; esac
done
check "nothing was lost ($twice came twice)" same "$lost/$more" 0/0
check "at most those that were under way came twice" under $twice $((4 * kills))
check "store check" has "$(sam store check mail/1)" "mail/1"
platform_down
check "a clean end" same "$UP_EXIT" 0

# ---- certificates

server --cert "$CERT" --key "$KEY" --tls
platform_up SAMOVAR_MAIL_SMTP_URL="smtps://127.0.0.1:$SIM_PORT" SAMOVAR_MAIL_FROM=samovar@example.org
sam mail test anna@example.org >/dev/null
check "smtps: a certificate that nobody trusts" has "$(cat "$WORK/err")" "SSL"
check "nothing was sent" same "$(ls "$BOX" | grep -c eml)" 0
platform_down
platform_up SAMOVAR_MAIL_SMTP_URL="smtps://127.0.0.1:$SIM_PORT" SAMOVAR_MAIL_FROM=samovar@example.org SAMOVAR_MAIL_CA_FILE="$CERT"
check "smtps" has "$(sam mail test anna@example.org)" "has taken"
platform_down
server --user robot --password "$PASSWORD"
mail_on SAMOVAR_MAIL_STARTTLS=required
sam mail test anna@example.org >/dev/null
check "no STARTTLS, no mail" has "$(cat "$WORK/err")" "not sent"
check "and no password" same "$(ls "$BOX" | grep -c eml)" 0
platform_down
server --user robot --password "$PASSWORD"
platform_up SAMOVAR_MAIL_SMTP_URL="smtp://127.0.0.1:$SIM_PORT" SAMOVAR_MAIL_FROM=samovar@example.org
sam mail test anna@example.org >/dev/null
check "a missing login is an operator's matter: tried again" has "$(cat "$WORK/err")" "tried again: 530"
platform_down
mail_on SAMOVAR_MAIL_STARTTLS=off SAMOVAR_MAIL_SMTP_PASSWORD=wrong
sam mail test anna@example.org >/dev/null
check "a wrong password is an operator's matter: tried again" has "$(cat "$WORK/err")" "tried again: The server refused the login."
platform_down
platform_up
check "without a server again what waited is held" until_ok 10 all_sent
check "the log says so" grep -q 'mails that waited are held' "$WORK/up.log"
