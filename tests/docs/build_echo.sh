#!/usr/bin/env bash
# Builds the example actor as its comment says, against an installed libsamovar.
# Usage: build_echo.sh PREFIX SOURCE OUTPUT [SANITIZER]
set -eu
PKG_CONFIG_PATH=$(dirname "$(find "$1" -name samovar.pc)")
export PKG_CONFIG_PATH
cd "$2"
# shellcheck disable=SC2046
${CC:-cc} ${4:+-fsanitize=$4} -Wall -Wextra -I. $(pkg-config --cflags samovar) echo.c \
    $(pkg-config --libs samovar) "-Wl,-rpath,$(pkg-config --variable=libdir samovar)" -o "$3"
