#!/usr/bin/env bash
# The provider simulator is what the gateway is judged by: every format and every fault of it is looked at here.
. "$(dirname "$0")/lib.sh"
tool provider_sim
S=http://127.0.0.1:$TOOL_PORT
J='content-type: application/json'
A=(-H 'x-api-key: sk-aaaaaa' -H 'anthropic-version: 2023-06-01')
G=(-H 'x-goog-api-key: g-bbbbbb')
ask() { local path=$1 body=$2; shift 2; curl -s -N -m 10 -H "$J" "$@" -d "$body" "$S$path"; }
code() { local path=$1 body=$2; shift 2; curl -s -m 10 -o /dev/null -w '%{http_code}' -H "$J" "$@" -d "$body" "$S$path"; }
control() { curl -s -m 5 -o /dev/null -d "$1" "$S/_control"; }
oai() { printf '{"model":"%s","messages":[{"role":"user","content":"hi"}]%s}' "$1" "${2:+,$2}"; }
ant() { printf '{"model":"%s","max_tokens":%s,"messages":[{"role":"user","content":"hi"}]%s}' "$1" "${3:-500}" "${2:+,$2}"; }
GEM='{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}'
# one request of each format: FORMAT MODEL STREAM
one() {
    local s=$3 st=
    [ "$s" = 1 ] && st='"stream":true'
    case $1 in
    openai) ask /v1/chat/completions "$(oai "$2" "$st")";;
    text) ask /v1/completions "{\"model\":\"$2\",\"prompt\":\"hi\"${st:+,$st}}";;
    responses) ask /v1/responses "{\"model\":\"$2\",\"input\":\"hi\"${st:+,$st}}";;
    anthropic) ask /v1/messages "$(ant "$2" "$st")" "${A[@]}";;
    gemini) if [ "$s" = 1 ]; then ask "/v1beta/models/$2:streamGenerateContent?alt=sse" "$GEM" "${G[@]}"; else ask "/v1beta/models/$2:generateContent" "$GEM" "${G[@]}"; fi;;
    ollama) ask /api/chat "$(oai "$2" "\"stream\":$([ "$s" = 1 ] && echo true || echo false)")";;
    esac
}
events() { sed -n 's/\r$//; s/^data: //; /^{/p'; }
text_of() { # the text of a stream, whatever its format
    events | jq -sr 'map(if type == "object" then (.choices[0]?.delta?.content? // .choices[0]?.text? // (if .type == "response.output_text.delta" then .delta else null end)
        // (.delta | if type == "object" then .text else null end) // .candidates[0]?.content?.parts[0]?.text? // .message?.content? // "") else "" end | if type == "string" then . else "" end) | add'
}
END=(openai '[DONE]' text '[DONE]' responses response.completed anthropic message_stop gemini finishReason ollama '"done":true')
counted='(_tokens|TokenCount|eval_count)":[0-9]'
for f in openai text responses anthropic gemini ollama; do
    for i in "${!END[@]}"; do [ "${END[i]}" = $f ] && mark=${END[i + 1]}; done
    got=$(one $f sim,tokens=3 1)
    check "$f: stream" same "$(text_of <<<"$got")" "tok0 tok1 tok2"
    check "$f: end marker" has "$got" "$mark"
    check "$f: plain" has "$(one $f sim,tokens=3 0)" "tok0 tok1 tok2"
    for fault in bytes none,split=5 none,batch=9; do
        check "$f: the same text by fault=$fault" same "$(one $f "sim,tokens=3,fault=$fault" 1 | text_of)" "tok0 tok1 tok2"
    done
    check "$f: no end marker" hasnt "$(one $f sim,fault=noend 1)" "$mark"
    got=$(one $f sim,tokens=60,fault=cut,at=40 1)
    check "$f: cut at 40" has "$got" tok39
    check "$f: and not more" hasnt "$got" tok40
    check "$f: broken JSON in one event" has "$(one $f sim,fault=badjson 1)" ", oops"
    check "$f: an error inside a stream" has "$(one $f sim,fault=errorevent 1)" error
    check "$f: empty answer has no text" hasnt "$(one $f sim,fault=empty 0)" tok0
    check "$f: no body" same "$(one $f sim,fault=nobody 0)" ""
    check "$f: usage" test -n "$(one $f sim 0 | grep -oE "$counted")"
    check "$f: no usage" test -z "$(one $f sim,nousage=1 0 | grep -oE "$counted")"
    check "$f: an error status" has "$(one $f sim,status=429 0)" error
