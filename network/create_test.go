package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
)

// Bad input is refused with its reason, and before anything is changed.
func TestCreateRefuses(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "used", Subnet: "172.30.0.0/16"})
	run(t, "ip", "link", "add", "foreign0", "type", "veth", "peer", "name", "foreign1")
	defer run(t, "ip", "link", "del", "foreign0")
	run(t, "ip", "route", "add", "10.77.0.0/16", "dev", "eth0", "table", "77")
	defer run(t, "ip", "route", "del", "10.77.0.0/16", "dev", "eth0", "table", "77")
	before := snapshot(t)
	for _, c := range []struct {
		o    CreateOptions
		want string
	}{
		{CreateOptions{}, "needs a name"},
		{CreateOptions{Name: "host"}, "reserved"},
		{CreateOptions{Name: "bridge"}, "reserved"},
		{CreateOptions{Name: "a/b"}, "cannot be a network's name"},
		{CreateOptions{Name: "../x"}, "cannot be a network's name"},
		{CreateOptions{Name: "-x"}, "cannot be a network's name"},
		{CreateOptions{Name: "used"}, "already exists"},
		{CreateOptions{Name: "x", Driver: "warp"}, `network driver "warp" is not known`},
		{CreateOptions{Name: "x", Subnet: "172.20.0.0"}, "is not an address and a prefix length"},
		{CreateOptions{Name: "x", Subnet: "172.20.0.1/16"}, "should be 172.20.0.0/16"},
		{CreateOptions{Name: "x", Subnet: "172.20.0.0/33"}, "is not an address and a prefix length"},
		{CreateOptions{Name: "x", Subnet: "172.20.0.0/32"}, "from 8 to 31"},
		{CreateOptions{Name: "x", EnableIPv6: true, Subnet6: "fd00:20::/127"}, "from 16 to 126 is possible, or there is no address for a container"},
		{CreateOptions{Name: "x", Subnet: "0.0.0.0/0"}, "cannot be used"},
		{CreateOptions{Name: "x", Subnet: "127.0.0.0/8"}, "meaning of their own"},
		{CreateOptions{Name: "x", Subnet: "224.0.0.0/8"}, "meaning of their own"},
		{CreateOptions{Name: "x", Subnet: "172.30.4.0/24"}, "overlaps with network used"},
		{CreateOptions{Name: "x", Subnet: "10.99.0.0/16"}, "dev eth0"},
		{CreateOptions{Name: "x", Subnet: "10.77.1.0/24"}, "table 77"},
		{CreateOptions{Name: "x", Gateway: "172.20.0.1"}, "need --subnet"},
		{CreateOptions{Name: "x", Subnet: "172.20.0.0/16", Gateway: "172.21.0.1"}, "gateway 172.21.0.1"},
		{CreateOptions{Name: "x", Subnet: "172.20.0.0/16", Gateway: "172.20.255.255"}, "gateway 172.20.255.255"},
		{CreateOptions{Name: "x", Subnet: "172.20.0.0/16", Gateway: "here"}, "is not an address"},
		{CreateOptions{Name: "x", Subnet: "172.20.0.0/16", IPRange: "172.21.0.0/24"}, "not a part of subnet"},
		{CreateOptions{Name: "x", Subnet: "172.20.0.0/16", AuxAddresses: map[string]string{"r": "1.2.3.4"}}, "auxiliary address r=1.2.3.4"},
		{CreateOptions{Name: "x", Subnet: "172.20.0.0/16", AuxAddresses: map[string]string{"r": "172.20.0.1"}}, "r=172.20.0.1 is the network's gateway"},
		{CreateOptions{Name: "x", Subnet6: "fd00:9::/64", AuxAddresses: map[string]string{"r": "fd00:9::1"}}, "r=fd00:9::1 is the network's gateway"},
		{CreateOptions{Name: "x", EnableIPv6: true, Options: map[string]string{OptMTU: "1279"}}, "IPv6 needs links that take packets of 1280 bytes"},
		{CreateOptions{Name: strings.Repeat("x", 129)}, "at most 128"},
		{CreateOptions{Name: "foreign0"}, "an interface called foreign0 exists"},
		{CreateOptions{Name: "x", Options: map[string]string{OptBridgeName: "eth0"}}, "an interface called eth0 exists"},
		{CreateOptions{Name: "x", Options: map[string]string{OptBridgeName: "much-too-long-for-a-link"}}, "cannot be the name of a link"},
		{CreateOptions{Name: "x", Options: map[string]string{OptMTU: "12"}}, "68 to 65535"},
		{CreateOptions{Name: "x", Options: map[string]string{OptICC: "maybe"}}, "true or false"},
	} {
		_, err := m.Create(context.Background(), c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v; want %q", c.o, err, c.want)
		}
	}
	if after := snapshot(t); after != before {
		t.Errorf("changed:\n%s", lineDiff(before, after))
	}
	if _, err := m.Network("nowhere"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "network create nowhere") {
		t.Errorf("%v", err)
	}
	if err := m.Remove(context.Background(), "host"); err == nil {
		t.Error("host could be removed")
	}
	start(t, m, "web", "used")
	if err := m.Remove(context.Background(), "used"); err == nil || !strings.Contains(err.Error(), "web") {
		t.Errorf("a network in use: %v", err)
	}
}

