package network

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A container sends with its own addresses or not at all.
func TestGuard(t *testing.T) { backends(t, checkGuard) }

func checkGuard(t *testing.T, use func(*Options)) {
	bridgeNetfilter(t, "0") // with it, the rules of ip6tables stop some of it, too
	m := newManager(t, use)
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16", Subnet6: "fd00:20::/64"})
	create(t, m, CreateOptions{Name: "lab", Subnet: "172.21.0.0/16", Subnet6: "fd00:21::/64", Options: map[string]string{OptGuard: "false"}})
	for _, network := range []string{"br0", "lab"} {
		evil, victim := start(t, m, "evil"+network, network), start(t, m, "victim"+network, network)
		peer := start(t, m, "peer"+network, network)
		me, mine := evil.Address.Addr(), evil.MAC
		his, hers := victim.Address.Addr(), victim.MAC
		all := HardwareAddr{255, 255, 255, 255, 255, 255}
		zero, any6, nodes := netip.IPv4Unspecified(), netip.IPv6Unspecified(), netip.MustParseAddr("ff02::1")
		six, sixHis, sixPeer := evil.Address6.Addr(), victim.Address6.Addr(), peer.Address6.Addr()
		own, gateway6 := linkLocal(mine), linkLocal(macFor(evil.Gateway, evil.Gateway6))
		ip6 := func(src, dst netip.Addr, next byte, payload []byte) []byte {
			return frame(peer.MAC, mine, unix.ETH_P_IPV6, ipv6Packet(src, dst, next, payload))
		}
		nd := func(kind byte, src, dst, target netip.Addr) []byte {
			return ip6(src, dst, unix.IPPROTO_ICMPV6, discovery(kind, src, dst, target, mine))
		}
		hidden := append([]byte{unix.IPPROTO_ICMPV6, 0, 1, 4, 0, 0, 0, 0}, discovery(136, six, sixPeer, sixHis, mine)...)
		tagged := func(src netip.Addr, mark string) []byte {
			return frame(peer.MAC, mine, 0x8100, append([]byte{0, 5, 8, 0}, datagram(src, peer.Address.Addr(), mark)...))
		}
		good := map[string][]byte{
			"itself":                   frame(peer.MAC, mine, unix.ETH_P_IP, datagram(me, peer.Address.Addr(), "itself")),
			"its ARP":                  frame(all, mine, unix.ETH_P_ARP, arp(1, 1, mine, me, make([]byte, 6), peer.Address.Addr())),
			"is this free":             frame(all, mine, unix.ETH_P_ARP, arp(1, 1, mine, zero, make([]byte, 6), his)),
			"itself by IPv6":           ip6(six, sixPeer, 59, nil),
			"itself by its own fe80::": ip6(own, sixPeer, 59, nil),
			"its neighbour advert":     nd(136, six, sixPeer, six),
			"its solicitation":         nd(135, six, sixPeer, sixPeer),
			"is this free by IPv6":     nd(135, any6, nodes, sixHis),
			"another protocol":         frame(peer.MAC, mine, 0x88b5, []byte("an experiment that is long enough for a frame")),
			"itself in a VLAN":         tagged(me, "vlan"),
		}
		bad := map[string][]byte{
			"another's address":                 frame(peer.MAC, mine, unix.ETH_P_IP, datagram(his, peer.Address.Addr(), "spoof")),
			"an address outside":                frame(peer.MAC, mine, unix.ETH_P_IP, datagram(netip.MustParseAddr("10.99.0.2"), peer.Address.Addr(), "out")),
			"IPv6 with its IPv4 inside":         frame(peer.MAC, mine, unix.ETH_P_IPV6, ipv6Packet(netip.AddrFrom16([16]byte{4: me.As4()[0], me.As4()[1], me.As4()[2], me.As4()[3]}), sixPeer, 59, nil)),
			"another's MAC":                     frame(peer.MAC, hers, unix.ETH_P_IP, datagram(me, peer.Address.Addr(), "mac")),
			"another's ARP":                     frame(all, mine, unix.ETH_P_ARP, arp(1, 2, mine, his, peer.MAC, peer.Address.Addr())),
			"the gateway's ARP":                 frame(peer.MAC, mine, unix.ETH_P_ARP, arp(1, 2, mine, evil.Gateway, peer.MAC, peer.Address.Addr())),
			"ARP for IEEE 802":                  frame(peer.MAC, mine, unix.ETH_P_ARP, arp(6, 2, mine, his, peer.MAC, peer.Address.Addr())),
			"ARP with another's MAC":            frame(peer.MAC, mine, unix.ETH_P_ARP, arp(1, 2, hers, me, peer.MAC, peer.Address.Addr())),
			"another's IPv6 address":            ip6(sixHis, sixPeer, 59, nil),
			"an IPv6 address outside":           ip6(netip.MustParseAddr("fd99::2"), sixPeer, 59, nil),
			"the gateway's fe80::":              ip6(gateway6, sixPeer, 59, nil),
			"another's neighbour advert":        nd(136, six, sixPeer, sixHis),
			"the gateway's neighbour advert":    nd(136, six, sixPeer, evil.Gateway6),
			"the same behind a hop-by-hop":      ip6(six, sixPeer, 0, hidden),
			"another's neighbour solicitation":  nd(135, sixHis, sixPeer, sixPeer),
			"a router's advertisement":          nd(134, own, nodes, any6),
			"a redirect":                        nd(137, own, sixPeer, sixHis),
			"another's address in a VLAN":       tagged(his, "spoofed vlan"),
			"the gateway's ARP in VLAN 0 twice": frame(peer.MAC, mine, 0x8100, append([]byte{0, 0, 0x81, 0, 0, 0, 8, 6}, arp(1, 2, mine, evil.Gateway, peer.MAC, peer.Address.Addr())...)),
			"the same by IEEE 802.1ad":          frame(peer.MAC, mine, 0x88a8, append([]byte{0, 0, 0x88, 0xa8, 0, 0, 8, 6}, arp(1, 2, mine, evil.Gateway, peer.MAC, peer.Address.Addr())...)),
			"broadcast with another's address":  frame(all, mine, unix.ETH_P_IP, datagram(his, netip.MustParseAddr("172.20.255.255"), "bcast")),
			"another's address in a gratuitous": frame(all, mine, unix.ETH_P_ARP, arp(1, 1, mine, his, make([]byte, 6), his)),
		}
		reach := slips
		if network == "lab" {
			reach = arrives
		}
		for what := range reach(t, evil, peer, bad) {
			if network == "br0" {
				t.Errorf("%s is let through", what)
			}
			delete(bad, what)
		}
		if network == "lab" && len(bad) > 0 {
			t.Errorf("without a guard, nobody stops %v", bad)
		}
		seen := arrives(t, evil, peer, good)
		for what := range good {
			if !seen[what] {
				t.Errorf("network %s: %s is stopped", network, what)
			}
		}
	}
}

