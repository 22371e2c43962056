package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/topology"
)

// Containers and their networks, as mydocker makes them.
func TestTopology(t *testing.T) {
	busyboxImage(t)
	my(t, "network", "create", "--subnet", "10.72.0.0/24", "drawn")
	my(t, "run", "-d", "--name", "drawing", "-net", "drawn", "-p", "127.0.0.1:8072:80", "busybox", "sleep", "100")
	text := my(t, "topology", "--faults=false", "--width", "120")
	for _, want := range []string{
		`┌─ host ─+┐`, `│ 127\.0\.0\.1:8072/tcp → 10\.72\.0\.2:80 \(drawing\)`, `│ 10\.72\.0\.0/24 → MASQUERADE`,
		`┌─ bridge drawn ─+┐`, `│ 10\.72\.0\.1/24 +│`, `│ +veth[0-9a-f]{11} `,
		`│ container drawing +│`, `│ eth0  10\.72\.0\.2/24 +│`, `│ default via 10\.72\.0\.1 +│`, `│ namespace neighbour +│`,
	} {
		match(t, "topology", text, want)
	}
	match(t, "in Chinese", my(t, "topology", "--faults=false", "--lang", "zh"), `┌─ 宿主机 ─(.*\n)+.*│ 容器 drawing +│`)
	var v topology.View
	if err := json.Unmarshal([]byte(my(t, "topology", "--format", "json")), &v); err != nil {
		t.Fatal(err)
	}
	space := v.Space("drawing")
	if space == nil || space.Kind != "container" || space.Link("eth0").Owner != "container drawing" || v.Space("host").Link("drawn").Network != "drawn" {
		t.Errorf("%+v", space)
	}
	if len(v.Ports) != 1 || v.Ports[0].Owner != "container drawing" || v.Ports[0].Space != "drawing" {
		t.Errorf("ports: %+v", v.Ports)
	}
	my(t, "--firewall", "nftables", "network", "create", "--subnet", "10.75.0.0/24", "drawn2")
	my(t, "run", "-d", "--name", "drawing2", "-net", "drawn2", "-p", "8073-8074:80-81", "busybox", "sleep", "100")
	text = my(t, "topology", "--faults=false", "--width", "200")
	match(t, "ports in a map of nftables", text, `│ \*:8073/tcp → 10\.75\.0\.2:80 \(drawing2\) +│\n│ \*:8074/tcp → 10\.75\.0\.2:81 \(drawing2\) +│`)
	if err := json.Unmarshal([]byte(my(t, "topology", "--format", "json")), &v); err != nil || v.Ports[len(v.Ports)-1].Owner != "container drawing2" {
		t.Errorf("%v %+v", err, v.Ports)
	}
	match(t, "why", my(t, "why", "ip saddr 10.75.0.0/24 oifname != drawn2 masquerade"), `made by +mydocker, for network drawn2\n`)
	my(t, "rm", "-f", "drawing2")
	my(t, "network", "rm", "drawn2")
	match(t, "svg", my(t, "topology", "--format", "svg"), `^<svg xmlns(.*\n)+.*container drawing(.*\n)+.*</svg>\n$`)
	match(t, "html", my(t, "topology", "--format", "html"), `^<!DOCTYPE html>(.*\n)+.*container drawing(.*\n)+.*</html>\n$`)
	match(t, "dot", my(t, "topology", "--format", "dot"), `^graph topology \{(.*\n)+.*container drawing`)
	match(t, "mermaid", my(t, "topology", "--format", "mermaid"), `^flowchart LR(.*\n)+.*container drawing`)
	refused(t, 125, `invalid --format "png": text, svg, html, json, dot or mermaid`, "topology", "--format", "png")
	refused(t, 125, "--width cannot be negative", "topology", "--width", "-1")
	refused(t, 1, "accepts no arguments", "topology", "x")
	// What the doctor finds is marked where it is, and told under the drawing.
	shell(t, "ip -n drawing link set eth0 down")
	text = my(t, "topology", "--width", "200")
	match(t, "the fault", text, `│ eth0  10\.72\.0\.2/24  \(down\) !\d+ +│`)
	match(t, "the fault", text, `\n!\d+ [^\n]*eth0 in drawing[^\n]*\n`)
	match(t, "the cable", text, `\n +┊ `)
	match(t, "the fault in the page", my(t, "topology", "--format", "html", "--lang", "zh"), `class="warn" xml:space="preserve">eth0  10\.72\.0\.2/24  （未启用） !\d+<`)
	if text := my(t, "topology", "--faults=false"); strings.Contains(text, "!") {
		t.Errorf("marked without looking for faults:\n%s", text)
	}
	// A container without a network that is wired by hand, by its process' id.
	my(t, "run", "-d", "--name", "bare", "--network", "none", "busybox", "sleep", "100")
	pid := strings.TrimSpace(my(t, "inspect", "-f", "{{.State.Pid}}", "bare"))
	shell(t, "ip link add vetha up master drawn type veth peer name vethb; ip link set vethb netns "+pid+" name eth0; nsenter -t "+pid+" -n sh -c 'ip link set eth0 up; ip addr add 10.72.0.77/24 dev eth0; ip route add default via 10.72.0.1'")
	text = my(t, "topo", "--faults=false", "--width", "200")
	match(t, "by hand", text, `│ container bare +│`)
	match(t, "by hand", text, `│ eth0  10\.72\.0\.77/24  \(by hand\) +│`)
	if strings.Count(text, "(by hand)") != 1 {
		t.Errorf("what mydocker made is not by hand:\n%s", text)
	}
	my(t, "rm", "-f", "drawing", "bare")
	my(t, "network", "rm", "drawn")
	if text := my(t, "topology"); regexp.MustCompile(`drawing|drawn`).MatchString(text) {
		t.Errorf("still drawn:\n%s", text)
	}
}

// --watch draws again when something has changed, and only then.
func TestTopologyWatch(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=TestWatchHelperProcess")
	cmd.Env = append(os.Environ(), "WATCH_HELPER=1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var seen bytes.Buffer
	expect := func(want string) {
		t.Helper()
		if err := r.SetReadDeadline(time.Now().Add(3 * time.Minute)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 64<<10)
		for !strings.Contains(seen.String(), want) {
			n, err := r.Read(buf)
			seen.Write(buf[:n])
			if err != nil {
				t.Fatalf("no %q: %v\n%s", want, err, seen.String())
			}
		}
	}
	expect("┌─ host ─")
	if out, err := exec.Command("ip", "netns", "add", "watched").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	expect("namespace watched")
	if out, err := exec.Command("ip", "netns", "del", "watched").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for end := time.Now().Add(3 * time.Minute); strings.Count(seen.String(), "┌─ host ─") < 3; {
		if time.Now().After(end) {
			t.Fatal("the end of the namespace is not drawn")
		}
		buf := make([]byte, 64<<10)
		n, err := r.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		seen.Write(buf[:n])
	}
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after ctrl-c: %v", err)
	}
	drawings := strings.Split(seen.String(), strings.Repeat("-", 40)+"\n")
	if again := slices.Compact(slices.Clone(drawings)); len(again) < len(drawings) {
		t.Errorf("of %d drawings, only %d show something new", len(drawings), len(again))
	}
}

// TestWatchHelperProcess is no test: it is mydocker, for the test above.
func TestWatchHelperProcess(t *testing.T) {
	if os.Getenv("WATCH_HELPER") == "" {
		return
	}
	os.Exit(Main([]string{"mydocker", "topology", "--watch"}, "1.2.3"))
}
