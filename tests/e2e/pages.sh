#!/usr/bin/env bash
# The pages in a real browser, against a platform whose first administrator has still to be made.
. "$(dirname "$0")/../integration/lib.sh"
cd "$ROOT/tests/e2e/pages"
[ -x node_modules/.bin/node ] || npm ci --no-audit --no-fund --loglevel=error || exit 1
[ -f "$BIN/../share/samovar/web/login.html" ] || { echo "FAIL the pages are not built: ninja web"; exit 1; }
printf 'auth:\n  registration: open\n' > "$WORK/samovar.yaml"
platform_up SAMOVAR_LIMITS_SCALE=100 SAMOVAR_CONFIG="$WORK/samovar.yaml"
until_ok 10 grep -q '"setup_link":"http' "$WORK/up.log"
SETUP_LINK=$(sed -n 's/.*"setup_link":"\([^"]*\)".*/\1/p' "$WORK/up.log" | head -1)
SAMOVAR_URL=$URL SETUP_LINK=$SETUP_LINK UP_LOG=$WORK/up.log node_modules/.bin/node --test --test-concurrency=1 pages.test.mjs
check "the pages' tests" same $? 0
