#!/usr/bin/env bash
# The response cache as HTTP clients see it, in front of a provider that counts its calls: what is given again, to whom,
# what never, what a hundred at once cost, and what becomes of them when the cache process is killed or its disk is full.
. "$(dirname "$0")/lib.sh"
export SAMOVAR_AUTH_PASSWORD_MEMORY=19MiB SAMOVAR_SUPERVISOR_RESTARTS=100
PASSWORD='correct horse battery'
J='content-type: application/json'
tool provider_sim
S=http://127.0.0.1:$TOOL_PORT
export SAMOVAR_CONFIG=$WORK/samovar.yaml
cat > "$SAMOVAR_CONFIG" <<EOF
router:
  tenant_urls_private: true
  log_requests: on
  prices: [{model: "sim,echo=1", input: 1000000, output: 1000000}]
  providers:
    - {name: sim, base_url: "$S/v1", models: [sim, meanings]}
cache: {semantic: true, semantic_model: sim/meanings}
limits: {free: {minute: 0}, anonymous: {minute: 0}}
EOF
platform_up
for who in anna bob carl; do
    admin=; [ $who = anna ] && admin=--admin
    echo "$PASSWORD" | "$BIN/samovar" user add $who@example.org $admin --password-stdin >/dev/null
done
login() { curl -s -H "$J" -d "{\"email\":\"$1@example.org\",\"password\":\"$PASSWORD\"}" "$URL/api/auth/login" | jq -r .access_token; }
ANNA=$(login anna) BOB=$(login bob) CARL=$(login carl)
ORG=$(curl -s -H "authorization: Bearer $BOB" -H "$J" -d '{"name":"Tea"}' "$URL/api/orgs" | jq -r .org.id)
BOB=$(curl -s -X POST -H "authorization: Bearer $BOB" "$URL/api/orgs/$ORG/switch" | jq -r .access_token)
key_of() { curl -s -H "authorization: Bearer $1" -H "$J" -d "$2" "$URL/api/keys" | jq -r .key; }
BOB_KEY=$(key_of "$BOB" '{"scopes":["chat"]}') CARL_KEY=$(key_of "$CARL" '{"scopes":["chat"]}')

HEAD=$WORK/head
ask() { curl -sN -m 30 -D "$HEAD" -H "$J" -H "authorization: Bearer $1" "${@:3}" -d "$2" "$URL${ASK_PATH:-/v1/chat/completions}"; }
head_of() { tr -d '\r' < "${2:-$HEAD}" | sed -n "s/^$1: //Ip" | head -1; }
how() { ask "$@" > "$WORK/answer"; head_of x-cache; } # hit, shared, semantic, miss; nothing: not through the cache
calls() { curl -s -m 5 "$S/_stats" | jq --arg m "$1" '.models[$m] // 0'; }
body() { chat "$1" "$2" "\"temperature\":0${3:+,$3}"; } # MODEL TEXT MORE
has_status() { [ "$(ask "$BOB_KEY" "$1" -o /dev/null -w '%{http_code}')" = 200 ]; }
check "a model answers" until_ok 20 has_status "$(chat sim hi)"

# ---- what is given again, and to whom ----
check "the first time a model answers" same "$(how "$BOB_KEY" "$(body sim one)")" miss
cp "$WORK/answer" "$WORK/first"
check "the second time nobody is asked" same "$(how "$BOB_KEY" "$(body sim one)")" hit
check "the answer is the same" cmp "$WORK/first" "$WORK/answer"
check "it says how old it is" eval '[[ $(head_of age) =~ ^[0-9]+$ ]]'
check "in another order and spelling" same "$(how "$BOB_KEY" '{ "temperature" : 0, "messages":[ {"content":"\u006fne","role":"user"} ],"model":"sim"}')" hit
check "and for who watches his tokens" same "$(how "$BOB" "$(body sim one)")" hit
check "another organization asks for itself" same "$(how "$CARL_KEY" "$(body sim one)")" miss
check "as does who wants it for himself alone" same "$(how "$BOB_KEY" "$(body sim one)" -H 'cache-control: private')" miss
check "another text is another question" same "$(how "$BOB_KEY" "$(body sim two)")" miss
check "another temperature is not for the cache" same "$(how "$BOB_KEY" "$(chat sim one '"temperature":0.5')")" ""
for path in /v1/messages /v1/responses /v1/completions /v1/embeddings /ollama/api/chat; do
    case $path in
    */messages) b='{"model":"sim","max_tokens":50,"temperature":0,"messages":[{"role":"user","content":"hi"}]}';;
    */responses) b='{"model":"sim","temperature":0,"input":"hi"}';;
    */completions) b='{"model":"sim","temperature":0,"prompt":"hi"}';;
    */embeddings) b='{"model":"sim","input":"hi"}';;
    *) b='{"model":"sim","options":{"temperature":0},"stream":false,"messages":[{"role":"user","content":"hi"}]}';;
    esac
    more=(); [ $path = /v1/embeddings ] && more=(-H 'cache-control: max-age=60')
    first=$(ASK_PATH=$path how "$BOB_KEY" "$b" "${more[@]}"); cp "$WORK/answer" "$WORK/first"
    check "$path" same "$first $(ASK_PATH=$path how "$BOB_KEY" "$b" "${more[@]}")" "miss hit"
    check "$path: the same bytes" cmp "$WORK/first" "$WORK/answer"
