#!/bin/bash
# vm.sh [systemd|reboot|selinux] - the tests that run once more in a virtual machine that has cgroup v2 and nothing else. The test binaries,
# mydocker, apparmor_parser and in-namespace.sh stand beside this script; the guest has no Go and no compiler. With "systemd"
# the machine's init is systemd, and only what has to do with that is tested; with "reboot" that machine is rebooted; with "selinux"
# its kernel was started with security=selinux, and the tests' own policy holds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
echo "vm.sh ${1-}: the machine has booted" # .ci/run waits for it
export PATH=$PATH:/usr/sbin:/sbin MYDOCKER=$PWD/mydocker MYDOCKER_TEST_SLOW=20 MYDOCKER_TESTDATA=$PWD/

[[ $(stat -f -c %T /sys/fs/cgroup) == cgroup2fs ]] || { echo "vm.sh: no cgroup v2 here" >&2; exit 1; }

# AppArmor's default profile, through the command line: loaded by the first container, and each container's unless it says otherwise.
apparmor() {
    local profiles=/sys/kernel/security/apparmor/profiles
    [[ -r $profiles && -x apparmor_parser ]] || { echo "vm.sh: no AppArmor, or no apparmor_parser beside this script" >&2; return 1; }
    mkdir -p lib /var/lib/mydocker && mount --bind lib /var/lib/mydocker # no overlay can lie on the guest's root, which is one
    ./mydocker image bootstrap
    same "without a compiler there is no profile" "$(./mydocker run --rm busybox cat /proc/self/attr/current)" unconfined
    install apparmor_parser /sbin/
    same "nothing is loaded yet" "$(grep -c mydocker-default $profiles)" 0
    same "a container" "$(./mydocker run --rm busybox cat /proc/self/attr/current)" "mydocker-default (enforce)"
    same "loaded once" "$(grep -c mydocker-default $profiles)" 1
    ./mydocker run -d --name armored --cap-add SYS_ADMIN --security-opt systempaths=unconfined busybox sleep 1000
    same "exec" "$(./mydocker exec --privileged armored cat /proc/self/attr/current)" "mydocker-default (enforce)"
    same "inspect" "$(./mydocker inspect -f '{{.AppArmorProfile}}' armored)" mydocker-default
    # What the capability, and the paths that nothing masks, would allow.
    same "mount" "$(./mydocker exec --privileged armored mount -t tmpfs x /tmp 2>&1 | grep -c 'ermission denied')" 1
    same "/proc/sysrq-trigger" "$(./mydocker exec --privileged armored sh -c 'echo h > /proc/sysrq-trigger' 2>&1 | grep -c 'ermission denied')" 1
    same "/proc/sys/vm" "$(./mydocker exec --privileged armored sh -c 'echo 1 > /proc/sys/vm/drop_caches' 2>&1 | grep -c 'ermission denied')" 1
    same "ps" "$(./mydocker exec armored ps | grep -c 'sleep 1000')" 1
    same "stop" "$(./mydocker stop -t 1 armored)" armored
    echo -n "profile mine flags=(attach_disconnected) { file, network, capability, deny /etc/passwd r, }" | apparmor_parser --replace --skip-cache
    same "one's own" "$(./mydocker run --rm --security-opt apparmor=mine busybox sh -c 'cat /proc/self/attr/current; cat /etc/passwd 2>&1 | grep -c denied')" $'mine (enforce)\n1'
    same "unconfined" "$(./mydocker run --rm --security-opt apparmor=unconfined busybox cat /proc/self/attr/current)" unconfined
    same "--privileged" "$(./mydocker run --rm --privileged busybox cat /proc/self/attr/current)" unconfined
    same "not loaded" "$(./mydocker run --rm --security-opt apparmor=nobodys busybox true 2>&1 | grep -c 'AppArmor profile nobodys: is it loaded')" 1
    echo -n mydocker-default > /sys/kernel/security/apparmor/.remove
    same "started after somebody took it away" "$(./mydocker start armored && ./mydocker exec armored cat /proc/self/attr/current)" $'armored\nmydocker-default (enforce)'
    same "info" "$(./mydocker info -f '{{.SecurityOptions}}')" "[name=apparmor name=seccomp,profile=builtin name=cgroupns]"
    ./mydocker rm -f armored
}

