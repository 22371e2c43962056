package network

import (
	"context"
	"strings"
	"testing"
)

func TestDualStack(t *testing.T) { backends(t, checkDualStack) }

func checkDualStack(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	n := create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16", EnableIPv6: true})
	if !strings.HasPrefix(n.Subnet6.String(), "fd") || n.Subnet6.Bits() != 64 {
		t.Errorf("the chosen IPv6 subnet: %s", n.Subnet6)
	}
	create(t, m, CreateOptions{Name: "br1", Subnet: "172.21.0.0/16", Subnet6: "fd00:21::/64", Gateway6: "fd00:21::fe"})
	create(t, m, CreateOptions{Name: "shut", Subnet: "172.22.0.0/16", Subnet6: "fd00:22::/64", Internal: true})
	create(t, m, CreateOptions{Name: "four", Subnet: "172.23.0.0/16"})
	web := start(t, m, "web", "br0", "8080:80", "[fd99::1]:8082:80", "9000-9003:7000-7003", "5353:53/udp", "127.0.0.1:8083:80")
	peer := start(t, m, "peer", "br0")
	other := start(t, m, "other", "br1", "80")
	shut := start(t, m, "shut", "shut")
	four := start(t, m, "four", "four")
	for _, s := range []box{web, peer, other, shut} {
		serve(t, s, "tcp", ":80", s.ContainerName)
	}
	serve(t, web, "tcp6", ":7002", "two")
	serve(t, web, "udp", ":53", "dns")
	serve(t, lan(), "tcp6", ":99", "lan")
	web6 := "[" + web.Address6.Addr().String() + "]"
	other6 := "[" + other.Address6.Addr().String() + "]"
	for _, c := range []struct {
		what             string
		from             doer
		network, address string
		want             string
	}{
		{"from outside, with the client's address", lan(), "tcp6", "[fd99::1]:8080", "web to fd99::2"},
		{"IPv4 as well", lan(), "tcp4", "10.99.0.1:8080", "web to 10.99.0.2"},
		{"udp", lan(), "udp6", "[fd99::1]:5353", "dns to fd99::2"},
		{"a run of ports", lan(), "tcp6", "[fd99::1]:9002", "two"},
		{"the host by its address", hostDoer{}, "tcp6", "[fd99::1]:8080", "web"},
		{"the host by localhost, which may be ::1", hostDoer{}, "tcp", "localhost:8080", "web"},
		{"one address", lan(), "tcp6", "[fd99::1]:8082", "web to fd99::2"},
		{"one address, by another", hostDoer{}, "tcp6", "[::1]:8082", ""},
		{"127.0.0.1 alone is not ::1", hostDoer{}, "tcp6", "[::1]:8083", ""},
		{"itself", web, "tcp6", "[fd99::1]:8080", "web"},
		{"peer", peer, "tcp6", "[fd99::1]:8080", "web"},
		{"peer directly", peer, "tcp6", web6 + ":80", "web"},
		{"another network directly", other, "tcp6", web6 + ":80", ""},
		{"another network through the host", other, "tcp6", "[fd99::1]:8080", "web"},
		{"out", web, "tcp6", "[fd99::2]:99", "lan to fd99::1"},
		{"out of an internal network", shut, "tcp6", "[fd99::2]:99", ""},
		{"into an internal network", web, "tcp6", "[" + shut.Address6.Addr().String() + "]:80", ""},
		{"no IPv6 without --ipv6", four, "tcp6", "[fd99::2]:99", ""},
	} {
		t.Run(c.what, func(t *testing.T) { answers(t, c.from, c.network, c.address, c.want) })
	}
	run(t, "ip", "-n", "lan", "route", "add", "fd00:21::/64", "via", "fd99::1")
	defer run(t, "ip", "-n", "lan", "route", "del", "fd00:21::/64")
	answers(t, lan(), "tcp6", other6+":80", "")

	if out := run(t, "ip", "-n", "other", "-6", "route"); !strings.Contains(out, "default via fd00:21::fe dev eth0") {
		t.Error(out)
	}
	if out := run(t, "ip", "-n", "four", "-6", "addr", "show", "dev", "eth0"); strings.Contains(out, "inet6") {
		t.Errorf("a container without IPv6 has\n%s", out)
	}
	if out := run(t, "ip", "-6", "addr", "show", "dev", "four"); strings.Contains(out, "inet6") {
		t.Errorf("a bridge without IPv6 has\n%s", out)
	}
	serveNames(t, m, peer)
	if got := found(t, peer, "udp", "web.", 28); got != web.Address6.Addr().String() {
		t.Errorf("AAAA: %q", got)
	}
	loop, err := tryStart(m, "loop", "br1", "[::1]:8084:80")
	if err != nil {
		t.Error(err)
	} else {
		if h := loop.Hold(); len(h) != 1 || !h[0].Serve || h[0].To.Addr() != loop.Address6.Addr() {
			t.Errorf("[::1] is for the monitor to serve: %+v", h)
		}
		loop.closeHeld()
	}
	if _, err := tryStart(m, "x", "four", "[fd99::1]:8080:80"); err == nil || !strings.Contains(err.Error(), "--ipv6") {
		t.Errorf("%v", err)
	}
	if err := m.Release(context.Background(), containerID("x")); err != nil {
		t.Error(err)
	}
	// The rules are not written anew each time.
	fw, err := m.firewall(m.backend)
	if err != nil {
		t.Fatal(err)
	}
	live, err := m.liveNetworks()
	if err != nil {
		t.Fatal(err)
	}
	if ops, err := fw.Networks(context.Background(), live[m.chosen()]); len(ops) > 0 || err != nil {
		t.Errorf("%v, %v", ops, err)
	}
	run(t, "bash", "-c", "ip6tables -F; nft flush table ip6 mydocker 2>/dev/null; true")
	late := start(t, m, "late", "br0", "8090:80")
	serve(t, late, "tcp6", ":80", "late")
	answers(t, lan(), "tcp6", "[fd99::1]:8090", "late")
}