done

# ---- streams ----
stream='"stream":true,"stream_options":{"include_usage":true}'
check "a stream is another answer" same "$(how "$BOB_KEY" "$(body sim,tokens=40,split=5 one "$stream")")" miss
cp "$WORK/answer" "$WORK/first"
check "it is given again" same "$(how "$BOB_KEY" "$(body sim,tokens=40,split=5 one "$stream")")" hit
check "byte by byte" cmp "$WORK/first" "$WORK/answer"
check "with its end" eval 'tail -c 15 "$WORK/answer" | grep -q "\[DONE\]" && [ "$(grep -c ^data: "$WORK/answer")" -ge 41 ]'

# ---- what the request says ----
check "max-age asks for the cache" same "$(how "$BOB_KEY" "$(chat sim aged)" -H 'cache-control: max-age=60') $(how "$BOB_KEY" "$(chat sim aged)" -H 'cache-control: max-age=60')" "miss hit"
check "no-store keeps out" same "$(how "$BOB_KEY" "$(body sim stored)" -H 'cache-control: no-store')$(how "$BOB_KEY" "$(body sim stored)")" miss
check "no-cache asks anew" same "$(how "$BOB_KEY" "$(body sim stored)" -H 'cache-control: no-cache') $(calls sim)" "miss $(calls sim)"
old_enough() { [ "$(how "$BOB_KEY" "$(body sim stored)" && head_of age)" != "$(printf 'hit\n0')" ]; }
until_ok 5 old_enough
check "what is older than wanted is not given" same "$(how "$BOB_KEY" "$(body sim stored)" -H 'cache-control: max-age=0')" miss

# ---- what the key says ----
LONG=$(key_of "$BOB" '{"scopes":["chat"],"cache_seconds":60}') NEVER=$(key_of "$BOB" '{"scopes":["chat"],"cache_seconds":-1}')
SHORT=$(key_of "$BOB" '{"scopes":["chat"],"cache_seconds":1}')
check "a key with cache_seconds needs nothing more" same "$(how "$LONG" "$(chat sim keyed)") $(how "$LONG" "$(chat sim keyed)")" "miss hit"
check "its answers are kept so long" same "$("$BIN/samovar" call cache.entries '{}' | jq '[.entries[] | .expires - .created] | index(60000) != null')" true
check "a key with -1 is never answered from the cache" same "$(how "$NEVER" "$(body sim one)")" ""
check "another second of life" same "$(how "$SHORT" "$(chat sim brief)")" miss
is_over() { [ "$(how "$SHORT" "$(chat sim brief)")" = miss ]; }
check "and no more" until_ok 5 is_over

# ---- what is not kept ----
twice() { how "$BOB_KEY" "$1"; how "$BOB_KEY" "$1"; }
TOOLS='"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}]'
check "errors are not kept" same "$(twice "$(body sim,status=400 e)" | tr '\n' ' '; calls sim,status=400)" "miss miss 2"
check "nor calls of tools" same "$(twice "$(body sim,tools=1 t "$TOOLS")" | tr '\n' ' '; calls sim,tools=1)" "miss miss 2"
check "nor calls of tools in streams" same "$(twice "$(body sim,tools=2 t "$TOOLS,\"stream\":true")" | tr '\n' ' '; calls sim,tools=2)" "miss miss 2"
check "nor streams that are cut" same "$(twice "$(body sim,fault=cut c '"stream":true')" >/dev/null; test "$(calls sim,fault=cut)" -ge 2; echo $?)" 0
check "nor empty answers" same "$(twice "$(body sim,fault=empty n)" >/dev/null; test "$(calls sim,fault=empty)" -ge 2; echo $?)" 0
check "nor those that were cut short" same "$(twice "$(body sim,finish=length l)" | tr '\n' ' '; calls sim,finish=length)" "miss miss 2"

