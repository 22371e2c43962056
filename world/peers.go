package world

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The two ends of a cable know each other by an index (IFLA_LINK) and, when the other end is in another namespace, by the number that
// this namespace has for that one (IFLA_LINK_NETNSID). Each namespace has numbers of its own, so they are asked for there.

func (w *World) resolvePeers(files *nsFiles) {
	for i, n := range w.Namespaces {
		wanted := map[int]bool{}
		for _, l := range n.Links {
			switch {
			case l.foreign:
				wanted[l.nsid] = true
			case l.ParentIndex != 0 && l.ParentIndex != l.Index:
				l.Peer = n.linkAt(l.ParentIndex)
			}
		}
		if len(wanted) == 0 {
			continue
		}
		by, err := w.numbers(files, i, wanted)
		if err != nil {
			n.Err = fmt.Errorf("find the other ends of cables: %w", err)
			continue
		}
		for _, l := range n.Links {
			if other := by[l.nsid]; l.foreign && other != nil {
				l.Peer = other.linkAt(l.ParentIndex)
			}
		}
	}
}

// numbers asks in the i-th namespace for the numbers of the others until the wanted ones are known. The host comes first in the list,
// and is nearly always the answer.
func (w *World) numbers(files *nsFiles, i int, wanted map[int]bool) (map[int]*Namespace, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(files.open[i].Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	by := map[int]*Namespace{}
	for j, other := range w.Namespaces {
		id, err := h.GetNetNsIdByFd(int(files.open[j].Fd()))
		if err != nil || id < 0 || !wanted[id] {
			continue
		}
		by[id] = other
		if len(by) == len(wanted) {
			break
		}
	}
	return by, nil
}

// nameOwners says of namespaces and links whose they are.
func (w *World) nameOwners() {
	for _, c := range w.Containers {
		w.locate(c)
	}
	// Of several containers in one namespace it is his for whom it was made: who has cables in it, or whose name it has.
	for _, made := range []func(c *Container) bool{
		func(c *Container) bool { return len(c.Endpoints) > 0 },
		func(c *Container) bool { return c.Namespace.Is(c.Name) },
		func(*Container) bool { return true },
	} {
		for _, c := range w.Containers {
			if c.Namespace != nil && made(c) {
				w.ownNamespace(c)
			}
		}
	}
	for _, n := range w.Networks {
		if l := w.Host.Link(n.Bridge); n.Bridge != "" && n.Live && l != nil {
			l.Owner = Owner{"network", n.ID, n.Name}
		}
	}
	for _, e := range w.Endpoints {
		owner := Owner{"container", e.ContainerID, e.ContainerName}
		if l := w.Host.Link(e.HostLink); e.HostLink != "" && l != nil {
			l.Owner = owner
		}
		if c := w.Container(e.ContainerID); c != nil && c.Namespace != nil {
			if l := c.Namespace.Link(e.Interface); l != nil {
				l.Owner = owner
			}
		}
	}
}

// locate finds a container's namespace: by the name of its sandbox, or by its process.
func (w *World) locate(c *Container) {
	for _, n := range w.Namespaces {
		for _, e := range c.Endpoints {
			if n != w.Host && n.Is(e.Sandbox) {
				c.Namespace = n
			}
		}
	}
	for _, n := range w.Namespaces {
		if c.Namespace == nil && c.Pid != 0 && slices.ContainsFunc(n.Processes, func(p Process) bool { return p.Pid == c.Pid }) {
			c.Namespace = n
		}
	}
}

// ownNamespace: a namespace has one owner at most, and the host's is nobody's.
func (w *World) ownNamespace(c *Container) {
	n := c.Namespace
	if n == w.Host || n.Owner.Ours() {
		return
	}
	n.Owner = Owner{"container", c.ID, c.Name}
	if !n.Is(c.Name) {
		n.Names = append(n.Names, c.Name)
	}
}
