package engine

import (
	"context"
	"fmt"
	"reflect"
	"time"
)

// UpdateOptions are what `update` changes; nil leaves a thing as it is.
type UpdateOptions struct {
	// Resources is given the limits that hold, and changes them; if it fails, nothing is updated.
	Resources func(*Resources) error
	Restart   *RestartPolicy
}

// Update changes limits and the restart policy of a container: at once when it runs, and for its next start.
func (e *Engine) Update(ctx context.Context, ref string, o UpdateOptions) error {
	d, err := e.Find(ref)
	if err != nil {
		return err
	}
	l, err := e.lock(d.ID)
	if err != nil {
		return err
	}
	defer l.Release()
	if d, err = e.readDefinition(d.ID); err != nil {
		return err
	}
	if o.Restart != nil {
		if d.Options.AutoRemove && o.Restart.Name != "" && o.Restart.Name != "no" {
			return fmt.Errorf("restart policy cannot be updated because --rm is set for container %s", d.Name)
		}
		d.Options.Restart = *o.Restart
	}
	before := d.Options.Resources
	if o.Resources != nil {
		if err := o.Resources(&d.Options.Resources); err != nil {
			return fmt.Errorf("update %s: %w", d.Name, err)
		}
	}
	resources, err := runtimeResources(d.Options.Resources)
	if err != nil {
		return fmt.Errorf("update %s: %w", d.Name, err)
	}
	if c, err := e.running(d); err == nil && !reflect.DeepEqual(d.Options.Resources, before) {
		if err := c.Update(resources); err != nil {
			return fmt.Errorf("update %s: %w", d.Name, err)
		}
	}
	if err := e.writeDefinition(d); err != nil {
		return err
	}
	e.containerEvent(d, "update")
	return nil
}

// Boot does what is to be done once after the machine has started: what crashed is cleaned up, and containers come back as
// their restart policy says. It tells whom it started; one that cannot be started does not keep the others down.
func (e *Engine) Boot(ctx context.Context) (started []string, failed []error, err error) {
	if _, err := e.GC(ctx); err != nil {
		failed = append(failed, err)
	}
	all, err := e.definitions()
	if err != nil {
		return nil, failed, err
	}
	// The oldest first: others may join its network or mount its volumes.
	for i := len(all) - 1; i >= 0; i-- {
		d := all[i]
		comes, err := e.comesBack(d)
		if err == nil && comes {
			_, err = e.Start(ctx, d.ID, StartOptions{}, Streams{})
			if err == nil {
				started = append(started, d.Name)
			}
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("start %s: %w", d.Name, err))
		}
	}
	return started, failed, nil
}

// comesBack says whether a container is to be started at boot: Docker's rules for the start of its daemon.
func (e *Engine) comesBack(d *Definition) (bool, error) {
	if e.busy(d.ID) {
		return false, nil
	}
	st, err := e.status(d)
	if err != nil || st.Life.StartedAt.IsZero() {
		return false, err
	}
	switch d.Options.Restart.Name {
	case "always":
		return true, nil
	case "unless-stopped":
		return !st.Life.Stopped, nil
	case "on-failure":
		return !st.Life.Stopped && st.Life.ExitCode != 0, nil
	}
	return false, nil
}

// lastSeen is when a container was last known to run, for those whose end nobody saw.
func lastSeen(start, log time.Time) time.Time {
	if log.After(start) {
		return log
	}
	return start
}