# SELinux's labels, through the command line: each container has its own, and they hold.
labels() {
    local contexts=/etc/selinux/tests/contexts
    mkdir -p lib /var/lib/mydocker $contexts dir/sub && mount --bind lib /var/lib/mydocker # no overlay can lie on the guest's root, which is one
    echo SELINUXTYPE=tests >/etc/selinux/config
    ./mydocker image bootstrap
    run() { ./mydocker run --rm "$@" 2>&1; }
    label() { ./mydocker exec "$1" cat /proc/self/attr/current | tr -d '\0'; }
    refused() { grep -c "$1" || :; }
    same "a policy that says nothing of containers" "$(run busybox cat /proc/self/attr/current | tr -d '\0')" u:r:base_t:s0
    same "and a label" "$(run --security-opt label=type:other_t busybox true | refused 'label=type:other_t: this host.s SELinux policy does not say')" 1
    printf 'process = "u:r:container_t:s0"\nfile = "u:object_r:container_file_t:s0"\n' >$contexts/lxc_contexts
    same "info" "$(./mydocker info -f '{{.SecurityOptions}}' | grep -c 'name=selinux name=cgroupns')" 1
    ./mydocker run -d --name one -v named:/named -v "$PWD/dir:/dir" --network none busybox sh -c 'echo x >/etc/hosts; echo mine >/file; sleep 1000'
    ./mydocker run -d --name two -v named:/named -v "$PWD/dir:/dir" busybox sleep 1000
    same "a label of its own" "$(label one | sed 's/s0:c[0-9]*,c[0-9]*$/LEVEL/')" u:r:container_t:LEVEL
    same "inspect" "$(./mydocker inspect -f '{{.ProcessLabel}}' one)" "$(label one)"
    [[ $(label one) != "$(label two)" ]] || { echo "vm.sh: two containers have the same label, $(label one)" >&2; exit 1; }
    echo "ok   two labels: $(label one), $(label two)"
    level=$(label one | sed 's/.*_t://')
    same "files" "$(./mydocker exec one sh -c 'until cat /file 2>/dev/null; do sleep 0.1; done; cat /etc/hosts; sed -n "s/^overlay .*context=[^u]*\([^ ]*_t\):.*/\1/p" /proc/mounts')" $'mine\nx\nu:object_r:container_file_t'
    same "mount label" "$(./mydocker inspect -f '{{.MountLabel}}' one)" "u:object_r:container_file_t:$level"
    write='echo x >/dir/sub/file && echo written'
    same "files of the host" "$(./mydocker exec one sh -c "$write" 2>&1 | refused 'ermission denied')" 1 # ext4: the file is new, and base_t
    same "a volume is everybody's" "$(for c in one two; do ./mydocker exec $c sh -c 'echo x >>/named/file && wc -l </named/file'; done)" $'1\n2'
    same "without -v …:z" "$(run -v "$PWD/dir:/dir" busybox sh -c "$write" | refused 'ermission denied')" 1
    same "-v …:z" "$(run -v "$PWD/dir:/dir:z" busybox sh -c "$write")" written
    same "which others profit from" "$(./mydocker exec one sh -c "$write")" written
    ./mydocker run -d --name owner -v "$PWD/dir:/dir:Z" busybox sleep 1000
    same "-v …:Z" "$(./mydocker exec owner sh -c "$write")" written
    same "which others do not" "$(./mydocker exec one sh -c "$write" 2>&1 | refused 'ermission denied')" 1
    same "inspect -v …:Z" "$(./mydocker inspect -f '{{range .Mounts}}{{.Mode}}{{end}} {{.HostConfig.Binds}}' owner)" "Z [$PWD/dir:/dir:Z]"
    same "cp takes no label along" "$(./mydocker cp owner:/dir - | grep -c security.selinux || :)" 0
    same "never /usr" "$(run -v /usr:/dir:z busybox true | refused 'relabeling of /usr is not allowed')" 1
    same "label=disable" "$(run --security-opt label=disable -v "$PWD/dir:/dir" busybox sh -c "cat /proc/self/attr/current; echo; $write" | tr -d '\0')" $'u:r:base_t:s0\nwritten'
    same "--privileged" "$(run --privileged busybox cat /proc/self/attr/current | tr -d '\0')" u:r:base_t:s0
    same "--pid host" "$(run --pid host busybox cat /proc/self/attr/current | tr -d '\0')" u:r:base_t:s0
    same "--pid container:one" "$(run --pid container:one busybox cat /proc/self/attr/current | tr -d '\0')" "$(label one)"
    same "--pid with a label" "$(run --pid container:one --security-opt label=level:s0:c7 busybox cat /proc/self/attr/current | tr -d '\0')" u:r:container_t:s0:c7
    same "type" "$(run --security-opt label=type:other_t --security-opt label=level:s0:c1,c2 busybox sh -c 'exec 2>&1; cat /proc/self/attr/current; echo; echo x >/file' | tr -d '\0' | sed 's/sh: .*: //')" $'u:r:other_t:s0:c1,c2\nPermission denied'
    same "role" "$(run --security-opt label=role:r2 busybox cat /proc/self/attr/current | tr -d '\0' | sed 's/:s0:.*//')" u:r2:container_t
    same "user, in the old form" "$(run --security-opt label:user:u2 busybox cat /proc/self/attr/current | tr -d '\0' | sed 's/:s0:.*//')" u2:r:container_t
    same "a type that the policy does not know" "$(run --security-opt label=type:nobodys_t busybox true | refused 'label=type:nobodys_t: "u:r:nobodys_t:s0:c[0-9,c]*" is no label')" 1
    same "no option of labels" "$(run --security-opt label=color:red busybox true | refused 'label=color:red: bad label option')" 1
    before=$(label two)
    same "kept" "$(./mydocker restart -t 0 two && label two)" $'two\n'"$before"
    same "--network container:two" "$(run --network container:two busybox sh -c 'echo x >>/etc/hosts && echo written')" written
    echo 100000:100000:65536 | tee -a /etc/subuid >>/etc/subgid
    ./mydocker run -d --name mapped --userns-remap 100000 busybox sh -c 'echo x >/file && sleep 1000'
    same "with a user namespace" "$(./mydocker exec mapped sh -c 'until [ -s /file ]; do sleep 0.1; done; cat /file /proc/self/attr/current' | tr -d '\0' | sed 's/:s0:.*//')" $'x\nu:r:container_t'
    same "what is made for a copy" "$(./mydocker commit one copy >/dev/null && run copy cat /file)" mine
    ./mydocker rm -f one two owner mapped
    same "nothing is left" "$(./mydocker ps -aq | wc -l)" 0
}

