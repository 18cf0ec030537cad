#!/usr/bin/env bash
# What becomes of a request while providers fail in every way there is: until the client has got something a failure is
# invisible, afterwards it is a clean error in the client's own dialect. Each kind of provider, each dialect of clients.
. "$(dirname "$0")/lib.sh"
tool provider_sim; A=$TOOL_PORT
tool provider_sim; B=$TOOL_PORT
KINDS=(openai anthropic gemini ollama)
declare -A SHORT=([openai]=oa [anthropic]=an [gemini]=ge [ollama]=ol)
CLIENTS=(openai responses anthropic ollama)
cat > "$WORK/samovar.yaml" <<EOF
router:
  aliases: [{name: tea, models: [demo]}]
  demo_delay_ms: 0
  first_byte_ms: 6s
  first_token_ms: 1500
  idle_ms: 2s
  connect_ms: 1s
  providers:
    - {name: oa, kind: openai, base_url: "http://127.0.0.1:$A/v1", key_env: KEY_OA, more_key_envs: [KEY_OA2], models: [oa-small, "leave1,tokens=1000,gap_ms=20"]}
    - {name: an, kind: anthropic, base_url: "http://127.0.0.1:$A/v1", key_env: KEY_AN, models: [an-small]}
    - {name: ge, kind: gemini, base_url: "http://127.0.0.1:$A/v1beta", key_env: KEY_GE, models: [ge-small]}
    - {name: ol, kind: ollama, base_url: "http://127.0.0.1:$A", models: [ol-small]}
    - {name: solo, kind: openai, base_url: "http://127.0.0.1:$A/v1", key_env: KEY_SOLO, models: [solo-small, "paid,status=500"]}
    - {name: fb, kind: openai, base_url: "http://127.0.0.1:$B/v1", key_env: KEY_FB, models: [fb-small]}
    - {name: gone, kind: openai, base_url: "http://127.0.0.1:9/v1", models: [gone-small]}
  model_info:
    - {model: "solo/ctx,context=5", context: 8000}
    - {model: "fb/large", context: 128000}
    - {model: "fb/as-small", context: 8000}
    - {model: "fb/pre,tokens=3", can: [tools, prefill]}
    - {model: "fb/nopre,noprefill=1", can: [tools, prefill]}
    - {model: "solo/paid,status=500", input: 1000000, output: 1000000}
    - {model: "fb/paid,tokens=7,prompt=11", input: 1000000, output: 2000000}
EOF
platform_up SAMOVAR_CONFIG="$WORK/samovar.yaml" KEY_OA=sk-one-111111 KEY_OA2=sk-two-222222 KEY_AN=sk-ant-333333 KEY_GE=g-444444 \
    KEY_SOLO=sk-solo-555555 KEY_FB=sk-fb-666666

control() { curl -s -m 5 -o /dev/null -H 'content-type: application/json' -d "$2" "http://127.0.0.1:$1/_control"; }
stats() { curl -s -m 5 "http://127.0.0.1:$1/_stats"; }
calls() { stats "$1" | jq --arg m "$2" '.models[$m] // 0'; } # calls PORT MODEL: how often it was called

