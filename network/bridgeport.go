package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A port is a link that is plugged into a bridge. It has flags of its own: bridge(8), "bridge link set".

// plugIn makes a link a port of a bridge.
type plugIn struct{ Link, Bridge string }

func (o plugIn) Command() string { return fmt.Sprintf("ip link set %s master %s", o.Link, o.Bridge) }
func (o plugIn) Why() string     { return "plug the cable back into the bridge" }

func (o plugIn) apply(_ context.Context, k *kernel) error {
	bridge, h, err := k.link("", o.Bridge)
	if err != nil {
		return err
	}
	l, _, err := k.link("", o.Link)
	if err != nil {
		return err
	}
	return wrap(h.LinkSetMaster(l, bridge), "plug %s into %s", o.Link, o.Bridge)
}

// bridgePort sets a flag of a bridge's port.
type bridgePort struct {
	Link, Flag string
	Off        bool
	Reason     string
}

func (o bridgePort) Command() string {
	value := "on"
	if o.Off {
		value = "off"
	}
	return fmt.Sprintf("bridge link set dev %s %s %s", o.Link, o.Flag, value)
}
func (o bridgePort) Why() string { return o.Reason }

func (o bridgePort) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link("", o.Link)
	if err != nil {
		return err
	}
	if o.Flag == "isolated" {
		return wrap(h.LinkSetIsolated(l, !o.Off), "set isolated mode of bridge port %s", o.Link)
	}
	return wrap(h.LinkSetHairpin(l, !o.Off), "set hairpin mode of bridge port %s", o.Link)
}

func hairpin(e *Endpoint) bridgePort {
	return bridgePort{Link: e.HostLink, Flag: "hairpin", Reason: "a packet may leave through the port it came in by: the container asks for its own published port"}
}

func isolatePort(e *Endpoint) bridgePort {
	return bridgePort{Link: e.HostLink, Flag: "isolated", Reason: "containers on this network do not talk to each other"}
}

// portFlags are an endpoint's port as it is to be. Where a flag is off in the kernel when a port is new, nothing has to be done.
func portFlags(n *Network, e *Endpoint) (on, off []bridgePort) {
	if len(e.Ports) > 0 {
		on = append(on, hairpin(e))
	}
	if n.Options[OptICC] == "false" && e.Guard == nil { // there is no guard to see to it
		return append(on, isolatePort(e)), nil
	}
	return on, []bridgePort{{Link: e.HostLink, Flag: "isolated", Off: true, Reason: "containers on this network talk to each other"}}
}

// port looks at an outer end: is it in its bridge, as a port with the flags that it was made with, and up?
func (s *syncer) port(n *Network, e *Endpoint, l netlink.Link) error {
	bridge, _, err := s.k.link("", n.Bridge)
	on, off := portFlags(n, e)
	var flags map[string]bool
	switch {
	case err == nil && l.Attrs().MasterIndex != bridge.Attrs().Index, errors.Is(err, fs.ErrNotExist) && s.dryRun:
		off = nil // a port's flags go with it
		err = s.do(plugIn{Link: e.HostLink, Bridge: n.Bridge})
	case err == nil:
		flags, err = readPortFlags(l.Attrs().Index)
	}
	if err != nil {
		return err
	}
	for _, flag := range append(on, off...) {
		if flags == nil || flags[flag.Flag] == flag.Off {
			if err := s.do(flag); err != nil {
				return err
			}
		}
	}
	there := looked{link: l}
	for _, op := range []operation{
		setMTU{Link: e.HostLink, MTU: e.MTU, Reason: "the largest packet of this network"},
		setUp{Link: e.HostLink, Reason: "a link that is down carries nothing"},
	} {
		missing, err := there.lacks(op)
		if err == nil {
			err = s.do(missing...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readPortFlags equals: bridge -d link show dev LINK. It asks for one link: the library knows only how to ask for all.
func readPortFlags(index int) (map[string]bool, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	answers, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, fmt.Errorf("look up a bridge's port: %w", err)
	}
	flags := map[string]bool{}
	for _, a := range answers {
		data := a[nl.DeserializeIfInfomsg(a).Len():]
		for _, kind := range []uint16{unix.IFLA_LINKINFO, nl.IFLA_INFO_SLAVE_DATA} {
			if data, err = attribute(data, kind); err != nil {
				return nil, fmt.Errorf("look up a bridge's port: %w", err)
			}
		}
		for name, kind := range map[string]uint16{"hairpin": nl.IFLA_BRPORT_MODE, "isolated": nl.IFLA_BRPORT_ISOLATED} {
			value, err := attribute(data, kind)
			if err != nil {
				return nil, fmt.Errorf("look up a bridge's port: %w", err)
			}
			flags[name] = len(value) > 0 && value[0] == 1
		}
	}
	return flags, nil
}
