# What a lab that is done on the machine itself changes, and how it is undone: a picture of the machine before, and the way back to it.
# A picture is a directory with a sorted list in each file.
picture() { # DIR
    mkdir -p "$1"
    awk '$2 !~ "^/(run|var/run)/netns/" {print $2}' /proc/mounts | sort >"$1/mounts"
    ip netns list | awk '{print $1}' | sort >"$1/namespaces"
    ip -o link show | awk -F': ' '{sub(/@.*/, "", $2); print $2}' | sort >"$1/links"
    ip -o link show | sed -nE 's/^[0-9]+: ([^:@]+).* master ([^ ]+) .*/\1 \2/p' | sort >"$1/ports"
    ip -o link show | awk -F': ' '$3 ~ /[<,]UP[,>]/ {sub(/@.*/, "", $2); print $2}' | sort >"$1/up"
    ip -o addr show | awk '$4 !~ /^fe80:/ {print $2, $4}' | sort >"$1/addresses"
    ip -4 route show | sed 's/ *$//; s/ linkdown//' | sort >"$1/routes"
    { grep -H '' /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/{rp_filter,route_localnet,forwarding} || :; } | sort >"$1/settings"
    mydocker ps -aq --no-trunc | sort >"$1/containers"
    mydocker network ls -q --no-trunc | sort >"$1/networks"
    mydocker images -aq --no-trunc | sort -u >"$1/images"
    mydocker volume ls -q | sort >"$1/volumes"
    local family
    for family in iptables ip6tables; do
        if command -v $family-save >/dev/null; then
            rules $family >"$1/$family"
            saved $family >"$1-$family"
        fi
    done
}
# rules are those that there are, and policies other than ACCEPT: a table that was only looked at is there afterwards, and empty.
rules() { # iptables|ip6tables
    $1-save 2>/dev/null | awk '/^[*]/ {table = substr($0, 2)} /^-A/ || /^:/ && $2 != "ACCEPT" && $2 != "-" {sub(/ \[[0-9]+:[0-9]+\]/, ""); print table, $0}'
}
# saved is for iptables-restore, which flushes a table that is named.
saved() { # iptables|ip6tables
    local table
    for table in raw mangle nat filter; do
        if $1-save 2>/dev/null | grep -q "^[*]$table"; then $1-save -t $table; else printf '*%s\nCOMMIT\n' $table; fi
    done
}
new() { comm -13 "$before/$1" "$now/$1"; }
gone() { comm -23 "$before/$1" "$now/$1"; }
undo() { # DIR
    before=$1 now=$1-now
    local x y family
    picture "$now"
    for x in $(new containers); do mydocker rm -f -v "$x" >/dev/null || :; done
    for x in $(new networks); do mydocker network rm "$x" >/dev/null || :; done
    for x in $(new volumes); do mydocker volume rm "$x" >/dev/null || :; done
    for x in $(new images); do mydocker rmi -f "$x" >/dev/null || :; done
    picture "$now"
    for x in $(new mounts | sort -r); do umount "$x" || :; done
    for x in $(new namespaces); do
        for y in $(ip netns pids "$x"); do kill "$y" || :; done
        ip netns del "$x" || :
    done
    for x in $(new links); do ip link del "$x" 2>/dev/null || :; done
    picture "$now"
    new ports | while read -r x y; do ip link set "$x" nomaster; done
    gone ports | while read -r x y; do ip link set "$x" master "$y"; done
    for x in $(gone up); do ip link set "$x" up; done
    for x in $(new up); do ip link set "$x" down; done
    new addresses | while read -r x y; do ip addr del "$y" dev "$x"; done
    gone addresses | while read -r x y; do ip addr add "$y" dev "$x"; done
    picture "$now"
    gone settings | while IFS=: read -r x y; do if [ -e "$x" ]; then echo "$y" >"$x"; fi; done
    new routes | while read -r x; do ip route del $x; done
    gone routes | while read -r x; do ip route add $x; done
    for family in iptables ip6tables; do
        if [ -e "$before/$family" ] && ! cmp -s "$before/$family" "$now/$family"; then $family-restore <"$before-$family"; fi
    done
    picture "$now"
    # A mount whose directory somebody else has removed meanwhile went with it.
    gone mounts | while read -r x; do if [ ! -e "$x" ]; then echo "$x"; fi; done >"$1-removed"
    comm -23 "$before/mounts" "$1-removed" >"$1-kept"
    mv "$1-kept" "$before/mounts"
    if ! diff -r "$before" "$now"; then echo "This is not as it was before the lab: < is gone, > is new."; return 1; fi
    rm -r "$before"*
}
