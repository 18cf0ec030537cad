#!/usr/bin/env bash
# Accounts, sessions, keys and files under faults and load, as their users see it over HTTP: processes that are
# killed or stand still, a full disk, far too many clients, garbage, edges that end.
# Usage: identity_faults.sh [kill|full|still|drain|load]; without a word all but load, which takes the whole machine.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
HERE=$ROOT/tests/integration
export WORK BIN

play() { # play NAME [args]: runs identity_NAME.mjs and counts its checks
    local name=$1 t0; shift
    t0=$(now_ms)
    URL=$URL timeout 150 node "$HERE/identity_$name.mjs" "$@" > "$WORK/$name.out" 2>&1
    local rc=$?
    cat "$WORK/$name.out" >&3
    CHECKS=$((CHECKS + $(grep -c '^ok  \|^FAIL' "$WORK/$name.out")))
    FAILED=$((FAILED + $(grep -c '^FAIL' "$WORK/$name.out")))
    echo "  $name took $(($(now_ms) - t0)) ms" >&3
    [ $rc -eq 0 ] || { echo "FAIL $name ended with $rc"; FAILED=$((FAILED + 1)); }
}
COMMON="SAMOVAR_SUPERVISOR_EDGES=2 SAMOVAR_SUPERVISOR_RESTARTS=1000 SAMOVAR_AUTH_REGISTRATION=open SAMOVAR_AUTH_PASSWORD_MEMORY=19922944 SAMOVAR_EDGE_TRUSTED_PROXIES=127.0.0.1"
admin() { # the first administrator
    echo 'seven calm otters' | "$BIN/samovar" user add root@example.org --admin --password-stdin > /dev/null 2>&1
}
sanitizer() { hasnt "$(grep -aE 'Sanitizer|runtime error' "$WORK/up.log")" "rror"; }
ONLY=${1:-}
only() { if [ -z "$ONLY" ]; then [ "$1" != load ]; else [ "$ONLY" = "$1" ]; fi; }

# ---- kill -9 ----
if only kill; then
    platform_up $COMMON SAMOVAR_LIMITS_SCALE=1000
    check "an administrator" admin
    play kill
    check "ends in time" platform_down
fi

# ---- a full disk: one on which auth could keep room for itself, one on which it could not ----
full() { # full MIB HOW
    if ! mount -t tmpfs -o "size=$1m" tmpfs "$WORK/small" 2>/dev/null; then
        echo "skip: a full disk, mounting is not allowed here"
        return
    fi
    local where=$SAMOVAR_DATA
    SAMOVAR_DATA=$WORK/small/data
    mkdir "$SAMOVAR_DATA"
    platform_up $COMMON SAMOVAR_LIMITS_SCALE=1000
    admin
    play full "$2"
    check "ends in time" platform_down
    umount "$WORK/small"
    SAMOVAR_DATA=$where
}
if only full; then
    mkdir "$WORK/small"
    full 24 short
    full 64 kept
fi

# ---- processes that stand still, with limits as they are ----
if only still; then
    platform_up $COMMON SAMOVAR_LIMITS_FREE_MINUTE=100000 SAMOVAR_BUS_LOST_MS=2s
    admin
    play still 4
    check "ends in time" platform_down
fi

# ---- ten times too much ----
if only load; then
    grow=96
    grep -q __asan_init "$BIN/samovar-edge" && grow=500 # freed memory stays in quarantine
    platform_up $COMMON SAMOVAR_LIMITS_SCALE=1000 SAMOVAR_EDGE_EVENTS_PER_USER=100000
    admin
    play load $grow
    play garbage
    check "ends in time" platform_down
fi

# ---- the end of an edge, and of all ----
if only drain; then
    platform_up $COMMON SAMOVAR_LIMITS_SCALE=1000 SAMOVAR_EDGE_EVENTS_PER_USER=1000 SAMOVAR_ROUTER_DEMO_DELAY_MS=50
    admin
    play drain "$SUP"
    wait_gone "$SUP" 15 && SUP=''
fi

check "no sanitizer report" sanitizer
