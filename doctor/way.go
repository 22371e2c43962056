package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/world"
)

// Way is a packet's way, as far as faults need to know it.
type Way struct {
	Names   []string         // of the namespaces, containers and networks on it, and of the bridges and links that it comes by
	Ports   []string         // of the host, that it was sent to: "port 8080/tcp"
	Targets []netip.AddrPort // what it was sent to, and what rules have made of that
	Start   []string         // of the names, those of the sender and of the cables that it sends by
	End     []string         // of the names, those of whoever is to answer
	Six     bool
	Beyond  bool // its destination is not in the sender's own subnet
	Routed  bool // a router hands it on from one of its links to another
	Out     bool // from somebody here to somewhere that nobody here is
}

// On keeps the findings that can stop a packet on this way. What is wrong beside it is for `mydocker doctor` to tell.
func (r *Report) On(w *world.World, way Way) (few []Finding) {
	for _, f := range r.Findings {
		if way.needs(f) && way.speaks(f) && way.meets(w, f) {
			few = append(few, f)
		}
	}
	return few
}

// needs says whether a packet on this way asks for what the fault takes away.
func (way Way) needs(f Finding) bool {
	switch f.ID {
	case "isolation-missing", "guard-missing", "addresses-exhausted", "leaked-link", "leaked-rule", "leaked-namespace", "leaked-endpoint",
		"resolver-unreachable", "names-on-default-bridge", "overlapping-subnets":
		return false // they let too much pass, or stop no packet, or not one that is sent to an address
	case "dnat-missing", "dnat-shadowed", "dnat-wrong", "dnat-wrong-chain", "port-taken", "conntrack-stale":
		return way.asks(f)
	case "hairpin":
		return way.asks(f) && slices.ContainsFunc(f.About, func(a string) bool { return slices.Contains(way.Start, a) })
	case "route-localnet":
		return way.asks(f) && way.Targets[0].Addr().IsLoopback()
	case "not-listening", "listens-on-loopback", "listens-on-ipv4-only":
		return way.asks(f) || slices.ContainsFunc(way.Targets, func(t netip.AddrPort) bool { return slices.Contains(f.Values, any(t)) })
	case "memory-limit", "pids-limit", "cpu-limit":
		return slices.Contains(way.End, f.Object)
	case "bridge-without-address", "wrong-gateway", "no-default-route":
		return way.Beyond
	case "ip-forward-off", "ip6-forward-off", "link-forward-off", "rp-filter", "forward-policy":
		return way.Routed
	case "no-way-out", "masquerade-missing", "masquerade-misplaced", "snat-wrong":
		return way.Out
	}
	return true
}

// asks: it was sent to the port that the fault is of.
func (way Way) asks(f Finding) bool {
	return slices.ContainsFunc(f.About, func(a string) bool { return slices.Contains(way.Ports, a) })
}

// speaks says whether the fault concerns the packet's family: the addresses in its values tell.
func (way Way) speaks(f Finding) bool {
	switch f.ID {
	case "ip6-forward-off", "ipv6-disabled", "accept-ra", "dad-failed", "neighbor-discovery", "listens-on-ipv4-only":
		return way.Six
	case "ip-forward-off", "rp-filter", "route-localnet":
		return !way.Six
	case "foreign-drop", "veth-down", "bridge-down": // a rule of both families is told by an example of one
		return true
	}
	four, six := false, false
	for _, word := range strings.Fields(fmt.Sprint(f.Values...)) {
		if a, ok := addressIn(strings.Trim(word, ",;")); ok {
			four, six = four || a.Is4(), six || a.Is6()
		}
	}
	return four == six || six == way.Six
}

func addressIn(word string) (netip.Addr, bool) {
	if p, err := netip.ParsePrefix(word); err == nil {
		return p.Addr(), true
	}
	if p, err := netip.ParseAddrPort(word); err == nil {
		return p.Addr(), true
	}
	a, err := netip.ParseAddr(word)
	return a, err == nil
}

// meets: the fault is of something that the packet comes by. A container may be in several networks: where a fault is of a cable or a
// bridge, one of those it names has to be on the way.
func (way Way) meets(w *world.World, f Finding) bool {
	on := func(name string) bool { return slices.Contains(way.Names, name) }
	var cables []string
	for _, name := range f.About {
		if l := w.Host.Link(name); l != nil && (l.Kind == "bridge" || l.Master != nil) {
			cables = append(cables, name)
		}
	}
	if len(cables) > 0 {
		return slices.ContainsFunc(cables, on)
	}
	return slices.ContainsFunc(f.About, on) || way.asks(f)
}
