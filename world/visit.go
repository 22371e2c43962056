package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/network"
)

const (
	tableMain  = unix.RT_TABLE_MAIN
	tableLocal = unix.RT_TABLE_LOCAL
)

// visit looks into each namespace once: the netlink sockets are opened there, and /proc/sys/net and /proc/net show those of the
// thread that looks.
func (w *World) visit(ctx context.Context, files *nsFiles) error {
	next := make(chan *Namespace)
	var wg sync.WaitGroup
	for range min(len(w.Namespaces), max(2, runtime.GOMAXPROCS(0))) {
		wg.Go(func() {
			for n := range next {
				n.Err = n.look(w.Host == n)
			}
		})
	}
	for _, n := range w.Namespaces {
		next <- n
	}
	close(next)
	wg.Wait()
	if w.Host.Err != nil {
		return fmt.Errorf("read the host's network: %w", w.Host.Err)
	}
	return ctx.Err()
}

func (n *Namespace) look(host bool) error {
	door := network.Sandbox{Name: n.Name(), Path: n.Path}
	return door.Do(func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open a netlink socket: %w", err)
		}
		defer h.Close()
		for _, read := range []func(*netlink.Handle) error{n.readLinks, n.readPorts, n.readAddresses, n.readRoutes, n.readNeighbors} {
			if err := read(h); err != nil {
				return err
			}
		}
		n.readSysctls(host)
		n.readSockets()
		n.readTables()
		return nil
	})
}

// dump asks again while somebody changes the list under our eyes (NLM_F_DUMP_INTR).
func dump[T any](list func() ([]T, error)) (items []T, err error) {
	for range 20 {
		if items, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return items, err
}

// readLinks equals: ip -d -s link.
func (n *Namespace) readLinks(h *netlink.Handle) error {
	links, err := dump(h.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	n.Links = n.Links[:0]
	for _, l := range links {
		n.Links = append(n.Links, n.newLink(l))
	}
	for _, l := range n.Links {
		if l.MasterIndex != 0 {
			l.Master = n.linkAt(l.MasterIndex)
		}
	}
	return nil
}

func (n *Namespace) newLink(from netlink.Link) *Link {
	a := from.Attrs()
	l := &Link{
		Namespace: n, Index: a.Index, Name: a.Name, Kind: from.Type(), MAC: a.HardwareAddr, MTU: a.MTU,
		Up: a.Flags&net.FlagUp != 0, Loopback: a.Flags&net.FlagLoopback != 0, OperState: a.OperState.String(),
		Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0, Promisc: a.Promisc != 0, Alias: a.Alias,
		MasterIndex: a.MasterIndex, ParentIndex: a.ParentIndex, nsid: a.NetNsID, foreign: a.NetNsID >= 0,
	}
	if s := a.Statistics; s != nil {
		l.RxPackets, l.TxPackets, l.RxDropped, l.TxDropped = s.RxPackets, s.TxPackets, s.RxDropped, s.TxDropped
	}
	if b, ok := from.(*netlink.Bridge); ok && b.VlanFiltering != nil {
		l.VLANFiltering = *b.VlanFiltering
	}
	return l
}

// readPorts equals: bridge -d link. One dump of the family of bridges tells of all ports.
func (n *Namespace) readPorts(*netlink.Handle) error {
	if !slices.ContainsFunc(n.Links, func(l *Link) bool { return l.Master != nil && l.Master.Kind == "bridge" }) {
		return nil
	}
	messages, err := dump(func() ([][]byte, error) {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP) // by a socket of this thread, so of this namespace
		req.AddData(nl.NewIfInfomsg(unix.AF_BRIDGE))
		return req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	})
	if err != nil {
		return fmt.Errorf("list the ports of bridges: %w", err)
	}
	for _, m := range messages {
		l := n.linkAt(int(nl.DeserializeIfInfomsg(m).Index))
		attributes, err := nl.ParseRouteAttr(m[nl.DeserializeIfInfomsg(m).Len():])
		if err != nil || l == nil {
			continue
		}
		for _, a := range attributes {
			if a.Attr.Type == unix.IFLA_PROTINFO|unix.NLA_F_NESTED {
				l.readPort(a.Value)
			}
		}
	}
	return nil
}

// readPort takes two of the settings of a bridge's port: IFLA_BRPORT_…, linux/if_link.h.
func (l *Link) readPort(nested []byte) {
	settings, err := nl.ParseRouteAttr(nested)
	if err != nil {
		return
	}
	for _, s := range settings {
		switch {
		case s.Attr.Type == nl.IFLA_BRPORT_MODE && len(s.Value) > 0:
			l.Hairpin = s.Value[0] == 1
		case s.Attr.Type == iflaBrportIsolated && len(s.Value) > 0:
			l.Isolated = s.Value[0] == 1
		}
	}
}

// iflaBrportIsolated is missing in the libraries.
const iflaBrportIsolated = 33

// readAddresses equals: ip addr.
func (n *Namespace) readAddresses(h *netlink.Handle) error {
	addrs, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		l := n.linkAt(a.LinkIndex)
		if l == nil {
			continue
		}
		l.Addresses = append(l.Addresses, Address{
			Prefix: prefix(a.IPNet), Peer: prefix(a.Peer), Scope: netlink.Scope(a.Scope).String(),
			Tentative: a.Flags&unix.IFA_F_TENTATIVE != 0, Deprecated: a.Flags&unix.IFA_F_DEPRECATED != 0, Failed: a.Flags&unix.IFA_F_DADFAILED != 0,
			Dynamic: a.Flags&unix.IFA_F_PERMANENT == 0,
		})
	}
	return nil
}

