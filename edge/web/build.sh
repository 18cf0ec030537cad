#!/usr/bin/env bash
# build.sh - makes the folder of edge.web_dir: pages, their parts named by what is in them, and the
# viewer of the API reference; everything also as brotli and gzip.
# Usage: build.sh OUT          needs npm, brotli and gzip
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(realpath -m "${1:?build.sh OUT}")
mkdir -p "$(dirname "$out")"
work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT

for command in npm brotli gzip; do
    command -v $command >/dev/null || { echo "build.sh: $command is missing (Debian package $command)" >&2; exit 1; }
done

viewer=yes
# The viewer; only when the lock file says that it is another. Builds may run side by side.
(
    flock 9
    cd "$here"
    cmp -s package-lock.json node_modules/.samovar-lock || {
        npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2 &&
            cp package-lock.json node_modules/.samovar-lock
    }
) 9<"$here/package-lock.json" || viewer=no

cp -r "$here"/*.html "$here/assets" "$here/docs" "$work"
[[ $viewer == yes ]] || {
    echo "build.sh: npm could not fetch the viewer of the API reference; /docs says so" >&2
    rm -r "$work/docs"
    cp "$here/no-viewer.html" "$work/docs.html"
    touch "$work/.no-viewer" # dev tries again next time
}
rm "$work/no-viewer.html"
[[ $viewer == no ]] || for file in swagger-ui-bundle.js swagger-ui.css; do
    # Its source map is not served.
    sed '/^\/[/*]# sourceMappingURL=/d' "$here/node_modules/swagger-ui-dist/$file" >"$work/docs/$file"
done
[[ $viewer == no ]] || {
    cp "$here/node_modules/swagger-ui-dist/LICENSE" "$work/docs/LICENSE.txt"
    cp "$here/node_modules/swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt" "$work/docs/"
}

# A file gets its name when all that it names have theirs: modules import each other by ./NAME.
cd "$work"
mapfile -t left < <(find assets docs -type f ! -name '*.txt' 2>/dev/null | sort)
while [[ ${#left[@]} -gt 0 ]]; do
    later=()
    for file in "${left[@]}"; do
        base=${file##*/}
        waits=0
        for other in "${left[@]}"; do
            [[ $other != "$file" ]] && grep -qF -e "'./${other##*/}'" -e "'/$other'" "$file" && waits=1
        done
        if [[ $waits -eq 1 ]]; then
            later+=("$file")
            continue
        fi
        hash=$(sha256sum "$file" | cut -c1-16)
        named=${base%.*}.$hash.${base##*.}
        mv "$file" "${file%/*}/$named"
        grep -rlF -e "$base" --include='*.html' --include='*.js' . | grep -v swagger-ui-bundle |
            xargs -r sed -i -e "s|'\./${base//./\\.}'|'./$named'|g" -e "s|\([\"']\)/${file//./\\.}\([\"']\)|\1/${file%/*}/$named\2|g"
    done
    [[ ${#later[@]} -lt ${#left[@]} ]] || { echo "build.sh: files import each other: ${later[*]}" >&2; exit 1; }
    left=("${later[@]}")
done

find . -type f \( -name '*.html' -o -name '*.js' -o -name '*.css' -o -name '*.svg' \) -print0 |
    xargs -0 -P2 -I{} sh -c 'brotli -q 11 -k "$1" && gzip -9 -n -k "$1"' sh {}
chmod -R u=rwX,go=rX .
rm -rf "$out"
mv "$work" "$out"
