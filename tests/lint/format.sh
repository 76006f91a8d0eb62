#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Fails, naming file and line, when a C or C++ source is not as clang-format would write it. `make format` mends it.
set -eu
cd "$(dirname "$0")/../.."

list=$(mktemp)
trap 'rm -f "$list"' EXIT
find base transport store scheduler actors node-agent cli tests -name node_modules -prune -o \( -name '*.[ch]' -o -name '*.cc' -o -name '*.hh' \) -type f -print >"$list"
[ -s "$list" ] || { echo 'format: no sources found' >&2; exit 1; }
xargs clang-format --dry-run -Werror --ferror-limit=3 <"$list" || {
    echo 'format: not formatted as .clang-format says; run: make format' >&2
    exit 1
}