# ask CLIENT MODEL STREAM [more members]: the answer as it comes, its head in $WORK/head.$BASHPID
path_of() { case $1 in openai) echo /v1/chat/completions;; responses) echo /v1/responses;; anthropic) echo /v1/messages;; ollama) echo /ollama/api/chat;; esac; }
body_of() { # CLIENT MODEL STREAM MORE
    local s=false; [ "$3" = 1 ] && s=true
    case $1 in
    responses) printf '{"model":"%s","stream":%s,"input":"hi there"%s}' "$2" $s "${4:+,$4}";;
    anthropic) printf '{"model":"%s","stream":%s,"max_tokens":500,"messages":[{"role":"user","content":"hi there"}]%s}' "$2" $s "${4:+,$4}";;
    *) printf '{"model":"%s","stream":%s,"messages":[{"role":"user","content":"hi there"}]%s}' "$2" $s "${4:+,$4}";;
    esac
}
send() { curl -sN -m 40 -D "$HEAD" -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' "${@:3}" --data-binary "$2" "$URL$(path_of "$1")"; }
HEAD=$WORK/head
ask() { send "$1" "$(body_of "$1" "$2" "$3" "${4:-}")" "${@:5}"; }
status() { awk 'NR == 1 { print $2 }' "$HEAD"; }
head_has() { grep -qi "^$1" "$HEAD" || { echo "  no $1 in: $(tr -d '\r' < "$HEAD")" >&3; return 1; }; }
text_of() { # the text of an answer, streamed or not, of any client's format
    sed -n 's/\r$//; s/^data: //; /^{/p' | jq -sr 'map(if type != "object" then "" elif .object == "response" then [.output[]?.content[]?.text?] | join("")
        else (.choices[0]?.delta?.content? // .choices[0]?.message?.content? // (if .type == "response.output_text.delta" then .delta else null end)
        // (.delta | if type == "object" then .text else null end) // (.content | if type == "array" then [.[].text?] | join("") else null end) // .message?.content?) end
        | if type == "string" then . else "" end) | add // ""' 2>/dev/null
}
complete_of() { # does it look complete to a client of this format?
    case $1 in openai) grep -q '\[DONE\]';; responses) grep -q '"type": *"response.\(completed\|incomplete\)"';; anthropic) grep -q message_stop;; ollama) grep -q '"done": *true';; esac
}
error_of() { case $1 in openai) grep -q '^data: {"error":{';; responses) grep -Eq '"type": *"(error|response.failed)"';; anthropic) grep -q '^event: error';; ollama) grep -q '^{"error":';; esac; }
words() { local i; for ((i = 0; i < $1; i++)); do printf '%stok%d' "${i:+$([ $i -gt 0 ] && echo ' ')}" $i; done; }
FB='"models":["fb/sim"]'

# any provider to any client, whatever pieces its bytes come in
want=$(words 8)
for k in "${KINDS[@]}"; do
    p=${SHORT[$k]}
    for c in "${CLIENTS[@]}"; do
        bad=
        for fault in sim sim,fault=bytes sim,split=7 sim,batch=9,split=3; do
            got=$(ask $c $p/$fault 1)
            [ "$(text_of <<<"$got")" = "$want" ] && complete_of $c <<<"$got" || bad+=" $fault:$(text_of <<<"$got")"
        done
        [ "$(ask $c $p/sim 0 | text_of)" = "$want" ] || bad+=" plain"
        check "$k to $c: the same text in any pieces" same "$bad" ""
    done
done

# What takes time happens at once: later NAME ASK...; its answer is in $WORK/NAME, its time in NAME.took
later() {
    local name=$1; shift
    ( HEAD=$WORK/$name.head; t=$(now_ms); ask "$@" > "$WORK/$name"; echo $(($(now_ms) - t)) > "$WORK/$name.took" ) & JOBS+=($!)
}
JOBS=()
took_of() { local t; t=$(cat "$WORK/$1.took"); [ "$t" -ge "$2" ] && [ "$t" -le "$3" ] || { echo "  took $t ms, not $2 to $3" >&3; return 1; }; }
for k in "${KINDS[@]}"; do
    p=${SHORT[$k]}
    later slow.$k openai "${p/oa/solo}/limited,fail_first=1,status=429,retry_after=2" 0
    later hang.$k openai $p/hang,fault=hang 1 "$FB"
    for e in 0 1; do later late$e.$k openai "$p/late$e,first_ms=20000,head_early=$e" 1 "$FB"; done
    later noend.$k openai $p/noend,fault=noend 1 '"stream_options":{"include_usage":true}'
    later silent.$k openai $p/silent,tokens=9,gap_ms=5,fault=silent,at=5 1
