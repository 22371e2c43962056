package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/mydocker/mydocker/network"
)

// Connect joins a container to one more network, at once when it runs, else when it starts.
func (e *Engine) Connect(ctx context.Context, ref string, a NetworkAttachment) error {
	n, err := e.networks.Network(a.Network)
	if err != nil {
		if _, findErr := e.Find(ref); findErr != nil {
			return findErr
		}
		return err
	}
	d, l, err := e.change(ref)
	if err != nil {
		return err
	}
	defer l.Release()
	if err := e.checkConnect(d, n, a); err != nil {
		return err
	}
	if n.Driver == network.DriverNull {
		return e.joinNone(d, n, true)
	}
	o := &d.Options
	before := *o
	a.Network, o.Links, a.Links = n.Name, append(slices.Clone(o.Links), a.Links...), nil
	if o.Network == modeNone {
		o.setFirst(a)
	} else {
		o.Networks = append(slices.Clone(o.Networks), a)
	}
	if err := e.begin(d.ID, doingWire, n.ID); err != nil {
		return err
	}
	if err := e.connectNow(ctx, d, n, a, before.Links); err != nil {
		*o = before
		return errors.Join(e.takeBack(d, err), e.finished(d.ID))
	}
	e.networkEvent("connect", n, d)
	return e.finished(d.ID)
}

// connectNow writes the definition down, and wires the container if it runs. The monitor reads the definition for the links
// in it alone: without a new one it need not wait until the disk has it.
func (e *Engine) connectNow(ctx context.Context, d *Definition, n *network.Network, a NetworkAttachment, links []string) error {
	there, written := e.writeBeside(d)
	if _, err := e.running(d); err != nil {
		return written()
	}
	ep, err := e.attachRunning(ctx, d, n, a)
	attached := err == nil
	if attached && len(d.Options.Links) == len(links) {
		err = there()
	} else if attached {
		err = written()
	}
	if attached && err == nil {
		err = errors.Join(e.tellNetworkChange(d), written())
	}
	if err == nil {
		err = e.movePorts(ctx, d, nil)
	}
	writeErr := written()
	if _, runErr := e.running(d); errors.As(runErr, new(*NotRunning)) {
		// It ended meanwhile: it is on the network when it starts again. Who released it may have been there before us.
		if err := e.networks.Detach(ctx, d.ID, n.ID); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, writeErr)
		}
		return writeErr
	}
	if err == nil {
		e.networks.AwaitCarrier(ep)
		return nil
	}
	if attached {
		err = errors.Join(err, e.detachRunning(ctx, d, n))
	}
	return err
}

// checkConnect refuses what a container cannot have beside what it has, and what no container could have on a network.
func (e *Engine) checkConnect(d *Definition, n *network.Network, a NetworkAttachment) error {
	o := &d.Options
	for _, r := range o.networksShown() {
		if have, err := e.networks.Network(r); err == nil && have.ID == n.ID {
			return fmt.Errorf("container %s is already connected to network %s", d.Name, n.Name)
		}
	}
	switch {
	case n.Driver == network.DriverHost:
		return fmt.Errorf("network %s is a mode, not a network that can be joined: start another container with --network %s", n.Name, n.Name)
	case !hasOwnSandbox(o.Network):
		return fmt.Errorf("container %s shares the network of another (--network %s) and cannot be connected to any other", d.Name, o.Network)
	case o.Network == modeNone && !o.Unplugged:
		return fmt.Errorf("container %s cannot be connected to another network beside none: `mydocker network disconnect none %[1]s` first", d.Name)
	case n.Driver == network.DriverNull && !o.Unplugged:
		return fmt.Errorf("container %s cannot be connected to network none beside another: disconnect it from its networks first", d.Name)
	case n.Driver == network.DriverNull:
		return nil
	}
	if err := n.CheckJoin(a.IP, a.IP6, a.MAC); err != nil {
		return err
	}
	for _, s := range a.Links {
		ref, _, err := splitLink(s)
		if err == nil {
			_, err = e.Find(ref)
		}
		if err != nil {
			return fmt.Errorf("--link: %w", err)
		}
	}
	return errors.Join(e.networks.CheckShape(a.Shape), n.CheckExtras(a.Extras))
}