# --log-driver journald with the real journal: what journalctl shows, by Docker's fields, and what `logs` reads back.
journal() {
    export LC_ALL=C
    ./mydocker run -d --name spoken --log-driver journald --log-opt labels=tier --label tier=front busybox sh -c \
        'echo one; echo two >&2; head -c 20000 /dev/zero | tr "\0" x; echo; printf unfinished' >id
    ./mydocker wait spoken
    same "journalctl" "$(journalctl -q -o cat CONTAINER_NAME=spoken MESSAGE=one + CONTAINER_NAME=spoken PRIORITY=3 | sort)" $'one\ntwo'
    same "Docker's fields" "$(journalctl -q -o export CONTAINER_NAME=spoken MESSAGE=two | grep -aE '^(CONTAINER|IMAGE|PRIORITY|SYSLOG_ID|TIER)' | sed 's/EPOCH=.*/EPOCH/; s/ORDINAL=.$/ORDINAL/' | sort)" \
        "CONTAINER_ID=$(cut -c-12 id)
CONTAINER_ID_FULL=$(cat id)
CONTAINER_LOG_EPOCH
CONTAINER_LOG_ORDINAL
CONTAINER_NAME=spoken
CONTAINER_TAG=$(cut -c-12 id)
IMAGE_NAME=busybox
PRIORITY=3
SYSLOG_IDENTIFIER=$(cut -c-12 id)
TIER=front"
    same "a long line is in pieces, and one without an end" "$(journalctl -q -o export CONTAINER_NAME=spoken | grep -aoE '^CONTAINER_PARTIAL_(LAST|MESS|ORD).*' | sort | uniq -c | tr -s ' ')" \
        " 2 CONTAINER_PARTIAL_LAST=false
 1 CONTAINER_PARTIAL_LAST=true
 2 CONTAINER_PARTIAL_MESSAGE=true
 2 CONTAINER_PARTIAL_ORDINAL=1
 1 CONTAINER_PARTIAL_ORDINAL=2"
    same "logs" "$(./mydocker logs spoken 2>/dev/null | tr -s x)" $'one\nx\nunfinished'
    same "logs, the long line" "$(./mydocker logs spoken 2>/dev/null | wc -c)" 20015
    same "logs, standard error" "$(./mydocker logs spoken 2>&1 >/dev/null)" two
    same "logs -n" "$(./mydocker logs -n 1 spoken)" unfinished
    same "logs --details" "$(./mydocker logs --details spoken 2>/dev/null | head -n 1)" "TIER=front one"

    ./mydocker run -d --name talker --log-driver journald busybox sh -c 'echo 1; until [ -e /go ]; do sleep 0.1; done; echo 2; until [ -e /end ]; do sleep 0.1; done; echo 3; echo 4'
    ./mydocker logs -f talker >followed &
    until grep -q 1 followed; do sleep 0.2; done
    systemctl restart systemd-journald # a container goes on telling the next one
    ./mydocker exec talker touch /go
    until grep -q 2 followed; do sleep 0.2; done
    since=$(./mydocker logs -t talker | sed -n 's/ 2$//p')
    ./mydocker exec talker touch /end
    wait $!
    same "one that said nothing" "$(./mydocker run --name mute --log-driver journald busybox true && ./mydocker logs mute 2>&1; echo $?)" 0
    same "logs -f, to the end" "$(cat followed)" $'1\n2\n3\n4'
    same "logs --since" "$(./mydocker logs --since "$since" talker)" $'2\n3\n4'
    same "logs --until" "$(./mydocker logs --until "$since" talker)" $'1\n2'
    ./mydocker start -a talker >/dev/null
    same "after another start" "$(./mydocker logs talker | tr -d '\n')" 12341234
    same "nothing is lost" "$(./mydocker run --name many --log-driver journald busybox seq 3000 >/dev/null; ./mydocker logs many | cksum)" "$(seq 3000 | cksum)"
    same "one that has ended, and the follower" "$(./mydocker logs -f --tail 2 many 2>&1)" $'2999\n3000'
    for _ in 1 2 3 4 5; do
        same "the end of a log is no failure" "$(./mydocker logs --tail 1 many 2>&1; echo $?)" $'3000\n0'
    done
    ./mydocker rm spoken talker many mute
}

