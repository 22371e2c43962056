package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// Macvlan and ipvlan networks have no bridge of their own: their containers are on the wire of a link of the host's, the
// parent, with addresses of the wire's subnet. No rule and no NAT is between them and the neighbours, no port is published, and
// the router is somebody else. The price: host and containers do not hear each other over the parent (see macvlan.go).
//
// The parent is there already, or it is made, as Docker does: eth0.50 is VLAN 50 on eth0, and without -o parent= a dummy link
// joins the containers with each other and nobody else.

// The options' keys are Docker's.
const (
	OptParent      = "parent"
	OptMacvlanMode = "macvlan_mode"
	OptIPvlanMode  = "ipvlan_mode"
	OptIPvlanFlag  = "ipvlan_flag"
)

// bridged says whether the network has a bridge and rules.
func (n *Network) bridged() bool { return n.Driver == DriverBridge }

// onWire says whether the network's containers are on a link of the host's.
func (n *Network) onWire() bool { return n.Driver == DriverMacvlan || n.Driver == DriverIPvlan }

// Publishes says whether a container on the network can have published ports: not where no packet may come in.
func (n *Network) Publishes() bool { return n.bridged() && !n.Internal }

// CheckJoin refuses what a container on this network cannot have. What is taken by another is found when it starts.
func (n *Network) CheckJoin(ip, ip6, mac string) error {
	switch {
	case !n.bridged() && !n.onWire():
		return fmt.Errorf("network %s has nothing to attach to", n.Name)
	case n.Driver == DriverIPvlan && mac != "":
		return fmt.Errorf("--mac-address %s: on the ipvlan network %s all containers have the MAC address of %s", mac, n.Name, n.Parent)
	case ip != "" && !n.EnableIPv4():
		return fmt.Errorf("--ip %s: network %s has no IPv4: it was made with --ipv4=false", ip, n.Name)
	case ip6 != "" && !n.EnableIPv6:
		return fmt.Errorf("--ip6 %s: network %s has no IPv6: make it with --ipv6", ip6, n.Name)
	}
	return errors.Join(n.forContainers("--ip", ip, n.Subnet), n.forContainers("--ip6", ip6, n.Subnet6))
}

// forContainers refuses an address that no container could have on the network.
func (n *Network) forContainers(flag, address string, subnet netip.Prefix) error {
	if address == "" {
		return nil
	}
	a, err := netip.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("%s: %q is not an address", flag, address)
	}
	if !subnet.Contains(a) {
		return fmt.Errorf("%s: address %s is not in the network's subnet %s", flag, address, subnet)
	}
	if own := n.keeps(a); own != "" {
		return fmt.Errorf("%s: address %s is in use by %s", flag, address, own)
	}
	return nil
}

// defineOnWire settles what a macvlan or ipvlan network is like, besides its addresses.
func defineOnWire(k *kernel, n *Network, others []*Network) error {
	if err := probeLink(n.Driver); err != nil {
		return err
	}
	mode := macvlanMode
	if n.Driver == DriverIPvlan {
		mode = ipvlanMode
	}
	if err := mode(n); err != nil {
		return err
	}
	return chooseParent(k, n, others)
}

// chooseParent finds the link that the containers will be on, or says which one is to be made.
func chooseParent(k *kernel, n *Network, others []*Network) error {
	n.Parent = n.Options[OptParent]
	if n.Parent == "" {
		n.Parent, n.ParentMade, n.Internal = "dm-"+n.ID[:12], true, true
		return probeLink("dummy")
	}
	if n.Parent == "lo" {
		return errors.New("option parent=lo: the loopback interface has no wire that containers could be on")
	}
	if !validLinkName(n.Parent) {
		return fmt.Errorf("option parent=%s: that cannot be the name of a link", n.Parent)
	}
	for _, other := range others {
		if other.Parent == n.Parent {
			return exists("network %s is already using parent interface %s", other.Name, n.Parent)
		}
	}
	_, _, err := k.link("", n.Parent)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	base, id, isVLAN := splitVLAN(n.Parent)
	if !isVLAN {
		return absent("option parent=%s: the host has no such interface (`ip link` lists them)", n.Parent)
	}
	if id < 1 || id > 4094 {
		return fmt.Errorf("option parent=%s: VLAN ids go from 1 to 4094", n.Parent)
	}
	if _, _, err := k.link("", base); err != nil {
		return fmt.Errorf("option parent=%s: VLAN %d needs the interface %s: %w", n.Parent, id, base, err)
	}
	n.ParentMade = true
	return probeLink("vlan")
}