// writeBeside writes the definition while something else is done: there waits until everybody can read it, written until the disk,
// which takes its time, has it. Who is killed in between has left word (begin).
func (e *Engine) writeBeside(d *Definition) (there, written func() error) {
	anew, kept := make(chan error, 1), make(chan error, 1)
	go func() {
		err := e.defineAnew(d)
		anew <- err
		if err == nil {
			err = e.keepDefinition(d)
		}
		kept <- err
	}()
	there = sync.OnceValue(func() error { return <-anew })
	if e.Watch != nil {
		_ = there() // one after the other is what can be explained; written has the error, too
	}
	return there, sync.OnceValue(func() error { return <-kept })
}

// attachRunning wires one more network into a running container. If it is the one that its ports are published by, their
// sockets are the monitor's to take.
func (e *Engine) attachRunning(ctx context.Context, d *Definition, n *network.Network, a NetworkAttachment) (*network.Endpoint, error) {
	o := network.EndpointOptions{
		ContainerID: d.ID, ContainerName: d.Name, Network: n.Name, IP: a.IP, IP6: a.IP6, MAC: a.MAC, Aliases: a.Aliases, Links: e.linkNames(d), Shape: a.Shape, Extras: a.Extras,
	}
	published, err := e.publishes(d)
	if err != nil {
		return nil, err
	}
	if !published {
		if o.Ports, err = e.portsToPublish(d); err != nil {
			return nil, err
		}
		last := len(d.Options.networkRefs()) - 1
		o.Proxy = e.proxied(&d.Options)
		o.Ports = possible(n, n.HostSide(e.portsByPlace(&d.Options, o.Ports)[last].ports, o.Proxy), o.Proxy)
	}
	ep, err := e.attach(ctx, &network.Sandbox{Name: d.Name, Path: e.Root.NetNS + "/" + d.Name}, o)
	if err == nil {
		ep.LetGo()
	}
	return ep, err
}

// setFirst lets a container's first network be that one.
func (o *CreateOptions) setFirst(a NetworkAttachment) {
	o.Network, o.IP, o.IP6, o.MacAddress, o.Aliases, o.Shape, o.Extras = a.Network, a.IP, a.IP6, a.MAC, a.Aliases, a.Shape, a.Extras
	o.Unplugged = a.Network == modeNone
}

// joinNone lets a container be on the network called none, or off it. Nothing changes in the kernel: it has lo either way. But who is on
// none is on no other, as in Docker.
func (e *Engine) joinNone(d *Definition, n *network.Network, join bool) error {
	action := "disconnect"
	if join {
		action = "connect"
	}
	if d.Options.Unplugged = !join; join {
		d.Options.Network = modeNone
	}
	if err := e.writeDefinition(d); err != nil {
		return err
	}
	e.networkEvent(action, n, d)
	return nil
}

// Shape changes how a container's traffic on a network is slowed down; ref "" is its first network. A running one feels it at
// once, and it holds for the next start.
func (e *Engine) Shape(ctx context.Context, container, ref string, change func(network.Shape) (network.Shape, error)) error {
	d, l, err := e.change(container)
	if err != nil {
		return err
	}
	defer l.Release()
	s, name, err := e.shapeOf(d, ref)
	if err != nil {
		return err
	}
	changed, err := change(*s)
	if err != nil {
		return err
	}
	if err := e.networks.CheckShape(changed); err != nil {
		return err
	}
	*s = changed
	if _, err := e.running(d); err == nil {
		if err := e.networks.Shape(ctx, d.ID, name, changed); err != nil {
			return err
		}
	}
	return e.writeDefinition(d)
}

