package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// addBridge makes a bridge: a switch inside the kernel. One that is there already is left as it is.
type addBridge struct {
	Name string
	// MAC is set because a bridge without one of its own takes the lowest of its ports', and changes it when a
	// container comes or goes: the others' neighbour tables would be wrong each time.
	MAC HardwareAddr
	MTU int
}

func (o addBridge) Command() string {
	return fmt.Sprintf("ip link add %s address %s mtu %d type bridge", o.Name, o.MAC, o.MTU)
}
func (o addBridge) Why() string {
	return "the switch that the containers of this network are plugged into"
}

func (o addBridge) apply(_ context.Context, k *kernel) error {
	h, err := k.at("")
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = o.Name, o.MTU, net.HardwareAddr(o.MAC)
	err = h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	if !errors.Is(err, unix.EEXIST) {
		return wrap(err, "create bridge %s", o.Name)
	}
	l, err := linkByName(h, o.Name)
	if err == nil && l.Type() != "bridge" {
		err = fmt.Errorf("an interface called %s exists and is a %s, not a bridge", o.Name, l.Type())
	}
	return err
}

// deleteLink removes a link; of a veth pair, both ends. Absent is success. The kernel waits for everybody who may still be
// looking at the link (RCU), which takes some 15 ms: not for anybody's critical path.
type deleteLink struct{ Name string }

func (o deleteLink) Command() string { return "ip link del " + o.Name }
func (o deleteLink) Why() string     { return "take it away; of a cable, both ends" }

func (o deleteLink) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link("", o.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return plan.ErrNothing
	}
	if err != nil {
		return err
	}
	err = h.LinkDel(l)
	if errors.Is(err, unix.ENODEV) {
		return plan.ErrNothing
	}
	return wrap(err, "delete link %s", o.Name)
}

// addAddress gives a link an address. The same address twice is success.
type addAddress struct {
	Sandbox, Path, Link string
	Address             netip.Prefix
	Reason              string
}

func (o addAddress) Command() string {
	if o.Address.Addr().Is6() {
		return fmt.Sprintf("%saddr add %s dev %s nodad", in(o.Sandbox), o.Address, o.Link)
	}
	return fmt.Sprintf("%saddr add %s broadcast + dev %s", in(o.Sandbox), o.Address, o.Link)
}
func (o addAddress) Why() string { return o.Reason }

func (o addAddress) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link(o.Path, o.Link)
	if err != nil {
		return err
	}
	a := &netlink.Addr{IPNet: ipNet(o.Address)}
	if o.Address.Addr().Is6() {
		// The address comes from our own books: asking the neighbours whether it is free (DAD) would only make it
		// unusable for a second.
		a.Flags = unix.IFA_F_NODAD
	}
	err = whileDying(func() error { return h.AddrAdd(l, a) })
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return wrap(err, "give %s the address %s", o.Link, o.Address)
}

// setUp brings a link up.
type setUp struct{ Sandbox, Path, Link, Reason string }

func (o setUp) Command() string { return in(o.Sandbox) + "link set " + o.Link + " up" }
func (o setUp) Why() string     { return o.Reason }

func (o setUp) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link(o.Path, o.Link)
	if err != nil {
		return err
	}
	return wrap(whileDying(func() error { return h.LinkSetUp(l) }), "bring up %s", o.Link)
}

// addRoute is a container's default route.
type addRoute struct {
	Sandbox, Path, Link string
	Gateway             netip.Addr
	Replace             bool // in place of one that is there
}

func (o addRoute) Command() string {
	family := ""
	if o.Gateway.Is6() {
		family = "-6 "
	}
	return fmt.Sprintf("%s%sroute %s default via %s dev %s", in(o.Sandbox), family, routeVerb(o.Replace), o.Gateway, o.Link)
}
func (o addRoute) Why() string { return "everything that is not on this network goes to the gateway" }

func (o addRoute) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link(o.Path, o.Link)
	if err != nil {
		return err
	}
	add := h.RouteAdd
	if o.Replace {
		add = h.RouteReplace
	}
	err = add(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: o.Gateway.AsSlice()})
	return wrap(err, "add the default route via %s", o.Gateway)
}

// wrap says what was attempted when it failed.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
