package container

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// linux.netDevices: links of the host that the container gets for itself. Runtime-spec 1.3, config-linux.md, "Network Devices".
//
// A link is in one network namespace at a time: it is gone from the host until that of the container is. Then the kernel
// gives hardware back to the host's, under the name that it had inside, and destroys what is made of software (veth, vlan).
// The runtime never takes one back itself, as the spec demands.

// validateNetDevices looks at what the config says alone.
func validateNetDevices(s *specs.Spec) error {
	devices := s.Linux.NetDevices
	if len(devices) == 0 {
		return nil
	}
	if !slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace }) {
		return errors.New("linux.netDevices: needs a network namespace: without one the container has the host's links anyway")
	}
	taken := map[string]string{"lo": "the loopback"}
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		inside, template := nameInside(name, devices[name])
		if !linkName(name) || !linkName(inside) {
			return fmt.Errorf("linux.netDevices: %q as %q: a link's name has 1 to 15 characters, no white space, no slash, no colon", name, devices[name].Name)
		}
		if template {
			continue // the kernel finds a free one
		}
		if taken[inside] != "" {
			return fmt.Errorf("linux.netDevices: %s cannot be %s in the container: %s is", name, inside, taken[inside])
		}
		taken[inside] = name
	}
	return nil
}

// nameInside is the link's name in the container. With %d at its end it is a template, which the kernel fills in.
func nameInside(host string, d specs.LinuxNetDevice) (name string, template bool) {
	if d.Name == "" {
		return host, false
	}
	return d.Name, strings.HasSuffix(d.Name, "%d")
}

// linkName is the kernel's rule: dev_valid_name().
func linkName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) < unix.IFNAMSIZ && !strings.ContainsAny(name, "/: \t\n\v\f\r\x00") &&
		!strings.Contains(strings.TrimSuffix(name, "%d"), "%")
}

// movedLink is one of them on its way.
type movedLink struct {
	name, inside string
	template     bool
	link         netlink.Link
	addresses    []netlink.Addr
}

// moveNetDevices gives the host's links to the container, whose first process there is and waits. All that can be known is
// checked before the first one moves: one that was moved is not the host's any more when a later one fails.
func (j *createJob) moveNetDevices() error {
	if len(j.spec.Linux.NetDevices) == 0 {
		return nil
	}
	pid := j.container.process.pid
	target, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("linux.netDevices: open the container's network namespace: %w", err)
	}
	defer target.Close()
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return wrap("linux.netDevices: talk to the host's network", err)
	}
	defer host.Close()
	inside, err := netlink.NewHandleAt(target, unix.NETLINK_ROUTE)
	if err != nil {
		return wrap("linux.netDevices: talk to the container's network", err)
	}
	defer inside.Close()
	list, err := findNetDevices(host, inside, j.spec.Linux.NetDevices)
	if err != nil {
		return fmt.Errorf("linux.netDevices: %w", err)
	}
	for _, m := range list {
		op := plan.Step{Cmd: m.command(pid), Reason: "a link of the host's for this container alone"}
		if err := plan.Do(j.runtime.Watch, op, func() error { return m.move(inside, target) }); err != nil {
			return fmt.Errorf("linux.netDevices: %w", err)
		}
	}
	return nil
}

// findNetDevices looks up the links, their addresses, and whether their names are free inside.
func findNetDevices(host, inside *netlink.Handle, devices map[string]specs.LinuxNetDevice) (list []movedLink, err error) {
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		m := movedLink{name: name}
		m.inside, m.template = nameInside(name, devices[name])
		if m.link, err = host.LinkByName(name); err != nil {
			return nil, fmt.Errorf("find %s on the host: %w (see ip link)", name, err)
		}
		all, err := host.AddrList(m.link, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("list the addresses of %s: %w", name, err)
		}
		for _, a := range all {
			if a.Flags&unix.IFA_F_PERMANENT != 0 && a.Scope == unix.RT_SCOPE_UNIVERSE {
				m.addresses = append(m.addresses, a)
			}
		}
		var missing netlink.LinkNotFoundError
		if _, err := inside.LinkByName(m.inside); !m.template && !errors.As(err, &missing) {
			if err == nil {
				err = unix.EEXIST
			}
			return nil, fmt.Errorf("move %s: the container's network namespace has a link %s: %w", name, m.inside, err)
		}
		list = append(list, m)
	}
	return list, nil
}

func (m movedLink) command(pid int) string {
	text := fmt.Sprintf("ip link set %s netns %d name %s", m.name, pid, m.inside)
	for _, a := range m.addresses {
		text += fmt.Sprintf("; ip -n … addr add %s dev %s", a.IPNet, m.inside)
	}
	return text + fmt.Sprintf("; ip -n … link set %s up", m.inside)
}

// move takes one request for the new place and the new name, so that no other link's name is ever in its way. It is not
// switched off before: the kernel does that, and a refusal then leaves it as it was. Its addresses are lost with the move.
func (m movedLink) move(inside *netlink.Handle, target netns.NsHandle) error {
	before, err := linkNumbers(inside)
	if err != nil {
		return fmt.Errorf("list the container's links: %w", err)
	}
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(m.link.Attrs().Index)
	request.AddData(msg)
	request.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(target))))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(m.inside)))
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("move %s into the container's network namespace as %s: %w (a link like lo or a bridge cannot leave its own)", m.name, m.inside, err)
	}
	link, err := m.arrived(inside, before)
	if err != nil {
		return fmt.Errorf("find %s in the container: %w", m.inside, err)
	}
	const kept = unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MANAGETEMPADDR
	for _, a := range m.addresses {
		// Not its label, which begins with the link's old name.
		address := netlink.Addr{IPNet: a.IPNet, Peer: a.Peer, Broadcast: a.Broadcast, Flags: a.Flags & kept}
		if a.Broadcast == nil {
			address.Broadcast = net.IPv4zero // none; to the library, nil is the one that belongs to the network
		}
		if err := inside.AddrAdd(link, &address); err != nil {
			return fmt.Errorf("give %s its address %s back: %w", m.inside, a.IPNet, err)
		}
	}
	if err := inside.LinkSetUp(link); err != nil {
		return fmt.Errorf("switch %s on in the container: %w", m.inside, err)
	}
	return nil
}

// arrived is the link as the container has it. By a template it has got a name that nobody was told.
func (m movedLink) arrived(inside *netlink.Handle, before map[int]bool) (netlink.Link, error) {
	if !m.template {
		return inside.LinkByName(m.inside)
	}
	links, err := inside.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if !before[l.Attrs().Index] && strings.HasPrefix(l.Attrs().Name, strings.TrimSuffix(m.inside, "%d")) {
			return l, nil
		}
	}
	return nil, unix.ENODEV
}

func linkNumbers(h *netlink.Handle) (map[int]bool, error) {
	links, err := h.LinkList()
	numbers := map[int]bool{}
	for _, l := range links {
		numbers[l.Attrs().Index] = true
	}
	return numbers, err
}
