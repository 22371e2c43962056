package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/world"
)

// publication is a port of a router that is to lead to a port of a station.
type publication struct {
	router   *world.Namespace
	endpoint *network.Endpoint // nil: a rule that somebody wrote by hand
	rule     *world.Rule       // nil: expected by a record
	hostIP   netip.Addr        // invalid: every address of the router
	port     uint16
	proto    string
	target   netip.AddrPort
	seg      *segment // that the target is in, nil when it is in none
	station  *station // whose the target is, nil when nobody's
	inner    bool     // published in OUTPUT only
	served   bool     // a process of ours passes on what comes, without any rule: network/hostport.go
	lost     bool     // the rules lead elsewhere, so that nothing behind can be judged
}

func (p *publication) six() bool { return p.target.Addr().Is6() }

func (p *publication) name() string { return PortName(p.port, p.proto) }

func (p *publication) about() []string {
	about := []string{p.name()}
	if p.endpoint != nil {
		about = append(about, p.endpoint.ContainerName)
	}
	if p.station != nil {
		about = append(about, p.station.about()...)
	}
	if p.seg != nil && p.endpoint == nil { // of ours, a network's ports are known by the records
		about = append(about, p.seg.bridge.Name)
	}
	return about
}

// publications collects what is published, by records and by hand, and follows a packet to each.
func (x *exam) publications() error {
	for _, e := range x.w.Endpoints {
		for _, m := range e.Ports {
			for _, p := range places(e) {
				if m.HostIP.IsValid() && m.HostIP.Is6() != p.address.Addr().Is6() {
					continue
				}
				x.pubs = append(x.pubs, x.expected(e, m, 0, p))
				if m.Count > 1 {
					x.pubs = append(x.pubs, x.expected(e, m, m.Count-1, p))
				}
			}
		}
	}
	for _, n := range x.w.Namespaces {
		if n != x.w.Host && n.Quiet() {
			continue
		}
		rules, err := x.rules(n)
		if err != nil {
			return err
		}
		if rules != nil {
			x.byHand(n, rules)
		}
	}
	for _, p := range x.pubs {
		x.publication(p)
	}
	return nil
}

func (x *exam) expected(e *network.Endpoint, m network.PortMapping, i uint16, to place) *publication {
	p := &publication{router: x.w.Host, endpoint: e, served: e.Proxy || m.HostIP == netip.IPv6Loopback(), hostIP: m.HostIP, port: m.HostPort + i, proto: m.Proto, target: netip.AddrPortFrom(to.address.Addr(), m.ContainerPort+i)}
	if p.hostIP.IsValid() && p.hostIP.IsUnspecified() {
		p.hostIP = netip.Addr{}
	}
	x.locate(p)
	return p
}

// locate finds out whose the target is.
func (x *exam) locate(p *publication) {
	way := p.router.RouteTo(p.target.Addr())
	for _, s := range x.segments {
		if s.router != p.router || !s.holds(p.target.Addr()) || way != nil && way.Dev != s.bridge {
			continue
		}
		p.seg = s
		if st, ok := s.owner(p.target.Addr()); ok {
			p.station = st
		}
	}
}

// byHand finds DNAT rules that are not ours.
func (x *exam) byHand(n *world.Namespace, rules *world.Ruleset) {
	before, output := reachable(rules, "prerouting"), reachable(rules, "output")
	for _, c := range rules.Chains {
		for _, r := range c.Rules {
			if r.Target != "DNAT" || r.Owner.Ours() || !r.To.Addr.IsValid() || r.Match.Partial {
				continue
			}
			p := &publication{router: n, rule: r, proto: r.Match.Proto, inner: output[c] && !before[c]}
			if len(r.Match.DPort.Ranges) > 0 && !r.Match.DPort.Not {
				p.port = r.Match.DPort.Ranges[0][0]
			}
			if p.port == 0 || p.proto == "" {
				continue // it leads a whole machine, or whatever else: not a published port
			}
			if len(r.Match.Dst.Nets) == 1 && r.Match.Dst.Nets[0].IsSingleIP() && !r.Match.Dst.Not {
				p.hostIP = r.Match.Dst.Nets[0].Addr()
			}
			to := r.To.PortMin
			if to == 0 {
				to = p.port
			}
			p.target = netip.AddrPortFrom(r.To.Addr, to)
			x.locate(p)
			if twin(x.pubs, p) {
				continue // the same in OUTPUT
			}
			x.pubs = append(x.pubs, p)
		}
	}
}

