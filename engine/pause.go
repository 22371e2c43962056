package engine

import (
	"context"
	"fmt"

	"github.com/mydocker/mydocker/container"
)

// Pause freezes all processes of a container; Unpause lets them go on.
func (e *Engine) Pause(ctx context.Context, ref string) error {
	return e.withRunning(ref, func(d *Definition, c *container.Container) error {
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
	return e.withRunning(ref, func(d *Definition, c *container.Container) error {
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

// Freeze pauses a running container for one who holds it, and gives the function that lets it go on. Pause and Unpause would
// wait for the lock that the caller has.
func (e *Engine) Freeze(d *Definition) (thaw func() error, err error) {
	c, err := e.running(d)
	if err != nil {
		return nil, err
	}
	if err := c.Pause(); err != nil {
		return nil, err
	}
	e.containerEvent(d, "pause")
	return func() error {
		if err := c.Resume(); err != nil {
			return err
		}
		e.containerEvent(d, "unpause")
		return nil
	}, nil
}
