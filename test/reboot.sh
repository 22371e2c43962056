#!/bin/bash
# reboot.sh - a machine with systemd is rebooted, and what was there is there again. It is started twice, by each boot of the same
# virtual machine: the first time it makes containers and reboots, the second time it looks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
before=/var/lib/reboot-test # on the disk that stays

die() { echo "reboot.sh: $*" >&2; exit 1; }

first_boot() {
    mkdir "$before"
    cp mydocker /usr/local/bin/
    mydocker image bootstrap >/dev/null
    [[ $(mydocker info -f '{{.Driver}}') == overlay2 ]] || die "no overlayfs"
    # Ports, fixed addresses, names, a volume, two networks.
    mydocker network create --subnet 10.77.0.0/24 --ipv6 --subnet fd77::/64 lab >/dev/null
    mydocker network create --internal --subnet 10.78.0.0/24 quiet >/dev/null
    local serve='echo page >>/www/index.html; exec httpd -f -h /www -p 80'
    mydocker run -d --name fixed --restart always --network lab --ip 10.77.0.10 --ip6 fd77::10 --network-alias web \
        -p 8080:80 -p 127.0.0.1:8081:80 -v pages:/www busybox sh -c "$serve"
    mydocker network connect --ip 10.78.0.10 quiet fixed
    mydocker run -d --name any --restart unless-stopped --network lab busybox sleep 1000000
    mydocker run -d --name plain --restart unless-stopped -p 8082:80 busybox httpd -f -p 80
    mydocker run -d --name failing --restart on-failure:5 busybox sleep 1000000
    # Down, each for its own reason; but "always" means that a reboot brings it back.
    mydocker run -d --name halted --restart unless-stopped -p 8083:80 busybox sleep 1000000
    mydocker run -d --name halted-always --restart always busybox sleep 1000000
    mydocker stop -t 0 halted halted-always
    mydocker run -d --name never -p 8084:80 busybox sleep 1000000
    mydocker run -d --rm --name fleeting busybox sleep 1000000
    # One that has something to tidy up, and says so where it is seen after the reboot.
    mydocker run -d --name tidy --restart always --network lab -v tidy:/data busybox \
        sh -c 'trap "echo tidied >>/data/log; exit 0" TERM; echo began >>/data/log; sleep 1000000 & wait'
    mydocker create --name created --restart always busybox true
    mydocker run --name done --restart on-failure:5 busybox true
    what_is >"$before/world"
    mydocker system install-unit
    systemctl daemon-reload
    systemctl enable --now mydocker
    # What runs this script belongs to a target of its own; the second boot goes where a machine of today goes.
    systemctl add-wants multi-user.target run-in-vm.service
    systemctl set-default multi-user.target
    systemctl reboot
    sleep 900 # we are killed here, however long the containers take to end
    die "the machine does not reboot"
}

# what_is is what has to be the same in both boots: the rules (but for the ids of endpoints), the bridges, and the addresses that were
# asked for.
what_is() {
    local family
    for family in iptables ip6tables; do
        "$family-save" | sed -E -e '/^#/d' -e 's/\[[0-9:]+\]//' -e 's/ [0-9a-f]{12}"/"/' | grep -v -E -e '808[34]'
    done
    ip -o addr | awk '$4 !~ /^fe80/ {print $2, $4}' | sort
    mydocker network ls --no-trunc
    mydocker inspect -f '{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{$e.IPAddress}} {{$e.GlobalIPv6Address}} {{$e.DNSNames}} {{end}}{{.NetworkSettings.Ports}}' fixed
}

second_boot() {
    local name
    systemctl start mydocker || :  # waits for the start that is under way
    systemctl is-active --quiet mydocker || { systemctl status mydocker || :; die "the unit has failed"; }
    journalctl --no-pager -u mydocker
    mydocker ps -a
    same "who runs" "$(mydocker ps --format '{{.Names}}' | sort | xargs)" 'any failing fixed halted-always plain tidy'
    same "who does not" "$(mydocker ps -a -f status=exited -f status=created --format '{{.Names}}' | sort | xargs)" 'created done halted never'
    same "their states" "$(mydocker inspect -f '{{.State.Status}} {{.State.ExitCode}}' created done halted never | xargs)" \
        'created 0 exited 0 exited 137 exited 137'
    what_is | diff "$before/world" - || die "the world has changed"
    until [[ $(mydocker exec tidy cat /data/log | grep -c began) == 2 ]]; do sleep 0.2; done
    for name in 127.0.0.1:8080 127.0.0.1:8082; do # until they listen
        until busybox wget -q -O /dev/null "http://$name/" || busybox nc "${name%:*}" "${name#*:}" </dev/null; do sleep 0.2; done 2>/dev/null
    done
    # What is served on ports, and by names and addresses.
    for name in 127.0.0.1:8080 127.0.0.1:8081 10.77.0.10 10.78.0.10; do
        same "page of $name" "$(busybox wget -q -O - "http://$name/" | sort -u)" page
    done
    same "what the volume kept" "$(busybox wget -q -O - http://127.0.0.1:8080/ | wc -l)" 2
    busybox nc 127.0.0.1 8083 </dev/null 2>/dev/null && die "the port of one that is down answers"
    for name in fixed web; do
        mydocker exec any nslookup "$name" | grep -q '10\.77\.0\.10' || die "no address for the name $name"
    done
    [[ $(mydocker inspect -f '{{.NetworkSettings.Networks.lab.IPAddress}}' any) == 10.77.0.* ]] || die "any has no address in lab"
    same "those who tidy up were asked to" "$(mydocker exec tidy cat /data/log | xargs)" 'began tidied began'
    # It is the same engine as before: what is down can be started, what runs removed, and nothing is left.
    mydocker start halted never
    mydocker rm -f $(mydocker ps -aq) >/dev/null
    same "what gc finds" "$(mydocker gc)" ''
    mydocker network rm lab quiet
    same "rules that are left" "$(iptables-save | grep ^-A | grep -c -e lab -e quiet -e 80 || :)" 0
    echo "the reboot has changed nothing"
}

same() {
    [[ $2 == "$3" ]] || die "$1: $2, and not $3"
}

if [[ -e $before ]]; then second_boot; else first_boot; fi
