#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Checks which folder includes what (docs and README: the dependency arrows point down only). Prints each line that breaks
# a rule and fails. `arrows.sh DIR` checks another tree, which is how the check itself is tested.
set -eu
cd "${1:-$(dirname "$0")/../..}"

includes=$(mktemp)
trap 'rm -f "$includes"' EXIT
for folder in base transport store scheduler actors node-agent cli; do
    [ -d "$folder" ] || continue
    find "$folder" \( -name '*.[ch]' -o -name '*.cc' -o -name '*.hh' \) -type f -exec \
        grep -nHE '^[[:space:]]*#[[:space:]]*include' {} + || true
done >"$includes"

# file:line:#include <header>
awk '
function bad(why) { printf "arrows: %s:%s: %s\n", file, line, why; failed = 1 }
{
    match($0, /^[^:]*:[0-9]+:/)
    split(substr($0, 1, RLENGTH), at, ":"); file = at[1]; line = at[2]
    if (!match($0, /[<"][^>"]+[>"]/)) next
    header = substr($0, RSTART + 1, RLENGTH - 2)
    folder = file; sub(/\/.*/, "", folder)
    n = split(header, part, "/"); leaf = part[n]; of = n > 1 ? part[1] : ""

    if (header ~ /(^|\/)\.\.\//) bad("\"" header "\" climbs out of its folder; include from the root of the project")
    if (of ~ /^(base|transport|store|scheduler|actors|node-agent|cli)$/ && of != folder && of != "base") {
        if (folder ~ /^(base|transport|store|scheduler|actors)$/)
            bad(folder "/ includes " header "; it may include base/ and its own headers only")
        else if (folder == "node-agent" && of == "cli")
            bad("node-agent/ includes " header "; nothing depends on cli/")
        else if (folder == "cli" && of == "node-agent")
            bad("cli/ includes " header "; it speaks to the agent over its socket only")
    }
    if (header ~ /^nng\//  && folder != "transport") bad(header ": only transport/ sees nng")
    if (leaf == "sqlite3.h" && folder != "store")    bad(header ": only store/ sees SQLite")
    if ((leaf ~ /^(node|node_api|node_buffer|js_native_api)\.h$/ || leaf ~ /^v8(-[a-z-]+)?\.h$/ || header ~ /^libplatform\//) &&
        file !~ /^(actors\/v8|node-agent\/actor-host)\// && of !~ /^(base|transport|store|scheduler|actors|node-agent|cli)$/)
        bad(header ": only actors/v8/ and node-agent/actor-host/ see V8 and Node.js")
}
END { exit failed }
' "$includes"
