package network

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// defaultSubnet is the default network's, if it is free.
var defaultSubnet = netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 17, 0, 0}), 16)

// pool lists the subnets that networks get when none is asked for: Docker's default-address-pools.
func pool() []netip.Prefix {
	var all []netip.Prefix
	for b := byte(18); b <= 31; b++ {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, b, 0, 0}), 16))
	}
	for b := 0; b < 256; b += 16 {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(b), 0}), 20))
	}
	return all
}

// taken is a subnet that somebody uses, and how to call him.
type taken struct {
	prefix netip.Prefix
	by     string
	link   string // of a route
}

// takenSubnets are those of the recorded networks and of all routing tables: a VPN's routes often stand in a table of their own.
// What replaced has counts as free: it may be nil.
func takenSubnets(k *kernel, networks []*Network, replaced *Network) ([]taken, error) {
	var all []taken
	ours := map[string]bool{}
	if replaced != nil {
		ours[replaced.Bridge] = true
	}
	for _, n := range networks {
		if n.bridged() {
			ours[n.Bridge] = true
		}
		for _, p := range append([]netip.Prefix{n.Subnet, n.Subnet6}, n.Former...) {
			if p.IsValid() {
				all = append(all, taken{prefix: p, by: "network " + n.Name})
			}
		}
	}
	h, err := k.at("")
	if err != nil {
		return nil, err
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := dump(func() ([]netlink.Route, error) {
			return h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("list the host's routes: %w", err)
		}
		for _, r := range routes {
			p, ok := routePrefix(r)
			if !ok {
				continue
			}
			link := linkOfRoute(h, r.LinkIndex)
			if !ours[link] {
				all = append(all, taken{p, describeRoute(p, r, link), link})
			}
		}
	}
	return all, nil
}

// routePrefix is where a route leads, if that says anything about which addresses are in use: a default route does not, nor
// do the halves of everything (0.0.0.0/1) that VPNs use in place of one.
func routePrefix(r netlink.Route) (netip.Prefix, bool) {
	if r.Dst == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(r.Dst.IP)
	ones, _ := r.Dst.Mask.Size()
	p := netip.PrefixFrom(a.Unmap(), ones)
	return p, ok && ones > 3 && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast()
}

func linkOfRoute(h *netlink.Handle, index int) string {
	if index == 0 {
		return ""
	}
	l, err := h.LinkByIndex(index)
	if err != nil { // gone meanwhile: the route is described without it
		return ""
	}
	return l.Attrs().Name
}

func describeRoute(p netip.Prefix, r netlink.Route, link string) string {
	s := "the host's route " + p.String()
	if r.Gw != nil {
		s += " via " + r.Gw.String()
	}
	if link != "" {
		s += " dev " + link
	}
	if r.Table != unix.RT_TABLE_MAIN && r.Table != unix.RT_TABLE_LOCAL {
		s += fmt.Sprintf(" table %d", r.Table)
	}
	return s
}

// clash is the first user of any part of p.
func clash(p netip.Prefix, all []taken) (taken, bool) {
	for _, t := range all {
		if p.Overlaps(t.prefix) {
			return t, true
		}
	}
	return taken{}, false
}

// chooseSubnet is the first of the candidates that nobody uses any part of.
func chooseSubnet(candidates []netip.Prefix, all []taken) (netip.Prefix, error) {
	for _, p := range candidates {
		if _, bad := clash(p, all); !bad {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("every subnet that networks are given by default is in use: choose one with --subnet")
}

// parseSubnet reads a subnet.
func parseSubnet(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("subnet %q is not an address and a prefix length, such as 172.20.0.0/16", s)
	}
	if p.Masked() != p {
		return p, fmt.Errorf("subnet %s has bits set behind its prefix length: it should be %s", p, p.Masked())
	}
	a := p.Addr()
	if a.IsLoopback() || a.IsMulticast() || a.IsUnspecified() || a.IsLinkLocalUnicast() || (a.Is4() && a.As4()[0] >= 240) {
		return p, fmt.Errorf("subnet %s cannot be used: its addresses have a meaning of their own", p)
	}
	return p, nil
}

// uniqueLocal is the IPv6 subnet of a network that has asked for none: fd, and 40 bits that nobody else is likely to have (RFC 4193,
// 3.2). They come from the host and the network's name: what --dry-run prints is what is made, and a network that is made anew has
// the addresses that it had. The host's identity is not to be shown to others (machine-id(5)), so they are a hash of it.
func uniqueLocal(n *Network, used []taken) netip.Prefix {
	host, err := state.ReadFile("/etc/machine-id")
	if err != nil || len(host) == 0 { // then at least until the next boot
		host, err = state.ReadFile("/proc/sys/kernel/random/boot_id")
	}
	if err != nil {
		host = []byte(n.ID)
	}
	for try := 0; ; try++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "mydocker ipv6 %s %s %d", host, n.Name, try))
		var b [16]byte
		b[0] = 0xfd
		copy(b[1:6], sum[:5])
		p := netip.PrefixFrom(netip.AddrFrom16(b), 64)
		if _, isTaken := clash(p, used); !isTaken {
			return p
		}
	}
}

// uplinkMTU is the MTU of the link that the default route leaves by, in bytes: a container that sends larger packets than a
// tunnel can take would lose them, where ICMP is filtered without a word. 1500 without a default route.
func uplinkMTU(k *kernel) (int, error) {
	h, err := k.at("")
	if err != nil {
		return 0, err
	}
	routes, err := dump(func() ([]netlink.Route, error) { return h.RouteList(nil, unix.AF_INET) })
	if err != nil {
		return 0, fmt.Errorf("list the host's routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst != nil && r.Dst.IP != nil && !r.Dst.IP.IsUnspecified() || r.LinkIndex == 0 {
			continue
		}
		l, err := h.LinkByIndex(r.LinkIndex)
		if err != nil {
			return 0, fmt.Errorf("look up the default route's link: %w", err)
		}
		if mtu := l.Attrs().MTU; mtu >= 1280 && mtu <= 65535 {
			return mtu, nil
		}
	}
	return 1500, nil
}
