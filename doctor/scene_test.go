package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/state"
	"github.com/mydocker/mydocker/test/host"
	"github.com/mydocker/mydocker/world"
)

// scene is a healthy world on the fake host, made by mydocker: network br0 with web, which publishes its port 80 as 8080 and serves it,
// and db. Tests break it.
type scene struct {
	t          testing.TB
	root       state.Root
	m          *network.Manager
	ids        []string
	containers []*world.Container
	listeners  []net.Listener
	proxy      bool // ports are served by processes, without rules
}

// newScene puts nothing into the kernel yet. When the test ends, everything goes, whatever the test has done to it.
func newScene(t testing.TB, backend string) *scene {
	t.Helper()
	run, err := os.MkdirTemp("/run", "test")
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, root: state.Root{Lib: t.TempDir(), Run: run, NetNS: "/run/netns"}}
	s.m = network.Open(network.Options{Root: s.root, Firewall: backend})
	t.Cleanup(func() { s.clear(); os.RemoveAll(run) })
	return s
}

// clear puts the host back, also what scripts of a test have changed.
func (s *scene) clear() {
	for _, l := range s.listeners {
		l.Close()
	}
	var errs []error
	for _, id := range s.ids {
		errs = append(errs, s.m.Release(context.Background(), id))
	}
	all, err := s.m.Networks()
	errs = append(errs, err)
	for _, n := range all {
		if !n.BuiltIn() {
			errs = append(errs, s.m.Remove(context.Background(), n.Name))
		} else if n.Bridge != "" {
			command := "ip link del " + n.Bridge + " 2>/dev/null || true"
			errs = append(errs, host.Try(command))
		}
	}
	if err := errors.Join(errs...); err != nil && !s.t.Failed() {
		s.t.Log("clean up:", err)
	}
	must(s.t, `ip netns list | awk '$1 != "lan" {print "netns del " $1}' > /run/batch
		ip -o link | awk -F': ' '{sub(/@.*/, "", $2); if ($2 != "lo" && $2 != "eth0") print "link del " $2}' >> /run/batch
		echo 'addr flush dev eth0 scope global
		addr add 10.99.0.1/24 dev eth0
		addr add fd99::1/64 dev eth0 nodad
		link set eth0 mtu 1500 nomaster up
		route replace default via 10.99.0.2' | cat /run/batch - | ip -force -batch - 2>/dev/null || true
		ip -6 route flush type blackhole; ip -6 route flush root fd00::/8 proto boot; ip -6 route flush default; ip -6 addr flush dev eth0 to fd77::/64; ip -6 route add default via fd99::2
		ip -n lan route flush table main; ip -n lan -6 route flush root fd00::/8 proto boot; ip -n lan route add 10.99.0.0/24 dev eth0; ip -n lan addr flush dev eth0 to fd99::/64; ip -n lan addr flush dev eth0 to 2a00:99::/64; ip -n lan addr add fd99::2/64 dev eth0 nodad
		nft flush ruleset
		if grep -qs . /proc/net/ip_tables_names; then for t in nat filter; do iptables-legacy -t $t -F; iptables-legacy -t $t -X; done; iptables-legacy -P FORWARD ACCEPT; fi
		if grep -qs . /proc/net/ip6_tables_names; then ip6tables-legacy -F; ip6tables-legacy -P FORWARD ACCEPT; fi
		sysctl -qew net.ipv4.ip_forward=0 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.bridge.bridge-nf-call-iptables=0 net.ipv4.conf.eth0.forwarding=0 net.ipv6.conf.all.forwarding=0 net.bridge.bridge-nf-call-ip6tables=0 net.ipv6.conf.eth0.accept_ra=1
		conntrack -F 2>/dev/null; rm -rf /etc/netns; mkdir /etc/netns`)
	if out := output(s.t, "ip -br addr show eth0; ip route show default; ip -o link | wc -l"); !strings.Contains(out, "10.99.0.1/24") || !strings.Contains(out, "default via") || !strings.HasSuffix(out, "\n2\n") {
		s.t.Fatalf("the host is not as it was: %s", out)
	}
}

func (s *scene) network(o network.CreateOptions) {
	s.t.Helper()
	if _, err := s.m.Create(context.Background(), o); err != nil {
		s.t.Fatal(err)
	}
}

// container makes a container's place on a network; one with a port serves it.
func (s *scene) container(name, on string, ports ...string) *network.Endpoint {
	s.t.Helper()
	id := fmt.Sprintf("%x", name+strings.Repeat("_", 40))[:64]
	s.ids = append(s.ids, id)
	ctx := context.Background()
	sb, err := s.m.CreateSandbox(ctx, name, id)
	if err != nil {
		s.t.Fatal(err)
	}
	o := network.EndpointOptions{ContainerID: id, ContainerName: name, Network: on, Proxy: s.proxy}
	for _, p := range ports {
		m, err := network.ParsePort(p)
		if err != nil {
			s.t.Fatal(err)
		}
		o.Ports = append(o.Ports, m...)
	}
	e, err := s.m.Attach(ctx, sb, o)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range e.Hold() {
		s.t.Cleanup(func() { h.File.Close() })
	}
	for _, m := range o.Ports {
		for i := range m.Count {
			if address := fmt.Sprintf(":%d", m.ContainerPort+i); m.Proto == "tcp" {
				s.serve(name, address)
			} else {
				s.serveUDP(name, address)
			}
		}
	}
	return e
}