// icc=false holds on the bridge, whatever br_netfilter does, and for frames for everybody, too.
func TestAlone(t *testing.T) { backends(t, checkAlone) }

func checkAlone(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	create(t, m, CreateOptions{Name: "quiet", Subnet: "172.22.0.0/16", Subnet6: "fd00:22::/64", Options: map[string]string{OptICC: "false"}})
	q1, q2 := start(t, m, "q1", "quiet", "8082:80"), start(t, m, "q2", "quiet", "8083:80")
	serve(t, q1, "tcp", ":80", "q1")
	serve(t, q2, "tcp", ":80", "q2")
	serve(t, lan(), "tcp", ":99", "lan")
	all := HardwareAddr{255, 255, 255, 255, 255, 255}
	six, sixTo := q1.Address6.Addr(), q2.Address6.Addr()
	for _, nf := range []string{"0", "1"} {
		bridgeNetfilter(t, nf)
		for what := range slips(t, q1, q2, map[string][]byte{
			"a datagram":           frame(q2.MAC, q1.MAC, unix.ETH_P_IP, datagram(q1.Address.Addr(), q2.Address.Addr(), "a"+nf)),
			"a broadcast":          frame(all, q1.MAC, unix.ETH_P_IP, datagram(q1.Address.Addr(), netip.MustParseAddr("172.22.255.255"), "b"+nf)),
			"a multicast":          frame(HardwareAddr{1, 0, 0x5e, 0, 0, 1}, q1.MAC, unix.ETH_P_IP, datagram(q1.Address.Addr(), netip.MustParseAddr("224.0.0.1"), "c"+nf)),
			"ARP for the peer":     frame(all, q1.MAC, unix.ETH_P_ARP, arp(1, 1, q1.MAC, q1.Address.Addr(), make([]byte, 6), q2.Address.Addr())),
			"a solicitation":       frame(q2.MAC, q1.MAC, unix.ETH_P_IPV6, ipv6Packet(six, sixTo, unix.IPPROTO_ICMPV6, discovery(135, six, sixTo, sixTo, q1.MAC))),
			"an IPv6 packet":       frame(q2.MAC, q1.MAC, unix.ETH_P_IPV6, ipv6Packet(six, sixTo, 59, nil)),
			"a frame of any other": frame(q2.MAC, q1.MAC, 0x88b5, []byte("an experiment that is long enough for a frame "+nf)),
		}) {
			t.Errorf("bridge-nf %s: %s reaches the other container", nf, what)
		}
		// By way of the gateway, with the gateway's MAC and the other's IP address, neither.
		gateway := macFor(q1.Gateway, q1.Gateway6)
		for what := range slips(t, q1, q2, map[string][]byte{
			"through the gateway": frame(gateway, q1.MAC, unix.ETH_P_IP, datagram(q1.Address.Addr(), q2.Address.Addr(), "g"+nf)),
		}) {
			t.Errorf("bridge-nf %s: %s", nf, what)
		}
		for _, c := range []struct {
			from          box
			address, want string
		}{
			{q2, "10.99.0.1:8082", "q1"}, {q1, "10.99.0.1:8082", "q1"}, {q1, "10.99.0.2:99", "lan"},
			{q2, "[fd99::1]:8082", "q1"}, {q1, "[fd99::1]:8082", "q1"}, {q1, "[fd99::2]:99", "lan"},
		} {
			answers(t, c.from, "tcp", c.address, c.want)
		}
		answers(t, lan(), "tcp", "10.99.0.1:8082", "q1 to 10.99.0.2")
		answers(t, lan(), "tcp", "[fd99::1]:8083", "q2 to fd99::2")
		answers(t, q1, "tcp", q2.Address.Addr().String()+":80", "")
	}
}

