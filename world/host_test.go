package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/state"
	"github.com/mydocker/mydocker/test/host"
)

// The tests run on a host that is made of namespaces: TestMain starts the program once more in namespaces of its own.
func TestMain(m *testing.M) {
	os.Exit(host.RunOnLAN(m))
}

func must(t testing.TB, script string) {
	t.Helper()
	host.Shell(t, script)
}

func testRoot(t testing.TB) state.Root {
	t.Helper()
	run, err := os.MkdirTemp("/run", "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	return state.Root{Lib: t.TempDir(), Run: run, NetNS: "/run/netns"}
}

func read(t testing.TB, root state.Root) *World {
	t.Helper()
	w, err := Read(context.Background(), Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Whether a socket on [::] takes IPv4 too is an option of each.
func TestSocketsOfBothFamilies(t *testing.T) {
	ports := map[uint16]bool{}
	for _, proto := range []string{"tcp", "tcp6"} { // what Go calls tcp6 has IPV6_V6ONLY
		l, err := net.Listen(proto, "[::]:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[uint16(l.Addr().(*net.TCPAddr).Port)] = proto == "tcp"
	}
	for _, s := range read(t, testRoot(t)).Host.Sockets {
		both, ours := ports[s.Address.Port()]
		if !ours {
			continue
		}
		delete(ports, s.Address.Port())
		if s.Takes(netip.MustParseAddr("10.99.0.1")) != both || !s.Takes(netip.MustParseAddr("fd99::1")) {
			t.Errorf("%+v takes IPv4: %v", s, !both)
		}
	}
	if len(ports) > 0 {
		t.Errorf("not seen: %v", ports)
	}
}

// What a student makes by hand is seen: both ends of a cable find each other, whatever the indices are.
func TestMadeByHand(t *testing.T) {
	must(t, `ip link add br7 type bridge; ip addr add 192.168.7.1/24 dev br7; ip link set br7 up alias classroom
		for i in 1 2; do ip netns add ns$i; ip link add v$i type veth peer name eth0 netns ns$i; ip link set v$i master br7 up
		ip -n ns$i addr add 192.168.7.1$i/24 dev eth0; ip -n ns$i link set eth0 up; ip -n ns$i link set lo up; ip -n ns$i route add default via 192.168.7.1; done
		ip link set v2 type bridge_slave hairpin on`)
	t.Cleanup(func() { must(t, `ip netns del ns1; ip netns del ns2; ip link del br7`) })
	w := read(t, testRoot(t))
	bridge := w.Host.Link("br7")
	if bridge == nil || bridge.Kind != "bridge" || bridge.Address4().String() != "192.168.7.1/24" || bridge.Alias != "classroom" || !bridge.Up || bridge.Owner.Ours() {
		t.Fatalf("br7 is %+v", bridge)
	}
	for i, name := range []string{"ns1", "ns2"} {
		inner := w.Namespace(name).Link("eth0")
		outer := w.Host.Link(fmt.Sprintf("v%d", i+1))
		if inner == nil || outer == nil || inner.Peer != outer || outer.Peer != inner || outer.Master != bridge {
			t.Errorf("%s: the cable's ends are %+v and %+v", name, inner, outer)
		}
		if outer.Hairpin != (i == 1) {
			t.Errorf("hairpin of %s is %v", outer.Name, outer.Hairpin)
		}
		way := slices.IndexFunc(w.Namespace(name).Routes, Route.Default)
		if way < 0 || w.Namespace(name).Routes[way].Via.String() != "192.168.7.1" || w.Namespace(name).Routes[way].Dev != inner {
			t.Errorf("%s: routes %+v", name, w.Namespace(name).Routes)
		}
	}
	if lan := w.Namespace("lan"); lan == nil || lan.Link("eth0").Peer != w.Host.Link("eth0") {
		t.Error("the LAN's cable is not found")
	}
	if w.Host.Name() != "host" || w.Host.Sysctl("net/ipv4/ip_forward") == "" {
		t.Errorf("the host is %v with %v", w.Host.Names, w.Host.Sysctls)
	}
}

// Ours have owners: links, namespaces and rules, by either backend.
func TestOwners(t *testing.T) {
	for _, backend := range []string{network.FirewallIPTables, network.FirewallNFTables} {
		t.Run(backend, func(t *testing.T) {
			root := testRoot(t)
			m := network.Open(network.Options{Root: root, Firewall: backend})
			ctx := context.Background()
			n, err := m.Create(ctx, network.CreateOptions{Name: "br0", Subnet: "172.30.0.0/16"})
			if err != nil {
				t.Fatal(err)
			}
			port, err := network.ParsePort("8080:80")
			if err != nil {
				t.Fatal(err)
			}
			id := n.ID[:60] + "0001"
			sb, err := m.CreateSandbox(ctx, "web", id)
			if err != nil {
				t.Fatal(err)
			}
			e, err := m.Attach(ctx, sb, network.EndpointOptions{ContainerID: id, ContainerName: "web", Network: "br0", Ports: port})
			t.Cleanup(func() {
				if err := errors.Join(m.Release(ctx, id), m.Remove(ctx, "br0")); err != nil {
					t.Error(err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				for _, f := range e.Hold() {
					f.File.Close()
				}
			}()
			w := read(t, root)
			if o := w.Host.Link("br0").Owner; o.Kind != "network" || o.Name != "br0" {
				t.Errorf("br0 belongs to %v", o)
			}
			web := w.Container("web")
			if web == nil || web.Namespace == nil || web.Namespace.Owner.Name != "web" || web.Namespace.Link("eth0").Peer != w.Host.Link(e.HostLink) {
				t.Fatalf("web is %+v", web)
			}
			rules, err := w.Rules(ctx, w.Host)
			if err != nil || len(rules.Unread) > 0 {
				t.Fatal(err, rules)
			}
			for _, c := range rules.Chains {
				if c.Family == "bridge" { // not IP: those are shown and not followed
					continue
				}
				for _, r := range c.Rules {
					if !r.Owner.Ours() || r.Match.Partial || r.Text == "" {
						t.Errorf("%s: %q belongs to %q, partial %v", c.Place(), r.Text, r.Owner, r.Match.Partial)
					}
				}
			}
			d := rules.At("prerouting", Packet{In: "eth0", Src: addr("10.99.0.2"), Dst: addr("10.99.0.1"), Proto: "tcp", DPort: 8080, State: "NEW", DstLocal: true})
			if want := e.Address.Addr().String() + ":80"; d.To.String() != want || !d.Sure {
				t.Errorf("port 8080 leads to %v, want %s: %+v", d.To, want, d)
			}
			d = rules.At("forward", Packet{In: "eth0", Out: "br0", Src: addr("10.99.0.2"), Dst: e.Address.Addr(), Proto: "tcp", DPort: 80, State: "NEW"})
			if d.Verdict != "DROP" || d.Rule == nil || d.Rule.Owner.Name != "br0" {
				t.Errorf("what is not published gets %+v", d)
			}
		})
	}
}

// A namespace that another program has pinned elsewhere is called by its file's name, or by the whole path where that name is taken.
func TestPinnedElsewhere(t *testing.T) {
	must(t, `ip netns add far; mkdir -p /run/elsewhere; for n in mine lan; do touch /run/elsewhere/$n; done
		mount --bind /run/netns/far /run/elsewhere/mine; ip netns add other; mount --bind /run/netns/other /run/elsewhere/lan
		umount /run/netns/far /run/netns/other; rm /run/netns/far /run/netns/other`)
	t.Cleanup(func() { must(t, `umount /run/elsewhere/mine /run/elsewhere/lan; rm -r /run/elsewhere`) })
	w := read(t, testRoot(t))
	if n := w.Namespace("mine"); n == nil || n.Path != "/run/elsewhere/mine" || n.Link("lo") == nil {
		t.Errorf("mine is %+v", n)
	}
	if n := w.Namespace("/run/elsewhere/lan"); n == nil || n == w.Namespace("lan") {
		t.Errorf("a second lan is %+v", n)
	}
}

// The host is where the reader's own thread is, also while the first thread of the process (/proc/self) visits another namespace.
func TestFirstThreadElsewhere(t *testing.T) {
	lan, err := os.Open("/run/netns/lan")
	if err != nil {
		t.Fatal(err)
	}
	first, leave := make(chan error), make(chan struct{})
	var visitors sync.WaitGroup
	defer func() { // those who come late need the file, too
		close(leave)
		visitors.Wait()
		lan.Close()
	}()
	visit := func() {
		runtime.LockOSThread() // and never unlocked, so that the runtime ends the thread
		if err := unix.Setns(int(lan.Fd()), unix.CLONE_NEWNET); err != nil || unix.Gettid() == unix.Getpid() {
			select {
			case first <- err:
			case <-leave:
			}
		}
		<-leave
	}
	for n := 0; ; n++ {
		visitors.Go(visit)
		select {
		case err := <-first:
			if err != nil {
				t.Fatal(err)
			}
			if w := read(t, testRoot(t)); w.Host.Link("eth0").Address4().String() != "10.99.0.1/24" || w.Host.Is("lan") {
				t.Errorf("the host is %v with %+v", w.Host.Names, w.Host.Link("eth0").Addresses)
			}
			return
		case <-time.After(time.Millisecond):
		}
		if n == 2000 {
			t.Fatal("the first thread is never free")
		}
	}
}