// splitVLAN reads eth0.50.
func splitVLAN(name string) (base string, id int, ok bool) {
	at := strings.LastIndexByte(name, '.')
	if at <= 0 {
		return "", 0, false
	}
	id, err := strconv.Atoi(name[at+1:])
	return name[:at], id, err == nil
}

// parentMTU is what the wire carries, in bytes.
func parentMTU(k *kernel, n *Network) (int, error) {
	name := n.Parent
	if n.ParentMade {
		base, _, isVLAN := splitVLAN(name)
		if !isVLAN {
			return 1500, nil
		}
		name = base
	}
	l, _, err := k.link("", name)
	if err != nil {
		return 0, err
	}
	return l.Attrs().MTU, nil
}

// withoutParent leaves out the routes over the parent: that the wire's subnet is the host's too is the point.
func withoutParent(n *Network, used []taken) []taken {
	if !n.onWire() {
		return used
	}
	var rest []taken
	for _, t := range used {
		if t.link != n.Parent {
			rest = append(rest, t)
		}
	}
	return rest
}

// keepHostAddresses keeps the host's own addresses on the parent from being handed out.
func keepHostAddresses(k *kernel, n *Network) error {
	if n.ParentMade {
		return nil
	}
	l, h, err := k.link("", n.Parent)
	if err != nil {
		return err
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list the addresses of %s: %w", n.Parent, err)
	}
	for i, found := range addrs {
		a, ok := netip.AddrFromSlice(found.IP)
		if a = a.Unmap(); !ok || a == n.Gateway || a == n.Gateway6 || !n.Subnet.Contains(a) && !(n.Subnet6.IsValid() && n.Subnet6.Contains(a)) {
			continue
		}
		if n.AuxAddresses == nil {
			n.AuxAddresses = map[string]netip.Addr{}
		}
		n.AuxAddresses["host"+strconv.Itoa(i)] = a
	}
	return nil
}

// parentPlan makes the parent, if it is ours to make.
func parentPlan(n *Network) []operation {
	if !n.ParentMade {
		return nil
	}
	return []operation{addParent{Name: n.Parent}, setUp{Link: n.Parent, Reason: "a link that is down carries nothing"}}
}

// parentUndo takes away what parentPlan made.
func parentUndo(n *Network) []operation {
	if !n.ParentMade {
		return nil
	}
	return []operation{deleteLink{Name: n.Parent}}
}

// addParent makes a VLAN of a link, or a dummy. One that is there already is left as it is.
type addParent struct{ Name string }

func (o addParent) Command() string {
	if base, id, isVLAN := splitVLAN(o.Name); isVLAN {
		return fmt.Sprintf("ip link add link %s name %s type vlan id %d", base, o.Name, id)
	}
	return "ip link add " + o.Name + " type dummy"
}
func (o addParent) Why() string {
	if base, id, isVLAN := splitVLAN(o.Name); isVLAN {
		return fmt.Sprintf("the containers' wire: frames on %s that are marked as those of VLAN %d", base, id)
	}
	return "a link without a wire: the containers reach each other and nobody else"
}

func (o addParent) apply(_ context.Context, k *kernel) error {
	h, err := k.at("")
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = o.Name
	var l netlink.Link = &netlink.Dummy{LinkAttrs: attrs}
	if base, id, isVLAN := splitVLAN(o.Name); isVLAN {
		parent, _, err := k.link("", base)
		if err != nil {
			return err
		}
		attrs.ParentIndex = parent.Attrs().Index
		l = &netlink.Vlan{LinkAttrs: attrs, VlanId: id}
	}
	if err := h.LinkAdd(l); !errors.Is(err, unix.EEXIST) {
		return wrap(err, "create link %s", o.Name)
	}
	return nil
}

