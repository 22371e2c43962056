package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/mydocker/mydocker/container"
)

// Runs says that a container was not removed because it runs.
type Runs struct{ sentence string }

func (r *Runs) Error() string { return r.sentence }

// Remove deletes a container and what it wrote.
func (e *Engine) Remove(ctx context.Context, ref string, o RemoveOptions) error {
	d, err := e.Find(ref)
	if err != nil {
		return err
	}
	if st, err := e.status(d); err == nil && (st.Running || st.Restarting) {
		if !o.Force {
			return &Runs{fmt.Sprintf("container %s is %s: stop it first (mydocker stop %s), or remove it with force (mydocker rm -f %s)", d.Name, st.name(), d.Name, d.Name)}
		}
		if err := e.forceDown(ctx, d); err != nil {
			return err
		}
	}
	l, err := e.lock(d.ID)
	if errors.Is(err, fs.ErrNotExist) && o.Force {
		return nil // --rm was quicker
	}
	if err != nil {
		return err
	}
	defer l.Release()
	if d, err = e.readDefinition(d.ID); err != nil { // as it is now that nobody else changes it
		return err
	}
	err = e.bringDown(ctx, d, func(c *container.Container) error {
		if !o.Force {
			return &Runs{fmt.Sprintf("container %s was started meanwhile (pid %d): stop it first (mydocker stop %s)", d.Name, c.Pid(), d.Name)}
		}
		return e.killProcess(ctx, d, c)
	})
	if err != nil {
		return err
	}
	err = errors.Join(e.releaseClaims(d), e.releaseKernel(d.ID, d.Name))
	if err != nil {
		return fmt.Errorf("remove %s: %w", d.Name, err) // the record stays, so that it can be tried again
	}
	if o.Volumes {
		err = e.removeAnonymous(d)
	}
	return errors.Join(err, e.forgetRecords(d), e.tidyGroups())
}

// forceDown kills the container and waits until its monitor has let go.
func (e *Engine) forceDown(ctx context.Context, d *Definition) error {
	if err := e.afterStart(d); err != nil {
		return err
	}
	if err := e.markStopped(d.ID); err != nil {
		return err
	}
	return e.bringDown(ctx, d, func(c *container.Container) error { return e.killProcess(ctx, d, c) })
}
