package network

import (
	"context"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
)

// A macvlan link is a second network card on the same wire: it has a MAC address of its own, and the kernel hands each
// frame that comes in to the card that it is for.
//
//	the wire ── eth0 (the host's) ─┬─ eth0 of one container, 02:42:…
//	                               └─ eth0 of another, 02:42:…
//
// Frames of the parent's own never pass by the others, so the host and its containers do not reach each other by this way.
// A switch port or a Wi-Fi access point that allows one MAC address only is no place for macvlan: ipvlan is for that.

// macvlanModes are how the containers of one parent reach each other: ip-link(8), "MACVLAN and MACVTAP Type Support".
func macvlanModes() map[string]netlink.MacvlanMode {
	return map[string]netlink.MacvlanMode{
		"bridge":   netlink.MACVLAN_MODE_BRIDGE,   // directly
		"private":  netlink.MACVLAN_MODE_PRIVATE,  // not at all
		"vepa":     netlink.MACVLAN_MODE_VEPA,     // by the switch at the other end of the wire
		"passthru": netlink.MACVLAN_MODE_PASSTHRU, // there is only one, which has the parent to itself
	}
}

func macvlanMode(n *Network) error {
	n.Mode = n.Options[OptMacvlanMode]
	if n.Mode == "" {
		n.Mode = "bridge"
	}
	if _, ok := macvlanModes()[n.Mode]; !ok {
		return fmt.Errorf("option %s=%s: want bridge, private, vepa or passthru", OptMacvlanMode, n.Mode)
	}
	return nil
}

// addMacvlan makes a container's card.
type addMacvlan struct {
	Parent, Mode        string
	MTU                 int
	Sandbox, Path, Name string
	MAC                 HardwareAddr
}

func (o addMacvlan) Command() string {
	return fmt.Sprintf("ip link add link %s name %s netns %s address %s mtu %d type macvlan mode %s", o.Parent, o.Name, o.Sandbox, o.MAC, o.MTU, o.Mode)
}
func (o addMacvlan) Why() string { return "one more network card on the wire of " + o.Parent }

func (o addMacvlan) apply(_ context.Context, k *kernel) error {
	return addOnWire(k, o.Parent, o.Path, o.Name, func(attrs netlink.LinkAttrs) netlink.Link {
		attrs.HardwareAddr, attrs.MTU = net.HardwareAddr(o.MAC), o.MTU
		return &netlink.Macvlan{LinkAttrs: attrs, Mode: macvlanModes()[o.Mode]}
	})
}
