package network

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
	"github.com/mydocker/mydocker/test/host"
)

// The tests run on a host that is made of namespaces: TestMain starts the test binary once more in a network and mount
// namespace of its own. There, `lan` is a neighbour on the host's only link, and 203.0.113.9 is the internet behind it.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces: run them as root")
		os.Exit(1)
	}
	if slices.Contains(os.Args, "-test.fuzzworker") { // a child of a process that has made the world
		os.Exit(m.Run())
	}
	if os.Getenv("MYDOCKER_TEST_WORLD") == "" {
		os.Exit(host.Again("MYDOCKER_TEST_WORLD=1", unix.CLONE_NEWNS|unix.CLONE_NEWNET))
	}
	if err := buildWorld(); err != nil {
		fmt.Fprintln(os.Stderr, "make the fake host:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func buildWorld() error {
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	return host.Try(`
		mkdir -p /run/netns /run/lock
		ip link set lo up
		sysctl -qw net.ipv6.conf.default.accept_dad=0 # no bridge waits a second for its fe80:: address
		ip netns add lan
		ip link add eth0 type veth peer name eth0 netns lan
		ip addr add 10.99.0.1/24 dev eth0; ip link set eth0 up
		ip -n lan link set lo up
		ip -n lan addr add 10.99.0.2/24 dev eth0; ip -n lan link set eth0 up
		ip -n lan addr add 203.0.113.9/32 dev lo
		ip addr add fd99::1/64 dev eth0 nodad; ip -n lan addr add fd99::2/64 dev eth0 nodad
		ip route add default via 10.99.0.2
		for i in $(seq 1200); do ip -6 route show table local | grep -q "local fd99::1 dev eth0" && break; sleep 0.05; done
		echo 0 > /proc/sys/net/ipv4/ip_forward`)
}

// run is a command's output; a command that fails fails the test.
func run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// backends runs a test with each firewall backend.
func backends(t *testing.T, test func(t *testing.T, use func(*Options))) {
	for _, name := range []string{FirewallIPTables, FirewallNFTables} {
		t.Run(name, func(t *testing.T) { test(t, func(o *Options) { o.Firewall = name }) })
	}
}

// lan is the neighbour.
func lan() *Sandbox { return &Sandbox{Name: "lan", Path: "/run/netns/lan"} }

// host is a door that leads nowhere: fn runs where it is.
type doer interface{ Do(func() error) error }
type hostDoer struct{}

func (hostDoer) Do(fn func() error) error { return fn() }

// newManager is a manager with trees of its own. When the test ends, everything must be as it was before.
func newManager(t testing.TB, change ...func(*Options)) *Manager {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "test") // a tmpfs, as the true one is
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Root: state.Root{Lib: t.TempDir(), Run: dir, NetNS: "/run/netns"}}
	for _, c := range change {
		c(&o)
	}
	m := Open(o)
	before := snapshot(t)
	t.Cleanup(func() {
		quiet := *m
		quiet.watch = nil
		removeAll(t, &quiet)
		if after := eventually(t, before); after != before {
			t.Errorf("the host is not as it was:\n%s", lineDiff(before, after))
		}
		if left := append(leftFiles(t, dir), leftFiles(t, o.Root.Lib)...); len(left) > 0 {
			t.Errorf("files are left: %v", left)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return m
}

// removeAll takes down everything that a manager's records speak of.
func removeAll(t testing.TB, m *Manager) {
	ctx := context.Background()
	if _, err := m.GC(ctx, func(string) bool { return false }); err != nil {
		t.Errorf("gc: %v", err)
	}
	nets, err := recordedNetworks(m.networksDir())
	if err != nil {
		t.Error(err)
	}
	lock, err := m.lockNetworks()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	for _, n := range nets {
		if err := m.remove(ctx, n); err != nil {
			t.Errorf("remove %s: %v", n.Name, err)
		}
	}
}

// snapshot is what can be seen of the host: links, addresses, routes, rules, namespaces, forwarding.
func snapshot(t testing.TB) string {
	t.Helper()
	out := run(t, "bash", "-c", `ip -o link | sed 's/^[0-9]*: //; s/@if[0-9]*//; s/ qlen [0-9]*//'; ip -o -4 addr show | sed 's/^[0-9]*: //'
		ip route show table all | grep -v '^\(ff00\|fe80\|multicast\|local fe80\|anycast\)'; ip netns list; iptables-save 2>/dev/null | grep -v '^[#:]'; ip6tables-save 2>/dev/null | grep -v '^[#:]'
		iptables-save 2>/dev/null | grep '^:MYDOCKER'; ip6tables-save 2>/dev/null | grep '^:MYDOCKER'; nft list tables 2>/dev/null | grep mydocker; cat /proc/sys/net/ipv4/ip_forward; true`)
	// Headings, a carrier that comes and goes by itself, and the outer ends' random MAC addresses.
	out = regexp.MustCompile(`(?m)^\*.*\n|^COMMIT\n| linkdown|NO-CARRIER,|,LOWER_UP| state \w+| +$`).ReplaceAllString(out, "")
	out = regexp.MustCompile(`(?m)^(veth\w+: .*link/ether) \S+`).ReplaceAllString(out, "$1")
	lines := strings.Split(out, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// settled is a snapshot of a host on which nothing changes by itself any more: the routes to IPv6 addresses come when their
// link has a carrier.
func settled(t testing.TB) string {
	t.Helper()
	last := snapshot(t)
	for range 1000 {
		time.Sleep(50 * time.Millisecond)
		now := snapshot(t)
		if now == last && !strings.Contains(run(t, "ip", "-6", "-o", "addr"), "tentative") {
			break
		}
		last = now
	}
	return last
}

// eventually gives the kernel the moment that it needs to let links die.
func eventually(t testing.TB, want string) string {
	t.Helper()
	var got string
	for range 2400 {
		if got = snapshot(t); got == want {
			break
		}
		time.Sleep(25 * time.Millisecond)
	}
	return got
}

func lineDiff(before, after string) string {
	var b strings.Builder
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, l := range was {
		if !strings.Contains(after, l) {
			b.WriteString("- " + l + "\n")
		}
	}
	for _, l := range is {
		if !strings.Contains(before, l) {
			b.WriteString("+ " + l + "\n")
		}
	}
	return b.String()
}

// leftFiles are the records that are left, besides locks and empty directories.
func leftFiles(t testing.TB, dir string) (left []string) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if !info.IsDir() && !strings.Contains(path, "/locks/") {
			left = append(left, strings.TrimPrefix(path, dir))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// box is a sandbox that stands for a container on one network.
type box struct {
	*Sandbox
	*Endpoint
	id string
}

func (b box) Do(fn func() error) error { return b.Sandbox.Do(fn) }

func containerID(name string) string { return builtInID("test container " + name) }

// start makes a container's network.
func start(t testing.TB, m *Manager, name, network string, ports ...string) box {
	t.Helper()
	b, err := tryStart(m, name, network, ports...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.closeHeld)
	awaitCable(t, b)
	return b
}

// awaitCable waits until both ends of a cable pass frames on, which the kernel sees to in the background: until then it drops single ones.
func awaitCable(t testing.TB, b box) {
	t.Helper()
	if b.HostLink == "" {
		return
	}
	for where, name := range map[doer]string{hostDoer{}: b.HostLink, b.Sandbox: b.Interface} {
		var link *net.Interface
		for tries := 0; ; tries++ {
			err := where.Do(func() (err error) { link, err = net.InterfaceByName(name); return err })
			if err != nil {
				t.Fatal(err)
			}
			if link.Flags&net.FlagRunning != 0 {
				break
			}
			if tries == 6000 {
				t.Fatalf("link %s does not come up", name)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func tryStart(m *Manager, name, network string, ports ...string) (box, error) {
	id := containerID(name)
	o := EndpointOptions{ContainerID: id, ContainerName: name, Network: network}
	for _, s := range ports {
		p, err := ParsePort(s)
		if err != nil {
			return box{}, err
		}
		o.Ports = append(o.Ports, p...)
	}
	sb, err := m.CreateSandbox(context.Background(), name, id)
	if err != nil {
		return box{}, err
	}
	e, err := m.Attach(context.Background(), sb, o)
	return box{sb, e, id}, err
}

func create(t testing.TB, m *Manager, o CreateOptions) *Network {
	t.Helper()
	n, err := m.Create(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// serve answers each connection on an address of a namespace with the name given and the caller's address.
func serve(t testing.TB, where doer, network, address, name string) {
	t.Helper()
	if strings.HasPrefix(network, "udp") {
		serveUDP(t, where, network, address, name)
		return
	}
	var l net.Listener
	if err := where.Do(func() (err error) { l, err = net.Listen(network, address); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			fmt.Fprintf(c, "%s to %s", name, host)
			c.Close()
		}
	}()
}

func serveUDP(t testing.TB, where doer, network, address, name string) {
	t.Helper()
	var c net.PacketConn
	if err := where.Do(func() (err error) { c, err = net.ListenPacket(network, address); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 100)
		for {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(from.String())
			c.WriteTo([]byte(name+" to "+host), from)
		}
	}()
}

// ask connects from a namespace and reads the answer: "web to 10.99.0.2".
func ask(where doer, network, address string, patience time.Duration) (string, error) {
	var answer string
	err := where.Do(func() error {
		c, err := net.DialTimeout(network, address, patience)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		if strings.HasPrefix(network, "udp") {
			if _, err := c.Write([]byte("?")); err != nil {
				return err
			}
			buf := make([]byte, 100)
			n, err := c.Read(buf)
			answer = string(buf[:n])
			return err
		}
		data, err := io.ReadAll(c)
		answer = string(bytes.TrimSpace(data))
		return err
	})
	return answer, err
}

// answers asserts an answer; an empty one means that there must be none.
func answers(t testing.TB, where doer, network, address, want string) {
	t.Helper()
	patience := time.Minute
	if want == "" {
		patience = 400 * time.Millisecond
	}
	got, err := ask(where, network, address, patience)
	if want == "" {
		if err == nil && got != "" {
			t.Errorf("%s %s answers %q, and must not", network, address, got)
		}
		return
	}
	if err != nil || !strings.HasPrefix(got, want) {
		t.Errorf("%s %s: got %q, %v; want %q", network, address, got, err, want)
	}
}
