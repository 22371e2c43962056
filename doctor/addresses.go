package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/mydocker/mydocker/world"
)

// gateways looks at each station's way out.
func (x *exam) gateways() error {
	for _, s := range x.segments {
		for _, st := range s.stations {
			if st.addr().IsValid() && st.inner.Up {
				x.gateway(st)
			}
		}
	}
	for _, n := range x.w.Namespaces {
		x.blackholes(n)
	}
	return nil
}

func (x *exam) gateway(st *station) {
	s, n := st.seg, st.inner.Namespace
	r := n.DefaultRoute(s.six)
	show := Evidence{x.route(n, s.six), routeList(n, s.six)}
	if r == nil {
		if gw := x.wantedGateway(st); gw.IsValid() && !x.hasBlackhole(n, s.six) {
			x.add(Finding{ID: "no-default-route", Object: st.name(), About: st.about(), Values: []any{"namespace", st.name(), "gateway", gw},
				Evidence: []Evidence{show}, Commands: []string{fmt.Sprintf("%s add default via %s", x.route(n, s.six), gw)}})
		}
		return
	}
	if r.Dev != st.inner || !r.Via.IsValid() {
		return
	}
	if _, there := s.owner(r.Via); there || !s.complete {
		return
	}
	if len(s.subnets()) == 0 && !s.bridge.Up && s.six {
		return // the address has gone with the switch: see bridge-down
	}
	if len(s.subnets()) == 0 {
		command := fmt.Sprintf("%saddr add %s dev %s", x.ip(s.router), netip.PrefixFrom(r.Via, st.prefix().Bits()), s.bridge.Name)
		if st.endpoint != nil {
			command = x.give(s.bridge, netip.PrefixFrom(st.gateway(), st.prefix().Bits()))
		}
		x.add(Finding{ID: "bridge-without-address", Object: s.bridge.Name, About: append(s.about(), st.name()),
			Values:   []any{"bridge", s.bridge.Name, "namespace", st.name(), "gateway", r.Via},
			Evidence: []Evidence{x.addressEvidence(s.bridge), show},
			Commands: []string{command}})
		return
	}
	right := s.subnets()[0].Addr()
	x.add(Finding{ID: "wrong-gateway", Object: st.name(), About: st.about(),
		Values:   []any{"namespace", st.name(), "gateway", r.Via, "right", right, "bridge", s.bridge.Name},
		Evidence: []Evidence{show, x.addressEvidence(s.bridge)},
		Commands: []string{fmt.Sprintf("%s replace default via %s", x.route(n, s.six), right)}})
}

// wantedGateway is where a station without a default route should have one: our record says so, or the router masquerades for its subnet,
// which is of no use to anybody without one.
func (x *exam) wantedGateway(st *station) netip.Addr {
	s := st.seg
	if st.endpoint != nil {
		if st.leads() && !s.internal() {
			return st.gateway()
		}
		return netip.Addr{}
	}
	if len(s.subnets()) == 0 || !s.holds(st.addr()) {
		return netip.Addr{}
	}
	rules, err := x.rules(s.router)
	if err != nil || rules == nil {
		return netip.Addr{}
	}
	if meansToTranslate(rules, st.addr()) {
		return s.subnets()[0].Addr()
	}
	return netip.Addr{}
}

// meansToTranslate says whether there is a rule that gives what comes from an address one that is known outside, wherever it stands.
func meansToTranslate(rules *world.Ruleset, a netip.Addr) bool {
	holds := func(p netip.Prefix) bool { return p.Contains(a) }
	return slices.ContainsFunc(rules.Chains, func(c *world.Chain) bool {
		return slices.ContainsFunc(c.Rules, func(r *world.Rule) bool {
			return (r.Target == "MASQUERADE" || r.Target == "SNAT") && len(r.Match.States) == 0 && !r.Match.Src.Not && slices.ContainsFunc(r.Match.Src.Nets, holds)
		})
	})
}

// gateway is what the record says.
func (st *station) gateway() netip.Addr {
	if st.seg.six {
		return st.endpoint.Gateway6
	}
	return st.endpoint.Gateway
}

// leads says whether the record wants the default route of the segment's family here.
func (st *station) leads() bool {
	if st.seg.six {
		return st.endpoint.DefaultRoute6
	}
	return st.endpoint.DefaultRoute
}

