package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/state"
)

// A network is realised when its bridge and rules are in the kernel. RUN/networks/<id>.json is written before the first
// effect, RUN/networks/<id>.ready after the last one: its presence is all that a run on a realised network has to look at.

func (m *Manager) readyPath(id string) string {
	return strings.TrimSuffix(m.livePath(id), ".json") + ".ready"
}

// backendOf is the firewall backend that a network's rules are made by: the one that made them when the network was put into
// the kernel, whatever the configuration has become since, or else the one that is wanted now. The content of the .ready
// file is its name.
func (m *Manager) backendOf(n *Network) string {
	if name, err := state.ReadFile(m.readyPath(n.ID)); err == nil && len(name) > 0 {
		return string(name)
	}
	var live Network
	if err := state.ReadJSON(m.livePath(n.ID), &live); err == nil && live.Firewall != "" {
		return live.Firewall
	}
	return m.chosen()
}

// liveNetworks are those that are in the kernel, the oldest first, by the backend of their rules.
func (m *Manager) liveNetworks() (map[string][]*Network, error) {
	live, err := recordedNetworks(filepath.Join(m.root.Run, "networks"))
	slices.SortStableFunc(live, func(a, b *Network) int { return a.Created.Compare(b.Created) }) // so rules come back in the order that they had
	by := map[string][]*Network{}
	for _, n := range live {
		if n.bridged() { // the others have no rules
			by[n.Firewall] = append(by[n.Firewall], n)
		}
	}
	return by, err
}

// realise sees to it that the network is in the kernel. It is cheap when it is.
func (m *Manager) realise(ctx context.Context, x executor, n *Network) error {
	if n.onWire() {
		if _, err := os.Stat(m.readyPath(n.ID)); err == nil {
			return nil
		}
		return m.repair(ctx, x, n)
	}
	fw, err := m.firewall(m.backendOf(n))
	if err != nil {
		return err
	}
	if _, err := os.Stat(m.readyPath(n.ID)); err == nil && fw.Intact(n) {
		return nil
	}
	return m.repair(ctx, x, n)
}

// repair makes what is missing of the network in the kernel, whatever the records say.
func (m *Manager) repair(ctx context.Context, x executor, n *Network) error {
	lock, err := m.lockNetworks()
	if err != nil {
		return err
	}
	defer lock.Release()
	return m.ensure(ctx, x, n)
}

// ensure is repair for those who hold the lock on all networks.
func (m *Manager) ensure(ctx context.Context, x executor, n *Network) (err error) {
	if _, err := os.Stat(m.livePath(n.ID)); errors.Is(err, fs.ErrNotExist) {
		if err := m.refuseForeignLink(n); err != nil {
			return err
		}
	}
	if err := m.checkIPv6(n); err != nil {
		return err
	}
	live := *n
	live.Unguarded = false
	if n.bridged() {
		live.Firewall = m.backendOf(n)
	}
	if err := state.ReplaceJSON(m.livePath(n.ID), &live, state.Volatile); err != nil {
		return err
	}
	_, statErr := os.Stat(m.readyPath(n.ID))
	defer func() {
		if err != nil && errors.Is(statErr, fs.ErrNotExist) { // never was ready: nobody uses it
			err = errors.Join(err, m.unrealise(context.WithoutCancel(ctx), n))
		}
	}()
	if err = m.run(ctx, x, linkPlan(n)...); err != nil {
		return fmt.Errorf("make network %s: %w", n.Name, err)
	}
	if n.onWire() {
		return state.Replace(m.readyPath(n.ID), nil, state.Volatile)
	}
	if err = m.ensureRules(ctx, x, live.Firewall); err != nil {
		return fmt.Errorf("make the rules of network %s: %w", n.Name, err)
	}
	if err = m.ensureGuard(ctx, x, &live); err != nil {
		return fmt.Errorf("make the guard of network %s: %w", n.Name, err)
	}
	return state.Replace(m.readyPath(n.ID), []byte(live.Firewall), state.Volatile)
}

// refuseForeignLink guards a network that is realised for the first time since the host started: meanwhile somebody else may
// have made a link of its name.
func (m *Manager) refuseForeignLink(n *Network) error {
	if !n.bridged() {
		return nil
	}
	x := m.executor()
	defer x.close()
	k, ok := x.(*kernel)
	if !ok {
		return nil
	}
	l, _, err := k.link("", n.Bridge)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return exists("network %s needs a link called %s, but an interface (a %s) of that name exists that is not mydocker's: see `ip -d link show %s`",
		n.Name, n.Bridge, l.Type(), n.Bridge)
}

// ensureRules makes up the difference between the rules that one backend has and those that its networks need.
func (m *Manager) ensureRules(ctx context.Context, x executor, backend string) error {
	live, err := m.liveNetworks()
	if err != nil {
		return err
	}
	fw, err := m.firewall(backend)
	if err != nil {
		return err
	}
	ops, err := fw.Networks(ctx, live[backend])
	if err != nil {
		return err
	}
	return m.run(ctx, x, ops...)
}

