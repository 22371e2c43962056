package topology

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/state"
	"github.com/mydocker/mydocker/test/host"
	"github.com/mydocker/mydocker/world"
)

var update = flag.Bool("update", false, "write the expected drawings anew")

// TestMain runs the tests on a host of their own: new network and mount namespaces.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv("MYDOCKER_TEST_WORLD") == "" {
		os.Exit(host.Again("MYDOCKER_TEST_WORLD=1", unix.CLONE_NEWNS|unix.CLONE_NEWNET|unix.CLONE_NEWPID))
	}
	script := `mount -t proc proc /proc && mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up`
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "make a host of our own: %v: %s\n", err, out)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func sh(t testing.TB, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func view(t testing.TB) *View {
	t.Helper()
	dir := t.TempDir()
	w, err := world.Read(context.Background(), world.Options{Root: state.Root{Lib: filepath.Join(dir, "lib"), Run: filepath.Join(dir, "run"), NetNS: "/run/netns"}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := Look(context.Background(), w)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func words(t testing.TB, language string) *lang.Catalogue {
	t.Helper()
	texts, err := lang.Open(language)
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// golden compares with a file of expected drawings.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: drawn:\n%s\nexpected:\n%s", name, got, want)
	}
}

// byHand is a bridge network, built step by step as it is taught. After each step the drawing is the picture of that step.
var byHand = []struct{ name, commands string }{
	{"a host", ``},
	{"two namespaces", `ip netns add ns1; ip netns add ns2`},
	{"a cable", `ip link add veth0 type veth peer name veth1`},
	{"one end moves", `ip link set veth1 netns ns1`},
	{"addresses", `ip addr add 10.0.0.1/24 dev veth0; ip -n ns1 addr add 10.0.0.2/24 dev veth1`},
	{"both ends up", `ip link set veth0 up; ip -n ns1 link set veth1 up; ip -n ns1 link set lo up`},
	{"a bridge", `ip addr del 10.0.0.1/24 dev veth0; ip link add br0 type bridge; ip addr add 10.0.0.1/24 dev br0; ip link set br0 up`},
	{"plugged in", `ip link set veth0 master br0`},
	{"a second container", `ip link add veth2 up master br0 type veth peer name veth3 netns ns2; ip -n ns2 link set lo up; ip -n ns2 link set veth3 up; ip -n ns2 addr add 10.0.0.3/24 dev veth3`},
	{"default routes", `ip -n ns1 route add default via 10.0.0.1; ip -n ns2 route add default via 10.0.0.1`},
	{"the way out", `ip link add eth0 type veth peer name uplink; ip addr add 192.0.2.1/24 dev eth0; ip link set eth0 up; ip link set uplink up; ip route add default via 192.0.2.254
		sysctl -qw net.ipv4.ip_forward=1; iptables -P FORWARD DROP; iptables -A FORWARD -i br0 -j ACCEPT; iptables -A FORWARD -o br0 -j ACCEPT
		iptables -t nat -A POSTROUTING -s 10.0.0.0/24 ! -o br0 -j MASQUERADE`},
	{"the way in", `for chain in PREROUTING OUTPUT; do iptables -t nat -A $chain -p tcp --dport 8080 -m addrtype --dst-type LOCAL -j DNAT --to-destination 10.0.0.2:80; done
		iptables -t nat -A POSTROUTING -s 10.0.0.0/24 -o br0 -m conntrack --ctstate DNAT -j MASQUERADE`},
	{"a router behind", `ip netns add far; ip link add far0 netns ns2 type veth peer name eth0 netns far; ip -n ns2 addr add 10.9.0.1/24 dev far0; ip -n ns2 link set far0 up; ip -n far link set eth0 up; ip -n far addr add 10.9.0.2/24 dev eth0; ip netns exec ns2 sysctl -qw net.ipv4.ip_forward=1`},
	{"one cable pulled", `ip link set veth2 down`},
	{"one end deleted", `ip link del veth0`},
}

const undoByHand = `ip netns del ns1; ip netns del ns2; ip netns del far; ip link del br0; iptables -P FORWARD ACCEPT; iptables -F; iptables -t nat -F; sysctl -qw net.ipv4.ip_forward=0`

func TestEachStepByHand(t *testing.T) {
	var en, zh strings.Builder
	for i, step := range byHand {
		sh(t, step.commands)
		v := view(t)
		fmt.Fprintf(&en, "== %d. %s\n%s\n", i, step.name, Text(v, words(t, "en"), 100))
		fmt.Fprintf(&zh, "== %d. %s\n%s\n", i, step.name, Text(v, words(t, "zh"), 100))
		if i == 12 { // all there is: the other forms too
			golden(t, "by-hand.dot", Dot(v, words(t, "en")))
			golden(t, "by-hand.mmd", Mermaid(v, words(t, "en")))
			text, err := JSON(v)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "by-hand.json", regexp.MustCompile(`"MAC": "[0-9a-f:]*"`).ReplaceAllString(text, `"MAC": "…"`))
			var back View
			if err := json.Unmarshal([]byte(text), &back); err != nil || len(back.Spaces) != len(v.Spaces) {
				t.Errorf("the JSON cannot be read back: %v", err)
			}
			if dot, err := exec.LookPath("dot"); err == nil { // where it is installed it is the judge
				cmd := exec.Command(dot, "-Tsvg")
				cmd.Stdin = strings.NewReader(Dot(v, words(t, "zh")))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("dot: %v\n%s", err, out)
				}
			}
		}
	}
	sh(t, unplug+undoByHand)
	golden(t, "by-hand.en.txt", en.String())
	golden(t, "by-hand.zh.txt", zh.String())
}

func TestMark(t *testing.T) {
	v := &View{Spaces: []*Space{
		{Name: "host", Names: []string{"host"}, Links: []*Link{{Name: "br0", Network: "lab"}, {Name: "veth1"}}},
		{Name: "web", Names: []string{"web", "web-1"}, Links: []*Link{{Name: "eth0"}}},
	}}
	for _, c := range []struct {
		object string
		about  []string
		want   Fault
	}{
		{"web", nil, Fault{"web", "", "web"}},
		{"web-1", nil, Fault{"web", "", "web-1"}},
		{"br0", nil, Fault{"host", "br0", "br0"}},
		{"lab", nil, Fault{"host", "br0", "lab"}},
		{"web:eth0", nil, Fault{"web", "eth0", "web:eth0"}},
		{"host:veth1", nil, Fault{"host", "veth1", "host:veth1"}},
		{"br0 veth1", nil, Fault{"host", "br0", "br0 veth1"}},
		{"10.0.0.2", []string{"nobody", "web"}, Fault{"web", "", "10.0.0.2"}},
		{"filter FORWARD: -j DROP", []string{"10.0.0.2"}, Fault{"host", "", "filter FORWARD: -j DROP"}},
	} {
		v.Faults = nil
		for range 2 { // the same twice is said once
			v.Mark(c.object, c.about, c.object)
		}
		if len(v.Faults) != 1 || v.Faults[0] != c.want {
			t.Errorf("%q %v: %+v, want %+v", c.object, c.about, v.Faults, c.want)
		}
	}
}

// No line is wider than asked for, nor cut, where each box fits.
func TestWidth(t *testing.T) {
	sh(t, `ip link add br0 type bridge; ip link set br0 up
		for i in $(seq 30); do ip netns add w$i; ip link add wv$i up master br0 type veth peer name eth0 netns w$i; done`)
	defer sh(t, unplug+`for i in $(seq 30); do ip netns del w$i; done; ip link del br0`)
	v := view(t)
	for _, columns := range []int{60, 80, 132, 400} {
		text := Text(v, words(t, "zh"), columns)
		for line := range strings.Lines(text) {
			if got := lang.Width(strings.TrimSuffix(line, "\n")); got > columns {
				t.Fatalf("%d columns where %d were asked for:\n%s", got, columns, text)
			}
		}
		for i := 1; i <= 30; i++ {
			if !strings.Contains(text, fmt.Sprintf("命名空间 w%d ", i)) || !strings.Contains(text, fmt.Sprintf(" wv%d ", i)) {
				t.Fatalf("w%d is not in the drawing:\n%s", i, text)
			}
		}
	}
}

// What hangs together in other ways: a macvlan, a port of a bridge whose other end is on the host, two cables into one namespace, links that
// are nobody's.
func TestOddThings(t *testing.T) {
	sh(t, `ip link add br0 type bridge; ip link set br0 up; ip netns add one; ip netns add two
		ip link add a0 up master br0 type veth peer name a1; ip addr add 10.5.0.9/24 dev a1; ip link set a1 up
		ip link add b0 up master br0 type veth peer name eth0 netns one; ip link add c0 up type veth peer name eth1 netns one
		ip link add m0 link a1 netns two type macvlan mode bridge
		ip route add blackhole 10.66.0.0/16; ip route add 10.67.0.0/16 via 10.5.0.1 dev a1`)
	defer sh(t, unplug+`ip netns del one; ip netns del two; ip link del br0; ip route del blackhole 10.66.0.0/16`)
	v := view(t)
	v.Faults = []Fault{{Space: "host", Link: "br0", Text: "br0 has no address"}, {Space: "one", Text: "one has no route"}, {Space: "one", Link: "eth1", Text: "eth1 is down"}}
	golden(t, "odd.txt", Text(v, words(t, "en"), 100))
	if got := Dot(v, words(t, "en")); !strings.Contains(got, "br0 !1") || !strings.Contains(got, `!3 eth1 is down\l`) {
		t.Errorf("no faults in\n%s", got)
	}
}

// BenchmarkHundred is what a look at a hundred namespaces costs.
func BenchmarkHundred(b *testing.B) {
	sh(b, `ip link add br0 type bridge; ip link set br0 up
		for i in $(seq 100); do ip netns add w$i; ip link add wv$i up master br0 type veth peer name eth0 netns w$i; done`)
	defer sh(b, `for i in $(seq 100); do ip netns del w$i; done; ip link del br0`)
	texts := words(b, "en")
	for b.Loop() {
		if len(Text(view(b), texts, 100)) < 1000 {
			b.Fatal("nothing is drawn")
		}
	}
}

// The drawings in the documents are those that are drawn.
func TestDocument(t *testing.T) {
	for file, drawn := range map[string]string{"topology.md": "by-hand.en.txt", "topology.zh-CN.md": "by-hand.zh.txt"} {
		document, err := os.ReadFile("../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		drawings, err := os.ReadFile("testdata/" + drawn)
		if err != nil {
			t.Fatal(err)
		}
		_, block, ok := strings.Cut(string(document), "```text\n")
		block, _, closed := strings.Cut(block, "```")
		if !ok || !closed || !strings.Contains(string(drawings), "== 12. a router behind\n"+block) {
			t.Errorf("docs/%s shows\n%s", file, block)
		}
	}
}
