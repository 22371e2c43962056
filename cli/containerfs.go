package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/state"
)

// containerFiles is a container's files, for those who look at them from outside. The container is neither started nor removed
// meanwhile; close lets it go.
type containerFiles struct {
	engine     *engine.Engine
	definition *engine.Definition
	rootfs     image.Rootfs
	pid        int // 0 when it does not run
	held       *state.Lock
}

func (s *session) filesOf(ref string) (*containerFiles, error) {
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	d, err := e.Find(ref)
	if err != nil {
		return nil, err
	}
	f := &containerFiles{engine: e, definition: d}
	if f.held, err = e.Hold(d); err != nil {
		return nil, err
	}
	if err := f.look(); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *containerFiles) close() error { return f.held.Release() }

// look finds out what the container has, and whether it runs.
func (f *containerFiles) look() error {
	store, err := f.engine.Images()
	if err != nil {
		return err
	}
	d := f.definition
	if f.rootfs, err = store.Rootfs(&image.Image{ID: d.ImageID, Layers: d.Layers}, f.engine.Root.Container(d.ID)); err != nil {
		return err
	}
	c, err := f.engine.Runtime().Load(d.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && (c.Status() == container.Running || c.Status() == container.Paused) {
		f.pid = c.Pid()
	}
	return err
}

// hasEnded says whether the container has ended since look. A process that is just ending has no root any more, and is not dead yet.
func (f *containerFiles) hasEnded() bool {
	ended, err := f.engine.Ended(f.definition, 100*time.Millisecond)
	if err == nil && ended {
		f.pid = 0
	}
	return f.pid == 0
}

// inside opens the root that the container's processes see, with its volumes; paths below it have to be resolved in it. A
// container that does not run has its root file system and volumes mounted for this, where nobody else sees them.
func (f *containerFiles) inside() (tree image.Tree, err error) {
	for f.pid != 0 {
		if tree.Owners, err = image.OwnersOf(f.pid); err == nil {
			tree.Root, err = os.Open(fmt.Sprintf("/proc/%d/root", f.pid))
		}
		if err == nil || !f.hasEnded() {
			return tree, err
		}
	}
	users, owners, err := f.engine.UserNamespace(f.definition)
	if err != nil {
		return tree, err
	}
	if users != nil {
		defer users.Close()
	}
	tree.Owners, f.rootfs.UserNS = owners, users
	bare, err := f.rootfs.Mount(f.engine.Watch)
	if err != nil {
		return tree, err
	}
	tree.Root = bare
	err = f.engine.WithVolumes(f.definition, func() error {
		volumes, err := f.engine.Attachments(f.definition, users)
		if err != nil || len(volumes) == 0 {
			return err
		}
		defer bare.Close()
		// The work directory is the container's own and holds no mount.
		tree.Root, err = image.Attach(bare, f.rootfs.Work, volumes, owners)
		return err
	})
	if err != nil && tree.Root != nil {
		tree.Root.Close()
	}
	return tree, err
}

// view mounts what the container's root file system is now, for reading: the image's layers and the container's own as layers
// of one more overlay. The container may run: its own mount is not touched. Volumes, /proc and the like are not part of it.
func (f *containerFiles) view() (root *os.File, done func() error, err error) {
	dir, err := f.engine.ViewDir(f.definition)
	if err != nil {
		return nil, nil, err
	}
	remove := func() error { return os.RemoveAll(dir) }
	v := image.Rootfs{Lower: append([]string{f.rootfs.Upper}, f.rootfs.Lower...), Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")}
	for _, d := range []string{v.Upper, v.Work} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, nil, errors.Join(err, remove())
		}
	}
	if root, err = v.Mount(f.engine.Watch); err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return root, func() error { return errors.Join(root.Close(), remove()) }, nil
}

// isCopied says whether a container's root file system is a copy, because overlayfs cannot be mounted where it lies.
func (s *session) isCopied(e *engine.Engine, ref string) bool {
	d, err := e.Find(ref)
	if err != nil {
		return false // what is wrong with it, others say
	}
	_, copied := image.Copied(e.Root.Container(d.ID))
	return copied
}

// warnIfCopied says it, for the monitor that mounted it without anybody to talk to.
func (s *session) warnIfCopied(e *engine.Engine, id string) {
	if d, err := e.Find(id); err == nil {
		if warning, copied := image.Copied(e.Root.Container(d.ID)); copied {
			s.warn([]string{warning})
		}
	}
}
