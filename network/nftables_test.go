package network

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The words that are printed and what the kernel is told are the same rules: nft lists both alike.
func TestNFTablesWords(t *testing.T) {
	m := newManager(t, func(o *Options) { o.Firewall = FirewallNFTables })
	var all []*Network
	for _, o := range []CreateOptions{
		{Name: "a", EnableIPv6: true}, {Name: "b", Internal: true, Subnet6: "fd00:b::/64"},
		{Name: "c", Options: map[string]string{OptICC: "false", OptMasquerade: "false"}},
	} {
		all = append(all, create(t, m, o))
	}
	web := start(t, m, "web", "a", "8080:80", "127.0.0.1:8443:443", "9000-9002:7000-7002/udp")
	list := func() string {
		out := run(t, "bash", "-euc", "nft list table ip mydocker; nft list table ip6 mydocker")
		out = regexp.MustCompile(` comment "mydocker [0-9a-f]{12}"`).ReplaceAllString(out, "")
		return regexp.MustCompile(`(?s)elements = \{.*?\}`).ReplaceAllStringFunc(out, func(s string) string {
			return strings.Join(strings.Fields(s), " ")
		})
	}
	want := list()
	if !strings.Contains(want, "web 0.0.0.0:8080->80/tcp "+short(web.Endpoint.ID)) {
		t.Errorf("no comment names the container:\n%s", want)
	}
	run(t, "bash", "-c", "nft delete table ip mydocker; nft delete table ip6 mydocker")
	var script strings.Builder
	for _, f := range nftFamilies() {
		script.WriteString(nftNetworks(f, all).Command() + "\n")
	}
	script.WriteString(nftPublish{nftElements(web.Endpoint)}.Command() + "\n")
	if out, err := exec.Command("bash", "-euc", script.String()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, script.String())
	}
	if got := list(); got != want {
		t.Errorf("nft understands the words as other rules:\n%s\n\nfrom\n%s", lineDiff(want, got), script.String())
	}
	if out := run(t, "bash", "-c", "iptables-save; ip6tables-save"); strings.Contains(out, "MYDOCKER") || strings.Contains(out, "MASQ") {
		t.Errorf("there are iptables rules:\n%s", out)
	}
}

func TestNFTablesSync(t *testing.T) {
	for _, harm := range []string{
		"true",
		"nft flush ruleset",
		"nft flush chain ip mydocker forward",
		"nft flush map ip mydocker ports",
		"nft delete element ip mydocker ports '{ tcp . 8080 }'",
		"nft delete element ip6 mydocker ports '{ tcp . 8080 }'; nft add element ip6 mydocker ports '{ tcp . 8080 : fd00::9 . 80 }'",
		`nft delete element ip mydocker ports '{ tcp . 8080 }'; nft add element ip mydocker ports "{ tcp . 8080 comment \"mydocker web 0.0.0.0:8080->80/tcp $ID\" : 192.0.2.1 . 80 }"`,
		"nft insert rule ip mydocker forward drop",
		"nft delete chain ip6 mydocker raw",
		"nft flush chain bridge mydocker sender",
		"nft flush set bridge mydocker links",
		"ip link del br0",
		"ip link set br0 down; sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0",
		"ip link del $(ip -o link show master br0 | grep -o 'veth[0-9a-f]*' | head -1)",
	} {
		t.Run(harm, func(t *testing.T) {
			m := newManager(t, func(o *Options) { o.Firewall = FirewallNFTables })
			create(t, m, CreateOptions{Name: "br0", EnableIPv6: true})
			web := start(t, m, "web", "br0", "8080:80")
			serve(t, web, "tcp", ":80", "web")
			t.Setenv("ID", short(web.Endpoint.ID))
			run(t, "bash", "-euc", harm)
			shown, err := m.Sync(context.Background(), true)
			if err != nil || (len(shown) == 0) != (harm == "true") {
				t.Errorf("%q, %v", shown, err)
			}
			if done, err := m.Sync(context.Background(), false); err != nil || !slices.Equal(done, shown) {
				t.Fatalf("%v; shown: %q; done: %q", err, shown, done)
			}
			answers(t, lan(), "tcp4", "10.99.0.1:8080", "web")
			answers(t, lan(), "tcp6", "[fd99::1]:8080", "web")
			if again, err := m.Sync(context.Background(), true); err != nil || len(again) > 0 {
				t.Errorf("a difference is left: %q, %v", again, err)
			}
			if strings.Contains(harm, "bridge mydocker") || strings.Contains(harm, "fd00::9") {
				return // nft knows no types of the guard's sets, and puts no element in the place of another
			}
			// A person who types what is shown mends it, too.
			run(t, "bash", "-euc", harm)
			run(t, "bash", "-euc", strings.Join(shown, "\n"))
			answers(t, lan(), "tcp4", "10.99.0.1:8080", "web")
			if again, err := m.Sync(context.Background(), true); err != nil || len(again) > 0 {
				t.Errorf("typed by hand, a difference is left: %q, %v", again, err)
			}
		})
	}
}

