#!/bin/bash
# demo.sh - what `make demo` shows: a container with a network, published on this host, and then the host as it was.
#
# Everything happens on this host for real: a bridge, a veth pair, NAT rules, a network namespace, a cgroup. Records
# and images go to a directory of the demo's own, so containers that you already have are not touched. At the end the
# host is compared with what it was at the beginning.
#
#   PORT=9090 NETWORK=lab0 make demo      when 8080 or the name br0 is in use here
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C

PORT=${PORT:-8080}
NETWORK=${NETWORK:-br0}

bold='' plain=''
[[ -t 1 ]] && bold=$'\e[1m' plain=$'\e[0m'
title() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }

# show COMMAND...: print the command as one would type it, then run it.
show() {
    local word
    printf '$'
    for word; do
        [[ $word == *[!A-Za-z0-9_./:=-]* ]] && word="'$word'"
        printf ' %s' "$word"
    done
    printf '\n'
    "$@"
}
die() { echo "demo: $*" >&2; exit 1; }

# ---- what the host must have -----------------------------------------------------------------------------------

# A dynamic busybox would need the host's C library inside the container.
has_static_busybox() {
    command -v busybox >/dev/null && ! ldd "$(command -v busybox)" 2>/dev/null | grep -q '=>'
}

install_missing() {
    local missing=()
    command -v iptables >/dev/null || missing+=(iptables)
    command -v ip >/dev/null || missing+=(iproute2)
    has_static_busybox || missing+=(busybox-static)
    ((${#missing[@]})) || return 0
    if command -v apt-get >/dev/null; then
        echo "installing: ${missing[*]}"
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
    else
        die "this is not Debian or Ubuntu: please install ${missing[*]} with your package manager, then run this again"
    fi
}

# ---- what must be the same before and after --------------------------------------------------------------------

host_state() {
    echo "# links";           ip -br link | awk '{print $1, $2}'
    echo "# addresses";       ip -o addr | awk '{print $2, $3, $4}'
    echo "# routes";          ip route; ip -6 route
    echo "# network namespaces"; ip netns list
    echo "# firewall rules";  firewall_rules iptables-save; firewall_rules ip6tables-save
    echo "# mounts";          sort /proc/self/mounts
    echo "# cgroups";         find /sys/fs/cgroup -type d -path '*mydocker*' | sort
    echo "# kernel settings"; grep -H . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/{forwarding,route_localnet} \
                                  /proc/sys/net/ipv6/conf/*/forwarding 2>/dev/null || :
    echo "# files";           ls -d /run/mydocker* /var/lib/mydocker* 2>/dev/null || :
}

# Rules, own chains, and policies other than ACCEPT; without counters and the date.
firewall_rules() {
    command -v "$1" >/dev/null || return 0
    "$1" 2>/dev/null | sed -E -e '/^(#|COMMIT)/d' -e 's/ ?\[[0-9:]+\]$//' -e '/^:[A-Z]+ ACCEPT$/d' |
        awk '/^\*/ {table = $0; next} {print table, $0}'
}

# ---- the demo --------------------------------------------------------------------------------------------------

[[ $(id -u) == 0 ]] || die "namespaces, bridges and NAT rules need root: sudo make demo"

title "0. What the host needs"
install_missing
make --no-print-directory

work=$(mktemp -d "${TMPDIR:-/var/tmp}/mydocker-demo.XXXXXX")
mydocker() { ./mydocker --root "$work/lib" --run-root "$work/run" "$@"; }

clean_up() {
    local status=$?
    trap - EXIT INT TERM
    if [[ -e $work/lib ]]; then # we were interrupted, or something failed
        mydocker rm -f web >/dev/null 2>&1 || :
        mydocker network rm "$NETWORK" >/dev/null 2>&1 || :
        mydocker gc >/dev/null || :
    fi
    rm -rf --one-file-system "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

host_state >"$work/before"

title "1. An image: this host's busybox, packed as an image of one layer"
show mydocker image bootstrap
show mydocker images

title "2. A network: a Linux bridge with an address of its own"
show mydocker network create "$NETWORK"
show mydocker network ls
show ip addr show dev "$NETWORK"

title "3. A web server in a container, its port 80 published as port $PORT of this host"
show mydocker run -d --name web -net "$NETWORK" -p "$PORT:80" busybox \
    sh -c 'mkdir /www && echo "hello from $(hostname), $(hostname -i)" > /www/index.html && exec httpd -f -h /www'
show mydocker ps

title "4. Its page, through this host's loopback and through this host's own address"
fetch() { # the server may need a moment until it listens
    local try
    printf '$ curl http://%s/\n' "$1"
    for try in $(seq 300); do
        page "$1" 2>/dev/null && return
        sleep 0.2
    done
    die "no answer from $1 (see: iptables -t nat -nvL; mydocker logs web)"
}
page() {
    if command -v curl >/dev/null; then
        curl -fsS --noproxy '*' --max-time 30 "http://$1/"
    else # bash can open a connection itself
        exec 3<>"/dev/tcp/${1/:/\/}" && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && sed '1,/^\r$/d' <&3 && exec 3>&-
    fi
}
fetch "127.0.0.1:$PORT"
own_address=$(ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')
if [[ $own_address ]]; then
    fetch "$own_address:$PORT"
else
    echo "(this host has no address besides loopback)"
fi

title "5. What that is made of: a namespace, a cable, a bridge, NAT rules"
show ip netns list
show ip netns exec web ip -br addr
show ip netns exec web ip route
show ip -br link show type bridge
show ip -br link show type veth master "$NETWORK"
show iptables -t nat -S

title "6. All of it away again"
show mydocker rm -f web
show mydocker network rm "$NETWORK"
show mydocker rmi busybox
show mydocker gc
rm -rf --one-file-system "$work/lib" "$work/run"

# The kernel takes a namespace and its cable down in the background, some milliseconds after the last user is gone; more when it is busy.
for try in $(seq 600); do
    host_state >"$work/after"
    cmp -s "$work/before" "$work/after" && break
    sleep 0.1
done
if ! diff -u --label before --label after "$work/before" "$work/after"; then
    die "the host is not as it was: see the difference above"
fi
printf '\nThe host is as it was: same links, addresses, routes, namespaces, firewall rules, mounts, cgroups, settings.\n'
