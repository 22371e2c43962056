package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The kernel asks the NAT rules once for each flow and then remembers. A TCP flow begins with a SYN, but a UDP flow has no
// beginning: a client that keeps sending from one port, before a container is there or across its restart, would for
// ever be sent where the rules led when it began.

// forgetUDP makes the kernel forget the flows to host ports that are published from now on.
type forgetUDP struct{ Ports []PortMapping }

func (o forgetUDP) Command() string {
	s := ""
	for _, p := range o.Ports {
		s += fmt.Sprintf("conntrack -D -p udp --orig-port-dst %d\n", p.HostPort)
	}
	return s[:max(0, len(s)-1)]
}
func (o forgetUDP) Why() string { return "flows that began before go by the new rules" }

func (o forgetUDP) apply(context.Context, *kernel) error {
	return forgetFlows(flowFilter(func(f *netlink.ConntrackFlow) bool {
		return f.Forward.Protocol == unix.IPPROTO_UDP && slices.ContainsFunc(o.Ports, func(p PortMapping) bool {
			return f.Forward.DstPort >= p.HostPort && f.Forward.DstPort-p.HostPort < p.Count
		})
	}))
}

// udpPorts are the UDP ports among them.
func udpPorts(ports []PortMapping) []PortMapping {
	return slices.DeleteFunc(slices.Clone(ports), func(p PortMapping) bool { return p.Proto != "udp" })
}

// forgetAddress makes the kernel forget the flows that lead to a container that is gone: its address may be another's soon.
type forgetAddress struct{ Address netip.Addr }

func (o forgetAddress) Command() string {
	return fmt.Sprintf("conntrack -D --reply-src %s", o.Address)
}
func (o forgetAddress) Why() string { return "no flow leads to a container that is gone" }

func (o forgetAddress) apply(context.Context, *kernel) error {
	ip := net.IP(o.Address.AsSlice())
	return forgetFlows(flowFilter(func(f *netlink.ConntrackFlow) bool { return f.Reverse.SrcIP.Equal(ip) }))
}

type flowFilter func(*netlink.ConntrackFlow) bool

// MatchConntrackFlow makes a function a netlink.CustomConntrackFilter.
func (f flowFilter) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool { return f(flow) }

func forgetFlows(which flowFilter) error {
	h, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open a netfilter socket: %w", err)
	}
	defer h.Close()
	var errs []error
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		for range 20 {
			_, err = h.ConntrackDeleteFilters(netlink.ConntrackTable, family, which)
			if !errors.Is(err, netlink.ErrDumpInterrupted) {
				break
			}
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("forget connections: %w", err))
		}
	}
	return errors.Join(errs...)
}
