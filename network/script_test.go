package network

import (
	"context"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// kernelState is all of the kernel's state that a network consists of, with what must differ taken out: numbers of links, and
// the ids of endpoints. Carriers and IPv6 addresses come in the background, so it is looked at until it stays as it is.
func kernelState(t *testing.T) string {
	t.Helper()
	onTheWay := regexp.MustCompile(`NO-CARRIER|LOWERLAYERDOWN|tentative`)
	var last string
	for same, tries := 0, 0; same < 4; tries++ {
		if tries == 1000 {
			t.Fatalf("the kernel's state does not come to rest:\n%s", last)
		}
		now := kernelStateNow(t)
		if same++; now != last || onTheWay.MatchString(now) {
			same = 0
		}
		last = now
		time.Sleep(50 * time.Millisecond)
	}
	return last
}

func kernelStateNow(t *testing.T) string {
	t.Helper()
	out := run(t, "bash", "-euc", `
		ip -o -d link show; ip -o addr show; ip route show table all; ip -6 route show table all
		for n in web peer; do ip -n $n -o -d link show; ip -n $n -o addr show; ip -n $n route; ip -n $n -6 route; done
		bridge -d link show; tc qdisc show; tc -n web qdisc show
		iptables-save; ip6tables-save
		cd /proc/sys/net; for f in ipv4/ip_forward ipv6/conf/all/forwarding ipv4/conf/br0/route_localnet ipv4/conf/br0/rp_filter ipv6/conf/br0/accept_ra ipv6/conf/br0/disable_ipv6; do echo $f $(cat $f); done
		for n in web peer; do ip netns exec $n cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6; done`)
	for _, r := range [][2]string{
		{`(?m)^#.*\n`, ""}, {`(?m)^\d+: `, ""}, {`@if\d+`, ""}, {`link-netnsid \d+`, ""}, {`\[\d+:\d+\]`, ""},
		{`(?m)^(veth\w+:.*link/ether) \S+`, "$1"}, {`veth[0-9a-f]+`, "veth"}, {` [0-9a-f]{12}"`, `"`},
		{`(?m)^.*(ff00::/8|fe80:).*\n`, ""}, {`bridge_id \S+`, ""}, {`designated_\w+ \S+`, ""}, {`\w+_timer +\S+`, ""}, {`port_(id|no) \S+`, ""},
		{`state (UP|UNKNOWN) `, ""}, {`(valid|preferred)_lft \S+`, ""}, {`expires \S+`, ""}, {` +`, " "},
	} {
		out = regexp.MustCompile(r[0]).ReplaceAllString(out, r[1])
	}
	lines := strings.Split(out, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// What is planned is what is made, also where the choice of addresses is left to us; and networks differ.
func TestPlannedAddresses(t *testing.T) {
	m := newManager(t)
	ctx := context.Background()
	seen := map[netip.Prefix]string{}
	for _, name := range []string{"br0", "br1", "br2"} {
		o := CreateOptions{Name: name, EnableIPv6: true}
		planned, err := m.PlanCreate(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		n := create(t, m, o)
		made, err := m.Plan(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if made != planned {
			t.Errorf("%s:\n%s", name, lineDiff(planned, made))
		}
		if other := seen[n.Subnet6]; other != "" || n.Subnet6.Addr().As16()[0] != 0xfd {
			t.Errorf("%s has %s; %s too", name, n.Subnet6, other)
		}
		seen[n.Subnet6] = name
	}
	own, err := m.Network("br0")
	if err != nil {
		t.Fatal(err)
	}
	if again := uniqueLocal(own, []taken{{prefix: own.Subnet6}}); again == own.Subnet6 {
		t.Errorf("%s is used, and chosen", again)
	}
}

// A person who runs the printed script gets the same network.
func TestScriptMakesTheSameNetwork(t *testing.T) {
	for _, c := range []struct {
		o     CreateOptions
		ports []string
	}{
		{CreateOptions{Name: "br0", Subnet: "172.20.0.0/16", Subnet6: "fd00:20::/64"}, []string{"8080:80", "9000-9009:7000-7009/udp", "127.0.0.1:8443:443"}},
		{CreateOptions{Name: "br0", NoIPv4: true, Subnet6: "fd00:20::/64"}, []string{"8080:80", "9000-9009:7000-7009/udp", "[fd99::1]:8443:443"}},
	} {
		checkScript(t, c.o, c.ports...)
	}
}

func checkScript(t *testing.T, o CreateOptions, published ...string) {
	t.Helper()
	m := newManager(t)
	ctx := context.Background()
	planned, err := m.PlanCreate(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t)
	n := create(t, m, o)
	var ports []PortMapping
	for _, s := range published {
		p, err := ParsePort(s)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, p...)
	}
	attach := EndpointOptions{ContainerID: containerID("web"), ContainerName: "web", Network: "br0", Ports: ports}
	plannedAttach, err := m.PlanAttach(ctx, "web", attach)
	if err != nil {
		t.Fatal(err)
	}
	web := start(t, m, "web", "br0", published...)
	peer := start(t, m, "peer", "br0")
	want := kernelState(t)
	whole, err := m.Plan(ctx, "br0")
	if err != nil {
		t.Fatal(err)
	}
	ids := regexp.MustCompile(`veth[0-9a-f]+|[0-9a-f]{12}"`)
	for _, part := range []string{planned, plannedAttach} {
		part = ids.ReplaceAllString(strings.TrimPrefix(part, scriptHeader), "ID")
		if !strings.Contains(ids.ReplaceAllString(whole, "ID"), part) {
			t.Errorf("what was planned is not what was made:\n%s\n--- made:\n%s", part, whole)
		}
	}
	for _, b := range []box{web, peer} {
		b.closeHeld()
		if err := m.Release(ctx, b.id); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Remove(ctx, n.Name); err != nil {
		t.Fatal(err)
	}
	if now := eventually(t, before); now != before {
		t.Fatalf("not clean:\n%s", lineDiff(before, now))
	}
	file := t.TempDir() + "/plan.sh"
	if err := os.WriteFile(file, []byte(whole), 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "sh", file)
	got := kernelState(t)
	run(t, "bash", "-euc", `ip netns del web; ip netns del peer; ip link del br0; nft delete table bridge mydocker; sysctl -qw net/ipv4/ip_forward=0 net/ipv6/conf/all/forwarding=0 net/ipv6/conf/eth0/accept_ra=1
		for i in iptables ip6tables; do for t in raw filter nat; do $i -t $t -F; $i -t $t -X; done; done`)
	if got != want {
		t.Errorf("the script makes another network:\n%s", lineDiff(want, got))
	}
}

// After all kinds of harm, sync first shows the difference and then makes it up, under running containers.
func TestSync(t *testing.T) {
	for name, harm := range harms() {
		t.Run(name, func(t *testing.T) { checkSync(t, name, harm, FirewallIPTables) })
		if strings.Contains(name, "flush") && name != "flush ruleset" || strings.Contains(name, "less") {
			harm = regexp.MustCompile(`ip6?tables`).ReplaceAllString(harm, "$0-legacy")
			t.Run(name+" of iptables-legacy", func(t *testing.T) { checkSync(t, name, harm, firewallIPTablesLegacy) })
		}
	}
}

func harms() map[string]string {
	return map[string]string{
		"nothing":                "true",
		"flush":                  "iptables -F; iptables -t nat -F; iptables -t raw -F; ip6tables -F; ip6tables -t nat -F",
		"flush and delete":       "for i in iptables ip6tables; do for t in raw nat filter; do $i -t $t -F; $i -t $t -X; done; done",
		"flush ruleset":          "nft flush ruleset",
		"a rule less":            "iptables -t nat -D MYDOCKER 1",
		"a rule twice":           `iptables -t nat -S MYDOCKER | sed -n 's/^-A MYDOCKER \(.*--dport 8443.*\)/-t nat -A MYDOCKER \1/p' | xargs iptables`,
		"ports of nobody's":      "iptables -t nat -I MYDOCKER -p tcp --dport 8080 -j DNAT --to-destination 172.20.0.9; ip6tables -t nat -A MYDOCKER -p tcp --dport 99 -j RETURN",
		"another first rule":     "iptables -I MYDOCKER-IN 1 -j DROP",
		"a rule of a chain less": "iptables -D MYDOCKER-IN 2",
		"another order":          "r=$(iptables -S MYDOCKER-IN 1 | cut -d' ' -f3-); iptables -D MYDOCKER-IN 1; eval iptables -A MYDOCKER-IN $r",
		"stale masquerade":       `iptables -t nat -A POSTROUTING -s 9.9.9.0/24 -m comment --comment "mydocker old: x" -j MASQUERADE`,
		"bridge gone":            "ip link del br0",
		"bridge down":            "ip link set br0 down",
		"bridge address":         "ip addr del 172.20.0.1/16 dev br0",
		"cable down":             "for v in $(ip -o link show type veth | grep -o 'veth[0-9a-f]*' | sort -u); do ip link set $v down; done",
		"cable pulled":           "for v in $(ip -o link show type veth | grep -o 'veth[0-9a-f]*' | sort -u); do ip link set $v nomaster; done",
		"cable gone":             "for v in $(ip -o link show type veth | grep -o 'veth[0-9a-f]*' | sort -u); do ip link del $v; done",
		"inner end down":         "ip -n web link set eth0 down; ip -n peer link set eth0 down",
		"inner address":          "ip -n web addr flush dev eth0",
		"inner route":            "ip -n web route del default; ip -n web -6 route del default",
		"no forwarding":          "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.ipv4.conf.br0.route_localnet=0",
	}
}

// orderedRules are all rules of iptables, of both kinds, in the order that they have in each table.
func orderedRules(t *testing.T) string {
	t.Helper()
	return run(t, "bash", "-c", "for i in ip{,6}tables-{nft,legacy}; do $i-save 2>/dev/null | awk '/^[*]/ { t = $1 } /^-A/ { print t, $0 }' | sort -s -k1,1; done")
}

func checkSync(t *testing.T, name, harm, firewall string) {
	m := newManager(t, func(o *Options) { o.Firewall = firewall })
	ctx := context.Background()
	create(t, m, CreateOptions{Name: "br1"})
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16", EnableIPv6: true})
	start(t, m, "last", "br1", "8081:80")
	web := start(t, m, "web", "br0", "8080:80", "127.0.0.1:8443:443")
	peer := start(t, m, "peer", "br0")
	serve(t, web, "tcp", ":80", "web")
	want, wantRules := settled(t), orderedRules(t)
	run(t, "bash", "-euc", harm)
	harmed := snapshot(t)
	commands, err := m.Sync(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	one := strings.Contains(name, "a rule") || strings.Contains(name, "first rule")
	if (len(commands) == 0) != (name == "nothing") || one && (len(commands) != 1 || strings.Contains(commands[0], "\n")) {
		t.Errorf("the difference is shown as %q", commands)
	}
	if after := snapshot(t); after != harmed {
		t.Errorf("a look has changed:\n%s", lineDiff(harmed, after))
	}
	done, err := m.Sync(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(done, commands) {
		t.Errorf("shown:\n%s\ndone:\n%s", strings.Join(commands, "\n"), strings.Join(done, "\n"))
	}
	if got := eventually(t, want); got != want {
		t.Errorf("not mended:\n%s", lineDiff(want, got))
	}
	if got := orderedRules(t); got != wantRules && name != "a rule less" && name != "a rule twice" {
		t.Errorf("the rules were\n%s\nand are now\n%s", wantRules, got)
	}
	answers(t, lan(), "tcp4", "10.99.0.1:8080", "web")
	answers(t, lan(), "tcp6", "[fd99::1]:8080", "web")
	answers(t, hostDoer{}, "tcp4", "127.0.0.1:8080", "web")
	answers(t, peer, "tcp4", "172.20.0.2:80", "web")
	if again, err := m.Sync(ctx, true); err != nil || len(again) > 0 {
		t.Errorf("a difference is left: %q, %v", again, err)
	}
}

// A default route that a container has put in place of ours is its own affair.
func TestSyncLeavesOtherRoutes(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	start(t, m, "web", "br0")
	run(t, "ip", "-n", "web", "route", "replace", "default", "via", "172.20.0.99")
	if commands, err := m.Sync(context.Background(), false); err != nil || len(commands) > 0 {
		t.Errorf("%q, %v", commands, err)
	}
}
