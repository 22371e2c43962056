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
		if !slices.ContainsFunc(inner.Addresses, func(a world.Address) bool { return a.Prefix.Addr() == e.Address.Addr() }) {
			x.add(Finding{ID: "address-missing", Object: e.ContainerName, About: []string{e.ContainerName},
				Values:   []any{"container", e.ContainerName, "link", e.Interface, "address", e.Address},
				Evidence: []Evidence{{x.ip(c.Namespace) + "-br addr show " + e.Interface, addressList(inner)}},
				Commands: x.withDefaultRoute(c.Namespace, inner, fmt.Sprintf("%saddr add %s dev %s", x.ip(c.Namespace), e.Address, e.Interface), e.Gateway, e.DefaultRoute)})
		}
	}
	return nil
}

// withDefaultRoute adds what went with the address: the kernel takes away the routes that need it.
func (x *exam) withDefaultRoute(n *world.Namespace, l *world.Link, command string, gateway netip.Addr, wanted bool) []string {
	if !wanted || !gateway.IsValid() || defaultRoute(n) != nil {
		return []string{command}
	}
	return []string{command, fmt.Sprintf("%sroute add default via %s dev %s", x.ip(n), gateway, l.Name)}
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
			x.add(Finding{ID: "bridge-down", Object: s.bridge.Name, About: s.about(), Values: []any{"bridge", s.bridge.Name},
				Evidence: []Evidence{{x.ip(s.router) + "-br link show " + s.bridge.Name, upOrDown(s.bridge)}}, Commands: commands})
		}
	}
	for _, n := range x.w.Namespaces {
		used := false
		for _, l := range n.Links {
			used = used || !l.Loopback && l.Address4().IsValid()
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

// up also puts back the default route that went when the link was switched off, where mydocker knows it.
func (x *exam) up(n *world.Namespace, l *world.Link) []string {
	commands := []string{x.ip(n) + "link set " + l.Name + " up"}
	for _, e := range x.w.Endpoints {
		if c := x.w.Container(e.ContainerID); c != nil && c.Namespace == n && e.Interface == l.Name && e.DefaultRoute && e.Gateway.IsValid() && defaultRoute(n) == nil {
			commands = append(commands, fmt.Sprintf("%sroute replace default via %s dev %s", x.ip(n), e.Gateway, l.Name))
		}
	}
	return commands
}

// inUse says whether somebody meant the cable to carry something: one of its ends has an address or is plugged into a bridge.
func inUse(l *world.Link) bool {
	for _, end := range []*world.Link{l, l.Peer} {
		if end.Master != nil || end.Address4().IsValid() {
			return true
		}
	}
	return false
}

// unplugged finds cables that end in the air.
func (x *exam) unplugged() error {
	for _, n := range x.w.Namespaces {
		var loose []*world.Link // without an address of their own: only a bridge can connect them
		for _, l := range n.Links {
			if l.Kind == "veth" && l.Peer != nil && l.Master == nil && l.Peer.Namespace != n && l.Peer.Address4().IsValid() && !isStation(l) {
				loose = append(loose, l)
			}
		}
		x.looseEnds(n, loose)
	}
	return nil
}

// isStation says whether the link is itself the inner end of a bridge's cable.
func isStation(l *world.Link) bool { return l.Peer.Master != nil }

func (x *exam) looseEnds(n *world.Namespace, loose []*world.Link) {
	for i, l := range loose {
		if l.Owner.Ours() && x.bridgeless(l) {
			continue // there is nothing to plug it into
		}
		inner := l.Peer.Address4()
		if b := x.bridgeFor(n, inner); b != nil && !l.Address4().IsValid() {
			about := []string{l.Name, l.Peer.Namespace.Name(), b.Name, l.Owner.Name}
			x.add(Finding{ID: "veth-not-enslaved", Object: l.Name, About: about,
				Values:   []any{"link", l.Name, "bridge", b.Name, "namespace", l.Peer.Namespace.Name(), "address", inner},
				Evidence: []Evidence{{x.ip(n) + "link show master " + b.Name, l.Name + " is not among them"}},
				Commands: []string{fmt.Sprintf("%slink set %s master %s", x.ip(n), l.Name, b.Name)}})
			continue
		}
		for _, other := range loose[i+1:] {
			if other.Peer.Namespace == l.Peer.Namespace || !other.Peer.Address4().Masked().Overlaps(inner.Masked()) || x.bridgeFor(n, other.Peer.Address4()) != nil {
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
			if !a.Prefix.Addr().Is4() {
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
			address := port.Address4()
			if !address.IsValid() {
				continue
			}
			commands := []string{x.ip(s.router) + "link set " + port.Name + " nomaster"}
			if port.Kind == "veth" && port.Peer != nil && s.holds(port.Peer.Address4().Addr()) { // a cable to a station: the address is too much
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
