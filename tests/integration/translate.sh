#!/usr/bin/env bash
# Every dialect of clients with every kind of provider: the provider understands what the client said, and the client
# gets what the provider said: text, pictures, tools with parallel calls and results, structured output, reasoning with
# its signature, why it stopped, usage.
. "$(dirname "$0")/lib.sh"
tool provider_sim; A=$TOOL_PORT
declare -A SHORT=([openai]=oa [anthropic]=an [gemini]=ge [ollama]=ol [responses]=on)
KINDS=(openai anthropic gemini ollama responses) # the last: a model that chats by /responses alone
CLIENTS=(openai responses anthropic ollama)
cat > "$WORK/samovar.yaml" <<EOF
router:
  attempts: 1
  providers:
    - {name: oa, kind: openai, base_url: "http://127.0.0.1:$A/v1", models: [oa-small]}
    - {name: an, kind: anthropic, base_url: "http://127.0.0.1:$A/v1", key_env: KEY_AN, models: [an-small]}
    - {name: ge, kind: gemini, base_url: "http://127.0.0.1:$A/v1beta", key_env: KEY_GE, models: [ge-small]}
    - {name: ol, kind: ollama, base_url: "http://127.0.0.1:$A", models: [ol-small]}
    - {name: re, base_url: "http://127.0.0.1:$A/v1", responses: true, models: [re-small]}
    - {name: on, base_url: "http://127.0.0.1:$A/v1", responses: true, models: [on-small]}
  model_info:
    - {model: "an/sim,echo=all", can: [tools, see, json, think, adaptive]}
    - {model: "an/older,tools=1,tokens=0", can: [tools]}
    - {model: "on/sim,echo=all", can: [tools, see, json, think, responses]}
    - {model: "on/sim,tools=2", can: [tools, responses]}
    - {model: "on/sim,finish=length,prompt=31,tokens=6", can: [responses]}
    - {model: "on/sim,tools=2,thinking=4,tokens=3", can: [tools, think, responses]}
EOF
platform_up SAMOVAR_CONFIG="$WORK/samovar.yaml" KEY_AN=sk-ant-333333 KEY_GE=g-444444
path_of() { case $1 in openai) echo /v1/chat/completions;; responses) echo /v1/responses;; anthropic) echo /v1/messages;; ollama) echo /ollama/api/chat;; esac; }
send() { curl -sN -m 20 -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' --data-binary "$2" "$URL$(path_of "$1")"; }
PNG=iVBORw0KGgo=
SCHEMA='{"type":"object","properties":{"o":{"type":"string"}},"required":["o"],"additionalProperties":false}'
ARGS='{"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]}'
FN="{\"name\":\"look\",\"description\":\"d\",\"parameters\":$ARGS}"
tools_of() { case $1 in
    openai|ollama) echo "\"tools\":[{\"type\":\"function\",\"function\":$FN}]";;
    responses) echo "\"tools\":[{\"type\":\"function\",\"name\":\"look\",\"description\":\"d\",\"parameters\":$ARGS,\"strict\":false}]";;
    anthropic) echo "\"tools\":[{\"name\":\"look\",\"description\":\"d\",\"input_schema\":$ARGS}]";;
    esac; }
long_of() { # CLIENT MODEL: a conversation with everything in it
    case $1 in
    openai) echo "{\"model\":\"$2\",\"max_tokens\":99,\"temperature\":0.5,$(tools_of openai),\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"what\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,$PNG\"}}]},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"look\",\"arguments\":\"{\\\"x\\\":1}\"}},{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"look\",\"arguments\":\"{\\\"x\\\":2}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"one\"},{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":\"two \\u20ac\"}]}";;
    responses) echo "{\"model\":\"$2\",\"max_output_tokens\":99,\"temperature\":0.5,$(tools_of responses),\"instructions\":\"be brief\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"what\"},{\"type\":\"input_image\",\"image_url\":\"data:image/png;base64,$PNG\"}]},{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"look\",\"arguments\":\"{\\\"x\\\":1}\"},{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"look\",\"arguments\":\"{\\\"x\\\":2}\"},{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"one\"},{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":\"two \\u20ac\"}]}";;
    anthropic) echo "{\"model\":\"$2\",\"max_tokens\":99,\"temperature\":0.5,$(tools_of anthropic),\"system\":\"be brief\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"what\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"$PNG\"}}]},{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"look\",\"input\":{\"x\":1}},{\"type\":\"tool_use\",\"id\":\"c2\",\"name\":\"look\",\"input\":{\"x\":2}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"content\":\"one\"},{\"type\":\"tool_result\",\"tool_use_id\":\"c2\",\"content\":\"two \\u20ac\"}]}]}";;
    ollama) echo "{\"model\":\"$2\",\"stream\":false,\"options\":{\"temperature\":0.5,\"num_predict\":99},$(tools_of ollama),\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":\"user\",\"content\":\"what\",\"images\":[\"$PNG\"]},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"look\",\"arguments\":{\"x\":1}}},{\"function\":{\"name\":\"look\",\"arguments\":{\"x\":2}}}]},{\"role\":\"tool\",\"tool_name\":\"look\",\"content\":\"one\"},{\"role\":\"tool\",\"tool_name\":\"look\",\"content\":\"two \\u20ac\"}]}";;
    esac; }
