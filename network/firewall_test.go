package network

import (
	"context"
	"strings"
	"testing"
)

// What other software does to the firewall does not stop us, and its rules are not touched.
func TestHostileFirewall(t *testing.T) { backends(t, checkHostileFirewall) }

func checkHostileFirewall(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	ctx := context.Background()
	run(t, "bash", "-euc", `iptables -P FORWARD DROP; ip6tables -P FORWARD DROP; iptables -N theirs; iptables -A FORWARD -j theirs
		iptables -t nat -A PREROUTING -p tcp --dport 1 -m comment --comment "mydocker is not mine" -j ACCEPT; iptables -t nat -A POSTROUTING -s 1.2.3.4/32 -j MASQUERADE`)
	t.Cleanup(func() {
		out := run(t, "iptables-save")
		for _, want := range []string{":FORWARD DROP", "-A FORWARD -j theirs", "mydocker is not mine", "-s 1.2.3.4/32 -j MASQUERADE"} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is gone", want)
			}
		}
		run(t, "bash", "-euc", `iptables -P FORWARD ACCEPT; ip6tables -P FORWARD ACCEPT; iptables -F FORWARD; iptables -X theirs; iptables -t nat -F PREROUTING; iptables -t nat -F POSTROUTING`)
	})
	create(t, m, CreateOptions{Name: "br0", EnableIPv6: true})
	web := start(t, m, "web", "br0", "8080:80")
	peer := start(t, m, "peer", "br0")
	serve(t, web, "tcp", ":80", "web")
	serve(t, lan(), "tcp4", ":99", "lan")
	for _, nf := range []string{"1", "0"} {
		bridgeNetfilter(t, nf)
		answers(t, lan(), "tcp4", "10.99.0.1:8080", "web to 10.99.0.2")
		answers(t, lan(), "tcp6", "[fd99::1]:8080", "web to fd99::2")
		answers(t, hostDoer{}, "tcp4", "127.0.0.1:8080", "web")
		answers(t, hostDoer{}, "tcp4", "10.99.0.1:8080", "web")
		answers(t, peer, "tcp4", web.Address.Addr().String()+":80", "web to "+peer.Address.Addr().String())
		answers(t, peer, "tcp4", "10.99.0.1:8080", "web")
		answers(t, peer, "tcp6", "[fd99::1]:8080", "web")
		answers(t, web, "tcp4", "10.99.0.1:8080", "web")
		answers(t, peer, "tcp4", "10.99.0.2:99", "lan to 10.99.0.1")
	}
	for _, key := range []string{"net/ipv4/conf/all/rp_filter", "net/ipv4/conf/eth0/rp_filter"} {
		old, err := readSysctl(key)
		if err != nil {
			t.Fatal(err)
		}
		defer writeSysctl(key, old)
	}
	for _, strict := range []string{"0", "2", "1"} {
		run(t, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter="+strict, "net.ipv4.conf.eth0.rp_filter="+strict)
		answers(t, lan(), "tcp4", "10.99.0.1:8080", "web to 10.99.0.2")
		answers(t, hostDoer{}, "tcp4", "127.0.0.1:8080", "web")
	}
	// Somebody closes FORWARD and forgets us.
	run(t, "bash", "-euc", `iptables -F FORWARD; ip6tables -F FORWARD; iptables -A FORWARD -j theirs`)
	if commands, err := m.Sync(ctx, false); err != nil || len(commands) == 0 {
		t.Errorf("%q, %v", commands, err)
	}
	answers(t, lan(), "tcp4", "10.99.0.1:8080", "web to 10.99.0.2")
	answers(t, lan(), "tcp6", "[fd99::1]:8080", "web to fd99::2")
	if commands, err := m.Sync(ctx, true); err != nil || len(commands) > 0 {
		t.Errorf("a difference is left: %q, %v", commands, err)
	}
}

// Rules that somebody flushed and a bridge that somebody deleted are made again by the next run.
func TestRepairedByNextRun(t *testing.T) {
	for name, harm := range map[string]string{
		"ruleset":       "nft flush ruleset",
		"nft, ruleset":  "nft flush ruleset; iptables -P FORWARD ACCEPT", // which makes the chain again
		"nft, a table":  "nft delete table ip mydocker",
		"nft, a chain":  "nft flush chain ip mydocker prerouting",
		"nft, a bridge": "ip link del br0",
		"flush":         "iptables -F; iptables -t nat -F; iptables -t raw -F",
		"flush and all": "for t in filter nat raw; do iptables -t $t -F; iptables -t $t -X; done",
		"nat only":      "iptables -t nat -F",
		"bridge":        "ip link del br0",
		"bridge down":   "true",
	} {
		t.Run(name, func(t *testing.T) {
			run(t, "iptables", "-P", "FORWARD", "ACCEPT") // the chain is there, whatever was before
			m := newManager(t, func(o *Options) {
				if strings.HasPrefix(name, "nft") {
					o.Firewall = FirewallNFTables
				}
			})
			create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
			want := snapshot(t)
			run(t, "bash", "-euc", harm)
			c := start(t, m, "web", "br0", "8080:80")
			serve(t, c, "tcp4", ":80", "web")
			answers(t, lan(), "tcp4", "10.99.0.1:8080", "web to 10.99.0.2")
			answers(t, hostDoer{}, "tcp4", "127.0.0.1:8080", "web")
			c.closeHeld()
			if err := m.Release(context.Background(), c.id); err != nil {
				t.Fatal(err)
			}
			if got := eventually(t, want); got != want {
				t.Errorf("not repaired:\n%s", lineDiff(want, got))
			}
		})
	}
}

