package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
)

// Sync compares the kernel with what the records say should be there, and makes up the difference: after `iptables -F`, a
// firewall that reloads, a deleted bridge, a link that was taken down. It returns the operations as commands; with dryRun it
// does none of them.
func (m *Manager) Sync(ctx context.Context, dryRun bool) (commands []string, err error) {
	lock, err := m.lockNetworks()
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	x := m.executor()
	defer x.close()
	s := &syncer{m: m, ctx: ctx, x: x, dryRun: dryRun, k: &kernel{root: m.root}}
	defer s.k.close()
	live, err := recordedNetworks(filepath.Join(m.root.Run, "networks"))
	if err != nil {
		return nil, err
	}
	if len(live) == 0 {
		return nil, nil
	}
	for _, n := range live {
		err = errors.Join(err, s.network(n))
	}
	backends, liveErr := m.liveNetworks()
	err = errors.Join(err, liveErr)
	for name, networks := range backends {
		err = errors.Join(err, s.rules(name, networks))
	}
	err = errors.Join(err, s.guard(live))
	return s.commands, err
}

type syncer struct {
	m        *Manager
	ctx      context.Context
	x        executor
	k        *kernel // looks only
	dryRun   bool
	commands []string
}

// do notes operations, and does them unless only a look was asked for.
func (s *syncer) do(ops ...operation) error {
	for _, op := range ops {
		s.commands = append(s.commands, op.Command())
	}
	if s.dryRun {
		return nil
	}
	return s.m.run(s.ctx, s.x, ops...)
}

// network looks at a bridge and at the cables that are plugged into it.
func (s *syncer) network(n *Network) error {
	if n.onWire() {
		return s.parent(n)
	}
	l, _, err := s.k.link("", n.Bridge)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = s.do(bridgePlan(n)...)
	case err == nil:
		err = s.bridge(n, l)
	}
	if err != nil {
		return fmt.Errorf("network %s: %w", n.Name, err)
	}
	eps, err := s.m.Endpoints(n.ID)
	for _, e := range eps {
		if e2 := s.endpoint(n, e); e2 != nil {
			err = errors.Join(err, fmt.Errorf("container %s: %w", e.ContainerName, e2))
		}
	}
	if err == nil && len(eps) > 0 {
		err = s.large(bridgeLarge(n)...)
	}
	return err
}

// parent looks at a parent that is ours. With it the containers' links have gone, too: they come back when they start anew.
func (s *syncer) parent(n *Network) error {
	if _, _, err := s.k.link("", n.Parent); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.do(parentPlan(n)...)
}

// bridge does those operations of the plan whose effect is missing.
func (s *syncer) bridge(n *Network, l netlink.Link) error {
	h, err := s.k.at("")
	if err != nil {
		return err
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list the addresses of %s: %w", n.Bridge, err)
	}
	for _, op := range bridgePlan(n) {
		there := true
		switch op := op.(type) {
		case addAddress:
			there = slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return sameNet(a.IPNet, op.Address) })
		case setUp:
			there = l.Attrs().Flags&net.FlagUp != 0
		case setSysctl:
			v, err := readSysctl(op.Key)
			there = v == op.Value || op.Optional && errors.Is(err, fs.ErrNotExist)
		case forwarding:
			v, err := readSysctl(op.Key)
			there = err == nil && v == "1"
		}
		if !there {
			if err := s.do(op); err != nil {
				return err
			}
		}
	}
	return nil
}

func sameNet(a *net.IPNet, p netip.Prefix) bool { return a != nil && a.String() == p.String() }

// endpoint looks at one cable. One that is gone is made anew, if the container's namespace is still there.
func (s *syncer) endpoint(n *Network, e *Endpoint) error {
	sb := s.m.sandbox(e.Sandbox)
	if _, err := os.Stat(sb.Path); errors.Is(err, fs.ErrNotExist) {
		return nil // the container is ending: gc's business
	}
	l, _, err := s.k.link("", e.HostLink)
	if errors.Is(err, fs.ErrNotExist) {
		return s.do(endpointPlan(n, e, sb)...)
	}
	if err != nil {
		return err
	}
	bridge, _, err := s.k.link("", n.Bridge)
	switch {
	case err == nil && l.Attrs().MasterIndex != bridge.Attrs().Index, errors.Is(err, fs.ErrNotExist) && s.dryRun:
		if err := s.do(plugIn{Link: e.HostLink, Bridge: n.Bridge}); err != nil {
			return err
		}
		for _, op := range endpointPlan(n, e, sb) {
			if flag, ok := op.(bridgePort); ok { // a port's flags go with it
				if err := s.do(flag); err != nil {
					return err
				}
			}
		}
	case err != nil:
		return err
	}
	if l.Attrs().Flags&net.FlagUp == 0 {
		if err := s.do(setUp{Link: e.HostLink, Reason: "a link that is down carries nothing"}); err != nil {
			return err
		}
	}
	return s.large(cableLarge(n, e, sb)...)
}

// large looks at links that take large packets. A bridge that is missing is so only while nothing is done.
func (s *syncer) large(ops ...operation) error {
	for _, op := range ops {
		op := op.(largePackets)
		l, _, err := s.k.link(op.Path, op.Link)
		if err != nil && !(s.dryRun && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
		if err == nil && op.done(l.Attrs()) {
			continue
		}
		if err := s.do(op); err != nil {
			return err
		}
	}
	return nil
}

// rules looks at the network-level rules and then at those of each published port.
func (s *syncer) rules(backend string, live []*Network) error {
	fw, err := s.m.firewall(backend)
	if err != nil {
		return err
	}
	ops, err := fw.Networks(s.ctx, live)
	if err != nil {
		return err
	}
	if err := s.do(ops...); err != nil {
		return err
	}
	there, err := fw.Published(s.ctx)
	if err != nil {
		return err
	}
	for _, n := range live {
		eps, err := s.m.Endpoints(n.ID)
		if err != nil {
			return err
		}
		for _, e := range eps {
			id := short(e.ID)
			want := fw.Count(e)
			if there[id] == want {
				continue
			}
			if there[id] > 0 {
				old, err := fw.Unpublish(s.ctx, id)
				if err != nil {
					return err
				}
				if err := s.do(old...); err != nil {
					return err
				}
			}
			if err := s.do(fw.Publish(e)...); err != nil {
				return err
			}
		}
	}
	return nil
}
