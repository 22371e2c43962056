package topology

import (
	"strings"
	"testing"
)

// IPv6 is drawn as IPv4 is: addresses, routes, published ports and the way out, by hand with ip6tables and from a map of nftables.
func TestIPv6(t *testing.T) {
	sh(t, `ip link add br0 type bridge; ip addr add fd00:7::1/64 dev br0 nodad; ip link set br0 up
		ip netns add n6; ip link add v6 up master br0 type veth peer name eth0 netns n6; ip -n n6 addr add fd00:7::2/64 dev eth0 nodad; ip -n n6 link set eth0 up; ip -n n6 route add default via fd00:7::1
		ip6tables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination [fd00:7::2]:80
		ip6tables -t nat -A PREROUTING -d fd99::1 -p udp --dport 53 -j DNAT --to-destination fd00:7::2
		ip6tables -t nat -A POSTROUTING -s fd00:7::/64 ! -o br0 -j MASQUERADE
		nft 'table ip6 own { map ports { type inet_proto . inet_service : ipv6_addr . inet_service; elements = { tcp . 9090 : fd00:7::2 . 90 }; }; chain pre { type nat hook prerouting priority -99; dnat ip6 to meta l4proto . th dport map @ports; }; }'`)
	defer sh(t, unplug+`ip netns del n6; ip link del br0; nft flush ruleset`)
	v := view(t)
	texts := words(t, "en")
	pictures := map[string]string{"text": Text(v, texts, 100), "html": HTML(v, texts), "svg": SVG(v, texts), "dot": Dot(v, texts), "mermaid": Mermaid(v, texts)}
	for format, picture := range pictures {
		for _, want := range []string{"[::]:8080/tcp", "[fd00:7::2]:80", "[fd99::1]:53/udp", "[::]:9090/tcp", "[fd00:7::2]:90", "fd00:7::/64", "fd00:7::1/64"} {
			if !strings.Contains(picture, want) {
				t.Errorf("%s does not show %s:\n%s", format, want, picture)
			}
		}
	}
	if len(v.Ports) != 3 || v.Ports[0].Space != "n6" {
		t.Errorf("ports: %+v", v.Ports)
	}
}

// A fault is marked in each picture.
func TestMarkedEverywhere(t *testing.T) {
	sh(t, `ip link add br0 up type bridge; ip netns add n6; ip link add v6 up master br0 type veth peer name eth0 netns n6`)
	defer sh(t, unplug+`ip netns del n6; ip link del br0`)
	v := view(t)
	v.Mark("n6:eth0", []string{"n6", "eth0"}, "the cable is down")
	texts := words(t, "zh")
	for format, picture := range map[string]string{"text": Text(v, texts, 100), "html": HTML(v, texts), "svg": SVG(v, texts), "dot": Dot(v, texts), "mermaid": Mermaid(v, texts)} {
		if !strings.Contains(picture, "the cable is down") || !strings.Contains(picture, "!1") {
			t.Errorf("%s has no mark, or not its text:\n%s", format, picture)
		}
	}
}
