#!/usr/bin/env bash
# The platform's own chat: context and sessions, tasks and budgets, events, what is cached, clients that
# leave, the workspace killed in the middle, and hostile requests.
. "$(dirname "$0")/lib.sh"
tool provider_sim --models sim-small,sim-large
SIM=$TOOL_PORT
export SAMOVAR_CONFIG=$WORK/samovar.yaml
cat > "$SAMOVAR_CONFIG" <<END
router:
  providers:
    - {name: sim, base_url: "http://127.0.0.1:$SIM/v1"}
  prices:
    - {model: "sim,echo=1", input: 1000000, output: 2000000}
    - {model: sim-small, input: 1000000, output: 2000000}
chat: {message_bytes: 20000, image_bytes: 1500000, sessions_most: 6, messages_most: 40}
supervisor: {restarts: 50}
END
ready_model() { curl -s "$URL/v1/models" | jq -e '.data[] | select(.id == "sim-small")'; }
platform_up
until_ok 10 ready_model

talk() { curl -s -m 30 -o "$WORK/body" -D "$WORK/head" -w '%{http_code}' -H 'content-type: application/json' --data-binary "$1" "$URL/api/chat${2:-}"; }
body() { jq -r "$1" "$WORK/body"; }
# PATH: text of an event of the stream in $WORK/body
event() { awk -v want="event: $1" '$0 == want { on = 1; next } on && /^data: / { print substr($0, 7); on = 0 }' "$WORK/body"; }
session() { curl -s "$URL/api/chat/sessions/$1${2:-}"; }
stats() { curl -s "http://127.0.0.1:$SIM/_stats"; }
sim_reset() { curl -s -o /dev/null -d '{"reset_stats":true}' "http://127.0.0.1:$SIM/_control"; }
requests() { stats | jq '.requests'; }
upstream() { curl -s "http://127.0.0.1:$SIM/_request"; }
code() { body '.error.code // empty'; }
field() { body '.error.fields[0].path // empty'; }

# ---- one message ----
check "a message gets an answer" same "$(talk '{"message":"Hello there","model":"sim,echo=1"}')" 200
check "which is the model's" same "$(body .response)" "Hello there"
check "nothing is stored" same "$(body '[.session_id,.message_id,.thinking,.cached] | map(. == null) | all')" true
check "who answered, what it took and why it ended" same "$(body '[.provider,.model,.finish,(.usage.total_tokens > 0)] | @json')" '["sim","sim,echo=1","stop",true]'
check "no session came of it" same "$(curl -s "$URL/api/chat/sessions" | jq -c .)" '{"sessions":[],"next":null}'
check "thinking is kept apart" same "$(talk '{"message":"Why?","model":"sim,thinking=3,tokens=2"}') $(body '(.thinking | length > 0) and (.response | length > 0)')" "200 true"
check "auto chooses" same "$(talk '{"message":"Translate to French: good morning"}') $(body '[.task,(.decision_id | length)] | @json')" '200 ["translate",36]'
DECISION=$(body .decision_id)
check "and the decision can be seen" same "$(curl -s "$URL/api/decisions/$DECISION" | jq -c '[.automatic,.task]')" '[true,"translate"]'
check "and rated" same "$(curl -s -o /dev/null -w '%{http_code}' -H 'content-type: application/json' -d "{\"decision\":\"$DECISION\",\"rating\":1}" "$URL/api/feedback")" 204
check "system, temperature and length reach the model" same "$(talk '{"message":"m","system":"be \"short\"","temperature":0.7,"max_tokens":9,"model":"sim"}') $(upstream | jq -c '.body | (if type == "string" then fromjson else . end) | [.messages,.temperature,.max_tokens]')" \
    '200 [[{"role":"system","content":"be \"short\""},{"role":"user","content":"m"}],0.7,9]'
