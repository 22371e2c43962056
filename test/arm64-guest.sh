#!/bin/busybox sh
# arm64-guest.sh - the first process of arm64.sh's virtual machine: a host like any other, and then the tests on it.
if [ "$1" != moved ]; then # pivot_root cannot leave the initramfs: the machine moves to a file system that is mounted
    /bin/busybox mkdir /new
    /bin/busybox mount -t tmpfs -o size=75% tmpfs /new
    /bin/busybox cp -a /bin /lib /init /proc /sys /dev /tmp /run /etc /var /root /*.test /arm64.tests /testdata /new/
    exec /bin/busybox switch_root /new /init moved
fi
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/root
mkdir -p /sbin && ln -s /bin/busybox /sbin/modprobe
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
ln -s /proc/self/fd /dev/fd
for dir in /tmp /run /dev/shm /var/lib; do mount -t tmpfs -o mode=755 tmpfs $dir; done
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo +$c >/sys/fs/cgroup/cgroup.subtree_control; done
hostname arm64
echo 'root:x:0:0::/:/bin/sh' >/etc/passwd
ip link set lo up
for module in overlay veth bridge br_netfilter nf_tables dummy; do modprobe $module || echo "no module $module"; done

fail() {
    echo "arm64: $*"
    poweroff -f
}

same() { # WHAT GOT WANT
    [ "$2" = "$3" ] && echo "ok   $1" && return
    fail "$1: $2, not $3"
}

has() { # WHAT TEXT PATTERN
    same "$1" "$(echo "$2" | grep -c "$3")" 1
}

echo "--- containers"
mydocker image bootstrap
run="mydocker run --rm --network none"
same "run" "$($run busybox uname -m)" aarch64
same "exit status" "$($run busybox sh -c 'exit 7'; echo $?)" 7
same "a command that is not there" "$($run busybox nothing 2>/dev/null; echo $?)" 127
same "what the command finds as its program" "$($run busybox readlink /proc/self/exe)" /bin/readlink
same "a terminal" "$($run -t busybox tty | tr -d '\r')" /dev/pts/0
same "another user" "$($run -u 7:8 --cap-drop ALL busybox sh -c 'id -u; id -g; grep CapEff /proc/self/status')" "7
8
CapEff:	0000000000000000"
has "seccomp: no new user namespace" "$($run --cap-add SYS_CHROOT busybox unshare -U true 2>&1)" "not permitted"
same "seccomp: it is on" "$($run busybox grep Seccomp: /proc/self/status)" "Seccomp:	2"
same "seccomp=unconfined" "$($run --security-opt seccomp=unconfined busybox grep Seccomp: /proc/self/status)" "Seccomp:	0"
same "a memory limit" "$($run -m 64m busybox cat /sys/fs/cgroup/memory.max)" 67108864
same "killed for its memory" "$(mydocker run --network none --name fat -m 16m busybox sh -c 'tail -c 64m /dev/zero' >/dev/null; mydocker inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' fat)" "true 137"

echo "--- a network"
mydocker run -d --name web -p 8080:80 busybox httpd -f -h /etc
tries=0
until mydocker exec web wget -qO /dev/null http://127.0.0.1/hostname; do # it has been started, and listens in its own time
    tries=$((tries + 1))
    [ $tries -lt 200 ] || fail "the web server does not listen"
    sleep 0.1
done
same "a published port, from the host" "$(wget -qO- http://127.0.0.1:8080/hostname | wc -c)" 13
same "another container, by its name" "$(mydocker network create own >/dev/null; mydocker network connect own web; mydocker run --rm --network own busybox wget -qO- http://web/hostname | wc -c)" 13
same "its address" "$(mydocker exec web ip -4 -o addr show eth0 | grep -c 'inet 172')" 1

echo "--- exec, kill, rm"
same "exec" "$(mydocker exec web sh -c 'cat /proc/1/comm; exit 3'; echo $?)" "httpd
3"
same "exec with a terminal" "$(mydocker exec -t web tty | tr -d '\r')" /dev/pts/0
same "exec as another user" "$(mydocker exec -u 9 web id -u)" 9
same "kill" "$(mydocker kill -s KILL web; mydocker wait web; mydocker inspect -f '{{.State.Status}}' web)" "web
137
exited"
same "rm" "$(mydocker rm web fat; mydocker ps -aq | wc -l)" "web
fat
0"
mydocker network rm own
tries=0
while ls /sys/class/net | grep -q veth && [ $tries -lt 600 ]; do # the kernel takes a cable down in the background
    tries=$((tries + 1))
    sleep 0.1
done
same "nothing is left" "$(ls /sys/class/net | grep -c veth)" 0

echo "--- the tests of the runtime: the last program, seccomp's tables, the known attacks"
export MYDOCKER=/bin/mydocker MYDOCKER_TESTDATA=/ MYDOCKER_TEST_SLOW=20
cd /tmp
/seccomp.test -test.timeout 15m || fail "the tests of seccomp"
/container.test -test.timeout 25m -test.run "$(cat /arm64.tests)" || fail "the tests of container"
echo "arm64: all passed"
poweroff -f
