package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Where overlayfs cannot be mounted (its upper directory may lie on no other overlay, and not on NFS), a container gets a
// copy of all layers instead: slower to make and larger, but the same to look at. Nothing chooses it but a failed mount
// and then a failed probe, so it costs nobody else anything.

// The drivers that Driver tells.
const (
	DriverOverlay = "overlay2" // Docker's name for it
	DriverCopy    = "vfs"      // Docker's name for it
)

// Driver tells how root file systems are made here, by trying. why is the reason when it is not overlayfs.
func (s *Store) Driver() (name, why string, err error) {
	if err := os.MkdirAll(s.layers(), 0o700); err != nil {
		return "", "", fmt.Errorf("make the image store: %w", err)
	}
	held, err := s.hold() // nobody collects the probe
	if err != nil {
		return "", "", err
	}
	defer held.Release()
	if probeErr := probeOverlay(s.layers()); probeErr != nil {
		return DriverCopy, probeErr.Error(), nil
	}
	return DriverOverlay, "", nil
}

// probeOverlay mounts the smallest overlay there is, on the file system of a directory.
func probeOverlay(beside string) (err error) {
	dir, err := os.MkdirTemp(beside, "new-probe-") // after a crash, collecting removes it, or the container's removal
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := Rootfs{Lower: []string{filepath.Join(dir, "lower")}, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")}
	for _, d := range []string{r.Lower[0], r.Upper, r.Work} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	mount, err := r.mount()
	if err != nil {
		return err
	}
	return mount.Close()
}

// copied is the directory that stands in for the overlay. (DIR/rootfs is the place where the container mounts its root.)
func (r Rootfs) copied() string { return filepath.Join(filepath.Dir(r.Upper), "copied") }

// isCopied says that the container was made by copying.
func (r Rootfs) isCopied() bool {
	_, err := os.Lstat(r.copied())
	return err == nil
}

// Copied says of a container, by its directory, whether its root file system is a copy, and why: the warning of those who
// have left the mounting to another process. It costs one system call where overlayfs works.
func Copied(dir string) (warning string, copied bool) {
	r := Rootfs{Upper: filepath.Join(dir, "upper")}
	if !r.isCopied() {
		return "", false
	}
	return copyWarning(dir, probeOverlay(dir)), true
}

func copyWarning(dir string, why error) string {
	return fmt.Sprintf("overlayfs cannot be mounted in %s: the image's layers are copied, which takes time and room (%v)", filepath.Dir(dir), why)
}

// mountCopy copies the layers, unless that was done at an earlier start, and makes a detached bind mount of the copy:
// cp -a LAYERS… DIR/copied; open_tree(DIR/copied, OPEN_TREE_CLONE); mount_setattr(…, MS_PRIVATE)
func (r Rootfs) mountCopy() (*os.File, error) {
	if !r.isCopied() {
		if err := r.copyLayers(); err != nil {
			return nil, fmt.Errorf("copy the layers: %w", err)
		}
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, r.copied(), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("bind mount %s: %w", r.copied(), err)
	}
	// A clone is a peer of the mount that it was made of, and systemd makes the host's mounts shared: what the container mounts
	// would appear on the host, and pivot_root(2) refuses a shared root.
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Propagation: unix.MS_PRIVATE}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make the mount of %s private: %w", r.copied(), err)
	}
	return os.NewFile(uintptr(fd), "rootfs"), nil
}

// copyLayers makes the copy aside and moves it into place when it is whole.
func (r Rootfs) copyLayers() (err error) {
	aside := r.copied() + ".new"
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	var top unix.Stat_t
	if err := unix.Stat(r.Lower[0], &top); err != nil {
		return &fs.PathError{Op: "stat", Path: r.Lower[0], Err: err}
	}
	if err := makeLike(aside, &top); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(aside))
		}
	}()
	for i := len(r.Lower) - 1; i >= 0; i-- {
		if err := copyLayer(r.Lower[i], aside); err != nil {
			return fmt.Errorf("layer %s: %w", r.Lower[i], err)
		}
	}
	return os.Rename(aside, r.copied())
}

// copyLayer applies one layer: its archive is written and unpacked again, whiteouts becoming removals.
func copyLayer(layer, to string) error {
	root, err := openDirectory(to)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	room, err := freeSpace(root)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := writeDiff(context.Background(), layer, w, true)
		w.CloseWithError(err)
		done <- err
	}()
	u := newUnpacker(root, room)
	u.flatten = true
	err = u.unpack(context.Background(), tar.NewReader(r))
	u.forgetDir()
	r.CloseWithError(errors.New("nobody reads any more"))
	if writeErr := <-done; err == nil {
		err = writeErr
	}
	return err
}

// flattenWhiteout does at once what a whiteout says, on a copy of the layers below.
func (u *unpacker) flattenWhiteout(dir int, name, hidden string) error {
	if hidden != "" {
		return u.clear(dir, name, hidden)
	}
	names, err := readNames(dir)
	if err != nil {
		return err
	}
	for _, base := range names {
		if err := u.clear(dir, name, base); err != nil {
			return err
		}
	}
	return nil
}
