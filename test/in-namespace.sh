#!/bin/bash
# in-namespace.sh COMMAND [ARG...] - run COMMAND on a host made of namespaces, and leave no trace of it.
#
# COMMAND believes that it is root on a small machine of its own: own links and firewall, own /run, own
# /var/lib/mydocker, own processes, own branch of the cgroup tree. Nothing that it does to links, rules, mounts,
# sysctls below net/ or cgroups reaches the real host, and all of it is gone when COMMAND ends, however it ends.
#
#   the "internet"                     the LAN neighbour                the host (where COMMAND runs)
#   203.0.113.9/32 ── on lo of ──>  netns "neighbour"  eth0 ═══════ eth0   10.99.0.1/24
#                                   10.99.0.2/24                         fd99::1/64, default via 10.99.0.2
#
# `ip netns exec neighbour CMD` is a command on the neighbour. The tests and `make demo` in CI run like this; a user's
# `make demo` does not.
set -euo pipefail

die() { echo "in-namespace.sh: $*" >&2; exit 125; }

outside() {
    (($#)) || die "usage: in-namespace.sh COMMAND [ARG...]"
    [[ $(id -u) == 0 ]] || die "namespaces for a whole host need root: try sudo $0 ..."
    for tool in unshare setpriv ip mount findmnt; do
        command -v "$tool" >/dev/null || die "$tool is missing: install util-linux and iproute2"
    done
    scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/mydocker-host.XXXXXX")
    groups=()
    trap clean_outside EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    make_groups
    export FAKE_HOST_SCRATCH=$scratch
    # A cgroup namespace hides the host's tree above our own groups; with cgroup v2 there are none (see make_groups).
    local cgroup=
    ((${#groups[@]})) && cgroup=--cgroup
    # --kill-child: the namespace's first process dies with unshare, and everything in a pid namespace with its first.
    (
        for group in ${groups[@]+"${groups[@]}"}; do echo "$BASHPID" >"$group/cgroup.procs"; done
        exec setpriv --pdeathsig KILL unshare --net --mount --pid $cgroup --fork --kill-child --propagation private \
            -- "${BASH_SOURCE[0]}" --inside "$@"
    ) <&0 &
    local status=0
    wait $! || status=$?
    exit "$status"
}

# A branch of our own in every cgroup v1 hierarchy, which the cgroup namespace then shows as if it were the root.
# A host with cgroup v2 alone has nothing to hide behind: there the product's own group /mydocker is used.
make_groups() {
    local target
    [[ $(findmnt -n -o FSTYPE /sys/fs/cgroup) == cgroup2 ]] && return
    while read -r target; do
        local group=$target/${scratch##*/}
        mkdir "$group"
        groups+=("$group")
        if [[ -e $group/cpuset.cpus ]]; then # a new cpuset takes no process before it has both
            cat "$target/cpuset.cpus" >"$group/cpuset.cpus"
            cat "$target/cpuset.mems" >"$group/cpuset.mems"
        fi
        if [[ -e $group/memory.use_hierarchy ]]; then echo 1 >"$group/memory.use_hierarchy" 2>/dev/null || :; fi
    done < <(findmnt -rn -t cgroup,cgroup2 -o TARGET | awk '!seen[$0]++')
}

clean_outside() {
    local group try
    for group in ${groups[@]+"${groups[@]}"}; do
        # What is frozen there (a paused container) dies when it is let go on.
        find "$group" -name freezer.state -exec sh -c 'for f; do echo THAWED >"$f"; done' - {} + 2>/dev/null || :
        for try in $(seq 100); do # the kernel empties a group a moment after its last process died
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || :
            [[ -d $group ]] || break
            sleep 0.1
        done
        [[ -d $group ]] && echo "in-namespace.sh: cgroup $group could not be removed" >&2
    done
    rm -rf --one-file-system "$scratch"
}

# From here on we are in the namespaces; whatever is mounted vanishes with them.
inside() {
    forget_others "$1"
    mount -t proc -o nosuid,nodev,noexec proc /proc
    mount_sys
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /run/netns /run/lock
    mount_lib "$FAKE_HOST_SCRATCH"
    # As systemd leaves it on real hosts: whatever is mounted in a copy of this table comes back here, unless it is made private.
    mount --make-rshared /

    ip link set lo up
    ip netns add neighbour
    ip link add eth0 type veth peer name eth0 netns neighbour
    ip addr add 10.99.0.1/24 dev eth0
    ip addr add fd99::1/64 dev eth0 nodad
    ip link set eth0 up
    ip -n neighbour link set lo up
    ip -n neighbour addr add 10.99.0.2/24 dev eth0
    ip -n neighbour addr add fd99::2/64 dev eth0 nodad
    ip -n neighbour addr add 203.0.113.9/32 dev lo
    ip -n neighbour link set eth0 up
    ip route add default via 10.99.0.2
    await_links

    export FAKE_HOST=1
    # Not exec: this shell is the first process of the pid namespace and buries orphans.
    local status=0
    "$@" <&0 || status=$?
    exit "$status"
}

# The kernel makes the carriers known, and the routes to IPv6 addresses, in the background: who looks at this host twice would see it change.
await_links() {
    for _ in $(seq 600); do
        [[ $(</sys/class/net/eth0/operstate) == up ]] && on_link '' fd99::1 && on_link '-n neighbour' fd99::2 && return
        sleep 0.1
    done
    die "eth0 has not come up within a minute"
}

on_link() { # WHERE ADDRESS
    # shellcheck disable=SC2086
    ip $1 -6 route show table local | grep -q "^local $2 dev eth0" && ip $1 -6 -o addr show dev eth0 | grep -q ' fe80'
}

# What others have mounted for a while in directories of theirs (a package manager, another test) would vanish from this host when they
# remove the directory. What we ourselves stand on stays.
forget_others() { # COMMAND
    local target ours
    findmnt -rn -o TARGET | grep -E '^/(tmp|var/tmp|run)/' | sort -r | while read -r target; do
        target=$(printf %b "$target")
        for ours in "$PWD" "$FAKE_HOST_SCRATCH" "${TMPDIR:-/tmp}" "$(realpath -m "$(command -v "$1")")"; do
            [[ $ours/ != "$target"/* ]] || continue 2
        done
        umount -l "$target" 2>/dev/null || : # vanished already
    done || :
}

# An own /var/lib/mydocker on the disk that the scratch directory is on. Where the real host has no directory of that
# name to mount it on, one is made in an overlay over /var/lib.
mount_lib() {
    mkdir "$1/lib" "$1/upper" "$1/work"
    [[ -d /var/lib/mydocker ]] ||
        mount -t overlay -o "lowerdir=/var/lib,upperdir=$1/upper,workdir=$1/work" overlay /var/lib
    mkdir -p /var/lib/mydocker
    mount --bind "$1/lib" /var/lib/mydocker
}

# /sys shows the links of the namespace in which it was mounted, so it is mounted anew, and the cgroup trees in it.
mount_sys() {
    local hierarchies target options
    if [[ $(findmnt -n -o FSTYPE /sys/fs/cgroup) == cgroup2 ]]; then
        umount -R -l /sys
        mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
        mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
        return
    fi
    hierarchies=$(findmnt -rn -t cgroup,cgroup2 -o TARGET,FSTYPE,FS-OPTIONS | awk '!seen[$1]++')
    umount -R -l /sys
    mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    while read -r target type options; do
        mkdir -p "$target"
        options=$(sed -E 's/(^|,)(rw|ro|seclabel|clone_children|release_agent=[^,]*)//g; s/^,//' <<<",$options")
        case $type:$options in
        cgroup2:*) options= ;;            # its options belong to the whole machine
        *name=*) options=none,$options ;; # a hierarchy without controllers, such as systemd's own
        esac
        mount -t "$type" -o "nosuid,nodev,noexec${options:+,$options}" "$type" "$target"
    done <<<"$hierarchies"
}

if [[ ${1-} == --inside ]]; then
    shift
    inside "$@"
else
    outside "$@"
fi
