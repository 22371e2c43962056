#!/bin/bash
# Runs the OCI's 58 validation programs against a runtime, and asks runc and crun about those that fail: a program that
# passes under one of them on this very host must pass here too. Some two minutes.
#
#   test/conformance/run.sh RUNTIME [PROGRAM...]
#
# A line for each program; the exit status is 1 when one fails that a judge passes, or that docs/oci-conformance.md does
# not explain. The programs leak mounts, so each gets a mount namespace, and a network namespace, of its own. Of the host
# only the groups that they make, and remove, below the cgroup hierarchy are touched.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
explained=$here/../../docs/oci-conformance.md
runtime=$(realpath -s "$(command -v "$1")")
shift
for judge in runc crun; do
    command -v $judge >/dev/null || { echo "run.sh: $judge is missing: test/install-deps.sh" >&2; exit 2; }
done

out=$(mktemp -d "${TMPDIR:-/tmp}/conformance.XXXXXX")
trap 'rm -rf --one-file-system "$out"' EXIT
mkdir "$out/bin" "$out/tmp"
chmod 755 "$out" # a user of a user namespace has to find its bundle
tools=$(cd "$here" && go list -m -f '{{.Dir}}' github.com/opencontainers/runtime-tools 2>/dev/null)
if [[ -z $tools ]]; then
    (cd "$here" && go mod download github.com/opencontainers/runtime-tools)
    tools=$(cd "$here" && go list -m -f '{{.Dir}}' github.com/opencontainers/runtime-tools)
fi
(cd "$here" && CGO_ENABLED=0 go build -o "$out/bin/" github.com/opencontainers/runtime-tools/validation/... \
    github.com/opencontainers/runtime-tools/cmd/runtimetest)
cp "$tools"/rootfs-*.tar.gz "$out/bin/"

# one RUNTIME PROGRAM: its output in $out/log. A program fails by "not ok" at the beginning of a line (TAP), or by its
# exit status.
one() {
    local status=0 v1=
    [[ ${1##*/} == crun ]] && v1=yes # Debian's crun refuses a hybrid hierarchy: it is shown the v1 controllers only
    unshare --mount --net --propagation private bash -c '
        ip link set lo up
        if [[ $2 && $(stat -f -c %T /sys/fs/cgroup) != cgroup2fs ]]; then
            umount /sys/fs/cgroup/unified /sys/fs/cgroup/systemd 2>/dev/null || :
        fi
        mount -t tmpfs tmpfs "$1/tmp" && cd "$1/bin" && TMPDIR=$1/tmp RUNTIME=$3 exec timeout -k 5 300 "./$4"
    ' bash "$out" "$v1" "$1" "$2" >"$out/log" 2>&1 </dev/null || status=$?
    ((status == 0)) && ! grep -q '^not ok' "$out/log"
}

(($#)) || set -- $(cd "$out/bin" && ls | grep -v -e '^runtimetest$' -e '^rootfs-')
bad=0 passed=0 total=0
for program in "$@"; do
    total=$((total + 1))
    if one "$runtime" "$program"; then
        passed=$((passed + 1))
        echo "ok        $program"
        continue
    fi
    why=$(grep -m1 '^not ok' "$out/log" || tail -n1 "$out/log")
    judges=
    for judge in runc crun; do # twice: pidfile kills a process that ends at once, and everybody is in time for that now and then
        one "$(command -v $judge)" "$program" && one "$(command -v $judge)" "$program" && judges+=" $judge"
    done
    # What passes elsewhere gets one more try.
    if [[ $judges ]] && one "$runtime" "$program"; then
        passed=$((passed + 1))
        echo "ok        $program (the second time)"
    elif [[ $judges ]]; then
        bad=1
        echo "FAIL      $program passes under$judges: $why"
        sed 's/^/          /' "$out/log"
    elif grep -q "^| .*\b$program\b.* |" "$explained"; then
        echo "explained $program, as under runc and crun: $why"
    elif one "$runtime" "$program" || one "$runtime" "$program"; then
        # killsig sends signals to a shell that on a busy machine has not come to its trap yet, whoever started it.
        passed=$((passed + 1))
        echo "ok        $program (the machine was busy: $why)"
    else
        bad=1
        echo "FAIL      $program, as under runc and crun, but docs/oci-conformance.md does not say why: $why"
    fi
done
echo "$passed of $total pass"
exit $bad
