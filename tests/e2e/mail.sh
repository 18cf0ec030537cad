#!/usr/bin/env bash
# Every template in every language, as a mail parser of others reads it.
. "$(dirname "$0")/../integration/lib.sh"
cd "$ROOT/tests/e2e/mail"
[ -d node_modules/mailparser ] || npm ci --no-audit --no-fund --loglevel=error || exit 1
BOX=$WORK/box
mkdir "$BOX"
tool smtp_sim --folder "$BOX"
platform_up SAMOVAR_MAIL_SMTP_URL="smtp://127.0.0.1:$TOOL_PORT" SAMOVAR_MAIL_FROM='Самовар "the big one" <samovar@example.org>'
values='{name:"<script>alert(1)</script> \"Anna\"\r\nBcc: all@example.org",org:"Рога & Копыта\r\nX-Injected: yes evil.example",
    detail:"192.0.2.1, <b>today</b>",link:"https://example.org/go?a=1&b=2#c"}'
n=0
for template in verify_email reset_password invitation taken_address password_changed two_factor_changed account_disabled test; do
    for locale in en ru; do
        n=$((n + 1))
        jq -nc --arg i "$(cat /proc/sys/kernel/random/uuid)" --arg t "$template" --arg l "$locale" \
            "{id:\$i,to:\"anna@example.org\",template:\$t,locale:\$l} + $values" | "$BIN/samovar" call mail.send --body - >> "$WORK/sent"
    done
done
all_there() { [ "$(ls "$BOX" | grep -c 'eml$')" = $n ]; }
check "all $n mails arrived" until_ok 30 all_there
MAIL_BOX=$BOX node --test mail.test.mjs
check "the parser's tests" same $? 0
