package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/state"
)

// Hold keeps a container from being started, removed and renamed until the lock is released, for those who work on its files:
// cp, commit, diff, export.
func (e *Engine) Hold(d *Definition) (*state.Lock, error) { return e.lock(d.ID) }

const viewPrefix = "view-"

// ViewDir makes a directory beside a container's files, for one who holds it and looks at them. Should its maker be killed, gc removes it.
func (e *Engine) ViewDir(d *Definition) (string, error) {
	return os.MkdirTemp(e.Root.Container(d.ID), viewPrefix)
}

// holdRunning keeps a running container from being started anew, connected and disconnected until release is called: network.Options.Hold.
func (e *Engine) holdRunning(id string, wait bool) (release func() error, err error) {
	acquire := state.TryLockThere
	if wait {
		acquire = state.AcquireLockThere
	}
	l, err := acquire(e.path(id, lockFile))
	if errors.Is(err, state.ErrLocked) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if d, err := e.readDefinition(id); err == nil {
		if _, err = e.running(d); err == nil {
			return l.Release, nil
		}
	}
	return nil, l.Release()
}

// Ended waits for a moment, and says whether the container's first process has ended.
func (e *Engine) Ended(d *Definition, patience time.Duration) (bool, error) {
	c, err := e.running(d)
	if errors.As(err, new(*NotRunning)) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return waitPid(context.Background(), c, patience)
}

// Attachments are the volumes and bind mounts that a container has when it runs. users is its user namespace, or nil.
func (e *Engine) Attachments(d *Definition, users *os.File) ([]image.Attachment, error) {
	mounts, err := e.mounts(d)
	if err != nil {
		return nil, err
	}
	var list []image.Attachment
	for i, m := range mounts {
		if m.Type != "bind" {
			continue
		}
		a := image.Attachment{Source: m.Source, Target: m.Destination, ReadOnly: readOnlyMount(m)}
		if mine := d.Options.Mounts[i]; mine.Subpath != "" {
			a.Source, a.Subpath = e.volumeData(mine.Source), mine.Subpath
		}
		if isOurs(m, e.Root.Lib+"/") {
			a.UserNS = users
		}
		list = append(list, a)
	}
	return list, nil
}

func readOnlyMount(m specs.Mount) bool {
	return slices.Contains(m.Options, "ro") || slices.Contains(m.Options, "rro")
}
