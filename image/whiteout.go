package image

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/userns"
)

// What a layer removes from the layers below it is written in two ways.
//
//	meaning                         in an archive (OCI image-spec, layer.md)   on disk (kernel, overlayfs.rst)
//	the file a/b is removed         an empty file a/.wh.b                      a character device a/b with number 0/0
//	nothing below a shines through  an empty file a/.wh..wh..opq               trusted.overlay.opaque=y on a
const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh."
)

// opaqueXattr is overlayfs's mark, as the overlay is mounted (Rootfs.flags).
func opaqueXattr() string {
	if userns.Inside() {
		return "user.overlay.opaque"
	}
	return "trusted.overlay.opaque"
}

// whiteout puts a whiteout of an archive on disk.
func (u *unpacker) whiteout(dir int, name, base string) error {
	if base == opaqueMarker {
		if u.flatten {
			return u.flattenWhiteout(dir, path.Dir(name), "")
		}
		return markOpaque(dir)
	}
	if strings.HasPrefix(base, aufsPrefix) {
		return nil // the book-keeping of aufs, which old images carry along
	}
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	if hidden == "" || hidden == "." || hidden == ".." {
		return fmt.Errorf("a whiteout of %q removes no file", hidden)
	}
	if u.flatten {
		return u.flattenWhiteout(dir, path.Join(path.Dir(name), hidden), hidden)
	}
	err := unix.Mknodat(dir, hidden, unix.S_IFCHR, 0)
	if errors.Is(err, unix.EPERM) {
		return keepMarker(dir, base)
	}
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	// The layer has the name too: the whiteout means only what lies below. A file hides that anyway, a directory does
	// when it is opaque.
	var st unix.Stat_t
	if err := unix.Fstatat(dir, hidden, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return setOpaqueAt(dir, hidden)
	}
	return nil
}

// markOpaque is setfattr -n trusted.overlay.opaque -v y DIR.
func markOpaque(dir int) error {
	err := unix.Setxattr(procPath(dir, "."), opaqueXattr(), []byte("y"), 0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) {
		return keepMarker(dir, opaqueMarker)
	}
	return err
}

// keepMarker is for a file system on which overlay's own marks cannot be made, which is one on which no overlay can be
// mounted (one reason: it is an overlay itself). The archive's marker is kept as a file; copying the layers heeds it.
func keepMarker(dir int, base string) error {
	fd, err := openatRetry(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("keep the marker %s: %w", base, err)
	}
	return unix.Close(fd)
}

func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

func isWhiteoutAt(dir int, base string) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, err
	}
	return isWhiteout(&st), nil
}

// setOpaqueAt marks a directory that was just made, so that its name is no link.
func setOpaqueAt(dir int, base string) error {
	fd, err := openatRetry(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("mark %s opaque: %w", base, err)
	}
	defer unix.Close(fd)
	if err := markOpaque(fd); err != nil {
		return fmt.Errorf("mark %s opaque: %w", base, err)
	}
	return nil
}

// likeBelow gives the directories that a layer has only because something lies in them the looks of the same
// directories in the layers below, top one first. Overlayfs shows the uppermost directory's owner, mode and time.
func likeBelow(layer int, implied []string, lower []int) error {
	for _, name := range implied {
		for _, below := range lower {
			st, stop, err := lookBelow(below, name)
			if err != nil {
				return fmt.Errorf("look for directory %q in the layers below: %w", name, err)
			}
			if st != nil {
				if err := copyLooks(layer, name, st); err != nil {
					return fmt.Errorf("make directory %q like the one below: %w", name, err)
				}
			}
			if st != nil || stop {
				break
			}
		}
	}
	return nil
}

// lookBelow is the stat of a directory in one lower layer. stop says that something there hides the layers further down.
func lookBelow(below int, name string) (st *unix.Stat_t, stop bool, err error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(below, name, &how)
	if errors.Is(err, unix.ENOENT) {
		return nil, false, nil
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer unix.Close(fd)
	var found unix.Stat_t
	if err := unix.Fstat(fd, &found); err != nil {
		return nil, false, err
	}
	if found.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, true, nil
	}
	return &found, false, nil
}

func copyLooks(layer int, name string, st *unix.Stat_t) error {
	dir, err := openInRoot(layer, path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	fd, err := openatRetry(dir, path.Base(name), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fchown(fd, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, st.Mode&0o7777); err != nil {
		return err
	}
	return unix.UtimesNanoAt(fd, ".", []unix.Timespec{st.Atim, st.Mtim}, 0)
}
