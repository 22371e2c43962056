package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/mydocker/mydocker/world"
)

// flow is a packet that must get through, and what stops it.
type flow struct {
	name   string // out, back, between, in
	packet world.Packet
}

// flows sends thought packets through each router's rules.
func (x *exam) flows() error {
	for _, s := range x.segments {
		rules, err := x.rules(s.router)
		if err != nil {
			return err
		}
		if rules == nil {
			continue
		}
		x.blocked(s, rules, x.wanted(s))
		x.masquerade(s, rules)
		if s.ours() {
			x.guards(s, rules)
		}
	}
	return x.split()
}

// wanted are the flows of a segment that have to pass FORWARD.
func (x *exam) wanted(s *segment) (flows []flow) {
	g, up := s.guest(), x.uplink(s.router, s.six)
	b := s.bridge.Name
	if g != nil && up != nil && up.Dev != s.bridge && s.outward() {
		out := world.Packet{In: b, Out: up.Dev.Name, Src: g.addr(), Dst: outside(s.six), Proto: "tcp", SPort: 40000, DPort: 80, State: "NEW"}
		back := world.Packet{In: up.Dev.Name, Out: b, Src: outside(s.six), Dst: g.addr(), Proto: "tcp", SPort: 80, DPort: 40000, State: "ESTABLISHED", SNAT: true}
		flows = append(flows, flow{"out", out}, flow{"back", back})
	}
	if len(s.stations) > 1 && s.router.Sysctl(s.bridgeNF()) == "1" && (s.net == nil || s.net.Options["com.docker.network.bridge.enable_icc"] != "false") {
		a, c := s.stations[0].addr(), s.stations[1].addr()
		if a.IsValid() && c.IsValid() {
			flows = append(flows, flow{"between", world.Packet{In: b, Out: b, Src: a, Dst: c, Proto: "tcp", SPort: 40000, DPort: 80, State: "NEW"}})
		}
	}
	return flows
}

// bridgeNF is the setting that hands packets from port to port to the rules.
func (s *segment) bridgeNF() string {
	if s.six {
		return "net/bridge/bridge-nf-call-ip6tables"
	}
	return "net/bridge/bridge-nf-call-iptables"
}

// blocked groups the flows by what stops them.
func (x *exam) blocked(s *segment, rules *world.Ruleset, flows []flow) {
	var policy []flow
	var chain *world.Chain
	for _, f := range flows {
		for _, hook := range []string{"prerouting", "forward", "postrouting"} {
			d := rules.At(hook, f.packet)
			if d.Verdict == "ACCEPT" || !d.Sure {
				continue
			}
			switch {
			case d.Rule == nil:
				policy, chain = append(policy, f), d.Chain
			case !d.Rule.Owner.Ours() && !users(d.Rule):
				x.foreignDrop(s, d.Rule, f)
			}
			break
		}
	}
	if len(policy) > 0 {
		x.policy(s, chain, policy, rules)
	}
}

// users says whether the rule is in the chain where the user says what he wants.
func users(r *world.Rule) bool {
	return r.Chain.Name == "MYDOCKER-USER" || r.Chain.Table == "mydocker" && r.Chain.Name == "user"
}

func (x *exam) foreignDrop(s *segment, r *world.Rule, f flow) {
	object := r.Chain.Place() + ": " + r.Text
	about := append(s.about(), r.Chain.Name)
	for _, st := range s.stations {
		about = append(about, st.name())
	}
	x.add(Finding{ID: "foreign-drop", Object: object, About: about,
		Values:   []any{"rule", r.Text, "chain", r.Chain.Place(), "network", s.name(), "packet", packetText(f.packet)},
		Evidence: []Evidence{x.showRule(s.router, r)}, Commands: []string{x.deleteRule(s.router, r)}})
}

func packetText(p world.Packet) string {
	return fmt.Sprintf("%s %s > %s, %s > %s", p.Proto, p.Src, netip.AddrPortFrom(p.Dst, p.DPort), p.In, p.Out)
}

// policy names the chain whose policy nothing has spoken against.
func (x *exam) policy(s *segment, c *world.Chain, flows []flow, rules *world.Ruleset) {
	if c.Backend == world.Legacy && hasRules(rules, world.IPTables, c.Family) {
		x.legacySplit(s.router, rules, c, c.Family)
		return
	}
	id := "forward-policy"
	if len(flows) == 1 && flows[0].name == "between" && !s.outward() {
		id = "bridge-nf"
	}
	commands := []string{}
	for _, f := range flows {
		commands = append(commands, x.accept(s, c, f))
	}
	show := []Evidence{x.showChain(s.router, c)}
	if slices.ContainsFunc(flows, func(f flow) bool { return f.name == "between" }) {
		show = append(show, x.setting(s.router, s.bridgeNF()))
	}
	if s.ours() {
		commands = []string{sync}
	}
	x.add(Finding{ID: id, Object: s.name(), About: s.about(), Values: []any{"network", s.name(), "chain", c.Place(), "packet", packetText(flows[0].packet)}, Evidence: show, Commands: commands})
}

