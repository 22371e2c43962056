package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/image"
)

// containerFiles is a container's files, for those who look at them from outside.
type containerFiles struct {
	engine     *engine.Engine
	definition *engine.Definition
	rootfs     image.Rootfs
	pid        int // 0 when it does not run
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
	store, err := e.Images()
	if err != nil {
		return nil, err
	}
	f := &containerFiles{engine: e, definition: d}
	if f.rootfs, err = store.Rootfs(&image.Image{ID: d.ImageID, Layers: d.Layers}, e.Root.Container(d.ID)); err != nil {
		return nil, err
	}
	c, err := e.Runtime().Load(d.ID)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil && (c.Status() == container.Running || c.Status() == container.Paused) {
		f.pid = c.Pid()
	}
	return f, nil
}

// inside opens the root that the container's processes see, with its volumes; paths below it have to be resolved in it. Of a
// container that does not run it is the bare root file system, without volumes.
func (f *containerFiles) inside(write bool) (root *os.File, done func() error, err error) {
	switch {
	case f.pid != 0:
		root, err = os.Open(fmt.Sprintf("/proc/%d/root", f.pid))
		return root, func() error { return root.Close() }, err
	case write:
		root, err = f.rootfs.Mount(f.engine.Watch)
		return root, func() error { return root.Close() }, err
	}
	return f.view()
}

// view mounts what the container's root file system is now, for reading: the image's layers and the container's own as layers
// of one more overlay. The container may run: its own mount is not touched. Volumes, /proc and the like are not part of it.
func (f *containerFiles) view() (root *os.File, done func() error, err error) {
	dir, err := os.MkdirTemp(f.engine.Root.Container(f.definition.ID), "view-")
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
