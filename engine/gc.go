package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/state"
)

// GC removes what crashes have left: what is in the kernel without a living container, records without an owner. It tells what
// it removed. It never touches what it did not make.
func (e *Engine) GC(ctx context.Context) (removed []string, err error) {
	// Alone: nothing is being created that has no record yet.
	done, err := e.lockGC()
	if err != nil {
		return nil, err
	}
	defer done()

	known, fromContainers, err := e.gcContainers()
	removed = append(removed, fromContainers...)
	unknown, unknownErr := e.gcUnknown(known)
	removed = append(removed, unknown...)
	names, nameErr := e.gcNames()
	removed = append(removed, names...)
	volumes, volumeErr := e.gcVolumes(func(id string) bool { return known[id] && e.busy(id) })
	half, halfErr := e.gcHalfVolumes()
	removed = append(removed, slices.Concat(volumes, half)...)
	nets, netErr := e.networks.GC(ctx, func(id string) bool { return known[id] && e.busy(id) })
	removed = append(removed, nets...)
	sweepErr := errors.Join(e.sweep(), e.collectImages(ctx))
	return removed, errors.Join(err, unknownErr, nameErr, volumeErr, halfErr, netErr, sweepErr, e.tidyGroups())
}

// sweep removes files that somebody was killed while writing. They were never records, so nobody is told.
func (e *Engine) sweep() error {
	var all error
	for dir, depth := range map[string]int{
		e.Root.Run: 4, e.Root.Containers(): 1, filepath.Dir(e.nameFile("x")): 0,
		filepath.Join(e.Root.Lib, "networks"): 1, filepath.Join(e.Root.Lib, "volumes"): 1,
	} {
		_, err := state.Sweep(dir, depth)
		all = errors.Join(all, err)
	}
	return all
}

// collectImages removes what pulls and loads that were cut short have left. Where somebody adds to the store, whoever does so next.
func (e *Engine) collectImages(ctx context.Context) error {
	store, err := e.images()
	if err == nil {
		_, err = store.Collect(ctx)
	}
	return err
}

// tidyGroups removes the group that all containers' groups are in, once there is no container. It is not done at the end of
// each container: the next one would have to make it again.
func (e *Engine) tidyGroups() error {
	ids, err := e.ids()
	if err != nil || len(ids) > 0 {
		return err
	}
	return e.runtime.DeleteEmptyGroup("/" + cgroupRoot)
}

// gcContainers goes through the definitions: those that nobody looks after hold nothing in the kernel, and those of `run
// --rm` are gone.
func (e *Engine) gcContainers() (known map[string]bool, removed []string, err error) {
	known = map[string]bool{}
	ids, err := e.ids()
	if err != nil {
		return known, nil, err
	}
	for _, id := range ids {
		d, readErr := e.readDefinition(id)
		if errors.Is(readErr, fs.ErrNotExist) {
			did, halfErr := e.gcHalf(id)
			if err = errors.Join(err, halfErr); did != "" {
				removed = append(removed, did)
			}
			continue
		}
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		known[id] = true
		ended, endErr := e.gcUnfinished(id)
		if ended != "" {
			removed = append(removed, ended)
		}
		did, gcErr := e.gcContainer(d)
		err = errors.Join(err, endErr, gcErr, e.gcViews(id))
		if did != "" {
			removed = append(removed, did)
		}
		if did != "" && d.Options.AutoRemove {
			delete(known, id)
		}
	}
	return known, removed, err
}

// gcViews removes the mounts' directories that somebody was killed with who looked at a container's files (commit, diff, export).
func (e *Engine) gcViews(id string) error {
	views, err := filepath.Glob(filepath.Join(e.Root.Container(id), viewPrefix+"*"))
	if err != nil || len(views) == 0 {
		return err
	}
	l, err := state.TryLockThere(e.path(id, lockFile))
	if errors.Is(err, state.ErrLocked) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.Release()
	for _, view := range views {
		err = errors.Join(err, os.RemoveAll(view))
	}
	return err
}

// gcHalf removes what is left of a container that somebody was killed while making or removing.
func (e *Engine) gcHalf(id string) (did string, err error) {
	l, err := state.TryLockThere(e.path(id, lockFile))
	switch {
	case errors.Is(err, state.ErrLocked):
		return "", nil // it is being removed
	case errors.Is(err, fs.ErrNotExist):
		return "", nil // it has been
	case err != nil:
		return "", err
	}
	defer l.Release()
	return "half-made container " + ShortID(id), os.RemoveAll(e.Root.Container(id))
}

func (e *Engine) gcContainer(d *Definition) (did string, err error) {
	_, dirErr := os.Stat(e.monitorDir(d.ID))
	had := dirErr == nil
	if had {
		// Nobody begins to look after it while it is released.
		l, err := state.TryLockThere(e.monitorLock(d.ID))
		if errors.Is(err, state.ErrLocked) || errors.Is(err, fs.ErrNotExist) { // looked after, or just released
			return "", nil
		}
		if err != nil {
			return "", err
		}
		if _, runErr := e.running(d); runErr == nil { // its monitor is gone, it is not
			if err = l.Release(); err == nil {
				e.lookAfter(d)
			}
			return "", err
		}
		defer l.Release()
	}
	if _, runErr := e.running(d); runErr == nil && !d.Options.AutoRemove {
		return "", nil
	}
	if d.Options.AutoRemove && (had || d.ByRun) {
		return "container " + d.Name + " (--rm)", errors.Join(e.releaseClaims(d), e.releaseKernel(d.ID, d.Name), e.forget(d))
	}
	if !had {
		return "", nil
	}
	return "what container " + d.Name + " left in the kernel", errors.Join(e.releaseClaims(d), e.releaseKernel(d.ID, d.Name))
}

// gcUnknown releases what the running tree knows and no definition does.
func (e *Engine) gcUnknown(known map[string]bool) (removed []string, err error) {
	for _, dir := range []string{filepath.Join(e.Root.Run, "monitors"), e.runtime.Root} {
		entries, readErr := os.ReadDir(dir)
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
			err = errors.Join(err, readErr)
		}
		for _, entry := range entries {
			id := entry.Name()
			if known[id] || len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" || e.busyMonitor(id) {
				continue
			}
			// The directory too: a process that was killed may have left a file there that has no name yet.
			if relErr := errors.Join(e.releaseKernel(id, ""), os.RemoveAll(filepath.Join(dir, id))); relErr != nil {
				err = errors.Join(err, relErr)
				continue
			}
			removed = append(removed, "what the lost container "+ShortID(id)+" left in the kernel")
		}
	}
	return removed, err
}

func (e *Engine) busyMonitor(id string) bool {
	held, err := state.Held(e.monitorLock(id))
	return err != nil || held
}

// gcNames gives back the names of containers that are gone.
func (e *Engine) gcNames() (removed []string, err error) {
	dir := filepath.Dir(e.nameFile("x"))
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, entry := range entries {
		name := entry.Name()
		owner, readErr := os.ReadFile(filepath.Join(dir, name))
		if readErr != nil {
			continue // given up meanwhile
		}
		if _, statErr := os.Stat(e.Root.Container(string(owner))); statErr == nil && len(owner) == 64 {
			continue
		}
		if rmErr := os.Remove(filepath.Join(dir, name)); rmErr != nil {
			err = errors.Join(err, rmErr)
			continue
		}
		if !strings.HasPrefix(name, ".") { // a temporary file of a claim that was cut short
			removed = append(removed, "the name "+name)
		}
	}
	return removed, err
}
