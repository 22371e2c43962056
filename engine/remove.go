package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
)

// Remove deletes a container and what it wrote.
func (e *Engine) Remove(ctx context.Context, ref string, o RemoveOptions) error {
	d, err := e.Find(ref)
	if err != nil {
		return err
	}
	if st, err := e.status(d); err == nil && (st.Running || st.Restarting) {
		if !o.Force {
			return fmt.Errorf("container %s is %s: stop it first (mydocker stop %s), or remove it with force (mydocker rm -f %s)", d.Name, st.name(), d.Name, d.Name)
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
	if e.busy(d.ID) {
		if err := e.waitReleased(ctx, d.ID); err != nil {
			return err
		}
	}
	if c, err := e.running(d); err == nil && !o.Force {
		return fmt.Errorf("container %s was started meanwhile (pid %d): stop it first (mydocker stop %s)", d.Name, c.Pid(), d.Name)
	}
	err = errors.Join(e.releaseClaims(d), e.releaseKernel(d.ID, d.Name))
	if err != nil {
		return fmt.Errorf("remove %s: %w", d.Name, err) // the record stays, so that it can be tried again
	}
	if o.Volumes {
		for _, v := range d.AnonymousVolumes {
			err = errors.Join(err, e.removeVolume(v))
		}
	}
	return errors.Join(err, e.forgetRecords(d), e.tidyGroups())
}

// forceDown kills the container and waits until its monitor has let go.
func (e *Engine) forceDown(ctx context.Context, d *Definition) error {
	if err := e.markStopped(d.ID); err != nil {
		return err
	}
	c, err := e.running(d)
	if err == nil {
		if err := c.Kill(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("kill %s: %w", d.Name, err)
		}
		if c.Status() == container.Paused {
			if err := c.Resume(); err != nil {
				return err
			}
		}
		if _, err := waitPid(ctx, c, 30*time.Second); err != nil {
			return err
		}
	}
	return e.waitReleased(ctx, d.ID)
}
