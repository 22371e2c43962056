package network

import (
	"context"
	"errors"
	"fmt"

	"github.com/mydocker/mydocker/state"
)

// A container's ports are published by the network that its default route leads to: an answer goes where that leads, and only from there
// it finds the way back through the rewriting. When another network becomes that one, the ports move to it.

// Republish lets endpoints of one container publish what wanted says, by the ids of their networks, instead of what they do. Between the
// two the ports are nobody's: free is called there, so that who holds the sockets lets them go. After an error it is as before, where
// that is possible.
func (m *Manager) Republish(ctx context.Context, endpoints []*Endpoint, wanted map[string][]PortMapping, proxy bool, free func() error) error {
	ctx = context.WithoutCancel(ctx)
	had := map[string][]PortMapping{}
	for _, e := range endpoints {
		had[e.NetworkID] = e.Ports
		if err := m.withdrawPorts(ctx, e, wanted[e.NetworkID]...); err != nil {
			return err
		}
	}
	if err := free(); err != nil {
		return err
	}
	err := m.publishAll(ctx, endpoints, wanted, proxy)
	if err != nil {
		for _, e := range endpoints {
			err = errors.Join(err, m.withdrawPorts(ctx, e))
		}
		err = errors.Join(err, m.publishAll(ctx, endpoints, had, proxy))
	}
	return err
}

func (m *Manager) publishAll(ctx context.Context, endpoints []*Endpoint, wanted map[string][]PortMapping, proxy bool) error {
	for _, e := range endpoints {
		ports := wanted[e.NetworkID]
		if len(ports) == 0 {
			continue
		}
		if err := m.publishLate(ctx, e, ports, proxy); err != nil {
			return fmt.Errorf("publish the ports of %s by network %s: %w", e.ContainerName, e.NetworkName, err)
		}
	}
	return nil
}

// withdrawPorts takes ports off an endpoint that stays. The record comes last: until then sync would bring the rules back. next is what
// it is to publish then.
func (m *Manager) withdrawPorts(ctx context.Context, e *Endpoint, next ...PortMapping) error {
	if len(e.Ports) == 0 {
		return nil
	}
	x := m.executor()
	defer x.close()
	if err := m.unpublish(ctx, x, e, next...); err != nil {
		return err
	}
	e.closeHeld()
	lock, err := m.lockPorts()
	if err != nil {
		return err
	}
	defer lock.Release()
	err = m.unclaimPorts(e)
	e.Ports, e.Proxy = nil, false
	return errors.Join(err, m.saveEndpoint(e))
}

// publishLate publishes ports by an endpoint that is there already.
func (m *Manager) publishLate(ctx context.Context, e *Endpoint, ports []PortMapping, proxy bool) error {
	n := new(Network)
	if err := state.ReadJSON(m.networkPath(e.NetworkID), n); err != nil {
		return err
	}
	e.Proxy = proxy
	if err := m.enter(e, n.HostSide(ports, proxy)); err != nil {
		return err
	}
	x := m.executor()
	defer x.close()
	if err := m.run(ctx, x, hairpin(e)); err != nil {
		return err
	}
	fw, err := m.firewallFor(e)
	if err != nil {
		return err
	}
	err = m.publish(ctx, x, fw, e)
	var noChain *refused
	if !errors.As(err, &noChain) {
		return err
	}
	if err := m.repair(ctx, x, n); err != nil {
		return err
	}
	return m.publish(ctx, x, fw, e)
}

// RenameRules lets the rules of a container's ports name it as its records do. Rules that somebody has flushed are left to sync.
func (m *Manager) RenameRules(ctx context.Context, containerID string) error {
	eps, err := m.ContainerEndpoints(containerID)
	errs := []error{err}
	for _, e := range eps {
		errs = append(errs, m.renameRules(ctx, e))
	}
	return errors.Join(errs...)
}

func (m *Manager) renameRules(ctx context.Context, e *Endpoint) error {
	if len(e.Ports) == 0 {
		return nil
	}
	fw, err := m.firewallFor(e)
	if err != nil || fw == nil {
		return err
	}
	there, err := fw.Published(ctx)
	if err != nil {
		return err
	}
	x := m.executor()
	defer x.close()
	if err = m.run(ctx, x, fw.Rename(e, there[short(e.ID)])...); errors.As(err, new(*refused)) {
		return nil
	}
	return err
}