same() { # WHAT GOT WANT
    [[ $2 == "$3" ]] || { echo "vm.sh: $1: $2, not $3" >&2; exit 1; }
    echo "ok   $1"
}

# rootless is the sandbox of a user who is not root, and containers in it: with a branch of the tree and a range of ids that are his,
# and with neither. It is called with the words that run a command as that user.
rootless() { # WHAT COMMAND...
    local what=$1 user=("${@:2}") notes
    notes=$("${user[@]}" mydocker sandbox up mine 2>&1)
    host() { "${user[@]}" mydocker sandbox exec -n mine host "$@"; }
    host mydocker image bootstrap
    host mydocker run -d --name web -p 8080:80 busybox httpd -f -h /etc
    until host mydocker exec web wget -qO /dev/null http://127.0.0.1/hostname; do sleep 0.2; done # it listens
    same "$what: a published port" "$("${user[@]}" mydocker sandbox exec -n mine lan busybox wget -qO - http://10.99.0.1:8080/hostname | wc -c)" 13
    same "$what: files" "$(host mydocker run --rm busybox sh -c 'rm -r /etc/x /bin/[m-z]* 2>/dev/null; mkdir -p /home/a; mv /home/a /home/b; ls /home; echo x > /dev/null && echo written')" $'b\nwritten'
    same "$what: exec" "$(host mydocker exec web id -u)" 0
    same "$what: no devices are made" "$(host mydocker run --rm busybox mknod /x c 1 3 2>&1 | grep -c 'not permitted')" 1
    case $what in
    delegated)
        same "$what: notes" "$notes" mine
        same "$what: a limit" "$(host mydocker run --rm -m 64m busybox cat /sys/fs/cgroup/memory.max)" 67108864
        same "$what: pids" "$(host mydocker run --rm --pids-limit 3 busybox sh -c 'for i in 1 2 3 4 5; do sleep 60 & done' 2>&1 | grep -c "can't fork")" 1
        same "$what: another user" "$(host mydocker run --rm -u 7 busybox id -u)" 7
        same "$what: pause" "$(host sh -c 'mydocker pause web; mydocker inspect -f {{.State.Status}} web; mydocker unpause web')" $'web\npaused\nweb'
        ;;
    alone)
        same "$what: notes" "$(grep -c WARNING <<<"$notes")" 2
        same "$what: a limit" "$(host mydocker run --rm -m 64m busybox true 2>&1 | grep -c 'limits do not work here; leave the limit out')" 1
        same "$what: another user" "$(host mydocker run --rm -u 7 busybox true 2>&1 | grep -c 'user 7:0 does not exist here')" 1
        ;;
    esac
    same "$what: down" "$("${user[@]}" mydocker sandbox down mine)" mine
    same "$what: nothing is left" "$(find /sys/fs/cgroup -name 'mydocker-sandbox-*' | wc -l)" 0
}

