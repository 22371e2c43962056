package network

import (
	"context"
	"errors"
	"fmt"
	"os"
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

// Plan is the script of what a network is now: its bridge, its rules, and its containers' namespaces, cables and ports.
func (m *Manager) Plan(ctx context.Context, ref string) (string, error) {
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
	ops, err := m.networkScript(n)
	if err != nil {
		return "", err
	}
	for _, e := range eps {
		more, err := m.endpointScript(n, e)
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
	n, err := m.define(k, o, candidates)
	if err != nil {
		return "", err
	}
	ops, err := m.networkScript(n)
	return scriptHeader + script(ops), err
}

// PlanAttach is the script of what CreateSandbox and Attach would do on a network that is there. It changes nothing but
// looks for an address and ports as they would, so that what they would refuse is refused.
func (m *Manager) PlanAttach(ctx context.Context, sandbox string, o EndpointOptions) (string, error) {
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
	ops, err := m.endpointScript(n, e)
	if err := m.forget(e); err != nil {
		return "", err
	}
	return scriptHeader + script(ops), err
}

// networkScript is a network on a host that has none yet.
func (m *Manager) networkScript(n *Network) ([]operation, error) {
	if n.onWire() {
		return parentPlan(n), nil
	}
	fw, err := m.firewall(m.backendOf(n))
	if err != nil {
		return nil, err
	}
	ops := append(bridgePlan(n), fw.Fresh(n)...)
	if guardFor(n) != nil {
		ops = append(ops, guardTable())
	}
	return ops, nil
}

func (m *Manager) endpointScript(n *Network, e *Endpoint) ([]operation, error) {
	sb := m.sandbox(e.Sandbox)
	var ops []operation
	if e.Interface == "eth0" {
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
	err = b.v4.stepBack(e.Address.Addr())
	if b.v6 != nil {
		err = errors.Join(err, b.v6.stepBack(e.Address6.Addr()))
	}
	return errors.Join(err, b.close(), ignoreAbsent(os.Remove(m.releasedPath(e))))
}
