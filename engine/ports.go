package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mydocker/mydocker/network"
)

// share is a part of a container's ports, and the network that publishes it.
type share struct {
	by    *network.Network
	ports []network.PortMapping
}

// portsByPlace parts ports among the networks that publish them, by their place in networkRefs: each address of the host belongs to the
// network with the default route of its family.
func (e *Engine) portsByPlace(o *CreateOptions, ports []network.PortMapping) map[int]share {
	if len(ports) == 0 {
		return nil
	}
	four, six := e.publishersOf(o)
	if four.by == nil && six.by == nil {
		return nil
	}
	shares := map[int]share{}
	give := func(to publisher, p network.PortMapping) {
		shares[to.at] = share{to.by, append(shares[to.at].ports, p)}
	}
	for _, p := range ports {
		switch {
		case four.by == nil, p.HostIP.Is6() && six.by != nil:
			give(six, p)
		case p.HostIP.IsValid() || six.by == nil || six.at == four.at:
			give(four, p)
		default:
			half, other := p.Halves()
			give(four, half)
			if !six.by.HostBinding().IsValid() { // else it binds its ports to an address of IPv4, and has none to publish in IPv6
				give(six, other)
			}
		}
	}
	return shares
}

// publisher is a network of a container and its place in networkRefs.
type publisher struct {
	by           *network.Network
	at, priority int
}

// publishersOf are the networks that publish a container's ports in IPv4 and in IPv6: of those that can, and that have the family, the
// one that has the default route. One that there is not has no network.
func (e *Engine) publishersOf(o *CreateOptions) (four, six publisher) {
	for at, ref := range o.networkRefs() {
		n, err := e.networks.Network(ref)
		if err != nil || !n.Publishes() {
			continue
		}
		p := publisher{n, at, o.Extras.GwPriority}
		if at > 0 {
			p.priority = o.Networks[at-1].Extras.GwPriority
		}
		if n.EnableIPv4() && (four.by == nil || p.priority > four.priority) {
			four = p
		}
		if n.EnableIPv6 && (six.by == nil || p.priority > six.priority) {
			six = p
		}
	}
	return four, six
}

// possible leaves out what a network cannot publish because the container has left those of the other family. A proxy passes on to either.
func possible(n *network.Network, ports []network.PortMapping, proxy bool) []network.PortMapping {
	if proxy {
		return ports
	}
	return slices.DeleteFunc(slices.Clone(ports), func(p network.PortMapping) bool {
		return p.NeedsIPv6() && !n.EnableIPv6 || p.NeedsIPv4() && !n.EnableIPv4()
	})
}

// hasPorts says whether ports of the container are to be published.
func (d *Definition) hasPorts() bool { return len(d.Options.Ports) > 0 || d.Options.PublishAll }

// publishes says whether any network publishes ports of a running container.
func (e *Engine) publishes(d *Definition) (bool, error) {
	if !d.hasPorts() {
		return false, nil
	}
	attached, err := e.networks.ContainerEndpoints(d.ID)
	return slices.ContainsFunc(attached, func(ep *network.Endpoint) bool { return len(ep.Ports) > 0 }), err
}

// movePorts lets a running container's ports be published by the networks that are to publish them now, under the host ports that they
// had. before are its places as they were; nil means as they are.
func (e *Engine) movePorts(ctx context.Context, d *Definition, before []*network.Endpoint) error {
	if !d.hasPorts() {
		return nil
	}
	attached, err := e.networks.ContainerEndpoints(d.ID)
	if err != nil {
		return err
	}
	if before == nil {
		before = attached
	}
	asked, err := e.portsToPublish(d)
	if err != nil {
		return err
	}
	ports, proxy := withNumbers(asked, before), e.proxied(&d.Options)
	if at := slices.IndexFunc(before, func(ep *network.Endpoint) bool { return len(ep.Ports) > 0 }); at >= 0 {
		proxy = before[at].Proxy
	}
	wanted := map[string][]network.PortMapping{}
	for _, s := range e.portsByPlace(&d.Options, ports) {
		wanted[s.by.ID] = possible(s.by, s.by.HostSide(s.ports, proxy), proxy)
	}
	changed := slices.DeleteFunc(attached, func(ep *network.Endpoint) bool { return slices.Equal(ep.Ports, wanted[ep.NetworkID]) })
	if len(changed) == 0 {
		return nil
	}
	err = e.networks.Republish(ctx, changed, wanted, proxy, func() error { return e.tellNetworkChange(d) })
	for _, ep := range changed {
		ep.LetGo()
	}
	return errors.Join(err, e.tellNetworkChange(d))
}

