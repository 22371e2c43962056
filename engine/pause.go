package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/mydocker/mydocker/container"
)

// Pause freezes all processes of a container; Unpause lets them go on.
func (e *Engine) Pause(ctx context.Context, ref string) error {
	return e.withHeld(ref, func(d *Definition, c *container.Container) error {
		if c.Status() == container.Paused {
			return fmt.Errorf("container %s is already paused", d.Name)
		}
		if err := c.Pause(); err != nil {
			return err
		}
		e.containerEvent(d, "pause")
		return nil
	})
}

// Unpause lets a paused container go on.
func (e *Engine) Unpause(ctx context.Context, ref string) error {
	return e.withHeld(ref, func(d *Definition, c *container.Container) error {
		if c.Status() != container.Paused {
			return fmt.Errorf("container %s is not paused", d.Name)
		}
		if err := c.Resume(); err != nil {
			return err
		}
		e.containerEvent(d, "unpause")
		return nil
	})
}

// withHeld does something with a running container that nobody starts, commits or removes meanwhile: who commits it lets it go on
// afterwards, and has to know whether somebody else wants it paused.
func (e *Engine) withHeld(ref string, do func(*Definition, *container.Container) error) error {
	d, l, err := e.change(ref)
	if err != nil {
		return err
	}
	defer l.Release()
	c, err := e.running(d)
	if err != nil {
		return err
	}
	return e.unlessDown(d, c, do(d, c))
}

// Freeze pauses a running container for one who holds it, and gives the function that lets it go on. Pause and Unpause would
// wait for the lock that the caller has. Should the caller be killed, gc lets it go on.
func (e *Engine) Freeze(d *Definition) (thaw func() error, err error) {
	c, err := e.running(d)
	if err != nil {
		return nil, err
	}
	if err := e.begin(d.ID, doingFreeze, ""); err != nil {
		return nil, err
	}
	if err := c.Pause(); err != nil {
		return nil, errors.Join(e.unlessDown(d, c, err), e.finished(d.ID))
	}
	e.containerEvent(d, "pause")
	return func() error { return e.thaw(d, c) }, nil
}

// thaw ends what Freeze began. A container that was killed meanwhile has nothing left that could go on.
func (e *Engine) thaw(d *Definition, c *container.Container) error {
	err := c.Resume()
	if _, runErr := e.running(d); errors.As(runErr, new(*NotRunning)) {
		return e.finished(d.ID)
	}
	if err != nil {
		return err
	}
	e.containerEvent(d, "unpause")
	return e.finished(d.ID)
}
