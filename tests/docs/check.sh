#!/bin/sh
# Generated pages equal what the tables say. Usage: check.sh GEN_DOCS DOCS [--write]
gen=$1 docs=$2 rc=0
for page in messages errors limits routes; do
    if [ "${3:-}" = --write ]; then
        "$gen" $page > "$docs/$page.md"
    elif ! "$gen" $page | diff -u "$docs/$page.md" - ; then
        echo "docs/$page.md is out of date: run tests/docs/check.sh $gen docs --write"
        rc=1
    fi
done
exit $rc