HARD=$(printf '\\u0041\\"\\\\\\n\\t\xf0\x9f\x8d\xb5 </script> \\ud83c\\udf75 data: x\\n\\nevent: done')
check "escapes and characters survive" same "$(talk "{\"message\":\"$HARD\",\"model\":\"sim,echo=1\"}") $(body .response | sha256sum)" "200 $(printf '{"m":"%s"}' "$HARD" | jq -r .m | sha256sum)"
check "also as events" same "$(talk "{\"message\":\"$HARD\",\"model\":\"sim,echo=1,split=3\"}" /stream) $(event delta | jq -sr 'map(.text) | add' | sha256sum)" "200 $(printf '{"m":"%s"}' "$HARD" | jq -r .m | sha256sum)"

# ---- a stream ----
check "a stream" same "$(talk '{"message":"count","model":"sim,tokens=12,thinking=2,unicode=1"}' /stream) $(tr -d '\r' < "$WORK/head" | sed -n 's/^content-type: //Ip')" "200 text/event-stream"
check "has the words in order" same "$(event delta | jq -sr 'map(.text) | length > 5')" true
check "has what was thought" same "$(event thinking | jq -sr 'map(.text) | add | length > 0')" true
check "and ends once, with all there is to say" same "$(event done | jq -sc '[length,.[0].model,.[0].finish,.[0].session_id,(.[0].usage.completion_tokens > 0)]')" '[1,"sim,tokens=12,thinking=2,unicode=1","stop",null,true]'
check "done comes last" same "$(grep '^event: ' "$WORK/body" | tail -1)" "event: done"
check "a refusal before it has a status" same "$(talk '{"message":"x","model":"sim,status=400"}' /stream) $(code)" "400 request.invalid"
check "one that says when to come again" same "$(talk '{"message":"x","model":"sim,status=429,retry_after=2"}') $(tr -d '\r' < "$WORK/head" | sed -n 's/^retry-after: //Ip')" "429 2"
check "an unknown model" same "$(talk '{"message":"x","model":"sim,status=404"}') $(code)" "404 model.unknown"
talk '{"message":"x","model":"sim,tokens=60,fault=cut,at=20"}' /stream > /dev/null
check "a cut answer ends with an error" same "$(event error | jq -r .code) $(event done)" "provider.cut "
check "in the platform's words" same "$(event error | jq -c 'keys')" '["code","message","request_id"]'

