package trace

import (
	"net/netip"
	"slices"

	"github.com/mydocker/mydocker/world"
)

// Way is where the packet came by, or was to: what somebody who looks for the fault has to look at.
type Way struct {
	Names   []string         // namespaces, containers, networks, and the bridges and links by which they are reached
	Start   []string         // of them, those of the sender, and of the cables that it sends by
	End     []string         // of them, those of whoever is to answer
	Targets []netip.AddrPort // what it was sent to, and what rules have made of that
	Host    bool             // it was sent to an address of the host
	Beyond  bool             // its destination is not in the sender's own subnet
	Routed  bool             // a router hands it on from one link to another
	Out     bool             // from somebody here to somewhere that nobody here is
}

// Way is that of the probe, whether it came to its end or not.
func (t *Trace) Way() Way {
	r, host := t.Request, t.world.Host
	far, _ := beyond(t.world, r.Six())
	way := Way{Targets: []netip.AddrPort{r.To}, Host: host.Owns(r.To.Addr()), Beyond: r.ToSpace == host || !neighbours(r.From, r.To.Addr())}
	way.space(t.world, r.From, r.To.Addr())
	way.networks(t.world)
	way.Start = slices.Clone(way.Names)
	out := r.From == far && far != nil
	for _, s := range t.Steps {
		way.add(s.Space)
		if s.Space == host.Name() {
			way.add(s.Link, s.Master)
		}
		if !s.Answer && s.Packet.Dst.IsValid() && !slices.Contains(way.Targets, s.Packet.Dst) {
			way.Targets = append(way.Targets, s.Packet.Dst)
		}
	}
	led := false
	for _, n := range t.spaces() {
		way.add(n.Names...)
		if n != r.From && n != host && n != far && (n == r.ToSpace || way.Host) {
			led = led || n != r.ToSpace
			way.end(t.world, n)
		}
	}
	if !led && r.ToSpace != nil {
		way.end(t.world, r.ToSpace)
	}
	toHost := r.ToSpace == host && !led && len(way.Targets) < 2
	way.Routed = r.From != host && way.Beyond && !toHost
	way.Out = r.From != host && !out && (r.ToSpace == nil || r.ToSpace == far) && len(way.Targets) < 2
	if up := host.DefaultRoute(r.Six()); up != nil && up.Dev != nil && (out || way.Out || r.From == host && way.Beyond) {
		way.add(up.Dev.Name)
	}
	way.networks(t.world)
	return way
}

// networks adds those whose cables are on the way.
func (way *Way) networks(w *world.World) {
	for _, e := range w.Endpoints {
		if slices.Contains(way.Names, e.HostLink) {
			way.add(e.NetworkName, e.Bridge)
		}
	}
}

func (way *Way) add(names ...string) {
	for _, n := range names {
		if n != "" && !slices.Contains(way.Names, n) {
			way.Names = append(way.Names, n)
		}
	}
}

// end adds one who is to answer.
func (way *Way) end(w *world.World, n *world.Namespace) {
	way.End = append(way.End, n.Names...)
	for _, c := range w.Containers {
		if c.Namespace == n {
			way.End = append(way.End, c.Name)
		}
	}
	for _, to := range way.Targets {
		if n.Owns(to.Addr()) {
			way.space(w, n, to.Addr())
			return
		}
	}
	way.space(w, n, netip.Addr{})
}

// space adds a namespace, and the cables by which it sends to an address, or has it: all of them, when it is not clear which.
func (way *Way) space(w *world.World, n *world.Namespace, a netip.Addr) {
	way.add(n.Names...)
	for _, c := range w.Containers {
		if c.Namespace == n {
			way.add(c.Name)
		}
	}
	if n == w.Host {
		return
	}
	used := n.Links
	if r := n.RouteTo(a); a.IsValid() && !n.Owns(a) && r != nil && r.Dev != nil {
		used = []*world.Link{r.Dev}
	}
	if i := slices.IndexFunc(n.Links, func(l *world.Link) bool { return a.IsValid() && (l.Address(a.Is6()).Addr() == a) }); i >= 0 {
		used = n.Links[i : i+1]
	}
	for _, l := range used {
		if l.Peer == nil {
			continue
		}
		way.add(l.Peer.Name)
		if l.Peer.Master != nil {
			way.add(l.Peer.Master.Name)
		}
	}
}

// neighbours says whether an address is in a subnet of the namespace's own links.
func neighbours(n *world.Namespace, a netip.Addr) bool {
	return slices.ContainsFunc(n.Links, func(l *world.Link) bool {
		p := l.Address(a.Is6())
		return p.IsValid() && p.Contains(a)
	})
}