done
later ever openai solo/ever2,status=429,retry_after_ms=300 0
wait "${JOBS[@]}"
for k in "${KINDS[@]}"; do
    check "$k: 429 once with Retry-After 2 s is waited for" took_of slow.$k 1900 6000
    check "$k: and answered" same "$(text_of < "$WORK/slow.$k")" "$want"
    check "$k: accepts and never answers: another answers" same "$(text_of < "$WORK/hang.$k")" "$want"
    check "$k: after the time for a first token" took_of hang.$k 1400 6000
    for e in 0 1; do
        check "$k: first token after 20 s (head early: $e): another answers" same "$(text_of < "$WORK/late$e.$k")" "$want"
        check "$k: in time" took_of late$e.$k 1400 6000
    done
    check "$k: silent in mid-stream: what came, and an error" eval 'has "$(text_of < "$WORK/silent.$k")" tok3 && error_of openai < "$WORK/silent.$k" && ! complete_of openai < "$WORK/silent.$k"'
    check "$k: after the time for silence" took_of silent.$k 1900 6000
    check "$k: no end marker: over within 8 s" took_of noend.$k 0 8000
    case $k in
    openai|anthropic) # they say before it how the answer ended
        check "$k: complete all the same" complete_of openai < "$WORK/noend.$k"
        check "$k: with usage" grep -q '"completion_tokens": *8' "$WORK/noend.$k";;
    *) check "$k: which cannot be told from a cut" eval 'error_of openai < "$WORK/noend.$k" && ! complete_of openai < "$WORK/noend.$k"';;
    esac
done
check "429 once: two calls of each" same "$(calls $A limited,fail_first=1,status=429,retry_after=2)" 8
check "429 for ever, and nobody else: six tries" same "$(calls $A ever2,status=429,retry_after_ms=300)" 6
check "with the pauses that it asked for" took_of ever 1500 20000

# one failure is not seen: tried again, then another answers
for k in "${KINDS[@]}"; do
    p=${SHORT[$k]}
    control $A '{"reset_stats":true}'
    m="stumble,fail_first=1,status=500"
    check "$k: one 500 is not seen" same "$(ask openai "$p/$m" 1 | text_of) $(status) $(calls $A "$m")" "$want 200 2"
    s=0
    for m in status=503 fault=reset fault=close fault=garbage fault=badjson,at=0; do
        s=$((1 - s))
        check "$k: $m for ever, stream $s: another answers" same "$(ask openai "$p/f,$m" $s "$FB" | text_of) $(status)" "$want 200"
    done
done
m="ever,status=429"
check "429 for ever: another answers" same "$(ask openai "solo/$m" 0 "$FB" | text_of)" "$want"
check "after at most 6 tries" test "$(calls $A "$m")" -le 6
HEAD=$WORK/ever.head
check "429 for ever, and nobody else: that is said" same "$(status) $(jq -r '.error | type' "$WORK/ever")" "429 object"
check "x-should-retry after our own retries" head_has "x-should-retry: false"
check "x-request-id" head_has "x-request-id: "
check "request-id" head_has "request-id: "
HEAD=$WORK/head
ask openai "solo/long,status=429,retry_after=3000" 0 >/dev/null
check "a Retry-After that is too long is passed on, up to 60 s" head_has $'retry-after: 60\r'
check "and not waited for" same "$(calls $A long,status=429,retry_after=3000)" 1
m="down3,status=503"
ask openai "solo/$m" 1 >/dev/null
check "503 for ever, and nobody else: its status" same "$(status)" 503
check "after some tries" test "$(calls $A "$m")" -le 6 -a "$(calls $A "$m")" -ge 2
check "nobody listens: another answers" same "$(ask openai gone/sim 0 "$FB" | text_of)" "$want"
control $A '{"keys":{"sk-one-111111":401}}'
check "a key that is refused: the next one" same "$(ask openai oa/keys,tokens=2 0 | text_of)" "$(words 2)"
control $A '{"keys":{"sk-one-111111":429}}'
check "a key that is limited: the next one" same "$(ask openai oa/keys2,tokens=2 1 | text_of)" "$(words 2)"
control $A '{"keys":{"sk-one-111111":402,"sk-two-222222":401}}'
check "all keys dead: another provider" same "$(ask openai oa/keys3 0 "$FB" | text_of)" "$want"
control $A '{"keys":{}}'

