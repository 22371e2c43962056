package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// books are a network's bitmaps, open and locked: one for each family that the network has.
type books struct{ v4, v6 *bitmap }

func (m *Manager) openBooks(n *Network) (books, error) {
	var b books
	var err error
	if n.EnableIPv4() {
		b.v4, err = openBitmap(m.bitmapPath(n.ID, n.Subnet), n.Subnet, func() ([]netip.Addr, error) { return m.usedAddresses(n, false) })
		if err != nil {
			return books{}, err
		}
	}
	if n.EnableIPv6 {
		b.v6, err = openBitmap(m.bitmapPath(n.ID, n.Subnet6), n.Subnet6, func() ([]netip.Addr, error) { return m.usedAddresses(n, true) })
		if err != nil {
			return books{}, errors.Join(err, books{v4: b.v4}.close())
		}
	}
	return b, nil
}

func (b books) close() (err error) {
	for _, book := range []*bitmap{b.v4, b.v6} {
		if book != nil {
			err = errors.Join(err, book.close())
		}
	}
	return err
}

// take gives the endpoint its addresses: those that are asked for, or the next free ones.
func (b books) take(m *Manager, n *Network, e *Endpoint, o EndpointOptions) (err error) {
	if b.v4 != nil {
		if e.Address, err = b.takeOne(m, n, b.v4, n.pool(), o.IP); err != nil {
			return err
		}
		if !n.Internal && !n.routed() {
			e.Gateway = n.wayOut()
		}
	} else if o.IP != "" {
		return fmt.Errorf("address %s: the network has no IPv4", o.IP)
	}
	if b.v6 == nil {
		if o.IP6 != "" {
			err = fmt.Errorf("address %s: the network has no IPv6", o.IP6)
		}
	} else {
		within := n.Subnet6
		if n.IPRange6.IsValid() {
			within = n.IPRange6
		}
		e.Address6, err = b.takeOne(m, n, b.v6, within, o.IP6)
		if !n.Internal && !n.routed() {
			e.Gateway6 = n.Gateway6
		}
	}
	if err != nil {
		err = errors.Join(err, b.giveBack(e))
	}
	return err
}

func (b books) takeOne(m *Manager, n *Network, book *bitmap, within netip.Prefix, asked string) (netip.Prefix, error) {
	if asked != "" {
		return b.takeCertain(m, n, book, asked)
	}
	a, err := book.take(within)
	if errors.Is(err, errFull) {
		// Perhaps a kill has left marks without an owner: count anew before giving up.
		used, e := m.usedAddresses(n, book.subnet.Addr().Is6())
		if e == nil {
			e = book.rebuild(used)
		}
		if e != nil {
			return netip.Prefix{}, e
		}
		if a, err = book.take(within); errors.Is(err, errFull) {
			err = fmt.Errorf("%w in %s of network %s: stop a container, or make a larger network", err, within, n.Name)
		}
	}
	return netip.PrefixFrom(a, book.subnet.Bits()), err
}

func (b books) takeCertain(m *Manager, n *Network, book *bitmap, asked string) (netip.Prefix, error) {
	a, err := netip.ParseAddr(asked)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not an address", asked)
	}
	if !book.subnet.Contains(a) {
		return netip.Prefix{}, fmt.Errorf("address %s is not in the network's subnet %s", a, book.subnet)
	}
	used, err := m.usedAddresses(n, a.Is6())
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, u := range append(book.reserved(), used...) {
		if u == a {
			return netip.Prefix{}, exists("address %s is in use by %s", a, m.addressOwner(n, a))
		}
	}
	// The records say that it is free. A mark without an owner is what a kill has left.
	if _, err := book.claim(a); err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, book.subnet.Bits()), nil
}

// addressOwner says what an address is taken for.
func (m *Manager) addressOwner(n *Network, a netip.Addr) string {
	if own := n.keeps(a); own != "" {
		return own
	}
	eps, err := m.Endpoints(n.ID)
	if err == nil {
		for _, e := range eps {
			if e.Address.Addr() == a || e.Address6.Addr() == a {
				return "container " + e.ContainerName
			}
		}
	}
	return "the network itself"
}

// keeps says what an address is for that no container of the network can have; "" if it is for containers.
func (n *Network) keeps(a netip.Addr) string {
	if a == n.Gateway || a == n.Gateway6 {
		return "the gateway"
	}
	for name, aux := range n.AuxAddresses {
		if aux == a {
			return "the auxiliary address " + name
		}
	}
	subnet := n.Subnet
	if a.Is6() {
		subnet = n.Subnet6
	}
	if book := (bitmap{subnet: subnet, size: bitmapSize(subnet)}); slices.Contains(book.reserved(), a) {
		return "the network itself"
	}
	return ""
}

// giveBack returns an endpoint's addresses.
func (b books) giveBack(e *Endpoint) error {
	var errs []error
	if b.v4 != nil && e.Address.IsValid() {
		errs = append(errs, b.v4.release(e.Address.Addr()))
	}
	if b.v6 != nil && e.Address6.IsValid() {
		errs = append(errs, b.v6.release(e.Address6.Addr()))
	}
	return errors.Join(errs...)
}

// openBooksOf are the books of an endpoint's network; there are none when the network is gone.
func (m *Manager) openBooksOf(e *Endpoint) (books, error) {
	n, err := m.loadNetwork(e.NetworkID)
	if err != nil {
		return books{}, ignoreAbsent(err)
	}
	return m.openBooks(n)
}

// usedAddresses are those that the records speak of: the gateway, what is kept back, and the endpoints'.
func (m *Manager) usedAddresses(n *Network, v6 bool) ([]netip.Addr, error) {
	all := []netip.Addr{n.Gateway, n.Gateway6}
	for _, former := range n.Former {
		all = append(all, former.Addr())
	}
	for _, a := range n.AuxAddresses {
		all = append(all, a)
	}
	eps, err := m.Endpoints(n.ID)
	for _, e := range eps {
		all = append(all, e.Address.Addr(), e.Address6.Addr())
	}
	var used []netip.Addr
	for _, a := range all {
		if a.IsValid() && a.Is6() == v6 {
			used = append(used, a)
		}
	}
	return used, err
}
