# lib.sh - what the real-process tests share: a platform on a temporary data folder, waiting, checks.
# Usage: BIN=build/asan/bin bash tests/integration/x.sh     (ctest sets BIN)
set -u
: "${BIN:?BIN must name the folder with the executables}"
BIN=$(cd "$BIN" && pwd)
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
WORK=$(mktemp -d "${TMPDIR:-/tmp}/samovar-test.XXXXXX")
export SAMOVAR_DATA=$WORK/data SAMOVAR_PORT=0 SAMOVAR_ROUTER_DISCOVER=false SAMOVAR_STORE_ROOT_KEY_FILE=$WORK/root.key
export SAMOVAR_SUPERVISOR_RESTART_PAUSE=500ms # most kills here are on purpose
unset OPENAI_API_KEY OPENROUTER_API_KEY GROQ_API_KEY ANTHROPIC_API_KEY OPENAI_BASE_URL
exec 3>&1 # results are shown even where a check's own output is not
FAILED=0 CHECKS=0 PIDS=()
SUP='' PORT='' URL=''

finish() {
    local rc=$?
    for pid in "${PIDS[@]}"; do kill -9 "$pid" 2>/dev/null; done
    [ -n "$SUP" ] && { kill -INT "$SUP" 2>/dev/null; wait_gone "$SUP" 15 || kill -9 "$SUP" 2>/dev/null; }
    if [ $FAILED -ne 0 ] || [ $rc -ne 0 ]; then
        echo "--- last log lines ---"; tail -60 "$WORK/up.log" 2>/dev/null
    fi
    rm -rf "$WORK"
    echo "$CHECKS checks, $FAILED failed"
    [ $FAILED -eq 0 ] && [ $rc -eq 0 ] || exit 1
}
trap finish EXIT

now_ms() { date +%s%3N; }

# until_ok SECONDS COMMAND...: repeats until it succeeds. Up to three seconds are a promise; more are patience, and a
# loaded machine gets four times as much of it.
until_ok() {
    local end=$(( $(now_ms) + ($1 > 3 ? 4000 : 1000) * $1 )); shift
    until "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt $end ] || return 1
        read -rt 0.05 <> <(:) || true
    done
}
gone() { ! kill -0 "$1" 2>/dev/null; }
all_gone() { local p; for p in "$@"; do gone "$p" || return 1; done; }
wait_gone() { until_ok "${2:-5}" gone "$1"; }

check() { # check "what" COMMAND...
    local what=$1; shift
    CHECKS=$((CHECKS + 1))
    if "$@"; then echo "ok   $what" >&3; else echo "FAIL $what" >&3; FAILED=$((FAILED + 1)); fi
}
same() { [ "$1" = "$2" ] || { printf "  got:  %s\n  want: %s\n" "${1:0:600}" "${2:0:600}" >&3; return 1; }; }
has() { case $1 in *"$2"*) return 0;; *) echo >&3 "  no \"$2\" in: ${1:0:600}"; return 1;; esac; }
hasnt() { case $1 in *"$2"*) echo >&3 "  \"$2\" in: ${1:0:600}"; return 1;; *) return 0;; esac; }
under() { [ "$1" -le "$2" ] || { echo "  $1 is over $2"; return 1; }; }

# platform_up [ENV=VALUE...]: starts `samovar up` and waits until it is ready.
platform_up() {
    rm -f "$SAMOVAR_DATA/run/edge.port"
    env "$@" "$BIN/samovar" up >>"$WORK/up.log" 2>&1 &
    SUP=$!
    if ! until_ok 30 platform_ready; then echo "FAIL the platform did not start"; FAILED=$((FAILED + 1)); exit 1; fi
}
platform_ready() {
    [ -s "$SAMOVAR_DATA/run/edge.port" ] || return 1
    PORT=$(cat "$SAMOVAR_DATA/run/edge.port")
    URL=http://127.0.0.1:$PORT
    [ "$(curl -s -o /dev/null -w '%{http_code}' "$URL/readyz")" = 200 ]
}
platform_down() {
    kill -INT "$SUP"
    wait_gone "$SUP" 15
    local rc=$?
    wait "$SUP"; UP_EXIT=$?
    SUP=''
    return $rc
}

# tool NAME ARGS...: starts a test tool that prints "port N" and sets TOOL_PORT, TOOL_PID.
tool() {
    local out=$WORK/tool.$RANDOM; : > "$out"
    "$BIN/$1" "${@:2}" > "$out" 2>>"$WORK/tools.log" &
    TOOL_PID=$!
    PIDS+=("$TOOL_PID")
    until_ok 10 grep -q '^port ' "$out" || { echo "FAIL tool $1 did not start"; FAILED=$((FAILED + 1)); exit 1; }
    TOOL_PORT=$(sed -n 's/^port //p' "$out")
}

chat() { # chat MODEL TEXT [extra JSON members]
    printf '{"model":"%s","messages":[{"role":"user","content":"%s"}]%s}' "$1" "$2" "${3:+,$3}"
}
post() { # post BODY [curl options]: prints status on the first line, then the body
    local body=$1; shift
    curl -s -m 30 -w '\n%{http_code}' -H 'content-type: application/json' "$@" --data-binary "$body" "$URL/v1/chat/completions" \
        | awk '{ lines[NR] = $0 } END { print lines[NR]; for (i = 1; i < NR; i++) print lines[i] }'
}
# The process that runs, or the next one when it is being started again: never 0, which `kill` takes for everybody.
child_pid() {
    local found; found=$WORK/pid.$BASHPID
    until_ok 10 child_runs "$1" "$found" && cat "$found"
    rm -f "$found"
}
child_runs() { "$BIN/samovar" ps -o json | jq -er --arg n "$1" '.[] | select(.name == $n and .pid > 0) | .pid' > "$2"; }
