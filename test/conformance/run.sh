#!/bin/sh
# Runs the OCI runtime validation programs against a runtime and prints one line for each: name, ok or FAIL, why.
#
#   test/conformance/run.sh RUNTIME [OUTPUT-DIRECTORY]
#
# The programs leak mounts, so they get a mount namespace (and a network namespace) of their own. Nothing of the host
# but the groups that they make, and remove, below the cgroup hierarchy is touched.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
runtime=$(command -v "$1")
out=${2:-$(mktemp -d)}
mkdir -p "$out/bin" "$out/log" "$out/tmp"
if [ ! -x "$out/bin/runtimetest" ]; then
	cd "$here"
	CGO_ENABLED=0 go build -o "$out/bin/" github.com/opencontainers/runtime-tools/validation/... \
		github.com/opencontainers/runtime-tools/cmd/runtimetest
fi
tools=$(cd "$here" && go list -m -f '{{.Dir}}' github.com/opencontainers/runtime-tools)
cp -f "$tools"/rootfs-*.tar.gz "$out/bin/"
chmod u+w "$out"/bin/rootfs-*

one() {
	# A word that begins a line of a TAP report: "not ok 3 - …". Programs also fail by their exit status, or by "panic".
	status=0
	unshare --mount --net --propagation private sh -c '
		ip link set lo up
		[ -z "$2" ] || umount /sys/fs/cgroup/unified 2>/dev/null || true
		mount -t tmpfs tmpfs "$1/tmp" && cd "$1/bin" && TMPDIR="$1/tmp" RUNTIME="$3" exec timeout -k 5 60 "./$4"
	' sh "$out" "${V1_ONLY:-}" "$runtime" "$1" >"$out/log/$1" 2>&1 </dev/null || status=$?
	if [ $status = 0 ] && ! grep -q '^not ok' "$out/log/$1"; then
		echo "$1 ok"
	else
		echo "$1 FAIL status $status: $(grep -m1 '^not ok' "$out/log/$1" || tail -n1 "$out/log/$1")"
	fi
}

for program in "$out"/bin/*; do
	name=$(basename "$program")
	case $name in runtimetest | rootfs-*) continue ;; esac
	one "$name"
done