// unrealise takes a network out of the kernel. It is idempotent and goes on after an error.
func (m *Manager) unrealise(ctx context.Context, n *Network) error {
	x := m.executor()
	defer x.close()
	if _, err := os.Stat(m.livePath(n.ID)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if n.onWire() {
		return m.leaveWire(ctx, x, n)
	}
	backend := m.backendOf(n)
	errs := []error{ignoreAbsent(os.Remove(m.readyPath(n.ID)))}
	live, err := m.liveNetworks()
	errs = append(errs, err)
	others, others4, others6 := 0, 0, 0
	var rest []*Network // that the same backend serves
	for name, networks := range live {
		for _, other := range networks {
			if other.ID == n.ID {
				continue
			}
			others++
			if other.EnableIPv4() {
				others4++
			}
			if other.EnableIPv6 {
				others6++
			}
			if name == backend {
				rest = append(rest, other)
			}
		}
	}
	errs = append(errs, m.withdrawRules(ctx, x, backend, rest))
	errs = append(errs, m.run(ctx, x, linkUndo(n)...))
	if others == 0 {
		errs = append(errs, m.withdrawGuard(ctx, x))
	}
	if others4 == 0 {
		undo, err := forwardingUndo(m.root, "net/ipv4/ip_forward")
		errs = append(errs, err, m.run(ctx, x, undo...))
	}
	if others6 == 0 {
		undo, err := forwardingUndo(m.root, "net/ipv6/conf/all/forwarding")
		errs = append(errs, err, m.run(ctx, x, undo...))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove network %s: %w", n.Name, err)
	}
	return ignoreAbsent(os.Remove(m.livePath(n.ID)))
}

// leaveWire is unrealise for a network that has no rules.
func (m *Manager) leaveWire(ctx context.Context, x executor, n *Network) error {
	err := errors.Join(ignoreAbsent(os.Remove(m.readyPath(n.ID))), m.run(ctx, x, linkUndo(n)...))
	if err != nil {
		return fmt.Errorf("remove network %s: %w", n.Name, err)
	}
	return ignoreAbsent(os.Remove(m.livePath(n.ID)))
}

func (m *Manager) withdrawRules(ctx context.Context, x executor, backend string, rest []*Network) error {
	fw, err := m.firewall(backend)
	if errors.Is(err, errNoIptables) {
		return nil // without the program no rule can have been made
	}
	if err != nil {
		return err
	}
	ops, err := fw.Networks(ctx, rest)
	if err != nil {
		return err
	}
	return m.run(ctx, x, ops...)
}

// Remove takes a network away. One that containers are on is refused, with their names.
func (m *Manager) Remove(ctx context.Context, ref string) error {
	n, err := m.Network(ref)
	if err != nil {
		return err
	}
	if n.BuiltIn() {
		return fmt.Errorf("%s is a pre-defined network and cannot be removed", n.Name)
	}
	lock, err := m.lockNetworks()
	if err != nil {
		return err
	}
	defer lock.Release()
	// Who attaches holds the bitmaps' locks while he writes his record, and looks whether the network is still there.
	b, err := m.openBooks(n)
	if err != nil {
		return err
	}
	defer b.close()
	eps, err := m.Endpoints(n.ID)
	if err != nil {
		return err
	}
	if len(eps) > 0 {
		return fmt.Errorf("network %s has active endpoints: %s: stop them or disconnect them first", n.Name, endpointNames(eps))
	}
	return m.remove(ctx, n)
}

// Prune removes every network that was made by hand and has no container on it, and returns their names. filter may keep
// some; nil keeps none.
func (m *Manager) Prune(ctx context.Context, filter func(*Network) bool) (removed []string, err error) {
	all, err := m.Networks()
	for _, n := range all {
		if n.BuiltIn() || filter != nil && !filter(n) {
			continue
		}
		eps, epErr := m.Endpoints(n.ID)
		if epErr != nil || len(eps) > 0 {
			err = errors.Join(err, epErr)
			continue
		}
		if removeErr := m.Remove(ctx, n.ID); removeErr != nil {
			err = errors.Join(err, removeErr)
			continue
		}
		removed = append(removed, n.Name)
	}
	return removed, err
}

// remove is the one teardown of a network: Remove, a failed Create and `gc` call it. The lock on all networks is held.
func (m *Manager) remove(ctx context.Context, n *Network) error {
	if err := m.unrealise(ctx, n); err != nil {
		return err
	}
	errs := []error{ignoreAbsent(os.Remove(m.endpointsDir(n.ID)))}
	for _, ending := range []string{".bitmap", ".bitmap6"} {
		errs = append(errs, ignoreAbsent(os.Remove(filepath.Join(m.root.Run, "ipam", n.ID+ending))))
	}
	errs = append(errs, ignoreAbsent(os.Remove(m.networkPath(n.ID))), state.Unclaim(m.networkName(n.Name), n.ID))
	return errors.Join(errs...)
}

// sweepNetworks removes what is in the kernel of networks that have no record any more. The lock on all networks is held.
func (m *Manager) sweepNetworks(ctx context.Context) error {
	live, err := recordedNetworks(filepath.Join(m.root.Run, "networks"))
	errs := []error{err}
	for _, n := range live {
		if _, err := os.Stat(m.networkPath(n.ID)); errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, m.remove(ctx, n))
		}
	}
	return errors.Join(errs...)
}
