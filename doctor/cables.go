package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/world"
)

// missing compares our records with the links that are there.
func (x *exam) missing() error {
	for _, n := range x.w.Networks {
		if n.Bridge != "" && n.Live && n.Ready && x.w.Host.Link(n.Bridge) == nil {
			x.add(Finding{ID: "bridge-missing", Object: n.Name, About: []string{n.Name, n.Bridge},
				Values: []any{"bridge", n.Bridge, "network", n.Name}, Commands: []string{sync},
				Evidence: []Evidence{{"ip link show " + n.Bridge, fmt.Sprintf("Device %q does not exist.", n.Bridge)}}})
		}
	}
	for _, e := range x.w.Endpoints {
		c := x.w.Container(e.ContainerID)
		if c == nil || c.Namespace == nil || e.HostLink == "" || x.named("bridge-missing", e.NetworkName) {
			continue
		}
		inner := c.Namespace.Link(e.Interface)
		if inner == nil || x.w.Host.Link(e.HostLink) == nil {
			x.add(Finding{ID: "link-missing", Object: e.ContainerName, About: []string{e.ContainerName},
				Values:   []any{"container", e.ContainerName, "link", e.Interface, "network", e.NetworkName},
				Evidence: []Evidence{{x.ip(c.Namespace) + "-br link", linkList(c.Namespace)}},
				Commands: []string{fmt.Sprintf("mydocker restart %s", e.ContainerName)}})
			continue
		}
		for _, p := range places(e) {
			x.addressMissing(e, p, inner)
		}
	}
	return nil
}

// place is what a record gives a container in one family.
type place struct {
	address netip.Prefix
	gateway netip.Addr // invalid: the default route is not by this network
}

func places(e *network.Endpoint) (all []place) {
	four, six := place{address: e.Address}, place{address: e.Address6}
	if e.DefaultRoute {
		four.gateway = e.Gateway
	}
	if e.DefaultRoute6 {
		six.gateway = e.Gateway6
	}
	for _, p := range []place{four, six} {
		if p.address.IsValid() {
			all = append(all, p)
		}
	}
	return all
}

// addressMissing: an IPv6 address also goes when its link is switched off, which is told as that, and when IPv6 is.
func (x *exam) addressMissing(e *network.Endpoint, p place, inner *world.Link) {
	six, n := p.address.Addr().Is6(), inner.Namespace
	if six && !inner.Up || has(inner, p.address.Addr()) {
		return
	}
	f := Finding{ID: "address-missing", Object: e.ContainerName, About: []string{e.ContainerName},
		Values:   []any{"container", e.ContainerName, "link", e.Interface, "address", p.address},
		Evidence: []Evidence{x.addressEvidence(inner)}, Commands: x.restore(inner, p)}
	if key := "net/ipv6/conf/" + inner.Name + "/disable_ipv6"; six && n.Sysctl(key) == "1" {
		f.ID, f.Evidence = "ipv6-disabled", append(f.Evidence, x.setting(n, key))
		f.Commands = append([]string{x.sysctl(n, key, "0")}, f.Commands...)
	}
	x.add(f)
}

func has(l *world.Link, a netip.Addr) bool {
	return slices.ContainsFunc(l.Addresses, func(have world.Address) bool { return have.Prefix.Addr() == a })
}

// give is the command by which mydocker gives an address. It is in our records, so nobody else has it, and no neighbour is asked (DAD).
func (x *exam) give(l *world.Link, a netip.Prefix) string {
	if a.Addr().Is6() {
		return fmt.Sprintf("%saddr add %s dev %s nodad", x.ip(l.Namespace), a, l.Name)
	}
	return fmt.Sprintf("%saddr add %s broadcast + dev %s", x.ip(l.Namespace), a, l.Name)
}

// restore gives an address back, and the default route that went with it: the kernel takes away the routes that need it.
func (x *exam) restore(l *world.Link, p place) (commands []string) {
	n, six := l.Namespace, p.address.Addr().Is6()
	if !has(l, p.address.Addr()) {
		commands = append(commands, x.give(l, p.address))
	}
	if p.gateway.IsValid() && n.DefaultRoute(six) == nil {
		commands = append(commands, fmt.Sprintf("%s replace default via %s dev %s", x.route(n, six), p.gateway, l.Name))
	}
	return commands
}

func linkList(n *world.Namespace) string {
	var names []string
	for _, l := range n.Links {
		names = append(names, l.Name)
	}
	return fmt.Sprint(names)
}

