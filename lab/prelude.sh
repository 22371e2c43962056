# Words for checks. Each is quiet, and succeeds when what it says is so. NS is a network namespace's name, or - for the host.
inns() { local ns=$1; shift; if [ "$ns" = - ]; then "$@"; else ip netns exec "$ns" "$@"; fi; }
not() { if "$@" >/dev/null 2>&1; then return 1; fi; }
has_netns() { ip netns list | grep -qE "^$1( |$)"; }
has_link() { inns "$1" ip link show dev "$2" >/dev/null 2>&1; }
link_up() { inns "$1" ip -o link show dev "$2" 2>/dev/null | grep -qE '<([A-Z_,-]*,)?UP[,>]'; }
has_addr() { inns "$1" ip -o addr show dev "$2" 2>/dev/null | grep -qE " $3( |$)"; }
is_port() { ip -o link show dev "$1" 2>/dev/null | grep -q " master $2 "; }
is_bridge() { ip -d -o link show dev "$1" 2>/dev/null | grep -q ' bridge '; }
default_via() { inns "$1" ip route show default 2>/dev/null | grep -qE "via $2( |$)"; }
pings() { inns "$1" ping -c 1 -W 1 "$2" >/dev/null 2>&1; }
forwarding() { [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ]; }
policy() { iptables -S "$1" | grep -qx -- "-P $1 $2"; }
rules() { # TABLE CHAIN: what packets meet there, as `iptables -S` writes it, with -s -d -i -o -p in front. The rules of a chain that somebody
    # has made, and those of nft, are shown as if they stood in the chain itself: they do the same. Those of mydocker's chains are left out.
    { iptables-save -t "$1" 2>/dev/null; echo '*nft'; nft list ruleset 2>/dev/null; } | awk -v table="$1" -v chain="$2" '
        function show(pre, text,    n, w, i, no, f, rest, target) {
            n = split(pre text, w, " ")
            for (i = 1; i <= n; i++) {
                if (w[i] == "!") { no = "! "; continue }
                if (w[i] ~ /^"/) while (w[i] !~ /"$/ && i < n) rest = rest w[i++] " " # a comment may say -s
                if (w[i] ~ /^-[sdiop]$/) { f[w[i]] = f[w[i]] no w[i] " " w[i+1] " "; i++ }
                else if (w[i] == "-j" || w[i] == "-g") { for (; i <= n; i++) target = target " " w[i] }
                else rest = rest no w[i] " "
                no = ""
            }
            pre = f["-s"] f["-d"] f["-i"] f["-o"] f["-p"] rest
            sub(/^ /, "", target); print "-A " chain " " pre target
            split(target, w, " ")
            if (w[2] in count && w[2] != chain && w[2] !~ /^MYDOCKER/ && depth < 8) { depth++; for (i = 1; i <= count[w[2]]; i++) show(pre, line[w[2], i]); depth-- }
        }
        /^\*nft/ { nft = 1; for (i = 1; i <= count[chain]; i++) show("", line[chain, i]) }
        !nft && /^:/ { count[substr($1, 2)] += 0 }
        !nft && /^-A / { c = $2; sub(/^-A [^ ]+ /, ""); line[c, ++count[c]] = $0 }
        nft && /^\tchain / { hook = ""; own = $2 ~ /^[A-Z]/ }
        nft && / hook / { hook = ($2 == "nat" ? "nat " : "filter ") toupper($4); next }
        nft && hook == table " " chain && !own && /^\t\t/ {
            gsub(/\t/, " "); gsub(/counter packets [0-9]+ bytes [0-9]+/, ""); gsub(/"/, ""); gsub(/!= /, "! ")
            $0 = " " $0 " "; gsub(/ oif(name)? ! /, " ! -o "); gsub(/ oif(name)? /, " -o "); gsub(/ iif(name)? ! /, " ! -i "); gsub(/ iif(name)? /, " -i ")
            gsub(/ip saddr ! /, "! -s "); gsub(/ip saddr /, "-s "); gsub(/ip daddr ! /, "! -d "); gsub(/ip daddr /, "-d ")
            gsub(/tcp dport /, "-p tcp --dport "); gsub(/udp dport /, "-p udp --dport "); gsub(/fib daddr type local/, "-m addrtype --dst-type LOCAL")
            if (match($0, /ct state [a-z,]+/)) { state = toupper(substr($0, RSTART + 9, RLENGTH - 9)); sub(/ct state [a-z,]+/, "-m conntrack --ctstate " state) }
            sub(/dnat (ip )?to /, "-j DNAT --to-destination "); sub(/snat (ip )?to /, "-j SNAT --to-source "); sub(/ masquerade/, " -j MASQUERADE")
            sub(/ accept /, " -j ACCEPT "); sub(/ drop /, " -j DROP ")
            n = split($0, w, " "); text = ""
            for (i = 1; i <= n; i++) text = text w[i] (w[i-1] ~ /^-[sd]$/ && w[i] !~ /\// ? "/32 " : " ")
            show("", text)
        }' | sed 's/ *$//'
}
rule() { rules "$1" "$2" | grep -E -- "$3" >/dev/null; }
each() { # TABLE CHAIN KIND PATTERN: there are rules of this kind, and all fit; prints those that do not
    local found; found=$(rules "$1" "$2" | grep -E -- "$3" | grep -v '"mydocker ') || return 1
    ! grep -vE -- "$4" <<<"$found" && return 0; return 1
}
hides() { rules nat POSTROUTING | grep -E -- '-j (MASQUERADE|SNAT)' | grep -E -- "^-A POSTROUTING (-s $1 |-[^s]|! -[^s])" >/dev/null; }
hides_leaving() { each nat POSTROUTING '-j (MASQUERADE|SNAT)' " (! -d [^ ]+|! -o $1|-o eth0) "; }
lets_in() { # LINK NETWORK: new connections are accepted that do not come from there
    rules filter FORWARD | grep -E -- '-j ACCEPT' | grep -v '"mydocker ' | grep -vE -- " (-i $1|-s $2) " | grep -vE -- '--(ct)?state [DNATRELIDSHBU,]+ ' | grep . >/dev/null && return 0
    rules filter FORWARD | grep -E -- '-j ACCEPT' | grep -vE -- " (-i $1|-s $2) " | grep -E -- '--(ct)?state [A-Z,]*NEW' >/dev/null
}
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
on_net() { running "$1" && mydocker inspect -f '{{range $name, $x := .NetworkSettings.Networks}}{{$name}} {{end}}' "$1" 2>/dev/null | grep -qw -- "$2"; }
ip_of() { mydocker inspect -f "{{with index .NetworkSettings.Networks \"$2\"}}{{.IPAddress}}{{end}}" "$1"; }