short_of() { # CLIENT MODEL MORE: one question, plain
    case $1 in
    responses) echo "{\"model\":\"$2\",\"input\":\"hi\"${3:+,$3}}";;
    anthropic) echo "{\"model\":\"$2\",\"max_tokens\":3000,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]${3:+,$3}}";;
    *) echo "{\"model\":\"$2\",\"stream\":false,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]${3:+,$3}}";;
    esac; }
text_of() { case $1 in openai) jq -r '.choices[0].message.content';; responses) jq -r '[.output[] | .content[]?.text?] | join("")';; anthropic) jq -r '[.content[].text?] | join("")';; ollama) jq -r .message.content;; esac; }
why_of() { case $1 in openai) jq -r '.choices[0].finish_reason';; responses) jq -r '.incomplete_details.reason // .status';; anthropic) jq -r .stop_reason;; ollama) jq -r .done_reason;; esac; }
usage_of() { case $1 in openai) jq -c '[.usage.prompt_tokens,.usage.completion_tokens]';; responses) jq -c '[.usage.input_tokens,.usage.output_tokens]';; anthropic) jq -c '[.usage.input_tokens + (.usage.cache_read_input_tokens // 0),.usage.output_tokens]';; ollama) jq -c '[.prompt_eval_count,.eval_count]';; esac; }
calls_of() { case $1 in openai) jq -c '[.choices[0].message.tool_calls[]? | .function.name + " " + (.function.arguments | fromjson | type)]';; responses) jq -c '[.output[] | select(.type == "function_call") | .name + " " + (.arguments | fromjson | type)]';; anthropic) jq -c '[.content[] | select(.type == "tool_use") | .name + " " + (.input | type)]';; ollama) jq -c '[.message.tool_calls[]? | .function.name + " " + (.function.arguments | type)]';; esac; }
schema_of() { case $1 in openai) echo "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"o\",\"strict\":true,\"schema\":$SCHEMA}}";; responses) echo "\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"o\",\"strict\":true,\"schema\":$SCHEMA}}";; anthropic) echo "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":$SCHEMA}}";; ollama) echo "\"format\":$SCHEMA";; esac; }
length_word() { case $1 in anthropic) echo max_tokens;; responses) echo max_output_tokens;; *) echo length;; esac; }
tools_word() { case $1 in openai) echo tool_calls;; responses) echo completed;; anthropic) echo tool_use;; ollama) echo stop;; esac; }
normal='{max_tokens, t: .params.temperature, tools: [.tools[] | [.name, .description, (.schema.properties | keys)]], parts: [.turns[].parts[] | if .text then .text elif .image then "image of \(.bytes)" elif .call then "\(.call)\(.args | tojson)" else "= \(.result | fromjson? // . | .output? // .)" end]}'
want='{"max_tokens":99,"t":0.5,"tools":[["look","d",["x"]]],"parts":["be brief","what","image of 8","look{\"x\":1}","look{\"x\":2}","= one","= two €"]}'
for k in "${KINDS[@]}"; do
    p=${SHORT[$k]}
    for c in "${CLIENTS[@]}"; do
        got=$(send $c "$(long_of $c "$p/sim,echo=all")")
        check "$c to $k: everything is understood" same "$(text_of $c <<<"$got" 2>/dev/null | jq -c "$normal" 2>/dev/null || echo "$got")" "$want"
        got=$(send $c "$(short_of $c "$p/sim,echo=all" "$(schema_of $c)")")
        check "$c to $k: a schema" same "$(text_of $c <<<"$got" 2>/dev/null | jq -c .schema.properties 2>/dev/null || echo "$got")" '{"o":{"type":"string"}}'
        got=$(send $c "$(short_of $c "$p/sim,tools=2" "$(tools_of $c)")")
        check "$c from $k: parallel calls" same "$(calls_of $c <<<"$got") $(why_of $c <<<"$got")" "[\"look object\",\"look object\"] $(tools_word $c)"
        got=$(send $c "$(short_of $c "$p/sim,finish=length,prompt=31,tokens=6")")
        check "$c from $k: why it stopped, and usage" same "$(why_of $c <<<"$got") $(usage_of $c <<<"$got")" "$(length_word $c) [31,6]"
    done
