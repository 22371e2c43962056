package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mydocker/mydocker/network"
)

// publishesOn is the network that a container's ports are published by, and its place in networkRefs: of those that can, and that have the
// family, the one that has the default route; -1 if none can.
func (e *Engine) publishesOn(o *CreateOptions, has func(*network.Network) bool) (at int, by *network.Network) {
	at, priority := -1, 0
	for i, ref := range o.networkRefs() {
		n, err := e.networks.Network(ref)
		if err != nil || !n.Publishes() || !has(n) {
			continue
		}
		p := o.Extras.GwPriority
		if i > 0 {
			p = o.Networks[i-1].Extras.GwPriority
		}
		if at < 0 || p > priority {
			at, by, priority = i, n, p
		}
	}
	return at, by
}

// portsByPlace parts ports among the networks that publish them.
func (e *Engine) portsByPlace(o *CreateOptions, ports []network.PortMapping) map[int][]network.PortMapping {
	if len(ports) == 0 {
		return nil
	}
	four, n4 := e.publishesOn(o, (*network.Network).EnableIPv4)
	six, n6 := e.publishesOn(o, func(n *network.Network) bool { return n.EnableIPv6 })
	proxy := e.proxied(o)
	apart := n4 != nil && n6 != nil && !n6.EnableIPv4() && !proxy
	if n4 == nil {
		four, n4 = six, n6
	}
	if n6 == nil {
		six = four
	}
	if n4 == nil {
		return nil
	}
	places := map[int][]network.PortMapping{}
	for _, p := range n4.HostSide(ports, proxy) {
		switch {
		case p.NeedsIPv6():
			places[six] = append(places[six], p)
			continue
		case apart && !p.HostIP.IsValid(): // each family by its own network
			p.HostIP = netip.IPv6Unspecified()
			places[six] = append(places[six], p)
			p.HostIP = netip.IPv4Unspecified()
		}
		places[four] = append(places[four], p)
	}
	return places
}

// asAsked are ports of endpoints as they were asked for: for all addresses of the host, where a network without IPv4 has parted them.
func (d *Definition) asAsked(ports []network.PortMapping) (asked []network.PortMapping) {
	for _, p := range ports {
		explicit := slices.ContainsFunc(d.Options.Ports, func(q network.PortMapping) bool {
			host := q.HostPort == 0 || q.HostPort <= p.HostPort && p.HostPort <= max(q.HostPort, q.HostPortEnd)
			return q.HostIP == p.HostIP && q.ContainerPort == p.ContainerPort && q.Proto == p.Proto && host
		})
		if p.HostIP.IsUnspecified() && !explicit {
			p.HostIP = netip.Addr{}
		}
		if !slices.Contains(asked, p) {
			asked = append(asked, p)
		}
	}
	return asked
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
	var ports []network.PortMapping
	proxy := false
	for _, ep := range before {
		ports, proxy = append(ports, ep.Ports...), proxy || ep.Proxy
	}
	ports = d.asAsked(ports)
	for _, of := range []func(network.PortMapping) bool{network.PortMapping.NeedsIPv6, network.PortMapping.NeedsIPv4} {
		if !slices.ContainsFunc(ports, of) {
			// Either there are none, or until now no network had the family.
			ports = append(ports, slices.DeleteFunc(slices.Clone(d.Options.Ports), func(p network.PortMapping) bool { return !of(p) })...)
			proxy = proxy || e.proxied(&d.Options)
		}
	}
	refs, wanted := d.Options.networkRefs(), map[string][]network.PortMapping{}
	for at, some := range e.portsByPlace(&d.Options, ports) {
		n, err := e.networks.Network(refs[at])
		if err != nil {
			return err
		}
		wanted[n.ID] = possible(n, some, proxy)
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