# ---- sessions ----
check "a session begins with its first message" same "$(talk '{"message":"  My first\n question ","session_id":"new","model":"sim,echo=1"}')" 200
S=$(body .session_id) M=$(body .message_id)
check "its title is the message" same "$(session "$S" | jq -r .session.title)" "My first question"
check "both messages are there" same "$(session "$S" | jq -c '[.messages[] | [.number,.role,.state,.text]]')" '[[1,"user","complete","  My first\n question "],[2,"assistant","complete","  My first\n question "]]'
check "the answer by its id" same "$(session "$S" | jq -r '.messages[1].id')" "$M"
check "with tokens and model" same "$(session "$S" | jq -c '[.messages[1].model,(.messages[1].completion_tokens > 0),.session.completion_tokens == .messages[1].completion_tokens]')" '["sim,echo=1",true,true]'
for i in 2 3 4 5 6 7; do talk "{\"message\":\"question $i\",\"session_id\":\"$S\"}" > /dev/null; done
check "the session's model is asked again" same "$(body .model)" "sim,echo=1"
context() { upstream | jq -c '.body | (if type == "string" then fromjson else . end) | .messages | map(.role + " " + .content)'; }
check "the model sees the last ten messages and the new one" same "$(context)" "$(jq -nc '[range(2;7) | "user question \(.)", "assistant question \(.)"] + ["user question 7"]')"
talk "{\"message\":\"again\",\"session_id\":\"$S\",\"system\":\"be brief\"}" > /dev/null
check "behind the system prompt" same "$(context | jq -c '[length,.[0]]')" '[12,"system be brief"]'
check "a page of messages, the newest first" same "$(session "$S" '?limit=3' | jq -c '[[.messages[].number],.before]')" '[[14,15,16],14]'
check "and the ones before" same "$(session "$S" '?limit=20&before=3' | jq -c '[[.messages[].number],.before]')" '[[1,2],0]'
LONG=$(head -c 15000 /dev/zero | tr '\0' 'x')
check "a long message" same "$(talk "{\"message\":\"$LONG\",\"session_id\":\"$S\"}") $(session "$S" '?limit=1' | jq '.messages[0].text | length')" "200 15000"
check "a streamed one" same "$(talk "{\"message\":\"live\",\"session_id\":\"$S\"}" /stream) $(event done | jq -r .session_id)" "200 $S"
check "is stored" same "$(session "$S" '?limit=1' | jq -c '.messages | map([.state,.text])')" '[["complete","live"]]'
talk "{\"message\":\"cut\",\"session_id\":\"$S\",\"model\":\"sim,tokens=60,fault=cut,at=20\"}" /stream > /dev/null
check "a cut answer is kept as cut" same "$(session "$S" '?limit=1' | jq -c '.messages | map([.state,.finish,.error,(.text | length > 20)])')" '[["cut","cut","provider.cut",true]]'
talk "{\"message\":\"no\",\"session_id\":\"$S\",\"model\":\"sim,status=400\"}" > /dev/null
check "one that failed, too" same "$(session "$S" '?limit=1' | jq -c '.messages | map([.state,.error,.text])')" '[["failed","request.invalid",""]]'
check "another title" same "$(curl -s -X PATCH -H 'content-type: application/json' -d '{"title":"Tea"}' "$URL/api/chat/sessions/$S" | jq -r .session.title)" Tea
check "no title is none" same "$(curl -s -o /dev/null -w '%{http_code}' -X PATCH -H 'content-type: application/json' -d '{"title":" "}' "$URL/api/chat/sessions/$S")" 400
T=$(curl -s -X POST "$URL/api/chat/sessions" | jq -r .session.id)
talk "{\"message\":\"Second session\",\"session_id\":\"$T\",\"model\":\"sim,echo=1\"}" > /dev/null
check "the newest message comes first" same "$(curl -s "$URL/api/chat/sessions" | jq -c '[.sessions[].title]')" '["Second session","Tea"]'
talk "{\"message\":\"x\",\"session_id\":\"$S\",\"model\":\"sim,echo=1\"}" > /dev/null
check "whichever session it is in" same "$(curl -s "$URL/api/chat/sessions?limit=1" | jq -c '[[.sessions[].title],.next]')" "[[\"Tea\"],\"$S\"]"
check "page by page" same "$(curl -s "$URL/api/chat/sessions?limit=1&after=$S" | jq -c '[[.sessions[].title],.next]')" '[["Second session"],null]'