// accept is the narrow rule for one flow: for this bridge, not for everybody.
func (x *exam) accept(s *segment, c *world.Chain, f flow) string {
	b := s.bridge.Name
	if c.Backend == world.NFTables {
		match := map[string]string{"out": fmt.Sprintf("iifname %s oifname != %s", b, b), "back": fmt.Sprintf("oifname %s ct state related,established", b),
			"between": fmt.Sprintf("iifname %s oifname %s", b, b), "in": fmt.Sprintf("oifname %s ct status dnat", b)}[f.name]
		return fmt.Sprintf("%snft insert rule %s %s %s %s accept", x.in(s.router), c.Family, c.Table, c.Name, match)
	}
	match := map[string]string{"out": fmt.Sprintf("-i %s ! -o %s", b, b), "back": fmt.Sprintf("-o %s -m conntrack --ctstate RELATED,ESTABLISHED", b),
		"between": fmt.Sprintf("-i %s -o %s", b, b), "in": fmt.Sprintf("-o %s -m conntrack --ctstate DNAT", b)}[f.name]
	return fmt.Sprintf("%s%s -I FORWARD %s -j ACCEPT", x.in(s.router), iptables(c), match)
}

func hasRules(r *world.Ruleset, backend, family string) bool {
	return slices.ContainsFunc(r.Chains, func(c *world.Chain) bool { return c.Backend == backend && c.Family == family && len(c.Rules) > 0 })
}

// split: rules in the old iptables and in the new one. Both are asked about each packet, and each program shows only its own.
func (x *exam) split() error {
	for _, n := range x.w.Namespaces {
		if len(n.LegacyTables) == 0 || len(n.Tables) == 0 {
			continue
		}
		rules, err := x.rules(n)
		if err != nil {
			return err
		}
		for _, family := range []string{"ip", "ip6"} {
			if rules != nil && hasRules(rules, world.Legacy, family) && hasRules(rules, world.IPTables, family) {
				x.legacySplit(n, rules, nil, family)
			}
		}
	}
	return nil
}

func (x *exam) legacySplit(n *world.Namespace, rules *world.Ruleset, guilty *world.Chain, family string) {
	var commands []string
	program := x.tables(n, family == "ip6")
	show := []Evidence{{program + "-legacy-save", ""}, {program + "-save", ""}}
	counts := map[string]int{}
	for _, c := range rules.Chains {
		if c.Family != family {
			continue
		}
		counts[c.Backend] += len(c.Rules)
		if c.Backend != world.Legacy {
			continue
		}
		if len(c.Rules) > 0 {
			commands = append(commands, fmt.Sprintf("%s%s -t %s -F %s", x.in(n), iptables(c), c.Table, c.Name))
		}
		if c == guilty || c.Policy == "DROP" {
			commands = append(commands, fmt.Sprintf("%s%s -t %s -P %s ACCEPT", x.in(n), iptables(c), c.Table, c.Name))
			show[0].Shows = ":" + c.Name + " " + c.Policy + "; "
		}
	}
	show[0].Shows += fmt.Sprintf("-A: %d", counts[world.Legacy])
	show[1].Shows = fmt.Sprintf("-A: %d", counts[world.IPTables])
	x.add(Finding{ID: "legacy-split", Object: n.Name(), About: n.Names, Values: []any{"namespace", n.Name(), "tables", map[string]string{"ip": "iptables", "ip6": "ip6tables"}[family]}, Evidence: show, Commands: commands})
}

// masquerade: what leaves must carry an address that can be answered. Who writes rules by hand may have written them for one station alone.
func (x *exam) masquerade(s *segment, rules *world.Ruleset) {
	guests := s.guests()
	if s.ours() {
		guests = guests[:min(len(guests), 1)]
	}
	before := len(x.report.Findings)
	for _, g := range guests {
		x.masqueradeOf(g, rules)
		if len(x.report.Findings) > before {
			return
		}
	}
}