func addressList(l *world.Link) string {
	text := l.Name
	for _, a := range l.Addresses {
		text += " " + a.Prefix.String()
	}
	return text
}

func upOrDown(l *world.Link) string {
	if l.Up {
		return l.Name + " UP"
	}
	return l.Name + " DOWN"
}

// down finds links that carry nothing because nobody has switched them on.
func (x *exam) down() error {
	for _, s := range x.segments {
		if !s.bridge.Up && (len(s.stations) > 0 || s.ours()) {
			commands := []string{x.ip(s.router) + "link set " + s.bridge.Name + " up"}
			if a := s.lostAddress(); a.IsValid() {
				commands = append(commands, fmt.Sprintf("%saddr add %s dev %s nodad", x.ip(s.router), a, s.bridge.Name))
			}
			x.add(Finding{ID: "bridge-down", Object: s.bridge.Name, About: s.about(), Values: []any{"bridge", s.bridge.Name},
				Evidence: []Evidence{{x.ip(s.router) + "-br link show " + s.bridge.Name, upOrDown(s.bridge)}}, Commands: commands})
		}
	}
	for _, n := range x.w.Namespaces {
		used := false
		for _, l := range n.Links {
			used = used || !l.Loopback && (l.Address4().IsValid() || l.Address(true).IsValid())
			if l.Kind == "veth" && l.Peer != nil && !l.Up && inUse(l) {
				about := []string{l.Name, l.Peer.Name, n.Name(), l.Peer.Namespace.Name()}
				x.add(Finding{ID: "veth-down", Object: n.Name() + ":" + l.Name, About: about,
					Values:   []any{"link", l.Name, "namespace", n.Name(), "peer", l.Peer.Name, "far", l.Peer.Namespace.Name()},
					Evidence: []Evidence{{x.ip(n) + "-br link show " + l.Name, upOrDown(l)}},
					Commands: x.up(n, l)})
			}
		}
		if lo := n.Link("lo"); lo != nil && !lo.Up && used {
			x.add(Finding{ID: "lo-down", Object: n.Name(), About: n.Names, Values: []any{"namespace", n.Name()},
				Evidence: []Evidence{{x.ip(n) + "-br link show lo", "lo DOWN"}}, Commands: []string{x.ip(n) + "link set lo up"}})
		}
	}
	return nil
}

// lostAddress is the IPv6 address that a bridge had before it was switched off: the gateway of our record, or of those who are plugged in.
func (s *segment) lostAddress() netip.Prefix {
	if !s.six || len(s.subnets()) > 0 {
		return netip.Prefix{}
	}
	if s.ours() && s.net.Gateway6.IsValid() {
		return netip.PrefixFrom(s.net.Gateway6, s.net.Subnet6.Bits())
	}
	for _, st := range s.stations {
		if r := st.inner.Namespace.DefaultRoute(true); r != nil && r.Dev == st.inner && st.prefix().Contains(r.Via) {
			return netip.PrefixFrom(r.Via, st.prefix().Bits())
		}
	}
	return netip.Prefix{}
}

// up also puts back what went when the link was switched off, where mydocker knows it: the default route, and IPv6 addresses.
func (x *exam) up(n *world.Namespace, l *world.Link) []string {
	commands := []string{x.ip(n) + "link set " + l.Name + " up"}
	for _, e := range x.w.Endpoints {
		if c := x.w.Container(e.ContainerID); c != nil && c.Namespace == n && e.Interface == l.Name {
			for _, p := range places(e) {
				commands = append(commands, x.restore(l, p)...)
			}
		}
	}
	return commands
}

// inUse says whether somebody meant the cable to carry something: one of its ends has an address or is plugged into a bridge.
func inUse(l *world.Link) bool {
	for _, end := range []*world.Link{l, l.Peer} {
		if end.Master != nil || end.Address4().IsValid() || end.Address(true).IsValid() {
			return true
		}
	}
	return false
}

// unplugged finds cables that end in the air.
func (x *exam) unplugged() error {
	for _, n := range x.w.Namespaces {
		for _, six := range []bool{false, true} {
			var loose []*world.Link // without an address of their own: only a bridge can connect them
			for _, l := range n.Links {
				if l.Kind == "veth" && l.Peer != nil && l.Master == nil && l.Peer.Namespace != n && l.Peer.Address(six).IsValid() && !isStation(l) {
					loose = append(loose, l)
				}
			}
			x.looseEnds(n, loose, six)
		}
	}
	return nil
}

// isStation says whether the link is itself the inner end of a bridge's cable.
func isStation(l *world.Link) bool { return l.Peer.Master != nil }