# ---- a hundred at once ----
at_once() { # NUMBER BODY DIR
    mkdir -p "$3"
    local i list=()
    for ((i = 0; i < $1; i++)); do list+=(--next -s -N -m 30 -D "$3/h$i" -o "$3/b$i" -H "$J" -H "authorization: Bearer $BOB_KEY" -d "$2" "$URL/v1/chat/completions"); done
    curl -Z --parallel-immediate --parallel-max 120 "${list[@]:1}" 2>>"$WORK/curl.err"
}
hows() { local i; for ((i = 0; i < $2; i++)); do head_of x-cache "$1/h$i"; done | sort | uniq -c | awk '{printf "%s%s %s", (NR > 1 ? ", " : ""), $1, $2}'; }
all_same() { local i; for ((i = 1; i < $2; i++)); do cmp -s "$1/b0" "$1/b$i" || { echo "  answer $i differs" >&3; return 1; }; done; [ -s "$1/b0" ]; }
at_once 100 "$(body sim,first_ms=3000 many)" "$WORK/plain"
check "a hundred at once are one call" same "$(calls sim,first_ms=3000)" 1
check "one leads" same "$(hows "$WORK/plain" 100)" "1 miss, 99 shared"
check "all have the same answer" all_same "$WORK/plain" 100
at_once 100 "$(body sim,first_ms=500,tokens=40,gap_ms=20 many '"stream":true')" "$WORK/streams"
check "a hundred streams at once are one call" same "$(calls sim,first_ms=500,tokens=40,gap_ms=20)" 1
check "all have the same events" all_same "$WORK/streams" 100
check "with their end" grep -q '\[DONE\]' "$WORK/streams/b99"

slow=sim,tokens=40,gap_ms=50
at_once 1 "$(body $slow late '"stream":true')" "$WORK/lead" & lead=$!
until_ok 5 eval '[ -s "$WORK/lead/b0" ]'
check "who comes later rides along" same "$(how "$BOB_KEY" "$(body $slow late '"stream":true')")" shared
wait $lead
check "and has it from the beginning" cmp "$WORK/lead/b0" "$WORK/answer"
check "without another call" same "$(calls $slow)" 1

# the one in whose name it is asked goes away
slow=sim,tokens=41,gap_ms=50
curl -sN -m 30 -o "$WORK/gone" -H "$J" -H "authorization: Bearer $BOB_KEY" -d "$(body $slow leave '"stream":true')" "$URL/v1/chat/completions" & lead=$!
until_ok 5 eval '[ -s "$WORK/gone" ]'
ask "$BOB_KEY" "$(body $slow leave '"stream":true')" -H 'x-stainless-timeout: 1' > "$WORK/stays" & stays=$!
until_ok 5 eval '[ -s "$WORK/stays" ]'
kill -9 $lead; wait $lead 2>/dev/null
wait $stays
check "the leader leaves: the others have the whole answer, though they would not have waited longer for its beginning" eval 'grep -q "\[DONE\]" "$WORK/stays" && grep -q tok40 "$WORK/stays"'
check "of one call" same "$(calls $slow)" 1
check "which is kept" same "$(how "$BOB_KEY" "$(body $slow leave '"stream":true')")" hit

# ---- questions of the same meaning ----
M=(-H 'x-samovar-semantic: 1')
check "a question" same "$(how "$BOB_KEY" "$(body sim "how do I brew a pot of good black tea in the morning")" "${M[@]}")" miss
check "the same in other words' order" same "$(how "$BOB_KEY" "$(body sim "in the morning how do I brew a pot of good black tea")" "${M[@]}")" semantic
check "says how near it is" eval '[[ $(head_of x-cache-similarity) =~ ^0\.9[5-9] ]]'
check "and how old" eval '[[ $(head_of age) =~ ^[0-9]+$ ]]'
check "what it meant was asked in the caller's name" eval '[ "$(calls meanings)" -ge 2 ]'
check "who does not ask for it gets his own" same "$(how "$BOB_KEY" "$(body sim "in the morning, how do I brew a pot of good black tea")")" miss
check "another organization, too" same "$(how "$CARL_KEY" "$(body sim "how in the morning do I brew a pot of good black tea")" "${M[@]}")" miss
check "something else is something else" same "$(how "$BOB_KEY" "$(body sim "what is the capital of France and why")" "${M[@]}")" miss
check "tools are never answered so" same "$(how "$BOB_KEY" "$(body sim "how do I brew in the morning a pot of good black tea" "$TOOLS")" "${M[@]}")" miss
check "the header alone is enough" same "$(how "$BOB_KEY" "$(chat sim "how do I brew a pot of good black tea at seven")" "${M[@]}") $(how "$BOB_KEY" "$(chat sim "at seven how do I brew a pot of good black tea")" "${M[@]}")" "miss semantic"

