package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/state"
	"github.com/mydocker/mydocker/world"
)

// place is a network br0 with web, whose port 80 is published as 8080 and served, and db.
type place struct {
	t    *testing.T
	root state.Root
	stop net.Listener
}

func newPlace(t *testing.T, backend string) *place {
	return newPlaceOf(t, backend, network.CreateOptions{Name: "br0", Subnet: "172.30.0.0/24"})
}

// newDual has IPv6 as well.
func newDual(t *testing.T, backend string) *place {
	return newPlaceOf(t, backend, network.CreateOptions{Name: "br0", Subnet: "172.30.0.0/24", Subnet6: "fd00:30::/64"})
}

func newPlaceOf(t *testing.T, backend string, net network.CreateOptions) *place {
	t.Helper()
	run, err := os.MkdirTemp("/run", "test")
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, root: state.Root{Lib: t.TempDir(), Run: run, NetNS: "/run/netns"}}
	m := network.Open(network.Options{Root: p.root, Firewall: backend})
	ctx := context.Background()
	var ids []string
	t.Cleanup(func() {
		var errs []error
		for _, id := range ids {
			errs = append(errs, m.Release(ctx, id))
		}
		if err := errors.Join(append(errs, m.Remove(ctx, "br0"))...); err != nil {
			t.Error(err)
		}
		os.RemoveAll(run)
		must(t, "for t in raw mangle nat filter; do iptables -t $t -F; iptables -t $t -X; done; nft flush ruleset; sysctl -qw net.ipv4.ip_forward=0")
	})
	if _, err := m.Create(ctx, net); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web", "db"} {
		id := fmt.Sprintf("%x", name+strings.Repeat("_", 40))[:64]
		ids = append(ids, id)
		sb, err := m.CreateSandbox(ctx, name, id)
		if err != nil {
			t.Fatal(err)
		}
		o := network.EndpointOptions{ContainerID: id, ContainerName: name, Network: "br0"}
		if name == "web" {
			if o.Ports, err = network.ParsePort("8080:80"); err != nil {
				t.Fatal(err)
			}
		}
		e, err := m.Attach(ctx, sb, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range e.Hold() {
			t.Cleanup(func() { h.File.Close() })
		}
	}
	// The kernel sees to a cable in the background, and tries each IPv6 address before it is used: what is sent before is lost.
	const onTheWay = `for n in '' '-n web' '-n db'; do ip $n -o -6 addr show tentative || exit; ip $n -o link show up | grep -v -e LOOPBACK -e 'state UP' || :; done`
	for tries := 0; ; tries++ {
		out, err := exec.Command("bash", "-c", onTheWay).Output()
		if err == nil && len(out) == 0 {
			break
		}
		if tries == 1000 {
			t.Fatalf("the kernel does not come to an end with %s, %v", out, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.stop = serve(t, "web", "[::]:80")
	return p
}

func serve(t *testing.T, ns, address string) (l net.Listener) {
	t.Helper()
	door := network.Sandbox{Name: ns, Path: "/run/netns/" + ns}
	if err := door.Do(func() (err error) { l, err = net.Listen("tcp", address); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func (p *place) trace(from, to string) *Trace {
	p.t.Helper()
	return p.traceWith(from, to, Options{})
}

// traceWith is for a probe that has an answer: it may be late where much else is done.
func (p *place) traceWith(from, to string, o Options) *Trace {
	p.t.Helper()
	return p.probe(from, to, o, time.Minute)
}

// dies is for a probe that has none, so that all of the patience passes.
func (p *place) dies(from, to string, o Options) *Trace {
	p.t.Helper()
	return p.probe(from, to, o, time.Second)
}

func (p *place) probe(from, to string, o Options, patience time.Duration) *Trace {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	w, err := world.Read(ctx, world.Options{Root: p.root})
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := Resolve(w, from, to, o)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Patience = patience
	t, err := Run(ctx, w, r)
	if err != nil {
		p.t.Fatal(err)
	}
	if out, err := exec.Command("bash", "-c", "for n in '' 'ip netns exec web' 'ip netns exec lan'; do $n nft list tables; done").CombinedOutput(); err != nil || bytes.Contains(out, []byte("mydocker-trace")) {
		p.t.Errorf("something is left: %s %v", out, err)
	}
	return t
}

// said asserts that texts stand in a trace's account, in this order, in both languages' form for what is not text.
func said(t *testing.T, tr *Trace, wants ...string) {
	t.Helper()
	texts, err := lang.Open("en")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	tr.Show(&b, texts, nil)
	rest := b.String()
	for _, w := range wants {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			t.Fatalf("%q does not come in its turn in:\n%s", w, b.String())
		}
		rest = after
	}
	zh, err := lang.Open("zh")
	if err != nil {
		t.Fatal(err)
	}
	b.Reset()
	tr.Show(&b, zh, nil)
	if strings.Contains(b.String(), "⟪") || !strings.Contains(b.String(), "探测") {
		t.Errorf("in Chinese:\n%s", b.String())
	}
}

// The way from outside to a published port and back, by either backend.
func TestPublishedPort(t *testing.T) {
	for backend, rule := range map[string]string{network.FirewallIPTables: "nat MYDOCKER: DNAT  (container web)", network.FirewallNFTables: "ip mydocker publish: DNAT  (container web)"} {
		t.Run(backend, func(t *testing.T) {
			p := newPlace(t, backend)
			tr := p.trace("outside", "host:8080")
			if tr.Outcome != Answered {
				t.Errorf("the outcome is %s, %v", tr.Outcome, tr.SendErr)
			}
			said(t, tr, "Probe: tcp from outside to host (10.99.0.1:8080)", "lan", "out by eth0", "10.99.0.2:", "> 10.99.0.1:8080 [SYN]", "host", "in by eth0", rule,
				"10.99.0.1:8080 has become 10.99.0.2:", "> 172.30.0.2:80", "ACCEPT  (network br0)", "out by br0", "(port of br0)", "web", "in by eth0", "The answer:",
				"web", "out by eth0", "172.30.0.2:80 > 10.99.0.2:", "[SYN ACK]", "172.30.0.2:80 > 10.99.0.2", "has become 10.99.0.1:8080 > 10.99.0.2", "lan", "in by eth0", "the connection stands")
		})
	}
}

// What a container sends outside carries the host's address; one that asks its own network's published port is turned back.
func TestOutAndBack(t *testing.T) {
	p := newPlace(t, network.FirewallIPTables)
	said(t, p.trace("db", "outside/icmp"), "172.30.0.3 > 10.99.0.2 [echo]", "in by br0", "filter MYDOCKER-OUT: ACCEPT  (network br0)", "nat POSTROUTING: MASQUERADE  (network br0)",
		"172.30.0.3 > 10.99.0.2 has become 10.99.0.1 > 10.99.0.2", "out by eth0", "The answer:", "10.99.0.2 > 10.99.0.1 [reply]", "db", "in by eth0", "outside has answered")
	said(t, p.trace("db", "web"), "(172.30.0.2:80)", "db", "out by eth0", "web", "in by eth0", "the connection stands")
	said(t, p.trace("db", "host:8080"), "DNAT  (container web)", "MASQUERADE  (network br0)", "web", "in by eth0", "The answer:", "the connection stands")
	said(t, p.trace("host", "host:8080"), "nat OUTPUT", "DNAT  (container web)", "web", "in by eth0", "The answer:", "the connection stands")
	if tr := p.trace("db", "outside:9/udp"); tr.Outcome != Refused {
		t.Errorf("a UDP port that nobody has: %s, %v", tr.Outcome, tr.SendErr)
	}
}

// Where and why it died.
func TestDeath(t *testing.T) {
	p := newPlace(t, network.FirewallIPTables)
	must(t, "iptables -I FORWARD 1 -s 172.30.0.3/32 -d 10.99.0.2/32 -m comment --comment spite -j DROP")
	tr := p.dies("db", "outside/icmp", Options{})
	if d := tr.Dropped(); tr.Outcome != Silence || d == nil || d.Chain != "filter FORWARD" || d.Owner != "" {
		t.Errorf("outcome %s, dropped by %+v", tr.Outcome, d)
	}
	said(t, tr, "in by br0", "filter FORWARD: DROP  (not mydocker's)", "spite", "Died in host, in filter FORWARD: ")
	must(t, "iptables -D FORWARD 1; sysctl -qw net.ipv4.ip_forward=0")
	said(t, p.dies("db", "outside/icmp", Options{}), "in by br0", "Died in host, after it came in by br0: net.ipv4.ip_forward is 0")
	must(t, "sysctl -qw net.ipv4.ip_forward=1")
	p.stop.Close()
	tr = p.trace("outside", "host:8080")
	if tr.Outcome != Refused {
		t.Errorf("nobody listens: %s", tr.Outcome)
	}
	said(t, tr, "web", "[RST ACK]", "Refused by web")
	must(t, "ip -n db route del default")
	said(t, p.dies("db", "198.51.100.9:80", Options{}), "Died in db: it has no route to 198.51.100.9")
	must(t, "iptables -P FORWARD DROP; iptables -t filter -F MYDOCKER-IN; iptables -t filter -F MYDOCKER-OUT")
	must(t, "ip -n lan route add 172.30.0.0/24 via 10.99.0.1")
	said(t, p.dies("outside", "172.30.0.2:80", Options{}), "no rule decided, so the policy does: DROP", "Died in host, in filter FORWARD: DROP")
	must(t, "iptables -P FORWARD ACCEPT; ip -n lan route del 172.30.0.0/24")
}

func TestPredict(t *testing.T) {
	p := newPlace(t, network.FirewallIPTables)
	tr := p.trace("db", "outside/icmp")
	texts, err := lang.Open("en")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	right, all := tr.Show(&b, texts, strings.NewReader(strings.Repeat("accept\n", 3)+strings.Repeat("t\n", 1)+strings.Repeat("a\n", 20)))
	if all < 4 || right == 0 || right > all || !strings.Contains(b.String(), "What will happen?") {
		t.Errorf("%d of %d:\n%s", right, all, b.String())
	}
	if right, _ := tr.Show(&b, texts, strings.NewReader("")); right != 0 {
		t.Errorf("%d right answers without any answer", right)
	}
}

// tcpdump reads what is kept.
func TestPcap(t *testing.T) {
	p := newPlace(t, network.FirewallNFTables)
	tr := p.trace("outside", "host:8080")
	file := t.TempDir() + "/way.pcap"
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(WritePcap(f, tr.Frames), f.Close()); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tcpdump", "-nr", file).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("> 10.99.0.1.8080: Flags [S]")) || !bytes.Contains(out, []byte("> 172.30.0.2.80: Flags [S]")) {
		t.Errorf("tcpdump: %v\n%s", err, out)
	}
}

// hold is a tracer that never comes to its end.
func hold() {
	n := &world.Namespace{Names: []string{"host"}, Path: "/proc/thread-self/ns/net", Tables: []string{"ip filter"}}
	w, err := newWatch(n, Key{"tcp", 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
	w.close()
}

// What was added goes with the process, also when it is killed.
func TestKilled(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "MYDOCKER_TEST_HOLD=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 6)
	if _, err := out.Read(line); err != nil || string(line) != "ready\n" {
		t.Fatalf("the tracer said %q, %v", line, err)
	}
	tables := func() string {
		out, err := exec.Command("nft", "list", "tables").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if !strings.Contains(tables(), traceTable) {
		t.Error("there is no table to be left over")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	for range 3000 {
		if !strings.Contains(tables(), traceTable) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("the table is left: %s", tables())
}

func TestResolveRefuses(t *testing.T) {
	p := newPlace(t, network.FirewallIPTables)
	w, err := world.Read(context.Background(), world.Options{Root: p.root})
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{"web:0": "invalid port", "web:x": "invalid port", "web:80/sctp": "invalid protocol", "nobody": "no container", "web:80/icmp": "no ports", "[fd00::2": "is not understood", "fe80::1": "address of one link", "web:": "invalid port", "outside/icmp/x": "invalid protocol", "db/udp": "which port"} {
		if _, err := Resolve(w, "db", to, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", to, err)
		}
	}
	if _, err := Resolve(w, "nobody", "web", Options{}); err == nil {
		t.Error("a probe from nowhere")
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0}, uint16(7))
	f.Fuzz(func(t *testing.T, data []byte, id uint16) {
		for _, proto := range []string{"tcp", "udp", "icmp"} {
			parseFrame(data, Key{proto, id})
			parseMark(data, Key{proto, id})
		}
	})
}
