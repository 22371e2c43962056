package engine

import (
	"context"

	"github.com/mydocker/mydocker/network"
)

// CreateNetwork makes a network, and tells of it.
func (e *Engine) CreateNetwork(ctx context.Context, o network.CreateOptions) (*network.Network, error) {
	n, err := e.networks.Create(ctx, o)
	if err == nil {
		e.Emit(ownNetworkEvent("create", n))
	}
	return n, err
}

// RemoveNetwork removes a network that no container uses.
func (e *Engine) RemoveNetwork(ctx context.Context, ref string) error {
	n, err := e.networks.Network(ref)
	if err != nil {
		return e.networks.Remove(ctx, ref) // which says what is wrong, or finishes what was cut short
	}
	if err := e.networks.Remove(ctx, ref); err != nil {
		return err
	}
	e.Emit(ownNetworkEvent("destroy", n))
	return nil
}

func ownNetworkEvent(action string, n *network.Network) Event {
	return Event{Type: "network", Action: action, Actor: Actor{ID: n.ID, Attributes: map[string]string{"name": n.Name, "type": n.Driver}}}
}
