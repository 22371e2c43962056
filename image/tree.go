package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// treeWriter writes a directory tree as an archive, the other way round of unpacker. The tree may belong to a running
// container that changes it meanwhile: every name is used on the descriptor of its directory and never followed.
type treeWriter struct {
	ctx  context.Context
	tar  *tar.Writer
	seen map[inode]string // files with several names that were written
	buf  []byte
	// layer reads overlay's own marks and writes them as whiteouts: the tree is the upper directory of an overlay.
	layer bool
	// marked says that the layer was unpacked here, and may have files that stand for overlay's marks (keepMarker). What a
	// container calls so is a file like others, and no archive of a layer can have it.
	marked bool
	// owners says who the users of a container with a user namespace are on the host; empty: the same.
	owners Owners
	// resetOwner writes root as everybody's owner.
	resetOwner bool
}

type inode struct{ dev, ino uint64 }

// writeTree archives what is below an open directory, under prefix ("" for the archive's root), in the order of names.
func (t *treeWriter) writeTree(dir int, prefix string) error {
	names, err := readNames(dir)
	if err != nil {
		return fmt.Errorf("read directory %q: %w", prefix, err)
	}
	for _, name := range names {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		if t.marked && name == opaqueMarker {
			continue // written right behind its directory, before what is in it
		}
		if err := t.writeEntry(dir, name, path.Join(prefix, name)); err != nil {
			return err
		}
	}
	return nil
}

// readNames lists an open directory, sorted. The descriptor keeps its place, so a fresh one is read.
func readNames(dir int) ([]string, error) {
	fd, err := openatRetry(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var names []string
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			slices.Sort(names)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// writeEntry archives one entry of a directory, and what is below it.
func (t *treeWriter) writeEntry(dir int, base, name string) error {
	var st unix.Stat_t
	err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil // removed since the directory was read
	}
	if err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	if t.layer && !t.marked && strings.HasPrefix(base, whiteoutPrefix) {
		return fmt.Errorf("the file %q cannot be part of an image: a name that begins with %s means there that another file is removed "+
			"(OCI image-spec, layer.md); give it another name, or keep it in a volume", "/"+name, whiteoutPrefix)
	}
	if t.layer && isWhiteout(&st) {
		return t.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join(path.Dir(name), whiteoutPrefix+base), Mode: 0o600, Format: tar.FormatPAX})
	}
	h, err := t.header(dir, base, name, &st)
	if err != nil || h == nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return t.writeDir(dir, base, name, h)
	case tar.TypeReg:
		if st.Nlink > 1 {
			id := inode{uint64(st.Dev), st.Ino}
			if first, ok := t.seen[id]; ok {
				h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, first, 0, nil
				return t.tar.WriteHeader(h)
			}
			t.seen[id] = name
		}
		return t.writeFile(dir, base, name, h)
	}
	return t.tar.WriteHeader(h)
}

// header describes an entry; nil means that it has no place in an archive.
func (t *treeWriter) header(dir int, base, name string, st *unix.Stat_t) (*tar.Header, error) {
	h := &tar.Header{Name: name, Mode: int64(st.Mode & 0o7777), Uid: inside(t.owners.Users, st.Uid), Gid: inside(t.owners.Groups, st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX}
	if t.resetOwner {
		h.Uid, h.Gid = 0, 0
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, st.Size
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		target, err := readLink(dir, base)
		if err != nil {
			return nil, fmt.Errorf("read link %q: %w", name, err)
		}
		h.Linkname = target
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	default:
		return nil, nil // a socket lives only as long as who listens
	}
	return h, t.addXattrs(h, procPath(dir, base), name)
}

func readLink(dir int, base string) (string, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(dir, base, buf)
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// addXattrs copies the extended attributes, but not those by which overlayfs steers itself, nor this host's SELinux labels.
func (t *treeWriter) addXattrs(h *tar.Header, file, name string) error {
	size, err := unix.Llistxattr(file, nil)
	if errors.Is(err, unix.ENOTSUP) || size == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the extended attributes of %q: %w", name, err)
	}
	list := make([]byte, size+1024)
	if size, err = unix.Llistxattr(file, list); err != nil {
		return fmt.Errorf("list the extended attributes of %q: %w", name, err)
	}
	for key := range strings.SplitSeq(strings.TrimRight(string(list[:size]), "\x00"), "\x00") {
		if key == "" || key == xattrLabel || strings.HasPrefix(key, "trusted.overlay.") || strings.HasPrefix(key, "user.overlay.") {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(file, key, value)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the extended attribute %s of %q: %w", key, name, err)
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrRecord+key] = string(t.owners.toContainer(key, value[:n]))
	}
	return nil
}

func (t *treeWriter) writeDir(dir int, base, name string, h *tar.Header) error {
	fd, err := openatRetry(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open directory %q: %w", name, err)
	}
	defer unix.Close(fd)
	if err := t.tar.WriteHeader(h); err != nil {
		return err
	}
	if t.layer && isOpaque(fd) {
		marker := &tar.Header{Typeflag: tar.TypeReg, Name: path.Join(name, opaqueMarker), Mode: 0o600, Format: tar.FormatPAX}
		if err := t.tar.WriteHeader(marker); err != nil {
			return err
		}
	}
	return t.writeTree(fd, name)
}

// isOpaque knows both forms: the attribute, and the archive's marker where there can be no attribute.
func isOpaque(fd int) bool {
	if unix.Faccessat(fd, opaqueMarker, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW) == nil {
		return true
	}
	value := make([]byte, 2)
	n, err := unix.Fgetxattr(fd, opaqueXattr(), value)
	return err == nil && string(value[:n]) == "y"
}

// writeFile archives a regular file. It may grow or shrink meanwhile; the archive gets as many bytes as its header says.
func (t *treeWriter) writeFile(dir int, base, name string, h *tar.Header) error {
	fd, err := openatRetry(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %q: %w", name, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%q was replaced by something else while it was read; try again", name)
	}
	h.Size = st.Size
	if err := t.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("archive %q: %w", name, err)
	}
	n, err := io.CopyBuffer(onlyWriter{t.tar}, io.LimitReader(&contextReader{t.ctx, fdReader(fd)}, h.Size), t.buf)
	if err == nil && n < h.Size {
		_, err = io.CopyN(t.tar, zeroReader{}, h.Size-n)
	}
	if err != nil {
		return fmt.Errorf("archive %q: %w", name, err)
	}
	return nil
}

// fdReader reads a bare descriptor.
type fdReader int

func (fd fdReader) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// newTreeWriter starts an archive.
func newTreeWriter(ctx context.Context, w io.Writer) *treeWriter {
	return &treeWriter{ctx: ctx, tar: tar.NewWriter(w), seen: map[inode]string{}, buf: make([]byte, 256<<10)}
}
