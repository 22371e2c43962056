package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/userns"
)

// unpacker writes one layer's archive into a directory in the form that overlayfs stacks. The archive is hostile until
// proved otherwise:
//
//   - a name is made relative and may not climb out by ".."
//   - the directory of a name is opened by openat2(RESOLVE_IN_ROOT), so that links inside the layer, absolute or
//     climbing, end inside the layer
//   - the last part of a name is only ever used with calls that do not follow links, on the descriptor of its directory
//   - each layer has a directory of its own: what an earlier layer linked somewhere is not seen here
//   - what is written is bounded by what the file system has free, holes counted as if they were full
//
// Own code, because of the libraries' unpackers one needs a chroot in a process of its own and the other the lower
// layers mounted (docs/decisions/0011-image-own-unpacker.md).
type unpacker struct {
	root    int // the layer's directory
	limit   int64
	size    int64
	dirName string // the directory whose descriptor is kept, because the next name is most often in it too
	dirFD   int
	dirs    map[string]*tar.Header // attributes of directories, set last: making a file in one changes its time
	implied map[string]bool        // directories that have no entry of their own
	buf     []byte
	// owners says who the users of a container with a user namespace are on the host; empty: the same.
	owners Owners
	// plain unpacks files, not a layer: whiteouts are names like others, and what is there is respected (cp).
	plain bool
	// flatten does what whiteouts say, instead of writing them down.
	flatten bool
	// below opens the layers below, top one first, when they are in their places; nil where there are none. done closes them.
	below func() (lower []int, done func(), err error)
}

func newUnpacker(root int, limit int64) *unpacker {
	return &unpacker{root: root, limit: limit, dirFD: -1, dirs: map[string]*tar.Header{}, implied: map[string]bool{}, buf: make([]byte, 256<<10)}
}

// unpacked is what unpacking a layer has told.
type unpacked struct {
	// size is the sum of the files' sizes in bytes.
	size int64
	// implied are the directories made only because something lies in them: they look like the ones of the layer below.
	implied []string
}

// unpackTar unpacks the archive r into the directory that root is a descriptor of. It writes at most limit bytes. below is
// as unpacker's.
func unpackTar(ctx context.Context, r io.Reader, root int, limit int64, below func() ([]int, func(), error)) (unpacked, error) {
	u := newUnpacker(root, limit)
	u.below = below
	defer u.forgetDir()
	if err := u.unpack(ctx, tar.NewReader(r)); err != nil {
		return unpacked{}, err
	}
	result := unpacked{size: u.size}
	for name := range u.implied {
		result.implied = append(result.implied, name)
	}
	return result, nil
}

func (u *unpacker) unpack(ctx context.Context, archive *tar.Reader) error {
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return u.finishDirs()
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if err := u.entry(header, archive); err != nil {
			return fmt.Errorf("unpack %q: %w", header.Name, err)
		}
	}
}

// localName makes an archive's name relative and clean, and refuses one that leads out of the layer.
func localName(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", errors.New("the name leads out of the layer by \"..\"")
	}
	if strings.IndexByte(clean, 0) >= 0 {
		return "", errors.New("the name has a NUL byte")
	}
	return clean, nil
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // a comment of git-archive; it is no file
	}
	name, err := localName(h.Name)
	if err != nil {
		return err
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return errors.New("the root of the layer is not a directory")
		}
		u.dirs[name] = h
		return nil
	}
	dir, err := u.openDir(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	if !u.plain && strings.HasPrefix(base, whiteoutPrefix) {
		return u.whiteout(dir, name, base)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.makeDir(dir, name, base, h)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return u.makeFile(dir, name, base, h, content)
	case tar.TypeLink:
		return u.makeHardLink(dir, name, base, h)
	case tar.TypeSymlink:
		return u.makeOther(dir, name, base, h, func() error { return unix.Symlinkat(h.Linkname, dir, base) })
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		if h.Typeflag != tar.TypeFifo && userns.Inside() {
			return nil // no device can be made here, nor used from a layer; Docker without root leaves them out too
		}
		return u.makeOther(dir, name, base, h, func() error {
			return unix.Mknodat(dir, base, deviceMode(h), int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
		})
	}
	return fmt.Errorf("an entry of the unknown type %q", h.Typeflag)
}

// openDir is a descriptor of a directory of the layer, good until the next call. Missing directories are made.
func (u *unpacker) openDir(name string) (int, error) {
	if u.dirFD >= 0 && u.dirName == name {
		return u.dirFD, nil
	}
	fd, err := openInRoot(u.root, name, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		fd, err = u.makeParents(name)
	}
	if err != nil {
		return -1, fmt.Errorf("open its directory: %w", err)
	}
	u.forgetDir()
	u.dirName, u.dirFD = name, fd
	return fd, nil
}

// forgetDir closes the descriptor that is kept. It must be called whenever something is removed: the name could mean
// another directory from then on.
func (u *unpacker) forgetDir() {
	if u.dirFD >= 0 {
		unix.Close(u.dirFD)
	}
	u.dirFD = -1
}

// makeParents makes what is missing of a directory's path, and returns its descriptor: mkdir -p.
func (u *unpacker) makeParents(name string) (int, error) {
	parent, err := openInRoot(u.root, ".", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	done := ""
	for part := range strings.SplitSeq(name, "/") {
		done = path.Join(done, part)
		fd, err := openInRoot(u.root, done, unix.O_PATH|unix.O_DIRECTORY)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			if fd, err = u.makeImplied(parent, part, done); err == nil {
				u.implied[done] = true
			}
		}
		unix.Close(parent)
		if err != nil {
			return -1, fmt.Errorf("%s: %w", done, err)
		}
		parent = fd
	}
	return parent, nil
}

func (u *unpacker) makeImplied(parent int, base, name string) (int, error) {
	err := unix.Mkdirat(parent, base, 0o755)
	if errors.Is(err, unix.EEXIST) {
		white, statErr := isWhiteoutAt(parent, base)
		if statErr != nil || !white {
			return -1, errors.Join(errors.New("something that is not a directory is in the way"), statErr)
		}
		// The archive removes what lower layers have under this name, and then has files in a directory of that name.
		if err = unix.Unlinkat(parent, base, 0); err == nil {
			err = errors.Join(unix.Mkdirat(parent, base, 0o755), setOpaqueAt(parent, base))
		}
	}
	if err != nil {
		return -1, err
	}
	return openInRoot(u.root, name, unix.O_PATH|unix.O_DIRECTORY)
}

// openInRoot opens a path below a directory. Symbolic links are followed as if that directory were the root, so no
// path leads out: openat2(2) with RESOLVE_IN_ROOT.
func openInRoot(root int, name string, flags int) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(root, name, &how)
		// EAGAIN: something was renamed somewhere on the system while ".." was walked, and the kernel could not be
		// sure that the path stayed inside.
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}