// process starts one in a namespace, which is made when it is not there.
func (s *scene) process(ns string) int {
	s.t.Helper()
	must(s.t, "[ -e /run/netns/"+ns+" ] || { ip netns add "+ns+"; ip -n "+ns+" link set lo up; }")
	cmd := exec.Command("ip", "netns", "exec", ns, "sleep", "3600")
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd.Process.Pid
}

// family keeps Go from listening by both families where an IPv4 address is given.
func family(proto, address string) string {
	if a, err := netip.ParseAddrPort(address); err == nil && a.Addr().Is4() {
		return proto + "4"
	}
	return proto
}

func door(ns string) *network.Sandbox {
	if ns == "" {
		return &network.Sandbox{Name: "host", Path: "/proc/thread-self/ns/net"}
	}
	return &network.Sandbox{Name: ns, Path: "/run/netns/" + ns}
}

func (s *scene) serve(ns, address string) net.Listener {
	s.t.Helper()
	var l net.Listener
	if err := door(ns).Do(func() (err error) { l, err = net.Listen(family("tcp", address), address); return err }); err != nil {
		s.t.Fatal(err)
	}
	s.listeners = append(s.listeners, l)
	return l
}

func (s *scene) serveUDP(ns, address string) net.PacketConn {
	s.t.Helper()
	var c net.PacketConn
	if err := door(ns).Do(func() (err error) { c, err = net.ListenPacket(family("udp", address), address); return err }); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// carried waits until the kernel, which sees to a carrier in the background, leads packets over a bridge: before, nothing that is behind it
// can be judged.
func (s *scene) carried(bridge string) {
	s.t.Helper()
	must(s.t, "for i in $(seq 3000); do { ip route show dev "+bridge+"; ip -6 route show dev "+bridge+"; } | grep -q linkdown || exit 0; sleep 0.02; done; exit 1")
}

// ours is the healthy world.
func ours(s *scene) {
	s.network(network.CreateOptions{Name: "br0", Subnet: "172.30.0.0/24"})
	s.container("web", "br0", "8080:80")
	s.container("db", "br0")
	s.carried("br0")
}

// dual is the same with IPv6.
func dual(s *scene) {
	s.network(network.CreateOptions{Name: "br0", Subnet: "172.30.0.0/24", Subnet6: "fd00:30::/64"})
	s.container("web", "br0", "8080:80")
	s.container("db", "br0")
	s.carried("br0")
}

// byHand6 has nothing but IPv6.
func byHand6(s *scene) {
	must(s.t, `ip link add br7 type bridge; ip addr add fd00:7::1/64 dev br7 nodad; ip link set br7 up; sysctl -qw net.ipv6.conf.all.forwarding=1
		for i in 1 2; do ip netns add ns$i; ip link add v$i type veth peer name eth0 netns ns$i; ip link set v$i master br7 up
		ip -n ns$i addr add fd00:7::1$i/64 dev eth0 nodad; ip -n ns$i link set eth0 up; ip -n ns$i link set lo up; ip -n ns$i route add default via fd00:7::1; done
		ip6tables -t nat -A POSTROUTING -s fd00:7::/64 ! -o br7 -j MASQUERADE
		ip6tables -t nat -A POSTROUTING -s fd00:7::/64 -o br7 -m conntrack --ctstate DNAT -j MASQUERADE
		ip6tables -t nat -A PREROUTING -p tcp --dport 9090 -m addrtype --dst-type LOCAL -j DNAT --to-destination [fd00:7::11]:90`)
	s.serve("ns1", "[::]:90")
	s.carried("br7")
}

// byHand is the same, made by a student.
func byHand(s *scene) {
	must(s.t, `ip link add br7 type bridge; ip addr add 192.168.7.1/24 dev br7; ip link set br7 up; sysctl -qw net.ipv4.ip_forward=1
		for i in 1 2; do ip netns add ns$i; ip link add v$i type veth peer name eth0 netns ns$i; ip link set v$i master br7 up
		ip -n ns$i addr add 192.168.7.1$i/24 dev eth0; ip -n ns$i link set eth0 up; ip -n ns$i link set lo up; ip -n ns$i route add default via 192.168.7.1; done
		iptables -t nat -A POSTROUTING -s 192.168.7.0/24 ! -o br7 -j MASQUERADE
		iptables -t nat -A POSTROUTING -s 192.168.7.0/24 -o br7 -m conntrack --ctstate DNAT -j MASQUERADE
		iptables -t nat -A PREROUTING -p tcp --dport 9090 -m addrtype --dst-type LOCAL -j DNAT --to-destination 192.168.7.11:90`)
	s.serve("ns1", "0.0.0.0:90")
	s.carried("br7")
}

// examine is a look at the world.
func (s *scene) examine() *Report {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	w, err := world.Read(ctx, world.Options{Root: s.root, Containers: s.containers})
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := Examine(ctx, w)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(r.Unread) > 0 {
		s.t.Fatalf("could not be read: %v", r.Unread)
	}
	return r
}

func keys(r *Report) (all []string) {
	for _, f := range r.Findings {
		all = append(all, f.Key())
	}
	slices.Sort(all)
	return all
}
