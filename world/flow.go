package world

import (
	"net/netip"
	"slices"
	"strings"
)

// What would become of a packet at a hook is worked out from the rules, as far as they are understood.

// Packet is what rules ask about.
type Packet struct {
	In, Out      string // links; "" before it has one
	Src, Dst     netip.Addr
	Proto        string // tcp, udp, icmp
	SPort, DPort uint16
	State        string // NEW, ESTABLISHED
	DNAT, SNAT   bool   // of the connection
	DstLocal     bool   // the destination is an address of the namespace's own
	SrcLocal     bool
	Astray       bool // the answer would leave by another link than the one that it came in by
}

// Decision is what a hook makes of a packet.
type Decision struct {
	Verdict string // ACCEPT, DROP, REJECT
	// Rule decided; nil with a DROP means the policy of Chain, and with an ACCEPT that nothing objected.
	Rule  *Rule
	Chain *Chain
	// Sure is false when a rule that is not understood stood in the way: it may have decided otherwise.
	Sure bool
	// NAT is the rule that rewrites the packet, and To where it leads.
	NAT   *Rule
	To    netip.AddrPort
	Steps []Step
}

// Step is a rule that matched on the way.
type Step struct {
	Chain *Chain
	Rule  *Rule
}

// At asks all chains of a hook, in the order of their priorities. In nat chains the first rule that rewrites decides, and they are
// asked for new connections only.
func (r *Ruleset) At(hook string, p Packet) Decision {
	family := Family(p.Dst.Is6())
	d := Decision{Verdict: "ACCEPT", Sure: true}
	for _, c := range r.Hooked(hook, family) {
		if c.NAT && (p.State != "NEW" || d.NAT != nil) {
			continue
		}
		verdict := r.walk(c, p, &d, 0)
		if verdict == "" && c.Policy == "DROP" {
			verdict = "DROP"
			d.Rule = nil
		}
		if verdict == "DROP" || verdict == "REJECT" {
			d.Verdict, d.Chain = verdict, c
			if d.Rule != nil {
				d.Chain = d.Rule.Chain
			}
			return d
		}
	}
	return d
}

// Hooked are the chains that the kernel enters at a hook, in its order.
func (r *Ruleset) Hooked(hook, family string) (chains []*Chain) {
	for _, c := range r.Chains {
		if c.Hook == hook && (c.Family == family || c.Family == "inet") {
			chains = append(chains, c)
		}
	}
	slices.SortStableFunc(chains, func(a, b *Chain) int { return a.Priority - b.Priority })
	return chains
}

// Sibling finds a chain in the same table; nil when there is none.
func (r *Ruleset) Sibling(c *Chain, name string) *Chain {
	for _, other := range r.Chains {
		if other.Name == name && other.Table == c.Table && other.Family == c.Family && other.Backend == c.Backend {
			return other
		}
	}
	return nil
}

// walk goes through a chain; "" means that its end was reached.
func (r *Ruleset) walk(c *Chain, p Packet, d *Decision, depth int) string {
	if c == nil || depth > 16 { // the kernel refuses loops
		return ""
	}
	for _, rule := range c.Rules {
		matched, sure := rule.Matches(p)
		if !matched {
			continue
		}
		if !sure {
			if rule.Jump != "" || decides(rule.Target) {
				d.Sure = false
			}
			continue
		}
		if len(rule.Map) > 0 || rule.Target == "DNAT" && !rule.To.Addr.IsValid() && rule.To.PortMin == 0 {
			entry, ok := rule.lookUp(p)
			if !ok {
				continue
			}
			d.Steps = append(d.Steps, Step{c, rule})
			d.NAT, d.To, d.Rule = rule, entry.To, rule
			return "ACCEPT"
		}
		d.Steps = append(d.Steps, Step{c, rule})
		switch {
		case rule.Jump != "":
			if v := r.walk(r.Sibling(c, rule.Jump), p, d, depth+1); v != "" {
				return v
			}
			if rule.Goto {
				return ""
			}
		case rule.Target == "RETURN":
			return ""
		case rule.Target == "DNAT" || rule.Target == "SNAT" || rule.Target == "MASQUERADE" || rule.Target == "REDIRECT":
			d.NAT, d.To, d.Rule = rule, rule.To.of(p), rule
			return "ACCEPT"
		case rule.Target == "ACCEPT" || rule.Target == "DROP" || rule.Target == "REJECT":
			d.Rule = rule
			return rule.Target
		}
	}
	return ""
}

