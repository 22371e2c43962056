# Words for checks. Each is quiet, and succeeds when what it says is so. NS is a network namespace's name, or - for the host.
inns() { local ns=$1; shift; if [ "$ns" = - ]; then "$@"; else ip netns exec "$ns" "$@"; fi; }
not() { if "$@" >/dev/null 2>&1; then return 1; fi; }
has_netns() { ip netns list | grep -qE "^$1( |$)"; }
has_link() { inns "$1" ip link show dev "$2" >/dev/null 2>&1; }
link_up() { inns "$1" ip -o link show dev "$2" 2>/dev/null | grep -qE '<([A-Z_,]*,)?UP[,>]'; }
has_addr() { inns "$1" ip -o addr show dev "$2" 2>/dev/null | grep -qE " $3( |$)"; }
is_port() { ip -o link show dev "$1" 2>/dev/null | grep -q " master $2 "; }
is_bridge() { ip -d -o link show dev "$1" 2>/dev/null | grep -q ' bridge '; }
default_via() { inns "$1" ip route show default 2>/dev/null | grep -qE "via $2( |$)"; }
pings() { inns "$1" ping -c 1 -W 1 "$2" >/dev/null 2>&1; }
forwarding() { [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ]; }
policy() { iptables -S "$1" | grep -qx -- "-P $1 $2"; }
rule() { iptables -t "$1" -S "$2" 2>/dev/null | grep -qE -- "$3"; }
no_rule() { ! rule "$@" && return 0; return 1; }
answers() { local from=$1 url=$2 word=${3-}; if [ "$from" = host ]; then curl -s -m 3 "$url" | grep -q -- "$word"; else on "$from" curl -s -m 3 "$url" | grep -q -- "$word"; fi; }
running() { [ "$(mydocker inspect -f '{{.State.Status}}' "$1" 2>/dev/null)" = running ]; }
eventually() { # for what takes the kernel a moment; gives up after 3 s: the machine may be busy
    local end=$((${EPOCHREALTIME/[.,]/} + 3000000))
    while ! "$@" >/dev/null 2>&1; do
        [ ${EPOCHREALTIME/[.,]/} -lt $end ] || return 1
        sleep 0.05
    done
}
pid_of() { mydocker inspect -f '{{.State.Pid}}' "$1"; }
on_net() { mydocker inspect -f '{{range $name, $x := .NetworkSettings.Networks}}{{$name}} {{end}}' "$1" 2>/dev/null | grep -qw -- "$2"; }
ip_of() { mydocker inspect -f "{{with index .NetworkSettings.Networks \"$2\"}}{{.IPAddress}}{{end}}" "$1"; }
