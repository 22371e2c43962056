package network

import (
	"context"
	"fmt"
	"strconv"

	"github.com/vishvananda/netlink"
)

// Large packets ("BIG TCP"): a stream goes through the kernel in packets that no wire could carry, and is cut into frames at the
// last moment, by the network card or in its place. Every step on the way (routing, rules, bridge, cable) is paid for by the
// packet, and between two containers the last moment never comes. Linux makes them up to 64 KB, as long as the length field of
// IP; from 6.3 on each link can say that it takes longer ones. Then the field holds 0, and the kernel knows better.
//
// It has to be asked for: where a packet leaves by a link with a smaller limit it is cut by the processor, and programs that
// look at packets (an old tcpdump) show a length of 0.
//
// A large packet of IPv6 says its length in a header more, of 8 bytes, and who passes it on counts those into every piece
// (skb_gso_network_seglen in ip6_forward): full-sized pieces are then 8 bytes too big for a link of the same MTU, and it is dropped.
// So IPv6 has them only on internal networks, where nothing is passed on.

// OptGSO is the largest packet that a bridge network's links take, in bytes: `ip -d link` calls it gso_max_size and gso_ipv4_max_size.
const OptGSO = "mydocker.bridge.gso_max_size"

// The kernel's default, and the most that it allows: GSO_LEGACY_MAX_SIZE and GSO_MAX_SIZE of include/linux/netdevice.h.
const (
	usualGSO   = 65536
	largestGSO = 8 * 65535
)

// checkGSO finds a size that cannot be, a network that has no links of its own, and a kernel that would not heed it: one that
// does not know the attribute ignores it.
func checkGSO(k *kernel, n *Network) error {
	v, ok := n.Options[OptGSO]
	if !ok {
		return nil
	}
	size, err := strconv.ParseUint(v, 10, 32)
	if err != nil || size < usualGSO || size > largestGSO {
		return fmt.Errorf("option %s=%s: want a number of bytes from %d, the kernel's own, to %d, the most that it knows", OptGSO, v, usualGSO, largestGSO)
	}
	if !n.bridged() {
		return fmt.Errorf("option %s: it is for bridge networks; on a %s network the links are as %s is", OptGSO, n.Driver, n.Parent)
	}
	lo, _, err := k.link("", "lo")
	if err != nil {
		return err
	}
	return knowsGSO(lo.Attrs())
}

// knowsGSO refuses a kernel that does not say the size of a link: it would say it of every one.
func knowsGSO(lo *netlink.LinkAttrs) error {
	if lo.GSOIPv4MaxSize == 0 {
		return fmt.Errorf("option %s: this kernel cannot make larger packets of IPv4: Linux 6.3 or later can", OptGSO)
	}
	return nil
}

// gso is the size of the network's largest packets, and 0 where it is the kernel's own.
func (n *Network) gso() uint32 {
	size, err := strconv.ParseUint(n.Options[OptGSO], 10, 32)
	if err != nil || size == usualGSO {
		return 0
	}
	return uint32(size)
}

// bridgeLarge and cableLarge are what it takes at the bridge, and at both ends of a cable. A bridge can have it only when it has
// a port: what it can send is what its ports can (br_set_gso_limits in net/bridge/br_if.c).
func bridgeLarge(n *Network) []operation {
	if n.gso() == 0 {
		return nil
	}
	return []operation{largePackets{Link: n.Bridge, Bytes: n.gso(), V6: n.Internal, Reason: "the host sends into the network"}}
}

func cableLarge(n *Network, e *Endpoint, sb *Sandbox) []operation {
	if n.gso() == 0 {
		return nil
	}
	return []operation{
		largePackets{Link: e.HostLink, Bytes: n.gso(), V6: n.Internal, Reason: "what comes to the container passes here"},
		largePackets{Sandbox: sb.Name, Path: sb.Path, Link: e.Interface, Bytes: n.gso(), V6: n.Internal, Reason: "what the container sends passes here"},
	}
}

// largePackets sets how large a packet may be when a link is given it (gso) and when a link puts it together (gro). A veth puts
// nothing together unless somebody switches that on (ethtool -K … gro on).
type largePackets struct {
	Sandbox, Path, Link string
	Bytes               uint32
	V6                  bool // IPv6 too
	Reason              string
}

// Command needs iproute2 6.3, as old as the kernel's part. What has no "ipv4" in its name is IPv6's.
func (o largePackets) Command() string {
	c := fmt.Sprintf("%slink set dev %s", in(o.Sandbox), o.Link)
	if o.V6 {
		c += fmt.Sprintf(" gso_max_size %d gro_max_size %[1]d", o.Bytes)
	}
	return c + fmt.Sprintf(" gso_ipv4_max_size %d gro_ipv4_max_size %[1]d", o.Bytes)
}
func (o largePackets) Why() string { return "packets of more than 64 KB: " + o.Reason }

func (o largePackets) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link(o.Path, o.Link)
	if err != nil {
		return err
	}
	if o.done(l.Attrs()) { // a bridge, by the container before this one
		return nil
	}
	set := []func(netlink.Link, int) error{h.LinkSetGSOIPv4MaxSize, h.LinkSetGROIPv4MaxSize}
	if o.V6 {
		set = append(set, h.LinkSetGSOMaxSize, h.LinkSetGROMaxSize)
	}
	size := int(o.possible(l.Attrs()))
	for _, f := range set {
		if err := f(l, size); err != nil {
			return fmt.Errorf("let %s take packets of %d bytes: %w", o.Link, size, err)
		}
	}
	return nil
}

// possible is the size that the link can have: somebody may have plugged a network card into the bridge.
func (o largePackets) possible(l *netlink.LinkAttrs) uint32 {
	if l.TSOMaxSize == 0 {
		return o.Bytes
	}
	return min(o.Bytes, l.TSOMaxSize)
}

// done says whether a link is so already.
func (o largePackets) done(l *netlink.LinkAttrs) bool {
	size := o.possible(l)
	v6 := !o.V6 || l.GSOMaxSize == size && l.GROMaxSize == size
	return v6 && l.GSOIPv4MaxSize == size && l.GROIPv4MaxSize == size
}
