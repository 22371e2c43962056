package network

import (
	"context"
	"net/netip"
	"slices"

	"github.com/mydocker/mydocker/plan"
)

// An operation is a plan.Op that the kernel executor knows how to do. Each kind is a struct in the file of its mechanism.
type operation interface {
	plan.Op
	apply(ctx context.Context, k *kernel) error
}

// executor does operations: the kernel, or in tests a fake that keeps books.
type executor interface {
	do(ctx context.Context, op operation) error
	close()
}

// bridgePlan makes a network's bridge. Each operation is "make it so": what is there already is left.
func bridgePlan(n *Network) []operation {
	ops := []operation{
		addBridge{Name: n.Bridge, MAC: n.mac(), MTU: n.MTU},
		// Locally made packets from 127.0.0.1 may leave through the bridge: that is how 127.0.0.1:PORT reaches a container.
		// The rules in the raw table keep containers from using it the other way round.
		setSysctl{Key: "net/ipv4/conf/" + n.Bridge + "/route_localnet", Value: "1", Reason: "let 127.0.0.1:PORT on the host reach a container"},
		setSysctl{Key: "net/ipv4/conf/" + n.Bridge + "/rp_filter", Value: "1", Reason: "drop packets whose source address is not the network's"},
	}
	switch {
	case !n.EnableIPv4(): // whoever says IPv4 there is nobody's neighbour: rp_filter drops it
		ops = slices.Delete(ops, 1, 2)
	case n.Internal:
		// Nothing of the host may answer for published ports here either.
		ops[1] = setSysctl{Key: "net/ipv4/conf/" + n.Bridge + "/route_localnet", Value: "0", Reason: "an internal network has no way to the host's loopback"}
	}
	ops = append(ops, bridgeIPv6(n)...)
	if n.EnableIPv4() {
		ops = append(ops, addAddress{Link: n.Bridge, Address: netip.PrefixFrom(n.Gateway, n.Subnet.Bits()), Reason: "the bridge's address is the containers' gateway"})
	}
	for _, former := range n.Former {
		ops = append(ops, addAddress{Link: n.Bridge, Address: former, Reason: "the gateway of containers from before the configuration changed"})
	}
	if n.EnableIPv6 {
		ops = append(ops, addAddress{Link: n.Bridge, Address: netip.PrefixFrom(n.Gateway6, n.Subnet6.Bits()), Reason: "the IPv6 gateway"})
	}
	ops = append(ops, setUp{Link: n.Bridge, Reason: "a link that is down carries nothing"})
	if !n.Internal && n.EnableIPv4() {
		ops = append(ops, forwarding{Key: "net/ipv4/ip_forward"})
	}
	if !n.Internal && n.EnableIPv6 {
		ops = append(ops, forwarding{Key: "net/ipv6/conf/all/forwarding"})
	}
	return ops
}

// bridgeIPv6 keeps the host deaf to what containers say by IPv6: no router advertisement of theirs changes its routes.
func bridgeIPv6(n *Network) []operation {
	conf := "net/ipv6/conf/" + n.Bridge + "/"
	ops := []operation{setSysctl{Key: conf + "accept_ra", Value: "0", Optional: true, Reason: "a container is no router of the host's"}}
	value := "1"
	if n.EnableIPv6 {
		value = "0"
	}
	return append(ops, setSysctl{Key: conf + "disable_ipv6", Value: value, Optional: true, Reason: "IPv6 only where the network has it"})
}

// linkPlan makes what of a network's links is the host's.
func linkPlan(n *Network) []operation {
	if n.onWire() {
		return parentPlan(n)
	}
	return bridgePlan(n)
}

// linkUndo is its counterpart.
func linkUndo(n *Network) []operation {
	if n.onWire() {
		return parentUndo(n)
	}
	return bridgeUndo(n)
}

// bridgeUndo takes a network's bridge away.
func bridgeUndo(n *Network) []operation { return []operation{deleteLink{Name: n.Bridge}} }

// endpointPlan wires one container: the cable, its address, its route. The published ports' rules are a separate
// operation (Firewall.Publish), because they need nothing of this and can be done at the same time.
func endpointPlan(n *Network, e *Endpoint, sb *Sandbox) []operation {
	var ops []operation
	if n.onWire() {
		ops = append(ops, wirePlan(n, e, sb)...)
	} else {
		ops = append(ops, cablePlan(n, e, sb)...)
	}
	if e.Address.IsValid() {
		ops = append(ops, addAddress{Sandbox: sb.Name, Path: sb.Path, Link: e.Interface, Address: e.Address, Reason: "the container's address"})
	}
	if e.Address6.IsValid() {
		ops = append(ops,
			sandboxSysctl{Sandbox: sb, Key: "net/ipv6/conf/" + e.Interface + "/disable_ipv6", Value: "0", Reason: "this network has IPv6"},
			addAddress{Sandbox: sb.Name, Path: sb.Path, Link: e.Interface, Address: e.Address6, Reason: "the container's IPv6 address"})
	}
	ops = append(ops, extrasPlan(e, sb)...)
	reason := "the cable is plugged in at both ends"
	if n.onWire() {
		reason = "a link that is down carries nothing"
	}
	ops = append(ops, setUp{Sandbox: sb.Name, Path: sb.Path, Link: e.Interface, Reason: reason})
	routes := routesFor(e, sb)
	if len(e.displaces) > 0 {
		routes = replaced(routes)
	}
	ops = append(ops, routes...)
	return append(ops, shapePlan(e, sb)...)
}

// cablePlan is the cable from a bridge into the container.
func cablePlan(n *Network, e *Endpoint, sb *Sandbox) []operation {
	ops := []operation{addVeth{
		Host: e.HostLink, Bridge: e.Bridge, MTU: e.MTU,
		Sandbox: sb.Name, Path: sb.Path, Inside: e.Interface, MAC: e.MAC,
	}}
	ops = append(append(ops, bridgeLarge(n)...), cableLarge(n, e, sb)...)
	on, _ := portFlags(n, e)
	for _, flag := range on {
		ops = append(ops, flag)
	}
	return ops
}

// routesFor are the default routes through an endpoint.
func routesFor(e *Endpoint, sb *Sandbox) (ops []operation) {
	if e.DefaultRoute {
		ops = append(ops, routeFor(e, sb, e.Gateway, false)...)
	}
	if e.DefaultRoute6 {
		ops = append(ops, routeFor(e, sb, e.Gateway6, true)...)
	}
	return ops
}

func routeFor(e *Endpoint, sb *Sandbox, gateway netip.Addr, v6 bool) []operation {
	switch {
	case gateway.IsValid():
		return []operation{addRoute{Sandbox: sb.Name, Path: sb.Path, Link: e.Interface, Gateway: gateway}}
	case e.Routed:
		return []operation{directRoute{Sandbox: sb.Name, Path: sb.Path, Link: e.Interface, V6: v6}}
	}
	return nil
}

// run does a list of operations, one after the other, until one fails.
func (m *Manager) run(ctx context.Context, x executor, ops ...operation) error {
	for _, op := range ops {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := plan.Do(m.watch, op, func() error { return x.do(ctx, op) }); err != nil {
			return err
		}
	}
	return nil
}
