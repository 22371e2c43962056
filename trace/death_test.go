package trace

import (
	"strings"
	"testing"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/world"
)

// The same ways by IPv6, by either backend.
func TestIPv6(t *testing.T) {
	for backend, rule := range map[string]string{network.FirewallIPTables: "ip6 nat MYDOCKER: DNAT  (container web)", network.FirewallNFTables: "ip6 mydocker publish: DNAT  (container web)"} {
		t.Run(backend, func(t *testing.T) {
			p := newDual(t, backend)
			six := Options{Six: true}
			said(t, p.traceWith("outside", "host:8080", six), "Probe: tcp from outside to host ([fd99::1]:8080)", "lan", "out by eth0", "[fd99::2]:", "> [fd99::1]:8080 [SYN]", "host", "in by eth0", rule,
				"[fd99::1]:8080 has become [fd99::2]:", "> [fd00:30::2]:80", "ACCEPT  (network br0)", "out by br0", "(port of br0)", "web", "in by eth0", "The answer:",
				"web", "out by eth0", "[fd00:30::2]:80 > [fd99::2]:", "[SYN ACK]", "has become [fd99::1]:8080 > [fd99::2]", "lan", "in by eth0", "the connection stands")
			said(t, p.traceWith("db", "outside/icmp", six), "fd00:30::3 > fd99::2 [echo]", "in by br0", "MASQUERADE", "fd00:30::3 > fd99::2 has become fd99::1 > fd99::2", "out by eth0", "The answer:",
				"fd99::2 > fd99::1 [reply]", "db", "in by eth0", "outside has answered")
			said(t, p.trace("db", "[fd00:30::2]:80"), "db", "out by eth0", "web", "in by eth0", "the connection stands")
			if tr := p.traceWith("db", "outside:9/udp", six); tr.Outcome != Refused {
				t.Errorf("a UDP port that nobody has: %s, %v", tr.Outcome, tr.SendErr)
			}
			must(t, "sysctl -qw net.ipv6.conf.all.forwarding=0")
			said(t, p.dies("db", "outside/icmp", six), "in by br0", "Died in host, after it came in by br0: net.ipv6.conf.all.forwarding is 0")
			must(t, "sysctl -qw net.ipv6.conf.all.forwarding=1; ip6tables -I FORWARD 1 -s fd00:30::3 -m comment --comment spite -j DROP")
			said(t, p.dies("db", "outside/icmp", six), "in by br0", "ip6 filter FORWARD: DROP  (not mydocker's)", "spite", "Died in host, in ip6 filter FORWARD: ")
		})
	}
}

