#!/bin/sh
# syntax.sh - in front of clang's commands: what it says of a source, without translating it; nothing is linked. What
# would be made is left empty, as the mark that this source was looked at.
case " $* " in *' -c '*) "$@" -fsyntax-only || exit ;; esac
for word; do
    [ "$before" = -o ] && : > "$word"
    before=$word
done