func (x *exam) hasBlackhole(n *world.Namespace, six bool) bool {
	return slices.ContainsFunc(n.Routes, func(r world.Route) bool { return isBlackhole(r) && r.Default() && r.To.Addr().Is6() == six })
}

// isBlackhole: the kernel's own "unreachable default" of IPv6, behind all others, is none.
func isBlackhole(r world.Route) bool {
	return (r.Type == "blackhole" || r.Type == "unreachable" || r.Type == "prohibit") && r.Table == 254 && r.Protocol != "kernel"
}

// blackholes are routes that throw away what a bridge's stations send, or what is sent to them.
func (x *exam) blackholes(n *world.Namespace) {
	for _, r := range n.Routes {
		if !isBlackhole(r) {
			continue
		}
		hits := r.Default() && !slices.ContainsFunc(n.Routes, func(o world.Route) bool {
			return o.Default() && o.Type == "unicast" && o.To.Addr().Is6() == r.To.Addr().Is6() && o.Metric < r.Metric
		})
		about := n.Names
		for _, s := range x.segments {
			for _, sub := range s.subnets() {
				if s.router == n && sub.Contains(r.To.Addr()) && r.To.Bits() >= sub.Bits() {
					hits, about = true, append(slices.Clone(about), s.about()...)
				}
			}
		}
		if hits {
			text := fmt.Sprintf("%s %s", r.Type, shortPrefix(r.To))
			x.add(Finding{ID: "blackhole-route", Object: n.Name(), About: about, Values: []any{"namespace", n.Name(), "route", text},
				Evidence: []Evidence{{x.route(n, r.To.Addr().Is6()) + " show type " + r.Type, text}},
				Commands: []string{x.route(n, r.To.Addr().Is6()) + " del " + text}})
		}
	}
}

func shortPrefix(p netip.Prefix) string {
	if p.Bits() == 0 {
		return "default"
	}
	return p.String()
}

func routeList(n *world.Namespace, six bool) (text string) {
	for _, r := range n.Routes {
		if r.Table != 254 || r.To.Addr().Is6() != six {
			continue
		}
		if text != "" {
			text += "; "
		}
		text += routeText(r)
	}
	return text
}

func routeText(r world.Route) string {
	text := shortPrefix(r.To)
	if r.Type != "unicast" {
		text = r.Type + " " + text
	}
	if r.Via.IsValid() {
		text += " via " + r.Via.String()
	}
	if r.Dev != nil {
		text += " dev " + r.Dev.Name
	}
	return text
}

// addresses compares what the members of a segment call themselves.
func (x *exam) addresses() error {
	for _, s := range x.segments {
		for _, st := range s.stations {
			if a := st.prefix(); a.IsValid() && !st.outer.Address(s.six).IsValid() {
				x.netmask(st, a)
			}
		}
		x.duplicates(s)
		x.neighbors(s)
	}
	return nil
}

func (x *exam) netmask(st *station, a netip.Prefix) {
	s, subs := st.seg, st.seg.subnets()
	if len(subs) == 0 {
		return
	}
	show := []Evidence{x.addressEvidence(st.inner), x.addressEvidence(s.bridge)}
	for _, sub := range subs {
		if sub.Masked() == a.Masked() {
			return
		}
		if sub.Contains(a.Addr()) || a.Masked().Contains(sub.Addr()) {
			right := netip.PrefixFrom(a.Addr(), sub.Bits())
			ip := x.ip(st.inner.Namespace)
			commands := []string{fmt.Sprintf("%saddr add %s dev %s", ip, right, st.inner.Name), fmt.Sprintf("%saddr del %s dev %s", ip, a, st.inner.Name)}
			if s.six { // where an address is there once only, whatever its length
				slices.Reverse(commands)
			}
			if r := st.inner.Namespace.DefaultRoute(s.six); r != nil && r.Via.IsValid() {
				commands = append(commands, fmt.Sprintf("%s replace %s", x.route(st.inner.Namespace, s.six), routeText(*r)))
			}
			x.add(Finding{ID: "wrong-netmask", Object: st.name(), About: st.about(), Evidence: show, Commands: commands,
				Values: []any{"namespace", st.name(), "address", a, "right", right, "bridge", s.bridge.Name}})
			return
		}
	}
	x.add(Finding{ID: "wrong-subnet", Object: st.name(), About: st.about(), Evidence: show,
		Values: []any{"namespace", st.name(), "address", a, "subnet", subs[0].Masked(), "bridge", s.bridge.Name}})
}