// Where it dies without a rule's doing, the kernel's counters, its neighbours and ICMP say why.
func TestDeathBetweenHooks(t *testing.T) {
	p := newPlace(t, network.FirewallIPTables)
	for _, c := range []struct {
		name, script, undo string
		from, to           string
		o                  Options
		wants              []string
	}{
		{"no neighbour", "", "", "outside", "172.30.0.77:80", Options{}, []string{"in by eth0", "Died in host: nobody on br0 answers to the question who has 172.30.0.77"}},
		{"no neighbour of the sender", "", "", "db", "172.30.0.99:80", Options{}, []string{"Died in db: nobody on eth0 answers to the question who has 172.30.0.99"}},
		{"no route", "ip route del default", "ip route add default via 10.99.0.2", "db", "198.51.100.9/icmp", Options{}, []string{"in by br0", "Died in host: it has no route to 198.51.100.9"}},
		{"black hole", "ip route add blackhole 198.51.100.9/32", "ip route del blackhole 198.51.100.9/32", "db", "198.51.100.9/icmp", Options{}, []string{"Died in host: it has no route to 198.51.100.9"}},
		{"strict rp_filter", "ip -n db addr add 198.18.0.9/32 dev lo; sysctl -qw net.ipv4.conf.br0.rp_filter=1; nft add table bridge mydocker; nft delete table bridge mydocker", "sysctl -qw net.ipv4.conf.br0.rp_filter=0",
			"198.18.0.9", "outside/icmp", Options{}, []string{"198.18.0.9 > 10.99.0.2 [echo]", "Died in host, after it came in by br0: the answer to 198.18.0.9 would leave by another link, and net.ipv4.conf.br0.rp_filter is strict"}},
		{"wrong DNAT", "iptables -t nat -I PREROUTING -p tcp --dport 8081 -j DNAT --to-destination 172.30.0.66:80; iptables -I FORWARD -p tcp --dport 80 -j ACCEPT", "iptables -t nat -D PREROUTING 1; iptables -D FORWARD 1", "outside", "host:8081", Options{},
			[]string{"nat PREROUTING: DNAT  (not mydocker's)", "has become", "> 172.30.0.66:80", "Died in host: nobody on br0 answers to the question who has 172.30.0.66"}},
		{"DNAT to a bridge without ports", "ip link add br9 type bridge; ip addr add 172.31.9.1/24 dev br9; ip link set br9 up; iptables -t nat -I PREROUTING -p tcp --dport 8081 -j DNAT --to-destination 172.31.9.66:80; iptables -I FORWARD -p tcp --dport 80 -j ACCEPT",
			"iptables -t nat -D PREROUTING 1; iptables -D FORWARD 1; ip link del br9", "outside", "host:8081", Options{}, []string{"> 172.31.9.66:80", "Died in host: nobody on br9 answers to the question who has 172.31.9.66"}},
		{"no DNAT", "", "", "outside", "host:8099", Options{}, []string{"in by eth0", "Refused by host itself: no rule leads port 8099 on to a container"}},
		{"a narrow way out", "ip link set eth0 mtu 1300", "ip link set eth0 mtu 1500", "db", "outside/icmp", Options{Size: 1400}, []string{"Died in host: 1400 bytes are more than eth0 carries (mtu 1300)"}},
		{"a narrow sender", "", "", "db", "outside:9/udp", Options{Size: 4000}, []string{"Died in db: 4000 bytes are more than eth0 carries (mtu 1500)"}},
		{"the far end is off", "ip -n lan link set eth0 down", "ip -n lan link set eth0 up; ip -n lan addr add fd99::2/64 dev eth0 nodad 2>/dev/null || true", "db", "10.99.0.2/icmp", Options{}, []string{"in by br0", "in host"}},
		{"refused by a rule", "iptables -I FORWARD 1 -s 172.30.0.3 -j REJECT --reject-with icmp-admin-prohibited", "iptables -D FORWARD 1", "db", "outside/icmp", Options{}, []string{"filter FORWARD: REJECT  (not mydocker's)", "Died in host, in filter FORWARD"}},
		{"input dropped", "ip netns exec lan iptables -A INPUT -p icmp -j DROP", "ip netns exec lan nft flush ruleset", "db", "outside/icmp", Options{}, []string{"lan", "filter INPUT: DROP", "Died in lan, in filter INPUT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, "ip -n lan route replace 172.30.0.0/24 via 10.99.0.1; iptables -F MYDOCKER-IN; true;"+c.script)
			defer must(t, "ip neigh flush all; true; "+c.undo)
			p.t = t
			said(t, p.dies(c.from, c.to, c.o), c.wants...)
		})
	}
	must(t, "ip -n lan route del 172.30.0.0/24")
}

// A host whose iptables is the old one: mydocker's own rules are told, too, each where the packet met it, by both families.
func TestLegacy(t *testing.T) {
	must(t, `for p in iptables ip6tables; do for s in "" -save -restore; do mount --bind /usr/sbin/xtables-legacy-multi $(readlink -f $(command -v $p$s)); done; done 2>/dev/null || true`)
	t.Cleanup(func() {
		must(t, `while mountpoint -q $(readlink -f $(command -v iptables)); do umount $(readlink -f $(command -v iptables)); done`)
	})
	p := newDual(t, network.FirewallIPTables)
	must(t, "iptables -V | grep legacy >/dev/null")
	tr := p.trace("outside", "host:8080")
	said(t, tr, "in by eth0", "nat MYDOCKER: DNAT  (container web; by its counter)", "has become 10.99.0.2:", "> 172.30.0.2:80", "filter MYDOCKER-IN: ACCEPT  (network br0; by its counter)", "out by br0", "The answer:", "the connection stands")
	said(t, p.trace("db", "outside/icmp"), "in by br0", "filter MYDOCKER-OUT: ACCEPT  (network br0; by its counter)", "nat POSTROUTING: MASQUERADE  (network br0; by its counter)", "172.30.0.3 > 10.99.0.2 has become 10.99.0.1 > 10.99.0.2", "out by eth0", "outside has answered")
	said(t, p.traceWith("outside", "host:8080", Options{Six: true}), "in by eth0", "ip6 nat MYDOCKER: DNAT  (container web; by its counter)", "> [fd00:30::2]:80", "the connection stands")
	must(t, "iptables -I FORWARD 1 -s 172.30.0.3/32 -m comment --comment spite -j DROP")
	tr = p.dies("db", "outside/icmp", Options{})
	if d := tr.Dropped(); d == nil || d.Kind != "counter" || d.Chain != "filter FORWARD" || d.Owner != "" {
		t.Errorf("dropped by %+v", d)
	}
	said(t, tr, "in by br0", "filter FORWARD: DROP  (not mydocker's; by its counter)", "spite", "The old iptables tells of no packet", "Died in host, in filter FORWARD")
	must(t, "iptables -F FORWARD; iptables -P FORWARD DROP")
	said(t, p.dies("db", "outside/icmp", Options{}), "in by br0", "filter FORWARD: DROP", "Died in host, in filter FORWARD: -P FORWARD DROP")
	must(t, "iptables -P FORWARD ACCEPT; iptables -A FORWARD -j MYDOCKER-FORWARD")
}

