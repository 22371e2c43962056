package doctor

import (
	"fmt"
	"slices"

	"github.com/mydocker/mydocker/world"
)

// mtu: a packet that is bigger than the next link carries is thrown away on a bridge without a word; a router says so by ICMP, which
// firewalls like to drop.
func (x *exam) mtu() error {
	for _, s := range x.segments {
		up := x.uplink(s.router, s.six)
		for _, st := range s.stations {
			in, limit, where := st.inner.MTU, st.outer.MTU, st.outer
			if s.bridge.MTU < limit {
				limit, where = s.bridge.MTU, s.bridge
			}
			if up != nil && s.outward() && up.Dev.MTU < limit && !x.clamped(s.router) {
				limit, where = up.Dev.MTU, up.Dev
			}
			if in <= limit || !st.addr().IsValid() {
				continue
			}
			x.add(Finding{ID: "mtu", Object: st.name(), About: append(st.about(), where.Name),
				Values:   []any{"namespace", st.name(), "link", st.inner.Name, "mtu", in, "limit", limit, "where", where.Name},
				Evidence: []Evidence{{x.ip(st.inner.Namespace) + "link show " + st.inner.Name, fmt.Sprintf("mtu %d", in)}, {x.ip(where.Namespace) + "link show " + where.Name, fmt.Sprintf("mtu %d", where.MTU)}},
				Commands: []string{fmt.Sprintf("%slink set %s mtu %d", x.ip(st.inner.Namespace), st.inner.Name, limit)}})
		}
	}
	return nil
}

// clamped says whether a rule makes connections agree on smaller packets.
func (x *exam) clamped(n *world.Namespace) bool {
	rules, err := x.rules(n)
	if err != nil || rules == nil {
		return true // not known: say nothing
	}
	return slices.ContainsFunc(rules.Chains, func(c *world.Chain) bool {
		return slices.ContainsFunc(c.Rules, func(r *world.Rule) bool { return r.Target == "TCPMSS" || r.Target == "MANGLE" })
	})
}

// routing looks at the settings of the namespaces that route.
func (x *exam) routing() error {
	for _, s := range x.segments {
		if !s.outward() || !x.otherWay(s) {
			continue
		}
		n, b := s.router, s.bridge.Name
		if s.six {
			x.routing6(s)
			continue
		}
		if n.Sysctl("net/ipv4/ip_forward") == "0" {
			x.add(Finding{ID: "ip-forward-off", Object: n.Name(), About: append(slices.Clone(n.Names), s.about()...), Values: []any{"namespace", n.Name(), "network", s.name()},
				Evidence: []Evidence{{x.in(n) + "sysctl net.ipv4.ip_forward", "net.ipv4.ip_forward = 0"}}, Commands: []string{x.sysctl(n, "net.ipv4.ip_forward", "1")}})
			continue
		}
		links := []string{b}
		if up := x.uplink(n, false); up != nil {
			links = append(links, up.Dev.Name)
		}
		for _, l := range links {
			key := "net/ipv4/conf/" + l + "/forwarding"
			if n.Sysctl(key) == "0" {
				x.add(Finding{ID: "link-forward-off", Object: l, About: append(s.about(), l), Values: []any{"link", l},
					Evidence: []Evidence{{x.in(n) + "sysctl " + key, key + " = 0"}}, Commands: []string{x.sysctl(n, key, "1")}})
			}
		}
	}
	for _, s := range x.bridges() { // IPv6 has no such setting
		for _, st := range s.stations {
			x.reversePath(st)
		}
	}
	return nil
}

// otherWay says whether there is somewhere to route to.
func (x *exam) otherWay(s *segment) bool {
	return slices.ContainsFunc(s.router.Links, func(l *world.Link) bool {
		return l != s.bridge && !l.Loopback && l.Master == nil && l.Address(s.six).IsValid()
	})
}

// reversePath: with a strict filter, a packet is dropped when the answer would leave by another link (ip-sysctl.rst, rp_filter).
func (x *exam) reversePath(st *station) {
	n, b := st.seg.router, st.seg.bridge
	key := "net/ipv4/conf/" + b.Name + "/rp_filter"
	strict := n.Sysctl(key) == "1" && n.Sysctl("net/ipv4/conf/all/rp_filter") != "2" || n.Sysctl("net/ipv4/conf/all/rp_filter") == "1" && n.Sysctl(key) != "2"
	if !strict || len(n.PolicyRules) > 0 {
		return
	}
	for _, r := range st.inner.Namespace.Routes {
		if r.Dev != st.inner || !r.Via.IsValid() || !r.Src.IsValid() || !r.Src.Is4() || !st.seg.isBridge(r.Via) {
			continue
		}
		back := n.RouteTo(r.Src)
		if back == nil || back.Dev == b {
			continue
		}
		x.add(Finding{ID: "rp-filter", Object: st.name(), About: append(st.about(), b.Name),
			Values:   []any{"namespace", st.name(), "address", r.Src, "link", b.Name, "route", routeText(*back)},
			Evidence: []Evidence{{x.in(n) + "sysctl " + key, key + " = " + n.Sysctl(key)}, {x.ip(n) + "route get " + r.Src.String(), routeText(*back)}},
			Commands: []string{fmt.Sprintf("%sroute add %s/32 via %s", x.ip(n), r.Src, st.addr())}})
	}
}
