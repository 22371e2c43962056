package network

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// withoutIPTables hides the programs for this test.
func withoutIPTables(t *testing.T) {
	t.Helper()
	for _, program := range []string{"/usr/sbin/xtables-nft-multi", "/usr/sbin/xtables-legacy-multi"} {
		if err := unix.Mount("/dev/null", program, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(program, 0); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := exec.LookPath("iptables-restore"); err == nil {
		t.Fatal("iptables is still there")
	}
}

// A host without iptables has nftables, unless iptables is asked for.
func TestHostWithoutIPTables(t *testing.T) {
	m := newManager(t)
	withoutIPTables(t)
	create(t, m, CreateOptions{Name: "br0", EnableIPv6: true})
	web := start(t, m, "web", "br0", "8080:80")
	serve(t, web, "tcp", ":80", "web")
	answers(t, lan(), "tcp4", "10.99.0.1:8080", "web to 10.99.0.2")
	answers(t, lan(), "tcp6", "[fd99::1]:8080", "web to fd99::2")
	answers(t, hostDoer{}, "tcp4", "127.0.0.1:8080", "web")
	if web.Firewall != FirewallNFTables {
		t.Errorf("the endpoint says %q", web.Firewall)
	}
	asked := Open(Options{Root: m.root, Firewall: FirewallIPTables})
	if _, err := asked.Create(context.Background(), CreateOptions{Name: "br1"}); err == nil || !strings.Contains(err.Error(), "iptables is not installed") {
		t.Errorf("%v", err)
	}
	if err := m.Release(context.Background(), web.id); err != nil {
		t.Error(err)
	}
	if err := m.Remove(context.Background(), "br0"); err != nil {
		t.Error(err)
	}
}

// Our rules go where the host's rules are, and stay there.
func TestFlavour(t *testing.T) {
	m := newManager(t)
	ctx := context.Background()
	if got := m.chosen(); got != FirewallIPTables {
		t.Errorf("on a host without rules: %s", got)
	}
	run(t, "iptables-legacy", "-A", "INPUT", "-s", "192.0.2.1", "-j", "ACCEPT")
	run(t, "iptables-legacy", "-P", "FORWARD", "DROP")
	t.Cleanup(func() {
		out := run(t, "iptables-legacy-save")
		if strings.Contains(out, "MYDOCKER") || !strings.Contains(out, "-A INPUT -s 192.0.2.1/32 -j ACCEPT") {
			t.Errorf("left behind:\n%s", out)
		}
		run(t, "bash", "-euc", "iptables-legacy -F; iptables-legacy -P FORWARD ACCEPT")
	})
	m = newManager(t)
	n := create(t, m, CreateOptions{Name: "br0", EnableIPv6: true})
	web := start(t, m, "web", "br0", "8080:80")
	serve(t, web, "tcp", ":80", "web")
	answers(t, lan(), "tcp4", "10.99.0.1:8080", "web to 10.99.0.2")
	answers(t, lan(), "tcp6", "[fd99::1]:8080", "web to fd99::2")
	if web.Firewall != firewallIPTablesLegacy {
		t.Errorf("the endpoint says %q", web.Firewall)
	}
	if out := run(t, "iptables-legacy-save"); !strings.Contains(out, "--dport 8080") {
		t.Errorf("iptables-legacy shows\n%s", out)
	}
	if out := run(t, "iptables-nft-save"); strings.Contains(out, "MYDOCKER") {
		t.Errorf("iptables-nft shows\n%s", out)
	}
	// The other one gets rules, too: what was chosen stays.
	run(t, "iptables-nft", "-A", "INPUT", "-s", "192.0.2.2", "-j", "ACCEPT")
	defer run(t, "iptables-nft", "-F", "INPUT")
	later := Open(Options{Root: m.root})
	if got := later.backendOf(n); got != firewallIPTablesLegacy {
		t.Errorf("the network is now of %s", got)
	}
	if commands, err := later.Sync(ctx, true); err != nil || len(commands) > 0 {
		t.Errorf("%q, %v", commands, err)
	}
	run(t, "iptables-legacy", "-t", "nat", "-F")
	late := start(t, m, "late", "br0", "8081:80")
	serve(t, late, "tcp4", ":80", "late")
	answers(t, lan(), "tcp4", "10.99.0.1:8081", "late")
}

// Where both interfaces have rules, ours go where the host forwards nothing by itself.
func TestFlavourOfBoth(t *testing.T) {
	run(t, "bash", "-euc", "for i in legacy nft; do iptables-$i -A INPUT -s 192.0.2.1 -j ACCEPT; done")
	t.Cleanup(func() {
		run(t, "bash", "-euc", "for i in legacy nft; do iptables-$i -P FORWARD ACCEPT; iptables-$i -D INPUT -s 192.0.2.1 -j ACCEPT; done")
	})
	preset := flavourOf(t, "ACCEPT", "ACCEPT")
	for _, c := range []struct{ legacy, nft, want string }{{"DROP", "ACCEPT", "legacy"}, {"ACCEPT", "DROP", "nft"}, {"DROP", "DROP", preset}} {
		if got := flavourOf(t, c.legacy, c.nft); got != c.want {
			t.Errorf("legacy %s, nft %s: %s; want %s", c.legacy, c.nft, got, c.want)
		}
	}
	flavourOf(t, "DROP", "ACCEPT")
	m := newManager(t, func(o *Options) { o.Firewall = FirewallIPTables })
	create(t, m, CreateOptions{Name: "br0"})
	web := start(t, m, "web", "br0", "8080:80")
	serve(t, web, "tcp4", ":80", "web")
	answers(t, lan(), "tcp4", "10.99.0.1:8080", "web to 10.99.0.2")
}

// flavourOf is legacy or nft: the flavour that is chosen on a host with these policies of FORWARD.
func flavourOf(t *testing.T, legacy, nft string) string {
	t.Helper()
	run(t, "iptables-legacy", "-P", "FORWARD", legacy)
	run(t, "iptables-nft", "-P", "FORWARD", nft)
	program, err := findProgram(flavour(true))
	if err != nil {
		t.Fatal(err)
	}
	if isLegacy(program) {
		return "legacy"
	}
	return "nft"
}

// The configuration file chooses, and the command line more so.
func TestConfiguredBackend(t *testing.T) {
	file := t.TempDir() + "/daemon.json"
	for text, want := range map[string]string{`{"firewall-backend": "nftables"}`: "nftables", `{"firewall-backend": "iptables"}`: "iptables", `{}`: "iptables"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := ReadConfig(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := Open(Options{Config: c, Root: state.Root{Run: t.TempDir()}}).chosen(); got != want {
			t.Errorf("%s: %s", text, got)
		}
		if got := Open(Options{Config: c, Firewall: FirewallNFTables, Root: state.Root{Run: t.TempDir()}}).chosen(); got != FirewallNFTables {
			t.Errorf("%s and --firewall nftables: %s", text, got)
		}
	}
	if err := os.WriteFile(file, []byte(`{"firewall-backend": "pf"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConfig(file); err == nil || !strings.Contains(err.Error(), `firewall-backend: "pf" is not known`) {
		t.Errorf("%v", err)
	}
}

// listener hears of every operation.
type listener struct{ heard []string }

func (l *listener) Before(op plan.Op) error {
	l.heard = append(l.heard, op.Command())
	return nil
}
func (l *listener) After(_ plan.Op, err error) error { return err }

// What an endpoint has in the firewall goes by one run of iptables-restore, also when somebody has taken a part of it away.
func TestWithdraw(t *testing.T) {
	watch := &listener{}
	m := newManager(t, func(o *Options) { o.Watch = watch })
	create(t, m, CreateOptions{Name: "br0"})
	for _, harm := range []string{"true", "iptables -t nat -D MYDOCKER 2", "iptables -t nat -F MYDOCKER", "iptables -t nat -F; iptables -t nat -X"} {
		other := start(t, m, "other", "br0", "8082:80")
		web := start(t, m, "web", "br0", "8080:80", "8081:80", "9000-9100:9000-9100")
		run(t, "bash", "-euc", harm)
		web.closeHeld()
		watch.heard = nil
		if err := m.Release(context.Background(), web.id); err != nil {
			t.Fatalf("%s: %v", harm, err)
		}
		n := 0
		for _, c := range watch.heard {
			if strings.HasPrefix(c, "iptables") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s: %d operations on rules: %q", harm, n, watch.heard)
		}
		out := run(t, "iptables-save", "-t", "nat")
		if strings.Contains(out, short(web.Endpoint.ID)) {
			t.Errorf("%s: rules are left:\n%s", harm, out)
		}
		if harm == "true" && !strings.Contains(out, short(other.Endpoint.ID)) {
			t.Errorf("another's rules have gone:\n%s", out)
		}
		other.closeHeld()
		if err := m.Release(context.Background(), other.id); err != nil {
			t.Fatal(err)
		}
	}
}
