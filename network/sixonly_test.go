package network

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// A network without IPv4, beside one that has nothing else.
func TestSixOnly(t *testing.T) { backends(t, checkSixOnly) }

func checkSixOnly(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	before := snapshot(t)
	ctx := context.Background()
	create(t, m, CreateOptions{Name: "six", NoIPv4: true, Subnet6: "fd00:66::/64", AuxAddresses: map[string]string{"printer": "fd00:66::2"}})
	create(t, m, CreateOptions{Name: "quiet", NoIPv4: true, EnableIPv6: true, Options: map[string]string{OptICC: "false"}})
	create(t, m, CreateOptions{Name: "shut", NoIPv4: true, EnableIPv6: true, Internal: true})
	if v := run(t, "cat", "/proc/sys/net/ipv4/ip_forward"); v != "0\n" {
		t.Errorf("for networks without IPv4, ip_forward is %s", v)
	}
	web := start(t, m, "web", "six", "8080:80", "[::]:8081:80", "[fd99::1]:8082:80", "5353:53/udp")
	peer, q1, q2, shut := start(t, m, "peer", "six"), start(t, m, "q1", "quiet"), start(t, m, "q2", "quiet"), start(t, m, "shut", "shut")
	if web.Address.IsValid() || web.Gateway.IsValid() || web.Address6.String() != "fd00:66::3/64" || web.DefaultRoute {
		t.Fatalf("%+v", web.Endpoint)
	}
	for _, where := range []string{"-n web -4 addr show dev eth0", "-n web -4 route", "-4 addr show dev six", "-4 route show dev six"} {
		if out := run(t, strings.Fields("ip "+where)...); out != "" {
			t.Errorf("ip %s: %s", where, out)
		}
	}
	for _, b := range []box{web, peer, q2, shut} {
		serve(t, b, "tcp", ":80", b.ContainerName)
	}
	serve(t, web, "udp", ":53", "dns")
	serve(t, lan(), "tcp6", ":99", "lan")
	at := func(b box) string { return "[" + b.Address6.Addr().String() + "]:80" }
	for _, c := range []struct {
		what             string
		from             doer
		network, address string
		want             string
	}{
		{"from outside, with the client's address", lan(), "tcp6", "[fd99::1]:8080", "web to fd99::2"},
		{"on ::", lan(), "tcp6", "[fd99::1]:8081", "web to fd99::2"},
		{"on one address", lan(), "tcp6", "[fd99::1]:8082", "web to fd99::2"},
		{"udp", lan(), "udp6", "[fd99::1]:5353", "dns to fd99::2"},
		{"the host", hostDoer{}, "tcp6", "[fd99::1]:8080", "web"},
		{"itself", web, "tcp6", "[fd99::1]:8080", "web"},
		{"peer", peer, "tcp6", "[fd99::1]:8080", "web"},
		{"peer directly", peer, "tcp6", at(web), "web"},
		{"no IPv4 from outside", lan(), "tcp4", "10.99.0.1:8080", ""},
		{"no IPv4 from the host", hostDoer{}, "tcp4", "127.0.0.1:8080", ""},
		{"out", web, "tcp6", "[fd99::2]:99", "lan to fd99::1"},
		{"another network directly", q1, "tcp6", at(web), ""},
		{"another network through the host", q1, "tcp6", "[fd99::1]:8080", "web"},
		{"icc=false", q1, "tcp6", at(q2), ""},
		{"icc=false, out", q1, "tcp6", "[fd99::2]:99", "lan to fd99::1"},
		{"internal, out", shut, "tcp6", "[fd99::2]:99", ""},
		{"internal, in", web, "tcp6", at(shut), ""},
	} {
		t.Run(c.what, func(t *testing.T) { answers(t, c.from, c.network, c.address, c.want) })
	}
	sixOnlyNames(t, m, web, peer)
	sixOnlyForged(t, web, peer)
	sixOnlyRefused(t, m)
	if commands, err := m.Sync(ctx, true); err != nil || len(commands) > 0 {
		t.Errorf("sync would do %q, %v", commands, err)
	}
	if removed, err := m.GC(ctx, func(string) bool { return true }); err != nil || len(removed) > 0 {
		t.Errorf("gc removed %q, %v", removed, err)
	}
	for _, b := range []box{web, peer, q1, q2, shut} {
		b.closeHeld()
		if err := m.Release(ctx, b.id); err != nil {
			t.Error(err)
		}
	}
	n, err := m.Network("six")
	if err == nil {
		err = m.unrealise(ctx, n) // as after a reboot
	}
	if err != nil {
		t.Fatal(err)
	}
	again := start(t, m, "again", "six", "8080:80")
	serve(t, again, "tcp", ":80", "again")
	answers(t, lan(), "tcp6", "[fd99::1]:8080", "again to fd99::2")
	again.closeHeld()
	removeAll(t, m)
	if now := eventually(t, before); now != before {
		t.Errorf("not clean:\n%s", lineDiff(before, now))
	}
	if left := leftFiles(t, m.root.Run); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func sixOnlyNames(t *testing.T, m *Manager, web, peer box) {
	t.Helper()
	upstreamServer(t, lan(), "10.99.0.2:53", "198.51.100.7", dnsmessage.RCodeSuccess)
	serveNames(t, m, peer, "10.99.0.2") // which the container itself has no way to
	arpa := "3." + strings.Repeat("0.", 23) + "6.6.0.0.0.0.d.f.ip6.arpa."
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		want string
	}{{"web.", dnsmessage.TypeAAAA, "fd00:66::3"}, {"web.", dnsmessage.TypeA, ""}, {arpa, dnsmessage.TypePTR, "web.six."}, {"www.example.", dnsmessage.TypeA, "198.51.100.7"}} {
		if got := found(t, peer, "udp", c.name, c.kind); got != c.want {
			t.Errorf("%s %s: %q", c.kind, c.name, got)
		}
	}
}