// bridgeNetfilter sets whether frames on bridges go through the rules of iptables, for this test.
func bridgeNetfilter(t testing.TB, value string) {
	t.Helper()
	for _, key := range []string{"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"} {
		old, err := readSysctl(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeSysctl(key, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := writeSysctl(key, old); err != nil {
				t.Error(err)
			}
		})
	}
}

// The words that are printed and what the kernel is told are the same guard, down to the instructions.
func TestGuardWords(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0", EnableIPv6: true, Options: map[string]string{OptICC: "false"}})
	create(t, m, CreateOptions{Name: "br1", EnableIPv6: true})
	web, open := start(t, m, "web", "br0"), start(t, m, "open", "br1")
	list := func() string {
		out := run(t, "nft", "--debug=netlink", "list", "table", "bridge", "mydocker")
		out, _, _ = strings.Cut(out, "table bridge mydocker {") // what follows is in nft's words, which knows raw targets as numbers
		out = regexp.MustCompile(`(?m)^bridge mydocker (\w+) \d+( \d+)?$`).ReplaceAllString(out, "$1")
		out = regexp.MustCompile(`(?m)^\s*(userdata = .*)?\n`).ReplaceAllString(out, "")
		return regexp.MustCompile(`(\telement .*\n)+`).ReplaceAllStringFunc(out, func(s string) string { // in no order
			lines := strings.Split(s, "\n")
			slices.Sort(lines)
			return strings.Join(lines, "\n")
		})
	}
	want := list()
	if n := strings.Count(want, "[ lookup "); n != 14 {
		t.Errorf("%d lookups in\n%s", n, want)
	}
	for set, element := range map[string]string{"addresses": fmt.Sprintf("%q . %s", web.HostLink, web.Address.Addr()), "links": fmt.Sprintf("%q", web.HostLink)} {
		if shown := run(t, "nft", "list", "set", "bridge", "mydocker", set); !strings.Contains(shown, element) {
			t.Errorf("set %s does not show %s: %s", set, element, shown)
		}
	}
	run(t, "nft", "delete", "table", "bridge", "mydocker")
	script := guardTable().Command() + "\n" + guardLink{append(guardElements(web.Endpoint), guardElements(open.Endpoint)...)}.Command() + "\n"
	if out, err := exec.Command("bash", "-euc", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, script)
	}
	if got := list(); got != want {
		t.Errorf("nft understands the words as other rules:\n%s", lineDiff(want, got))
	}
}

