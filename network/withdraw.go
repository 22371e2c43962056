package network

import (
	"context"
	"fmt"
	"path/filepath"
)

// Realised are the networks that are in the kernel now.
func (m *Manager) Realised() ([]*Network, error) {
	return recordedNetworks(filepath.Join(m.root.Run, "networks"))
}

// Withdraw takes a network out of the kernel and keeps its record: its next container brings it back. It is how something that began
// with making the network ready is undone to the end. A network with containers on it is an error.
func (m *Manager) Withdraw(ctx context.Context, n *Network) error {
	lock, err := m.lockNetworks()
	if err != nil {
		return err
	}
	defer lock.Release()
	eps, err := m.Endpoints(n.ID)
	if err != nil {
		return err
	}
	if len(eps) > 0 {
		return fmt.Errorf("take network %s out of the kernel: container %s is on it", n.Name, eps[0].ContainerName)
	}
	return m.unrealise(ctx, n)
}