// Who has no IPv4 address says nothing by IPv4 or ARP, and by IPv6 nothing as another.
func sixOnlyForged(t *testing.T, web, peer box) {
	t.Helper()
	me, to, mine := web.Address6.Addr(), peer.Address6.Addr(), web.MAC
	other := netip.MustParseAddr("fd00:66::77")
	ip6 := func(from netip.Addr, mark string) []byte {
		return frame(peer.MAC, mine, unix.ETH_P_IPV6, ipv6Packet(from, to, 59, []byte(mark)))
	}
	for what := range slips(t, web, peer, map[string][]byte{
		"IPv4":                       frame(peer.MAC, mine, unix.ETH_P_IP, datagram(netip.MustParseAddr("172.17.0.9"), netip.MustParseAddr("172.17.0.8"), "four")),
		"ARP":                        frame(peer.MAC, mine, unix.ETH_P_ARP, arp(1, 2, mine, netip.MustParseAddr("172.17.0.9"), peer.MAC, netip.MustParseAddr("172.17.0.8"))),
		"another's IPv6 address":     ip6(other, "six"),
		"another's neighbour advert": frame(peer.MAC, mine, unix.ETH_P_IPV6, ipv6Packet(me, to, unix.IPPROTO_ICMPV6, discovery(136, me, to, other, mine))),
		"a router's advertisement":   frame(peer.MAC, mine, unix.ETH_P_IPV6, ipv6Packet(linkLocal(mine), to, unix.IPPROTO_ICMPV6, discovery(134, linkLocal(mine), to, other, mine))),
	}) {
		t.Errorf("%s is let through", what)
	}
	if seen := arrives(t, web, peer, map[string][]byte{"its own": ip6(me, "own")}); !seen["its own"] {
		t.Error("its own address is stopped")
	}
}

func sixOnlyRefused(t *testing.T, m *Manager) {
	t.Helper()
	ctx := context.Background()
	for refusal, o := range map[string]CreateOptions{
		"IPv4 or IPv6 must be enabled":  {NoIPv4: true},
		"10.5.0.0/24 is IPv4":           {NoIPv4: true, EnableIPv6: true, Subnet: "10.5.0.0/24"},
		"10.5.0.1 is IPv4":              {NoIPv4: true, EnableIPv6: true, Gateway: "10.5.0.1"},
		"is not in subnet fd00:5::/64":  {NoIPv4: true, Subnet6: "fd00:5::/64", AuxAddresses: map[string]string{"x": "10.5.0.1"}},
		"overlaps with network six":     {NoIPv4: true, Subnet6: "fd00:66::/60"},
		"not a part of subnet fd00:5::": {NoIPv4: true, Subnet6: "fd00:5::/64", IPRange6: "fd00:6::/80"},
	} {
		o.Name = "bad"
		if _, err := m.Create(ctx, o); err == nil || !strings.Contains(err.Error(), refusal) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, port := range []string{"127.0.0.1:8090:80", "10.99.0.1:8090:80"} {
		if _, err := tryStart(m, "x", "six", port); err == nil || !strings.Contains(err.Error(), "network six has no IPv4") {
			t.Errorf("%s: %v", port, err)
		}
	}
	n, err := m.Network("six")
	if err != nil {
		t.Fatal(err)
	}
	for want, ips := range map[string][2]string{"has no IPv4": {"172.17.0.5", ""}, "in use by the gateway": {"", "fd00:66::1"}, "auxiliary address printer": {"", "fd00:66::2"}, "": {"", "fd00:66::9"}} {
		if err := n.CheckJoin(ips[0], ips[1], ""); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", ips, err)
		}
	}
	if err := m.Release(ctx, containerID("x")); err != nil {
		t.Error(err)
	}
}

