package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/image"
)

// rootfsOf names the layers of a container and makes its own writable one.
func (e *Engine) rootfsOf(store *image.Store, d *Definition) (image.Rootfs, error) {
	r, err := store.Rootfs(&image.Image{ID: d.ImageID, Layers: d.Layers}, e.Root.Container(d.ID))
	if err != nil {
		return r, fmt.Errorf("root file system of %s (image %s): %w", d.Name, d.Options.Image, err)
	}
	if err := checkLabelled(d); err != nil {
		return r, err
	}
	r = store.WithSkeleton(r)
	r.Label = d.MountLabel
	r.Volatile = d.Options.AutoRemove // nothing of it is wanted after the end: the kernel need not write it out
	return r, nil
}

// maybeFile is a file of a root file system that may be missing.
type maybeFile struct{ f *os.File }

func (m maybeFile) reader() io.Reader {
	if m.f == nil {
		return strings.NewReader("")
	}
	return m.f
}

func (m maybeFile) rewind() error {
	if m.f == nil {
		return nil
	}
	_, err := m.f.Seek(0, io.SeekStart)
	return err
}

func (m maybeFile) Close() error {
	if m.f == nil {
		return nil
	}
	return m.f.Close()
}

// openInRoot opens a regular file below root as the container would see it: no link leads out (openat2(2), RESOLVE_IN_ROOT).
// Absent is an empty file.
func openInRoot(root *os.File, name string) (maybeFile, error) {
	f, err := openBeneath(root, name, unix.O_RDONLY|unix.O_NONBLOCK)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return maybeFile{}, nil
	}
	if err != nil {
		return maybeFile{}, err
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		f.Close()
		return maybeFile{}, err // a pipe or device posing as /etc/passwd is as good as none
	}
	return maybeFile{f}, nil
}

func openBeneath(root *os.File, name string, flags int) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(int(root.Fd()), name, &how)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), name), nil
		case unix.EINTR, unix.EAGAIN: // EAGAIN: a rename raced with the look-up
			continue
		}
		return nil, &os.PathError{Op: "openat2", Path: name, Err: err}
	}
}

// duplicate gives a second descriptor of the same open file.
func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicate %s: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
