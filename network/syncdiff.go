package network

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// looked is a link as the kernel has it.
type looked struct {
	link   netlink.Link
	mtu    int // that it is to have, in bytes
	addrs  []netlink.Addr
	routes []netlink.Route // out of this link, of all tables and both families
	handle *netlink.Handle
}

// look reads a link's addresses and routes.
func (s *syncer) look(path string, l netlink.Link, mtu int) (*looked, error) {
	h, err := s.k.at(path)
	if err != nil {
		return nil, err
	}
	t := &looked{link: l, mtu: mtu, handle: h}
	if t.addrs, err = dump(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_ALL) }); err != nil {
		return nil, fmt.Errorf("list the addresses of %s: %w", l.Attrs().Name, err)
	}
	only := &netlink.Route{LinkIndex: l.Attrs().Index, Table: unix.RT_TABLE_UNSPEC}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := dump(func() ([]netlink.Route, error) {
			return h.RouteListFiltered(family, only, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("list the routes of %s: %w", l.Attrs().Name, err)
		}
		t.routes = append(t.routes, routes...)
	}
	return t, nil
}

// lacks are the operations that make up what of an operation's effect is missing: none where all of it is there, and none for those
// whose effect is looked at elsewhere.
func (t *looked) lacks(op operation) ([]operation, error) {
	missing := []operation{op}
	there := true
	var err error
	switch op := op.(type) {
	case addBridge:
		return t.madeAs("", "", op.MTU, op.MAC)
	case addVeth:
		return t.madeAs(op.Sandbox, op.Path, op.MTU, op.MAC)
	case addMacvlan:
		return t.madeAs(op.Sandbox, op.Path, 0, op.MAC) // its MTU follows the parent's
	case setMTU:
		there = t.link.Attrs().MTU == op.MTU
	case addAddress:
		if there = slices.ContainsFunc(t.addrs, func(a netlink.Addr) bool { return sameNet(a.IPNet, op.Address) }); there {
			return t.connected(op), nil
		}
	case setUp:
		there = t.link.Attrs().Flags&net.FlagUp != 0
	case setSysctl:
		there, err = t.isSet(op.Key, op.Value, readSysctl)
		there = there || op.Optional && t.noIPv6()
	case sandboxSysctl:
		there, err = t.isSet(op.Key, op.Value, func(key string) (v string, err error) {
			err = op.Sandbox.Do(func() (err error) { v, err = readSysctl(key); return err })
			return v, err
		})
	case forwarding:
		there = forwards(op)
	}
	if there || err != nil {
		return nil, err
	}
	return missing, nil
}

// madeAs compares what a link was given when it was made. 0 and nil are not looked at.
func (t *looked) madeAs(sandbox, path string, mtu int, mac HardwareAddr) (missing []operation, err error) {
	attrs := t.link.Attrs()
	if mtu != 0 && attrs.MTU != mtu {
		byItself, err := t.adjusted()
		if err != nil {
			return nil, err
		}
		if !byItself {
			missing = append(missing, setMTU{Sandbox: sandbox, Path: path, Link: attrs.Name, MTU: mtu, Reason: "the largest packet of this network"})
		}
	}
	if mac != nil && !bytes.Equal(attrs.HardwareAddr, mac) {
		missing = append(missing, setMAC{Sandbox: sandbox, Path: path, Link: attrs.Name, MAC: mac})
	}
	return missing, nil
}

// adjusted says whether a bridge's MTU is what the kernel makes of it by itself: the least of its ports', and 1500 without any
// (br_mtu_auto_adjust in net/bridge/br_if.c).
func (t *looked) adjusted() (bool, error) {
	if t.link.Type() != "bridge" {
		return false, nil
	}
	all, err := dump(t.handle.LinkList)
	if err != nil {
		return false, fmt.Errorf("list the ports of %s: %w", t.link.Attrs().Name, err)
	}
	least, ports := 0, 0
	for _, l := range all {
		if a := l.Attrs(); a.MasterIndex == t.link.Attrs().Index {
			if ports++; ports == 1 || a.MTU < least {
				least = a.MTU
			}
		}
	}
	if ports == 0 {
		least = 1500
	}
	return t.link.Attrs().MTU == least, nil
}

// isSet compares a setting. A link whose MTU is too small for IPv6 has lost its settings, and gets the usual ones with its MTU.
func (t *looked) isSet(key, value string, read func(string) (string, error)) (bool, error) {
	v, err := read(key)
	if errors.Is(err, fs.ErrNotExist) || strings.HasPrefix(key, "net/ipv6/") && t.link.Attrs().MTU < leastMTU6 && t.mtu >= leastMTU6 {
		return false, nil
	}
	return v == value, err
}

// leastMTU6 is the smallest MTU that IPv6 works with, in bytes: RFC 8200, section 5.
const leastMTU6 = 1280

// noIPv6 says that the kernel has no IPv6, or none for links like this.
func (t *looked) noIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6/conf")
	return t.mtu < leastMTU6 || errors.Is(err, fs.ErrNotExist)
}

// connected are the routes that the kernel makes by itself where a link that is up gets an address.
func (t *looked) connected(a addAddress) []operation {
	if t.link.Attrs().Flags&net.FlagUp == 0 || a.Address.IsSingleIP() {
		return nil // they come when the link comes up
	}
	op := connectedRoute{Sandbox: a.Sandbox, Path: a.Path, Link: a.Link, Address: a.Address}
	if slices.ContainsFunc(t.routes, func(r netlink.Route) bool { return sameNet(r.Dst, a.Address.Masked()) }) {
		return nil
	}
	return []operation{op}
}

func sameNet(a *net.IPNet, p netip.Prefix) bool { return a != nil && a.String() == p.String() }