// prefix keeps the host's part, as `ip addr` shows it.
func prefix(p *net.IPNet) netip.Prefix {
	if p == nil {
		return netip.Prefix{}
	}
	a, ok := netip.AddrFromSlice(p.IP)
	ones, bits := p.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a.Unmap(), ones)
}

func address(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// readRoutes equals: ip route show table main; ip route show table local; ip rule.
func (n *Namespace) readRoutes(h *netlink.Handle) error {
	routes, err := dump(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		n.Routes = append(n.Routes, n.newRoute(r))
	}
	rules, err := dump(func() ([]netlink.Rule, error) { return h.RuleList(netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list routing rules: %w", err)
	}
	for _, r := range rules {
		if r.Table == tableLocal || r.Table == tableMain || r.Table == unix.RT_TABLE_DEFAULT {
			continue // the kernel's own
		}
		p := PolicyRule{Priority: r.Priority, Table: r.Table, From: prefix(r.Src), To: prefix(r.Dst), Mark: uint32(r.Mark), IIF: r.IifName, OIF: r.OifName}
		n.PolicyRules = append(n.PolicyRules, p)
	}
	return nil
}

func (n *Namespace) newRoute(r netlink.Route) Route {
	route := Route{
		Table: r.Table, To: prefix(r.Dst), Via: address(r.Gw), Dev: n.linkAt(r.LinkIndex), Src: address(r.Src), Type: routeType(r.Type),
		Protocol: r.Protocol.String(), Scope: r.Scope.String(), Metric: r.Priority, MTU: r.MTU, Dead: r.Flags&unix.RTNH_F_DEAD != 0,
	}
	if !route.To.IsValid() {
		route.To = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if r.Family == netlink.FAMILY_V6 {
			route.To = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	}
	return route
}

// routeType is rtnetlink(7)'s rtm_type.
func routeType(t int) string {
	switch t {
	case unix.RTN_UNICAST:
		return "unicast"
	case unix.RTN_LOCAL:
		return "local"
	case unix.RTN_BROADCAST:
		return "broadcast"
	case unix.RTN_ANYCAST:
		return "anycast"
	case unix.RTN_MULTICAST:
		return "multicast"
	case unix.RTN_BLACKHOLE:
		return "blackhole"
	case unix.RTN_UNREACHABLE:
		return "unreachable"
	case unix.RTN_PROHIBIT:
		return "prohibit"
	}
	return fmt.Sprint(t)
}

// readNeighbors equals: ip neigh.
func (n *Namespace) readNeighbors(h *netlink.Handle) error {
	all, err := dump(func() ([]netlink.Neigh, error) { return h.NeighList(0, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list neighbours: %w", err)
	}
	for _, one := range all {
		if one.State == unix.NUD_NOARP {
			continue
		}
		n.Neighbors = append(n.Neighbors, Neighbor{IP: address(one.IP), MAC: one.HardwareAddr, Dev: n.linkAt(one.LinkIndex), State: neighborState(one.State)})
	}
	return nil
}

// Unanswered says whether the kernel has asked for a neighbour's MAC address, now, and has got no answer. It equals: ip neigh show ADDRESS.
func (n *Namespace) Unanswered(a netip.Addr) bool {
	now := &Namespace{Names: n.Names, Path: n.Path}
	door := network.Sandbox{Name: n.Name(), Path: n.Path}
	err := door.Do(func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		return now.readNeighbors(h)
	})
	return err == nil && slices.ContainsFunc(now.Neighbors, func(one Neighbor) bool {
		return one.IP == a && (one.State == "incomplete" || one.State == "failed")
	})
}

// neighborState is the NUD_ flag, linux/neighbour.h.
func neighborState(s int) string {
	for _, known := range []struct {
		bit  int
		name string
	}{{unix.NUD_INCOMPLETE, "incomplete"}, {unix.NUD_REACHABLE, "reachable"}, {unix.NUD_STALE, "stale"}, {unix.NUD_DELAY, "delay"},
		{unix.NUD_PROBE, "probe"}, {unix.NUD_FAILED, "failed"}, {unix.NUD_PERMANENT, "permanent"}} {
		if s&known.bit != 0 {
			return known.name
		}
	}
	return "none"
}

// readSysctls reads the settings that decide about packets. A setting that the kernel does not have is left out.
func (n *Namespace) readSysctls(host bool) {
	n.Sysctls = map[string]string{}
	keys := []string{"net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter", "net/ipv4/conf/all/route_localnet", "net/ipv4/icmp_echo_ignore_all",
		"net/ipv4/ip_local_port_range", "net/ipv6/bindv6only", "net/ipv6/conf/all/forwarding"}
	if host {
		keys = append(keys, "net/ipv4/conf/default/rp_filter", "net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables",
			"net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max", "net/ipv4/neigh/default/gc_thresh3", "net/ipv4/conf/all/arp_ignore")
	}
	for _, l := range n.Links {
		// A port of a bridge has no say about IP; neither has a link without an address.
		if l.Loopback || l.Master != nil && l.Kind != "bridge" || len(l.Addresses) == 0 && l.Kind != "bridge" {
			continue
		}
		for _, setting := range []string{"rp_filter", "route_localnet", "forwarding", "proxy_arp"} {
			keys = append(keys, "net/ipv4/conf/"+l.Name+"/"+setting)
		}
		keys = append(keys, "net/ipv6/conf/"+l.Name+"/disable_ipv6", "net/ipv6/conf/"+l.Name+"/accept_ra")
	}
	for _, key := range keys {
		if data, err := os.ReadFile("/proc/sys/" + key); err == nil {
			n.Sysctls[key] = strings.TrimSpace(string(data))
		}
	}
}

// readTables says who has rules here, so that only those programs are started.
func (n *Namespace) readTables() {
	if c, err := nftables.New(); err == nil {
		tables, err := c.ListTables()
		if err == nil {
			for _, t := range tables {
				n.Tables = append(n.Tables, familyName(t.Family)+" "+t.Name)
			}
		}
	}
	for _, file := range []string{"ip", "ip6"} {
		data, err := os.ReadFile("/proc/thread-self/net/" + file + "_tables_names")
		if err != nil {
			continue // the old iptables is not in this kernel, or not loaded
		}
		for _, table := range strings.Fields(string(data)) {
			n.LegacyTables = append(n.LegacyTables, file+" "+table)
		}
	}
}

func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	case nftables.TableFamilyINet:
		return "inet"
	case nftables.TableFamilyARP:
		return "arp"
	case nftables.TableFamilyBridge:
		return "bridge"
	case nftables.TableFamilyNetdev:
		return "netdev"
	}
	return fmt.Sprint(f)
}
