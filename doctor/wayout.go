package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/mydocker/mydocker/world"
)

// wayOut: a host that translates for its containers, as if it were their way to the world, and has no default route itself. It looks at
// the host alone: a namespace that routes between two networks may well be all the world that there is.
//
// A host may lack one by intent. So nothing is said where it has no network but those of its containers, a VPN has taken over, it knows
// other routers for the addresses that it needs, asks other tables, or throws away what goes outside (blackhole-route); nor for IPv6, where
// it has an address for its own site only.
func (x *exam) wayOut() error {
	for _, s := range x.segments {
		n := s.router
		if n != x.w.Host || !s.outward() || n.DefaultRoute(s.six) != nil || n.RouteTo(outside(s.six)) != nil || x.hasBlackhole(n, s.six) || len(n.PolicyRules) > 0 {
			continue
		}
		up := x.towardsOthers(n, s.six)
		if up == nil || knowsRouters(up, s.six) || x.named("accept-ra", n.Name()+":"+up.Name) {
			continue
		}
		wanted, err := x.translation(s)
		if err != nil {
			return err
		}
		if !wanted {
			continue
		}
		f := Finding{ID: "no-way-out", Object: n.Name(), About: append(append(slices.Clone(n.Names), s.about()...), up.Name),
			Values:   []any{"namespace", n.Name(), "network", s.name(), "link", up.Name, "subnet", up.Address(s.six).Masked()},
			Evidence: []Evidence{{x.route(n, s.six), routeList(n, s.six)}, x.addressEvidence(up)}}
		if via, seen := x.nextRouter(up, s.six); via.IsValid() {
			f.Evidence = append(f.Evidence, seen)
			f.Commands = []string{fmt.Sprintf("%s add default via %s dev %s", x.route(n, s.six), via, up.Name)}
		}
		x.add(f)
	}
	return nil
}

// translation says whether the host is meant to be the way to the world for a segment's stations.
func (x *exam) translation(s *segment) (bool, error) {
	if s.net != nil {
		return s.net.Options["com.docker.network.bridge.enable_ip_masquerade"] != "false", nil
	}
	rules, err := x.rules(s.router)
	return err == nil && rules != nil && meansToTranslate(rules, s.guest().addr()), err
}

// knowsRouters says whether somebody has written down who is behind a link: then these are the routes that are wanted.
func knowsRouters(up *world.Link, six bool) bool {
	return slices.ContainsFunc(up.Namespace.Routes, func(r world.Route) bool {
		return r.Table == 254 && r.Dev == up && r.To.Addr().Is6() == six && r.Via.IsValid()
	})
}

// towardsOthers is the link by which the namespace has neighbours that are no containers, nil without.
func (x *exam) towardsOthers(n *world.Namespace, six bool) *world.Link {
	wire := func(l *world.Link) bool {
		return slices.Contains([]string{"device", "veth", "vlan", "bond", "team"}, l.Kind)
	}
	for _, l := range n.Links {
		a := l.Address(six).Addr()
		if l.Loopback || !l.Up || !l.Carrier || l.Master != nil || !a.IsValid() || six && a.IsPrivate() {
			continue
		}
		if wire(l) || l.Kind == "bridge" && !l.Owner.Ours() && slices.ContainsFunc(l.Ports(), func(p *world.Link) bool { return p.Kind == "device" }) {
			return l
		}
	}
	return nil
}

// nextRouter is who is at the other end of a link, when only one can be meant, and what it is known by.
func (x *exam) nextRouter(up *world.Link, six bool) (netip.Addr, Evidence) {
	subnet := up.Address(six).Masked()
	if far := up.Peer; far != nil && far.Namespace != up.Namespace {
		if a := far.Address(six).Addr(); subnet.Contains(a) {
			return a, x.addressEvidence(far)
		}
		return netip.Addr{}, Evidence{}
	}
	var found []world.Neighbor
	for _, nb := range up.Namespace.Neighbors {
		if nb.Dev == up && subnet.Contains(nb.IP) && len(nb.MAC) > 0 && nb.State != "failed" && nb.State != "incomplete" {
			found = append(found, nb)
		}
	}
	if len(found) != 1 {
		return netip.Addr{}, Evidence{}
	}
	return found[0].IP, Evidence{x.ip(up.Namespace) + "neigh show dev " + up.Name, fmt.Sprintf("%s lladdr %s", found[0].IP, found[0].MAC)}
}