// probeLink refuses a kind of link that this kernel does not know. It is tried in a namespace that is thrown away, without the
// parent that it would need: the kernel first looks for the kind, loads its module perhaps, and then complains of the rest.
func probeLink(kind string) error {
	return onLockedThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open a netlink socket: %w", err)
		}
		defer h.Close()
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = "probe", 999999
		err = h.LinkAdd(&netlink.GenericLink{LinkAttrs: attrs, LinkType: kind})
		if !errors.Is(err, unix.EOPNOTSUPP) {
			return nil
		}
		module := kind
		if kind == "vlan" {
			module = "8021q"
		}
		return fmt.Errorf("this kernel has no links of the kind %s: load the module with `modprobe %s`, or use a kernel that is built with it", kind, module)
	})
}

// birthName is what an endpoint's link is called at first. It is born inside the container's namespace, but before Linux 6.14
// its name must not be that of a link of the host's: eth0 often is one.
func birthName(e *Endpoint) string { return "wire" + e.ID[:11] }

// addOnWire makes a container's link on a parent, in one message.
func addOnWire(k *kernel, parent, path, name string, make func(netlink.LinkAttrs) netlink.Link) error {
	p, h, err := k.link("", parent)
	if errors.Is(err, fs.ErrNotExist) {
		return &bridgeMissing{parent}
	}
	if err != nil {
		return err
	}
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.Namespace = name, p.Attrs().Index, netlink.NsFd(ns.Fd())
	l := make(attrs)
	err = h.LinkAdd(l)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("create %s link on %s: the parent is in use for something else, a bridge or a link of another kind (`ip -d link`): %w", l.Type(), parent, err)
	}
	return wrap(err, "create %s link %s on %s", l.Type(), name, parent)
}

// renameInner gives a link in a container its final name.
type renameInner struct{ Sandbox, Path, From, To string }

func (o renameInner) Command() string { return in(o.Sandbox) + "link set " + o.From + " name " + o.To }
func (o renameInner) Why() string     { return "it has the name that programs look for" }

func (o renameInner) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link(o.Path, o.From)
	if err != nil {
		return err
	}
	err = h.LinkSetName(l, o.To)
	if errors.Is(err, unix.EEXIST) {
		return exists("create %s in %s: an interface of that name is there already", o.To, o.Sandbox)
	}
	return wrap(err, "rename %s to %s", o.From, o.To)
}

// deleteInner takes a link out of a container that goes on running. Without a namespace there is none.
type deleteInner struct{ Sandbox, Path, Link string }

func (o deleteInner) Command() string { return in(o.Sandbox) + "link del " + o.Link }
func (o deleteInner) Why() string     { return "the container leaves the wire" }

func (o deleteInner) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link(o.Path, o.Link)
	if errors.Is(err, fs.ErrNotExist) {
		return plan.ErrNothing
	}
	if err != nil {
		return err
	}
	return wrap(h.LinkDel(l), "delete link %s in %s", o.Link, o.Sandbox)
}

// leaveNamespace takes the link of a released endpoint on a wire out of its container's namespace.
func (m *Manager) leaveNamespace(e *Endpoint) error {
	undo, err := m.innerUndo(e)
	if err != nil || len(undo) == 0 {
		return err
	}
	x := m.executor()
	defer x.close()
	return m.run(context.Background(), x, undo...)
}

// innerUndo is what is to be removed of a released endpoint on a wire, if its container still runs: with the container's
// namespace its links go by themselves. The name may have been given to another link since.
func (m *Manager) innerUndo(e *Endpoint) ([]operation, error) {
	sb, err := m.Sandbox(e.ContainerID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	undo := []operation{deleteInner{Sandbox: sb.Name, Path: sb.Path, Link: birthName(e)}}
	now, err := m.ContainerEndpoints(e.ContainerID)
	if err != nil {
		return nil, err
	}
	for _, other := range now {
		if other.Interface == e.Interface {
			return undo, nil
		}
	}
	return append(undo, deleteInner{Sandbox: sb.Name, Path: sb.Path, Link: e.Interface}), nil
}

// whileDying tries again for as long as an address is in use on the wire: the link that had it before goes with its namespace,
// which takes the kernel a moment.
func whileDying(fn func() error) error {
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := fn()
		if !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
	}
}
