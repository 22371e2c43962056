package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/mydocker/mydocker/network"
)

// Disconnect takes a container off a network. With force it may be gone itself: then what is left of it on the network goes.
func (e *Engine) Disconnect(ctx context.Context, ref, networkRef string, force bool) error {
	n, netErr := e.networks.Network(networkRef)
	d, l, err := e.change(ref)
	if err != nil && force && netErr == nil && errors.Is(err, fs.ErrNotExist) {
		return e.disconnectGone(ctx, ref, n, err)
	}
	if err != nil {
		return cmp.Or(netErr, err)
	}
	defer l.Release()
	if netErr != nil {
		return e.forgetNetwork(d, networkRef, netErr)
	}
	switch none := n.Driver == network.DriverNull; {
	case none && d.Options.Network == modeNone && !d.Options.Unplugged:
		return e.joinNone(d, n, false)
	case n.Driver == network.DriverHost && d.Options.Network == modeHost:
		return fmt.Errorf("container %s cannot be disconnected from network %s, in which it was made: make another with another --network", d.Name, n.Name)
	}
	was := *d
	if !e.leaveNetwork(&d.Options, n) {
		return fmt.Errorf("container %s is not connected to network %s", d.Name, n.Name)
	}
	if err := e.begin(d.ID, doingWire, n.ID); err != nil {
		return err
	}
	links := d.Options.Links
	d.Options.Links = e.linksLeft(d)
	off, err := e.disconnectNow(ctx, d, n, len(links) != len(d.Options.Links))
	if err != nil {
		if !off {
			err = e.takeBack(&was, err)
		}
		return errors.Join(err, e.finished(d.ID))
	}
	e.networkEvent("disconnect", n, d)
	return e.finished(d.ID)
}

// disconnectGone takes what is left of a container that is no more off a network. gone is what is said where nothing is.
func (e *Engine) disconnectGone(ctx context.Context, name string, n *network.Network, gone error) error {
	all, err := e.networks.Endpoints(n.ID)
	if err != nil {
		return err
	}
	for _, ep := range all {
		if _, err := e.Find(ep.ContainerID); ep.ContainerName == name && errors.Is(err, fs.ErrNotExist) {
			return e.networks.Detach(ctx, ep.ContainerID, n.ID)
		}
	}
	return gone
}

// forgetNetwork takes a network that has been removed out of the definition of a container that does not run: it could not start with it.
func (e *Engine) forgetNetwork(d *Definition, ref string, gone error) error {
	if _, err := e.running(d); err == nil || !errors.Is(gone, fs.ErrNotExist) || !d.Options.leave(func(have string) bool { return have == ref }) {
		return gone
	}
	return e.writeDefinition(d)
}

// disconnectNow is the counterpart of connectNow. The monitor reads the definition for its links. off says that the container is off the
// network, whatever else went wrong.
func (e *Engine) disconnectNow(ctx context.Context, d *Definition, n *network.Network, fewerLinks bool) (off bool, err error) {
	there, written := e.writeBeside(d)
	if fewerLinks {
		err = written()
	} else {
		err = there() // the monitor reads it at once
	}
	if err != nil {
		return false, err
	}
	if _, err := e.running(d); err != nil {
		return false, written()
	}
	var before []*network.Endpoint
	if d.hasPorts() {
		before, err = e.networks.ContainerEndpoints(d.ID)
	}
	if err == nil {
		err = e.detachRunning(ctx, d, n)
	}
	if err != nil {
		return false, errors.Join(err, written())
	}
	return true, errors.Join(e.movePorts(ctx, d, before), written())
}

// detachRunning takes a network's cable out of a running container. The monitor does the slow half, because it stays.
func (e *Engine) detachRunning(ctx context.Context, d *Definition, n *network.Network) error {
	if e.Watch != nil { // here it can be seen
		return errors.Join(e.networks.Detach(ctx, d.ID, n.ID), e.tellNetworkChange(d))
	}
	return e.networks.DetachBy(ctx, d.ID, n.ID, func() error {
		if err := e.tellNetworkChange(d); err != nil {
			return errors.Join(err, e.networks.DismantleReleased(d.ID, nil))
		}
		return nil
	})
}

// leaveNetwork takes a network out of the options; the next one takes the first one's place.
func (e *Engine) leaveNetwork(o *CreateOptions, n *network.Network) (was bool) {
	return o.leave(func(ref string) bool {
		have, err := e.networks.Network(ref)
		return err == nil && have.ID == n.ID
	})
}

func (o *CreateOptions) leave(same func(ref string) bool) (was bool) {
	if isNetwork(o.Network) && same(o.Network) {
		next := NetworkAttachment{Network: modeNone}
		if len(o.Networks) > 0 {
			next, o.Networks = o.Networks[0], o.Networks[1:]
		}
		o.setFirst(next)
		return true
	}
	for i, a := range o.Networks {
		if same(a.Network) {
			o.Networks = slices.Delete(slices.Clone(o.Networks), i, i+1)
			return true
		}
	}
	return false
}