// Who asks for iptables is told that it is missing.
func TestMissingIptables(t *testing.T) {
	m := newManager(t, func(o *Options) { o.Firewall = FirewallIPTables })
	t.Setenv("PATH", t.TempDir())
	if out := run(t, "/bin/ls", "/usr/sbin/iptables"); out == "" {
		t.Skip() // unreachable: run fails first
	}
	// The program is looked for in the usual places as well, so they are hidden.
	run(t, "/bin/mount", "-t", "tmpfs", "none", "/usr/sbin")
	_, err := m.Create(context.Background(), CreateOptions{Name: "br0"})
	run(t, "/bin/umount", "/usr/sbin")
	t.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	if !errors.Is(err, errNoIptables) || !strings.Contains(err.Error(), "apt-get install iptables") {
		t.Errorf("%v", err)
	}
}

// Subnets come from the pool, past what is in use.
func TestSubnetsFromPool(t *testing.T) {
	m := newManager(t)
	run(t, "ip", "addr", "add", "172.17.5.5/24", "dev", "eth0")
	run(t, "ip", "route", "add", "172.18.0.0/15", "via", "10.99.0.2", "table", "200")
	t.Cleanup(func() {
		run(t, "ip", "addr", "del", "172.17.5.5/24", "dev", "eth0")
		run(t, "ip", "route", "del", "172.18.0.0/15", "table", "200")
	})
	n := create(t, m, CreateOptions{Name: "br0"})
	if n.Subnet.String() != "172.20.0.0/16" {
		t.Errorf("br0 has %s", n.Subnet)
	}
	d, err := m.Network("bridge")
	if err != nil || d.Subnet.String() != "172.21.0.0/16" || d.Bridge != "mydocker0" {
		t.Errorf("the default network has %s on %s, %v", d.Subnet, d.Bridge, err)
	}
	start(t, m, "web", "bridge")
	if out := run(t, "ip", "-br", "addr", "show", "mydocker0"); !strings.Contains(out, "172.21.0.1/16") {
		t.Error(out)
	}
	long := create(t, m, CreateOptions{Name: "a-name-that-is-no-link-name"})
	if long.Bridge != "br-"+long.ID[:12] {
		t.Errorf("link %s", long.Bridge)
	}
	for i := range 13 - 4 {
		create(t, m, CreateOptions{Name: fmt.Sprintf("n%d", i)})
	}
	all, err := m.Networks()
	if err != nil || len(all) != 14 {
		t.Errorf("%d networks, %v", len(all), err)
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.Subnet.IsValid() && b.Subnet.IsValid() && a.Subnet.Overlaps(b.Subnet) {
				t.Errorf("%s %s overlaps with %s %s", a.Name, a.Subnet, b.Name, b.Subnet)
			}
		}
	}
	byPrefix, err := m.Network(long.ID[:8])
	if err != nil || byPrefix.Name != long.Name {
		t.Errorf("by prefix: %v, %v", byPrefix, err)
	}
}

