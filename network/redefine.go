package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// A changed configuration of the default network. Nobody who runs loses anything: what can change under a running container
// (MTU, default gateway) changes at once; a container on a former subnet stays there until it starts anew, and for as long
// the bridge keeps its address in that subnet, and the rules their lines for it.

// notYet stands behind the settings of a network that is being changed: whoever finds it there goes on with it.
const notYet = " (not yet in effect)"

// redefineDefault puts a changed configuration into effect. The lock on all networks is held.
func (m *Manager) redefineDefault(old *Network) (*Network, error) {
	b, err := m.openBooks(old) // nobody can join while this is open
	if err != nil {
		return nil, err
	}
	defer b.close()
	eps, err := m.Endpoints(old.ID)
	if err != nil {
		return old, err
	}
	if len(eps) > 0 {
		return m.redefineUnder(old, eps, b.v4)
	}
	if err := m.remove(context.Background(), old); err != nil {
		return nil, err
	}
	n, err := m.defineDefault()
	if err != nil { // what was good before is better than nothing
		return nil, errors.Join(err, state.ReplaceJSON(m.networkPath(old.ID), old, state.Durable))
	}
	return n, nil
}

// redefineUnder is redefineDefault while containers are on the network.
func (m *Manager) redefineUnder(old *Network, eps []*Endpoint, book *bitmap) (*Network, error) {
	n, err := m.revised(old, eps)
	if err != nil {
		return nil, err
	}
	underWay := *n
	underWay.Settings += notYet
	if err := state.ReplaceJSON(m.networkPath(n.ID), &underWay, state.Durable); err != nil {
		return nil, err
	}
	if n.Subnet == old.Subnet { // of another subnet, the book is made anew by who opens it next
		used, err := m.usedAddresses(n, false)
		cursor := book.cursor
		if err := errors.Join(err, book.rebuild(used), book.moveCursor(cursor)); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(m.livePath(n.ID)); err == nil {
		x := m.executor()
		defer x.close()
		if err := m.changeUnder(context.Background(), x, n, eps); err != nil {
			return nil, fmt.Errorf("change network %s as it is configured now: %w", n.Name, err)
		}
	}
	if m.warn != nil {
		m.warn(changeNotice(n, eps))
	}
	return n, state.ReplaceJSON(m.networkPath(n.ID), n, state.Durable)
}

// revised is the default network as it is configured now. Where neither names a subnet, the one that it has is kept.
func (m *Manager) revised(old *Network, eps []*Endpoint) (*Network, error) {
	o, settings := m.config.defaultOptions()
	if o.Subnet == "" && bipOf(old.Settings) == "" {
		o.Subnet, o.Gateway = old.Subnet.String(), old.Gateway.String()
	}
	candidates, err := m.config.pool()
	if err != nil {
		return nil, err
	}
	k := &kernel{root: m.root}
	defer k.close()
	n, err := m.define(k, o, candidates, old)
	if err != nil {
		return nil, fmt.Errorf("change the default network as it is configured now: %w", err)
	}
	n.ID, n.Settings, n.Created, n.MAC = old.ID, settings, old.Created, old.mac()
	n.Former = append(slices.Clone(old.Former), netip.PrefixFrom(old.Gateway, old.Subnet.Bits()))
	n.Former = n.formerInUse(eps)
	return n, nil
}

// bipOf is the bip within a network's settings.
func bipOf(settings string) string {
	bip, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(settings, notYet), "bip="), " ")
	return bip
}