// The rules that docs/packets.md shows are the guard's.
func TestGuardDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/packets.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := string(text)
	for _, r := range guardRules() {
		if r.chain == "alone" {
			continue
		}
		words := regexp.MustCompile(`^meta protocol (ip|ip6|arp) `).ReplaceAllString(r.text, "") // which nft does not show either
		_, after, found := strings.Cut(shown, words)
		if !found {
			t.Fatalf("docs/packets.md does not show, at its place, the rule\n%s", words)
		}
		shown = after
	}
}

// What somebody has taken away is made again: by the next container, and by sync.
func TestGuardRepaired(t *testing.T) {
	for _, harm := range []string{"nft flush ruleset", "nft delete table bridge mydocker", "nft flush set bridge mydocker addresses", "nft flush chain bridge mydocker sender"} {
		m := newManager(t)
		ctx := context.Background()
		create(t, m, CreateOptions{Name: "br0", EnableIPv6: true, Options: map[string]string{OptICC: "false"}})
		web := start(t, m, "web", "br0")
		list := func() string {
			return regexp.MustCompile(`(?s)elements = \{.*?\}`).ReplaceAllStringFunc(run(t, "nft", "-s", "list", "table", "bridge", "mydocker"), func(s string) string {
				f := strings.FieldsFunc(strings.Trim(s, "elmnts ={}"), func(r rune) bool { return r == ',' || r == '\n' || r == '\t' })
				return fmt.Sprint(len(f), strings.Contains(s, web.HostLink))
			})
		}
		want := list()
		run(t, "bash", "-euc", harm)
		next := strings.Contains(harm, "ruleset")
		if next {
			late := start(t, m, "late", "br0")
			if err := m.Release(ctx, late.id); err != nil {
				t.Fatal(err)
			}
		}
		if shown, err := m.Sync(ctx, true); err != nil || len(shown) == 0 != next {
			t.Errorf("%s: %q, %v", harm, shown, err)
		}
		if _, err := m.Sync(ctx, false); err != nil {
			t.Fatal(err)
		}
		if got := list(); got != want {
			t.Errorf("%s: not mended:\n%s", harm, lineDiff(want, got))
		}
		if again, err := m.Sync(ctx, true); err != nil || len(again) > 0 {
			t.Errorf("%s: a difference is left: %q, %v", harm, again, err)
		}
		web.closeHeld()
		removeAll(t, m)
	}
}

