package image

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// A hard link of a layer may name a file that only a layer below has: `ln` in a Dockerfile, written down by a differ that
// does not repeat the file. Two names on two file systems cannot be one file, so the file is copied into this layer first,
// as overlayfs does when somebody makes such a link in a container ("copy up": kernel, overlayfs.rst, "Non-directories").

// copyUp copies a file of the layers below into this one, under its own name.
func (u *unpacker) copyUp(target string) error {
	if u.below == nil {
		return errNoTarget
	}
	lower, done, err := u.below()
	if err != nil {
		return err
	}
	defer done()
	// This layer is the topmost: it may remove what is below.
	parent, err := findBelow(append([]int{u.root}, lower...), target)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	var st unix.Stat_t
	if err := unix.Fstatat(parent, path.Base(target), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return errors.New("a directory cannot have a second name")
	}
	return u.copyEntry(parent, path.Base(target), target)
}

var errNoTarget = errors.New("neither this layer nor one below it has such a file")

// copyEntry copies what is no directory by way of an archive: owner, mode, attributes and times come along.
func (u *unpacker) copyEntry(dir int, base, name string) error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		t := newTreeWriter(context.Background(), w)
		err := t.writeEntry(dir, base, name)
		if err == nil {
			err = t.tar.Close()
		}
		w.CloseWithError(err)
		done <- err
	}()
	archive := tar.NewReader(r)
	h, err := archive.Next()
	if err == nil {
		err = u.entry(h, archive)
	}
	r.CloseWithError(errors.New("nobody reads any more"))
	if writeErr := <-done; err != nil {
		err = errors.Join(err, writeErr)
	}
	return err
}

// findBelow looks for a name through layers, top one first, as overlayfs does: the first that has it, or hides it, decides.
// No link is followed. It returns the directory that the name is in.
func findBelow(layers []int, name string) (parent int, err error) {
	for _, layer := range layers {
		parent, err := findInLayer(layer, strings.Split(name, "/"))
		if !errors.Is(err, errShinesThrough) {
			return parent, err
		}
	}
	return -1, errNoTarget
}

// errShinesThrough: a layer neither has a name nor hides it.
var errShinesThrough = errors.New("not in this layer")

func findInLayer(layer int, parts []string) (parent int, err error) {
	dir, err := openDirectoryAt(layer, ".")
	if err != nil {
		return -1, err
	}
	absent := errShinesThrough
	for i, part := range parts {
		var st unix.Stat_t
		err := unix.Fstatat(dir, part, &st, unix.AT_SYMLINK_NOFOLLOW)
		switch {
		case err == nil && isWhiteout(&st), errors.Is(err, unix.ENOENT) && hasMarker(dir, part):
			err = errNoTarget
		case errors.Is(err, unix.ENOENT):
			err = absent
		case err == nil && i == len(parts)-1:
			return dir, nil
		case err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR:
			err = errNoTarget // a file hides a directory of its name
		}
		var next int
		if err == nil {
			next, err = openDirectoryAt(dir, part)
		}
		unix.Close(dir)
		if err != nil {
			return -1, err
		}
		if dir = next; isOpaque(dir) {
			absent = errNoTarget
		}
	}
	unix.Close(dir)
	return -1, errNoTarget
}

// hasMarker: a whiteout on a file system that cannot have overlay's own (keepMarker).
func hasMarker(dir int, base string) bool {
	return unix.Faccessat(dir, whiteoutPrefix+base, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW) == nil
}

func openDirectoryAt(dir int, base string) (int, error) {
	return openatRetry(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}
