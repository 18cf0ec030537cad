#!/usr/bin/env bash
# What is accounted of a call of each kind of provider, streamed and not: tokens in the same terms whatever the
# provider's own, prices to the micro-unit; and what is not: tries that failed.
. "$(dirname "$0")/lib.sh"
tool provider_sim; A=$TOOL_PORT
KINDS=(openai anthropic gemini ollama)
declare -A SHORT=([openai]=oa [anthropic]=an [gemini]=ge [ollama]=ol)
FULL=tokens=7,prompt=1000,cached=300,cache_write=200,reasoning=3
LONG=tokens=7,prompt=5000,cached=1000
RATES='input: 10000000, output: 100000000, cached: 1000000, cache_write: 20000000, cache_write_1h: 40000000'
# Failures count for a model only where its provider lists it.
MODELS=("full,$FULL" "fulls,$FULL" "long,$LONG" "longs,$LONG" "none,tokens=20,nousage=1" "nones,tokens=20,nousage=1" \
    "gone,tokens=100000,gap_ms=20" "bad,status=500" "late,first_ms=1500" "unheard,first_ms=15000" "race" "hedge,slow_percent=4,slow_ms=2000" "tools,tools=1" "badtools,tools=1,badtools=1" "stumble,fail_first=1,status=500")
infos() {
    local p m
    for p in oa an ge ol; do
        for m in "${MODELS[@]}"; do echo "    - {model: \"$p/$m\", $RATES, long_from: 4000, long_input: 20000000, long_output: 300000000}"; done
    done
}
listed() { printf '"%s", ' "${MODELS[@]}"; }
cat > "$WORK/samovar.yaml" <<EOF
router:
  hedge_percent: 50
  log_requests: "on"
  providers:
    - {name: oa, kind: openai, base_url: "http://127.0.0.1:$A/v1", key_env: KEY_OA, models: [$(listed)]}
    - {name: an, kind: anthropic, base_url: "http://127.0.0.1:$A/v1", key_env: KEY_AN, models: [$(listed)]}
    - {name: ge, kind: gemini, base_url: "http://127.0.0.1:$A/v1beta", key_env: KEY_GE, models: [$(listed)]}
    - {name: ol, kind: ollama, base_url: "http://127.0.0.1:$A", models: [$(listed)]}
  model_info:
$(infos)
EOF
platform_up SAMOVAR_CONFIG="$WORK/samovar.yaml" KEY_OA=sk-oa-222222 KEY_AN=sk-ant-333333 KEY_GE=g-444444
ask() { # MODEL STREAM [more members]
    curl -sN -m 20 -H 'content-type: application/json' -d "{\"model\":\"$1\",\"stream\":$2,\"messages\":[{\"role\":\"user\",\"content\":\"hi there\"}]${3:+,$3}}" "$URL/v1/chat/completions"
}
usage() { curl -s -m 5 "$URL/api/usage?model=$(jq -rn --arg m "$2" '$m | @uri')&provider=$1"; }
figures() { usage "$1" "$2" | jq -c '.total | [.requests, .counted // 0, .estimated // 0, .prompt_tokens, .completion_tokens, .cached_tokens // 0, .cache_write_tokens // 0, .reasoning_tokens // 0, .price // 0]'; }
is() { [ "$(figures "$1" "$2")" = "$3" ]; }
accounted() { # WHAT PROVIDER MODEL FIGURES
    until_ok 5 is "$2" "$3" "$4"
    check "$1" same "$(figures "$2" "$3")" "$4"
}

# requests, counted, estimated, prompt, completion, cached, written, reasoning, price. Prompt tokens are all that went in,
# completion tokens all that came out (the simulator's reasoning is beside its tokens), whatever the provider adds up.
declare -A WANT=(
    [openai]='[1,1,0,1000,10,300,200,3,10300]'
    [anthropic]='[1,1,0,1000,10,300,200,0,10300]'
    [gemini]='[1,1,0,1000,10,300,0,3,8300]'
    [ollama]='[1,1,0,1000,10,0,0,0,11000]'
)
for k in "${KINDS[@]}"; do
    p=${SHORT[$k]}
    ask "$p/full,$FULL" false >/dev/null
    accounted "$k, plain: tokens and price" $p "full,$FULL" "${WANT[$k]}"
    ask "$p/fulls,$FULL" true >/dev/null
    accounted "$k, stream: the same" $p "fulls,$FULL" "${WANT[$k]}"
done

# a long prompt has other prices, also for what was cached
for k in "${KINDS[@]}"; do
    p=${SHORT[$k]}; want='[1,1,0,5000,7,1000,0,0,84100]'; [ $k = ollama ] && want='[1,1,0,5000,7,0,0,0,102100]'
    ask "$p/long,$LONG" false >/dev/null; ask "$p/longs,$LONG" true >/dev/null
    accounted "$k, plain: a long prompt" $p "long,$LONG" "$want"
    accounted "$k, stream: a long prompt" $p "longs,$LONG" "$want"
done

# who tells no usage is estimated, and that is said: 110 bytes of text, four to a token
for k in "${KINDS[@]}"; do
    p=${SHORT[$k]}
    for m in none,tokens=20,nousage=1 nones,tokens=20,nousage=1; do
        stream=false; [ "${m:0:5}" = nones ] && stream=true
        ask "$p/$m" $stream >/dev/null
        accounted "$k, stream $stream: no usage" $p "$m" '[1,0,1,6,28,0,0,0,2860]'
    done