// changeUnder does to the bridge, the rules and the cables what the new record asks for. Each step is "make it so".
func (m *Manager) changeUnder(ctx context.Context, x executor, n *Network, eps []*Endpoint) error {
	if err := m.ensure(ctx, x, n); err != nil {
		return err
	}
	errs := []error{m.run(ctx, x, setMTU{Link: n.Bridge, MTU: n.MTU, Reason: "the configuration says so now"})}
	for _, e := range eps {
		if err := m.changeEndpoint(ctx, x, n, e); err != nil {
			errs = append(errs, fmt.Errorf("container %s: %w", e.ContainerName, err))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) changeEndpoint(ctx context.Context, x executor, n *Network, e *Endpoint) error {
	sb := m.sandbox(e.Sandbox)
	if _, err := os.Stat(sb.Path); errors.Is(err, fs.ErrNotExist) {
		return nil // it is just ending
	}
	var ops []operation
	if e.Shape.check(n.MTU) == nil {
		e.MTU = n.MTU
		ops = append(ops, setMTU{Link: e.HostLink, MTU: n.MTU, Reason: "the configuration says so now"}, setMTU{Sandbox: sb.Name, Path: sb.Path, Link: e.Interface, MTU: n.MTU, Reason: "the configuration says so now"})
	}
	// A gateway that was the bridge's own address stays: it is one of the former.
	if n.onCurrentSubnet(e) && e.Gateway != n.wayOut() && !n.isFormer(e.Gateway) {
		e.Gateway = n.wayOut()
		if e.DefaultRoute {
			ops = append(ops, replaced(routeFor(e, sb, e.Gateway, false))...)
		}
	}
	if err := m.saveEndpoint(e); err != nil {
		return err
	}
	return m.run(ctx, x, ops...)
}

// changeNotice says what has changed and for whom it has not.
func changeNotice(n *Network, eps []*Endpoint) string {
	text := fmt.Sprintf("the configuration of network %s has changed: its MTU is %d, new containers get addresses in %s", n.Name, n.MTU, n.pool())
	stay := slices.DeleteFunc(slices.Clone(eps), func(e *Endpoint) bool { return !n.onFormer(e) })
	if len(stay) > 0 {
		text += fmt.Sprintf("; %s keep what they have until they start anew", endpointNames(stay))
	}
	return text
}

// forgetFormer takes away what is left of subnets that no container is on any more. The lock on all networks is held.
func (m *Manager) forgetFormer(n *Network) error {
	eps, err := m.Endpoints(n.ID)
	if err != nil {
		return err
	}
	old, left := n.Former, n.formerInUse(eps)
	if len(left) == len(old) {
		return nil
	}
	n.Former = left
	if _, err := os.Stat(m.livePath(n.ID)); err == nil {
		ctx, x := context.Background(), m.executor()
		defer x.close()
		for _, p := range old {
			if !slices.Contains(left, p) {
				if err := m.run(ctx, x, deleteAddress{Link: n.Bridge, Address: p}); err != nil {
					return err
				}
			}
		}
		// It also brings back what the kernel has taken along: the first address of a subnet takes the others of it.
		if err := m.ensure(ctx, x, n); err != nil {
			return err
		}
	}
	return state.ReplaceJSON(m.networkPath(n.ID), n, state.Durable)
}

// formerInUse are those of the former subnets, and gateways, that a container still has.
func (n *Network) formerInUse(eps []*Endpoint) (used []netip.Prefix) {
	for _, p := range n.Former {
		if p != netip.PrefixFrom(n.Gateway, n.Subnet.Bits()) && !slices.Contains(used, p) && slices.ContainsFunc(eps, func(e *Endpoint) bool { return n.isOn(e, p) }) {
			used = append(used, p)
		}
	}
	return used
}

// isOn says whether a container needs the bridge to have a former address.
func (n *Network) isOn(e *Endpoint, former netip.Prefix) bool {
	return e.Gateway == former.Addr() || !n.onCurrentSubnet(e) && e.Address.Masked() == former.Masked()
}

func (n *Network) onFormer(e *Endpoint) bool {
	return slices.ContainsFunc(n.Former, func(p netip.Prefix) bool { return n.isOn(e, p) })
}

func (n *Network) isFormer(gateway netip.Addr) bool {
	return slices.ContainsFunc(n.Former, func(p netip.Prefix) bool { return p.Addr() == gateway })
}

func (n *Network) onCurrentSubnet(e *Endpoint) bool { return e.Address.Masked() == n.Subnet }

// subnets are the network's IPv4 subnets, the present one first.
func (n *Network) subnets() []netip.Prefix {
	all := []netip.Prefix{n.Subnet}
	for _, p := range n.Former {
		if p = p.Masked(); !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// pool is where addresses are handed out from.
func (n *Network) pool() netip.Prefix {
	if n.IPRange.IsValid() {
		return n.IPRange
	}
	return n.Subnet
}

// wayOut is where the containers' default route leads.
func (n *Network) wayOut() netip.Addr {
	if via, ok := n.AuxAddresses[gatewayAux]; ok {
		return via
	}
	return n.Gateway
}

// mac is the bridge's MAC address. It stays when the gateway changes: the neighbours remember it.
func (n *Network) mac() HardwareAddr {
	if n.MAC != nil {
		return n.MAC
	}
	return macFor(n.Gateway, n.Gateway6)
}

// deleteAddress takes an address from a link. Absent is success.
type deleteAddress struct {
	Link    string
	Address netip.Prefix
}

func (o deleteAddress) Command() string {
	return fmt.Sprintf("ip addr del %s dev %s", o.Address, o.Link)
}
func (o deleteAddress) Why() string { return "no container is on that subnet any more" }

func (o deleteAddress) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link("", o.Link)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = h.AddrDel(l, &netlink.Addr{IPNet: ipNet(o.Address)})
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil
	}
	return wrap(err, "take the address %s from %s", o.Address, o.Link)
}