// duplicates: two who answer for one address, or hear one MAC address. The router answers for each of its addresses on every link
// (arp_ignore 0, ip-sysctl.rst), also for one that was meant for a container and given to eth0 of the host.
func (x *exam) duplicates(s *segment) {
	byIP, byMAC := map[netip.Addr]*world.Link{}, map[string]string{}
	for _, l := range s.router.Links {
		for _, a := range l.Addresses {
			byIP[a.Prefix.Addr()] = l
		}
	}
	for _, st := range s.stations {
		x.duplicateMAC(st, byMAC)
		for _, a := range st.inner.Addresses {
			ip := a.Prefix.Addr()
			if ip.Is6() != s.six || ip.IsLinkLocalUnicast() {
				continue
			}
			if other := byIP[ip]; other != nil {
				var commands []string
				if other.Namespace != s.router || other == s.bridge { // else it may be the host's own address that somebody gave away
					commands = x.moveAddress(st, a.Prefix)
				}
				x.add(Finding{ID: "duplicate-address", Object: ip.String(), About: []string{st.name(), other.Namespace.Name(), s.name(), s.bridge.Name},
					Values:   []any{"address", ip, "a", other.Namespace.Name(), "b", st.name()},
					Evidence: []Evidence{x.addressEvidence(other), x.addressEvidence(st.inner)}, Commands: commands})
			}
			byIP[ip] = st.inner
		}
	}
}

func (x *exam) addressEvidence(l *world.Link) Evidence {
	return Evidence{x.ip(l.Namespace) + "-br addr show " + l.Name, addressList(l)}
}

func (x *exam) duplicateMAC(st *station, known map[string]string) {
	mac := st.inner.MAC.String()
	if other, ok := known[mac]; ok && !st.seg.six {
		x.add(Finding{ID: "duplicate-mac", Object: mac, About: []string{st.name(), other}, Values: []any{"mac", mac, "a", other, "b", st.name()},
			Evidence: []Evidence{{x.ip(st.inner.Namespace) + "link show " + st.inner.Name, "link/ether " + mac}},
			Commands: []string{fmt.Sprintf("%slink set %s address %s", x.ip(st.inner.Namespace), st.inner.Name, freshMAC(st))}})
	}
	known[mac] = st.name()
}

// freshMAC is a locally administered address that comes from the cable's index, so that it is new on this bridge.
func freshMAC(st *station) string {
	i := st.outer.Index
	return fmt.Sprintf("02:00:00:%02x:%02x:%02x", byte(i>>16), byte(i>>8), byte(i))
}

// moveAddress gives a station the next free address of its subnet. Our own containers' addresses are in records: they are started anew.
func (x *exam) moveAddress(st *station, a netip.Prefix) []string {
	if st.endpoint != nil && (st.endpoint.Address.Addr() == a.Addr() || st.endpoint.Address6.Addr() == a.Addr()) {
		return nil
	}
	ip := x.ip(st.inner.Namespace)
	if st.endpoint != nil { // somebody has added it
		return []string{fmt.Sprintf("%saddr del %s dev %s", ip, a, st.inner.Name)}
	}
	free := a.Masked().Addr().Next()
	for ; a.Contains(free); free = free.Next() {
		if _, taken := st.seg.owner(free); !taken {
			break
		}
	}
	// The old one first: with it go the addresses of the same subnet that were added later (ip-sysctl.rst, promote_secondaries).
	commands := []string{fmt.Sprintf("%saddr del %s dev %s", ip, a, st.inner.Name), fmt.Sprintf("%saddr add %s dev %s", ip, netip.PrefixFrom(free, a.Bits()), st.inner.Name)}
	if r := st.inner.Namespace.DefaultRoute(st.seg.six); r != nil && r.Via.IsValid() {
		commands = append(commands, x.route(st.inner.Namespace, st.seg.six)+" replace "+routeText(*r))
	}
	return commands
}