// shapeOf finds the place in the definition that says how traffic on a network is shaped.
func (e *Engine) shapeOf(d *Definition, ref string) (*network.Shape, string, error) {
	o := &d.Options
	if !isNetwork(o.Network) {
		return nil, "", fmt.Errorf("container %s (--network %s) has no interface of its own that could be shaped", d.Name, o.Network)
	}
	if ref == "" {
		return &o.Shape, o.Network, nil
	}
	n, err := e.networks.Network(ref)
	if err != nil {
		return nil, "", err
	}
	for i, r := range o.networkRefs() {
		if have, err := e.networks.Network(r); err != nil || have.ID != n.ID {
			continue
		}
		if i == 0 {
			return &o.Shape, n.Name, nil
		}
		return &o.Networks[i-1].Shape, n.Name, nil
	}
	return nil, "", fmt.Errorf("container %s is not connected to network %s", d.Name, n.Name)
}

func (e *Engine) networkEvent(action string, n *network.Network, d *Definition) {
	e.Emit(networkEventOf(action, n, d))
}

// tellNetworkChange lets the monitor of a running container write its files anew and serve it names.
func (e *Engine) tellNetworkChange(d *Definition) error {
	conn, err := e.dialMonitor(d)
	if err != nil {
		return err
	}
	defer conn.Close()
	w := &frameWriter{w: conn}
	if err := errors.Join(w.frame(frameQuiet, nil), w.frame(frameNetwork, nil)); err != nil {
		return err
	}
	// The answer says that it is done.
	for {
		kind, p, _, err := readFrame(conn, nil)
		switch {
		case err == io.EOF || err == nil && kind == frameExit:
			return nil // it ended meanwhile
		case err != nil:
			return fmt.Errorf("tell the monitor of %s: %w", d.Name, err)
		case kind == frameNetwork && len(p) > 0:
			return errors.New(string(p))
		case kind == frameNetwork:
			return nil
		}
	}
}

// networkChanged is the monitor's side of it.
func (m *monitor) networkChanged() error {
	for try := 0; ; try++ {
		m.mu.Lock()
		if m.live != nil {
			break
		}
		m.mu.Unlock()
		if try == 1000 {
			return nil // ended: there is nobody to have names
		}
		time.Sleep(2 * time.Millisecond) // just being started
	}
	defer m.mu.Unlock()
	d, err := m.e.readDefinition(m.d.ID)
	if err != nil {
		return err
	}
	attached, err := m.e.networks.ContainerEndpoints(d.ID)
	if err != nil {
		return err
	}
	held := m.live.holdPorts(attached)
	released := make(chan error, 1)
	go func() { released <- m.e.networks.DismantleReleased(d.ID, m.complain) }()
	return errors.Join(held, m.e.networkReady(context.Background(), d, attached, m.live), <-released)
}

// networkReady does what follows from the networks that a container is on: its files, and its resolver.
func (e *Engine) networkReady(ctx context.Context, d *Definition, attached []*network.Endpoint, l *live) error {
	resolving := e.userDefined(attached)
	if resolving && l.dns == nil {
		var err error
		if l.upstream, err = network.Upstreams(e.resolvOptions(d, true)); err != nil {
			return err
		}
		l.dns, err = e.networks.ServeDNS(ctx, &network.Sandbox{Name: d.Name, Path: e.Root.NetNS + "/" + d.Name}, d.ID, l.upstream...)
		if err != nil {
			return err
		}
	}
	return e.writeNetworkFiles(d, attached, resolving)
}

// userDefined says whether the container is on a network that somebody made: those have names, the default one has none.
func (e *Engine) userDefined(attached []*network.Endpoint) bool {
	return slices.ContainsFunc(attached, func(ep *network.Endpoint) bool { return ep.NetworkName != network.DefaultName })
}