# ---- what it saves ----
saved() { "$BIN/samovar" call cache.stats '{"model":"sim,echo=1"}' | jq -c '[.hits, .shared // 0, .misses, .price]'; }
how "$BOB_KEY" "$(body sim,echo=1 "worth a lot")" >/dev/null
paid() { PAID=$(curl -s -H "authorization: Bearer $ANNA" "$URL/api/usage?by=model&model=sim,echo=1" | jq .total.price); [ "$PAID" -gt 0 ]; }
check "an answer that costs something" until_ok 5 paid
check "saves it with each hit" same "$(how "$BOB_KEY" "$(body sim,echo=1 "worth a lot")")$(how "$BOB_KEY" "$(body sim,echo=1 "worth a lot" '"metadata":{}')") $(saved)" "hithit [2,0,1,$((2 * PAID))]"
lines() { grep '"completion"' "$WORK/up.log" | jq -c 'select(.["gen_ai.original.model"] == "sim,echo=1") | [.cache, .cost > 0, .saved, .attempts, .["gen_ai.request.model"], (.["gen_ai.usage.input_tokens"] > 0), (.org | length)]'; }
hits_are_there() { [ "$(lines | wc -l)" = 3 ]; }
check "each has a line in the log" until_ok 5 hits_are_there
check "that says it" same "$(lines | tail -2 | sort -u)" "[\"hit\",false,$PAID,0,\"sim,echo=1\",true,36]"

# ---- who sees and clears it ----
api() { curl -s -m 10 -H "authorization: Bearer $1" "${@:3}" "$URL$2"; }
api_code() { api "$@" -o /dev/null -w '%{http_code}'; }
CARL_ORG=$(api "$CARL" /api/cache/entries | jq -r '.entries[0].org')
check "an owner sees his organization's" same "$(api "$BOB" /api/cache/entries | jq -c '[.entries[].org] | unique | length')" 1
check "and its figures" eval '[ "$(api "$BOB" /api/cache | jq ".hits > 0 and .misses > 0 and .semantic > 0 and .since > 1500000000000 and (.models | length) > 0")" = true ]'
check "not another's" same "$(api_code "$BOB" "/api/cache/entries?org=$CARL_ORG")" 403
check "the platform's administrator sees all" same "$(api "$ANNA" '/api/cache/entries?limit=40' | jq -c '[.entries[].org] | unique | length >= 2')" true
check "words are not shown" hasnt "$(api "$ANNA" '/api/cache/entries?limit=40')" tok0
check "a key for chat sees nothing" same "$(api_code "$BOB_KEY" /api/cache)" 403
link=$(api "$BOB" "/api/orgs/$ORG/invitations" -H "$J" -d '{"role":"member"}' | jq -r .link)
api "$CARL" /api/invitations/accept -H "$J" -d "{\"token\":\"${link#*token=}\"}" >/dev/null
MEMBER=$(api "$CARL" "/api/orgs/$ORG/switch" -X POST | jq -r .access_token)
check "a member of the organization neither" same "$(api_code "$MEMBER" /api/cache) $(api_code "$MEMBER" /api/cache/entries) $(api_code "$MEMBER" '/api/cache?all=true' -X DELETE)" "403 403 403"
check "but has its answers" same "$(how "$MEMBER" "$(body sim one)")" hit
# What a member's own provider says is for nobody else, neither kept nor while it is under way.
under_way_now() { [ "$("$BIN/samovar" call cache.stats '{}' | jq '.under_way // 0')" = 1 ]; }
tool provider_sim
check "a member brings a provider with the platform's name" same "$(api_code "$MEMBER" /api/providers -H "$J" -d "{\"name\":\"sim\",\"base_url\":\"http://127.0.0.1:$TOOL_PORT/v1\",\"key\":\"sk-members-own-1\"}")" 201
who_said() { ask "$1" "$2" -H 'x-samovar-explain: true' > "$HEAD.answer"; printf '%s %s' "$(head_of x-samovar-provider)" "$(head_of x-cache)"; }
own_answers() { [ "$(who_said "$MEMBER" "$(body sim/sim "own $(now_ms)")")" = "own:sim miss" ]; }
check "it answers him" until_ok 5 own_answers
check "every time" same "$(who_said "$MEMBER" "$(body sim/sim mine)") $(who_said "$MEMBER" "$(body sim/sim mine)")" "own:sim miss own:sim miss"
check "and nobody else" same "$(who_said "$BOB" "$(body sim/sim mine)") $(who_said "$CARL_KEY" "$(body sim/sim mine)")" "sim miss sim miss"
for kind in false true; do
    slow=$(body "sim/sim,first_ms=1500" "slow $kind" "\"stream\":$kind")
    HEAD=$WORK/head.slow who_said "$MEMBER" "$slow" > "$WORK/slow" & slow_pid=$!
    until_ok 5 under_way_now
    check "also who asks for the same meanwhile (stream $kind)" same "$(who_said "$BOB" "$slow") $(jq -Rsr 'test("tok0")' "$HEAD.answer")" "sim miss true"
    wait $slow_pid
    check "the member has his own (stream $kind)" same "$(cat "$WORK/slow")" "own:sim miss"
