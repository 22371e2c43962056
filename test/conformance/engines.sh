#!/bin/sh
# Lets real engines drive mydocker-runtime: podman, containerd and Docker, each where it is installed.
#
#   test/conformance/engines.sh RUNTIME [podman|containerd|docker]...
#
# It starts itself again in a mount and a network namespace of its own, with empty /run and data directories, so that no
# engine of the host is met and nothing of it stays. Only Docker's published port needs a network.
set -u
if [ "${IN_NAMESPACE:-}" = "" ]; then
	runtime=$(realpath -s "$(command -v "$1")") || exit 2
	shift
	IN_NAMESPACE=1 RUNTIME=$runtime exec unshare --mount --net --propagation private "$0" "$@"
fi
[ $# -gt 0 ] || set -- podman containerd docker
ip link set lo up
mount -t tmpfs tmpfs /run
work=$(mktemp -d)
mount -t tmpfs tmpfs "$work"
cd "$work" || exit 2 # conmon leaves a file "oom" where it stands
failed=0 passed=0

# expect NAME STATUS PATTERN COMMAND...: the command's exit status (a pattern, too) and its output.
expect() {
	label=$1 status=$2 pattern=$3
	shift 3
	output=$("$@" 2>&1 </dev/null)
	got=$?
	if printf '%s\n' "$got" | grep -qx "$status" && printf '%s\n' "$output" | grep -q -e "$pattern"; then
		echo "ok   $label"
		passed=$((passed + 1))
	else
		echo "FAIL $label: status $got, want $status and $pattern: $output"
		failed=1
	fi
}

mkdir -p "$work/root/bin"
cp "$(command -v busybox)" "$work/root/bin/"
for name in sh echo cat id sleep ps grep head test pwd; do ln -s busybox "$work/root/bin/$name"; done
tar -C "$work/root" -cf "$work/root.tar" .

# engine NAME STATUS COMMAND...: what Docker and podman understand alike. STATUS is what exec gives for a command that is
# not there. The limits on files and processes are set because the engines' own defaults need CAP_SYS_RESOURCE.
engine() {
	name=$1 missing=$2
	shift 2
	limits="--ulimit nofile=1000:1000 --ulimit nproc=500:500 --network none"
	expect "$name: run" 0 '^hello$' "$@" run $limits --rm img echo hello
	expect "$name: exit code" 7 '' "$@" run $limits --rm img sh -c 'exit 7'
	expect "$name: command not found" 127 'executable file not found in .PATH' "$@" run $limits --rm img nosuch
	expect "$name: command is a directory" 126 'is a directory' "$@" run $limits --rm img /bin
	expect "$name: run -d" 0 '' "$@" run $limits -d --name c1 img sh -c 'echo started; sleep 1000'
	expect "$name: exec" 0 '^uid=0' "$@" exec c1 id
	expect "$name: exec exit code" 5 '' "$@" exec c1 sh -c 'exit 5'
	expect "$name: exec as a user" 0 '^uid=1000' "$@" exec -u 1000 c1 id
	expect "$name: exec in a directory" 0 '^/bin$' "$@" exec -w /bin c1 pwd
	expect "$name: exec of nothing" "$missing" 'executable file not found' "$@" exec c1 nosuch
	expect "$name: logs" 0 '^started$' "$@" logs c1
	expect "$name: stats" 0 'c1' "$@" stats --no-stream c1
	expect "$name: top" 0 'sleep 1000' "$@" top c1
	expect "$name: pause" 0 '' "$@" pause c1
	expect "$name: paused" 0 'paused' "$@" inspect -f '{{.State.Status}}' c1
	expect "$name: unpause" 0 '' "$@" unpause c1
	expect "$name: stop" 0 '' "$@" stop -t 1 c1
	expect "$name: stopped" 0 'exited 137' "$@" inspect -f '{{.State.Status}} {{.State.ExitCode}}' c1
	expect "$name: rm" 0 '' "$@" rm c1
	expect "$name: terminal" 0 'yes' "$@" run $limits --rm -t img sh -c 'test -t 0 && echo yes'
	expect "$name: memory limit" 137 '' "$@" run $limits --rm -m 20m img sh -c 'exec cat /dev/zero > /dev/shm/x'
	expect "$name: privileged" 0 '^CapEff:.*ffffff$' "$@" run $limits --rm --privileged img grep CapEff /proc/self/status
	expect "$name: no capabilities" 0 '^CapBnd:[[:space:]]*0*$' "$@" run $limits --rm --cap-drop ALL img grep CapBnd /proc/self/status
	expect "$name: no new privileges" 0 '1$' "$@" run $limits --rm --security-opt no-new-privileges img grep NoNewPrivs /proc/self/status
	expect "$name: seccomp" 0 '2$' "$@" run $limits --rm img grep Seccomp: /proc/self/status
	expect "$name: read-only" 1 'Read-only file system' "$@" run $limits --rm --read-only img sh -c 'echo x > /x'
	daily "$@"
}

# daily is what people do with an engine all day, besides running and stopping.
daily() {
	expect "$name: device" 0 '1, *3' "$@" run $limits --rm --device /dev/null:/dev/other img busybox ls -l /dev/other
	expect "$name: tmpfs, sysctl, hostname" 0 '^noexec 9 abc$' "$@" run $limits --rm --tmpfs /t:size=1m,noexec --sysctl net.ipv4.ip_default_ttl=9 --hostname abc \
		img sh -c 'echo $(grep " /t " /proc/mounts | busybox grep -o noexec) $(cat /proc/sys/net/ipv4/ip_default_ttl) $(busybox hostname)'
	expect "$name: a volume is kept" 0 '' "$@" run $limits --rm -v vol:/v img sh -c 'echo kept > /v/x'
	expect "$name: a volume, read-only" 0 '^kept$' "$@" run $limits --rm -v vol:/v:ro img sh -c 'cat /v/x; ! echo x > /v/y'
	expect "$name: nothing lies over /proc" '12[56]' 'it is /proc' "$@" run $limits --rm -v vol:/proc img id
	expect "$name: run -d with a signal's handler" 0 '' "$@" run $limits -d --name c2 img sh -c 'trap "echo usr; exit 3" USR1; echo ready; while :; do sleep 0.1; done'
	expect "$name: exec -it" 0 'a terminal' script -qec "$* exec -it c2 sh -c 'test -t 0 && echo a terminal'" /dev/null
	expect "$name: exec -d" 0 '' "$@" exec -d c2 sh -c 'echo made > /made.new; busybox mv /made.new /made'
	for _ in $(seq 600); do "$@" exec c2 test -f /made && break; sleep 0.1; done
	expect "$name: exec -d has worked" 0 '^made$' "$@" exec c2 cat /made
	expect "$name: another in its pid namespace" 0 'USR1' "$@" run $limits --rm --pid container:c2 img ps
	expect "$name: update" 0 '' "$@" update --memory 64m --memory-swap 64m c2
	expect "$name: restart" 0 '' "$@" restart -t 0 c2
	for _ in $(seq 600); do [ "$("$@" logs c2 2>&1 | grep -c ready)" = 2 ] && break; sleep 0.1; done
	expect "$name: kill -s" 0 '' "$@" kill -s USR1 c2
	expect "$name: wait" 0 '^3$' "$@" wait c2
	expect "$name: rm" 0 '' "$@" rm c2
}

podman_test() {
	set -- podman --root "$work/podman" --runroot /run/podman --storage-driver vfs --runtime "$RUNTIME" \
		--cgroup-manager cgroupfs --events-backend file
	"$@" import "$work/root.tar" img >/dev/null 2>&1
	engine podman 127 "$@"
	expect "podman: user namespace" 0 '0 *100000 *1000' "$@" run --ulimit nofile=1000:1000 --ulimit nproc=500:500 --network none --rm \
		--uidmap 0:100000:1000 --gidmap 0:100000:1000 img cat /proc/self/uid_map
	expect "podman: health check" 0 '' "$@" run $limits -d --name h1 --health-cmd true --health-interval disable img sleep 1000
	expect "podman: healthy" 0 '' "$@" healthcheck run h1
	expect "podman: checkpoint is refused" 125 'checkpoint' "$@" container checkpoint h1
	expect "podman: rm -f" 0 '' "$@" rm -f -t 0 h1
	expect "podman: pod create" 0 '' "$@" pod create --name p1 --network none --infra-image img --infra-command 'sleep 1000' --share ipc,net,uts,pid
	expect "podman: in the pod" 0 'sleep 1000' "$@" run --ulimit nofile=1000:1000 --ulimit nproc=500:500 --rm --pod p1 img ps
	expect "podman: pod pause" 0 '' "$@" pod pause p1
	expect "podman: pod unpause" 0 '' "$@" pod unpause p1
	expect "podman: pod rm" 0 '' "$@" pod rm -f -t 0 p1
}

# await SOCKET: an engine's daemon needs a moment.
await() {
	for _ in $(seq 1000); do
		[ -S "$1" ] && return
		sleep 0.25
	done
}

docker_test() {
	mkdir -p /run/lock
	dockerd --data-root "$work/docker" --exec-root /run/docker-exec -p /run/docker-test.pid -H unix:///run/docker-test.sock \
		--add-runtime "own=$RUNTIME" --default-runtime own --ip6tables=false --storage-driver vfs >"$work/docker.log" 2>&1 &
	daemon=$!
	await /run/docker-test.sock
	set -- docker -H unix:///run/docker-test.sock
	for _ in $(seq 1000); do "$@" version >/dev/null 2>&1 && break; sleep 0.25; done
	"$@" import "$work/root.tar" img >/dev/null
	engine docker 126 "$@"
	expect "docker: init" 0 'docker-init -- ps' "$@" run --ulimit nofile=1000:1000 --network none --rm --init img ps
	expect "docker: healthcheck" 0 '' "$@" run --ulimit nofile=1000:1000 --network none -d --name h1 --health-cmd true --health-interval 1s img sleep 1000
	for _ in $(seq 600); do
		[ "$("$@" inspect -f '{{.State.Health.Status}}' h1)" = healthy ] && break
		sleep 0.2
	done
	expect "docker: healthy" 0 '^healthy$' "$@" inspect -f '{{.State.Health.Status}}' h1
	expect "docker: update" 0 '' "$@" update --memory 64m --memory-swap 64m h1
	expect "docker: rm -f" 0 '' "$@" rm -f h1
	expect "docker: publish a port" 0 '' "$@" run --ulimit nofile=1000:1000 -d -p 8080:80 --name p1 img \
		sh -c 'echo published > /index.html; exec busybox httpd -f -p 80 -h /'
	for _ in $(seq 600); do curl -s -m 1 -o /dev/null http://127.0.0.1:8080/ && break; sleep 0.2; done
	expect "docker: the published port answers" 0 '^published$' curl -s -m 60 http://127.0.0.1:8080/
	expect "docker: rm -f" 0 '' "$@" rm -f p1
	kill "$daemon"
	wait "$daemon"
}

containerd_test() {
	cat >"$work/containerd.toml" <<X
version = 2
root = "$work/containerd"
state = "/run/containerd-test"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/run/containerd-test.sock"
X
	containerd -c "$work/containerd.toml" >"$work/containerd.log" 2>&1 &
	daemon=$!
	await /run/containerd-test.sock
	umoci init --layout "$work/oci" 2>/dev/null && umoci new --image "$work/oci:latest" 2>/dev/null
	umoci raw add-layer --image "$work/oci:latest" "$work/root.tar" 2>/dev/null
	umoci config --image "$work/oci:latest" --config.env PATH=/bin 2>/dev/null
	tar -C "$work/oci" -cf "$work/oci.tar" .
	set -- ctr -a /run/containerd-test.sock
	"$@" image import --snapshotter native --base-name localhost/img "$work/oci.tar" >/dev/null
	image=$("$@" image ls -q)
	options="--snapshotter native --runc-binary $RUNTIME"
	expect "containerd: run" 0 '^hello$' "$@" run --rm $options "$image" a1 echo hello
	expect "containerd: exit code" 9 '' "$@" run --rm $options "$image" a2 sh -c 'exit 9'
	expect "containerd: run -d" 0 '' "$@" run -d $options "$image" a3 sleep 1000
	expect "containerd: running" 0 'a3 .*RUNNING' "$@" task ls
	expect "containerd: exec" 0 '^uid=0' "$@" task exec --exec-id e1 a3 id
	expect "containerd: exec exit code" 4 '' "$@" task exec --exec-id e2 a3 sh -c 'exit 4'
	expect "containerd: pause" 0 '' "$@" task pause a3
	expect "containerd: paused" 0 'a3 .*PAUSED' "$@" task ls
	expect "containerd: resume" 0 '' "$@" task resume a3
	expect "containerd: metrics" 0 'memory.usage_in_bytes\|memory.usage ' "$@" task metrics a3
	expect "containerd: exec -d" 0 '' "$@" task exec -d --exec-id e3 a3 sh -c 'sleep 1000'
	expect "containerd: ps" 0 'e3' "$@" task ps a3
	expect "containerd: exec with a terminal" 0 'a terminal' script -qec "$* task exec -t --exec-id e4 a3 sh -c 'test -t 0 && echo a terminal'" /dev/null
	expect "containerd: kill of the exec" 0 '' "$@" task kill --exec-id e3 -s KILL a3
	expect "containerd: checkpoint is refused" 1 'checkpoint' "$@" task checkpoint a3
	expect "containerd: kill" 0 '' "$@" task kill -s KILL a3
	for _ in $(seq 600); do "$@" task ls | grep -q 'a3 .*STOPPED' && break; sleep 0.1; done
	expect "containerd: delete" 0 "exit code 137" "$@" task rm a3
	expect "containerd: command not found" 1 'executable file not found' "$@" run --rm $options "$image" a4 nosuch
	kill "$daemon"
	wait "$daemon"
}

for engine in "$@"; do
	case $engine in
	podman) program=podman ;;
	docker) program=dockerd ;;
	containerd) program=containerd ;;
	*) echo "no engine $engine"; exit 2 ;;
	esac
	if command -v "$program" >/dev/null; then "${engine}_test"; else echo "FAIL $engine is not installed: test/install-deps.sh"; failed=1; fi
done
echo "$passed checks passed"
cd /
umount "$work" 2>/dev/null
rmdir "$work" 2>/dev/null
exit $failed