// Speaks says whether packets of a family come through the chain.
func (c *Chain) Speaks(six bool) bool {
	return c.Family == "inet" || c.Family == "bridge" || c.Family == Family(six)
}

// Family is how netfilter calls IPv4 and IPv6.
func Family(six bool) string {
	if six {
		return "ip6"
	}
	return "ip"
}

// of is where a translation leads this packet.
func (t Translation) of(p Packet) netip.AddrPort {
	a, port := t.Addr, p.DPort
	if !a.IsValid() {
		a = p.Dst
	}
	if t.PortMin != 0 {
		port = t.PortMin
		if t.Shift != 0 {
			port = t.PortMin + p.DPort - t.Shift
		}
	}
	return netip.AddrPortFrom(a, port)
}

func (r *Rule) lookUp(p Packet) (MapEntry, bool) {
	for _, e := range r.Map {
		if e.Port == p.DPort && e.Proto == p.Proto && (!e.Addr.IsValid() || e.Addr == p.Dst) {
			return e, true
		}
	}
	return MapEntry{}, false
}

// Matches says whether the packet can match; sure is false when the rule asks for something that is not understood.
func (r *Rule) Matches(p Packet) (matched, sure bool) {
	m := &r.Match
	if !m.In.matches(p.In) || !m.Out.matches(p.Out) || !m.Src.matches(p.Src) || !m.Dst.matches(p.Dst) {
		return false, true
	}
	if m.Proto != "" && m.Proto != "all" && (protoName(m.Proto) == p.Proto) == m.NotProto {
		return false, true
	}
	if !m.SPort.matches(p.SPort) || !m.DPort.matches(p.DPort) || !m.stateMatches(p) {
		return false, true
	}
	if m.DstType != "" && (m.DstType == "LOCAL") && p.DstLocal == m.NotDstType {
		return false, true
	}
	if m.SrcType != "" && (m.SrcType == "LOCAL") && p.SrcLocal == m.NotSrcType {
		return false, true
	}
	if m.Astray != "" && (m.Astray == "yes") != p.Astray {
		return false, true
	}
	if m.DstType != "" && m.DstType != "LOCAL" && !m.NotDstType || m.SrcType != "" && m.SrcType != "LOCAL" && !m.NotSrcType {
		return false, true // broadcast, multicast: none of our questions is about those
	}
	return true, !m.Partial
}

func (m *Match) stateMatches(p Packet) bool {
	if len(m.States) == 0 {
		return true
	}
	is := slices.Contains(m.States, p.State) || p.DNAT && slices.Contains(m.States, "DNAT") || p.SNAT && slices.Contains(m.States, "SNAT")
	return is != m.NotStates
}

func (m IfMatch) matches(name string) bool {
	if len(m.Names) == 0 {
		return true
	}
	is := slices.ContainsFunc(m.Names, func(want string) bool {
		if start, ok := strings.CutSuffix(want, "+"); ok {
			return strings.HasPrefix(name, start)
		}
		return name == want
	})
	return is != m.Not
}

func (m AddrMatch) matches(a netip.Addr) bool {
	if len(m.Nets) == 0 {
		return true
	}
	return slices.ContainsFunc(m.Nets, func(p netip.Prefix) bool { return p.Contains(a) }) != m.Not
}

func (m PortMatch) matches(port uint16) bool {
	if len(m.Ranges) == 0 {
		return true
	}
	return slices.ContainsFunc(m.Ranges, func(r [2]uint16) bool { return port >= r[0] && port <= r[1] }) != m.Not
}
