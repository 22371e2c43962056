package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// PathStat describes a file inside a container, as Docker's X-Docker-Container-Path-Stat does.
type PathStat struct {
	Name       string      `json:"name"`
	Size       int64       `json:"size"`
	Mode       fs.FileMode `json:"mode"`
	Mtime      time.Time   `json:"mtime"`
	LinkTarget string      `json:"linkTarget"`
}

// CopyOptions are how files are copied.
type CopyOptions struct {
	FollowLink bool // -L: a source that is a symbolic link is followed, inside the container's root
	Archive    bool // -a: owners are kept; otherwise what is copied belongs to root
}

// Tree is a root file system that files are copied out of or into: a mounted overlay, /proc/PID/root of a running
// container, or the host's own root. Paths are resolved inside, whatever links there are: openat2(RESOLVE_IN_ROOT).
//
// Owners in an archive are the container's own, whoever they are on the host.
type Tree struct {
	Root   *os.File
	Owners Owners
}

// Stat looks at a path without following its last part.
func (t Tree) Stat(name string) (*PathStat, error) {
	dir, base, err := t.parent(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer unix.Close(dir)
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	stat := &PathStat{Name: path.Base(clean(name)), Size: st.Size, Mtime: time.Unix(st.Mtim.Unix()), Mode: fileMode(st.Mode)}
	if stat.Mode&fs.ModeSymlink != 0 {
		stat.LinkTarget, err = readLink(dir, base)
	}
	return stat, err
}

// fileMode turns st_mode into Go's bits, which are also Docker's on the wire.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	kinds := map[uint32]fs.FileMode{unix.S_IFDIR: fs.ModeDir, unix.S_IFLNK: fs.ModeSymlink, unix.S_IFCHR: fs.ModeDevice | fs.ModeCharDevice,
		unix.S_IFBLK: fs.ModeDevice, unix.S_IFIFO: fs.ModeNamedPipe, unix.S_IFSOCK: fs.ModeSocket}
	m |= kinds[mode&unix.S_IFMT]
	for bit, flag := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= flag
		}
	}
	return m
}

func clean(name string) string { return path.Clean("/" + name) }

// parent opens the directory of a path; base is "." for the root itself.
func (t Tree) parent(name string) (dir int, base string, err error) {
	name = clean(name)
	dir, err = openInRoot(int(t.Root.Fd()), path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, "", err
	}
	if name == "/" {
		return dir, ".", nil
	}
	return dir, path.Base(name), nil
}

// contentOnly tells Docker's SRC/. from SRC: the first means what is in the directory, not the directory.
func contentOnly(name string) bool { return name == "." || strings.HasSuffix(name, "/.") }

// Read archives a file or a directory with all that is in it. The entries are named rename, or rename/…; with rename ""
// the content of a directory is archived without it.
func (t Tree) Read(ctx context.Context, name, rename string, w io.Writer, o CopyOptions) error {
	writer := newTreeWriter(ctx, w)
	writer.resetOwner, writer.owners = !o.Archive, t.Owners
	if err := t.read(writer, name, rename, o); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return writer.tar.Close()
}

func (t Tree) read(writer *treeWriter, name, rename string, o CopyOptions) error {
	if rename == "" || o.FollowLink {
		fd, err := openInRoot(int(t.Root.Fd()), clean(name), unix.O_PATH)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if rename == "" {
			return writer.writeTree(fd, "")
		}
		// What the link leads to, under the name that was asked for.
		resolved, err := t.resolved(fd)
		if err != nil {
			return err
		}
		name = resolved
	}
	dir, base, err := t.parent(name)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	return writer.writeEntry(dir, base, rename)
}

// resolved is the path inside the tree of something that was opened by way of links.
func (t Tree) resolved(fd int) (string, error) {
	root, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", t.Root.Fd()))
	if err != nil {
		return "", err
	}
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return "", err
	}
	if root == "/" {
		return name, nil
	}
	inside, ok := strings.CutPrefix(name, root)
	if !ok {
		return "", fmt.Errorf("it leads to %s, which cannot be named inside the root", name)
	}
	return "/" + strings.TrimLeft(inside, "/"), nil
}

