package network

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/vishvananda/netlink"
)

// inside looks at the container's end of its cable: addresses, routes, whether it is up, and what slows it down. Only a container with the
// capability NET_ADMIN can have changed them itself; it may have put another default route in place of ours (a VPN), which stays.
func (s *syncer) inside(n *Network, e *Endpoint, sb *Sandbox) error {
	l, h, err := s.k.link(sb.Path, e.Interface)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is called otherwise by now, or its parent has gone and comes back when the container starts anew
	}
	if err != nil {
		return err
	}
	there, err := s.look(sb.Path, l, e.MTU)
	if err != nil {
		return err
	}
	for _, op := range endpointPlan(n, e, sb) {
		var missing []operation
		switch o := op.(type) {
		case addRoute:
			missing, err = defaultRouteLacks(h, op, o.Gateway.Is6())
		case directRoute:
			missing, err = defaultRouteLacks(h, op, o.V6)
		default:
			missing, err = there.lacks(op)
		}
		if err == nil {
			err = s.do(missing...)
		}
		if err != nil {
			return err
		}
	}
	return s.shape(e, sb)
}

func defaultRouteLacks(h *netlink.Handle, op operation, v6 bool) ([]operation, error) {
	if there, err := hasDefaultRoute(h, v6); err != nil || there {
		return nil, err
	}
	return []operation{op}, nil
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
