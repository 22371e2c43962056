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

// lastSeen is when a container was last known to run, for those whose end nobody saw.
func lastSeen(start, log time.Time) time.Time {
	if log.After(start) {
		return log
	}
	return start
}