if [[ ${1-} == systemd ]]; then
    [[ -d /run/systemd/system ]] || { echo "vm.sh: systemd does not run here" >&2; exit 1; }
    echo "--- AppArmor's default profile"
    apparmor
    echo "--- the journal"
    journal
    exec env MYDOCKER_TEST_SYSTEMD=1 ./container.test -test.timeout 15m -test.v -test.run 'Systemd|AppArmor'
fi

# A policy of a few lines (container/testdata/selinux.cil), enforced: labels are only words where there is none.
if [[ ${1-} == selinux ]]; then
    mkdir -p /sys/fs/selinux
    mount -t selinuxfs selinuxfs /sys/fs/selinux
    cat selinux.policy >/sys/fs/selinux/load
    echo 1 >/sys/fs/selinux/enforce
    [[ $(tr -d '\0' </proc/self/attr/current) == u:r:base_t:s0 ]] || { echo "vm.sh: the policy does not hold" >&2; exit 1; }
    ./container.test -test.timeout 3m -test.v -test.run SELinux
    echo "--- SELinux's labels through the command line"
    labels
    exit
fi

[[ ${1-} != reboot ]] || exec bash ./reboot.sh

without_root() {
    install mydocker /usr/local/bin/
    rootless delegated as-user
    sed -i '/^tester:/d' /etc/subuid /etc/subgid
    install -d -m 700 -o tester /run/alone
    rootless alone env XDG_RUNTIME_DIR=/run/alone setpriv --reuid tester --regid tester --clear-groups --
}
if [[ ${1-} == rootless ]]; then
    without_root
    exit
fi

# runc is not in the guest: the comparison with it was made outside. In the order: the limits alone, the runtime, then whole containers through the command line.
echo 8 >/proc/sys/vm/nr_hugepages # or a limit of huge pages would have nothing to limit
for package in cgroups container; do
    echo "--- $package"
    (mkdir -p "$package" && cd "$package" && "../$package.test" -test.timeout 15m -test.skip Runc)
done
echo "--- network: links, queueing disciplines and a protocol that not every kernel has"
for module in sch_netem ipvlan macvlan 8021q dummy sctp; do # or the tests would only see that they are refused
    modprobe "$module" || { echo "vm.sh: the guest's kernel has no $module" >&2; exit 1; }
done
(mkdir -p network && cd network && ../network.test -test.timeout 15m -test.v -test.run '^Test(Macvlan.*|MadeParents|IPvlan|Rate|Delay|SCTP)$')
echo "--- e2e"
mkdir -p test/e2e && cp in-namespace.sh test/
(cd test/e2e && ../../e2e.test -test.timeout 25m -test.v -test.run '^Test(VM|Limits.*|Stats|Delay|CopyRemapped)$')
echo "--- a sandbox without root, and containers in it"
without_root