done
check "clearing wants to know what" same "$(api_code "$BOB" /api/cache -X DELETE)" 400
check "one answer" same "$(api "$BOB" "/api/cache?key=$(api "$BOB" /api/cache/entries | jq -r '.entries[0].key')" -X DELETE | jq .cleared)" 1
check "a model's" eval '[ "$(api "$BOB" "/api/cache?model=sim,tools=9" -X DELETE | jq ".cleared // 0")" = 0 ]'
check "not another organization's" same "$(api_code "$BOB" "/api/cache?org=$CARL_ORG" -X DELETE)" 403
check "all of the organization" eval '[ "$(api "$BOB" "/api/cache?all=true" -X DELETE | jq .cleared)" -gt 5 ]'
check "is gone" same "$(how "$BOB_KEY" "$(body sim one)")" miss
check "the other's is there" same "$(how "$CARL_KEY" "$(body sim one)")" hit
check "the platform's administrator clears another's" eval '[ "$(api "$ANNA" "/api/cache?org=$CARL_ORG" -X DELETE | jq .cleared)" -ge 1 ]'
check "that is gone, too" same "$(how "$CARL_KEY" "$(body sim one)")" miss

# ---- the cache process is killed ----
check "an answer" same "$(how "$BOB_KEY" "$(body sim durable)") $(how "$BOB_KEY" "$(body sim durable)")" "miss hit"
how "$BOB_KEY" "$(body sim later)" >/dev/null
api "$BOB" "/api/cache?key=$(printf '0%.0s' {1..64})" -X DELETE >/dev/null # told to the disk behind the others
pid=$(child_pid cache/1)
at_once 100 "$(body sim,first_ms=2000 killed)" "$WORK/killed" & crowd=$!
under_way() { [ "$("$BIN/samovar" call cache.stats '{}' | jq '.under_way // 0')" = 1 ] && [ "$(calls sim,first_ms=2000)" = 1 ]; }
until_ok 5 under_way
until_ok 5 eval '[ "$(ss -tn state established "( sport = :$PORT )" | wc -l)" -ge 100 ]'
kill -9 "$pid"
wait $crowd
check "killed while a hundred wait: all are answered" same "$(head -qn1 "$WORK"/killed/h* | awk '{print $2}' | sort | uniq -c | xargs)" "100 200"
cache_is_back() { [ "$(child_pid cache/1)" != "$pid" ] && "$BIN/samovar" call cache.ping >/dev/null; }
check "it is started again" until_ok 20 cache_is_back
check "and has what it had" same "$(how "$BOB_KEY" "$(body sim durable)")" hit
check "stops" platform_down

# ---- a full disk ----
if mkdir -p "$WORK/small" && mount -t tmpfs -o size=24m tmpfs "$WORK/small" 2>/dev/null; then
    export SAMOVAR_DATA=$WORK/small
    platform_up
    check "a new platform answers" until_ok 20 eval '[ "$(post "$(chat sim hi)" | head -1)" = 200 ]'
    dd if=/dev/zero of="$WORK/small/filler" bs=4096 2>/dev/null
    codes=$(for i in $(seq 30); do post "$(body sim,tokens=60000 "full $i")" | head -1; done | sort | uniq -c | xargs)
    check "a full disk: all are answered" same "$codes" "30 200"
    check "what was not kept is counted" eval '[ "$("$BIN/samovar" call cache.stats "{}" | jq ".not_kept // 0")" -gt 0 ]'
    platform_down
    umount -l "$WORK/small"
else
    echo "skip: a full disk, mounting is not allowed here"
fi
