package why

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/world"
)

// findRoutes finds a route by its destination: default, a network, or an address, for which the route that it would take is told.
// NAMESPACE:DESTINATION looks elsewhere than on the host.
func findRoutes(_ context.Context, q *Question) (answers []Answer, err error) {
	m := newMakers()
	thing, only := strings.TrimPrefix(q.Thing, "ip route "), ""
	if first, rest, ok := strings.Cut(thing, ":"); ok && slices.ContainsFunc(q.World.Namespaces, func(n *world.Namespace) bool { return q.means(n, first) }) {
		thing, only = rest, first
	}
	thing, _, _ = strings.Cut(thing, " ") // "default via …"
	for _, n := range q.World.Namespaces {
		if only != "" && !q.means(n, only) || only == "" && n != q.World.Host && q.Kind != KindRoute {
			continue
		}
		if prefix, err := netip.ParsePrefix(thing); err == nil || thing == "default" {
			for _, r := range n.Routes {
				if r.Table == 254 && (r.To == prefix || thing == "default" && r.Default()) {
					answers = append(answers, q.route(m, n, r))
				}
			}
		} else if address, err := netip.ParseAddr(thing); err == nil {
			if r, ok := bestRoute(n, address); ok {
				answers = append(answers, q.route(m, n, r))
			}
		}
	}
	return answers, nil
}

// bestRoute is the longest prefix that an address fits, local addresses first: ip route get.
func bestRoute(n *world.Namespace, a netip.Addr) (best world.Route, ok bool) {
	for _, table := range []int{255, 254} {
		for _, r := range n.Routes {
			if r.Table == table && r.To.Contains(a) && (!ok || r.To.Bits() > best.To.Bits() || r.To.Bits() == best.To.Bits() && r.Metric < best.Metric) {
				best, ok = r, true
			}
		}
		if ok {
			return best, true
		}
	}
	return best, ok
}

func (q *Question) route(m *makers, n *world.Namespace, r world.Route) Answer {
	t := q.Texts
	name := r.To.String()
	if r.Default() {
		name = "default"
	}
	if r.Type != "unicast" {
		name = r.Type + " " + name
	}
	if r.Via.IsValid() {
		name += " via " + r.Via.String()
	}
	if r.Dev != nil {
		name += " dev " + r.Dev.Name
	}
	a := Answer{Kind: KindRoute, Name: name, Where: n.Name(), Look: inNamespace(n, "ip route get "+target(r).String())}
	ours := r.Dev != nil && r.Dev.Owner.Ours()
	switch r.Protocol {
	case "kernel":
		a.other(Maker{"kernel"}, t.Text("why.evidence.protocol", "protocol", r.Protocol))
		if r.Dev != nil {
			a.Purpose = append(a.Purpose, t.Text("why.purpose.connected", "link", r.Dev.Name, "address", cause(r)))
		}
		if ours {
			a.For = r.Dev.Owner.String()
		}
	case "ra", "dhcp", "bird", "zebra", "babel", "bgp", "ospf", "isis", "rip", "eigrp":
		a.other(Maker{"routing"}, t.Text("why.evidence.protocol", "protocol", r.Protocol))
	default:
		switch {
		case ours && n.Owner.Ours() && r.Default():
			a.ours(n.Owner)
			a.Evidence = append(a.Evidence, q.record(r.Dev))
		case r.Dev != nil:
			if maker, ok := m.links.find(r.Dev.Name); ok {
				a.other(maker, t.Text("why.evidence.link", "link", r.Dev.Name))
				break
			}
			a.other(Maker{"hand"}, t.Text("why.evidence.protocol", "protocol", r.Protocol))
		default:
			a.other(Maker{"hand"}, t.Text("why.evidence.protocol", "protocol", r.Protocol))
		}
		if a.Maker.ID == "hand" {
			a.Undo = inNamespace(n, "ip route del "+strings.TrimPrefix(name, "unicast "))
		}
	}
	switch {
	case r.Default():
		a.Purpose = append(a.Purpose, t.Text("why.purpose.default"))
	case r.Type == "local":
		a.Purpose = append(a.Purpose, t.Text("why.purpose.local"))
	case r.Type != "unicast":
		a.Purpose = append(a.Purpose, t.Text("why.purpose.refused", "type", r.Type))
	}
	if r.Via.IsValid() {
		a.Purpose = append(a.Purpose, q.via(r))
	}
	return a
}

// cause is the address with which the kernel's route came. Those of IPv6 do not say.
func cause(r world.Route) netip.Addr {
	if r.Src.IsValid() {
		return r.Src
	}
	for _, a := range r.Dev.Addresses {
		if r.To.Contains(a.Prefix.Addr()) {
			return a.Prefix.Addr()
		}
	}
	return r.To.Addr()
}

// via says who the gateway is.
func (q *Question) via(r world.Route) string {
	for _, n := range q.World.Namespaces {
		for _, l := range n.Links {
			for _, a := range l.Addresses {
				if a.Prefix.Addr() == r.Via {
					return q.Texts.Text("why.purpose.via-known", "address", r.Via, "link", l.Name, "place", place(n.Name(), q.Texts))
				}
			}
		}
	}
	return q.Texts.Text("why.purpose.via", "address", r.Via)
}

// target is an address that takes the route.
func target(r world.Route) netip.Addr {
	if r.Default() {
		if r.To.Addr().Is6() {
			return netip.MustParseAddr("2001:db8::1")
		}
		return netip.MustParseAddr("198.51.100.1")
	}
	if r.To.IsSingleIP() {
		return r.To.Addr()
	}
	return r.To.Addr().Next()
}