func TestInternalAndICC(t *testing.T) { backends(t, checkInternalAndICC) }

func checkInternalAndICC(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	create(t, m, CreateOptions{Name: "open", Subnet: "172.20.0.0/16"})
	create(t, m, CreateOptions{Name: "closed", Subnet: "172.21.0.0/16", Internal: true})
	create(t, m, CreateOptions{Name: "quiet", Subnet: "172.22.0.0/16", Options: map[string]string{OptICC: "false"}})
	create(t, m, CreateOptions{Name: "later", Subnet: "172.23.0.0/16"})
	web := start(t, m, "web", "open", "8080:80")
	late := start(t, m, "late", "later", "8081:80")
	in1, in2 := start(t, m, "in1", "closed"), start(t, m, "in2", "closed")
	q1, q2 := start(t, m, "q1", "quiet", "8082:80"), start(t, m, "q2", "quiet")
	for _, s := range []box{web, late, in1, in2, q1, q2} {
		serve(t, s, "tcp4", ":80", s.ContainerName)
	}
	serve(t, lan(), "tcp4", ":99", "lan")
	for _, c := range []struct {
		from          doer
		address, want string
	}{
		{in1, "172.21.0.3:80", "in2"},
		{in1, "10.99.0.2:99", ""},
		{in1, "10.99.0.1:8080", ""},
		{in1, "172.20.0.2:80", ""},
		{web, "172.21.0.2:80", ""},
		{lan(), "172.21.0.2:80", ""},
		{hostDoer{}, "172.21.0.2:80", "in1"},
		{q1, "172.22.0.3:80", ""},
		{q2, "10.99.0.1:8082", "q1"},
		{q1, "10.99.0.1:8082", "q1"},
		{q1, "10.99.0.2:99", "lan"},
		{late, "172.20.0.2:80", ""},
		{web, "172.23.0.2:80", ""},
		{web, "10.99.0.1:8081", "late"},
	} {
		answers(t, c.from, "tcp4", c.address, c.want)
	}
	if out := run(t, "ip", "-n", "in1", "route"); strings.Contains(out, "default") {
		t.Errorf("an internal network has a default route:\n%s", out)
	}
}

// Our own rules are told apart from those that are there already: the same again changes nothing.
func TestRulesAreStable(t *testing.T) {
	m := newManager(t)
	for _, o := range []CreateOptions{{Name: "a"}, {Name: "b", Internal: true}, {Name: "c", Options: map[string]string{OptICC: "false", OptMasquerade: "false"}}} {
		create(t, m, o)
	}
	live, err := recordedNetworks(m.root.Run + "/networks")
	if err != nil {
		t.Fatal(err)
	}
	fw, err := m.firewall("")
	if err != nil {
		t.Fatal(err)
	}
	if ops, err := fw.Networks(context.Background(), live); len(ops) > 0 || err != nil {
		t.Errorf("%v, %v", ops, err)
	}
	run(t, "iptables", "-A", "MYDOCKER-USER", "-p", "tcp", "--dport", "25", "-j", "DROP")
	run(t, "iptables", "-A", "MYDOCKER-IN", "-j", "ACCEPT")
	if err := m.repair(context.Background(), m.executor(), live[0]); err != nil {
		t.Fatal(err)
	}
	out := run(t, "iptables-save")
	if !strings.Contains(out, "MYDOCKER-USER -p tcp -m tcp --dport 25 -j DROP") || strings.Contains(out, "-A MYDOCKER-IN -j ACCEPT") {
		t.Error(out)
	}
	run(t, "iptables", "-F", "MYDOCKER-USER")
}

// A rule in the user's chain comes before ours.
func TestUserChain(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0"})
	web := start(t, m, "web", "br0", "8080:80")
	peer := start(t, m, "peer", "br0")
	serve(t, web, "tcp4", ":80", "web")
	serve(t, lan(), "tcp4", ":99", "lan")
	run(t, "iptables", "-A", "MYDOCKER-USER", "-o", "br0", "-m", "conntrack", "--ctstate", "NEW", "!", "-s", "10.98.0.0/24", "-j", "DROP")
	answers(t, lan(), "tcp4", "10.99.0.1:8080", "")
	answers(t, hostDoer{}, "tcp4", "10.99.0.1:8080", "web")
	answers(t, peer, "tcp4", "10.99.0.2:99", "lan")
	run(t, "iptables", "-F", "MYDOCKER-USER")
	answers(t, lan(), "tcp4", "10.99.0.1:8080", "web")
}