// withNumbers are ports as they were asked for, with the host ports that were chosen for them. Who has asked for an address, or for a
// number, is known by it.
func withNumbers(asked []network.PortMapping, before []*network.Endpoint) []network.PortMapping {
	var had []network.PortMapping
	for _, ep := range before {
		had = append(had, ep.Ports...)
	}
	ports := slices.Clone(asked)
	for pass := range 4 {
		anywhere, chosen := pass&2 != 0, pass&1 != 0
		for i := range ports {
			p := &ports[i]
			p.Count = max(p.Count, 1)
			if q := asked[i]; q.HostIP.IsValid() == anywhere || (q.HostPort == 0 || q.HostPortEnd != 0) != chosen {
				continue
			}
			same := func(h network.PortMapping) bool {
				return h.ContainerPort == p.ContainerPort && h.Proto == p.Proto && (anywhere || h.HostIP == p.HostIP) &&
					(p.HostPort == 0 || p.HostPort <= h.HostPort && h.HostPort <= max(p.HostPort, p.HostPortEnd))
			}
			if at := slices.IndexFunc(had, same); at >= 0 {
				p.HostPort, p.HostPortEnd = had[at].HostPort, 0
				had = slices.DeleteFunc(had, same) // both halves
			}
		}
	}
	return ports
}

// published are the ports of a container's networks as a person sees them: an address of IPv4 before one of IPv6, whatever networks they
// are of.
func published(endpoints []*network.Endpoint) (all []network.PortMapping) {
	for _, ep := range endpoints {
		all = append(all, ep.Published()...)
	}
	if slices.ContainsFunc(all, func(p network.PortMapping) bool { return p.Split }) {
		slices.SortStableFunc(all, func(a, b network.PortMapping) int {
			return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), cmp.Compare(a.Proto, b.Proto), a.HostIP.Unmap().Compare(b.HostIP.Unmap()))
		})
	}
	return all
}

// holdPorts lets the sockets be those of the endpoints that there are now.
func (l *live) holdPorts(attached []*network.Endpoint) error {
	var held, gone []network.HostSocket
	known := map[string]bool{}
	for _, s := range l.held {
		if slices.ContainsFunc(attached, func(ep *network.Endpoint) bool { return ep.ID == s.Endpoint && len(ep.Ports) > 0 }) {
			held, known[s.Endpoint] = append(held, s), true
		} else {
			gone = append(gone, s)
		}
	}
	var errs []error
	fresh := false
	for _, ep := range attached {
		if known[ep.ID] || len(ep.Ports) == 0 {
			continue
		}
		fresh = true
		sockets, err := ep.HoldAgain()
		errs, held = append(errs, err), append(held, sockets...)
	}
	if len(gone) == 0 && !fresh {
		return nil
	}
	l.proxies.Close()
	for _, s := range gone {
		s.File.Close()
	}
	l.held = held
	var err error
	l.proxies, err = startProxies(nil, held)
	return errors.Join(append(errs, err)...)
}

// portsToPublish adds what -P publishes: every exposed port that is not published by name.
func (e *Engine) portsToPublish(d *Definition) ([]network.PortMapping, error) {
	ports := d.Options.Ports
	if !d.Options.PublishAll {
		return ports, nil
	}
	named := make(map[string]bool)
	for _, p := range ports {
		for i := range max(p.Count, 1) {
			named[fmt.Sprintf("%d/%s", p.ContainerPort+i, p.Proto)] = true
		}
	}
	for _, x := range d.Options.Expose {
		if named[x] {
			continue
		}
		port, err := exposedPort(x)
		if err != nil {
			return nil, err
		}
		ports = append(ports, port...)
	}
	return ports, nil
}

func exposedPort(x string) ([]network.PortMapping, error) {
	ports, err := network.ParsePort(x) // "80/tcp": a container port and a host port of our choice
	if err != nil {
		return nil, fmt.Errorf("exposed port %s: %w", x, err)
	}
	return ports, nil
}
