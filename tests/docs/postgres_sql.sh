#!/usr/bin/env bash
# postgres_sql.sh - runs every statement of docs/adr/0010-store-engines.md on a PostgreSQL of its own and compares the
# answers with tests/vectors/postgres/*.out. Then a small program does the same work as an engine would: libpq without
# blocking, in pipeline mode, on a stack as small as a fiber's.
# Usage: postgres_sql.sh [--write]    writes the .out files instead of comparing.
# Exit code 77: PostgreSQL (Debian's postgresql, 15 or newer) is not installed.
set -u -o pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
vectors=$here/../vectors/postgres
adr=$here/../../docs/adr/0010-store-engines.md
write=${1-}
failed=0

initdb=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -t/ -k5 -n | tail -1)
[[ -n $initdb ]] || initdb=$(command -v initdb)
if [[ -z $initdb ]] || ! command -v psql >/dev/null; then
    echo "PostgreSQL is not installed: nothing is run"
    exit 77
fi
programs=$(dirname "$initdb")

# PostgreSQL does not run as root.
as=()
if [[ $(id -u) -eq 0 ]]; then
    user=nobody
    id postgres >/dev/null 2>&1 && user=postgres
    as=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups)
fi

work=$(mktemp -d)
stop() {
    local rc=$?
    trap - EXIT INT TERM
    "${as[@]}" "$programs/pg_ctl" -D "$work/server/data" -m immediate -s stop >/dev/null 2>&1
    rm -rf "$work"
    exit "$rc"
}
trap stop EXIT
trap 'exit 130' INT TERM

mkdir "$work/server"
[[ ${#as[@]} -eq 0 ]] || chown "$user" "$work" "$work/server"
cd "$work" || exit 1
"${as[@]}" "$initdb" -N -A trust -E UTF8 --locale=C -U samovar -D server/data >server.log 2>&1 &&
    "${as[@]}" "$programs/pg_ctl" -D server/data -w -s -l server/log start \
        -o "-k $work/server -c listen_addresses='' -c fsync=off -c max_connections=20" || {
    cat server.log server/log 2>/dev/null
    echo "FAIL the server does not start"
    exit 1
}
export PGHOST=$work/server PGUSER=samovar PGDATABASE=postgres
export PGOPTIONS='-c client_min_messages=warning'
# psql prints tags unless it is quiet; ~/.psqlrc is left alone.
sql=(psql -X -v ON_ERROR_STOP=0)

# compare NAME OUTPUT: with the recorded answers.
compare() {
    if [[ $write == --write ]]; then
        cp "$2" "$vectors/$1.out"
        echo "wrote $1.out"
    elif diff -u "$vectors/$1.out" "$2"; then
        echo "ok   $1"
    else
        echo "FAIL $1"
        failed=1
    fi
}

# The page shows the same text as was run.
in_page() {
    local page line
    page=$(tr -s ' \n' ' ' <"$adr") || return 1
    while IFS= read -r line; do
        line=${line%;}
        [[ $line == PREPARE* ]] && line=${line#* AS }
        [[ $page == *"$line"* ]] || {
            echo "docs/adr/0010-store-engines.md does not show: $line"
            return 1
        }
    done < <(grep -hvE '^(--|$)' "$vectors/schema.sql" "$vectors/table.sql" "$vectors/session.sql" "$vectors/statements.sql")
}
if in_page; then echo "ok   page shows every statement"; else
    echo "FAIL page shows every statement"
    failed=1
fi

"${sql[@]}" -q -v ON_ERROR_STOP=1 -f "$vectors/schema.sql" -f "$vectors/table.sql" || exit 1
ready=(-f "$vectors/session.sql" -f "$vectors/statements.sql")
for name in operations plans; do
    { cat "$vectors/session.sql" "$vectors/statements.sql"; printf '\\set QUIET off\n'; cat "$vectors/$name.sql"; } |
        "${sql[@]}" -q >"$work/$name.out" 2>&1
    compare "$name" "$work/$name.out"
done

# ---- several connections ----

declare -A to from
connections=0
connect() { # LETTER: each connection has pipes of its own, an earlier one may still be ending
    local in out pipe=$work/$1.$((++connections))
    mkfifo "$pipe.in" "$pipe.out"
    "${sql[@]}" -q -At <"$pipe.in" >"$pipe.out" 2>&1 &
    exec {in}>"$pipe.in" {out}<"$pipe.out"
    to[$1]=$in from[$1]=$out
    { cat "$vectors/session.sql" "$vectors/statements.sql"; printf '\\set VERBOSITY sqlstate\n\\set QUIET off\n'; } >&"$in"
}
tell() { printf '%s\n\\echo --end\n' "$2" >&"${to[$1]}"; }
hear() { # LETTER: its answer up to the mark, or to the end of a connection that is gone
    local line
    while IFS= read -r -t 20 -u "${from[$1]}" line; do
        [[ $line == --end ]] && return
        printf '%s| %s\n' "$1" "$line"
    done
}
sessions() {
    local line who
    while IFS= read -r line; do
        [[ -z $line ]] && continue
        printf '%s\n' "$line"
        who=${line:0:1}
        [[ $who == '#' ]] && continue
        [[ -n ${to[$who]-} ]] || connect "$who"
        case ${line:1:1} in
        :) tell "$who" "${line:3}"; hear "$who" ;;
        +) tell "$who" "${line:3}" ;;
        -) hear "$who" ;;
        !) # loses its connection
            printf '\\set QUIET on\n\\set VERBOSITY terse\n%s\n\\q\n' "${line:3}" >&"${to[$who]}"
            hear "$who" >/dev/null
            unset "to[$who]" ;;
        esac
    done <"$vectors/sessions.txt"
}
sessions >"$work/sessions.out" 2>&1
compare sessions "$work/sessions.out"

# ---- libpq without blocking, in pipeline mode, on small stacks ----

if libpq=$(pkg-config --cflags --libs libpq 2>/dev/null); then
    # shellcheck disable=SC2086
    if ! ${CC:-cc} -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -o pipeline "$here/postgres_pipeline.c" $libpq ||
        ! timeout 60 ./pipeline; then
        echo "FAIL pipeline"
        failed=1
    fi
else
    echo "libpq-dev is not installed: postgres_pipeline.c is not run"
fi

exit $failed
