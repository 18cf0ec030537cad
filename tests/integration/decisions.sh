#!/usr/bin/env bash
# How requests were decided, users' ratings and rankings: who sees what, over two routers, and what outlives
# a kill -9.
. "$(dirname "$0")/lib.sh"
tool provider_sim --models sim-small,sim-large
SIM=$TOOL_PORT
export SAMOVAR_CONFIG=$WORK/samovar.yaml
cat > "$SAMOVAR_CONFIG" <<END
router:
  decision_days: 3
  providers:
    - {name: sim, base_url: "http://127.0.0.1:$SIM/v1"}
supervisor: {restarts: 50, routers: 2}
END
ready_model() { curl -s "$URL/v1/models" | jq -e '.data[] | select(.id == "sim-small")'; }
ask() { # ask BODY: prints the decision's id
    curl -s -o /dev/null -D - -H 'content-type: application/json' -H 'x-samovar-explain: true' -d "$1" "$URL/v1/chat/completions" |
        tr -d '\r' | sed -n 's/^x-samovar-decision: //ip'
}
get() { curl -s -w '\n%{http_code}\n' "$URL$1"; }
rate() { curl -s -o "$WORK/rated" -w '%{http_code}' -H 'content-type: application/json' -d "$1" "$URL/api/feedback"; }
router_of() { printf '%d' "0x${1: -8}"; }
ranked() { curl -s "$URL/api/rankings" | jq -e "[.rankings[] | select(.model == \"$1\") | .$2] | add == $3"; }

platform_up
until_ok 10 ready_model
seen=
for i in 1 2 3 4 5 6 7 8; do
    id=$(ask "$(chat sim-small hi)")
    seen="$seen $(router_of "$id")"
done
check "an answer tells the id of its decision" has "$id" -7
check "whose end is the router's number" eval '[[ $seen == *" 1"* || $seen == *" 2"* ]]'
record=$(get "/api/decisions/$id")
check "the decision is found" same "$(tail -1 <<<"$record")" 200
record=$(head -1 <<<"$record")
check "what was asked, and what came of it" same "$(jq -c '[.asked,.ended,.outcome,.provider,.model,(.attempts|length),.attempts[0].status,.kept]' <<<"$record")" '["sim-small",true,"ok","sim","sim-small",1,200,true]'
check "times" eval 'jq -e ".total_us > 0 and .attempts[0].total_us > 0" <<<"$record" >/dev/null'
check "neither prompt nor answer" hasnt "$record" '"hi"'
check "no decision of ours" same "$(get /api/decisions/01900000-0000-7000-8000-00007fffffff | tail -1)" 404
check "an id of something else" same "$(get /api/decisions/01900000-0000-4000-8000-000000000001 | tail -1)" 404
check "no id" same "$(get /api/decisions/abc | tail -1)" 400
explained=$("$BIN/samovar" explain "$id")
check "in words: what was asked" has "$explained" "Asked for   sim-small"
check "in words: who was called" has "$explained" "sim/sim-small (key 1): ok, HTTP 200"
check "as JSON" same "$("$BIN/samovar" explain "$id" -o json | jq -r .asked)" sim-small
"$BIN/samovar" explain abc 2>/dev/null
check "wrong words" same "$?" 2
"$BIN/samovar" explain 01900000-0000-7000-8000-000000000001 2>"$WORK/err"
check "nothing by that id" same "$? $(grep -c 'no such decision' "$WORK/err")" "1 1"

# ---- ratings ----
check "good" same "$(rate "{\"decision\":\"$id\",\"rating\":1}")" 204
check "again" same "$(rate "{\"decision\":\"$id\",\"rating\":1}")" 204
check "is in the record" same "$(get "/api/decisions/$id" | head -1 | jq .rating)" 1
check "stars are no rating" same "$(rate "{\"decision\":\"$id\",\"rating\":5}")" 400
check "a comment is refused, not dropped" same "$(rate "{\"decision\":\"$id\",\"rating\":1,\"comment\":\"x\"}")" 400
check "it needs a rating" same "$(rate "{\"decision\":\"$id\"}")" 400
check "of a decision" same "$(rate '{"decision":"01900000-0000-7000-8000-00007fffffff","rating":1}')" 404

# ---- rankings ----
check "both routers are added up" until_ok 5 ranked sim-small requests 8
check "with success and ratings" eval 'ranked sim-small successes 8 || ranked sim-small success 1'
check "one rating, counted once" ranked sim-small ratings 1
check "eight tell nothing yet" same "$(curl -s "$URL/api/rankings" | jq -c '[.rankings[] | select(.model == "sim-small") | .enough] | unique')" "[false]"
check "two routers were asked" same "$(curl -s "$URL/api/rankings" | jq -c '[.routers,.failed]')" "[2,0]"
check "of a task that there is not" same "$(get '/api/rankings?task=cooking' | tail -1)" 400
check "of a task" same "$(get '/api/rankings?task=vision&days=2' | head -1 | jq -c '[.rankings,.days]')" "[[],2]"
check "days have a limit" same "$(get '/api/rankings?days=4000' | tail -1)" 400
check "a table for people" has "$("$BIN/samovar" rankings)" "sim-small"
check "as JSON" same "$("$BIN/samovar" rankings -o json | jq '[.rankings[] | select(.model == "sim-small") | .requests] | add')" 8

# ---- what is kept ----
auto=$(ask "$(chat auto 'Translate to French: good morning')")
check "auto says what it was taken for" same "$(get "/api/decisions/$auto" | head -1 | jq -c '[.automatic,.task,(.candidates|length > 0)]')" '[true,"translate",true]'
check "in words, with scores" has "$("$BIN/samovar" explain "$auto")" "= quality"
check "rated, too" same "$(rate "{\"decision\":\"$auto\",\"rating\":-1}")" 204
row_id() { tr -d - <<<"$1" | tr a-f A-F | basenc -d --base16 | base64; }
kept() { "$BIN/samovar" store dump "router/$(router_of "$auto")" --table decisions | grep -qF "$(row_id "$auto")"; }
check "it is written within a second" until_ok 3 kept
kill -9 "$(child_pid "router/$(router_of "$auto")")"
back() { [ "$(get "/api/decisions/$auto" | tail -1)" = 200 ]; }
check "and outlives kill -9" until_ok 15 back
check "with its rating" same "$(get "/api/decisions/$auto" | head -1 | jq -c '[.rating,.kept]')" "[-1,true]"
platform_down
check "of a stopped router, too" has "$("$BIN/samovar" explain "$auto")" "Taken for   translate"
check "rankings, too" same "$("$BIN/samovar" rankings -o json | jq '[.rankings[] | select(.model == "sim-small") | .requests] | add >= 8')" true
