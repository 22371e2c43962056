package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// script writes operations as a shell script that a person can run on a clean host: the commands that they equal, with why.
func script(ops []operation) string {
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintf(&b, "# %s\n%s\n", op.Why(), op.Command())
	}
	return b.String()
}

const scriptHeader = "#!/bin/sh\nset -e\n"

// Plan is the script of what networks are now: their bridges, their rules, and their containers' namespaces, cables and ports.
func (m *Manager) Plan(ctx context.Context, refs ...string) (string, error) {
	var networks []*Network
	var places []*Endpoint
	of := map[*Endpoint]*Network{}
	for _, ref := range refs {
		n, err := m.Network(ref)
		if err != nil {
			return "", err
		}
		if !n.bridged() && !n.onWire() {
			return "", fmt.Errorf("network %s has nothing in the kernel", n.Name)
		}
		eps, err := m.Endpoints(n.ID)
		if err != nil {
			return "", err
		}
		networks, places = append(networks, n), append(places, eps...)
		for _, e := range eps {
			of[e] = n
		}
	}
	ops, err := m.networkScript(networks...)
	if err != nil {
		return "", err
	}
	// A container that is on several of them has its interfaces in their order, and its namespace with the first.
	slices.SortStableFunc(places, func(a, b *Endpoint) int {
		if a.ContainerID == b.ContainerID && interfaceLess(a.Interface, b.Interface) {
			return -1
		}
		return strings.Compare(a.ContainerID, b.ContainerID)
	})
	for i, e := range places {
		more, err := m.endpointScript(of[e], e, i == 0 || places[i-1].ContainerID != e.ContainerID)
		if err != nil {
			return "", err
		}
		ops = append(ops, more...)
	}
	return scriptHeader + script(ops), nil
}

// PlanCreate is the script of the network that Create would make. It changes nothing.
func (m *Manager) PlanCreate(ctx context.Context, o CreateOptions) (string, error) {
	if err := checkCreate(o); err != nil {
		return "", err
	}
	k := &kernel{root: m.root}
	defer k.close()
	candidates, err := m.config.pool()
	if err != nil {
		return "", err
	}
	n, err := m.define(k, o, candidates, nil)
	if err != nil {
		return "", err
	}
	ops, err := m.networkScript(n)
	return scriptHeader + script(ops), err
}

// PlanAttach is the script of what CreateSandbox and Attach would do on a network that is there. It changes nothing but
// looks for an address and ports as they would, so that what they would refuse is refused.
func (m *Manager) PlanAttach(ctx context.Context, sandbox string, places ...EndpointOptions) (_ string, err error) {
	var ops []operation
	for i, o := range places {
		n, err := m.Network(o.Network)
		if err != nil {
			return "", err
		}
		if !n.bridged() && !n.onWire() {
			return "", fmt.Errorf("network %s has nothing to attach to", n.Name)
		}
		e, _, err := m.claim(n, m.sandbox(sandbox), o)
		if err != nil {
			return "", err
		}
		e.closeHeld()
		defer func() { err = errors.Join(err, m.forget(e)) }() // not before the next one has seen it
		more, err := m.endpointScript(n, e, i == 0)
		if err == nil {
			err = m.displace(e)
		}
		if err != nil {
			return "", err
		}
		ops = append(ops, more...)
	}
	return scriptHeader + script(ops), nil
}

// networkScript is networks on a host that has none yet.
func (m *Manager) networkScript(networks ...*Network) (ops []operation, err error) {
	by := map[string][]*Network{}
	guarded := false
	for _, n := range networks {
		if n.onWire() {
			ops = append(ops, parentPlan(n)...)
			continue
		}
		backend := m.backendOf(n)
		ops, by[backend], guarded = append(ops, bridgePlan(n)...), append(by[backend], n), guarded || guardFor(n) != nil
	}
	for _, backend := range slices.Sorted(maps.Keys(by)) {
		fw, err := m.firewall(backend)
		if err != nil {
			return nil, err
		}
		ops = append(ops, fw.Fresh(by[backend]...)...)
	}
	for _, f := range nftFamilies() {
		if pass := nftPassFor(f, by[FirewallNFTables], true); len(pass.bridges) > 0 && m.hookedBy(f, by, false) {
			ops = append(ops, pass)
		}
	}
	if guarded {
		ops = append(ops, guardTable())
	}
	return ops, nil
}

func (m *Manager) endpointScript(n *Network, e *Endpoint, first bool) ([]operation, error) {
	sb := m.sandbox(e.Sandbox)
	var ops []operation
	if first {
		ops = append(ops, pinNamespace{Sandbox: sb})
	}
	if elements := guardElements(e); len(elements) > 0 {
		ops = append(ops, guardLink{elements})
	}
	ops = append(ops, endpointPlan(n, e, sb)...)
	fw, err := m.firewallFor(e)
	if err != nil || fw == nil {
		return ops, err
	}
	return append(ops, fw.Publish(e)...), nil
}

// forget takes back a claim of which nothing has come into the kernel, as if it had not been: the next container gets the
// address.
func (m *Manager) forget(e *Endpoint) error {
	if err := m.releaseClaims(e); err != nil {
		return err
	}
	b, err := m.openBooksOf(e)
	if err != nil {
		return err
	}
	if b.v4 != nil {
		err = b.v4.stepBack(e.Address.Addr())
	}
	if b.v6 != nil {
		err = errors.Join(err, b.v6.stepBack(e.Address6.Addr()))
	}
	return errors.Join(err, b.close(), ignoreAbsent(os.Remove(m.releasedPath(e))))
}
