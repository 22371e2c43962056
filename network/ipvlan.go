package network

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// An ipvlan link shares its parent's MAC address: the kernel hands each packet that comes in to the container whose IP address
// it is for. In mode l2 the containers are on the wire and ask for their neighbours' MAC addresses; in l3 and l3s they only
// route, so there is no gateway to name, no broadcast, and the routers of the wire have to be told where their subnet is.
// See Documentation/networking/ipvlan.rst of the kernel.

func ipvlanModes() map[string]netlink.IPVlanMode {
	return map[string]netlink.IPVlanMode{"l2": netlink.IPVLAN_MODE_L2, "l3": netlink.IPVLAN_MODE_L3, "l3s": netlink.IPVLAN_MODE_L3S}
}

// ipvlanFlags are to ipvlan what modes are to macvlan.
func ipvlanFlags() map[string]netlink.IPVlanFlag {
	return map[string]netlink.IPVlanFlag{"bridge": netlink.IPVLAN_FLAG_BRIDGE, "private": netlink.IPVLAN_FLAG_PRIVATE, "vepa": netlink.IPVLAN_FLAG_VEPA}
}

func ipvlanMode(n *Network) error {
	n.Mode = n.Options[OptIPvlanMode]
	if n.Mode == "" {
		n.Mode = "l2"
	}
	if _, ok := ipvlanModes()[n.Mode]; !ok {
		return fmt.Errorf("option %s=%s: want l2, l3 or l3s", OptIPvlanMode, n.Mode)
	}
	flag := n.Options[OptIPvlanFlag]
	if _, ok := ipvlanFlags()[flag]; !ok && flag != "" {
		return fmt.Errorf("option %s=%s: want bridge, private or vepa", OptIPvlanFlag, flag)
	}
	return nil
}

// routed says that the containers need no gateway: everything is sent into the link, and the host's routes decide.
func (n *Network) routed() bool { return n.Driver == DriverIPvlan && n.Mode != "l2" }

// addIPvlan makes a container's link.
type addIPvlan struct {
	Parent, Mode, Flag  string
	Sandbox, Path, Name string
}

func (o addIPvlan) Command() string {
	return fmt.Sprintf("ip link add link %s name %s netns %s type ipvlan mode %s %s", o.Parent, o.Name, o.Sandbox, o.Mode, o.Flag)
}
func (o addIPvlan) Why() string { return "one more user of the MAC address of " + o.Parent }

func (o addIPvlan) apply(_ context.Context, k *kernel) error {
	return addOnWire(k, o.Parent, o.Path, o.Name, func(attrs netlink.LinkAttrs) netlink.Link {
		return &netlink.IPVlan{LinkAttrs: attrs, Mode: ipvlanModes()[o.Mode], Flag: ipvlanFlags()[o.Flag]}
	})
}

// wirePlan makes an endpoint's link on a macvlan or ipvlan network.
func wirePlan(n *Network, e *Endpoint, sb *Sandbox) []operation {
	return []operation{linkOnWire(n, e, sb), renameInner{Sandbox: sb.Name, Path: sb.Path, From: birthName(e), To: e.Interface}}
}

func linkOnWire(n *Network, e *Endpoint, sb *Sandbox) operation {
	if n.Driver == DriverMacvlan {
		return addMacvlan{Parent: n.Parent, Mode: n.Mode, MTU: e.MTU, Sandbox: sb.Name, Path: sb.Path, Name: birthName(e), MAC: e.MAC}
	}
	flag := n.Options[OptIPvlanFlag]
	if flag == "" {
		flag = "bridge"
	}
	return addIPvlan{Parent: n.Parent, Mode: n.Mode, Flag: flag, Sandbox: sb.Name, Path: sb.Path, Name: birthName(e)}
}

// directRoute is a default route into a link, without a gateway.
type directRoute struct {
	Sandbox, Path, Link string
	V6, Replace         bool
}

func (o directRoute) Command() string {
	family := ""
	if o.V6 {
		family = "-6 "
	}
	return fmt.Sprintf("%s%sroute %s default dev %s", in(o.Sandbox), family, routeVerb(o.Replace), o.Link)
}
func (o directRoute) Why() string { return "everything goes into the link: the host routes it on" }

func (o directRoute) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link(o.Path, o.Link)
	if err != nil {
		return err
	}
	everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if o.V6 {
		everything = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	add := h.RouteAdd
	if o.Replace {
		add = h.RouteReplace
	}
	return wrap(add(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(everything), Scope: netlink.SCOPE_LINK}), "add the default route into %s", o.Link)
}
