package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What a link is given when it is made, given again.

// setMTU changes the largest packet that a link takes, in bytes.
type setMTU struct {
	Sandbox, Path, Link string
	MTU                 int
	Reason              string
}

func (o setMTU) Command() string {
	return fmt.Sprintf("%slink set %s mtu %d", in(o.Sandbox), o.Link, o.MTU)
}
func (o setMTU) Why() string { return o.Reason }

func (o setMTU) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link(o.Path, o.Link)
	if err != nil {
		return err
	}
	return wrap(h.LinkSetMTU(l, o.MTU), "set the MTU of %s to %d", o.Link, o.MTU)
}

// setMAC changes a link's MAC address.
type setMAC struct {
	Sandbox, Path, Link string
	MAC                 HardwareAddr
}

func (o setMAC) Command() string {
	return fmt.Sprintf("%slink set %s address %s", in(o.Sandbox), o.Link, o.MAC)
}
func (o setMAC) Why() string { return "the neighbours remember this MAC address" }

func (o setMAC) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link(o.Path, o.Link)
	if err != nil {
		return err
	}
	return wrap(h.LinkSetHardwareAddr(l, net.HardwareAddr(o.MAC)), "give %s the MAC address %s", o.Link, o.MAC)
}

// connectedRoute is the route to the neighbours on a link, which the kernel makes together with an address, and which `ip route flush`
// takes away without it.
type connectedRoute struct {
	Sandbox, Path, Link string
	Address             netip.Prefix
}

func (o connectedRoute) Command() string {
	if o.Address.Addr().Is6() {
		return fmt.Sprintf("%s-6 route add %s dev %s proto kernel metric %d", in(o.Sandbox), o.Address.Masked(), o.Link, connectedMetric6)
	}
	return fmt.Sprintf("%sroute add %s dev %s proto kernel scope link src %s", in(o.Sandbox), o.Address.Masked(), o.Link, o.Address.Addr())
}
func (o connectedRoute) Why() string { return "the neighbours are on this link" }

// connectedMetric6 is the kernel's own: IP6_RT_PRIO_ADDRCONF in include/uapi/linux/ipv6_route.h.
const connectedMetric6 = 256

func (o connectedRoute) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link(o.Path, o.Link)
	if err != nil {
		return err
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(o.Address.Masked()), Protocol: unix.RTPROT_KERNEL}
	if o.Address.Addr().Is6() {
		r.Priority = connectedMetric6
	} else {
		r.Scope, r.Src = netlink.SCOPE_LINK, o.Address.Addr().AsSlice()
	}
	if err = h.RouteAdd(r); errors.Is(err, unix.EEXIST) {
		return nil // it came with another address
	}
	return wrap(err, "add the route to %s by %s", o.Address.Masked(), o.Link)
}
