#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs what building, running and testing need and this machine lacks: Debian packages, then the npm packages of
# package-lock.json into node_modules (the pinned Node.js runtime, esbuild, the data of the examples).
# `setup.sh test` installs the shells that ctl's completion is for, too, and the packages of the programs that the tests deploy, each
# beside its program: tests/programs, examples.
# `setup.sh bench` installs what the benchmarks need, too: Erlang, wrk, and from npm workerd, Moleculer and PM2 into
# tests/bench/peers, the packages of an app into tests/bench/packages.
# `setup.sh deb` installs what finds out what the Debian package depends on.
# `setup.sh vm` installs what makes and runs a virtual machine, too, and the packages of what is deployed there; `setup.sh image` what builds
# and runs an image.
# `setup.sh fuzz` installs clang, too, whose libFuzzer drives `make fuzz`.
#
# Happy path: everything is there, one dpkg-query and one checksum say so, nothing is printed.
# Failure modes: not root (prints the command to run, exits 1), a package that cannot be had, an npm that fails; each is
# said in a line, and the next run starts over from what is then missing.
# Invariants: a nodejs that is installed is never touched (Debian's npm comes only where there is no npm at all, and never
# at the price of removing a package); node_modules/.isola-lock holds the lock file's checksum only after `npm ci` succeeded.
set -eu

cd "$(dirname "$0")/.."
what=${1:-}
say() { printf 'setup: %s\n' "$*"; }
die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

packages() {
    cat <<END
build-essential     compiles the C and C++ sources
cmake               generates the build
ninja-build         runs it
pkgconf             finds the libraries
ccache              makes building again quick
clang-format        checks the format of the sources (make test)
libuv1-dev          event loop of agent and ctl
libnng-dev          network links between nodes
libsodium-dev       encryption between nodes, hashing of releases
libsqlite3-dev      the state of actors, the catalog of releases
libjansson-dev      JSON of manifests and of ctl
libcmocka-dev       the C tests (make test)
util-linux          nsenter and setpriv: hosts in network namespaces (make test)
libmsgpack-dev      a second opinion on msgpack in the tests
END
    [ "$what" != test ] || cat <<END
zsh                 completes what is typed (make test)
fish                the same (make test)
END
    [ "$what" != bench ] || cat <<END
erlang-base         a peer of the benchmarks (make bench)
wrk                 asks what serves HTTP (make bench)
END
    [ "$what" != deb ] || cat <<END
file                tells programs and libraries from other files (make deb)
dpkg-dev            finds the packages that they need (make deb)
END
    [ "$what" != vm ] || cat <<END
debootstrap         makes a Debian of its own (make vm)
e2fsprogs           puts it on a disk (make vm)
qemu-system-x86     is the machine (make vm)
qemu-utils          lets its disk be thrown away (make vm)
END
    [ "$what" != image ] || cat <<END
debootstrap         makes the image that others begin with (make image)
podman              builds and runs images (make image)
runc                runs them below groups of version 1, too (make image)
END
    [ "$what" != fuzz ] || cat <<END
clang-16            a compiler with libFuzzer that knows the C++ of V8's headers (make fuzz)
libclang-rt-16-dev  libFuzzer itself, and the sanitizers (make fuzz)
END
    command -v npm >/dev/null 2>&1 || cat <<END
npm                 installs the pinned Node.js runtime (there is no npm here)
ca-certificates     lets npm check whom it downloads from
END
}

log=
trap '[ -z "$log" ] || rm -f "$log"' EXIT

# --- Debian packages ---

if ! command -v dpkg-query >/dev/null 2>&1; then
    if ! command -v npm >/dev/null 2>&1 || ! command -v cmake >/dev/null 2>&1; then
        die "this is not Debian, so install by hand what corresponds to: $(packages | awk '{printf "%s ", $1}')"
    fi
    missing=
else
    wanted=$(packages | awk '{print $1}')
    # shellcheck disable=SC2086 # words on purpose
    have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^installed //p') || true
    missing=
    for p in $wanted; do
        case "
$have
" in *"
$p
"*) ;; *) missing="$missing $p" ;; esac
    done
fi

# Whether apt knows every missing package from its lists: on a fresh image it has none.
lists_known() {
    for p in $missing; do
        apt-cache policy "$p" 2>/dev/null | grep -q 'Candidate: [^(]' || return 1
    done
}

