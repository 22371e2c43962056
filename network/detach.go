package network

import (
	"context"
	"errors"
	"io/fs"

	"github.com/mydocker/mydocker/state"
)

// Detach takes a container off one network; the others stay. If that network was the container's way out, the next one that
// has a gateway becomes it.
func (m *Manager) Detach(ctx context.Context, containerID, ref string) error {
	n, err := m.Network(ref)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	e := new(Endpoint)
	err = state.ReadJSON(m.endpointPath(n.ID, containerID), e)
	if errors.Is(err, fs.ErrNotExist) {
		return absent("container %s is not connected to network %s", short(containerID), n.Name)
	}
	if err != nil {
		return err
	}
	if err := m.releaseEndpoint(ctx, e); err != nil {
		return err
	}
	if e.DefaultRoute {
		return m.moveDefaultRoute(ctx, containerID)
	}
	return nil
}

// moveDefaultRoute gives the default route to the first network that can have it.
func (m *Manager) moveDefaultRoute(ctx context.Context, containerID string) error {
	eps, err := m.ContainerEndpoints(containerID)
	if err != nil {
		return err
	}
	sb, err := m.Sandbox(containerID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range eps {
		if !e.Gateway.IsValid() && !e.Gateway6.IsValid() && !e.Routed {
			continue
		}
		e.DefaultRoute = true
		if err := m.saveEndpoint(e); err != nil {
			return err
		}
		x := m.executor()
		defer x.close()
		return m.run(ctx, x, routesFor(e, sb)...)
	}
	return nil
}
