package trace

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mydocker/mydocker/world"
)

// The old iptables tells nobody of packets, unless a rule with the target TRACE or LOG writes them into the kernel's log, which is one for
// all namespaces, and would stay if this process were killed. But it counts: at each rule and at each policy. A rule that fits the packet,
// at a hook that it comes to, and whose counter rose meanwhile, is told. Somebody else's packet may have been counted, too.

// legacyCounters are those of the old iptables' rules and policies.
func (t *Trace) legacyCounters(ctx context.Context, spaces []*world.Namespace) (map[string]uint64, error) {
	counts := map[string]uint64{}
	for _, n := range spaces {
		if len(n.LegacyTables) == 0 {
			continue
		}
		rules, err := world.ReadRules(ctx, n)
		if err != nil {
			return nil, err
		}
		for _, c := range rules.Chains {
			counts[counterKey(n, c, 0)] = c.Packets
			for _, r := range c.Rules {
				counts[counterKey(n, c, r.Position)] = r.Packets
			}
		}
	}
	return counts, nil
}

func counterKey(n *world.Namespace, c *world.Chain, position int) string {
	return fmt.Sprint(n.Inode, c.Backend, c.Family, c.Place(), position)
}

// compareCounters finds what has counted a packet meanwhile.
func (t *Trace) compareCounters(before, after map[string]uint64) {
	t.risen = map[any]bool{}
	if len(after) == 0 {
		return
	}
	for _, n := range t.spaces() {
		rules, err := t.world.Rules(context.Background(), n)
		if err != nil {
			continue // it has been read before, and is kept
		}
		for _, c := range rules.Chains {
			if c.Backend != world.Legacy {
				continue
			}
			if key := counterKey(n, c, 0); after[key] > before[key] {
				t.risen[c] = true
			}
			for _, r := range c.Rules {
				if key := counterKey(n, c, r.Position); after[key] > before[key] {
					t.risen[r] = true
				}
			}
		}
	}
}

// legacyIn tells of the hooks behind a link: those before the route is chosen, then those for packets that stay, or that are passed on.
func (t *Trace) legacyIn(f Frame) {
	if len(t.risen) == 0 || f.Link == nil {
		return
	}
	p := t.packet(f)
	p.In = f.Link.Name
	if bridge := f.Link.Master; bridge != nil {
		if f.Space.Sysctl(bridgeNF(f.Packet)) == "1" && !f.Space.Owns(p.Dst) && onBridge(bridge, p.Dst) { // else the bridge hands it on, and it is told there
			p.In, p.Out = bridge.Name, bridge.Name
			t.legacyHook(f, "prerouting", p)
			t.legacyHook(f, "forward", p)
		}
		return
	}
	to := f.Packet
	if d := t.legacyHook(f, "prerouting", p); d != nil && d.To.Addr.IsValid() {
		p.Dst, p.DNAT = d.To.Addr, true
		if d.To.PortMin != 0 {
			p.DPort = d.To.PortMin
		}
	}
	if f.Space.Owns(p.Dst) {
		t.legacyHook(f, "input", p)
		return
	}
	if to.Dst.Addr() != p.Dst || !f.Space.Owns(to.Dst.Addr()) {
		if r := f.Space.RouteTo(p.Dst); r != nil && r.Dev != nil {
			p.Out = r.Dev.Name
			t.legacyHook(f, "forward", p)
		}
	}
}

// onBridge says whether somebody who is plugged in has the address: then a packet goes from port to port.
func onBridge(bridge *world.Link, a netip.Addr) bool {
	return slices.ContainsFunc(bridge.Ports(), func(port *world.Link) bool { return port.Peer != nil && port.Peer.Namespace.Owns(a) })
}

// legacyOut tells of the hooks before a link. Before its sender's address was translated, the packet had the one with which it came in.
func (t *Trace) legacyOut(f Frame) {
	if len(t.risen) == 0 || f.Link == nil || f.Link.Master != nil {
		return
	}
	p := t.packet(f)
	p.Out = f.Link.Name
	origin := true
	for i := len(t.Steps) - 1; i >= 0; i-- {
		s := t.Steps[i]
		if s.Kind == "in" && s.Answer == f.Answer && s.Space == f.Space.Name() {
			p.In, p.Src, p.SPort, origin = s.Link, s.Packet.Src.Addr(), s.Packet.Src.Port(), false
			p.DNAT = s.Packet.Dst != f.Packet.Dst
			break
		}
	}
	if origin {
		t.legacyHook(f, "output", p)
	}
	t.legacyHook(f, "postrouting", p)
}

func (t *Trace) packet(f Frame) world.Packet {
	proto := t.Request.Proto
	if proto == "icmp" && t.Request.Six() {
		proto = "icmpv6"
	}
	state := "NEW"
	if f.Answer {
		state = "ESTABLISHED"
	}
	return world.Packet{Src: f.Packet.Src.Addr(), Dst: f.Packet.Dst.Addr(), SPort: f.Packet.Src.Port(), DPort: f.Packet.Dst.Port(), Proto: proto, State: state,
		DstLocal: f.Space.Owns(f.Packet.Dst.Addr()), SrcLocal: f.Space.Owns(f.Packet.Src.Addr())}
}

// legacyHook tells what has counted the packet at a hook, and returns the rule that translates it.
func (t *Trace) legacyHook(f Frame, hook string, p world.Packet) (nat *world.Rule) {
	rules, err := t.world.Rules(context.Background(), f.Space)
	if err != nil {
		return nil
	}
	for _, c := range rules.Hooked(hook, world.Family(p.Dst.Is6())) {
		if c.Backend != world.Legacy || c.NAT && p.State != "NEW" {
			continue
		}
		last := t.legacyChain(f, rules, c, p)
		if last == nil && t.risen[c] && c.Policy == "DROP" {
			t.counted(f, p, Step{Chain: c.Place(), Verdict: c.Policy, Rule: "-P " + c.Name + " " + c.Policy})
		}
		if last != nil && slices.Contains([]string{"DNAT", "REDIRECT", "SNAT", "MASQUERADE"}, last.Target) {
			nat = last
		}
	}
	return nat
}

// legacyChain follows the packet through a chain; the rule that ended its way is returned.
func (t *Trace) legacyChain(f Frame, rules *world.Ruleset, c *world.Chain, p world.Packet) *world.Rule {
	if c == nil {
		return nil
	}
	for _, r := range c.Rules {
		if matched, _ := r.Matches(p); !matched || !t.risen[r] || r.Target == "" {
			continue
		}
		s := Step{Chain: c.Place(), Rule: r.Text, Owner: owner(r, f.Packet.Dst, t.Request.Proto), Verdict: r.Target}
		if r.Jump != "" {
			s.Verdict = "jump " + r.Jump
		}
		t.counted(f, p, s)
		if r.Jump != "" {
			if last := t.legacyChain(f, rules, rules.Sibling(c, r.Jump), p); last != nil {
				return last
			}
			continue
		}
		if r.Target == "RETURN" {
			return nil
		}
		if slices.Contains([]string{"ACCEPT", "DROP", "REJECT", "DNAT", "SNAT", "MASQUERADE", "REDIRECT"}, r.Target) {
			return r
		}
	}
	return nil
}

func (t *Trace) counted(f Frame, p world.Packet, s Step) {
	s.Kind, s.Answer, s.Space, s.Flags = "counter", f.Answer, f.Space.Name(), f.Flags
	s.Packet = Addresses{netip.AddrPortFrom(p.Src, p.SPort), netip.AddrPortFrom(p.Dst, p.DPort)}
	t.Steps = append(t.Steps, s)
}