// A table that an older version has made is replaced by the next container, and by sync; who runs already is held to his
// addresses all the time.
func TestGuardOfOlderVersion(t *testing.T) {
	for _, by := range []string{"next container", "sync"} {
		m := newManager(t)
		create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16", EnableIPv6: true})
		evil, peer := start(t, m, "evil", "br0"), start(t, m, "peer", "br0")
		want := run(t, "nft", "-s", "list", "chain", "bridge", "mydocker", "prerouting")
		run(t, "bash", "-euc", `nft 'flush chain bridge mydocker prerouting; flush chain bridge mydocker sender
			add rule bridge mydocker prerouting iifname @links jump sender
			add rule bridge mydocker sender iifname . ether saddr != @macs drop
			add rule bridge mydocker sender ip saddr != 0.0.0.0 iifname . ip saddr != @addresses drop
			delete set bridge mydocker senders; delete set bridge mydocker senders6; delete set bridge mydocker free'`)
		if by == "sync" {
			if _, err := m.Sync(context.Background(), false); err != nil {
				t.Fatal(err)
			}
		} else {
			start(t, m, "late", "br0")
		}
		if got := run(t, "nft", "-s", "list", "chain", "bridge", "mydocker", "prerouting"); got != want {
			t.Errorf("by %s: %s", by, lineDiff(want, got))
		}
		if commands, err := m.Sync(context.Background(), true); err != nil || len(commands) > 0 {
			t.Errorf("by %s: a difference is left: %q, %v", by, commands, err)
		}
		good := frame(peer.MAC, evil.MAC, unix.ETH_P_IP, datagram(evil.Address.Addr(), peer.Address.Addr(), "good"))
		if len(arrives(t, evil, peer, map[string][]byte{"good": good})) == 0 {
			t.Errorf("by %s: the container's own address is stopped", by)
		}
		bad := frame(peer.MAC, evil.MAC, unix.ETH_P_IP, datagram(netip.MustParseAddr("10.99.0.2"), peer.Address.Addr(), "bad"))
		if len(slips(t, evil, peer, map[string][]byte{"bad": bad})) > 0 {
			t.Errorf("by %s: another's address is let through", by)
		}
		evil.closeHeld()
		removeAll(t, m)
	}
}

// What a kill has left in the guard's sets is collected, and what belongs to somebody is not.
func TestGuardCollected(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0", Options: map[string]string{OptGuard: "True"}})
	web := start(t, m, "web", "br0")
	dead := *web.Endpoint
	dead.HostLink = "vethdead"
	if err := changeSets(true, guardElements(&dead)); err != nil {
		t.Fatal(err)
	}
	removed, err := m.GC(context.Background(), func(string) bool { return true })
	if err != nil || !slices.Contains(removed, "guard of link vethdead") {
		t.Errorf("%q, %v", removed, err)
	}
	there, err := guardElementsThere()
	if err != nil || len(there) != 1 || len(there[web.HostLink]) != len(guardElements(web.Endpoint)) {
		t.Errorf("%v, %v", there, err)
	}
	if _, err := m.Create(context.Background(), CreateOptions{Name: "x", Options: map[string]string{OptGuard: "perhaps"}}); err == nil || !strings.Contains(err.Error(), "want true or false") {
		t.Errorf("%v", err)
	}
}

// A kernel that cannot look at frames on a bridge is named, and its bridge isolates ports instead.
func TestNoBridgeFamily(t *testing.T) {
	var told []string
	m := newManager(t, func(o *Options) { o.Warn = func(s string) { told = append(told, s) } })
	m.executor = func() executor { return &unguardable{newKernel(m.root)} }
	create(t, m, CreateOptions{Name: "quiet", Options: map[string]string{OptICC: "false"}})
	q1, q2 := start(t, m, "q1", "quiet"), start(t, m, "q2", "quiet")
	serve(t, q2, "tcp4", ":80", "q2")
	answers(t, q1, "tcp4", q2.Address.Addr().String()+":80", "")
	if len(told) == 0 || !strings.Contains(told[0], "CONFIG_NF_TABLES_BRIDGE") {
		t.Errorf("%q", told)
	}
	if commands, err := m.Sync(context.Background(), true); err != nil || len(commands) > 0 {
		t.Errorf("%q, %v", commands, err)
	}
}

// unguardable is a kernel without nftables for bridges.
type unguardable struct{ executor }

func (u *unguardable) do(ctx context.Context, op operation) error {
	switch op := op.(type) {
	case nftTableOp:
		if op.family.name == "bridge" {
			return fmt.Errorf("write: %w", unix.EOPNOTSUPP)
		}
	case guardLink:
		return &refused{"nft", unix.ENOENT, "add"}
	}
	return u.executor.do(ctx, op)
}
