package e2e

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What docs/doctor.md shows is what comes out, on a fresh host.
func TestDoctorDocIsTrue(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	define := "mydocker() { " + binary + ` "$@"; }` + "\n"
	for _, step := range console(t, "../../docs/doctor.md") {
		out, _ := exec.Command("bash", "-c", define+step.command).CombinedOutput() // some are meant to fail
		got := strings.TrimRight(string(out), "\n")
		if !regexp.MustCompile(pattern(step.output)).MatchString(masked(got)) {
			t.Errorf("$ %s\nprints:\n%s\ndocs/doctor.md shows:\n%s", step.command, got, step.output)
		}
	}
	if !slices.Equal(console(t, "../../docs/doctor.md"), console(t, "../../docs/doctor.zh-CN.md")) {
		t.Error("the console blocks of docs/doctor.md and docs/doctor.zh-CN.md differ")
	}
}

// The exit status says whether there are faults; --fix mends them.
func TestDoctorAndTrace(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0")
	c := web(t, "web", "-net", "br0", "-p", "8080:80")
	db := sleeper(t, "db", "-net", "br0")
	r := my(t, "doctor")
	equal(t, "doctor: "+r.out+r.err, r.code, 0)

	sh(t, "iptables -t nat -F MYDOCKER; ip -n db route del default")
	r = my(t, "doctor", "--json")
	equal(t, "doctor with faults", r.code, 1)
	type report struct {
		Healthy  bool
		Findings []struct {
			ID, Object, Cause, Mend string
			Commands                []string
		}
	}
	found := fromJSON[report](t, r.out)
	if found.Healthy || len(found.Findings) != 2 {
		t.Errorf("doctor --json: %s", r.out)
	}
	r = my(t, "doctor", "web")
	if r.code != 1 || !strings.Contains(r.out, "dnat-missing port 8080/tcp") || strings.Contains(r.out, "no-default-route") {
		t.Errorf("doctor web: %d %s", r.code, r.out)
	}
	r = my(t, "--lang", "zh", "doctor", "db")
	if r.code != 1 || !strings.Contains(r.out, "没有默认路由") {
		t.Errorf("doctor in Chinese: %d %s", r.code, r.out)
	}
	r = my(t, "doctor", "--fix")
	if r.code != 0 || !strings.Contains(r.out, "+ ip -n db route add default via ") || !strings.Contains(r.out, "No fault found.") {
		t.Errorf("doctor --fix: %d %s%s", r.code, r.out, r.err)
	}
	match(t, "the port works again", mustGet(t, "http://10.99.0.1:8080/"), ".")
	match(t, "db's default route", db.in("ip route"), "default via")
	refused(t, 125, []string{"nobody"}, "doctor", "nobody")

	r = my(t, "trace", "db", "web:80")
	if r.code != 0 || !strings.Contains(r.out, "the connection stands") || !strings.Contains(r.out, c.ip()+":80") {
		t.Errorf("trace: %d %s%s", r.code, r.out, r.err)
	}
	sh(t, "sysctl -qw net.ipv4.ip_forward=0")
	r = my(t, "trace", "db", "outside/icmp")
	sh(t, "sysctl -qw net.ipv4.ip_forward=1")
	if r.code != 1 || !strings.Contains(r.out, "Died in host, after it came in by br0: net.ipv4.ip_forward is 0") || !strings.Contains(r.out, "ip-forward-off") {
		t.Errorf("trace without forwarding: %d %s%s", r.code, r.out, r.err)
	}
	refused(t, 125, []string{"nobody"}, "trace", "db", "nobody")
}

// trace quotes the doctor where the packet goes, and nowhere else: not the sender's own ports, its other networks, the other family, or
// what takes nothing from this packet.
func TestTraceQuotesWhatIsOnTheWay(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0")
	makeNetwork(t, "br1")
	sleeper(t, "web", "-net", "br0", "-p", "8080:80", "-p", "8081:81") // nobody listens in it
	sleeper(t, "db", "-net", "br0")
	sh(t, binary+" network connect br1 db")
	sleeper(t, "far", "-net", "br1", "-p", "9090:90")
	for _, c := range []struct {
		script, undo, from, to string
		quotes                 []string
	}{
		{"", "", "web", "outside:9/udp", nil}, // refused there
		{"", "", "db", "web:80", []string{"not-listening web port 8080/tcp"}},
		{"", "", "outside", "host:8081", []string{"not-listening web port 8081/tcp"}},
		{"", "", "outside", "host:7000", nil},
		{"", "", "outside", "host:9090", []string{"not-listening far port 9090/tcp"}},
		{"sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1", "db", "web:70", nil},
		{"sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1", "web", "outside/icmp", []string{"ip-forward-off host"}},
		{"iptables -t nat -F POSTROUTING", binary + " network sync", "web", "outside/icmp", []string{"masquerade-missing br0"}},
		{"iptables -t nat -F POSTROUTING", binary + " network sync", "outside", "host:8080", []string{"not-listening web port 8080/tcp"}},
		{"iptables -t nat -F POSTROUTING", binary + " network sync", "db", "host:8080", []string{"hairpin br0", "not-listening web port 8080/tcp"}},
		{"ip link set br1 down", binary + " network sync", "db", "web:70", nil},
		{"ip link set br1 down", binary + " network sync", "db", "far:70", []string{"bridge-down br1"}},
		{"iptables -t nat -F MYDOCKER", binary + " network sync", "outside", "host:8081", []string{"dnat-missing port 8081/tcp"}},
		{"ip -n db route del default", "ip -n db route add default via $(ip -n db -4 -o addr show eth0 | sed -E 's/.* ([0-9.]+)[.][0-9]+[/].*/\\1.1/')", "db", "far:70", nil},
		{"ip -n db route del default", "ip -n db route add default via $(ip -n db -4 -o addr show eth0 | sed -E 's/.* ([0-9.]+)[.][0-9]+[/].*/\\1.1/')", "db", "outside/icmp", []string{"no-default-route db"}},
	} {
		sh(t, c.script+"\n:")
		r := my(t, "trace", c.from, c.to)
		sh(t, c.undo+"\n:")
		_, quoted, _ := strings.Cut(r.out, "What the doctor says about it:\n")
		var quotes []string
		for line := range strings.Lines(quoted) {
			object, _, _ := strings.Cut(strings.TrimSpace(line), ": ")
			quotes = append(quotes, object)
		}
		if r.code != 1 || !slices.Equal(quotes, c.quotes) {
			t.Errorf("after %q, trace %s %s ends with %d and quotes %q, not %q:\n%s%s", c.script, c.from, c.to, r.code, quotes, c.quotes, r.out, r.err)
		}
	}
}
