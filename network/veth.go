package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// addVeth makes a cable: two links, and what goes into one comes out of the other. One end is a port of the bridge, the
// other is born inside the container's namespace under its final name. It is one message to the kernel, so there is no
// moment when half of it exists.
type addVeth struct {
	Host, Bridge          string
	MTU                   int
	Sandbox, Path, Inside string
	MAC                   HardwareAddr // of the inner end
}

func (o addVeth) Command() string {
	return fmt.Sprintf("ip link add %s up master %s mtu %d type veth peer name %s address %s mtu %d netns %s",
		o.Host, o.Bridge, o.MTU, o.Inside, o.MAC, o.MTU, o.Sandbox)
}
func (o addVeth) Why() string { return "a cable from the bridge into the container" }

// apply builds the message itself: netlink.LinkAdd would bring up and plug in only the outer end, and that by two more
// messages with a look-up each.
func (o addVeth) apply(_ context.Context, k *kernel) error {
	bridge, _, err := k.link("", o.Bridge)
	if errors.Is(err, fs.ErrNotExist) {
		return &bridgeMissing{o.Bridge}
	}
	if err != nil {
		return err
	}
	ns, err := os.Open(o.Path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	req := o.message(bridge.Attrs().Index, int(ns.Fd()))
	_, err = req.Execute(unix.NETLINK_ROUTE, 0) // netlink.Handle keeps its socket to itself: this opens one of its own
	if errors.Is(err, unix.EEXIST) {
		return exists("create %s in %s: an interface of that name is there already", o.Inside, o.Sandbox)
	}
	return wrap(err, "create veth pair %s and %s in %s", o.Host, o.Inside, o.Sandbox)
}

// AwaitCarrier returns when the bridge passes frames on to the cable. The kernel tells it that the other end has come up when it
// gets round to it (net/core/link_watch.c): at once on an idle machine, and what is sent before is lost. After a second it
// gives up: then somebody has taken a link down.
func (m *Manager) AwaitCarrier(e *Endpoint) {
	if e.HostLink == "" {
		return
	}
	k := &kernel{root: m.root}
	defer k.close()
	for start := time.Now(); time.Since(start) < time.Second; time.Sleep(200 * time.Microsecond) {
		if l, _, err := k.link("", e.HostLink); err != nil || l.Attrs().OperState == netlink.OperUp {
			return
		}
	}
}

// message is RTM_NEWLINK: rtnetlink(7), and drivers/net/veth.c for the peer, which is described by a whole ifinfomsg of
// its own nested in VETH_INFO_PEER.
func (o addVeth) message(bridge, ns int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	host := nl.NewIfInfomsg(unix.AF_UNSPEC)
	host.Flags, host.Change = unix.IFF_UP, unix.IFF_UP
	req.AddData(host)
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(o.Host)))
	req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(o.MTU))))
	req.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge))))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC) // not up: it cannot be before the outer end exists
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(o.Inside))
	peer.AddRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(o.MTU)))
	peer.AddRtAttr(unix.IFLA_ADDRESS, o.MAC)
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns)))
	req.AddData(info)
	return req
}

// bridgeMissing says that a network's bridge, or parent, is not there: not made yet, or taken away.
type bridgeMissing struct{ name string }

func (e *bridgeMissing) Error() string        { return "link " + e.name + " is missing" }
func (e *bridgeMissing) Is(target error) bool { return target == fs.ErrNotExist }
