package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// kernel does operations for real. It keeps one rtnetlink socket for the host and one for each sandbox that it has spoken
// to: a socket belongs to the namespace in which it was opened, so no thread has to change namespaces afterwards.
type kernel struct {
	root      state.Root
	host      *netlink.Handle
	sandboxes map[string]*netlink.Handle // by path
	links     map[[2]string]netlink.Link // by path and name, in sandboxes: nobody else is at work there
}

func newKernel(root state.Root) executor { return &kernel{root: root} }

func (k *kernel) do(ctx context.Context, op operation) error { return op.apply(ctx, k) }

func (k *kernel) close() {
	if k.host != nil {
		k.host.Close()
	}
	for _, h := range k.sandboxes {
		h.Close()
	}
}

// at is the rtnetlink socket of the namespace that is pinned at path; "" is the host's.
func (k *kernel) at(path string) (*netlink.Handle, error) {
	if path == "" {
		if k.host == nil {
			h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
			if err != nil {
				return nil, fmt.Errorf("open a netlink socket: %w", err)
			}
			k.host = h
		}
		return k.host, nil
	}
	if h := k.sandboxes[path]; h != nil {
		return h, nil
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket in %s: %w", path, err)
	}
	if k.sandboxes == nil {
		k.sandboxes = map[string]*netlink.Handle{}
	}
	k.sandboxes[path] = h
	return h, nil
}

// link finds a link in the namespace pinned at path. Absent is fs.ErrNotExist.
func (k *kernel) link(path, name string) (netlink.Link, *netlink.Handle, error) {
	h, err := k.at(path)
	if err != nil {
		return nil, nil, err
	}
	if l := k.links[[2]string{path, name}]; l != nil {
		return l, h, nil
	}
	l, err := linkByName(h, name)
	if err == nil && path != "" {
		if k.links == nil {
			k.links = map[[2]string]netlink.Link{}
		}
		k.links[[2]string{path, name}] = l
	}
	return l, h, err
}

func linkByName(h *netlink.Handle, name string) (netlink.Link, error) {
	l, err := h.LinkByName(name)
	var notFound netlink.LinkNotFoundError
	if errors.As(err, &notFound) {
		return nil, absent("there is no link %s", name)
	}
	if err != nil {
		return nil, fmt.Errorf("look up link %s: %w", name, err)
	}
	return l, nil
}

// dump asks for a list until it comes in one piece: while somebody changes the list, the kernel marks its answer as
// interrupted (NLM_F_DUMP_INTR), and parts of it may be missing or there twice.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	var items []T
	var err error
	for range 20 {
		if items, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return items, err
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// in is how a command is written that happens in a sandbox: `ip -n NAME …`.
func in(sandbox string) string {
	if sandbox == "" {
		return "ip "
	}
	return "ip -n " + sandbox + " "
}
