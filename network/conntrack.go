package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
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
	var filters [][]*nl.RtAttr
	for _, p := range o.Ports {
		for i := range min(p.Count, maxFilters+1) {
			filters = append(filters, udpFilter(p.HostPort+i))
		}
	}
	return forgetFlows(filters, flowFilter(func(f *netlink.ConntrackFlow) bool {
		return f.Forward.Protocol == unix.IPPROTO_UDP && slices.ContainsFunc(o.Ports, func(p PortMapping) bool {
			return f.Forward.DstPort >= p.HostPort && f.Forward.DstPort-p.HostPort < p.Count
		})
	}), unix.AF_INET, unix.AF_INET6)
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
	if n, err := countFlows(); err == nil && n == 0 {
		return plan.ErrNothing
	}
	ip := net.IP(o.Address.AsSlice())
	which := flowFilter(func(f *netlink.ConntrackFlow) bool { return f.Reverse.SrcIP.Equal(ip) })
	if o.Address.Is6() { // Linux 6.18 and before take the IPv6 address of a filter for the one that is not wanted
		return forgetFlows(nil, which, unix.AF_INET6)
	}
	return forgetFlows([][]*nl.RtAttr{sourceFilter(o.Address)}, which, unix.AF_INET)
}

type flowFilter func(*netlink.ConntrackFlow) bool

// MatchConntrackFlow makes a function a netlink.CustomConntrackFilter.
func (f flowFilter) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool { return f(flow) }

// forgetFlows makes the kernel forget the flows that one of the filters describes, and which says the same of. The kernel
// (since 6.8) finds them by itself, looking only at the buckets of its table that hold something. An older one refuses a filter
// there: then, and without filters, all flows are listed, which locks each of some hundred thousand buckets (milliseconds), and
// the right ones are deleted one by one.
func forgetFlows(filters [][]*nl.RtAttr, which flowFilter, families ...netlink.InetFamily) error {
	var errs []error
	for _, family := range families {
		err := error(unix.EINVAL)
		if len(filters) > 0 && len(filters) <= maxFilters {
			err = flushFlows(filters, family)
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
			err = searchFlows(which, family)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("forget connections: %w", err))
		}
	}
	return errors.Join(errs...)
}

// searchFlows lists the flows and deletes those that are wanted. A table with nothing in it is not searched.
func searchFlows(which flowFilter, family netlink.InetFamily) error {
	if n, err := countFlows(); err == nil && n == 0 {
		return nil
	}
	h, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open a netfilter socket: %w", err)
	}
	defer h.Close()
	for range 20 {
		_, err = h.ConntrackDeleteFilters(netlink.ConntrackTable, family, which)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if errors.Is(err, unix.ENOENT) { // it has ended meanwhile
		return nil
	}
	return err
}