func TestNFTablesEveryOperationFails(t *testing.T) {
	for n := 1; ; n++ {
		b := &breaker{n: n, after: n%2 == 0}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			m := newManager(t, func(o *Options) { o.Watch, o.Firewall = b, FirewallNFTables })
			_, err := m.Create(context.Background(), CreateOptions{Name: "br0"})
			if err == nil {
				var c box
				if c, err = tryStart(m, "web", "br0", "8080:80"); err == nil {
					c.closeHeld()
				}
			}
			if (err == nil) != (b.what == "") {
				t.Errorf("failure of %q: %v", b.what, err)
			}
		})
		if b.what == "" {
			if n < 12 {
				t.Errorf("only %d operations were seen", n)
			}
			return
		}
	}
}

// A network keeps the backend that it was made with, and whoever removes it removes those rules.
func TestChangedBackend(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "old"})
	first := start(t, m, "first", "old", "8080:80")
	serve(t, first, "tcp4", ":80", "first")
	m.backend = FirewallNFTables
	second := start(t, m, "second", "old", "8081:80")
	serve(t, second, "tcp4", ":80", "second")
	create(t, m, CreateOptions{Name: "new"})
	third := start(t, m, "third", "new", "8082:80")
	serve(t, third, "tcp4", ":80", "third")
	for port, want := range map[string]string{"8080": "first", "8081": "second", "8082": "third"} {
		answers(t, lan(), "tcp4", "10.99.0.1:"+port, want)
	}
	answers(t, third, "tcp4", first.Address.Addr().String()+":80", "")
	answers(t, first, "tcp4", third.Address.Addr().String()+":80", "")
	if out := run(t, "nft", "list", "table", "ip", "mydocker"); strings.Contains(out, "8081") || !strings.Contains(out, "8082") {
		t.Error(out)
	}
	if commands, err := m.Sync(context.Background(), true); err != nil || len(commands) > 0 {
		t.Errorf("%q, %v", commands, err)
	}
	for _, b := range []box{first, second} {
		if err := m.Release(context.Background(), b.id); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Remove(context.Background(), "old"); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "iptables-save"); strings.Contains(out, "MYDOCKER") {
		t.Errorf("left in iptables:\n%s", out)
	}
}

// ruleList is the rules of both backends in their order, without counters and marks. The guard's is not among them: nft knows no types of
// its sets.
func ruleList(t *testing.T) string {
	t.Helper()
	return regexp.MustCompile(`packets \d+ bytes \d+| comment "mydocker [0-9a-f]{12}"`).ReplaceAllString(run(t, "bash", "-euc", `for t in ip{,6}" "{filter,nat,raw,mydocker}; do nft list table $t; done`), "")
}

// Networks with one backend beside networks with the other: what the second writes into the first one's FORWARD is foreseen where that
// is still to be made, by sync and in the script.
func TestBothBackendsForeseen(t *testing.T) {
	run(t, "nft", "flush", "ruleset") // an empty INPUT of a test before would not come back
	m := newManager(t)
	ctx := context.Background()
	create(t, m, CreateOptions{Name: "br0", EnableIPv6: true})
	m.backend = FirewallNFTables
	create(t, m, CreateOptions{Name: "br1", EnableIPv6: true})
	want := ruleList(t)
	if n := strings.Count(want, "decided in table mydocker"); n != 4 {
		t.Errorf("%d rules in FORWARD let br1 through:\n%s", n, want)
	}
	for _, harm := range []string{"nft flush ruleset", "iptables -F; ip6tables -F", "iptables -D FORWARD -j MYDOCKER-FORWARD"} {
		run(t, "bash", "-euc", harm)
		shown, err := m.Sync(ctx, true)
		if err != nil || len(shown) == 0 {
			t.Errorf("%s: %q, %v", harm, shown, err)
		}
		if done, err := m.Sync(ctx, false); err != nil || !slices.Equal(done, shown) {
			t.Errorf("%s: %v; shown:\n%s\ndone:\n%s", harm, err, strings.Join(shown, "\n"), strings.Join(done, "\n"))
		}
		if got := ruleList(t); got != want {
			t.Errorf("%s: not mended:\n%s", harm, lineDiff(want, got))
		}
		if again, err := m.Sync(ctx, true); err != nil || len(again) > 0 {
			t.Errorf("%s: a difference is left: %q, %v", harm, again, err)
		}
		run(t, "bash", "-euc", harm)
		run(t, "bash", "-euc", strings.Join(shown, "\n"))
		if got := ruleList(t); got != want {
			t.Errorf("%s: typed by hand it is not mended:\n%s", harm, lineDiff(want, got))
		}
	}
	script, err := m.Plan(ctx, "br1", "br0")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"br0", "br1"} {
		if err := m.Remove(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "nft", "flush", "ruleset")
	run(t, "sh", "-c", script)
	got := ruleList(t)
	run(t, "bash", "-euc", "ip link del br0; ip link del br1; nft flush ruleset; sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.ipv6.conf.eth0.accept_ra=1")
	if got != want {
		t.Errorf("the script makes other rules:\n%s", lineDiff(want, got))
	}
}