// A proxy passes on from IPv4 to a container that has none; rules do not, and [::1] is always served.
func TestSixOnlyProxied(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "six", NoIPv4: true, EnableIPv6: true})
	for _, c := range []struct {
		port  string
		proxy bool
		want  string
	}{{"8080:80", false, "[::]:8080"}, {"[::]:8081:80", false, "[::]:8081"}, {"[::1]:8082:80", false, "[::1]:8082"}, {"8083:80", true, "0.0.0.0:8083 [::]:8083"}, {"127.0.0.1:8084:80", true, "127.0.0.1:8084"}} {
		ports, err := ParsePort(c.port)
		if err != nil {
			t.Fatal(err)
		}
		id := containerID(c.port)
		sb, err := m.CreateSandbox(context.Background(), "c", id)
		if err != nil {
			t.Fatal(err)
		}
		e, err := m.Attach(context.Background(), sb, EndpointOptions{ContainerID: id, ContainerName: "c", Network: "six", Ports: ports, Proxy: c.proxy})
		if err != nil {
			t.Fatal(err)
		}
		var held []string
		for _, h := range e.Hold() {
			if !h.Serve || h.To.Addr() != e.Address6.Addr() {
				t.Errorf("%s: %+v", c.port, h)
			}
			a, err := socketName(h.File)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, a)
		}
		if got := strings.Join(held, " "); got != c.want {
			t.Errorf("%s: %s", c.port, got)
		}
		e.closeHeld()
		if err := m.Release(context.Background(), id); err != nil {
			t.Fatal(err)
		}
	}
}

func socketName(f *os.File) (string, error) {
	sa, err := unix.Getsockname(int(f.Fd()))
	if err != nil {
		return "", err
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String(), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)).String(), nil
	}
	return "", net.ErrClosed
}

// A container on a network of each family has its way out by each.
func TestSixBesideFour(t *testing.T) {
	m := newManager(t)
	ctx := context.Background()
	create(t, m, CreateOptions{Name: "six", NoIPv4: true, EnableIPv6: true})
	create(t, m, CreateOptions{Name: "four", Subnet: "172.20.0.0/16"})
	create(t, m, CreateOptions{Name: "both", Subnet: "172.21.0.0/16", EnableIPv6: true})
	web := start(t, m, "web", "six")
	for _, n := range []string{"four", "both"} {
		if _, err := m.Attach(ctx, web.Sandbox, EndpointOptions{ContainerID: web.id, ContainerName: "web", Network: n}); err != nil {
			t.Fatal(err)
		}
	}
	routes := func(want4, want6 string) {
		t.Helper()
		for family, want := range map[string]string{"-4": want4, "-6": want6} {
			if out := run(t, "ip", "-n", "web", family, "route", "show", "default"); (want == "") != (out == "") || !strings.Contains(out, "dev "+want) && want != "" {
				t.Errorf("ip %s route: %q, not by %s", family, out, want)
			}
		}
	}
	routes("eth1", "eth0")
	if err := m.Detach(ctx, web.id, "four"); err != nil {
		t.Fatal(err)
	}
	routes("eth2", "eth0")
	if err := m.Detach(ctx, web.id, "six"); err != nil {
		t.Fatal(err)
	}
	routes("eth2", "eth2")
	if e, err := m.Attach(ctx, web.Sandbox, EndpointOptions{ContainerID: web.id, ContainerName: "web", Network: "six", Extras: Extras{GwPriority: 1}}); err != nil || e.Interface != "eth0" {
		t.Fatalf("%+v, %v", e, err)
	}
	routes("eth2", "eth0")
	if commands, err := m.Sync(ctx, true); err != nil || len(commands) > 0 {
		t.Errorf("%q, %v", commands, err)
	}
	if err := m.Detach(ctx, web.id, "both"); err != nil {
		t.Fatal(err)
	}
	routes("", "eth0")
}

// Neither do containers on the wire need IPv4; their MAC addresses differ as their IPv6 addresses do.
func TestSixOnlyMacvlan(t *testing.T) {
	m := newManager(t)
	wire := CreateOptions{Name: "wire", Driver: DriverMacvlan, NoIPv4: true, Subnet6: "fd99::/64", Gateway6: "fd99::2", Options: map[string]string{OptParent: "eth0"}}
	if !onKernelWith(t, m, "macvlan", wire) {
		return
	}
	if n := create(t, m, wire); n.AuxAddresses["host1"] != netip.MustParseAddr("fd99::1") && n.AuxAddresses["host0"] != netip.MustParseAddr("fd99::1") {
		t.Errorf("the host's own address is not kept back: %v", n.AuxAddresses)
	}
	one, two := start(t, m, "one", "wire"), start(t, m, "two", "wire")
	if one.Address6.String() != "fd99::3/64" || one.Address.IsValid() || one.MAC.String() == two.MAC.String() || one.DefaultRoute {
		t.Errorf("%+v\n%+v", one.Endpoint, two.Endpoint)
	}
	serve(t, lan(), "tcp6", ":80", "lan")
	serve(t, two, "tcp6", ":80", "two")
	answers(t, one, "tcp6", "[fd99::2]:80", "lan to fd99::3")
	answers(t, one, "tcp6", "[fd99::4]:80", "two to fd99::3")
	if commands, err := m.Sync(context.Background(), true); err != nil || len(commands) > 0 {
		t.Errorf("%q, %v", commands, err)
	}
}
