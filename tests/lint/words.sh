#!/usr/bin/env bash
# words.sh - words that must not appear: unfinished work, and C functions that do harm.
# Usage: words.sh [ROOT]. Exit code 1 if one is found.
set -uo pipefail
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}"
failed=0

places=(proto store actors broker edge cli vectors tests docs README.md dev .ci CMakeLists.txt)
found=$(grep -rnIE '\b(TODO|FIXME|XXX|HACK)\b' --exclude-dir=node_modules --exclude-dir=lint \
    "${places[@]}" 2>/dev/null)
[[ -n $found ]] && printf 'unfinished work belongs in an issue:\n%s\n' "$found" && failed=1

calls='strncat|sprintf|vsprintf|gets|strtok|alloca|system|popen|mktemp|tmpnam|rand|bcopy|gethostbyname'
found=$(grep -rnE "(^|[^_[:alnum:]>.])($calls)\(" --include='*.[ch]' proto store actors broker edge cli vectors 2>/dev/null |
    grep -vE ':[[:space:]]*(/?\*|//)')
[[ -n $found ]] && printf 'do not use these functions:\n%s\n' "$found" && failed=1

found=$(grep -rnE '[[:space:]]+$' --include='*.[ch]' --include='*.def' --include='*.sh' \
    --exclude-dir=node_modules proto store actors broker edge cli vectors tests 2>/dev/null | head -20)
[[ -n $found ]] && printf 'white space at the end of a line:\n%s\n' "$found" && failed=1

exit $failed
