package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	continuity "github.com/containerd/continuity/fs"
	"golang.org/x/sys/unix"
)

// At its first use a volume that is empty is given what the image has at its place. Two containers may start with it at the same moment,
// and a start may be killed: nobody is to see half of it. So it is copied beside the volume's data first, and then moved there:
//
//	_fill     the copy, while it is made
//	_filled   the copy when it is whole, while what is in it is moved to _data
//	_data     the volume
//
// One at a time does so, who has the volume locked, and the next one goes on with what a killed one has left.

// fillVolumes copies what the image has at a volume's place into the volume when that is empty, as Docker does at a volume's
// first use.
func (e *Engine) fillVolumes(d *Definition, rootfs *os.File, users *remapped) error {
	for _, m := range d.Options.Mounts {
		if m.Type != "volume" || m.NoCopy || m.Subpath != "" {
			continue
		}
		wanted, err := e.wantsFill(m.Source)
		if errors.Is(err, fs.ErrNotExist) {
			// Removed behind our back between create and start.
			if err = e.ensureVolume(Volume{Name: m.Source}); err == nil {
				wanted, err = e.wantsFill(m.Source)
			}
		}
		if err != nil {
			return fmt.Errorf("volume %s: %w", m.Source, err)
		}
		if !wanted {
			continue
		}
		if v, err := e.Volume(m.Source); err == nil && v.keepsNothing() {
			continue // as with Docker: it begins empty
		}
		src, err := openBeneath(rootfs, m.Target, unix.O_RDONLY|unix.O_DIRECTORY)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("volume %s: %w", m.Source, err)
		}
		err = e.fillVolume(m.Source, src, users)
		src.Close()
		if err != nil {
			return fmt.Errorf("fill volume %s from the image's %s: %w", m.Source, m.Target, err)
		}
	}
	return nil
}

// wantsFill says whether a volume is empty, or only half full.
func (e *Engine) wantsFill(name string) (bool, error) {
	entries, err := os.ReadDir(e.volumeData(name))
	if err != nil || len(entries) == 0 {
		return true, err
	}
	_, err = os.Lstat(filepath.Join(e.volumeDir(name), "_filled"))
	return err == nil, nil
}

// fillVolume fills one volume, if it is still empty when it is our turn.
func (e *Engine) fillVolume(name string, src *os.File, users *remapped) error {
	l, err := e.lockVolume(name)
	if err != nil {
		return err
	}
	defer l.Release()
	dir := e.volumeDir(name)
	half, whole, data := filepath.Join(dir, "_fill"), filepath.Join(dir, "_filled"), e.volumeData(name)
	if err := os.RemoveAll(half); err != nil {
		return err
	}
	if err := moveAll(whole, data); !errors.Is(err, fs.ErrNotExist) {
		return err // that is what we would have copied
	}
	if wanted, err := e.wantsFill(name); err != nil || !wanted {
		return err
	}
	if err = copyTree(half, src); err == nil {
		err = users.shiftBack(half)
	}
	if err == nil {
		err = os.Rename(half, whole)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(half))
	}
	return moveAll(whole, data)
}

// moveAll moves what is in a directory into another that is empty, and lets that be like the first, which is removed. Equals:
// mv FROM/* TO; rmdir FROM. Missing is fs.ErrNotExist.
func moveAll(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: from, Err: err}
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		a, b := filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())
		if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_NOREPLACE); err != nil {
			return &os.LinkError{Op: "rename", Old: a, New: b, Err: err}
		}
	}
	if err := continuity.CopyDir(to, from, continuity.WithXAttrExclude("security.selinux")); err != nil { // mode, owner and extended attributes: it is empty
		return err
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{st.Atim, st.Mtim}, 0); err != nil {
		return &fs.PathError{Op: "utimensat", Path: to, Err: err}
	}
	return os.Remove(from)
}

// copyTree copies a directory with owners, modes, times, links and extended attributes. Equals: cp -a SRC/. DST
func copyTree(dst string, src *os.File) error {
	// Its SELinux label is the container's own, and what is copied is to belong to all.
	return continuity.CopyDir(dst, fmt.Sprintf("/proc/self/fd/%d", src.Fd()), continuity.WithXAttrExclude("security.selinux"))
}