func (x *exam) looseEnds(n *world.Namespace, loose []*world.Link, six bool) {
	for i, l := range loose {
		if l.Owner.Ours() && x.bridgeless(l) {
			continue // there is nothing to plug it into
		}
		inner := l.Peer.Address(six)
		if b := x.bridgeFor(n, inner); b != nil && !l.Address(six).IsValid() {
			about := []string{l.Name, l.Peer.Namespace.Name(), b.Name, l.Owner.Name}
			x.add(Finding{ID: "veth-not-enslaved", Object: l.Name, About: about,
				Values:   []any{"link", l.Name, "bridge", b.Name, "namespace", l.Peer.Namespace.Name(), "address", inner},
				Evidence: []Evidence{{x.ip(n) + "link show master " + b.Name, l.Name + " is not among them"}},
				Commands: []string{fmt.Sprintf("%slink set %s master %s", x.ip(n), l.Name, b.Name)}})
			continue
		}
		for _, other := range loose[i+1:] {
			if other.Peer.Namespace == l.Peer.Namespace || !other.Peer.Address(six).Masked().Overlaps(inner.Masked()) || x.bridgeFor(n, other.Peer.Address(six)) != nil {
				continue
			}
			x.add(Finding{ID: "veths-without-bridge", Object: l.Name + " " + other.Name,
				About:    []string{l.Name, other.Name, l.Peer.Namespace.Name(), other.Peer.Namespace.Name()},
				Values:   []any{"a", l.Name, "b", other.Name, "subnet", inner.Masked()},
				Evidence: []Evidence{{x.ip(n) + "-br addr", addressList(l) + "; " + addressList(other)}, {x.ip(n) + "link show type bridge", ""}},
				Commands: x.plugTogether(n, l, other)})
		}
	}
}

// bridgeless says whether the network of a cable of ours has lost its bridge.
func (x *exam) bridgeless(l *world.Link) bool {
	return slices.ContainsFunc(x.w.Endpoints, func(e *network.Endpoint) bool {
		return e.HostLink == l.Name && x.named("bridge-missing", e.NetworkName)
	})
}

// plugTogether makes a bridge for two cables. Addresses of the cables' near ends move to it.
func (x *exam) plugTogether(n *world.Namespace, ends ...*world.Link) []string {
	name := "br0"
	for i := 1; n.Link(name) != nil; i++ {
		name = fmt.Sprintf("br%d", i)
	}
	ip := x.ip(n)
	commands := []string{ip + "link add " + name + " type bridge", ip + "link set " + name + " up"}
	moved := map[netip.Prefix]bool{}
	for _, l := range ends {
		commands = append(commands, ip+"link set "+l.Name+" master "+name)
		for _, a := range l.Addresses {
			if a.Prefix.Addr().IsLinkLocalUnicast() {
				continue
			}
			commands = append(commands, fmt.Sprintf("%saddr del %s dev %s", ip, a.Prefix, l.Name))
			if !moved[a.Prefix] {
				moved[a.Prefix] = true
				commands = append(commands, fmt.Sprintf("%saddr add %s dev %s", ip, a.Prefix, name))
			}
		}
	}
	return commands
}

// bridgeFor is the bridge whose subnet an address is in.
func (x *exam) bridgeFor(n *world.Namespace, a netip.Prefix) *world.Link {
	for _, s := range x.segments {
		if s.router == n && s.holds(a.Addr()) {
			return s.bridge
		}
	}
	return nil
}

// nicInBridge: the addresses of a link that is plugged into a bridge no longer work, because its packets go to the bridge.
func (x *exam) nicInBridge() error {
	for _, s := range x.segments {
		for _, port := range s.bridge.Ports() {
			address := port.Address(s.six)
			if !address.IsValid() {
				continue
			}
			commands := []string{x.ip(s.router) + "link set " + port.Name + " nomaster"}
			if port.Kind == "veth" && port.Peer != nil && s.holds(port.Peer.Address(s.six).Addr()) { // a cable to a station: the address is too much
				commands = []string{fmt.Sprintf("%saddr del %s dev %s", x.ip(s.router), address, port.Name)}
			}
			x.add(Finding{ID: "nic-in-bridge", Object: port.Name, About: append(s.about(), port.Name, "host"),
				Values:   []any{"link", port.Name, "bridge", s.bridge.Name, "address", address},
				Evidence: []Evidence{{x.ip(s.router) + "addr show " + port.Name, fmt.Sprintf("%s master %s", addressList(port), s.bridge.Name)}},
				Commands: commands})
		}
	}
	return nil
}
