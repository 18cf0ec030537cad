#!/usr/bin/env bash
# lint.sh - what `./dev lint` runs. Needs ROOT, JOBS and a configured build/clang (with clang behind syntax.sh).
# Usage: lint.sh [--changed | FILE...]. Exit code 1: something is wrong.
set -uo pipefail
cd "${ROOT:?}"
here=tests/lint
jobs=${JOBS:-2}
failed=()

step() { # NAME COMMAND...
    local name=$1 began=$SECONDS out
    shift
    out=$(mktemp)
    if ("$@") >"$out" 2>&1; then
        printf 'ok    %-14s %3d s\n' "$name" $((SECONDS - began))
        grep '^note: ' "$out"
    else
        cat "$out"
        printf 'FAIL  %-14s %3d s\n' "$name" $((SECONDS - began))
        failed+=("$name")
    fi
    rm -f "$out"
}

all_files() {
    # A room that is not built yet is no folder: find says so and goes on.
    { find actors broker cli docs/examples edge proto store tests vectors -name '*.[ch]' \
        -not -path '*/node_modules/*' 2>/dev/null || true; } | sort
}

if [[ ${1-} == --changed ]]; then
    mapfile -t files < <({ git diff --name-only HEAD; git ls-files --others --exclude-standard; } |
        grep -E '^(actors|broker|cli|docs|edge|proto|store|tests|vectors)/.*\.[ch]$' | sort -u |
        while read -r f; do [[ -f $f ]] && echo "$f"; done)
elif [[ $# -gt 0 ]]; then
    files=("$@")
else
    mapfile -t files < <(all_files)
fi
mapfile -t sources < <(printf '%s\n' "${files[@]-}" | grep '\.c$')
# Static analysis looks at what ships; tests are run instead.
mapfile -t shipped < <(printf '%s\n' "${sources[@]-}" | grep -E '^(actors|broker|cli|edge|proto|store|vectors)/')

format() {
    [[ ${#files[@]} -eq 0 ]] || clang-format-14 --dry-run -Werror "${files[@]}"
}

sizes() {
    local rc=0
    all_files | grep -v '^tests/' | xargs awk -v file_max=800 -v function_note=70 -v function_max=100 \
        -f $here/sizes.awk || rc=1
    all_files | grep '^tests/' | xargs awk -v file_max=1200 -v function_note=100 -v function_max=200 \
        -f $here/sizes.awk || rc=1
    return $rc
}

# What clang says of each source; nothing is translated or linked.
clang_warnings() {
    local objects
    ninja -C build/clang build.ninja >/dev/null # where files were added
    mapfile -t objects < <(ninja -C build/clang -t targets all | sed -n 's/^\(.*\.o\): C_COMPILER.*/\1/p')
    [[ ${#objects[@]} -gt 0 ]] || { echo "build/clang has no sources"; return 1; }
    ninja -C build/clang -k 0 "${objects[@]}" >build/clang/build.log 2>&1 ||
        { grep -E ': (fatal )?(error|warning): ' -A 5 build/clang/build.log; return 1; }
}

# cppcheck does not know __VA_OPT__, so it reads a copy of the sources in which log_write does without.
cpp_check() {
    local copy=build/lint
    [[ ${#shipped[@]} -eq 0 ]] && return
    rm -rf $copy
    mkdir -p $copy
    cp -r proto store actors broker edge cli vectors $copy/
    sed -i 's/^#define log_write(.*/#define log_write(level, event, ...) \\/
        s/__VA_ARGS__ __VA_OPT__(, ){LOG_K_END, NULL, {.i = 0}}/{LOG_K_END, NULL, {.i = 0}}, ##__VA_ARGS__/' \
        $copy/actors/runtime/log.h
    cd $copy && cppcheck --quiet --error-exitcode=1 -j "$jobs" --std=c11 --inline-suppr \
        --enable=warning,performance,portability --suppressions-list=../../$here/cppcheck.txt \
        --template='{file}:{line}: {id}: {message}' -D_GNU_SOURCE -DSAMOVAR_VERSION='"0"' \
        -Iproto -Istore -Iactors/runtime -Ibroker -Iedge -Icli -Iactors/router -Iactors/auth -Iactors/workspace -Iactors/mail -Iactors/cache -Ivectors "${shipped[@]}"
}

# Findings in clang-tidy.known were looked at; everything else is an error.
tidy() {
    [[ ${#shipped[@]} -eq 0 ]] && return
    command -v clang-tidy-14 >/dev/null || return
    # Its exit code also counts findings that are known; awk decides.
    printf '%s\n' "${shipped[@]}" | grep -vx proto/error.c | { xargs -P "$jobs" -n 1 clang-tidy-14 --quiet --config-file=$here/clang-tidy.yml -p build/clang \
            --extra-arg=-include --extra-arg="$PWD/$here/analyzer.h" 2>&1 || true; } |
        awk -v root="$PWD/" -v known=$here/clang-tidy.known '
            BEGIN { while ((getline line < known) > 0) if (split(line, w, " ") > 1) fine[w[1] " " w[2]] = 1 }
            match($0, /: (error|warning): /) {
                file = $0; sub(/:.*/, "", file); sub("^" root, "", file)
                check = $0; sub(/.*\[/, "", check); sub(/[],].*/, "", check)
                show = !((file " " check) in fine)
                bad += show
            }
            show && !/warnings? generated|^Suppressed |^Use -header-filter/
            END { exit bad > 0 }'
}

step includes bash $here/includes.sh
step words bash $here/words.sh
step sizes sizes
step format format
step clang clang_warnings
step cppcheck cpp_check
step clang-tidy tidy

if [[ ${#failed[@]} -gt 0 ]]; then
    echo "lint failed: ${failed[*]}"
    exit 1
fi
echo "lint passed"
