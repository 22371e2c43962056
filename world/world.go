// Package world reads what the kernel has: network namespaces, their links, addresses, routes, neighbours, sockets, settings and
// firewall rules, and whose they are. What somebody made by hand is seen as well as what mydocker made.
//
// It is read-only: nothing here changes anything. `doctor`, `trace`, `topology` and `why` are views of a World.
//
// It sees what is reachable from where it runs: namespaces that are pinned below /run/netns or mounted elsewhere in its own mount
// namespace, and those of the processes in its own /proc.
package world

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/state"
)

// Options say what to read.
type Options struct {
	Root state.Root
	// Containers are those that the engine knows, running or not; the network's records are read without it.
	Containers []*Container
}

// World is everything that was found. Nothing in it is kept up to date: read it again.
type World struct {
	Root       state.Root
	Host       *Namespace   // where this process runs
	Namespaces []*Namespace // Host first, then by name
	Networks   []*Network   // by name
	Endpoints  []*network.Endpoint
	Containers []*Container

	cache rulesCache
}

// Network is a record with what the kernel should have of it.
type Network struct {
	*network.Network
	// Live says that it was put into the kernel since the host started; one that was not is not missing anything.
	Live bool
	// Ready says that it was put there completely.
	Ready bool
}

// Container is one that the engine, or a record of the network, speaks of.
type Container struct {
	ID, Name  string
	State     string                // running, paused, restarting, created, exited; "" when only the network's records speak of it
	Pid       int                   // 0: not running
	Args, Env []string              // its command and environment
	Wanted    []network.PortMapping // the ports that it asks for, running or not
	Namespace *Namespace            // nil: none that is found
	Endpoints []*network.Endpoint
}

// Running says whether it has a process.
func (c *Container) Running() bool {
	return c.State == "running" || c.State == "paused" || c.State == ""
}

// Owner is who made a thing. The zero Owner is "made by hand", or by a program that mydocker does not know.
type Owner struct {
	Kind string // "container", "network", ""
	ID   string
	Name string
}

// Ours says whether mydocker made it.
func (o Owner) Ours() bool { return o.Kind != "" }

func (o Owner) String() string { return strings.TrimSpace(o.Kind + " " + o.Name) }

// Namespace is a network namespace.
type Namespace struct {
	Inode       uint64
	Path        string   // a file that it can be entered by
	Names       []string // "host", names below /run/netns, container names; "pid 12 (sh)" when it has no other
	Owner       Owner    // the container whose it is
	Processes   []Process
	Links       []*Link // by index
	Routes      []Route // of the tables main and local, IPv4 and IPv6
	PolicyRules []PolicyRule
	Neighbors   []Neighbor
	Sockets     []Socket          // listening TCP and unconnected UDP
	Sysctls     map[string]string // "net/ipv4/ip_forward" -> "1"
	// Tables are the nftables tables, those of iptables-nft among them: "ip nat". LegacyTables are those of the old iptables.
	Tables, LegacyTables []string
	// Err says why something of it could not be read; what could be is there.
	Err error
}

// Name is the first of its names.
func (n *Namespace) Name() string { return n.Names[0] }

// Process is a process in a namespace.
type Process struct {
	Pid  int
	Name string // comm
}

// Link is an interface.
type Link struct {
	Namespace   *Namespace
	Index       int
	Name        string
	Kind        string // bridge, veth, vlan, macvlan, vxlan, wireguard, …; "device" for lo and hardware
	MAC         net.HardwareAddr
	MTU         int  // bytes
	Up          bool // the administrator's word: ip link set up
	Loopback    bool
	OperState   string // up, down, lowerlayerdown, unknown, …: what the kernel makes of it
	Carrier     bool
	Promisc     bool
	Alias       string
	MasterIndex int // 0: none
	Master      *Link
	// ParentIndex is IFLA_LINK: a veth's other end, a macvlan's lower link. Peer is that link, in Namespace or in another.
	ParentIndex                                int
	Peer                                       *Link
	Addresses                                  []Address
	Hairpin, Isolated                          bool // of a bridge's port
	VLANFiltering                              bool // of a bridge
	STP                                        bool
	RxPackets, TxPackets, RxDropped, TxDropped uint64
	Owner                                      Owner

	foreign bool // the peer is in another namespace
	nsid    int
}

// Ports are the links whose master it is.
func (l *Link) Ports() (ports []*Link) {
	for _, p := range l.Namespace.Links {
		if p.Master == l {
			ports = append(ports, p)
		}
	}
	return ports
}

// Address4 is the link's first IPv4 address, invalid without one.
func (l *Link) Address4() netip.Prefix { return l.Address(false) }

// Address is the link's first address of a family, invalid without one. An IPv6 address that every link gets by itself (fe80::…), and
// one that somebody else on the link has (Failed), do not count.
func (l *Link) Address(six bool) netip.Prefix {
	for _, a := range l.Addresses {
		if ip := a.Prefix.Addr(); ip.Is6() == six && !(six && (ip.IsLinkLocalUnicast() || a.Failed)) {
			return a.Prefix
		}
	}
	return netip.Prefix{}
}