done
check "length in each one's words" same "$(for f in openai anthropic gemini ollama responses; do one $f sim,finish=length 0 | grep -oE ': *"(length|max_tokens|MAX_TOKENS|max_output_tokens)"' | tr -d ' :'; done | tr -d '\n')" \
    '"length""max_tokens""MAX_TOKENS""length""max_output_tokens"'
check "the array of Gemini is JSON" same "$(ask "/v1beta/models/sim,tokens=2:streamGenerateContent" "$GEM" "${G[@]}" | jq length)" 3

# requests are refused as the provider would, and say which field
no() { local what=$1 word=$2 got; shift 2; got=$(ask "$@"); check "refused: $what" has "$got" "$word"; check "refused: $what: an error" has "$got" '"error"'; }
C=/v1/chat/completions M=/v1/messages R=/v1/responses Q=/v1beta/models/sim:generateContent
no "unknown field" "Unrecognized request argument supplied: max_tokns" $C "$(oai sim '"max_tokns":1')"
no "a tool message without a call" "preceeding message with 'tool_calls'" $C '{"model":"sim","messages":[{"role":"tool","tool_call_id":"x","content":"y"}]}'
no "an image that is none" "Invalid base64" $C '{"model":"sim","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,@@"}}]}]}'
no "no max_tokens" "max_tokens: Field required" $M "$(oai sim)" "${A[@]}"
no "no version" "anthropic-version: header is required" $M "$(ant sim)" -H 'x-api-key: k'
no "no key" "x-api-key header is required" $M "$(ant sim)" -H 'anthropic-version: 2023-06-01'
no "an OpenAI field" "stop: Extra inputs are not permitted" $M "$(ant sim '"stop":["a"]')" "${A[@]}"
no "assistant first" 'first message must use the \"user\" role' $M '{"model":"sim","max_tokens":5,"messages":[{"role":"assistant","content":"a"}]}' "${A[@]}"
no "roles in a row" "roles must alternate" $M '{"model":"sim","max_tokens":5,"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}' "${A[@]}"
no "an unknown tool_use id" "unexpected \`tool_use_id\`" $M '{"model":"sim","max_tokens":5,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"x","content":"y"}]}]}' "${A[@]}"
no "prefill" "does not support assistant message prefill" $M '{"model":"sim,noprefill=1","max_tokens":5,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}' "${A[@]}"
no "a changed signature" "Invalid \`signature\`" $M '{"model":"sim","max_tokens":5,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"x"},{"type":"text","text":"b"}]},{"role":"user","content":"c"}]}' "${A[@]}"
no "an unknown parameter" "unknown_parameter" $R '{"model":"sim","input":"a","messages":[]}'
no "an output of no call" "No tool call found" $R '{"model":"sim","input":[{"type":"function_call_output","call_id":"x","output":"y"}]}'
no "an unknown name" 'Unknown name \"messages\"' $Q '{"messages":[],"contents":[]}' "${G[@]}"
no "a schema Gemini does not take" additionalProperties $Q '{"contents":[{"role":"user","parts":[{"text":"a"}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"object","additionalProperties":false}}]}]}' "${G[@]}"
no "a response of no call" "there is no call of" $Q '{"contents":[{"role":"user","parts":[{"functionResponse":{"name":"f","response":{}}}]}]}' "${G[@]}"
no "arguments as text" "cannot unmarshal" /api/chat '{"model":"sim","messages":[{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]}'
for f in openai responses anthropic gemini ollama; do
    check "$f: too long a prompt" test -n "$(case $f in
        openai) ask $C '{"model":"sim,context=2","messages":[{"role":"user","content":"a long enough text"}]}';;
        responses) ask $R '{"model":"sim,context=2","input":"a long enough text"}';;
        anthropic) ask $M '{"model":"sim,context=2","max_tokens":5,"messages":[{"role":"user","content":"a long enough text"}]}' "${A[@]}";;
        gemini) ask "/v1beta/models/sim,context=2:generateContent" '{"contents":[{"role":"user","parts":[{"text":"a long enough text"}]}]}' "${G[@]}";;
        ollama) ask /api/chat '{"model":"sim,context=2","messages":[{"role":"user","content":"a long enough text"}]}';;
    esac | grep -oE 'context_length_exceeded|prompt is too long|exceeds the maximum number|exceeds the context length')"