# what is wrong with the request is said at once
long='"models":["fb/as-small","fb/large"]'
for k in "${KINDS[@]}"; do
    m="${SHORT[$k]}/ctx$k,context=1"
    check "$k: a prompt that is too long goes to a larger model" same "$(ask openai "$m" 0 '"models":["fb/large"]' | text_of) $(calls $A "${m#*/}")" "$want 1"
    ask openai "$m" 0 >/dev/null
    check "$k: without one it is refused in one try" same "$(status) $(calls $A "${m#*/}")" "400 2"
done
before=$(calls $B as-small)
ask openai solo/ctx,context=1 1 "$long" >/dev/null
check "a model of unknown size may try it" same "$(status)" 200
for k in "${KINDS[@]}"; do
    p=${SHORT[$k]}; control $A '{"reset_stats":true}'
    got=$(ask openai "$p/bad$k,policy=1" 0 "$FB")
    [ $k = gemini ] && want_status=200 || want_status=400 # Gemini blocks with a 200
    check "$k: 400 for its content: one try" same "$(status) $(calls $A "bad$k,policy=1")" "$want_status 1"
    check "$k: the reason is passed on" grep -Eqi 'polic|content_filter' <<<"$got"
done

# after the first token: an error in the client's dialect, never an end
for c in "${CLIENTS[@]}"; do
    for k in "${KINDS[@]}"; do
        p=${SHORT[$k]}
        got=$(ask $c "$p/cut,tokens=60,gap_ms=2,fault=cut,at=40" 1 "$([ $c = openai ] && echo "$FB")")
        check "$k to $c, cut at 40 of 60: what came is there" same "$(text_of <<<"$got")" "$(words 40)"
        check "$k to $c, cut at 40 of 60: an error" error_of $c <<<"$got"
        check "$k to $c, cut at 40 of 60: no end" eval '! complete_of $c <<<"$got"'
    done
    for k in "${KINDS[@]}"; do
        got=$(ask $c "${SHORT[$k]}/bad,tokens=20,gap_ms=10,fault=badjson,at=9" 1)
        check "$k to $c, bad JSON in one event: what came, and an error" eval 'has "$(text_of <<<"$got")" tok7 && error_of $c <<<"$got" && ! complete_of $c <<<"$got"'
    done
done
check "the defaults of these clocks" same "$("$BIN/samovar" config show -o json | jq -c '[."router.first_token_ms".default, ."router.idle_ms".default]')" '["15s","20s"]'

# continued by a model that takes a beginning
got=$(ask openai "solo/cont,tokens=60,gap_ms=2,fault=cut,at=40" 1 '"models":["fb/pre,tokens=3"]' -H 'x-samovar-continue: yes')
check "an answer that breaks off is continued" eval 'complete_of openai <<<"$got" && ! error_of openai <<<"$got"'
check "with all of its text" same "$(text_of <<<"$got" | sed 's/tok39.*//')" "$(words 39) "
got=$(ask openai "solo/cont2,tokens=60,gap_ms=2,fault=cut,at=40" 1 '"models":["fb/nopre,noprefill=1"]' -H 'x-samovar-continue: yes')
check "whose next one rejects the beginning: an error" error_of openai <<<"$got"
check "which is the first one's" eval 'has "$(grep "\"error\"" <<<"$got")" "provider solo" && has "$got" provider.cut'
check "behind all that it had said" same "$(text_of <<<"$got")" "$(words 40)"
check "and no end" eval '! complete_of openai <<<"$got"'
check "it was asked" test "$(calls $B nopre,noprefill=1)" -ge 1

check "an alias of demo answers" has "$(ask openai tea 0)" "small program inside Samovar"

# down for a time, served by another, and back
control $A '{"down_ms":4000}'
end=$(($(now_ms) + 4000)) bad=0
while [ "$(now_ms)" -lt $end ]; do [ "$(ask openai "oa/updown" 0 "$FB" | text_of)" = "$want" ] || bad=$((bad + 1)); done
check "a provider is down: everybody is served" same $bad 0
back() { local was; was=$(stats $B | jq .requests); [ "$(ask openai "oa/updown" 0 "$FB" | text_of)" = "$want" ] && [ "$(stats $B | jq .requests)" = "$was" ]; }
BEGAN=$(now_ms)
check "and it has its requests back" until_ok 30 back
check "within 30 s" under $(($(now_ms) - BEGAN)) 30000

# accounts
usage_of() { "$BIN/samovar" usage --by model -o json | jq -c --arg m "$1" '[.rows[] | select(.name == $m) | .requests, .errors, .prompt_tokens, .completion_tokens, .price]'; }
got=$(ask openai "solo/paid,status=500" 0 '"models":["fb/paid,tokens=7,prompt=11"]')
check "all but the last try failed: model and usage are the last one's" same "$(jq -c '[.model,.usage.prompt_tokens,.usage.completion_tokens]' <<<"$got")" '["paid,tokens=7,prompt=11",11,7]'
check "the ledger has the last one's price" until_ok 5 eval '[ "$(usage_of paid,tokens=7,prompt=11)" = "[1,0,11,7,25]" ]'
check "failed tries cost nothing" same "$(usage_of paid,status=500)" "[2,2,0,0,0]"

# a client that leaves
left_after() { # left_after CLIENT MODEL STREAM: microseconds until the provider sees it
    local before client t0 t1 now off left
    before=$(stats $A | jq '.closed_by_peer | length')
    curl -sN -o /dev/null -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' -d "$(body_of "$1" "$2" "$3" "$([ $1 = openai ] && echo "$FB")")" "$URL$(path_of "$1")" &
    client=$!
    until_ok 5 eval '[ "$(stats $A | jq .open)" -ge 1 ] && [ "$(calls $A "'"${2#*/}"'")" -ge 1 ]'
    t0=${EPOCHREALTIME/[.,]/}; now=$(stats $A | jq .now_us); t1=${EPOCHREALTIME/[.,]/}
    off=$(((t0 + t1) / 2 - now)); left=${EPOCHREALTIME/[.,]/}
    kill -9 $client
    until_ok 3 eval '[ "$(stats $A | jq ".closed_by_peer | length")" -gt '"$before"' ]' || { echo 99999999; return; }
    echo $(( $(stats $A | jq '.closed_by_peer[-1] | if type == "object" then .closed_us else . end') + off - left ))
}
fallbacks=$(stats $B | jq .requests)
for what in 'openai oa/leave1,tokens=1000,gap_ms=20 1' 'anthropic ge/leave2,tokens=1000,gap_ms=20 1' 'ollama an/leave3,tokens=1000,gap_ms=20 1' 'responses ol/leave4,first_ms=1200 1' 'openai an/leave5,first_ms=1200 0'; do
    us=99999999
    for i in 1 2 3 4 5 6 7 8 9 10; do t=$(left_after $what); [ "$t" -lt $us ] && us=$t; [ $us -le 50000 ] && break; done
    check "gone (${what%% *}, ${what#* }): the provider's connection closes within 50 ms ($us us)" under $us 50000
done
check "nothing more was tried" same "$(stats $B | jq .requests)" "$fallbacks"
check "what was made is in the ledger" until_ok 5 eval '[ "$(usage_of leave1,tokens=1000,gap_ms=20 | jq ".[3]")" -gt 0 ]'
check "no sanitizer report" hasnt "$(cat "$WORK/up.log" "$WORK/tools.log")" "ERROR: AddressSanitizer"
