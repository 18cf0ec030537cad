# common.bash - what the benchmarks share: a temporary folder, children that end with the script, medians,
# tables for people and lines for machines. Sourced by the others, never run.
set -u -o pipefail
export LC_ALL=C

BENCH_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BIN=${BENCH_BIN:-${SAMOVAR_BUILD:-$BENCH_ROOT/build/release}/bin}
# Nothing of the caller's own platform or providers may reach what is measured.
unset ${!SAMOVAR_@} ${!OPENAI_@} ${!OPENROUTER_@} ${!GROQ_@} ${!ANTHROPIC_@}
TMP=$(mktemp -d)
CHILDREN=()
FAILED=0

stop_child() { # PID [GRACE_S]
    local pid=$1 tries=$((${2:-5} * 20))
    kill -TERM "$pid" 2>/dev/null || return 0
    while [ "$tries" -gt 0 ] && kill -0 "$pid" 2>/dev/null; do
        sleep 0.05
        tries=$((tries - 1))
    done
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
}

bench_end() {
    local rc=$? pid
    trap - EXIT INT TERM
    for pid in ${CHILDREN[@]+"${CHILDREN[@]}"}; do stop_child "$pid"; done
    rm -rf "$TMP"
    exit "$rc"
}
trap bench_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 2; }

need_tools() { # NAME...: executables of the release build
    local t
    for t in "$@"; do
        [ -x "$BIN/$t" ] || die "$BIN/$t is missing: build with ./dev build first (or set BENCH_BIN)"
    done
}

# Field KEY of the one-line JSON in $2; nothing when it is not there.
json() { printf '%s\n' "$2" | sed -n "s/.*[{,]\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"; }

# Median of the numbers in column COLUMN of FILE.
median() { # FILE [COLUMN]
    [ -s "$1" ] || { echo nan; return; }
    awk -v c="${2:-1}" '{print $c}' "$1" | sort -g |
        awk '{v[NR] = $1} END {if (NR % 2) print v[(NR + 1) / 2]; else print (v[NR / 2] + v[NR / 2 + 1]) / 2}'
}

calc() { awk "BEGIN {print $1}"; }

# Figures collect in a file and are printed at the end, after the tables.
figure() { # NAME VALUE UNIT
    case $2 in
    nan | '' | -nan | inf) FAILED=1 ;;
    *) printf 'figure %s %.6g %s\n' "$1" "$2" "$3" >>"$TMP/figures" ;;
    esac
}
print_figures() {
    echo
    [ -s "$TMP/figures" ] && cat "$TMP/figures"
    return 0
}

# The last figure of that name.
value() { awk -v n="$1" '$2 == n {v = $3} END {print v == "" ? "nan" : v}' "$TMP/figures" 2>/dev/null || echo nan; }

# "met" or "NOT MET" beside a budget; a miss is printed, not hidden, and does not fail the benchmark.
budget() { # TEXT VALUE OPERATOR LIMIT UNIT
    local word
    word=$(awk -v a="$2" -v b="$4" -v op="$3" \
        'BEGIN {if (a == "nan") print "no figure"; else if (op == "<=" ? a <= b : a >= b) print "met"; else print "NOT MET"}')
    printf '  %-62s %10.4g %-6s %s %-8s %s\n' "$1" "$2" "$5" "$3" "$4" "$word"
}

machine() {
    local model
    model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
    echo "machine: $(nproc) x ${model:-CPU}, Linux $(uname -r), load $(cut -d' ' -f1 /proc/loadavg)"
}

# Starts COMMAND in the background, output to FILE, and remembers it. The pid is in $STARTED.
start() { # FILE COMMAND...
    local out=$1
    shift
    "$@" >"$out" 2>&1 &
    STARTED=$!
    CHILDREN+=("$STARTED")
}

# Waits until FILE holds a line that begins with WORD and prints the rest of it.
wait_line() { # FILE WORD
    local i
    for i in $(seq 200); do
        if grep -q "^$2 " "$1" 2>/dev/null; then
            sed -n "s/^$2 //p" "$1" | head -1
            return 0
        fi
        sleep 0.05
    done
    return 1
}

# ---- processes ----

free_port() { # a port nobody has now; the tool that prints it lets go of it
    local pid port
    "$BIN/fast_upstream" >"$TMP/free.out" 2>&1 &
    pid=$!
    port=$(wait_line "$TMP/free.out" port)
    kill "$pid"
    wait "$pid" 2>/dev/null
    echo "$port"
}

# Process NAME of the platform that UP_PID supervises.
child_named() { pgrep -P "$UP_PID" -x "$1" | head -1; }

memory() { # PID: "pss rss" in KiB
    awk '/^Pss:/ {p = $2} /^Rss:/ {r = $2} END {print p + 0, r + 0}' "/proc/$1/smaps_rollup" 2>/dev/null || echo "0 0"
}

# ---- a platform on PORT whose standard error is in LOG ----
PASSWORD='nine quiet herons'

post() { # PATH BODY [curl options]
    local path=$1 body=$2
    shift 2
    curl -s -m 30 -H 'content-type: application/json' -d "$body" "$@" "http://127.0.0.1:$PORT$path"
}
# Ends open access: an administrator, an access token (TOKEN) and an API key (KEY).
first_admin() {
    local token='' i
    for i in $(seq 100); do
        token=$(grep -o 'setup#token=svs_[0-9a-f]*' "$LOG" | tail -1)
        [ -n "$token" ] && break
        sleep 0.05
    done
    post /api/auth/setup "{\"token\":\"${token#*token=}\",\"email\":\"root@example.org\",\"password\":\"$PASSWORD\"}" >/dev/null
    TOKEN=$(post /api/auth/login "{\"email\":\"root@example.org\",\"password\":\"$PASSWORD\"}" | jq -r .access_token)
    KEY=$(post /api/keys '{"name":"bench","scopes":["chat","read"]}' -H "authorization: Bearer $TOKEN" | jq -r .key)
    [[ $KEY == sv_* ]] || { tail -20 "$LOG" >&2; die "no API key was made"; }
    WITH_KEY="Authorization: Bearer $KEY"
}