// Address is an address of a link.
type Address struct {
	Prefix                        netip.Prefix
	Peer                          netip.Prefix // of a point-to-point link
	Scope                         string       // global, link, host
	Tentative, Deprecated, Failed bool         // IPv6: duplicate address detection
	Dynamic                       bool         // it came with a lifetime, from a router's advertisement or DHCP
}

// Route is an entry of a routing table.
type Route struct {
	Table    int          // 254 main, 255 local
	To       netip.Prefix // 0.0.0.0/0 is the default route
	Via      netip.Addr
	Dev      *Link // nil: blackhole, or several next hops
	Src      netip.Addr
	Type     string // unicast, local, broadcast, blackhole, unreachable, prohibit
	Protocol string // kernel, boot, static, ra, …
	Scope    string
	Metric   int
	MTU      int
	// Dead says that the kernel leaves it out: its link has no carrier, and ignore_routes_with_linkdown is set (ip-sysctl.rst).
	Dead bool
}

// Default says whether the route is a default route.
func (r Route) Default() bool { return r.To.Bits() == 0 && r.Table == tableMain }

// PolicyRule is an `ip rule` that the kernel does not have by itself.
type PolicyRule struct {
	Priority, Table int
	From, To        netip.Prefix
	Mark            uint32
	IIF, OIF        string
}

// Neighbor is what the ARP or NDP cache has.
type Neighbor struct {
	IP    netip.Addr
	MAC   net.HardwareAddr
	Dev   *Link
	State string // reachable, stale, failed, incomplete, permanent, …
}

// Socket is one that waits for packets.
type Socket struct {
	Proto   string // tcp, udp
	Address netip.AddrPort
	Inode   uint64
	// Only6 says that an IPv6 socket on [::] does not take IPv4. Where only /proc tells of sockets it is what net.ipv6.bindv6only says.
	Only6 bool
}

// Takes says whether the socket gets packets to an address.
func (s Socket) Takes(a netip.Addr) bool {
	bound := s.Address.Addr()
	switch {
	case bound.Unmap() == a:
		return true
	case bound.Is6() && bound.IsUnspecified():
		return a.Is6() || !s.Only6
	}
	return bound.IsUnspecified() && bound.Is4() == a.Is4()
}

// Read looks at everything except firewall rules, which are read when they are asked for (Rules). An error is one that hides
// everything; what could not be read of one namespace is in its Err.
func Read(ctx context.Context, o Options) (*World, error) {
	w := &World{Root: o.Root, Containers: o.Containers}
	if err := w.readRecords(); err != nil {
		return nil, err
	}
	files, err := w.discover()
	if err != nil {
		return nil, err
	}
	defer files.close()
	if err := w.visit(ctx, files); err != nil {
		return nil, err
	}
	w.resolvePeers(files)
	w.nameOwners()
	return w, nil
}

// Link finds a link by name. Absent is nil.
func (n *Namespace) Link(name string) *Link {
	for _, l := range n.Links {
		if l.Name == name {
			return l
		}
	}
	return nil
}

func (n *Namespace) linkAt(index int) *Link {
	for _, l := range n.Links {
		if l.Index == index {
			return l
		}
	}
	return nil
}

// Is says whether the namespace has this name.
func (n *Namespace) Is(name string) bool {
	for _, have := range n.Names {
		if have == name {
			return true
		}
	}
	return false
}

// Owns says whether the address is one of the namespace's own.
func (n *Namespace) Owns(a netip.Addr) bool {
	for _, l := range n.Links {
		for _, have := range l.Addresses {
			if have.Prefix.Addr() == a {
				return true
			}
			if l.Loopback && have.Prefix.Contains(a) { // all of 127.0.0.0/8
				return true
			}
		}
	}
	return false
}

// Sysctl is a setting of the namespace; "" when the kernel does not have it.
func (n *Namespace) Sysctl(key string) string { return n.Sysctls[key] }

// Network finds a network by name or id.
func (w *World) Network(ref string) *Network {
	for _, n := range w.Networks {
		if n.Name == ref || n.ID == ref {
			return n
		}
	}
	return nil
}

// Container finds a container by name, id or unique start of an id. Absent is nil.
func (w *World) Container(ref string) *Container {
	var found *Container
	for _, c := range w.Containers {
		if c.Name == ref || c.ID == ref {
			return c
		}
		if ref != "" && strings.HasPrefix(c.ID, ref) {
			if found != nil {
				return nil
			}
			found = c
		}
	}
	return found
}

// Namespace finds a namespace by one of its names. Absent is nil.
func (w *World) Namespace(name string) *Namespace {
	for _, n := range w.Namespaces {
		if n.Is(name) {
			return n
		}
	}
	return nil
}

// Links calls fn for each link of each namespace.
func (w *World) Links(fn func(*Link)) {
	for _, n := range w.Namespaces {
		for _, l := range n.Links {
			fn(l)
		}
	}
}
