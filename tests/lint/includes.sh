#!/usr/bin/env bash
# includes.sh - checks the include graph: dependencies between rooms point one way, and each library's
# header is included in as few places as possible. Prints each violation; exit code 1 if there is one.
# Usage: includes.sh [ROOT]; docs/adr/0001-rooms.md says why.
set -euo pipefail
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}"

# Which rooms' headers a room may include, its own first.
declare -A may=(
    [proto]="proto"
    [store]="store proto"
    [actors/runtime]="actors/runtime proto store"
    [broker]="broker actors/runtime proto"
    [edge]="edge actors/runtime proto"
    [cli]="cli actors/runtime proto"
    [actors/router/llm]="actors/router/llm proto"
    [actors/router]="actors/router actors/router/llm actors/runtime store proto"
    [actors/auth]="actors/auth actors/runtime store proto"
    [actors/mail]="actors/mail actors/runtime store proto"
    [actors/cache]="actors/cache actors/runtime store proto"
    [actors/workspace]="actors/workspace actors/runtime store proto"
    [vectors]="vectors actors/auth actors/router actors/router/llm actors/runtime store proto"
)

# A library's header and the files that may include it, as extended regular expressions.
libraries=(
    'zmq\.h' '^(broker|actors/runtime|cli)/'
    'msgpack(/.*)?\.h' '^proto/'
    'jansson\.h|jsmn\.h' '^tests/'
    'yaml\.h' '^actors/runtime/yaml_tree\.c$'
    'curl/.*' '^actors/runtime/(http[a-z_]*|smtp_client)\.[ch]$'
    'sodium\.h|xxhash\.h' '^proto/'
    'openssl/.*' '^edge/tls[a-z_]*\.[ch]$'
    'nghttp2/.*' '^edge/http2[a-z_]*\.[ch]$'
    'zlib\.h|brotli/.*' '^edge/compress\.c$'
    'lmdb\.h|libpq.*|postgresql/.*' '^store/'
    'liboath/.*' '^actors/auth/totp\.c$'
    'qrencode\.h' '^actors/auth/qr\.c$'
    'cmocka\.h' '^tests/'
)

any_library=
for ((i = 0; i < ${#libraries[@]}; i += 2)); do any_library+=${any_library:+|}${libraries[i]}; done

# Headers that are the inside of their room.
inside='^(process|config_internal|core_state|driver_state)\.h$'

failed=0
violation() {
    printf '%s\n' "$*"
    failed=1
}

room_of() { # sets room
    case $1 in
    actors/router/llm/*) room=actors/router/llm ;;
    actors/*)
        room=${1#actors/}
        room=actors/${room%%/*}
        ;;
    *) room=${1%%/*} ;;
    esac
}

check_library() { # FILE LINE HEADER
    local i
    [[ $3 =~ ^($any_library)$ ]] || return 0
    for ((i = 0; i < ${#libraries[@]}; i += 2)); do
        [[ $3 =~ ^(${libraries[i]})$ ]] || continue
        [[ $1 =~ ${libraries[i + 1]} || $1 == tests/* || $1 == docs/examples/* ]] ||
            violation "$1:$2: <$3> belongs in ${libraries[i + 1]}"
    done
}

check_own() { # FILE LINE HEADER
    local room folder
    room_of "$1"
    [[ $room == tests || $room == docs || -f ${1%/*}/$3 ]] && return
    if [[ -z ${may[$room]-} ]]; then
        violation "$1:$2: the room $room is not in the table of tests/lint/includes.sh"
        return
    fi
    for folder in ${may[$room]}; do
        [[ -f $folder/$3 ]] || continue
        [[ $folder == "$room" || ! $3 =~ $inside ]] ||
            violation "$1:$2: \"$3\" is the inside of $folder"
        return
    done
    violation "$1:$2: \"$3\" is not in a room that $room may include (${may[$room]})"
}

lines=0
while IFS=: read -r file line include; do
    lines=$((lines + 1))
    if [[ $include =~ \<(.*)\> ]]; then
        check_library "$file" "$line" "${BASH_REMATCH[1]}"
    elif [[ $include =~ \"(.*)\" ]]; then
        check_own "$file" "$line" "${BASH_REMATCH[1]}"
    fi
done < <(grep -rnE '^#include [<"]' --include='*.[ch]' --exclude-dir=node_modules proto store actors broker edge cli vectors tests docs 2>/dev/null)

[[ $lines -gt 0 ]] || violation "no file includes anything"

exit $failed