// What a container says as a router changes nothing on the host.
func TestRouterAdvertisement(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0", EnableIPv6: true})
	start(t, m, "web", "br0")
	if got := run(t, "cat", "/proc/sys/net/ipv6/conf/br0/accept_ra"); got != "0\n" {
		t.Errorf("accept_ra of the bridge is %s", got)
	}
	if got := run(t, "cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra"); got != "2\n" {
		t.Errorf("accept_ra of the host's own link is %s: it would lose its router", got)
	}
}

// hides puts something in the way of a path for as long as the test runs.
func hides(t *testing.T, path, script string) {
	t.Helper()
	run(t, "bash", "-euc", script)
	t.Cleanup(func() { run(t, "umount", path) })
}

// fourOnly tests all of a network without IPv6 on a host that cannot have any other.
func fourOnly(t *testing.T, m *Manager, refusal string) {
	t.Helper()
	ctx := context.Background()
	before := snapshot(t)
	for _, o := range []CreateOptions{{Name: "br6", EnableIPv6: true}, {Name: "br6", Subnet6: "fd00:6::/64"}} {
		if _, err := m.Create(ctx, o); err == nil || !strings.Contains(err.Error(), refusal) {
			t.Errorf("%+v: %v", o, err)
		}
		if _, err := m.PlanCreate(ctx, o); err == nil || !strings.Contains(err.Error(), refusal) {
			t.Errorf("planned: %+v: %v", o, err)
		}
	}
	if after := snapshot(t); after != before {
		t.Errorf("a refusal has changed:\n%s", lineDiff(before, after))
	}
	create(t, m, CreateOptions{Name: "br0"})
	web := start(t, m, "web", "br0", "8080:80", "127.0.0.1:8443:80")
	peer := start(t, m, "peer", "br0")
	serve(t, web, "tcp4", ":80", "web")
	all := func() {
		t.Helper()
		answers(t, lan(), "tcp4", "10.99.0.1:8080", "web to 10.99.0.2")
		answers(t, hostDoer{}, "tcp4", "127.0.0.1:8443", "web")
		answers(t, peer, "tcp4", web.Address.Addr().String()+":80", "web")
	}
	all()
	if commands, err := m.Sync(ctx, true); err != nil || len(commands) > 0 {
		t.Errorf("%q, %v", commands, err)
	}
	run(t, "bash", "-euc", "nft flush ruleset; ip link del br0")
	if _, err := m.Sync(ctx, false); err != nil {
		t.Error(err)
	}
	all()
	for _, b := range []box{web, peer} {
		b.closeHeld()
		if err := m.Release(ctx, b.id); err != nil {
			t.Error(err)
		}
	}
	if err := m.Remove(ctx, "br0"); err != nil {
		t.Error(err)
	}
}

// A kernel that was started with ipv6.disable=1 has none of IPv6's settings. A network that has IPv6, from before, is refused when it is needed.
func TestHostWithoutIPv6(t *testing.T) {
	backends(t, func(t *testing.T, use func(*Options)) {
		m := newManager(t, use)
		ctx := context.Background()
		old := create(t, m, CreateOptions{Name: "old", EnableIPv6: true})
		if err := m.unrealise(ctx, old); err != nil { // as after a reboot
			t.Fatal(err)
		}
		hides(t, "/proc/sys/net/ipv6", "mkdir -p /run/empty; mount --bind /run/empty /proc/sys/net/ipv6")
		const refusal = "this host has no IPv6"
		if _, err := tryStart(m, "late", "old"); err == nil || !strings.Contains(err.Error(), "network old: "+refusal) {
			t.Errorf("%v", err)
		}
		if err := m.Release(ctx, containerID("late")); err != nil {
			t.Error(err)
		}
		fourOnly(t, m, refusal)
	})
}

// Some distributions have ip6tables in a package of its own. With nftables nobody misses it.
func TestHostWithoutIP6Tables(t *testing.T) {
	m := newManager(t, func(o *Options) { o.Firewall = FirewallIPTables })
	hides(t, "/usr/sbin", `mkdir -p /run/over/up /run/over/work
		mount -t overlay -o lowerdir=/usr/sbin,upperdir=/run/over/up,workdir=/run/over/work overlay /usr/sbin; rm /usr/sbin/ip6tables*`)
	fourOnly(t, m, "ip6tables is not installed")
	other := Open(Options{Root: m.root, Firewall: FirewallNFTables})
	create(t, other, CreateOptions{Name: "br6", EnableIPv6: true})
	if err := other.Remove(context.Background(), "br6"); err != nil {
		t.Error(err)
	}
}