done

# what was made for a client that left
field() { usage "$1" "$2" | jq -r ".total.$3 // 0"; }
left() { [ "$(field "$1" "gone,tokens=100000,gap_ms=20" cancelled)" = 1 ]; }
for k in "${KINDS[@]}"; do
    p=${SHORT[$k]}; m="gone,tokens=100000,gap_ms=20"
    : > "$WORK/part"
    curl -sN -m 20 -o "$WORK/part" -H 'content-type: application/json' -d "{\"model\":\"$p/$m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi there\"}]}" "$URL/v1/chat/completions" &
    CLIENT=$!
    until_ok 10 grep -q tok5 "$WORK/part"
    kill $CLIENT; wait $CLIENT 2>/dev/null
    check "$k: a client that left is accounted" until_ok 5 left $p
    n=$(field $p "$m" completion_tokens)
    check "$k: with what was made" test "$n" -ge 6 -a "$n" -le 2000
    check "$k: and its price" same "$(field $p "$m" price)" $(($(field $p "$m" prompt_tokens) * 10 + n * 100))
    check "$k: as an estimate" same "$(field $p "$m" estimated)" 1
done

# one that left before anything came: the question was read, and that is paid
m=unheard,first_ms=15000
curl -s -m 20 -H 'content-type: application/json' -d "{\"model\":\"oa/$m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi there\"}]}" "$URL/v1/chat/completions" &
CLIENT=$!
asked() { curl -s "http://127.0.0.1:$A/_stats" | grep -q unheard; }
check "a question reached its provider" until_ok 10 asked
kill $CLIENT; wait $CLIENT 2>/dev/null
unheard() { [ "$(field oa "$m" cancelled)" = 1 ]; }
check "a client that heard nothing is accounted" until_ok 5 unheard
check "with its question" same "$(field oa "$m" price) $(field oa "$m" completion_tokens) $(field oa "$m" estimated)" "$(($(field oa "$m" prompt_tokens) * 10)) 0 1"
check "which cost something" test "$(field oa "$m" price)" -gt 0

# tries that failed cost nothing; the answer's tokens are those of who gave it
for k in "${KINDS[@]}"; do
    p=${SHORT[$k]}
    ask "$p/bad,status=500" false '"models":["'$p'/race"]' >/dev/null
    tried() { [ "$(field $p bad,status=500 errors)" -ge 1 ]; }
    check "$k: a failed try has its row" until_ok 5 tried
    check "$k: and costs nothing" same "$(field $p bad,status=500 price) $(field $p bad,status=500 prompt_tokens)" "0 0"
    accounted "$k: who answered instead" $p race '[1,1,0,10,8,0,0,0,900]'
    ask "$p/stumble,fail_first=1,status=500" true >/dev/null
    accounted "$k: the second try of two is paid" $p stumble,fail_first=1,status=500 '[2,1,0,10,8,0,0,0,900]'
done

# those that lose a race or a hedge are accounted, and had made nothing
ask oa/late,first_ms=1500 true '"mode":"race","models":["an/race"]' >/dev/null
lost() { [ "$(field oa late,first_ms=1500 cancelled)" = 1 ]; }
check "who lost a race has a row" until_ok 5 lost
check "and costs nothing" same "$(field oa late,first_ms=1500 price)" 0
HEDGE=hedge,slow_percent=4,slow_ms=2000
hedged() { ask "oa/$HEDGE" true >/dev/null; [ "$(field oa $HEDGE hedges)" -ge 1 ]; }
check "a slow call gets a second one" until_ok 60 hedged
once() { [ "$(field oa $HEDGE price)" = $((900 * ($(field oa $HEDGE requests) - $(field oa $HEDGE cancelled)))) ]; }
check "of the two one is paid" until_ok 5 once
check "the other one was cancelled" test "$(field oa $HEDGE cancelled)" -ge 1
metrics() { curl -s -m 5 "$URL/metrics?service=router"; }
check "hedges that won are counted" has "$(metrics | grep '^samovar_provider_hedges_won_total')" 'total '

# wrong tool calls are known, also where bytes pass through
TOOLS='"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","properties":{}}}}]'
wrong() { "$BIN/samovar" rankings -o json | jq -c --arg m "$1" --arg p "$2" '[.rankings[] | select(.model == $m and .provider == $p) | .requests, .tool_errors]'; }
judged() { [ "$(wrong "$1" $2)" = "$3" ]; }
for k in "${KINDS[@]}"; do
    p=${SHORT[$k]}
    for s in true false; do
        ask "$p/badtools,tools=1,badtools=1" $s "$TOOLS" >/dev/null
        ask "$p/tools,tools=1" $s "$TOOLS" >/dev/null
    done
done
for k in "${KINDS[@]}"; do
    p=${SHORT[$k]}
    # Gemini's arguments, and Anthropic's plain ones, are objects by their format.
    want='[2,1]'; [ $k = anthropic ] && want='[2,0.5]'
    [ $k = gemini ] || check "$k: arguments that are no JSON" until_ok 5 judged badtools,tools=1,badtools=1 $p "$want"
    check "$k: calls that are as they should be" until_ok 5 judged tools,tools=1 $p '[2,0]'
    ask "$p/unknown,tools=1,badtools=2" false "$TOOLS" >/dev/null
    check "$k: a tool that the request does not have" until_ok 5 judged unknown,tools=1,badtools=2 $p '[1,1]'
done