done
tools='"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}}]'
got=$(ask $C "$(oai sim,tools=2 "$tools")" | jq -c '[.choices[0].finish_reason, (.choices[0].message.tool_calls[] | .function.arguments)]')
check "tool calls fit the schema" same "$got" '["tool_calls","{\"a\":1}","{\"a\":1}"]'
check "bad arguments" has "$(ask $C "$(oai sim,tools=1,badtools=1 "$tools")" | jq -r '.choices[0].message.tool_calls[0].function.arguments')" '{"a":1,'
check "an unknown tool" has "$(ask $C "$(oai sim,tools=1,badtools=2 "$tools")")" no_such_tool
check "echo" same "$(ask $C "$(oai sim,echo=1)" | jq -r '.choices[0].message.content')" hi
check "echo of everything" same "$(one anthropic sim,echo=all 0 | jq -r '.content[0].text' | jq -c '[.format,.max_tokens,.turns[0].parts[0].text]')" '["anthropic",500,"hi"]'
check "max_tokens ends an answer" same "$(ask $M "$(ant sim,tokens=9 '' 4)" "${A[@]}" | jq -r .stop_reason)" max_tokens
check "Azure without a version is nowhere" same "$(code /openai/deployments/sim/chat/completions '{"messages":[{"role":"user","content":"hi"}]}' -H 'api-key: a')" 404
check "Azure" same "$(code '/openai/deployments/sim/chat/completions?api-version=2024-10-21' '{"messages":[{"role":"user","content":"hi"}]}' -H 'api-key: a')" 200
near() { jq "[.data[].embedding] | .[0] as \$a | .[$1] as \$b | [range(0; \$a | length) | \$a[.] * \$b[.]] | add * 100 | floor"; }
got=$(ask /v1/embeddings '{"model":"sim","encoding_format":"float","input":["Where is the red house","the RED house is where","a poem on rain"]}')
check "texts of the same words are near" test "$(near 1 <<<"$got")" -ge 95
check "others are far" test "$(near 2 <<<"$got")" -le 30
check "a transcription" has "$(head -c 777 /dev/zero | curl -s -m 5 -F model=w -F file=@-\;filename=a.wav "$S/v1/audio/transcriptions")" "model w, 777 bytes"

# keys, the first requests, downtime, pace, the log
control '{"keys":{"sk-bad":401,"sk-poor":402,"sk-slow":429}}'
check "keys that fail" same "$(for k in sk-bad sk-poor sk-slow sk-fine; do code $C "$(oai sim)" -H "authorization: Bearer $k"; done)" 401402429200
check "the first requests fail" same "$(for _ in 1 2 3; do code $C "$(oai sim,fail_first=2,status=503)"; done)" 503503200
control '{"down_ms":60000,"down_status":502}'
check "down" same "$(code $C "$(oai sim)")" 502
control '{"down_ms":0}'
check "up again" same "$(code $C "$(oai sim)")" 200
check "Retry-After as a date" has "$(ask $C "$(oai sim,status=429,retry_after=date:9,retry_after_ms=1500)" -i)" "GMT"
slow() { for _ in {1..10}; do curl -s -m 9 -o /dev/null -w '%{time_total}\n' -H "$J" -d "$(oai "sim,slow_percent=30,slow_ms=400,seed=$1")" "$S$C"; done | awk '$1 >= 0.4 {n++} END {print n + 0}'; }
n=$(slow 3)
check "a share is slow ($n of 10)" test "$n" -ge 1 -a "$n" -le 8
t=$(now_ms); got=$(one openai sim,tokens=5,pause_ms=300,at=2 1)
check "silent, then going on" test $(($(now_ms) - t)) -ge 300
check "and complete" same "$(text_of <<<"$got")" "tok0 tok1 tok2 tok3 tok4"
one anthropic sim,tokens=1 0 >/dev/null
got=$(curl -s "$S/_request")
check "a request is remembered" same "$(jq -r '[.path,.format,.key,.model] | join(" ")' <<<"$got")" "/v1/messages anthropic aaaaaa sim,tokens=1"
check "with its body" same "$(jq -r '.body | fromjson | .max_tokens' <<<"$got")" 500
check "counts by key" test "$(curl -s "$S/_stats" | jq '.keys.aaaaaa')" -ge 10
check "--help names everything" has "$("$BIN/provider_sim" --help)" fail_first
check "nothing is under way" same "$(curl -s "$S/_stats" | jq .under_way)" 0
check "it ends well" eval 'kill -TERM $TOOL_PID; wait_gone $TOOL_PID 5'
check "no sanitizer report" hasnt "$(cat "$WORK/tools.log")" "ERROR:"
