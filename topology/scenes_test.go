package topology

import (
	"fmt"
	"strings"
	"testing"
)

// scene is a network that articles and courses build by hand, in their order and with their commands. After each step the drawing is
// the picture that belongs there: testdata/NAME.en.txt and NAME.zh.txt.
type scene struct {
	name  string
	steps []sceneStep
	undo  string
}

type sceneStep struct{ name, commands string }

// uplink gives the host a network card, with a router behind it.
const uplink = `ip netns add lan; ip link add eth0 up type veth peer name eth0 netns lan; ip -n lan link set lo up; ip -n lan link set eth0 up
	ip -n lan addr add 192.168.0.1/16 dev eth0; ip addr add 192.168.0.100/16 dev eth0; ip route add default via 192.168.0.1`

// unplug takes the host's cables away. A cable whose namespace is deleted goes by itself, but a moment later.
const unplug = `for l in $(ip -o link show type veth | sed 's/^[0-9]*: \([^@:]*\).*/\1/'); do ip link del $l 2>/dev/null || true; done
`

func scenes() []scene {
	return []scene{
		{"bridge-docker1", []sceneStep{
			{"namespaces and a bridge", `ip netns add ns0; ip netns add ns1; ip link add docker1 type bridge`},
			{"two cables", `ip link add veth0 type veth peer name veth0-br; ip link add veth1 type veth peer name veth1-br`},
			{"moved and plugged in", `ip link set veth0 netns ns0; ip link set veth1 netns ns1; ip link set veth0-br master docker1; ip link set veth1-br master docker1`},
			{"addresses", `ip netns exec ns0 ip addr add 172.18.0.2/24 dev veth0; ip netns exec ns1 ip addr add 172.18.0.3/24 dev veth1`},
			{"all up", `ip netns exec ns0 ip link set veth0 up; ip netns exec ns1 ip link set veth1 up; ip link set veth0-br up; ip link set veth1-br up; ip link set docker1 up`},
		}, `ip netns del ns0; ip netns del ns1; ip link del docker1`},

		{"brctl", []sceneStep{
			{"a host with a network card", uplink},
			{"a bridge", `brctl addbr br0; brctl stp br0 off; busybox ifconfig br0 192.168.10.1 netmask 255.255.255.0 up; ip netns add ns1`},
			{"a cable into the namespace", `ip link add veth-ns1 type veth peer name br0.1; ip link set veth-ns1 netns ns1`},
			{"renamed, addressed, routed", `ip netns exec ns1 sh -c 'ip link set dev veth-ns1 name eth0; busybox ifconfig eth0 192.168.10.11 netmask 255.255.255.0 up; ip link set dev lo up; ip route add default via 192.168.10.1'`},
			{"plugged into the bridge", `busybox ifconfig br0.1 up; brctl addif br0 br0.1`},
			{"the way out", `echo 1 > /proc/sys/net/ipv4/ip_forward; iptables -t nat -A POSTROUTING -s 192.168.10.0/24 -o eth0 -j MASQUERADE`},
		}, `ip netns del ns1; ip link del br0; ip netns del lan; iptables -t nat -F; echo 0 > /proc/sys/net/ipv4/ip_forward`},

		{"no-bridge", []sceneStep{
			{"two namespaces", `ip netns add ns1; ip netns add ns2`},
			{"a cable", `ip link add veth1 type veth peer name veth2`},
			{"an end for each", `ip link set veth1 netns ns1; ip link set veth2 netns ns2`},
			{"addresses", `ip netns exec ns1 busybox ifconfig veth1 172.15.0.1 netmask 255.255.255.0 up; ip netns exec ns2 busybox ifconfig veth2 172.15.0.2 netmask 255.255.255.0 up`},
			{"a default route", `ip netns exec ns1 busybox route add default dev veth1`},
		}, `ip netns del ns1; ip netns del ns2`},

		{"card-in-bridge", []sceneStep{
			{"a host with a network card, and a cable", uplink + `; ip netns add ns1; ip link add veth1 type veth peer name veth2 netns ns1; ip link set veth1 up; ip -n ns1 addr add 172.15.0.2/24 dev veth2; ip -n ns1 link set veth2 up`},
			{"both are plugged in", `brctl addbr br0; ip link set br0 up; brctl addif br0 eth0; brctl addif br0 veth1`},
			{"a route to the bridge", `busybox route add -net 172.15.0.0/24 dev br0`},
		}, `ip netns del ns1; ip link del br0; ip netns del lan`},

		{"netns0-netns1", []sceneStep{
			{"a namespace", uplink + `; ip netns add netns0`},
			{"a cable", `ip link add veth0 type veth peer name ceth0`},
			{"one end moves", `ip link set ceth0 netns netns0`},
			{"up, with addresses", `ip link set veth0 up; ip addr add 172.18.0.11/16 dev veth0; ip -n netns0 link set ceth0 up; ip -n netns0 addr add 172.18.0.10/16 dev ceth0`},
			{"a second one, in the same network", `ip netns add netns1; ip link add veth1 type veth peer name ceth1; ip link set ceth1 netns netns1; ip link set veth1 up; ip addr add 172.18.0.21/16 dev veth1
				ip -n netns1 link set ceth1 up; ip -n netns1 addr add 172.18.0.20/16 dev ceth1`},
			{"a bridge instead", `ip link add br0 type bridge; ip link set br0 up; ip addr del 172.18.0.11/16 dev veth0; ip addr del 172.18.0.21/16 dev veth1; ip link set veth0 master br0; ip link set veth1 master br0`},
			{"the bridge has an address", `ip addr add 172.18.0.1/16 dev br0`},
			{"default routes", `ip -n netns0 route add default via 172.18.0.1; ip -n netns1 route add default via 172.18.0.1`},
			{"the way out", `echo 1 > /proc/sys/net/ipv4/ip_forward; iptables -t nat -A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE`},
			{"the way in", `iptables -t nat -A PREROUTING -i eth0 -p tcp --dport 1234 -j DNAT --to 172.18.0.10:11211; iptables -t nat -A OUTPUT -d 192.168.0.100 -p tcp --dport 1234 -j DNAT --to 172.18.0.10:11211`},
		}, `ip netns del netns0; ip netns del netns1; ip link del br0; ip netns del lan; iptables -t nat -F; echo 0 > /proc/sys/net/ipv4/ip_forward`},
	}
}

func TestScenes(t *testing.T) {
	for _, s := range scenes() {
		var en, zh strings.Builder
		for i, step := range s.steps {
			sh(t, step.commands)
			v := view(t)
			fmt.Fprintf(&en, "== %d. %s\n%s\n", i, step.name, Text(v, words(t, "en"), 100))
			fmt.Fprintf(&zh, "== %d. %s\n%s\n", i, step.name, Text(v, words(t, "zh"), 100))
		}
		sh(t, unplug+s.undo)
		golden(t, s.name+".en.txt", en.String())
		golden(t, s.name+".zh.txt", zh.String())
		if len(view(t).Spaces) != 1 {
			t.Fatalf("%s: its undo leaves a namespace", s.name)
		}
	}
}