func TestReadCounters(t *testing.T) {
	counts := map[string]uint64{}
	readCounters("TcpExt: A B\nTcpExt: 1 2\nIpExt: C\nIpExt: 3\n", counts)
	readCounters("Ip6InNoRoutes   \t7\n", counts)
	for name, want := range map[string]uint64{"TcpExt.A": 1, "TcpExt.B": 2, "IpExt.C": 3, "Ip6InNoRoutes": 7} {
		if counts[name] != want {
			t.Errorf("%s is %d", name, counts[name])
		}
	}
}

func TestResolveSize(t *testing.T) {
	p := newDual(t, network.FirewallIPTables)
	w, err := world.Read(t.Context(), world.Options{Root: p.root})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to string
		o        Options
		want     string
	}{
		{"db", "web:80", Options{Size: 100}, "--size is for"}, {"db", "web/icmp", Options{Size: 20}, "from 28 to"}, {"db", "web/icmp", Options{Size: 47, Six: true}, "from 48 to"},
		{"172.30.0.3", "[fd00:30::2]:80", Options{}, "one is an IPv4 address"}, {"203.0.113.200", "web:80", Options{}, "nobody here has the address"}, {"db", "lan:80", Options{Six: true}, ""},
	} {
		if _, err := Resolve(w, c.from, c.to, c.o); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %s: %v", c.from, c.to, err)
		}
	}
}

// Who has IPv6 addresses only is heard by IPv6, without a word about it.
func TestResolveFamily(t *testing.T) {
	p := newDual(t, network.FirewallIPTables)
	must(t, `ip netns add six; ip link add six0 type veth peer name eth0 netns six; ip addr add fd00:77::1/64 dev six0 nodad; ip link set six0 up
		ip -n six addr add fd00:77::2/64 dev eth0 nodad; ip -n six link set eth0 up; ip -n six route add default via fd00:77::1`)
	t.Cleanup(func() { must(t, "ip netns del six") })
	look := func() *world.World {
		w, err := world.Read(t.Context(), world.Options{Root: p.root})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	w := look()
	for _, c := range [][3]string{{"db", "web:80", "172.30.0.2:80"}, {"six", "web:80", "[fd00:30::2]:80"}, {"six", "host:80", "[fd00:77::1]:80"}, {"six", "203.0.113.9:80", "203.0.113.9:80"}, {"web", "six:80", "[fd00:77::2]:80"}} {
		if r, err := Resolve(w, c[0], c[1], Options{}); err != nil || r.To.String() != c[2] {
			t.Errorf("%s %s: %+v, %v", c[0], c[1], r, err)
		}
	}
	must(t, "ip -n lan -4 addr del 10.99.0.2/24 dev eth0; ip route del default; ip -6 route replace default via fd99::2")
	t.Cleanup(func() {
		must(t, "ip -n lan addr add 10.99.0.2/24 dev eth0; ip route add default via 10.99.0.2; ip -6 route del default")
	})
	w = look()
	for _, c := range [][3]string{{"outside", "host:80", "[fd99::1]:80"}, {"six", "outside:80", "[fd99::2]:80"}, {"web", "outside:80", "[fd99::2]:80"}} {
		if r, err := Resolve(w, c[0], c[1], Options{}); err != nil || r.To.String() != c[2] {
			t.Errorf("outside speaks IPv6 only, %s %s: %+v, %v", c[0], c[1], r, err)
		}
	}
}

// Between a macvlan and the link that it stands on the kernel passes nothing, though all others reach both.
func TestMacvlan(t *testing.T) {
	p := newPlace(t, network.FirewallIPTables)
	must(t, "ip netns add mv; ip link add link eth0 name mv0 netns mv type macvlan mode bridge; ip -n mv addr add 10.99.0.50/24 dev mv0; ip -n mv link set mv0 up")
	t.Cleanup(func() { must(t, "ip netns del mv; ip neigh flush all") })
	for _, ends := range [][3]string{{"host", "mv/icmp", "Died in host: from eth0 to 10.99.0.50 a macvlan would be crossed"}, {"mv", "10.99.0.1/icmp", "Died in mv: from mv0 to 10.99.0.1 a macvlan would be crossed"}} {
		said(t, p.dies(ends[0], ends[1], Options{}), ends[2])
	}
	if tr := p.trace("outside", "mv/icmp"); tr.Outcome != Answered {
		t.Errorf("the neighbour reaches it: %s, %v", tr.Outcome, tr.SendErr)
	}
	said(t, p.dies("host", "10.99.0.51/icmp", Options{}), "nobody on eth0 answers to the question who has 10.99.0.51")
}