# ---- images ----
PNG=data:image/png\;base64,iVBORw0KGgo= GIF=data:image/gif\;base64,R0lGODlh
seen() { upstream | jq -c '.body | (if type == "string" then fromjson else . end) | .messages | map(if (.content | type) == "array" then [.content[] | .text // .image_url.url] else .content end)'; }
check "an image" same "$(talk "{\"images\":[\"${PNG//\//\\/}\",\"$GIF\"],\"message\":\"What is it?\",\"model\":\"sim\"}") $(seen)" "200 [[\"What is it?\",\"$PNG\",\"$GIF\"]]"
check "auto takes it for what it is" same "$(talk "{\"message\":\"What is it?\",\"images\":[\"$PNG\"],\"session_id\":\"$T\",\"model\":\"sim,echo=1\"}") $(body .task)" "200 vision"
check "it stays in the session" same "$(session "$T" '?limit=2' | jq -c '.messages | map(.images)')" "[1,0]"
check "and can be had" same "$(curl -s "$URL/api/chat/sessions/$T/images/3")" "{\"images\":[\"$PNG\"]}"
check "a message without, or none" same "$(curl -s "$URL/api/chat/sessions/$T/images/4") $(curl -s -o /dev/null -w '%{http_code}' "$URL/api/chat/sessions/$T/images/99")" '{"images":[]} 404'
check "for the model to see again" same "$(talk "{\"message\":\"And its colour?\",\"session_id\":\"$T\",\"model\":\"sim\"}") $(seen | jq -c '.[-3:]')" "200 [[\"What is it?\",\"$PNG\"],\"What is it?\",\"And its colour?\"]"
{ printf '{"message":"large","model":"sim","images":["data:image/png;base64,'; head -c 1200000 /dev/zero | tr '\0' 'A'; printf '"]}'; } > "$WORK/large.json"
check "one of more than a megabyte" same "$(talk "@$WORK/large.json" /stream) $(upstream | jq '.body_bytes > 1200000')" "200 true"

# ---- tasks, budgets, the cache ----
sim_reset
check "a translation" same "$(talk '{"message":"Guten Tag","task_type":"translate","model":"sim,echo=1"}') $(body '[.task,.cached] | @json')" '200 ["translate",null]'
check "is kept" same "$(talk '{"message":"Guten Tag","task_type":"translate","model":"sim,echo=1"}') $(body '[.task,.cached,.response] | @json')" '200 ["translate","hit","Guten Tag"]'
check "no model was asked again" same "$(requests)" 1
check "says so in the headers, too" same "$(tr -d '\r' < "$WORK/head" | sed -n 's/^x-cache: //Ip')" hit
check "a stream is kept apart, and given again" same "$(talk '{"message":"Guten Tag","task_type":"translate","model":"sim,echo=1"}' /stream)$(talk '{"message":"Guten Tag","task_type":"translate","model":"sim,echo=1"}' /stream) $(event done | jq -r .cached) $(event delta | jq -sr 'map(.text) | add')" "200200 hit Guten Tag"
talk '{"message":"Guten Tag","task_type":"chat","model":"sim,echo=1"}' > /dev/null
check "a chat is not" same "$(talk '{"message":"Guten Tag","task_type":"chat","model":"sim,echo=1"}') $(body .cached)" "200 null"
check "complexity and budget" same "$(talk '{"message":"hi","complexity":"low","budget":"0.05"}') $(talk '{"message":"hi","complexity":"high","budget":0.5}')" "200 200"
check "a cost" same "$(talk '{"message":"hi","model":"sim,echo=1"}') $(body '(.cost | tonumber) > 0')" "200 true"
check "a budget that nothing fits" same "$(talk '{"message":"hi","budget":"0.000001","model":"sim,echo=1","max_tokens":1000}')" 400
check "a budget that is none" same "$(talk '{"message":"hi","budget":"1e3"}') $(field)" "400 budget"
check "or nothing" same "$(talk '{"message":"hi","budget":0}') $(field)" "400 budget"

# ---- clients that leave ----
sim_reset
curl -sN -m 1 -o /dev/null -H 'content-type: application/json' -d '{"message":"x","model":"sim,tokens=400,gap_ms=50"}' "$URL/api/chat/stream"
gone_upstream() { stats | jq -e '.active == 0 or .under_way == 0'; }
check "without a session the provider's call ends with the client" until_ok 2 gone_upstream
SLOW=$(curl -s -X POST -H 'content-type: application/json' -d '{"title":"slow","model":"sim,tokens=30,gap_ms=80"}' "$URL/api/chat/sessions" | jq -r .session.id)
curl -sN -m 30 -o "$WORK/begun" -H 'content-type: application/json' -d "{\"message\":\"go on\",\"session_id\":\"$SLOW\"}" "$URL/api/chat/stream" & CURL=$!
until_ok 5 grep -q '^event: delta' "$WORK/begun"
kill $CURL; wait $CURL 2>/dev/null
check "with one it is being written" same "$(session "$SLOW" | jq -r '.messages[1].state')" writing
written() { [ "$(session "$1" | jq -r '.messages[-1].state')" = complete ]; }
check "until it is there" until_ok 10 written "$SLOW"
check "whole" same "$(session "$SLOW" | jq -c '.messages[1] | [.completion_tokens,.finish]')" '[30,"stop"]'
curl -s -m 0.5 -o /dev/null -H 'content-type: application/json' -d "{\"message\":\"plain\",\"session_id\":\"$SLOW\"}" "$URL/api/chat"
check "a plain one as well" until_ok 10 written "$SLOW"

# ---- killed in the middle ----
curl -sN -m 10 -o "$WORK/killed" -H 'content-type: application/json' -d "{\"message\":\"will be cut\",\"session_id\":\"$SLOW\"}" "$URL/api/chat/stream" &
CURL=$!
until_ok 5 grep -q '^event: delta' "$WORK/killed"
kill -9 "$(child_pid workspace/1)"
wait $CURL
check "the client hears of it" grep -q '^event: error' "$WORK/killed"
check "the workspace comes back" until_ok 10 sh -c "[ \$(curl -s -o /dev/null -w '%{http_code}' '$URL/api/chat/sessions') = 200 ]"
check "the message is there, its answer is cut" same "$(session "$SLOW" '?limit=2' | jq -c '.messages | map([.role,.state,.text])')" '[["user","complete","will be cut"],["assistant","cut",""]]'
check "the session goes on" same "$(talk "{\"message\":\"still here\",\"session_id\":\"$SLOW\",\"model\":\"sim,echo=1\"}") $(body .response)" "200 still here"
check "what was cut without a word is left out" same "$(context | jq -c '.[-2:]')" '["user will be cut","user still here"]'

# ---- the end of a session ----
check "deleted" same "$(curl -s -o /dev/null -w '%{http_code}' -X DELETE "$URL/api/chat/sessions/$S")" 204
check "it is not there any more" same "$(curl -s -o /dev/null -w '%{http_code}' "$URL/api/chat/sessions/$S") $(talk "{\"message\":\"x\",\"session_id\":\"$S\"}")" "404 404"
rows_of() { [ "$("$BIN/samovar" store dump workspace --table chat_messages | grep -c "$1")" = "$2" ]; }
check "nor are its messages" until_ok 10 rows_of "$S" 0
check "those of others are" rows_of "$T" 6
for i in 1 2 3 4; do talk '{"message":"fill","session_id":"new","model":"sim,echo=1"}' > "$WORK/last"; done
check "sessions have a limit" same "$(talk '{"message":"fill","session_id":"new","model":"sim,echo=1"}') $(code) $(field)" "507 quota.exceeded chat.sessions_most"
Q=$(curl -s "$URL/api/chat/sessions" | jq -r '.sessions[0].id')
for i in $(seq 19); do talk "{\"message\":\"fill $i\",\"session_id\":\"$Q\"}" > "$WORK/last"; done
check "messages of a session, too" same "$(cat "$WORK/last") $(talk "{\"message\":\"one more\",\"session_id\":\"$Q\"}") $(field)" "200 507 chat.messages_most"

# ---- without the cache, and hostile requests ----
kill -STOP "$(child_pid cache/1)"; kill -9 "$(child_pid cache/1)"
check "without the cache there are answers all the same" same "$(talk '{"message":"Hello","model":"sim,echo=1"}') $(body .response)" "200 Hello"
refused() { # WHAT BODY STATUS FIELD
    check "$1" same "$(talk "$2") $(field)" "$3 $4"
}
refused "no message" '{}' 400 message
refused "an empty one" '{"message":""}' 400 message
refused "an image that is none" '{"message":"x","images":["data:image/svg+xml;base64,AAAA"]}' 400 images
refused "images that are no list" '{"message":"x","images":"data:image/png;base64,AAAA"}' 400 images
refused "an image elsewhere" '{"message":"x","images":["https://example.org/a.png"]}' 400 images
refused "what only the edge says of them" '{"message":"x","text_bytes":1}' 400 text_bytes
{ printf '{"message":"x","images":["data:image/png;base64,'; head -c 1600000 /dev/zero | tr '\0' 'A'; printf '"]}'; } > "$WORK/large.json"
refused "images that are too large" "@$WORK/large.json" 413 images
{ printf '{"message":"'; head -c 12000000 /dev/zero | tr '\0' 'A'; printf '"}'; } > "$WORK/large.json"
check "a message that is far too large" same "$(talk "@$WORK/large.json")" 413
refused "a list" '{"message":["x"]}' 400 message
refused "too long a one" "{\"message\":\"$LONG$LONG\"}" 413 message
refused "a field that nobody knows" '{"message":"x","stream":true}' 400 stream
refused "what only the edge says" '{"message":"x","allowed":["y"]}' 400 allowed
refused "a task that there is not" '{"message":"x","task_type":"cooking"}' 400 task_type
refused "a complexity that there is not" '{"message":"x","complexity":"very"}' 400 complexity
refused "a temperature beyond the scale" '{"message":"x","temperature":3}' 400 temperature
refused "a length below one" '{"message":"x","max_tokens":-1}' 400 max_tokens
refused "a session that is a number" '{"message":"x","session_id":5}' 400 session_id
refused "a session that is none" '{"message":"x","session_id":"../etc"}' 404 session_id
refused "a body that is none" '[1]' 400 ''
check "a NUL" same "$(talk '{"message":"a\u0000b"}')" 400
check "bytes that are no text" same "$(talk "$(printf '{"message":"\xff\xfe"}')")" 400
check "the same field twice" same "$(talk '{"message":"a","message":"b"}')" 400

# ---- other users, keys ----
OPERATORS=$(curl -s "$URL/api/chat/sessions" | jq -r '.sessions[0].id')
PASSWORD='seven calm otters'
for who in anna bob; do echo "$PASSWORD" | "$BIN/samovar" user add $who@example.org ${ADMIN---admin} --password-stdin > /dev/null; ADMIN=; done
login() { curl -s -H 'content-type: application/json' -d "{\"email\":\"$1@example.org\",\"password\":\"$PASSWORD\"}" "$URL/api/auth/login" | jq -r .access_token; }
ANNA=$(login anna) BOB=$(login bob)
as() { curl -s -o "$WORK/body" -w '%{http_code}' -H "authorization: Bearer $1" -H 'content-type: application/json' "${@:3}" "$URL$2"; }
check "a user has sessions of her own" same "$(as "$ANNA" /api/chat -d '{"message":"mine","session_id":"new","model":"sim,echo=1"}') $(body '.session_id | length')" "200 36"
HERS=$(body .session_id)
for id in "$HERS" "$OPERATORS"; do
    check "another user does not find it, nor goes on with it" same \
        "$(as "$BOB" "/api/chat/sessions/$id") $(as "$BOB" /api/chat -d "{\"message\":\"x\",\"session_id\":\"$id\"}") $(as "$BOB" /api/chat/stream -d "{\"message\":\"x\",\"session_id\":\"$id\"}")" "404 404 404"
    check "nor sees its images, changes or deletes it" same "$(as "$BOB" "/api/chat/sessions/$id/images/1") $(as "$BOB" "/api/chat/sessions/$id" -X PATCH -d '{"title":"x"}') $(as "$BOB" "/api/chat/sessions/$id" -X DELETE)" "404 404 404"
done
check "it is hers still" same "$(as "$ANNA" "/api/chat/sessions/$HERS") $(body '[.session.title,(.messages | length)] | @json')" '200 ["mine",2]'
check "nobody without an account" same "$(curl -s -o /dev/null -w '%{http_code}' -H 'content-type: application/json' -d '{"message":"x"}' "$URL/api/chat")" 401
as "$BOB" /api/keys -d '{"name":"small","scopes":["chat"],"models":["sim-small"]}' > /dev/null
KEY=$(body .key)
check "a key's models hold for the named one" same "$(as "$KEY" /api/chat -d '{"message":"x","model":"sim-large"}') $(code)" "403 model.not_allowed"
for i in 1 2 3; do as "$KEY" /api/chat -d "{\"message\":\"think hard about $i\",\"complexity\":\"high\"}"; body .model; done > "$WORK/chosen"
check "and for what auto chooses" same "$(sort -u "$WORK/chosen" | tr '\n' ' ')" "200sim-small "
as "$BOB" /api/chat/sessions -d '{"model":"sim-large"}' > /dev/null
check "also for a session's own model" same "$(as "$KEY" /api/chat -d "{\"message\":\"x\",\"session_id\":\"$(body .session.id)\"}") $(code)" "403 model.not_allowed"
as "$BOB" /api/keys -d '{"name":"reader","scopes":["read"]}' > /dev/null
check "a key without the scope" same "$(as "$(body .key)" /api/chat -d '{"message":"x"}') $(code)" "403 auth.scope_needed"
check "the platform is well" same "$(curl -s -o /dev/null -w '%{http_code}' "$URL/readyz")" 200
platform_down
check "everything ends in peace" same "$UP_EXIT" 0