// neighbors: an entry that somebody wrote by hand and that is not true.
func (x *exam) neighbors(s *segment) {
	truth := map[netip.Addr]string{}
	for _, sub := range s.subnets() {
		truth[sub.Addr()] = s.bridge.MAC.String()
	}
	for _, st := range s.stations {
		if st.addr().IsValid() {
			truth[st.addr()] = st.inner.MAC.String()
		}
	}
	look := func(n *world.Namespace, dev *world.Link) {
		for _, nb := range n.Neighbors {
			if nb.Dev != dev || nb.State != "permanent" || truth[nb.IP] == "" || truth[nb.IP] == nb.MAC.String() {
				continue
			}
			x.add(Finding{ID: "wrong-neighbor", Object: n.Name() + ":" + nb.IP.String(), About: append(slices.Clone(n.Names), s.about()...),
				Values:   []any{"namespace", n.Name(), "address", nb.IP, "mac", nb.MAC, "right", truth[nb.IP]},
				Evidence: []Evidence{{x.ip(n) + "neigh show " + nb.IP.String(), fmt.Sprintf("%s dev %s lladdr %s PERMANENT", nb.IP, dev.Name, nb.MAC)}},
				Commands: []string{fmt.Sprintf("%sneigh del %s dev %s", x.ip(n), nb.IP, dev.Name)}})
		}
	}
	look(s.router, s.bridge)
	for _, st := range s.stations {
		look(st.inner.Namespace, st.inner)
	}
}

// overlaps: one address, two ways.
func (x *exam) overlaps() error {
	for _, n := range x.w.Namespaces {
		x.overlappingLinks(n)
	}
	for _, s := range x.segments {
		for _, sub := range s.subnets() {
			x.overlappingRoutes(s, sub)
		}
	}
	return nil
}

func (x *exam) overlappingLinks(n *world.Namespace) {
	for i, a := range n.Links {
		for _, b := range n.Links[i+1:] {
			pa, pb, clash := overlap(a, b)
			if !clash || x.named("veths-without-bridge", a.Name+" "+b.Name) || a.Master != nil || b.Master != nil {
				continue
			}
			x.add(Finding{ID: "overlapping-subnets", Object: a.Name + " " + b.Name, About: append(slices.Clone(n.Names), a.Name, b.Name, a.Owner.Name, b.Owner.Name),
				Values:   []any{"a", a.Name, "b", b.Name, "subnet-a", pa.Masked(), "subnet-b", pb.Masked()},
				Evidence: []Evidence{{x.ip(n) + "-br addr", addressList(a) + "; " + addressList(b)}}})
		}
	}
}

func overlap(a, b *world.Link) (pa, pb netip.Prefix, clash bool) {
	if a.Loopback || b.Loopback || !a.Up || !b.Up {
		return pa, pb, false
	}
	for _, x := range a.Addresses {
		for _, y := range b.Addresses {
			if !x.Prefix.Addr().IsLinkLocalUnicast() && x.Prefix.Masked().Overlaps(y.Prefix.Masked()) && !x.Prefix.IsSingleIP() && !y.Prefix.IsSingleIP() {
				return x.Prefix, y.Prefix, true
			}
		}
	}
	return pa, pb, false
}

// nearlyDefault: VPNs that take over everything have two routes that are halves of the default route, and leave that alone. No network
// reserved for private use is as wide (RFC 1918, RFC 4193).
func nearlyDefault(r world.Route) bool {
	return r.To.Bits() < 8
}

// overlappingRoutes: a route of somebody else, such as a VPN's, for addresses of the bridge's subnet.
func (x *exam) overlappingRoutes(s *segment, sub netip.Prefix) {
	for _, r := range s.router.Routes {
		if r.Table != 254 || nearlyDefault(r) || r.Type != "unicast" || r.Dev == nil || r.Dev == s.bridge || r.Protocol == "kernel" || !r.To.Overlaps(sub.Masked()) {
			continue
		}
		x.add(Finding{ID: "route-overlap", Object: s.name(), About: append(s.about(), r.Dev.Name),
			Values:   []any{"network", s.name(), "subnet", sub.Masked(), "route", routeText(r)},
			Evidence: []Evidence{{x.route(s.router, s.six), routeList(s.router, s.six)}}})
	}
}