// A FORWARD of legacy iptables that drops lets the networks of the nftables backend through, and is afterwards as it was.
func TestNFTablesBesideLegacyDrop(t *testing.T) {
	m := newManager(t, func(o *Options) { o.Firewall = FirewallNFTables })
	ctx := context.Background()
	const before = "iptables-legacy -P FORWARD DROP; ip6tables-legacy -A FORWARD -j DROP; iptables-legacy -A FORWARD -s 192.0.2.1 -j ACCEPT"
	list := func() string {
		return run(t, "bash", "-euc", "for i in ip{,6}tables-legacy; do $i -S FORWARD; done")
	}
	run(t, "bash", "-euc", before)
	want := list()
	t.Cleanup(func() {
		run(t, "bash", "-euc", "iptables-legacy -P FORWARD ACCEPT; iptables-legacy -F FORWARD; ip6tables-legacy -F FORWARD")
	})
	create(t, m, CreateOptions{Name: "br0", EnableIPv6: true})
	web := start(t, m, "web", "br0", "8080:80")
	serve(t, web, "tcp", ":80", "web")
	serve(t, lan(), "tcp4", ":99", "lan")
	for _, harm := range []string{"true", "iptables-legacy -F FORWARD; ip6tables-legacy -F FORWARD; " + before,
		"iptables-legacy -D FORWARD 1", "iptables-legacy -I FORWARD -s 192.0.2.2 -j DROP; iptables-legacy -A FORWARD -s 192.0.2.3 -j DROP"} {
		run(t, "bash", "-euc", harm)
		shown, err := m.Sync(ctx, true)
		if err != nil || (len(shown) == 0) != (harm == "true") {
			t.Errorf("%s: %q, %v", harm, shown, err)
		}
		if done, err := m.Sync(ctx, false); err != nil || !slices.Equal(done, shown) {
			t.Errorf("%s: %v; shown: %q; done: %q", harm, err, shown, done)
		}
		answers(t, lan(), "tcp4", "10.99.0.1:8080", "web to 10.99.0.2")
		answers(t, lan(), "tcp6", "[fd99::1]:8080", "web to fd99::2")
		answers(t, web, "tcp4", "10.99.0.2:99", "lan to 10.99.0.1")
		if again, err := m.Sync(ctx, true); err != nil || len(again) > 0 {
			t.Errorf("%s: a difference is left: %q, %v", harm, again, err)
		}
	}
	run(t, "bash", "-euc", "iptables-legacy -D FORWARD -s 192.0.2.2 -j DROP; iptables-legacy -D FORWARD -s 192.0.2.3 -j DROP")
	web.closeHeld()
	if err := m.Release(ctx, web.id); err != nil {
		t.Fatal(err)
	}
	if err := m.Remove(ctx, "br0"); err != nil {
		t.Fatal(err)
	}
	if got := list(); got != want {
		t.Errorf("left behind:\n%s", lineDiff(want, got))
	}
}

// A policy alone is a rule: iptables' networks go where it drops.
func TestFlavourOfPolicy(t *testing.T) {
	m := newManager(t)
	run(t, "iptables-legacy", "-P", "FORWARD", "DROP")
	t.Cleanup(func() { run(t, "iptables-legacy", "-P", "FORWARD", "ACCEPT") })
	create(t, m, CreateOptions{Name: "br0"})
	web := start(t, m, "web", "br0", "8080:80")
	serve(t, web, "tcp4", ":80", "web")
	answers(t, lan(), "tcp4", "10.99.0.1:8080", "web to 10.99.0.2")
	if web.Firewall != firewallIPTablesLegacy {
		t.Errorf("the endpoint says %q", web.Firewall)
	}
}
