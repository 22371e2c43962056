package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/mydocker/mydocker/state"
)

// Sync compares the kernel with what the records say should be there, and makes up the difference: after `iptables -F`, a
// firewall that reloads, a deleted bridge, a link that was taken down. It returns the operations as commands; with dryRun it
// does none of them.
func (m *Manager) Sync(ctx context.Context, dryRun bool) (commands []string, err error) {
	x := m.executor()
	defer x.close()
	s := &syncer{m: m, ctx: ctx, x: x, dryRun: dryRun, k: &kernel{root: m.root}, rules: map[string]map[string]portsThere{}, told: map[string]bool{}}
	defer s.k.close()
	live, err := s.networks()
	err = errors.Join(err, s.endpoints(live))
	return s.commands, err
}

// networks looks at bridges and the rules of networks, which nobody makes or removes meanwhile.
func (s *syncer) networks() (live []*Network, err error) {
	lock, err := s.m.lockNetworks()
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	if live, err = recordedNetworks(filepath.Join(s.m.root.Run, "networks")); err != nil || len(live) == 0 {
		return nil, err
	}
	for _, n := range live {
		err = errors.Join(err, s.network(n))
	}
	backends, liveErr := s.m.liveNetworks()
	err = errors.Join(err, liveErr)
	// iptables comes before nftables, which lets its bridges through in iptables' FORWARD if there is one.
	for _, name := range slices.Sorted(maps.Keys(backends)) {
		fw, fwErr := s.m.firewall(name)
		if fwErr == nil {
			var ops []operation
			if ops, fwErr = fw.Networks(s.ctx, backends[name]); fwErr == nil {
				fwErr = s.do(ops...)
			}
			// In our chain and maps, what names no endpoint of ours is nobody's.
			ops, err2 := fw.Unpublish(s.ctx, "")
			fwErr = errors.Join(fwErr, err2, s.do(ops...))
		}
		err = errors.Join(err, fwErr)
	}
	return live, errors.Join(err, s.guard(live))
}

type syncer struct {
	m        *Manager
	ctx      context.Context
	x        executor
	k        *kernel // looks only
	dryRun   bool
	rules    map[string]map[string]portsThere // what endpoints have, by backend
	commands []string
	told     map[string]bool // several networks may lack the same
}

// do notes operations, and does them unless only a look was asked for.
func (s *syncer) do(ops ...operation) error {
	for _, op := range ops {
		if command := op.Command(); !s.told[command] {
			s.commands, s.told[command] = append(s.commands, command), true
		}
	}
	if s.dryRun {
		return nil
	}
	return s.m.run(s.ctx, s.x, ops...)
}

// network looks at a bridge.
func (s *syncer) network(n *Network) error {
	if n.onWire() {
		return s.parent(n)
	}
	l, _, err := s.k.link("", n.Bridge)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = s.do(slices.DeleteFunc(bridgePlan(n), forwards)...)
	case err == nil:
		err = s.bridge(n, l)
	}
	if err != nil {
		return fmt.Errorf("network %s: %w", n.Name, err)
	}
	return nil
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
	there, err := s.look("", l, n.MTU)
	if err != nil {
		return err
	}
	for _, op := range bridgePlan(n) {
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

// forwards says whether the operation lets the host forward packets, and it does so already.
func forwards(op operation) bool {
	o, ok := op.(forwarding)
	if !ok {
		return false
	}
	v, err := readSysctl(o.Key)
	return err == nil && v == "1"
}

// endpoints looks at the cables that are plugged into a bridge, and at what they publish. Those of containers that somebody is just
// starting or rewiring come last: until then a cable that is missing is one that is still to be made.
func (s *syncer) endpoints(live []*Network) error {
	all, err := s.plugged(live)
	var busy []plugged
	for _, p := range all {
		held, endpointErr := s.held(p.n, p.e, false)
		if err = errors.Join(err, endpointErr); !held {
			busy = append(busy, p)
		}
	}
	for _, p := range busy {
		_, endpointErr := s.held(p.n, p.e, true)
		err = errors.Join(err, endpointErr)
	}
	for _, n := range live {
		if slices.ContainsFunc(all, func(p plugged) bool { return p.n == n }) {
			err = errors.Join(err, s.large(bridgeLarge(n)...))
		}
	}
	return err
}

// plugged is an endpoint on its network.
type plugged struct {
	n     *Network
	e     *Endpoint
	since time.Time
}

// plugged lists the endpoints of networks, the oldest first: so the rules come back in the order that they had.
func (s *syncer) plugged(live []*Network) (all []plugged, err error) {
	for _, n := range live {
		eps, endpointsErr := s.m.Endpoints(n.ID)
		err = errors.Join(err, endpointsErr)
		for _, e := range eps {
			p := plugged{n: n, e: e}
			if info, err := os.Stat(s.m.endpointPath(n.ID, e.ContainerID)); err == nil { // it has just ended, else
				p.since = info.ModTime()
			}
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b plugged) int { return a.since.Compare(b.since) })
	return all, err
}

// held looks at an endpoint while its container is held, if it can be.
func (s *syncer) held(n *Network, e *Endpoint, wait bool) (held bool, err error) {
	release := func() error { return nil }
	if s.m.hold != nil {
		if release, err = s.m.hold(e.ContainerID, wait); err != nil || release == nil {
			return false, err
		}
	}
	defer func() {
		if err = errors.Join(err, release()); err != nil {
			err = fmt.Errorf("container %s: %w", e.ContainerName, err)
		}
	}()
	there := func() bool {
		now := new(Endpoint)
		return state.ReadJSON(s.m.endpointPath(n.ID, e.ContainerID), now) == nil && now.ID == e.ID
	}
	if !there() {
		return true, nil
	}
	before := len(s.commands)
	err = errors.Join(s.cable(n, e), s.published(e))
	if len(s.commands) > before && !s.dryRun && !there() {
		// It has ended meanwhile, and what was taken away of it may have come back by us.
		err = s.m.dismantle(s.ctx, s.x, e)
	}
	return true, err
}

// cable looks at one cable. One that is gone is made anew, if the container's namespace is still there.
func (s *syncer) cable(n *Network, e *Endpoint) error {
	sb := s.m.sandbox(e.Sandbox)
	if _, err := os.Stat(sb.Path); errors.Is(err, fs.ErrNotExist) {
		return nil // the container is ending: gc's business
	}
	if n.onWire() {
		return s.inside(n, e, sb)
	}
	l, _, err := s.k.link("", e.HostLink)
	if errors.Is(err, fs.ErrNotExist) {
		return s.do(endpointPlan(n, e, sb)...)
	}
	if err != nil {
		return err
	}
	if err := s.port(n, e, l); err != nil {
		return err
	}
	if err := s.large(cableLarge(n, e, sb)...); err != nil {
		return err
	}
	return s.inside(n, e, sb)
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

// published looks at the rules of an endpoint's ports.
func (s *syncer) published(e *Endpoint) error {
	fw, err := s.m.firewallFor(e)
	if err != nil || fw == nil {
		return err
	}
	if s.rules[e.Firewall] == nil {
		if s.rules[e.Firewall], err = fw.Published(s.ctx); err != nil {
			return err
		}
	}
	id := short(e.ID)
	if len(fw.Mend(e, s.rules[e.Firewall][id])) == 0 {
		return nil
	}
	// Seen before the container was held, it may have been just started.
	there, err := fw.Published(s.ctx)
	if err != nil {
		return err
	}
	return s.do(fw.Mend(e, there[id])...)
}