func twin(pubs []*publication, p *publication) bool {
	for _, q := range pubs {
		if q.endpoint == nil && q.router == p.router && q.port == p.port && q.proto == p.proto && q.target == p.target && q.inner != p.inner {
			if q.inner { // the one that is asked from outside counts
				*q = *p
			}
			return true
		}
	}
	return false
}

// reachable are the chains that a hook leads to.
func reachable(rules *world.Ruleset, hook string) map[*world.Chain]bool {
	seen := map[*world.Chain]bool{}
	var follow func(c *world.Chain)
	follow = func(c *world.Chain) {
		if seen[c] {
			return
		}
		seen[c] = true
		for _, r := range c.Rules {
			for _, other := range rules.Chains {
				if r.Jump != "" && other.Name == r.Jump && other.Table == c.Table && other.Family == c.Family && other.Backend == c.Backend {
					follow(other)
				}
			}
		}
	}
	for _, c := range rules.Chains {
		if c.Hook == hook {
			follow(c)
		}
	}
	return seen
}

// publication follows a packet from outside, then one from the host itself, then one from the same bridge.
func (x *exam) publication(p *publication) {
	rules, err := x.rules(p.router)
	if err != nil || rules == nil || p.served {
		return
	}
	if p.inner {
		p.lost = true
		x.add(Finding{ID: "dnat-wrong-chain", Object: p.name(), About: p.about(), Values: []any{"port", p.name(), "rule", p.rule.Text, "chain", p.rule.Chain.Place(), "target", p.target},
			Evidence: []Evidence{x.showRule(p.router, p.rule)},
			Commands: []string{fmt.Sprintf("%s%s -t nat -A PREROUTING %s", x.in(p.router), iptables(p.rule.Chain), forShell(p.rule.Text))}})
		return
	}
	if !p.hostIP.IsLoopback() {
		x.fromOutside(p, rules)
	}
	if p.lost || p.seg == nil {
		return
	}
	if p.rule != nil && p.station == nil && p.seg.complete {
		p.lost = true
		x.add(Finding{ID: "dnat-wrong", Object: p.name(), About: p.about(), Values: []any{"port", p.name(), "target", p.target, "bridge", p.seg.bridge.Name},
			Evidence: []Evidence{x.showRule(p.router, p.rule), {x.ip(p.router) + "neigh show " + p.target.Addr().String(), ""}}, Commands: x.rightTarget(p)})
		return
	}
	x.fromHost(p, rules)
	x.fromBridge(p, rules)
}

// rightTarget leads the port to the only station that listens on the target's port, if there is exactly one.
func (x *exam) rightTarget(p *publication) []string {
	if x.named("dnat-shadowed", p.name()) && slices.ContainsFunc(x.w.Endpoints, func(e *network.Endpoint) bool { return slices.Contains(portNames(e), p.name()) }) {
		return []string{sync} // it stands before one of ours, and is deleted for that: its number is ours then
	}
	var who []*station
	for _, st := range p.seg.stations {
		if st.addr().IsValid() && len(listeners(st.inner.Namespace, p.proto, p.target.Port())) > 0 {
			who = append(who, st)
		}
	}
	if len(who) != 1 || p.rule.Chain.Backend == world.NFTables {
		return nil
	}
	return []string{fmt.Sprintf("%s%s -t nat -R %s %d -p %s --dport %d -j DNAT --to-destination %s", x.in(p.router), iptables(p.rule.Chain), p.rule.Chain.Name, p.rule.Position, p.proto, p.port, forShell(netip.AddrPortFrom(who[0].addr(), p.target.Port()).String()))}
}

