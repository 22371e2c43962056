package network

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/vishvananda/netlink"
)

// inside looks at the container's end of its cable: addresses, whether it is up, and the default route. Only a container with the
// capability NET_ADMIN can have changed them itself; it may have put another default route in place of ours (a VPN), which stays.
func (s *syncer) inside(n *Network, e *Endpoint, sb *Sandbox) error {
	l, h, err := s.k.link(sb.Path, e.Interface)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is called otherwise by now, or its parent has gone and comes back when the container starts anew
	}
	if err != nil {
		return err
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list the addresses of %s: %w", e.Interface, err)
	}
	for _, op := range endpointPlan(n, e, sb) {
		there := linkHas(l, addrs, op)
		switch op := op.(type) {
		case addRoute:
			there, err = hasDefaultRoute(h, op.Gateway.Is6())
		case directRoute:
			there, err = hasDefaultRoute(h, op.V6)
		}
		if err == nil && !there {
			err = s.do(op)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func hasDefaultRoute(h *netlink.Handle, v6 bool) (bool, error) {
	family := netlink.FAMILY_V4
	if v6 {
		family = netlink.FAMILY_V6
	}
	routes, err := dump(func() ([]netlink.Route, error) { return h.RouteList(nil, family) })
	if err != nil {
		return false, fmt.Errorf("list the routes of a container: %w", err)
	}
	return slices.ContainsFunc(routes, func(r netlink.Route) bool {
		if r.Dst == nil {
			return true
		}
		ones, _ := r.Dst.Mask.Size()
		return ones == 0
	}), nil
}
