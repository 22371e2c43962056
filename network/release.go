package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/mydocker/mydocker/state"
)

// ReleaseClaims gives a container's addresses and host ports back and unpins its namespace, so that a next container can
// have them at once. It takes well under a millisecond; links and rules stay for Release.
func (m *Manager) ReleaseClaims(containerID string) error {
	eps, err := m.ContainerEndpoints(containerID)
	errs := []error{err}
	for _, e := range eps {
		errs = append(errs, m.releaseClaims(e))
		if e.HostLink == "" {
			// Its addresses are in use on the wire for as long as the link is there, and a shell that somebody has
			// opened in the namespace would keep both.
			errs = append(errs, m.leaveNamespace(e))
		}
	}
	return errors.Join(append(errs, m.unpin(containerID))...)
}

// releaseClaims moves the record, under the lock of the addresses: from then on it no longer counts as the owner of address
// and ports, so that a kill in the middle leaves marks without an owner, which the next look at the books clears, and
// never an address with two owners.
func (m *Manager) releaseClaims(e *Endpoint) error {
	books, err := m.openBooksOf(e)
	if err != nil {
		return err
	}
	moved, err := m.moveToReleased(e)
	if err != nil {
		return errors.Join(err, books.close())
	}
	var errs []error
	if moved { // else its addresses were given back before, and may be another's by now
		errs = append(errs, books.giveBack(e))
	}
	errs = append(errs, books.close())
	if len(e.Ports) > 0 {
		lock, err := m.lockPorts()
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, m.unclaimPorts(e), lock.Release())
	}
	return errors.Join(errs...)
}

// moveToReleased says whether it was this call that moved the record: two may release an endpoint at the same time, and one of them may
// come so late that the container has another place on the network.
func (m *Manager) moveToReleased(e *Endpoint) (moved bool, err error) {
	from, to := m.endpointPath(e.NetworkID, e.ContainerID), m.releasedPath(e)
	now := new(Endpoint)
	if err := state.ReadJSON(from, now); err != nil || now.ID != e.ID {
		return false, ignoreAbsent(err)
	}
	err = os.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(to), 0o711); err != nil {
			return false, err
		}
		err = os.Rename(from, to)
	}
	return err == nil, ignoreAbsent(err)
}

// Release takes everything of a container's networks away: claims, rules, links, records, its namespace. It can be called
// any number of times, at any moment, needs nothing to be alive, and does not stop at an error.
func (m *Manager) Release(ctx context.Context, containerID string) error {
	ctx = context.WithoutCancel(ctx)
	errs := []error{m.ReleaseClaims(containerID)}
	released, err := m.releasedEndpoints()
	errs = append(errs, err)
	x := m.executor()
	defer x.close()
	for _, e := range released {
		if e.ContainerID == containerID {
			errs = append(errs, m.dismantle(ctx, x, e))
		}
	}
	return errors.Join(errs...)
}

// releaseEndpoint is Release for one endpoint.
func (m *Manager) releaseEndpoint(ctx context.Context, e *Endpoint) error {
	x := m.executor()
	defer x.close()
	if err := m.releaseClaims(e); err != nil {
		return err
	}
	return m.dismantle(ctx, x, e)
}

// dismantle takes a released endpoint out of the kernel: rules first, then the cable, the record last.
func (m *Manager) dismantle(ctx context.Context, x executor, e *Endpoint) error {
	errs := []error{m.unpublish(ctx, x, e)}
	if e.HostLink != "" {
		errs = append(errs, m.run(ctx, x, deleteLink{Name: e.HostLink}))
	} else {
		errs = append(errs, m.leaveNamespace(e))
	}
	if elements := guardElements(e); len(elements) > 0 {
		errs = append(errs, m.run(ctx, x, freeLink{elements}))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("release %s from network %s: %w", e.ContainerName, e.NetworkName, err)
	}
	return ignoreAbsent(os.Remove(m.releasedPath(e)))
}

// unpublish takes an endpoint's rules away, and lets the flows that they began end, but those of a family that it publishes on.
func (m *Manager) unpublish(ctx context.Context, x executor, e *Endpoint, next ...PortMapping) error {
	fw, err := m.firewallFor(e)
	if err != nil || fw == nil {
		return err
	}
	errs := []error{m.run(ctx, x, fw.Withdraw(e)...)}
	for _, a := range []netip.Addr{e.Address.Addr(), e.Address6.Addr()} {
		if a.IsValid() && !slices.ContainsFunc(next, func(p PortMapping) bool { return p.leads(a.Is6()) }) {
			errs = append(errs, m.run(ctx, x, forgetAddress{a}))
		}
	}
	return errors.Join(errs...)
}