// from is the packet of somebody outside.
func (x *exam) from(p *publication) (world.Packet, bool) {
	up := x.uplink(p.router, p.six())
	if up == nil {
		up = x.neighborhood(p)
	}
	host := p.hostIP
	if !host.IsValid() {
		host = hostAddress(up)
	}
	if up == nil || !host.IsValid() {
		return world.Packet{}, false
	}
	in := up.Dev.Name
	if p.rule != nil && len(p.rule.Match.In.Names) == 1 && !p.rule.Match.In.Not {
		in = p.rule.Match.In.Names[0]
	}
	return world.Packet{In: in, Src: neighborAt(up), Dst: host, Proto: p.proto, SPort: 40000, DPort: p.port, State: "NEW", DstLocal: p.router.Owns(host)}, true
}

// neighborhood is the way to those who are on a link of the router's: without a default route they still reach its ports.
func (x *exam) neighborhood(p *publication) *world.Route {
	for i := range p.router.Routes {
		r := &p.router.Routes[i]
		if l := r.Dev; l != nil && !l.Loopback && l.Up && l.Master == nil && l.Kind != "bridge" && r.Table == 254 && r.To.Addr().Is6() == p.six() && !r.To.Addr().IsLinkLocalUnicast() && l.Address(p.six()).IsValid() {
			return r
		}
	}
	return nil
}

func (x *exam) fromOutside(p *publication, rules *world.Ruleset) {
	packet, ok := x.from(p)
	if !ok {
		return
	}
	d := rules.At("prerouting", packet)
	if !d.Sure {
		p.lost = true
		return
	}
	if d.Verdict != "ACCEPT" {
		if p.lost = true; d.Rule != nil && p.seg != nil {
			x.foreignDrop(p.seg, d.Rule, flow{"in", packet})
		}
		return
	}
	switch {
	case d.NAT == nil && p.endpoint != nil:
		p.lost = true
		x.dnatMissing(p, packet)
	case d.NAT == nil || p.rule != nil && d.NAT != p.rule:
		if d.To == p.target {
			return // said twice
		}
		p.lost = true
		x.shadowed(p, d)
	case p.endpoint != nil && d.To != p.target:
		p.lost = true
		if d.NAT.Owner.Name == p.endpoint.ContainerName {
			x.add(Finding{ID: "dnat-wrong", Object: p.name(), About: p.about(), Values: []any{"port", p.name(), "target", d.To, "bridge", p.endpoint.NetworkName},
				Evidence: []Evidence{x.showRule(p.router, d.NAT)}, Commands: []string{x.deleteRule(p.router, d.NAT), sync}})
			return
		}
		x.shadowed(p, d)
	}
	if p.seg == nil || p.lost {
		return
	}
	packet.Out, packet.Dst, packet.DPort, packet.DNAT, packet.DstLocal = p.seg.bridge.Name, p.target.Addr(), p.target.Port(), true, false
	x.blocked(p.seg, rules, []flow{{"in", packet}})
}

func (x *exam) dnatMissing(p *publication, packet world.Packet) {
	x.add(Finding{ID: "dnat-missing", Object: p.name(), About: p.about(), Values: []any{"port", p.name(), "container", p.endpoint.ContainerName, "target", p.target},
		Evidence: []Evidence{{"mydocker port " + p.endpoint.ContainerName, fmt.Sprintf("%d/%s", p.target.Port(), p.proto)}, {x.tables(p.router, p.six()) + " -t nat -S; nft list table " + world.Family(p.six()) + " mydocker", fmt.Sprintf("%s > %s stays as it is", packet.Src, netip.AddrPortFrom(packet.Dst, p.port))}},
		Commands: []string{sync}})
}

// shadowed: another rule decides first.
func (x *exam) shadowed(p *publication, d world.Decision) {
	first := d.Rule
	f := Finding{ID: "dnat-shadowed", Object: p.name(), About: p.about()}
	rule := p.target.String()
	if p.rule != nil {
		rule = p.rule.Text
		f.Evidence = append(f.Evidence, x.showRule(p.router, p.rule))
	}
	if first == nil {
		for _, step := range d.Steps {
			first = step.Rule
		}
	}
	by := "-"
	if first != nil {
		by = first.Chain.Place() + ": " + first.Text
		f.Evidence = append(f.Evidence, x.showRule(p.router, first))
		f.Commands = []string{x.deleteRule(p.router, first)}
	}
	f.Values = []any{"port", p.name(), "target", rule, "by", by}
	x.add(f)
}