apt_install() {
    # shellcheck disable=SC2086 # words on purpose
    apt-get -q -y --no-install-recommends --no-remove install $missing
}

if [ -n "$missing" ]; then
    say 'Debian packages to install:'
    for p in $missing; do
        packages | awk -v p="$p" '$1 == p { line = $0; sub(/^[^ ]+ +/, "", line); printf "  %-16s %s\n", p, line }'
    done
    if [ "$(id -u)" != 0 ]; then
        update=
        lists_known || update='apt-get update && '
        as_root='sudo sh -c'
        command -v sudo >/dev/null 2>&1 || as_root='su -c'
        die "that takes root. Run this, then make again:
  $as_root '${update}apt-get install -y --no-install-recommends --no-remove$missing'"
    fi
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    fresh=
    if ! lists_known; then
        say 'fetching the package lists (apt-get update)'
        apt-get -q update >"$log" 2>&1 || { tail -n 20 "$log" >&2; die 'apt-get update failed: see above'; }
        fresh=yes
    fi
    say 'installing them (apt-get install), which may take some minutes'
    if ! apt_install >"$log" 2>&1; then
        # Old lists name files that the mirror no longer has.
        if [ -z "$fresh" ]; then
            say 'the package lists may be old: fetching them (apt-get update)'
            apt-get -q update >"$log" 2>&1 || true
        fi
        apt_install >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "apt-get install$missing failed: see above"; }
    fi
fi

# --- npm packages ---

case "$(uname -m)" in
x86_64 | amd64) arch=x64 ;;
aarch64 | arm64) arch=arm64 ;;
*) die "there is no pinned Node.js runtime for $(uname -m): x86-64 and arm64 only" ;;
esac
node=node_modules/node-linux-$arch/bin/node
stamp=node_modules/.isola-lock
sum="$(cat package.json package-lock.json .npmrc | sha256sum) $arch"

current() { [ -x "$node" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; }

if ! current; then
    exec 9<package-lock.json
    flock 9 # two makes at once: the second finds everything done
    if ! current; then
        say "npm packages into node_modules (npm ci), versions and checksums from package-lock.json:"
        say "  node-linux-$arch  the pinned Node.js runtime: V8 and libuv for actor-host"
        say '  esbuild  bundles apps (ctl deploy)'
        say '  events, urlpattern-polyfill  EventEmitter and URLPattern inside isolates'
        say '  vega-datasets  real flights for examples/airports'
        say '  lodash, hono, zod and others  packages that the tests run inside isolates'
        log=${log:-$(mktemp)}
        npm ci --loglevel=error >"$log" 2>&1 || {
            head -n 15 "$log" >&2
            die 'npm ci failed: see above'
        }
        [ -x "$node" ] || die "npm ci did not bring $node: does package-lock.json belong to package.json?"
        printf '%s' "$sum" >"$stamp"
    fi
fi

# --- npm packages of programs of their own, apart from the rest ---

# apart DIR WHAT: those of DIR/package-lock.json into DIR/node_modules
apart() {
    dir=$1
    stamp=node_modules/.isola-locks/$(printf '%s' "$dir" | tr / -)
    sum="$(cat "$dir/package.json" "$dir/package-lock.json" | sha256sum) $arch"
    [ ! -d "$dir/node_modules" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$sum" ] || return 0
    exec 9<"$dir/package-lock.json"
    flock 9 # as above
    [ ! -d "$dir/node_modules" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$sum" ] || return 0
    say "$2 into $dir/node_modules (npm ci)"
    log=${log:-$(mktemp)}
    (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error) >"$log" 2>&1 || {
        head -n 15 "$log" >&2
        die "npm ci in $dir failed: see above"
    }
    mkdir -p node_modules/.isola-locks
    printf '%s' "$sum" >"$stamp"
}

case "$what" in
bench)
    for dir in tests/bench/peers/*/; do
        apart "${dir%/}" 'a peer of the benchmarks'
    done
    apart tests/bench/packages 'fifty packages of an app of the benchmarks'
    for dir in examples/express-users tests/programs/commonjs; do
        apart $dir 'packages of a program of the benchmarks'
    done
    ;;
vm)
    apart examples/express-users 'packages of a program for the virtual machine'
    ;;
test)
    for lock in tests/programs/*/package-lock.json examples/*/package-lock.json; do
        apart "${lock%/package-lock.json}" 'packages of a program that the tests deploy'
    done
    ;;
esac
