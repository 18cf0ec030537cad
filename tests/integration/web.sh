#!/usr/bin/env bash
# Pages and their parts over HTTP: headers, codings, conditions, ranges, and that nothing else is served.
. "$(dirname "$0")/lib.sh"
WEB=$WORK/web
mkdir -p "$WEB/assets" "$WEB/docs"
echo '<!doctype html><p>log in</p>' > "$WEB/login.html"
seq 1 200000 > "$WEB/docs/large.js"
gzip -k -9 -n "$WEB/docs/large.js"
brotli -k -q 5 "$WEB/docs/large.js"
echo 'export const tea = 1' > "$WORK/tea.js"
HASHED=tea.$(sha256sum "$WORK/tea.js" | cut -c1-16).js
cp "$WORK/tea.js" "$WEB/assets/$HASHED"
cp "$WORK/tea.js" "$WEB/assets/tea.js"
echo '<svg xmlns="http://www.w3.org/2000/svg"/>' > "$WEB/assets/icon.svg"
echo secret > "$WEB/assets/.env"
echo secret > "$WORK/outside.txt"
ln -s ../../outside.txt "$WEB/assets/link.txt"
ln -s "$WORK" "$WEB/assets/up"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout "$WORK/key.pem" -out "$WORK/cert.pem" -days 2 \
    -nodes -subj /CN=localhost -addext 'subjectAltName=IP:127.0.0.1' 2>/dev/null
chmod 600 "$WORK/key.pem"

heads() { curl -s -o /dev/null -D - "$@" | tr -d '\r'; } # heads OPTIONS URL
status() { curl -s -o /dev/null -w '%{http_code}' --path-as-is "$@"; }
value() { sed -n "s/^$1: //p"; }

platform_up SAMOVAR_EDGE_WEB_DIR="$WEB"
page=$(heads "$URL/login")
check "a page" has "$page" "HTTP/1.1 200"
check "its policy" same "$(value content-security-policy <<< "$page")" \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'"
check "opener policy" has "$page" "cross-origin-opener-policy: same-origin"
check "no referrer" has "$page" "referrer-policy: no-referrer"
check "no sniffing" has "$page" "x-content-type-options: nosniff"
check "permissions" has "$page" "permissions-policy: "
check "pages are asked for again each time" has "$page" "cache-control: no-cache"
check "their answer depends on the codings" has "$page" "vary: accept-encoding"
check "a request id" has "$page" "x-request-id: "
check "pictures that can run have the policy too" has "$(heads "$URL/assets/icon.svg")" "content-security-policy: default-src 'none'"
check "a name with its hash is for good" has "$(heads "$URL/assets/$HASHED")" "cache-control: public, max-age=31536000, immutable"
check "another name is not" has "$(heads "$URL/assets/tea.js")" "cache-control: no-cache"
check "scripts by their type" has "$(heads "$URL/assets/tea.js")" "content-type: text/javascript; charset=utf-8"
check "pages count against no limit" hasnt "$page" "ratelimit"

for path in /assets/.env /assets/link.txt /assets/up/outside.txt /assets/../../outside.txt /assets/%2e%2e/%2e%2e/outside.txt \
    /assets/..%2f..%2foutside.txt /docs/large.js.br /assets /login/ /login.html/x; do
    check "nothing at $path" same "$(status "$URL$path")" 404
done
check "pages are not written" same "$(status -X POST "$URL/login")" 405

tag=$(value etag <<< "$page")
modified=$(value last-modified <<< "$page")
check "not again by its tag" same "$(status -H "if-none-match: $tag" "$URL/login")" 304
check "not again by its date" same "$(status -H "if-modified-since: $modified" "$URL/login")" 304
check "304 has its tag" has "$(heads -H "if-none-match: $tag" "$URL/login")" "etag: $tag"
check "304 has the policy" has "$(heads -H "if-none-match: $tag" "$URL/login")" "content-security-policy"

sum=$(cksum < "$WEB/docs/large.js")
check "a large file" same "$(curl -s "$URL/docs/large.js" | cksum)" "$sum"
check "as gzip" same "$(curl -s -H 'accept-encoding: gzip' "$URL/docs/large.js" | cksum)" "$(cksum < "$WEB/docs/large.js.gz")"
check "as brotli" same "$(curl -s -H 'accept-encoding: br, gzip' "$URL/docs/large.js" | cksum)" "$(cksum < "$WEB/docs/large.js.br")"
check "which is said" has "$(heads -H 'accept-encoding: br' "$URL/docs/large.js")" "content-encoding: br"
size=$(stat -c %s "$WEB/docs/large.js")
check "its length, without it" has "$(heads -I "$URL/docs/large.js")" "content-length: $size"
check "a range of it" same "$(curl -s -r 70000-169999 "$URL/docs/large.js" | cksum)" \
    "$(tail -c +70001 "$WEB/docs/large.js" | head -c 100000 | cksum)"
check "which range" has "$(heads -r 70000-169999 "$URL/docs/large.js")" "content-range: bytes 70000-169999/$size"
check "beyond its end" has "$(heads -r "$size-" "$URL/docs/large.js")" "content-range: bytes */$size"
check "one after another on a connection" same "$(curl -s "$URL/docs/large.js" "$URL/login" "$URL/docs/large.js" | cksum)" \
    "$(cat "$WEB/docs/large.js" "$WEB/login.html" "$WEB/docs/large.js" | cksum)"
check "to a client that takes its time" same "$(curl -s --limit-rate 3M "$URL/docs/large.js" | cksum)" "$sum"

: > "$WEB/docs/large.js"
check "a file that was cut is not made up" test "$(curl -s -o /dev/null -w '%{exitcode}' "$URL/docs/large.js")" -ne 0
check "and nothing falls over" same "$(status "$URL/login")" 200
seq 1 200000 > "$WEB/docs/large.js"
platform_down

platform_up_tls() {
    [ -s "$SAMOVAR_DATA/run/edge.port" ] || return 1
    URL=https://127.0.0.1:$(cat "$SAMOVAR_DATA/run/edge.port")
    [ "$(curl -s -k -o /dev/null -w '%{http_code}' "$URL/readyz")" = 200 ]
}
rm -f "$SAMOVAR_DATA/run/edge.port"
SAMOVAR_EDGE_WEB_DIR=$WEB SAMOVAR_EDGE_TLS_CERT=$WORK/cert.pem SAMOVAR_EDGE_TLS_KEY=$WORK/key.pem "$BIN/samovar" up >> "$WORK/up.log" 2>&1 &
SUP=$!
until_ok 30 platform_up_tls
check "HTTP/2" same "$(curl -s -k -w '%{http_version}' -o "$WORK/got" "$URL/docs/large.js")" 2
check "and its bytes" same "$(cksum < "$WORK/got")" "$sum"
check "a HEAD of it" has "$(heads -k -I "$URL/docs/large.js")" "content-length: $size"
check "browsers stay with TLS" has "$(heads -k "$URL/login")" "strict-transport-security: max-age=31536000"
platform_down

SAMOVAR_EDGE_WEB_DIR=$WORK/nowhere timeout 20 "$BIN/samovar" up > "$WORK/nowhere.log" 2>&1
check "a folder that is not there is told" has "$(cat "$WORK/nowhere.log")" "nowhere"
