#!/usr/bin/env bash
# samovar-vectors: published vectors by the product's own code (tests/vectors/published.jsonl holds each
# request, the answer and where it is from; an error's words are not compared), and lines that nobody
# should send: every line has one answer and the program goes on.
. "$(dirname "$0")/lib.sh"

vectors() { timeout 60 "$BIN/samovar-vectors"; }
file=$ROOT/tests/vectors/published.jsonl

jq -c .request "$file" | vectors > "$WORK/got"
check "ends well" same "${PIPESTATUS[1]}" 0
check "an answer for each vector" same "$(wc -l < "$WORK/got")" "$(wc -l < "$file")"
# A verdict's reason and an error's words are for people.
jq -c '.want | if has("error") then {error: true} else . end' "$file" | jq -cS . > "$WORK/want"
jq -c 'del(.reason) | if has("error") then {error: (.error | type == "string" and . != "")} else . end' "$WORK/got" |
    jq -cS . > "$WORK/plain"
wrong=0
while IFS=$'\t' read -r want got request; do
    [ "$want" = "$got" ] && continue
    wrong=$((wrong + 1))
    printf '  asked: %s\n  got:   %s\n  want:  %s\n' "${request:0:300}" "${got:0:300}" "${want:0:300}"
done < <(paste "$WORK/want" "$WORK/plain" <(jq -c .request "$file"))
check "every published vector" same $wrong 0

# integers keep their 64 bits, which jq's numbers do not
check "2^64-1" same "$(vectors <<<'{"op":"msgpack","hex":"cfffffffffffffffff"}')" '{"json":18446744073709551615,"hex":"cfffffffffffffffff"}'
check "-2^63" same "$(vectors <<<'{"op":"msgpack","hex":"d38000000000000000"}')" '{"json":-9223372036854775808,"hex":"d38000000000000000"}'

# one line each; a good request behind every bad line shows that the program is still there
good='{"op":"hotp","secret_hex":"3132333435363738393031323334353637383930","counter":0}'
{
    printf '%s\n' '' ' ' 'null' '[]' '7' '"op"' '{' '{}' '}{' '{"op":7}' '{"op":null}' '{"op":"totp"}' '{"op":"totp","op":"totp"}' \
        '{"op":"totp","secret_hex":7,"time":1}' '{"op":"totp","secret_hex":"zz","time":1}' '{"op":"totp","secret_hex":"abc","time":1}' \
        '{"op":"totp","secret_hex":"00","time":-1}' '{"op":"totp","secret_hex":"00","time":1.5}' '{"op":"totp","secret_hex":"00","time":99999999999999999999}' \
        '{"op":"totp","secret_hex":"00","time":1,"step":0}' '{"op":"totp","secret_hex":"00","time":1,"step":99999999999}' '{"op":"totp","secret_hex":"","time":1}' \
        '{"op":"hotp","secret_hex":"00","counter":1,"digits":0}' '{"op":"hotp","secret_hex":"00","counter":1,"digits":9}' '{"op":"hotp","alg":["SHA1"],"secret_hex":"00","counter":1}' \
        '{"op":"aead"}' '{"op":"aead","alg":"XCHACHA20-POLY1305","key_hex":"00","iv_hex":"","aad_hex":"","ct_hex":"","tag_hex":""}' \
        '{"op":"jws"}' '{"op":"jws","key":"x","jws":"a.b.c"}' '{"op":"jws","key":{"kty":"OKP"},"jws":{}}' '{"op":"msgpack"}' '{"op":"msgpack","hex":{}}' \
        '{"op":"sse"}' '{"op":"sse","chunks_b64":"ZGF0YQ=="}' '{"op":"sse","chunks_b64":[7]}' '{"op":"sse","chunks_b64":["*"]}' '{"op":"url"}' '{"op":"url","url":[]}'
    printf '{"op":"url","url":"a\\u0000b"}\n{"op":"\xff"}\n\0\0\0\n\xff\xfe\n'
    head -c 100000 /dev/zero | tr '\0' '['; echo
    head -c 1048576 /dev/zero | tr '\0' a; echo
    printf '{"op":"totp","secret_hex":"'; head -c 1048576 /dev/zero | tr '\0' 0; printf '","time":1}\n'
    printf '{"op":"'; head -c 8388608 /dev/zero | tr '\0' x; printf '"}\n'
} > "$WORK/bad"
bad=$(tr -cd '\n' < "$WORK/bad" | wc -c)
LC_ALL=C sed "a $good" "$WORK/bad" > "$WORK/mixed"
vectors < "$WORK/mixed" > "$WORK/got"
check "hostile lines: ends well" same $? 0
check "hostile lines: one answer each" same "$(wc -l < "$WORK/got")" $((2 * bad))
check "hostile lines: each is an error" same "$(awk 'NR % 2' "$WORK/got" | jq -c 'keys == ["error"] and (.error | length > 0)' | sort | uniq -c | tr -s ' ')" " $bad true"
check "hostile lines: good ones between are answered" same "$(awk 'NR % 2 == 0' "$WORK/got" | sort | uniq -c | tr -s ' ')" " $bad {\"code\":\"755224\"}"

big=$(head -c 1048576 /dev/zero | tr '\0' a)
check "a URL of 1 MiB" has "$(printf '{"op":"url","url":"https://%s/"}\n' "$big" | vectors)" '"deny"'
check "a token of 1 MiB" has "$(printf '{"op":"jws","key":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},"jws":"%s"}\n' "$big" | vectors)" '"valid":false'
check "an event of 1 MiB" has "$(printf '{"op":"sse","chunks_b64":["%s"]}\n' "$(head -c 1048576 /dev/zero | base64 -w0)" | vectors)" '"error"'
check "noise" same "$(head -c 300000 /dev/urandom | vectors | jq -c 'has("error")' | sort -u)" true
check "the end in the middle of a line" has "$(printf '%s\n{"op":"ho' "$good" | vectors | tail -1)" '"error"'
check "a last line without its end" same "$(printf '%s' "$good" | vectors)" '{"code":"755224"}'
check "nothing in, nothing out" same "$(vectors < /dev/null)" ""

# answers come at once, for those who ask and wait
coproc asked { vectors; }
echo "$good" >&"${asked[1]}"
check "answers before the next line" same "$(read -rt 10 line <&"${asked[0]}"; echo "$line")" '{"code":"755224"}'
exec {asked[1]}>&-
wait $!

check "help" has "$("$BIN/samovar-vectors" --help)" "usage: samovar-vectors"
"$BIN/samovar-vectors" --what > /dev/null 2>&1
check "other words" same $? 2
