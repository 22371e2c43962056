package world

import "net/netip"

// Which way a packet would go, by the tables local and main. Rules of `ip rule` are not asked.

// DefaultRoute is the default route of a family with the lowest metric, nil without.
func (n *Namespace) DefaultRoute(six bool) (best *Route) {
	for i := range n.Routes {
		r := &n.Routes[i]
		if r.Default() && r.To.Addr().Is6() == six && r.Type == "unicast" && (best == nil || r.Metric < best.Metric) {
			best = r
		}
	}
	return best
}

// RouteTo is the kernel's choice: the longest prefix, then the lowest metric. nil: there is none. It equals: ip route get ADDRESS.
func (n *Namespace) RouteTo(a netip.Addr) (best *Route) {
	for i := range n.Routes {
		r := &n.Routes[i]
		if !r.To.Contains(a) || r.Dead || r.Table != tableMain && r.Table != tableLocal {
			continue
		}
		if best == nil || r.To.Bits() > best.To.Bits() || r.To.Bits() == best.To.Bits() && r.Metric < best.Metric {
			best = r
		}
	}
	return best
}