done

for c in openai responses ollama; do # older models of Anthropic have no schemas: a tool stands in
    got=$(send $c "$(short_of $c an/older,tools=1,tokens=0 "$(schema_of $c)")")
    check "$c to anthropic: a schema where there are none" same "$(text_of $c <<<"$got" | jq -r '.o | type') $(calls_of $c <<<"$got")" "string []"
done

# What one provider signed comes back to it, through a client that knows nothing of it. The simulator refuses what it
# did not sign.
think_of() { case $1 in openai) echo '"reasoning_effort":"low"';; responses) echo '"reasoning":{"effort":"low","summary":"auto"},"include":["reasoning.encrypted_content"],"store":false';; anthropic) echo '"thinking":{"type":"enabled","budget_tokens":1024}';; esac; }
again_of() { # CLIENT MODEL ANSWER: the same question with the answer, and results of its calls
    case $1 in
    openai) jq -c --argjson a "$3" '.messages += [$a.choices[0].message] + [$a.choices[0].message.tool_calls[] | {role: "tool", tool_call_id: .id, content: "done"}]';;
    responses) jq -c --argjson a "$3" '.input = [{role: "user", content: "hi"}] + $a.output + [$a.output[] | select(.type == "function_call") | {type: "function_call_output", call_id, output: "done"}]';;
    anthropic) jq -c --argjson a "$3" '.messages += [{role: "assistant", content: $a.content}, {role: "user", content: [$a.content[] | select(.type == "tool_use") | {type: "tool_result", tool_use_id: .id, content: "done"}]}]';;
    esac <<<"$2"
}
for k in anthropic gemini responses; do
    for c in openai responses anthropic; do
        first=$(short_of $c "${SHORT[$k]}/sim,tools=2,thinking=4,tokens=3" "$(tools_of $c),$(think_of $c)")
        got=$(send $c "$first")
        check "$c from $k: calls with reasoning" same "$(calls_of $c <<<"$got")" '["look object","look object"]'
        got=$(send $c "$(again_of $c "$first" "$got")")
        check "$c to $k: signatures come back" same "$(text_of $c <<<"$got" 2>/dev/null)" "tok0 tok1 tok2"
    done
done
# A conversation that goes on with another provider: what the first one signed, or did not sign, stays behind.
moved() { # CLIENT FROM TO
    local first got
    first=$(short_of $1 "$2/sim,tools=2,thinking=4,tokens=3" "$(tools_of $1),$(think_of $1)")
    got=$(send $1 "$first")
    got=$(send $1 "$(again_of $1 "$first" "$got" | jq -c --arg m "$3/sim,tokens=3" '.model = $m')")
    text_of $1 <<<"$got" 2>/dev/null || echo "$got"
}
for way in "anthropic ge an" "anthropic ol an" "responses an re"; do
    check "the same format, but signatures of others: $way" same "$(moved $way)" "tok0 tok1 tok2"
done
generated() { curl -sN -m 20 -H 'content-type: application/json' --data-binary "{\"model\":\"$1/sim,tokens=2\",\"prompt\":\"hi\"${2-}}" "$URL/ollama/api/generate"; }
for p in oa an ge ol; do
    check "Ollama's generate, from $p" same "$(generated $p | jq -rj '.response, if .done then " \(.done_reason) \(.eval_count)" else "" end')" "tok0 tok1 stop 2"
done
check "what only Ollama can, for Ollama" same "$(generated ol ',"suffix":"b","stream":false' | jq -r .response)" "tok0 tok1"
check "and for others" has "$(generated oa ',"suffix":"b"' | jq -r .error)" "leave it out"
check "no sanitizer report" hasnt "$(cat "$WORK/up.log" "$WORK/tools.log")" "ERROR: AddressSanitizer"

# what would be kept with the provider's key is refused also where the bytes would pass
refused_field() { send responses "{\"model\":\"re-small\",\"input\":\"hi\",$1}" | jq -r '.error.param'; }
check "an answer of before that somebody else's key keeps" same "$(refused_field '"previous_response_id":"r"')" previous_response_id
check "a conversation" same "$(refused_field '"conversation":"c"')" conversation
check "work that nobody could fetch or bill" same "$(refused_field '"background":true')" background
check "their absence by name is none" same "$(send responses '{"model":"re-small","input":"hi","previous_response_id":null,"conversation":null,"background":false}' | text_of responses)" "tok0 tok1 tok2 tok3 tok4 tok5 tok6 tok7"
check "a list without a model is asked in its order" same "$(send openai '{"models":["oa-small","an-small"],"messages":[{"role":"user","content":"hi"}]}' | jq -r .model)" oa-small