// The default network prefers 172.17.0.0/16.
func TestDefaultNetwork(t *testing.T) {
	m := newManager(t)
	all, err := m.Networks()
	if err != nil || len(all) != 3 || all[0].Name != "bridge" || all[1].Name != "host" || all[2].Name != "none" {
		t.Fatalf("%v, %v", all, err)
	}
	c := start(t, m, "web", "bridge")
	if c.Address.String() != "172.17.0.2/16" || c.MAC.String() != "02:42:ac:11:00:02" || c.Gateway.String() != "172.17.0.1" {
		t.Errorf("%s %s %s", c.Address, c.MAC, c.Gateway)
	}
	n, err := m.Network("bridge")
	if err != nil || n.ID != all[0].ID {
		t.Errorf("the id has changed: %v", err)
	}
}

// Many processes at once: no address twice, no name twice, no port twice, and nothing is left.
func TestConcurrency(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/24"})
	const many = 40
	boxes := make([]box, many)
	errs := make([]error, many)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			mine := Open(Options{Root: m.root})
			boxes[i], errs[i] = tryStart(mine, fmt.Sprintf("c%d", i), "br0", fmt.Sprintf("%d:80", 8000+i/2))
		})
	}
	names := make([]error, 8)
	for i := range names {
		wg.Go(func() {
			_, names[i] = Open(Options{Root: m.root}).Create(context.Background(), CreateOptions{Name: "same"})
		})
	}
	wg.Wait()
	addresses := map[netip.Prefix]bool{}
	won := 0
	for i, c := range boxes {
		if errs[i] != nil {
			if !errors.Is(errs[i], fs.ErrExist) {
				t.Errorf("c%d: %v", i, errs[i])
			}
			continue
		}
		won++
		if addresses[c.Address] {
			t.Errorf("%s twice", c.Address)
		}
		addresses[c.Address] = true
	}
	if won != many/2 {
		t.Errorf("%d of %d got one of %d ports", won, many, many/2)
	}
	made := 0
	for _, err := range names {
		if err == nil {
			made++
		} else if !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("the same name was made %d times", made)
	}
	if got := strings.Count(run(t, "iptables", "-t", "nat", "-S", "MYDOCKER"), "--dport"); got != many/2 {
		t.Errorf("%d rules", got)
	}
	for i := range boxes {
		wg.Go(func() {
			if errs[i] == nil {
				boxes[i].closeHeld()
			}
			if err := Open(Options{Root: m.root}).Release(context.Background(), containerID(fmt.Sprintf("c%d", i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if out := run(t, "iptables", "-t", "nat", "-S", "MYDOCKER"); strings.Contains(out, "--dport") {
		t.Errorf("rules are left:\n%s", out)
	}
	if left, err := readDirNames(m.root.Run + "/released"); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// A name, an address and a port can be used again at once when only the claims are released.
func TestReuseAtOnce(t *testing.T) { backends(t, checkReuseAtOnce) }

func checkReuseAtOnce(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/30"})
	first := start(t, m, "web", "br0", "8080:80")
	serve(t, first, "tcp4", ":80", "first")
	answers(t, lan(), "tcp4", "10.99.0.1:8080", "first")
	first.closeHeld()
	if err := m.ReleaseClaims(first.id); err != nil {
		t.Fatal(err)
	}
	// The second container has the same name, and the only address that there is.
	sb, err := m.CreateSandbox(context.Background(), "web", containerID("web two"))
	if err != nil {
		t.Fatal(err)
	}
	ports, _ := ParsePort("8080:80")
	e, err := m.Attach(context.Background(), sb, EndpointOptions{ContainerID: containerID("web two"), ContainerName: "web", Network: "br0", Ports: ports})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.closeHeld)
	if e.Address != first.Address {
		t.Errorf("%s, not %s", e.Address, first.Address)
	}
	serve(t, sb, "tcp4", ":80", "second")
	answers(t, lan(), "tcp4", "10.99.0.1:8080", "second")
	if err := m.Release(context.Background(), first.id); err != nil {
		t.Fatal(err)
	}
	answers(t, lan(), "tcp4", "10.99.0.1:8080", "second")
}

// The old container's rule is still there, under another address: the new one wins.
func TestOldRuleDoesNotWin(t *testing.T) { backends(t, checkOldRuleDoesNotWin) }

func checkOldRuleDoesNotWin(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	create(t, m, CreateOptions{Name: "br0"})
	first := start(t, m, "first", "br0", "8080:80")
	serve(t, first, "tcp4", ":80", "first")
	first.closeHeld()
	if err := m.ReleaseClaims(first.id); err != nil {
		t.Fatal(err)
	}
	second := start(t, m, "second", "br0", "8080:80")
	serve(t, second, "tcp4", ":80", "second")
	answers(t, lan(), "tcp4", "10.99.0.1:8080", "second")
	answers(t, hostDoer{}, "tcp4", "127.0.0.1:8080", "second")
}

func TestSandboxNames(t *testing.T) {
	m := newManager(t)
	ctx := context.Background()
	run(t, "ip", "netns", "add", "foreign")
	defer run(t, "ip", "netns", "del", "foreign")
	if _, err := m.CreateSandbox(ctx, "foreign", containerID("x")); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "ip netns del foreign") {
		t.Errorf("%v", err)
	}
	if err := m.DeleteSandbox("foreign"); err != nil {
		t.Error(err)
	}
	if out := run(t, "ip", "netns", "list"); !strings.Contains(out, "foreign") {
		t.Error("somebody else's namespace was removed")
	}
	if _, err := m.CreateSandbox(ctx, "a", containerID("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := m.CreateSandbox(ctx, "a", containerID("b")); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), short(containerID("a"))) {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", ".", "..", "a/b"} {
		if _, err := m.CreateSandbox(ctx, bad, containerID("c")); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	before := run(t, "ip", "netns", "exec", "a", "readlink", "/proc/self/ns/net")
	if err := m.RenameSandbox(containerID("a"), "b"); err != nil {
		t.Fatal(err)
	}
	if after := run(t, "ip", "netns", "exec", "b", "readlink", "/proc/self/ns/net"); after != before {
		t.Errorf("%s became %s", before, after)
	}
	if _, err := os.Stat("/run/netns/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the old name is still there")
	}
	if sb, err := m.Sandbox(containerID("a")); err != nil || sb.Name != "b" {
		t.Errorf("%v, %v", sb, err)
	}
	if err := m.DeleteSandbox("b"); err != nil {
		t.Error(err)
	}
	if err := m.DeleteSandbox("b"); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

func TestPrune(t *testing.T) {
	m := newManager(t)
	for _, name := range []string{"used", "idle", "kept"} {
		create(t, m, CreateOptions{Name: name})
	}
	start(t, m, "web", "used")
	start(t, m, "dflt", "bridge")
	removed, err := m.Prune(context.Background(), func(n *Network) bool { return n.Name != "kept" })
	if err != nil || len(removed) != 1 || removed[0] != "idle" {
		t.Errorf("%v, %v", removed, err)
	}
	if out := run(t, "ip", "-o", "link", "show", "type", "bridge"); strings.Contains(out, "idle") || !strings.Contains(out, "kept") {
		t.Error(out)
	}
}
