#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What is tried on a machine with a systemd, as root there, each time it boots: run.mjs says on the kernel's command line which part it is. Lines
# that begin with "ok", "not ok" or "#" are results; "kill N" asks for the power to be cut, when N is what was acknowledged last.
#
# Happy path: every check is a function that ends with 0; the machine is switched off, or boots again, when the part is through.
# Failure modes: a check that fails shows what it said; one that hangs is cut off; the parts after it go on.
set -uo pipefail
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive PAGER=cat SYSTEMD_PAGER=
exec 3>&1
cd /root

word() { sed -n "s/.*isola\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
note() { sed 's/^/# /' >&3; }
alice() { runuser -u alice -- env -C /home/alice HOME=/home/alice "$@"; }
property() { systemctl show --property "$1" --value isola; }
has() { # TEXT FILE|-: or it says what there is instead
    local text
    text=$(cat "$2")
    [[ $text == *"$1"* ]] || { printf 'no "%s" in:\n%s\n' "$1" "$text"; return 1; }
}
lacks() { # PATTERN FILE|-
    local found
    ! found=$(grep -E -e "$1" "$2") || { printf 'there is "%s":\n%s\n' "$1" "$found"; return 1; }
}
is() { # EXPECTED ACTUAL
    [ "$1" = "$2" ] || { printf 'expected "%s", found "%s"\n' "$1" "$2"; return 1; }
}
wait_for() { # SECONDS COMMAND…
    local end=$((SECONDS + $1)) said
    shift
    until said=$("$@" 2>&1); do
        [ $SECONDS -lt $end ] || { printf 'not in time: %s\n%s\n' "$*" "$said"; return 1; }
        sleep 0.1
    done
}
check() { # NAME COMMAND…
    local name=$1 said status begun=$SECONDS
    shift
    said=$(set -e; "$@" 2>&1)
    status=$?
    if [ $status = 0 ]; then echo "ok - $name ($((SECONDS - begun)) s)"; else
        echo "not ok - $name: status $status"
        note <<<"$said"
        journalctl -u isola --lines 20 --no-hostname 2>&1 | note
    fi
}

group=/sys/fs/cgroup/system.slice/isola.service
of_service() { echo "$group/service-limits.$1.0-"*; }
active() { is active "$(systemctl is-active isola)"; }
answers() { curl -fsS --max-time 5 localhost:3000/users >/dev/null; }
count() { alice ctl ask "shop/Counter/$1" get; }

# --- the package, and its service ---

install() {
    apt-get -q -y --no-install-recommends install /vm/isola.deb >apt.log 2>&1 || { cat apt.log; return 1; }
    lacks '^[WE]:|warning|rror' apt.log
}

begun() {
    active
    is enabled "$(systemctl is-enabled isola)"
    is 'node vm in no cluster' "$(property StatusText)"
    is notify "$(property Type)"
    systemctl status isola --lines 20 | note
}

settled() { # the unit is as its author meant it, for the systemd that is here
    systemd-analyze verify /lib/systemd/system/isola.service
    systemd-analyze security isola --no-pager | tail -n 1 | note
    systemd-analyze security isola --no-pager --threshold=25 >/dev/null
}

socket() {
    useradd --create-home --shell /bin/bash alice
    ! alice ctl ps >refused 2>&1
    note <refused
    has '/run/isola/agent.sock' refused
    ctl ps # root may
    sed -i 's/^ISOLA_OPTIONS=.*/ISOLA_OPTIONS="--socket-group isola"/' /etc/default/isola
    adduser --quiet alice isola
    systemctl restart isola
    alice ctl nodes
}

deploy() {
    cp -r /vm/apps /home/alice/
    chown -R alice: /home/alice/apps
    alice ctl deploy /usr/share/doc/isola/examples/counter
    is 5 "$(alice ctl ask shop/Counter/kept add 5)"
    alice ctl deploy --wait apps/users | note
    answers
    alice ctl deploy apps/limits
    wait_for 120 all_run
    alice ctl ps | note
}

journal() {
    journalctl -u isola --output cat --no-hostname >journal
    journalctl -u isola --no-hostname | tail -n 12 | note
    lacks '^<[0-7]>|^[0-9]{4}-[0-9]{2}' journal # systemd has both, once
    lacks 'rror' journal
}

all_run() { is 4 "$(alice ctl ps limits | grep -c ' running ')"; }

# --- control groups ---

groups() {
    systemd-cgls --no-pager /system.slice/isola.service | note
    is 'cpu memory' "$(tr ' ' '\n' <$group/cgroup.subtree_control | grep -Ex 'cpu|memory' | sort | xargs)"
    is "$((96 << 20))" "$(cat "$(of_service Hungry)/memory.max")"
    is '25000 100000' "$(cat "$(of_service Busy)/cpu.max")"
    grep -qx "$(property MainPID)" $group/node/cgroup.procs
}

hungry_again() { alice ctl ps limits | grep -E '^limits/Hungry/0 .* running .* 1  +[0-9a-f]{16}$'; }

memory() {
    alice ctl ask limits/Hungry/0 eat 20
    ! alice ctl ask limits/Hungry/0 eat 300 >eaten 2>&1
    note <eaten
    wait_for 60 hungry_again
    alice ctl ps limits >ps
    note <ps
    has ', and was started again: it used more than its 96 MB ("memory")' ps
    alice ctl logs limits/Hungry/0 >logs
    has 'it used more than its 96 MB ("memory")' logs
    journalctl -k --output cat >kernel
    has 'Memory cgroup out of memory' kernel
    answers # nobody else was ended
    is 5 "$(count kept)"
    active
}

busy() {
    local dir from to begun took
    dir=$(of_service Busy)
    alice ctl emit limits/Busy/0 spin
    wait_for 60 grep -Eq '^nr_throttled [1-9]' "$dir/cpu.stat"
    begun=$(date +%s%N) from=$(awk '/^usage_usec/ { print $2 }' "$dir/cpu.stat")
    sleep 4 # how much it gets in a time is what is measured
    took=$((($(date +%s%N) - begun) / 1000)) to=$(awk '/^usage_usec/ { print $2 }' "$dir/cpu.stat")
    local share=$(((to - from) * 1000 / took))
    note <<<"of a processor it may have 0.250, and got 0.$(printf %03d $share)"
    [ $share -gt 200 ] && [ $share -lt 275 ]
    alice ctl restart --wait limits/Busy
}

gone() { # with the instance its group, with the unit all of it
    alice ctl stop limits/Busy
    wait_for 60 sh -c "! ls -d $group/service-limits.Busy.*"
    alice ctl restart --wait limits/Busy
    systemctl stop isola
    [ ! -e $group ] || { find $group -name cgroup.procs; return 1; }
    lacks . <(pgrep -u isola -a)
    [ ! -e /run/isola ]
    systemctl start isola
    wait_for 120 answers
}

# --- what it may not ---

sandbox() {
    alice ctl --json ask limits/Nosy/0 try | tr -d '{}"' | tr ',' '\n' >tries
    note <tries
    local what
    for what in /usr /etc /var/lib /sys /proc/sys 'another group'; do grep -qE "^$what:(EROFS|EACCES|EPERM)\$" tries || { echo "$what"; return 1; }; done
    for what in /home /root 'the disk' 'other processes' mount namespaces sudo setuid; do lacks "^$what:(done|seen)$" tries; done
    has 'its directory:done' tries
    has '/tmp:done' tries
    [ ! -e /tmp/nosy ] # its own /tmp
}

# --- ends ---

changed() { [ "$(property MainPID)" != "$1" ] && active && [ "$(property MainPID)" != 0 ]; }

killed() {
    local pid
    pid=$(property MainPID)
    kill -9 "$pid"
    wait_for 60 changed "$pid"
    is 5 "$(count kept)"
    wait_for 120 answers
    wait_for 120 all_run
    is "$((96 << 20))" "$(cat "$(of_service Hungry)/memory.max")"
    is 1 "$(property NRestarts)"
}

host_killed() {
    local pid
    pid=$(property MainPID)
    pkill -9 -P "$pid" -f actor-host
    wait_for 60 sh -c '[ "$(ctl ask shop/Counter/kept get)" = 5 ]'
    is "$pid" "$(property MainPID)"
}

stuck() { # for as long as its watchdog allows
    local pid
    mkdir -p /run/systemd/system/isola.service.d
    printf '[Service]\nWatchdogSec=4\nTimeoutAbortSec=2\n' >/run/systemd/system/isola.service.d/soon.conf
    systemctl daemon-reload
    systemctl restart isola
    pid=$(property MainPID)
    sleep 9 # it is not ended that says it is well
    is "$pid" "$(property MainPID)"
    kill -STOP "$pid"
    wait_for 60 changed "$pid"
    rm -r /run/systemd/system/isola.service.d
    systemctl daemon-reload
    systemctl restart isola
    is 5 "$(count kept)"
    wait_for 120 answers
}

drained() { # a request that is under way is answered before the service ends
    local begun=$SECONDS pid
    curl -sS --max-time 60 localhost:3100/last >last 2>&1 &
    pid=$!
    wait_for 60 sh -c 'ctl logs limits/Slow | grep -q "asked for /last"'
    systemctl stop isola
    wait $pid
    is well "$(cat last)"
    is success "$(property Result)"
    [ $((SECONDS - begun)) -lt 20 ]
    systemctl start isola
    wait_for 120 answers
}

# --- another version, under load ---

load() { # ACTOR: adds one by one until `stop` is there; "ATTEMPTS ACKNOWLEDGED LONGEST-GAP-MS" in load.ACTOR
    local n=0 all=0 gap=0 at now
    at=$(date +%s%N)
    while [ ! -e stop ]; do
        all=$((all + 1))
        if alice ctl ask "shop/Counter/$1" add 1 >/dev/null 2>>"load.$1.errors"; then
            n=$((n + 1)) now=$(date +%s%N)
            [ $(((now - at) / 1000000)) -le $gap ] || gap=$(((now - at) / 1000000))
            at=$now
        fi
        echo "$all $n $gap" >"load.$1.new" && mv "load.$1.new" "load.$1"
    done
}

upgrade() {
    local pid all n gap kept
    rm -f stop
    load upgrade >/dev/null 2>&1 &
    pid=$!
    trap 'touch stop' EXIT
    wait_for 120 sh -c '[ "$(cut -d" " -f2 load.upgrade)" -gt 20 ]'
    apt-get -q -y --no-install-recommends install /vm/isola_next.deb >apt.log 2>&1 || { cat apt.log; return 1; }
    lacks '^[WE]:|warning|rror' apt.log
    read -r all n gap <load.upgrade
    wait_for 120 sh -c "[ \$(cut -d' ' -f2 load.upgrade) -gt $((n + 20)) ]"
    touch stop
    wait $pid
    read -r all n gap <load.upgrade
    kept=$(count upgrade)
    note <<<"$all asked, $n acknowledged, $kept there; without an answer for $gap ms"
    sort load.upgrade.errors | uniq -c | sort -rn | head -n 5 | note
    [ "$kept" -ge "$n" ] && [ "$kept" -le "$all" ]
    active
    grep -q -- '--socket-group isola' /etc/default/isola
    is 5 "$(count kept)"
    wait_for 120 answers
    has '.next' <(dpkg-query -W isola)
}

# --- after a boot ---

booted() {
    wait_for 120 active
    is 5 "$(count kept)"
    wait_for 120 answers
    journalctl -b -u isola --no-hostname --output short-monotonic | head -n 8 | note
}

acknowledged() { # what the machine has said before its power was cut
    local last kept
    last=$(word acked)
    kept=$(count power)
    note <<<"$last were acknowledged, $kept are there"
    [ "$kept" -ge "$last" ] && [ "$kept" -le $((last + 1)) ]
}

# --- its end ---

removed() {
    apt-get -q -y remove isola >apt.log 2>&1 || { cat apt.log; return 1; }
    lacks '^[WE]:|warning|rror' apt.log
    [ ! -e /usr/bin/ctl ] && [ ! -e /usr/lib/isola ] && [ ! -e $group ] && [ ! -e /run/isola ]
    lacks . <(pgrep -u isola -a)
    [ -f /var/lib/isola/catalog.db ] && [ -f /etc/default/isola ]
    { systemctl is-enabled isola || true; } 2>&1 | note
    apt-get -q -y --no-install-recommends install /vm/isola.deb >apt.log 2>&1 || { cat apt.log; return 1; }
    active
    is 5 "$(count kept)"
}

purged() {
    apt-get -q -y purge isola >apt.log 2>&1 || { cat apt.log; return 1; }
    lacks '^[WE]:|warning|rror' apt.log
    lacks . <(find / -xdev \( -user isola -o -iname '*isola*' \) -not -path '/proc/*' -not -path '/vm/*' -not -path '/home/*' \
        -not -path '/var/log/journal/*' -not -name 'isola-vm.service')
    is not-found "$(systemctl show --property LoadState --value isola)"
    lacks . <(systemctl --failed --no-legend)
}

case $(word part) in
shell) exec bash -i </dev/ttyS1 ;; # to look around; see run.mjs
first)
    check 'apt installs the package, and what it needs' install
    check 'the service is active, through sd_notify' begun
    check 'systemd has nothing to say about the unit' settled
    check 'the socket: for root, then for members of a group' socket
    check 'apps are deployed by a member of the group' deploy
    check 'the journal reads well' journal
    check 'each service has a control group' groups
    check 'a service that uses up its memory is ended, and started again' memory
    check 'a service gets the processors it may have' busy
    check 'nothing is left of a service that was stopped, nor of the unit' gone
    check 'what the unit forbids' sandbox
    check 'an agent that is killed is started again' killed
    check 'an actor-host that is killed is started again' host_killed
    check 'an agent that is stuck is started again' stuck
    check 'a stop lets requests end' drained
    check 'another version is installed under load' upgrade
    echo end
    systemctl reboot
    ;;
power)
    check 'the service is there after a boot, and all state' booted
    n=0
    while n=$(alice ctl ask shop/Counter/power add 1); do echo "kill $n"; done
    echo 'not ok - acknowledged writes until the power is cut'
    systemctl poweroff
    ;;
last)
    check 'the service is there after the power was cut' booted
    check 'what was acknowledged is there' acknowledged
    check 'what apt remove leaves is found again' removed
    check 'apt purge leaves nothing' purged
    echo end
    systemctl poweroff
    ;;
esac
