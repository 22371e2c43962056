package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/mydocker/mydocker/world"
)

// What only IPv6 has: one switch for all links, routers that announce themselves, and addresses that are tried before they are used.

// routing6 looks at the settings of a namespace that routes IPv6 for a segment. Only conf.all counts: the switches of the links say whether
// the host behaves there as a router, not whether it passes packets on (ip-sysctl.rst, conf/all/forwarding).
func (x *exam) routing6(s *segment) {
	n, key := s.router, "net/ipv6/conf/all/forwarding"
	if n.Sysctl(key) == "0" {
		x.add(Finding{ID: "ip6-forward-off", Object: n.Name(), About: append(slices.Clone(n.Names), s.about()...), Values: []any{"namespace", n.Name(), "network", s.name()},
			Evidence: []Evidence{x.setting(n, key)}, Commands: []string{x.sysctl(n, "net.ipv6.conf.all.forwarding", "1")}})
	}
}

// acceptRA: a host that has become a router no longer listens to other routers, and loses the default route that they had announced,
// unless accept_ra is 2.
func (x *exam) acceptRA() error {
	for _, s := range x.segments {
		n := s.router
		if !s.six || s.internal() || n.Sysctl("net/ipv6/conf/all/forwarding") != "1" {
			continue
		}
		r := n.DefaultRoute(true)
		if r != nil && r.Protocol != "ra" {
			continue
		}
		for _, l := range n.Links {
			key := "net/ipv6/conf/" + l.Name + "/accept_ra"
			announced := r != nil && r.Dev == l || r == nil && slices.ContainsFunc(l.Addresses, func(a world.Address) bool {
				return a.Dynamic && a.Prefix.Addr().Is6() && !a.Prefix.Addr().IsLinkLocalUnicast()
			})
			if !announced || n.Sysctl(key) != "1" {
				continue
			}
			x.add(Finding{ID: "accept-ra", Object: n.Name() + ":" + l.Name, About: append(append(slices.Clone(n.Names), s.about()...), l.Name), Values: []any{"namespace", n.Name(), "link", l.Name, "network", s.name()},
				Evidence: []Evidence{x.setting(n, key), {x.route(n, true), routeList(n, true)}}, Commands: []string{x.sysctl(n, key, "2")}})
		}
	}
	return nil
}

// dadFailed: an address that the kernel does not use, because somebody else on the link answered for it (RFC 4862, 5.4). Where it is known
// who that is, two have one address, and that is told.
func (x *exam) dadFailed() error {
	for _, n := range x.w.Namespaces {
		for _, l := range n.Links {
			for _, a := range l.Addresses {
				ip := a.Prefix.Addr()
				if !a.Failed || ip.IsLinkLocalUnicast() || x.named("duplicate-address", ip.String()) {
					continue
				}
				ip6 := fmt.Sprintf("%saddr show dev %s dadfailed", x.ip(n), l.Name)
				x.add(Finding{ID: "dad-failed", Object: n.Name() + ":" + ip.String(), About: append(slices.Clone(n.Names), l.Name), Values: []any{"namespace", n.Name(), "link", l.Name, "address", a.Prefix},
					Evidence: []Evidence{{ip6, fmt.Sprintf("inet6 %s scope global dadfailed tentative", a.Prefix)}}})
			}
		}
	}
	return nil
}

// neighborsAsked: IPv6 asks for neighbours by ICMP, which rules see; ARP they do not. A host that drops it has no neighbours.
func (x *exam) neighborsAsked() error {
	for _, s := range x.segments {
		g := s.guest()
		if !s.six || g == nil {
			continue
		}
		rules, err := x.rules(s.router)
		if err != nil {
			return err
		}
		if rules == nil {
			continue
		}
		asks := world.Packet{In: s.bridge.Name, Src: g.addr(), Dst: solicited(s.subnets()[0].Addr()), Proto: "icmpv6", State: "UNTRACKED"}
		d := rules.At("input", asks)
		if d.Verdict == "ACCEPT" || !d.Sure {
			continue
		}
		show, by := x.showChain(s.router, d.Chain), "policy "+d.Verdict
		if d.Rule != nil {
			show, by = x.showRule(s.router, d.Rule), d.Rule.Text
		}
		allow := fmt.Sprintf("%s%s -I INPUT -i %s -p ipv6-icmp -j ACCEPT", x.in(s.router), iptables(d.Chain), s.bridge.Name)
		if d.Chain.Backend == world.NFTables {
			allow = fmt.Sprintf("%snft insert rule %s %s %s iifname %s meta l4proto ipv6-icmp accept", x.in(s.router), d.Chain.Family, d.Chain.Table, d.Chain.Name, s.bridge.Name)
		}
		x.add(Finding{ID: "neighbor-discovery", Object: s.name(), About: s.about(), Values: []any{"network", s.name(), "namespace", s.router.Name(), "chain", d.Chain.Place(), "rule", by},
			Evidence: []Evidence{show}, Commands: []string{allow}})
	}
	return nil
}

// solicited is the multicast address to which a neighbour is asked for: RFC 4291, 2.7.1.
func solicited(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0xff, 0x02, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}
