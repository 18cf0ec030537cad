#!/usr/bin/env bash
# Files over HTTP: stored whole or not at all, found again byte by byte, within limits; the workspace killed
# in the middle, the disk full, clients that leave.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

platform_up SAMOVAR_EDGE_UPLOAD_BYTES=8MiB SAMOVAR_FILES_USER_BYTES=20MiB
status_of() { curl -s -m 30 -o "$WORK/body" -D "$WORK/head" -w '%{http_code}' "$@"; }
header() { tr -d '\r' < "$WORK/head" | sed -n "s/^$1: //Ip"; }
code() { jq -r '.error.code // empty' "$WORK/body"; }
count() { curl -s "$URL/api/files" | jq '.files | length'; }

head -c 3000001 /dev/urandom > "$WORK/blob"
printf '\x89PNG\r\n\x1a\n rest' > "$WORK/picture"
SUM=$(sha256sum "$WORK/blob" | cut -d' ' -f1)
check "a form with two files is stored" same "$(status_of -F "a=@$WORK/blob;filename=../../etc/pass\"wd" -F "b=@$WORK/picture;type=text/html" "$URL/api/files")" 201
ID=$(jq -r '.files[0].id' "$WORK/body") PIC=$(jq -r '.files[1].id' "$WORK/body")
check "with its sum" same "$(jq -r '.files[0].sha256' "$WORK/body")" "$SUM"
check "S-F1: the type is that of the bytes" same "$(jq -r '.files[1].type' "$WORK/body")" image/png
check "S-F1: of a name only its last part is kept" hasnt "$(jq -r '.files[0].name' "$WORK/body")" /
check "its bytes come back" same "$(curl -s "$URL/api/files/$ID" | sha256sum | cut -d' ' -f1)" "$SUM"
check "with their length" same "$(status_of "$URL/api/files/$ID") $(header content-length)" "200 3000001"
check "HEAD says it too" same "$(curl -sI "$URL/api/files/$ID" | tr -d '\r' | sed -n 's/^content-length: //Ip')" 3000001
check "S-F1: as an attachment in a sandbox" has "$(header content-disposition) $(header content-security-policy) $(header x-content-type-options)" "attachment"
check "and nothing else" has "$(header content-security-policy) $(header x-content-type-options)" "sandbox; default-src 'none'; frame-ancestors 'none' nosniff"
check "a range" same "$(status_of -r 1000000-2000000 "$URL/api/files/$ID") $(header content-range) $(sha256sum < "$WORK/body")" \
    "206 bytes 1000000-2000000/3000001 $(tail -c +1000001 "$WORK/blob" | head -c 1000001 | sha256sum)"
check "a range that is none" same "$(status_of -r 3000001- "$URL/api/files/$ID") $(header content-range)" "416 bytes */3000001"
check "not again what the client has" same "$(status_of -H "if-none-match: \"$SUM\"" "$URL/api/files/$ID")" 304
check "resumed over HTTP as curl does it" same "$(head -c 700000 "$WORK/blob" > "$WORK/part"; curl -s -C - -o "$WORK/part" "$URL/api/files/$ID"; sha256sum < "$WORK/part" | cut -d' ' -f1)" "$SUM"
check "the list has both" same "$(count)" 2
check "a file that is not there" same "$(status_of "$URL/api/files/0190a000-0000-7000-8000-000000000000")" 404

check "an upload beyond the limit is refused" same "$(head -c 9000000 /dev/zero > "$WORK/big"; status_of -F "a=@$WORK/big" "$URL/api/files") $(code)" "413 request.too_large"
check "a body that is no form" same "$(status_of -H 'content-type: application/json' -d '{}' "$URL/api/files")" 415
check "a form without files" same "$(status_of -F 'a=text' "$URL/api/files")" 400
check "a form that is cut" same "$(printf -- '--x\r\ncontent-disposition: form-data; name="a"; filename="b"\r\n\r\nabc' > "$WORK/cut"; status_of -H 'content-type: multipart/form-data; boundary=x' --data-binary "@$WORK/cut" "$URL/api/files")" 400
check "quota" same "$(head -c 7000000 /dev/zero > "$WORK/seven"; status_of -F "a=@$WORK/seven" "$URL/api/files" >/dev/null; status_of -F "a=@$WORK/seven" "$URL/api/files" >/dev/null; status_of -F "a=@$WORK/seven" "$URL/api/files") $(code) $(jq -r '.error.fields[0].path' "$WORK/body")" "507 quota.exceeded files.user_bytes"
for id in $(curl -s "$URL/api/files" | jq -r --arg a "$ID" --arg b "$PIC" '.files[].id | select(. != $a and . != $b)'); do curl -s -X DELETE "$URL/api/files/$id"; done
check "what is deleted gives its room back" same "$(status_of -F "a=@$WORK/seven" "$URL/api/files")" 201
curl -s -X DELETE "$URL/api/files/$(jq -r '.files[0].id' "$WORK/body")"
check "and is gone" same "$(count)" 2

# Clients that leave in the middle, twenty of them, and slow ones.
for i in $(seq 20); do curl -s -m 0.3 --limit-rate 500k -F "a=@$WORK/blob" "$URL/api/files" >/dev/null & done; wait $(jobs -p | grep -v "^$SUP$")
check "clients that leave leave nothing" until_ok 5 sh -c "[ \$(curl -s '$URL/api/files' | jq '.files | length') = 2 ]"
check "also no quota" same "$(status_of -F "a=@$WORK/seven" "$URL/api/files")" 201
curl -s -X DELETE "$URL/api/files/$(jq -r '.files[0].id' "$WORK/body")"

# The workspace dies while uploads come in.
for i in 1 2 3 4 5; do
    curl -s -m 20 -o "$WORK/r$i" -w '%{http_code}' -F "a=@$WORK/blob" "$URL/api/files" > "$WORK/s$i" &
    upload=$! # <(:) sets $! too
    read -rt 0.05 <> <(:) || true
    kill -9 "$(child_pid workspace/1)" 2>/dev/null
    wait "$upload"
    until_ok 10 sh -c "[ \"\$(curl -s -o /dev/null -w '%{http_code}' '$URL/api/files')\" = 200 ]"
    case $(cat "$WORK/s$i") in 201) curl -s -X DELETE "$URL/api/files/$(jq -r '.files[0].id' "$WORK/r$i")";; 5??) ;; *) echo "  status $(cat "$WORK/s$i")"; FAILED=$((FAILED + 1));; esac
done
check "after kill -9 in the middle there is what was answered, no more" same "$(count)" 2
check "its bytes are whole" same "$(curl -s "$URL/api/files/$ID" | sha256sum | cut -d' ' -f1)" "$SUM"