func (x *exam) masqueradeOf(g *station, rules *world.Ruleset) {
	s, up := g.seg, x.uplink(g.seg.router, g.seg.six)
	if up == nil || up.Dev == s.bridge || s.internal() || !g.addr().IsPrivate() || s.net != nil && s.net.Options["com.docker.network.bridge.enable_ip_masquerade"] == "false" {
		return
	}
	p := world.Packet{In: s.bridge.Name, Out: up.Dev.Name, Src: g.addr(), Dst: outside(s.six), Proto: "tcp", SPort: 40000, DPort: 80, State: "NEW"}
	d := rules.At("postrouting", p)
	if !d.Sure || d.Verdict != "ACCEPT" {
		return
	}
	subnet := s.subnets()[0].Masked()
	values := []any{"network", s.name(), "subnet", subnet, "link", up.Dev.Name}
	if d.NAT != nil {
		if to := d.NAT.To.Addr; d.NAT.Target == "SNAT" && to.IsValid() && (!s.router.Owns(to) || subnet.Contains(to) && !x.answered(s, up)) {
			x.add(Finding{ID: "snat-wrong", Object: s.name(), About: s.about(), Values: append(values, "address", to), Evidence: []Evidence{x.showRule(s.router, d.NAT), x.addressEvidence(up.Dev)},
				Commands: []string{x.deleteRule(s.router, d.NAT), x.translate(s, subnet)}})
		}
		return
	}
	if x.answered(s, up) {
		return
	}
	fix := []string{x.translate(s, subnet)}
	if r := misplaced(s, rules); r != nil {
		if !r.Owner.Ours() {
			fix = append([]string{x.deleteRule(s.router, r)}, fix...)
		}
		x.add(Finding{ID: "masquerade-misplaced", Object: s.name(), About: s.about(), Values: append(values, "rule", r.Text, "chain", r.Chain.Place()), Evidence: []Evidence{x.showRule(s.router, r)}, Commands: fix})
		return
	}
	if s.ours() {
		fix = []string{sync}
	}
	x.add(Finding{ID: "masquerade-missing", Object: s.name(), About: s.about(), Values: values,
		Evidence: []Evidence{{x.tables(s.router, s.six) + " -t nat -S POSTROUTING", fmt.Sprintf("%s > %s leaves by %s as it is", p.Src, p.Dst, up.Dev.Name)}}, Commands: fix})
}

// translate is the rule that gives what leaves an address of the router.
func (x *exam) translate(s *segment, subnet netip.Prefix) string {
	return fmt.Sprintf("%s -t nat -I POSTROUTING -s %s ! -o %s -j MASQUERADE", x.tables(s.router, s.six), subnet, s.bridge.Name)
}

// answered says whether the next router knows the way back, so that no translation is needed.
func (x *exam) answered(s *segment, up *world.Route) bool {
	if up.Dev.Peer == nil {
		return false
	}
	next := up.Dev.Peer.Namespace
	back := next.RouteTo(s.guest().addr())
	return back != nil && !back.Default() && back.Dev == up.Dev.Peer
}

// misplaced is a rule that was meant for the segment and does not get its packets.
func misplaced(s *segment, rules *world.Ruleset) *world.Rule {
	subnet := s.subnets()[0].Masked()
	for _, c := range rules.Chains {
		if !c.Speaks(s.six) {
			continue
		}
		for _, r := range c.Rules {
			if r.Target != "MASQUERADE" && r.Target != "SNAT" || len(r.Match.States) > 0 || r.Owner.Ours() {
				continue
			}
			bySubnet := slices.ContainsFunc(r.Match.Src.Nets, func(p netip.Prefix) bool { return p.Overlaps(subnet) })
			byLink := slices.Contains(r.Match.Out.Names, s.bridge.Name) || slices.Contains(r.Match.In.Names, s.bridge.Name)
			if bySubnet || byLink {
				return r
			}
		}
	}
	return nil
}

// guards: what our networks promise to keep out.
func (x *exam) guards(s *segment, rules *world.Ruleset) {
	g, up := s.guest(), x.uplink(s.router, s.six)
	if g != nil && !s.six && s.router.Sysctl("net/ipv4/conf/"+s.bridge.Name+"/route_localnet") == "1" {
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		d := rules.At("prerouting", world.Packet{In: s.bridge.Name, Src: g.addr(), Dst: loopback, Proto: "tcp", SPort: 40000, DPort: 9, State: "NEW", DstLocal: true})
		if d.Verdict == "ACCEPT" && d.Sure {
			x.add(Finding{ID: "guard-missing", Object: s.name(), About: s.about(), Values: []any{"network", s.name(), "bridge", s.bridge.Name},
				Evidence: []Evidence{{"iptables -t raw -S MYDOCKER", fmt.Sprintf("%s > 127.0.0.1 by %s passes", g.addr(), s.bridge.Name)}}, Commands: []string{sync}})
		}
	}
	if up == nil || up.Dev == s.bridge || len(s.stations) == 0 || !s.stations[0].addr().IsValid() || x.named("forward-policy", s.name()) {
		return
	}
	in := world.Packet{In: up.Dev.Name, Out: s.bridge.Name, Src: neighborAt(up), Dst: s.stations[0].addr(), Proto: "tcp", SPort: 40000, DPort: 9, State: "NEW"}
	if d := rules.At("forward", in); d.Verdict == "ACCEPT" && d.Rule == nil && d.Sure {
		x.add(Finding{ID: "isolation-missing", Object: s.name(), About: s.about(), Values: []any{"network", s.name(), "packet", packetText(in)},
			Evidence: []Evidence{{x.tables(s.router, s.six) + " -S FORWARD", packetText(in) + " passes"}}, Commands: []string{sync}})
	}
}
