#!/usr/bin/env bash
# Errors are reported to a Sentry-compatible address: once each, in Sentry's envelope, and with nothing
# of users in them.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cat > "$WORK/sink.js" <<'END'
const fs = require('fs')
const server = require('http').createServer((q, r) => {
  let body = ''
  q.on('data', d => (body += d))
  q.on('end', () => {
    fs.appendFileSync(process.argv[2], JSON.stringify({ url: q.url, auth: q.headers['x-sentry-auth'], body }) + '\n')
    r.end('{}')
  })
})
server.listen(0, '127.0.0.1', () => console.log('port ' + server.address().port))
END
node "$WORK/sink.js" "$WORK/reports" > "$WORK/sink.out" &
PIDS+=($!)
until_ok 10 grep -q '^port ' "$WORK/sink.out"
SINK=$(sed -n 's/^port //p' "$WORK/sink.out")

refused() { local out; out=$(SAMOVAR_ERRORS_DSN=$1 timeout 20 "$BIN/samovar" up 2>&1); has "$out" errors.dsn && hasnt "$out" hush; }
check "a DSN that is none is refused, and not shown" refused "https://sentry.example.org/hush"

platform_up "SAMOVAR_ERRORS_DSN=http://public@127.0.0.1:$SINK/sub/42"
kill -ABRT "$(child_pid edge/1)"
check "a process that dies is reported" until_ok 10 grep -q 'process ended' "$WORK/reports"
check "to the project's address" same "$(jq -r .url "$WORK/reports" | sort -u)" /sub/api/42/envelope/
check "with the public key" has "$(jq -r .auth "$WORK/reports" | head -1)" "sentry_key=public"
jq -r .body "$WORK/reports" | head -3 > "$WORK/envelope"
check "as an envelope" same "$(sed -n 1p "$WORK/envelope") $(sed -n 2p "$WORK/envelope" | jq -r .type)" "{} event"
check "whose length is right" same "$(sed -n 2p "$WORK/envelope" | jq .length)" "$(( $(sed -n 3p "$WORK/envelope" | wc -c) - 1 ))"
EVENT=$(sed -n 3p "$WORK/envelope")
check "that says which process and how" same "$(jq -r '.level, .tags.child, .tags.end' <<<"$EVENT" | tr '\n' ' ')" "error edge/1 signal 6 (Aborted) "
check "and nothing about this machine" hasnt "$EVENT" "$SAMOVAR_DATA"
until_ok 20 platform_ready
kill -ABRT "$(child_pid edge/1)"
until_ok 20 platform_ready
nobody_has_it() { local p; for p in $("$BIN/samovar" ps -o json | jq -r '.[].pid'); do ! grep -qz '^SAMOVAR_ERRORS_DSN=' "/proc/$p/environ" || return 1; done; }
check "the supervisor alone knows the address" nobody_has_it
check "the same words are told once" same "$(grep -c 'process ended' "$WORK/reports")" 1
