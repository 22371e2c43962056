package trace

import (
	"net/netip"
	"testing"

	"github.com/mydocker/mydocker/network"
)

// What the guard at the bridge's ports drops is told with the guard as the one who did it, and why, though no rule of IP ever saw the packet.
func TestGuard(t *testing.T) {
	p := newDual(t, network.FirewallIPTables)
	for _, c := range []struct {
		name, script, undo string
		from, to           string
		wants              []string
	}{
		{"another's address", "ip -n db addr add 198.18.0.9/32 dev lo; ip netns exec db ping -c1 -W2 172.30.0.1", "ip -n db addr del 198.18.0.9/32 dev lo", "198.18.0.9", "outside/icmp", []string{
			"db", "out by eth0", "198.18.0.9 > 10.99.0.2 [echo]", "(port of br0)", "bridge mydocker sender: DROP  (mydocker)", "ip saddr", "Died in host, in bridge mydocker sender: ", "mydocker's guard",
			"198.18.0.9 may send only with the addresses", "this came from 198.18.0.9"}},
		{"its question", "ip -n db addr add 198.18.0.9/32 dev lo; ip -n db neigh flush all", "ip -n db addr del 198.18.0.9/32 dev lo", "198.18.0.9", "outside/icmp", []string{
			"bridge mydocker sender: DROP  (mydocker)", "arp saddr", "Died in host, in bridge mydocker sender: ", "this came from 198.18.0.9"}},
		{"an address chosen by hand", "ip -n db addr flush dev eth0; ip -n db addr add 172.30.0.77/24 dev eth0; ip -n db route add default via 172.30.0.1", "ip -n db addr flush dev eth0; ip -n db addr add 172.30.0.3/24 dev eth0; ip -n db addr add fd00:30::3/64 dev eth0 nodad; ip -n db route add default via 172.30.0.1; ip -n db route replace default via fd00:30::1", "db", "web:80", []string{
			"arp saddr", "Died in host, in bridge mydocker sender: ", "db may send only with the addresses", "this came from 172.30.0.77"}},
		{"another's IPv6 address", "ip -n db addr add fd00:30::99/64 dev eth0 nodad", "ip -n db addr del fd00:30::99/64 dev eth0", "fd00:30::99", "[fd00:30::2]:80", []string{
			"bridge mydocker sender: DROP  (mydocker)", "ip6 saddr", "Died in host, in bridge mydocker sender: ", "this came from fd00:30::99"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			must(t, c.script)
			defer must(t, c.undo)
			tr := p.dies(c.from, c.to, Options{})
			said(t, tr, c.wants...)
			if d := tr.Dropped(); d == nil || d.Owner != "mydocker" {
				t.Errorf("dropped by %+v", d)
			}
		})
	}
	p.t = t
	said(t, p.trace("db", "web:80"), "the connection stands") // nothing is left, and the guard lets the usual pass
}

func TestGuardOfTheLonely(t *testing.T) {
	p := newPlaceOf(t, network.FirewallNFTables, network.CreateOptions{Name: "br0", Subnet: "172.30.0.0/24", Options: map[string]string{network.OptICC: "false"}})
	said(t, p.dies("db", "web:80", Options{}), "bridge mydocker alone: DROP  (mydocker)", "Died in host, in bridge mydocker alone: ", "enable_icc=false db may send only to its gateway, and this was for 172.30.0.2")
	said(t, p.trace("db", "outside/icmp"), "outside has answered")
}

func FuzzParseQuestion(f *testing.F) {
	arp := make([]byte, 28)
	arp[7] = 1
	f.Add(append(make([]byte, 12), 8, 6), arp, []byte{})
	f.Add(append(make([]byte, 12), 0x86, 0xdd), append([]byte{6: 58}, make([]byte, 40)...), []byte{solicit, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, link, packet, transport []byte) {
		if a, ok := parseQuestion(link, packet, transport); ok && (a.Src.Addr() == netip.Addr{} || a.Dst.Addr() == netip.Addr{}) {
			t.Errorf("asked by %v", a)
		}
	})
}
