package engine

import (
	"context"
	"errors"
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
	d, l, err := e.change(ref)
	if err != nil {
		return err
	}
	defer l.Release()
	if o.Restart != nil && d.Options.AutoRemove && o.Restart.Name != "" && o.Restart.Name != "no" {
		return fmt.Errorf("restart policy cannot be updated because --rm is set for container %s", d.Name)
	}
	before := d.Options
	if o.Restart != nil {
		d.Options.Restart = *o.Restart
	}
	if o.Resources != nil {
		if err := o.Resources(&d.Options.Resources); err != nil {
			return fmt.Errorf("update %s: %w", d.Name, err)
		}
	}
	if err := e.updateBoth(d, before.Resources); err != nil {
		d.Options = before
		return errors.Join(e.takeBack(d, fmt.Errorf("update %s: %w", d.Name, err)), e.finished(d.ID))
	}
	e.containerEvent(d, "update")
	return e.finished(d.ID)
}

// updateBoth writes the definition and sets the limits of a container that runs.
func (e *Engine) updateBoth(d *Definition, before Resources) error {
	resources, err := runtimeResources(d.Options.Resources)
	if err != nil {
		return err
	}
	c, runErr := e.running(d)
	if runErr != nil || reflect.DeepEqual(d.Options.Resources, before) {
		return e.writeDefinition(d)
	}
	if err := errors.Join(e.begin(d.ID, doingUpdate, ""), e.writeDefinition(d)); err != nil {
		return err
	}
	if err := e.unlessDown(d, c, c.Update(resources)); err != nil && !errors.As(err, new(*NotRunning)) {
		return err
	}
	return nil
}

// lastSeen is when a container was last known to run, for those whose end nobody saw.
func lastSeen(start, log time.Time) time.Time {
	if log.After(start) {
		return log
	}
	return start
}