// Write unpacks an archive into a directory that exists. Links in the tree are followed inside it; nothing is written
// outside. A directory is not replaced by a file, nor a file by a directory.
func (t Tree) Write(ctx context.Context, dir string, r io.Reader) error {
	if t.Owners.none() {
		return t.write(ctx, dir, r)
	}
	return throwAway(func() error {
		if err := t.Owners.become(); err != nil {
			return err
		}
		return t.write(ctx, dir, r)
	})
}

func (t Tree) write(ctx context.Context, dir string, r io.Reader) error {
	fd, err := openInRoot(int(t.Root.Fd()), clean(dir), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	defer unix.Close(fd)
	room, err := freeSpace(fd)
	if err != nil {
		return err
	}
	u := newUnpacker(fd, room)
	u.plain, u.owners = true, t.Owners
	defer u.forgetDir()
	if err := u.unpack(ctx, tar.NewReader(r)); err != nil {
		return fmt.Errorf("write into %s: %w", dir, err)
	}
	return nil
}

// Copy copies between trees by Docker's rules (docs.docker.com, "docker cp"):
//
//	SRC is a file      DST absent: becomes DST (unless it ends in /)   DST a file: replaced   DST a directory: DST/name
//	SRC is a directory DST absent: becomes DST                         DST a file: refused    DST a directory: DST/name, or its content with SRC/.
func Copy(ctx context.Context, from Tree, src string, to Tree, dst string, o CopyOptions) error {
	if src == "" || dst == "" {
		return errors.New("copy: neither the source nor the destination may be empty")
	}
	source, err := from.look(src, o.FollowLink || contentOnly(src) || strings.HasSuffix(src, "/"))
	if err != nil {
		return fmt.Errorf("copy %s: %w", src, err)
	}
	if source == nil {
		return fmt.Errorf("copy %s: %w", src, unix.ENOENT)
	}
	if strings.HasSuffix(src, "/") && !source.Mode.IsDir() {
		return fmt.Errorf("copy %s: not a directory", src)
	}
	target, err := to.look(dst, true)
	if err != nil {
		return fmt.Errorf("copy to %s: %w", dst, err)
	}
	dir, rename, err := destination(src, dst, source, target)
	if err != nil {
		return err
	}
	o.FollowLink = o.FollowLink || strings.HasSuffix(src, "/")
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := from.Read(ctx, src, rename, w, o)
		w.CloseWithError(err)
		done <- err
	}()
	err = to.Write(ctx, dir, r)
	r.CloseWithError(errors.New("nobody reads any more"))
	if readErr := <-done; readErr != nil && err == nil {
		err = readErr
	}
	return err
}

// look is Stat that may follow, and that takes absence for an answer.
func (t Tree) look(name string, follow bool) (*PathStat, error) {
	if !follow {
		stat, err := t.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return stat, err
	}
	fd, err := openInRoot(int(t.Root.Fd()), clean(name), unix.O_PATH)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	return &PathStat{Name: path.Base(clean(name)), Size: st.Size, Mode: fileMode(st.Mode), Mtime: time.Unix(st.Mtim.Unix())}, nil
}

// destination decides into which directory the source goes, and under which name ("" for its content alone).
func destination(src, dst string, source, target *PathStat) (dir, rename string, err error) {
	slash := strings.HasSuffix(dst, "/") || contentOnly(dst)
	switch {
	case target != nil && target.Mode.IsDir():
		if source.Mode.IsDir() && (contentOnly(src) || clean(src) == "/") {
			return dst, "", nil
		}
		return dst, path.Base(clean(src)), nil
	case target != nil && source.Mode.IsDir():
		return "", "", fmt.Errorf("copy %s to %s: a directory cannot replace a file", src, dst)
	case target != nil && slash:
		return "", "", fmt.Errorf("copy %s to %s: the destination is not a directory", src, dst)
	case target == nil && slash && !source.Mode.IsDir():
		return "", "", fmt.Errorf("copy %s to %s: %w", src, dst, absent("the destination directory must exist"))
	}
	return path.Dir(clean(dst)), path.Base(clean(dst)), nil
}
