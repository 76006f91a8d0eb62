#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make image: the Dockerfile, built and run by podman, as root. What it calls debian:12-slim is made here, by debootstrap from apt's mirror: no registry
# of images is asked. Images and volumes are below build/image, and go at the end but for that base.
#
# Happy path: every line is "ok", the last says how many. Failure modes: a step that fails is "not ok", with what it said, and ends it with status 1;
# what the build said is in build/image/build.log.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$PWD/build/image
mkdir -p "$dir"
[ "$(id -u)" = 0 ] || { echo 'make image: it takes root' >&2; exit 1; }

# Nothing of this is the host's own podman's.
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' "$dir" "$dir" >"$dir/storage.conf"
printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' >"$dir/containers.conf"
export CONTAINERS_STORAGE_CONF=$dir/storage.conf CONTAINERS_CONF=$dir/containers.conf
podman() { command podman --runtime runc "$@"; }
end() {
    podman rm --force --time 0 --all >/dev/null 2>&1 || true
    podman volume rm --all --force >/dev/null 2>&1 || true
    podman rmi --force isola >/dev/null 2>&1 || true
    rm -rf "$dir/source"
}
trap end EXIT

passed=0
step() { # NAME COMMAND…
    local name=$1 begun=$SECONDS status
    shift
    set +e # else it would not hold in the parentheses
    (set -e; "$@") >"$dir/step.log" 2>&1
    status=$?
    set -e
    if [ $status != 0 ]; then
        echo "not ok - $name"
        tail -n 30 "$dir/step.log" | sed 's/^/# /'
        exit 1
    fi
    passed=$((passed + 1))
    echo "ok - $name ($((SECONDS - begun)) s)"
}

base() {
    ! podman image exists docker.io/library/debian:12-slim || return 0
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' 'Label: Debian' | head -n 1)
    rm -rf "$dir/root"
    debootstrap --variant=minbase bookworm "$dir/root" $mirror
    cp -rT /usr/local/share/ca-certificates "$dir/root/usr/local/share/ca-certificates" # whom this host trusts besides: npm may have to pass a proxy
    tar -C "$dir/root" -c . | podman import --quiet - docker.io/library/debian:12-slim
    rm -rf "$dir/root"
}

# What is in the repository, as it is here: no more would be sent to an engine (.dockerignore).
build() {
    rm -rf "$dir/source"
    mkdir "$dir/source"
    git ls-files -z --cached --others --exclude-standard | xargs -0 tar -c | tar -x -C "$dir/source"
    podman build --isolation chroot --network host --format docker --tag isola "$dir/source" >"$dir/build.log" 2>&1 || { tail -n 30 "$dir/build.log"; return 1; }
}

# The limits are below those of here, which not every root may raise.
run() { podman run --detach --name east --network none --ulimit nofile=1024:8192 --ulimit nproc=4096:4096 --memory 1g --volume isola-east:/var/lib/isola isola --name east; }
ctl() { podman exec east ctl "$@"; }
is() { [ "$1" = "$2" ] || { echo "expected \"$1\", found \"$2\""; return 1; }; }
wait_for() { # SECONDS COMMAND…
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { "$@"; return 1; }
        sleep 0.2
    done
}
healthy() { podman healthcheck run east; }

started() {
    run
    wait_for 60 healthy
    is tini "$(podman exec east cat /proc/1/comm)"
    is isola "$(podman exec east id -un)"
    podman logs east 2>&1 | grep -q 'node-agent east is ready'
}
deployed() {
    ctl deploy /usr/share/doc/isola/examples/counter
    is 5 "$(ctl ask shop/Counter/kept add 5)"
    ctl ps | grep shop/Counter/kept
}
bounded() { # four fifths of the container's, not of the machine's
    podman exec east sh -c 'cat /proc/[0-9]*/cmdline | tr "\0" " "' | grep -q -- "--memory $((1024 * 1024 * 1024 / 5 * 4)) "
}
stopped() {
    local begun=$SECONDS
    podman stop --time 60 east
    is 0 "$(podman inspect --format '{{.State.ExitCode}}' east)"
    [ $((SECONDS - begun)) -lt 30 ]
    podman start east
    wait_for 60 healthy
    is 5 "$(ctl ask shop/Counter/kept get)"
}
killed() {
    is 6 "$(ctl ask shop/Counter/kept add 1)"
    podman kill --signal KILL east
    wait_for 20 sh -c '[ "$(podman inspect --format "{{.State.Running}}" east)" = false ]'
    podman start east
    wait_for 60 healthy
    is 6 "$(ctl ask shop/Counter/kept get)"
}
replaced() { # another container, the same volume
    podman rm --force east
    run
    wait_for 60 healthy
    is 6 "$(ctl ask shop/Counter/kept get)"
}

step 'a base image (debootstrap)' base
step 'the Dockerfile is built' build
step 'a container of it is healthy' started
step 'ctl in it deploys, and asks' deployed
step 'its actor-host keeps to the memory of the container' bounded
step 'stopped in order, and started: the state is there' stopped
step 'killed, and started: the state is there' killed
step 'another container with its volume has the state' replaced
echo "# all $passed are well"