// fromHost is a packet that the router itself sends to its 127.0.0.1.
func (x *exam) fromHost(p *publication, rules *world.Ruleset) {
	host := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if p.hostIP.IsValid() && p.hostIP != host || p.six() { // [::1] is served by a process of ours
		return
	}
	d := rules.At("output", world.Packet{Out: "lo", Src: host, Dst: host, Proto: p.proto, SPort: 40000, DPort: p.port, State: "NEW", DstLocal: true, SrcLocal: true})
	if !d.Sure || d.Verdict != "ACCEPT" {
		return
	}
	if d.NAT == nil {
		if p.endpoint != nil && p.hostIP == host {
			x.dnatMissing(p, world.Packet{Src: host, Dst: host})
		}
		return // by hand, the loopback is often left out on purpose
	}
	key := "net/ipv4/conf/" + p.seg.bridge.Name + "/route_localnet"
	if d.To == p.target && p.router.Sysctl(key) == "0" && p.router.Sysctl("net/ipv4/conf/all/route_localnet") == "0" && !p.seg.internal() {
		x.add(Finding{ID: "route-localnet", Object: p.seg.name(), About: append(p.seg.about(), p.about()...), Values: []any{"port", p.name(), "bridge", p.seg.bridge.Name},
			Evidence: []Evidence{{x.in(p.router) + "sysctl " + key, key + " = 0"}}, Commands: []string{x.sysctl(p.router, key, "1")}})
	}
}

// fromBridge is a packet from the target's own network to the router's address.
func (x *exam) fromBridge(p *publication, rules *world.Ruleset) {
	if p.station == nil || p.rule != nil && len(p.seg.stations) < 2 || p.hostIP.IsLoopback() {
		return
	}
	host := p.hostIP
	if !host.IsValid() {
		host = hostAddress(x.uplink(p.router, p.six()))
	}
	src := p.station
	for _, st := range p.seg.stations {
		if st != p.station && p.seg.holds(st.addr()) {
			src = st
		}
	}
	b := p.seg.bridge.Name
	packet := world.Packet{In: b, Src: src.addr(), Dst: host, Proto: p.proto, SPort: 40000, DPort: p.port, State: "NEW", DstLocal: true}
	d := rules.At("prerouting", packet)
	if d.NAT == nil || d.To != p.target || !d.Sure {
		return
	}
	packet.Out, packet.Dst, packet.DPort, packet.DNAT, packet.DstLocal = b, p.target.Addr(), p.target.Port(), true, false
	subnet := p.seg.subnets()[0].Masked()
	if d := rules.At("postrouting", packet); d.NAT == nil && d.Sure {
		commands := []string{fmt.Sprintf("%s -t nat -A POSTROUTING -s %s -o %s -m conntrack --ctstate DNAT -j MASQUERADE", x.tables(p.router, p.six()), subnet, b)}
		if p.endpoint != nil {
			commands = []string{sync}
		}
		x.add(Finding{ID: "hairpin", Object: p.seg.name(), About: append(p.seg.about(), p.about()...), Values: []any{"port", p.name(), "network", p.seg.name(), "container", p.station.name()},
			Evidence: []Evidence{{x.tables(p.router, p.six()) + " -t nat -S POSTROUTING", packetText(packet) + " keeps its sender"}}, Commands: commands})
	}
	if p.endpoint != nil && !p.station.outer.Hairpin && !p.seg.bridge.Promisc {
		x.add(Finding{ID: "hairpin", Object: p.station.name(), About: p.about(), Values: []any{"port", p.name(), "network", p.seg.name(), "container", p.station.name()},
			Evidence: []Evidence{{"bridge -d link show dev " + p.station.outer.Name, "hairpin off"}}, Commands: []string{"bridge link set dev " + p.station.outer.Name + " hairpin on"}})
	}
}
