package doctor

// injections6 are the faults of IPv6: those that IPv4 has as well, and its own.
func injections6() []injection {
	return []injection{
		// Links.
		{"6: bridge down", byHand6, run("ip link set br7 down"), []string{"bridge-down br7"}, true},
		{"6: bridge of ours down", dual, run("ip link set br0 down"), []string{"bridge-down br0"}, true},
		{"6: bridge of ours deleted", dual, run("ip link del br0"), []string{"bridge-missing br0"}, true},
		{"6: inner end down", dual, run("ip -n db link set eth0 down"), []string{"veth-down db:eth0"}, true},
		{"6: cable pulled out", byHand6, run("ip link set v2 nomaster"), []string{"veth-not-enslaved v2"}, true},
		{"6: two cables and no bridge", func(*scene) {}, run(`for i in 1 2; do ip netns add n$i; ip link add c$i type veth peer name eth0 netns n$i; ip link set c$i up
			ip -n n$i link set lo up; ip -n n$i link set eth0 up; ip -n n$i addr add fd00:5::1$i/64 dev eth0 nodad; done`), []string{"veths-without-bridge c1 c2"}, true},
		{"6: host's NIC in the bridge", byHand6, run("ip link set eth0 master br7"), []string{"nic-in-bridge eth0"}, true},

		// Addresses and routes.
		{"6: address taken away", dual, run("ip -n db -6 addr flush dev eth0 scope global"), []string{"address-missing db"}, true},
		{"6: switched off in a container", dual, run("ip netns exec db sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1"), []string{"ipv6-disabled db"}, true},
		{"6: bridge without address", byHand6, run("ip -6 addr flush dev br7 scope global"), []string{"bridge-without-address br7"}, true},
		{"6: bridge of ours without address", dual, run("ip -6 addr flush dev br0 scope global"), []string{"bridge-without-address br0"}, true},
		{"6: wrong gateway", byHand6, run("ip -n ns2 -6 route replace default via fd00:7::fe"), []string{"wrong-gateway ns2"}, true},
		{"6: no route to the neighbours", dual, run("ip -6 route flush dev br0"), []string{"no-neighbour-route br0"}, true},
		{"6: no default route", byHand6, run("ip -n ns2 -6 route del default"), []string{"no-default-route ns2"}, true},
		{"6: no default route of ours", dual, run("ip -n db -6 route del default"), []string{"no-default-route db"}, true},
		{"6: the host's default route is lost", func(s *scene) {
			must(s.t, "ip addr add 2a00:99::1/64 dev eth0 nodad; ip -n lan addr add 2a00:99::2/64 dev eth0 nodad")
			dual(s)
		}, run("ip -6 route del default"), []string{"no-way-out host"}, true},
		{"6: black hole", byHand6, run("ip -6 route add blackhole fd00:7::12/128"), []string{"blackhole-route host"}, true},
		{"6: wrong netmask", byHand6, run("ip -n ns2 addr del fd00:7::12/64 dev eth0; ip -n ns2 addr add fd00:7::12/48 dev eth0 nodad; ip -n ns2 -6 route replace default via fd00:7::1"), []string{"wrong-netmask ns2"}, true},
		{"6: duplicate address", byHand6, run("ip -n ns2 addr flush dev eth0 scope global; ip -n ns2 addr add fd00:7::11/64 dev eth0 nodad; ip -n ns2 -6 route replace default via fd00:7::1"), []string{"duplicate-address fd00:7::11"}, true},
		{"6: an address that the neighbour has", dual, run("ip -n lan addr add fd99::1/64 dev eth0; for i in $(seq 600); do ip -n lan addr show dev eth0 dadfailed | grep -q fd99::1 && break; sleep 0.1; done"), []string{"dad-failed lan:fd99::1"}, false},
		{"6: wrong static neighbour", byHand6, run("ip neigh replace fd00:7::11 lladdr 02:aa:bb:cc:dd:ee dev br7 nud permanent"), []string{"wrong-neighbor host:fd00:7::11"}, true},
		{"6: overlapping subnets", dual, run("ip link add br8 type bridge; ip addr add fd00:30::200/48 dev br8 nodad; ip link set br8 up"), []string{"overlapping-subnets br0 br8"}, false},
		{"6: a VPN's route", dual, run("ip route add fd00:30::/80 via fd99::2"), []string{"route-overlap br0"}, false},
		{"6: big packets", byHand6, run("ip link set eth0 mtu 1400"), []string{"mtu ns1", "mtu ns2"}, true},

		// Settings.
		{"6: forwarding off", dual, run("sysctl -qw net.ipv6.conf.all.forwarding=0"), []string{"ip6-forward-off host"}, true},
		{"6: forwarding off by hand", byHand6, run("sysctl -qw net.ipv6.conf.all.forwarding=0"), []string{"ip6-forward-off host"}, true},
		{"6: a router that no longer listens to routers", dual, run("ip -6 route replace default via fd99::2 proto ra; sysctl -qw net.ipv6.conf.eth0.accept_ra=1"), []string{"accept-ra host:eth0"}, true},
		{"6: a router that has lost its own router", dual, run("ip -6 route del default; ip addr add fd77::5/64 dev eth0 valid_lft 3000 preferred_lft 3000 nodad; sysctl -qw net.ipv6.conf.eth0.accept_ra=1"), []string{"accept-ra host:eth0"}, true},

		// Rules.
		{"6: FORWARD DROP by hand", byHand6, run("ip6tables -P FORWARD DROP"), []string{"forward-policy br7"}, true},
		{"6: FORWARD DROP after ip6tables -F", dual, run("ip6tables -F; ip6tables -P FORWARD DROP"), []string{"forward-policy br0"}, true},
		{"6: bridge-nf", byHand6, run("ip -n ns1 -6 route del default; ip -n ns2 -6 route del default; ip6tables -t nat -F; sysctl -qw net.bridge.bridge-nf-call-ip6tables=1; ip6tables -P FORWARD DROP"), []string{"bridge-nf br7"}, true},
		{"6: foreign DROP", dual, run("ip6tables -I FORWARD -i br0 -j DROP"), []string{"foreign-drop ip6 filter FORWARD: -i br0 -j DROP"}, true},
		{"6: foreign DROP by nft", byHand6, run("nft 'add table inet fw'; nft 'add chain inet fw f { type filter hook forward priority 10; }'; nft 'add rule inet fw f ip6 saddr fd00:7::/64 drop'"), []string{"foreign-drop inet fw f: ip6 saddr fd00:7::/64 drop"}, true},
		{"6: old and new ip6tables", byHand6, run("ip6tables -A FORWARD -i br7 -j ACCEPT; ip6tables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT"), []string{"legacy-split host"}, true},
		{"6: ICMPv6 dropped", byHand6, run("ip6tables -P INPUT DROP"), []string{"neighbor-discovery br7"}, true},
		{"6: no MASQUERADE", byHand6, run("ip6tables -t nat -D POSTROUTING 1"), []string{"masquerade-missing br7"}, true},
		{"6: no MASQUERADE of ours", dual, run("ip6tables -t nat -D POSTROUTING 1"), []string{"masquerade-missing br0"}, true},
		{"6: MASQUERADE for the wrong link", byHand6, run("ip6tables -t nat -R POSTROUTING 1 -s fd00:7::/64 -o br7 -j MASQUERADE"), []string{"masquerade-misplaced br7"}, true},
		{"6: SNAT to an address of nobody", byHand6, run("ip6tables -t nat -R POSTROUTING 1 -s fd00:7::/64 -o eth0 -j SNAT --to-source fd99::50"), []string{"snat-wrong br7"}, true},
		{"6: ip6tables -F of ours", dual, run("ip6tables -F"), []string{"isolation-missing br0"}, true},

		// Published ports.
		{"6: DNAT gone", dual, run("ip6tables -t nat -F MYDOCKER"), []string{"dnat-missing port 8080/tcp"}, true},
		{"6: DNAT gone, without a default route", func(s *scene) { must(s.t, "ip -6 route del default"); dual(s) }, run("ip6tables -t nat -F MYDOCKER"), []string{"dnat-missing port 8080/tcp"}, true},
		{"6: DNAT shadowed by hand", byHand6, run("ip6tables -t nat -I PREROUTING -p tcp --dport 9090 -j RETURN"), []string{"dnat-shadowed port 9090/tcp"}, true},
		{"6: DNAT to nobody", byHand6, run("ip6tables -t nat -R PREROUTING 1 -p tcp --dport 9090 -j DNAT --to-destination [fd00:7::99]:90"), []string{"dnat-wrong port 9090/tcp"}, true},
		{"6: DNAT in OUTPUT", byHand6, run("ip6tables -t nat -F PREROUTING; ip6tables -t nat -A OUTPUT ! -d ::1/128 -p tcp --dport 9090 -j DNAT --to-destination [fd00:7::11]:90"), []string{"dnat-wrong-chain port 9090/tcp"}, true},
		{"6: no hairpin by hand", byHand6, run("ip6tables -t nat -D POSTROUTING 2"), []string{"hairpin br7"}, true},
		{"6: listens by IPv4 only", dual, func(s *scene) { s.listeners[0].Close(); s.serve("web", "0.0.0.0:80") }, []string{"listens-on-ipv4-only web port 8080/tcp"}, false},
		{"6: listens on ::1", byHand6, func(s *scene) { s.listeners[0].Close(); s.serve("ns1", "[::1]:90") }, []string{"listens-on-loopback ns1 port 9090/tcp"}, false},

		// Names.
		{"6: resolver without a route", byHand6, run("ip -n ns1 -6 route del default; ip6tables -t nat -D POSTROUTING 1; ip -n lan route add fd00:7::/64 via fd99::1; mkdir -p /etc/netns/ns1; echo nameserver fd99::2 > /etc/netns/ns1/resolv.conf"), []string{"resolver-unreachable ns1"}, false},
	}
}
