package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/google/nftables"

	"github.com/mydocker/mydocker/state"
)

// ensureGuard makes the guard's table, if the network wants one. A kernel without nftables for bridges is told to the user once
// for each time that the network is made, and written into its record: there, ports are isolated by the bridge itself.
func (m *Manager) ensureGuard(ctx context.Context, x executor, live *Network) error {
	if guardFor(live) == nil {
		return nil
	}
	op := guardTable()
	if c, err := nftables.New(); err == nil {
		if same, err := op.done(c); err == nil && same {
			return nil
		}
	}
	err := m.run(ctx, x, op)
	if err == nil {
		return m.guardAgain(ctx, x)
	}
	if !noBridgeFamily(err) {
		return err
	}
	if m.warn != nil {
		m.warn(fmt.Sprintf("network %s: this kernel has no nftables for bridges (CONFIG_NF_TABLES_BRIDGE): a container can use another's addresses", live.Name))
	}
	live.Unguarded = true
	return state.ReplaceJSON(m.livePath(live.ID), live, state.Volatile)
}

// guardAgain says of all links that are there what the table, which was gone or an older one, does not know.
func (m *Manager) guardAgain(ctx context.Context, x executor) error {
	live, err := recordedNetworks(filepath.Join(m.root.Run, "networks"))
	if err != nil {
		return err
	}
	missing, err := m.guardsMissing(live)
	if err != nil {
		return err
	}
	return m.run(ctx, x, missing...)
}

// guardsMissing puts in what the sets do not say of the endpoints of these networks.
func (m *Manager) guardsMissing(live []*Network) (ops []operation, err error) {
	there, err := guardElementsThere()
	if err != nil {
		return nil, err
	}
	for _, n := range live {
		eps, err := m.Endpoints(n.ID)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range eps {
			if missing := guardMissing(e, there[e.HostLink]); len(missing) > 0 {
				ops = append(ops, guardLink{missing})
			}
		}
	}
	return ops, nil
}

// withoutGuard lets an endpoint do without, if the network has turned out to have none.
func (m *Manager) withoutGuard(ctx context.Context, x executor, n *Network, e *Endpoint, wired bool) error {
	var live Network
	if err := state.ReadJSON(m.livePath(n.ID), &live); err != nil || !live.Unguarded || e.Guard == nil {
		return err
	}
	alone := e.Guard.Alone
	e.Guard = nil
	if err := m.saveEndpoint(e); err != nil || !alone || !wired {
		return err
	}
	return m.run(ctx, x, isolatePort(e))
}

// withdrawGuard is ensureGuard's counterpart, for when the last network has gone.
func (m *Manager) withdrawGuard(ctx context.Context, x executor) error {
	op := guardTable()
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open a netfilter socket: %w", err)
	}
	op.rules, op.reason = nil, "no network is left: the guard goes"
	if gone, err := op.done(c); err != nil && noBridgeFamily(err) || gone {
		return nil
	}
	return m.run(ctx, x, op)
}

// guards removes what the guard says of links that no record speaks of.
func (g *collector) guards() error {
	there, err := guardElementsThere()
	if err != nil || len(there) == 0 {
		return err
	}
	all, err := g.m.allEndpoints()
	if err != nil {
		return err
	}
	for _, e := range all {
		delete(there, e.HostLink)
	}
	x := g.m.executor()
	defer x.close()
	var errs []error
	for link, elements := range there {
		g.note("guard of link %s", link)
		errs = append(errs, g.m.run(g.ctx, x, freeLink{elements}))
	}
	return errors.Join(errs...)
}

// allEndpoints are those of all networks, and those that have been released and not yet dismantled.
func (m *Manager) allEndpoints() ([]*Endpoint, error) {
	all, err := m.releasedEndpoints()
	if err != nil {
		return nil, err
	}
	nets, err := readDirNames(filepath.Join(m.root.Run, "endpoints"))
	if err != nil {
		return nil, err
	}
	for _, id := range nets {
		eps, err := m.Endpoints(id)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		all = append(all, eps...)
	}
	return all, nil
}

// guard looks at the guard's table, and then at what it says of each link.
func (s *syncer) guard(live []*Network) error {
	if !slices.ContainsFunc(live, func(n *Network) bool { return guardFor(n) != nil && !n.Unguarded }) {
		return nil
	}
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open a netfilter socket: %w", err)
	}
	op := guardTable()
	same, err := op.done(c)
	if err != nil {
		return err
	}
	if !same {
		if op, err = op.lacking(c); err != nil {
			return err
		}
		if err := s.do(op); err != nil {
			return err
		}
	}
	missing, err := s.m.guardsMissing(live)
	if err != nil {
		return err
	}
	return s.do(missing...)
}

// guardMissing are the elements of an endpoint that are not there.
func guardMissing(e *Endpoint, there []nftElement) []nftElement {
	return slices.DeleteFunc(guardElements(e), func(want nftElement) bool {
		return slices.ContainsFunc(there, func(x nftElement) bool { return x.set == want.set && string(x.key) == string(want.key) })
	})
}
