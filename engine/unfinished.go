package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/state"
)

// A few verbs change a container that runs in more than one step, and may be killed in between. Under the container's lock they
// write down first what they are about to do, and take that back after the last step. If it is there when somebody else has the lock,
// its writer is dead: whoever wants to change or start the container next, or gc, ends what was begun.
const unfinishedFile = "unfinished"

type unfinished struct {
	Verb doing
	// Network is the id of the network of a connect or disconnect.
	Network string `json:",omitempty"`
}

type doing string

const (
	doingFreeze doing = "pause"          // for a commit: it is let go on
	doingWire   doing = "network change" // connect, disconnect: it is taken off the network
	doingRename doing = "rename"         // its namespace and its claims get the name that the definition says
	doingUpdate doing = "update"         // its group gets the limits that the definition says
)

// begin writes down what is about to be done.
func (e *Engine) begin(id string, verb doing, network string) error {
	return state.ReplaceJSON(e.path(id, unfinishedFile), unfinished{verb, network}, state.Volatile)
}

// finished takes it back.
func (e *Engine) finished(id string) error {
	err := os.Remove(e.path(id, unfinishedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// change finds a container and locks it for somebody who changes it. The definition is what it is under the lock.
func (e *Engine) change(ref string) (*Definition, *state.Lock, error) {
	id, err := e.resolve(ref)
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(e.path(id, definitionFile)); err != nil { // just being made
		return nil, nil, noSuchContainer(ref)
	}
	l, err := e.lock(id)
	if err != nil {
		return nil, nil, err
	}
	d, _, err := e.endUnfinished(id)
	if err != nil {
		return nil, nil, errors.Join(err, l.Release())
	}
	return d, l, nil
}

// endUnfinished ends what somebody was killed in, for one who has the container's lock. did says what that was, "" if nothing.
func (e *Engine) endUnfinished(id string) (d *Definition, did string, err error) {
	if d, err = e.readDefinition(id); err != nil {
		return nil, "", err
	}
	var u unfinished
	err = state.ReadJSON(e.path(id, unfinishedFile), &u)
	if errors.Is(err, fs.ErrNotExist) {
		return d, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	ctx := context.Background()
	c, runErr := e.running(d)
	runs := runErr == nil
	switch {
	case u.Verb == doingFreeze && runs && c.Status() == container.Paused:
		err = c.Resume()
	case u.Verb == doingWire:
		err = e.takeOff(ctx, d, u.Network, runs)
	case u.Verb == doingRename:
		err = e.settleName(d, runs)
	case u.Verb == doingUpdate && runs:
		resources, resErr := runtimeResources(d.Options.Resources)
		if err = resErr; err == nil {
			err = c.Update(resources)
		}
	}
	if err != nil && runs {
		err = e.unlessDown(d, c, err)
	}
	if err != nil && !errors.As(err, new(*NotRunning)) {
		return nil, "", fmt.Errorf("end the %s of container %s that was cut short: %w", u.Verb, d.Name, err)
	}
	return d, fmt.Sprintf("the %s of container %s that was cut short", u.Verb, d.Name), e.finished(id)
}

// takeOff takes a container off a network that it may be on in the definition, in the kernel, in both or half.
func (e *Engine) takeOff(ctx context.Context, d *Definition, network string, runs bool) error {
	n, err := e.networks.Network(network)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if e.leaveNetwork(&d.Options, n) {
		d.Options.Links = e.linksLeft(d)
		if err := e.writeDefinition(d); err != nil {
			return err
		}
	}
	if !runs {
		return nil
	}
	before, err := e.networks.ContainerEndpoints(d.ID)
	if err != nil {
		return err
	}
	if err := e.networks.Detach(ctx, d.ID, n.ID); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = e.networks.DismantleReleased(d.ID, nil)
	if e.busyMonitor(d.ID) {
		err = errors.Join(err, e.movePorts(ctx, d, before), e.tellNetworkChange(d))
	}
	return err
}

// settleName gives a container's namespace the name of its definition, and back every other name that it has claimed.
func (e *Engine) settleName(d *Definition, runs bool) error {
	if runs && hasOwnSandbox(d.Options.Network) {
		if err := e.networks.RenameSandbox(d.ID, d.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := e.networks.RenameRules(context.Background(), d.ID); err != nil {
			return err
		}
	}
	names, err := e.namesOf(d.ID)
	for _, name := range names {
		if name != d.Name {
			err = errors.Join(err, state.Unclaim(e.nameFile(name), d.ID))
		}
	}
	return err
}

// gcUnfinished is endUnfinished for gc, which leaves alone what somebody works on.
func (e *Engine) gcUnfinished(id string) (did string, err error) {
	if _, err := os.Stat(e.path(id, unfinishedFile)); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	l, err := state.TryLockThere(e.path(id, lockFile))
	if errors.Is(err, state.ErrLocked) || errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer l.Release()
	_, did, err = e.endUnfinished(id)
	return did, err
}
