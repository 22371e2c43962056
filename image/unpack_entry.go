package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// makeDir makes a directory or keeps the one that is there; its attributes are set at the end.
func (u *unpacker) makeDir(dir int, name, base string, h *tar.Header) error {
	delete(u.implied, name)
	u.dirs[name] = h
	err := unix.Mkdirat(dir, base, 0o700)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil
	}
	if u.plain {
		return errors.New("a directory cannot replace something that is none")
	}
	if err := u.clear(dir, name, base); err != nil {
		return err
	}
	u.dirs[name] = h
	if err := unix.Mkdirat(dir, base, 0o700); err != nil {
		return err
	}
	if isWhiteout(&st) {
		// Removed below and made anew here: nothing of the lower directory may shine through.
		return setOpaqueAt(dir, base)
	}
	return nil
}

// makeFile writes a regular file.
func (u *unpacker) makeFile(dir int, name, base string, h *tar.Header, content io.Reader) (err error) {
	if h.Size > u.limit-u.size {
		return fmt.Errorf("it is %d bytes long, and there is room for %d only: %w", h.Size, u.limit-u.size, unix.ENOSPC)
	}
	var fd int
	create := func() error {
		fd, err = openatRetry(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	}
	if err := u.replace(dir, name, base, create); err != nil {
		return err
	}
	u.size += h.Size
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := u.fill(fd, h, content); err != nil {
		return err
	}
	if err := u.chown(h, func(uid, gid int) error { return unix.Fchown(fd, uid, gid) }); err != nil {
		return err
	}
	// After chown, which clears the set-user-id bits and the capabilities.
	if err := unix.Fchmod(fd, uint32(h.Mode&0o7777)); err != nil {
		return fmt.Errorf("chmod %o: %w", h.Mode&0o7777, err)
	}
	if err := u.setXattrs(h, func(key string, value []byte) error { return unix.Fsetxattr(fd, key, value, 0) }); err != nil {
		return err
	}
	return setTimes(dir, base, h)
}

func (u *unpacker) fill(fd int, h *tar.Header, content io.Reader) error {
	if isSparse(h) {
		return u.fillSparse(fd, h.Size, content)
	}
	for {
		n, err := content.Read(u.buf)
		if n > 0 {
			if e := writeAll(fd, u.buf[:n], -1); e != nil {
				return e
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fillSparse leaves holes where the archive has them: the archive reader hands them out as zeros.
func (u *unpacker) fillSparse(fd int, size int64, content io.Reader) error {
	if err := unix.Ftruncate(fd, size); err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for offset := int64(0); ; {
		n, err := io.ReadFull(content, u.buf[:len(zeros)])
		if n > 0 && !bytes.Equal(u.buf[:n], zeros[:n]) {
			if e := writeAll(fd, u.buf[:n], offset); e != nil {
				return e
			}
		}
		offset += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && offset == size {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// makeHardLink gives a file a second name. The first name's directory is resolved inside the layer, and its last part is
// not followed: a hard link to a symbolic link links the link. A file of a layer below is copied into this one first.
func (u *unpacker) makeHardLink(dir int, name, base string, h *tar.Header) error {
	target, err := localName(h.Linkname)
	if err == nil && (target == name || target == ".") {
		err = errors.New("it makes no sense")
	}
	if err == nil {
		err = u.link(dir, name, base, target)
	}
	if errors.Is(err, unix.ENOENT) {
		if err = u.copyUp(target); err == nil {
			if dir, err = u.openDir(path.Dir(name)); err == nil { // copying has closed the one we had
				err = u.link(dir, name, base, target)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	return nil
}

func (u *unpacker) link(dir int, name, base, target string) error {
	from, err := openInRoot(u.root, path.Dir(target), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	if white, err := isWhiteoutAt(from, path.Base(target)); err != nil || white && !u.plain {
		return errors.Join(err, unix.ENOENT)
	}
	return u.replace(dir, name, base, func() error { return unix.Linkat(from, path.Base(target), dir, base, 0) })
}

// makeOther makes what has no content: symbolic links, devices and pipes.
func (u *unpacker) makeOther(dir int, name, base string, h *tar.Header, create func() error) error {
	if err := u.replace(dir, name, base, create); err != nil {
		return err
	}
	if err := u.chown(h, func(uid, gid int) error { return unix.Fchownat(dir, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink {
		// mknod obeys the umask; nobody else writes here, so the name still is what was just made.
		if err := unix.Fchmodat(dir, base, uint32(h.Mode&0o7777), 0); err != nil {
			return fmt.Errorf("chmod %o: %w", h.Mode&0o7777, err)
		}
	}
	err := u.setXattrs(h, func(key string, value []byte) error { return unix.Lsetxattr(procPath(dir, base), key, value, 0) })
	if err != nil {
		return err
	}
	return setTimes(dir, base, h)
}

// replace does create, and once more after removing what stands in its place: an archive may name a file twice, and
// the later entry counts.
func (u *unpacker) replace(dir int, name, base string, create func() error) error {
	err := create()
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if u.plain {
		var st unix.Stat_t
		if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return errors.New("a directory is not replaced by something that is none")
		}
	}
	if err := u.clear(dir, name, base); err != nil {
		return err
	}
	return create()
}

// clear removes what has a name, directories with all that is in them, links not followed: rm -rf.
func (u *unpacker) clear(dir int, name, base string) error {
	delete(u.dirs, name)
	delete(u.implied, name)
	if err := os.RemoveAll(procPath(dir, base)); err != nil {
		return fmt.Errorf("remove the earlier entry of this name: %w", err)
	}
	if u.dirName != path.Dir(name) {
		u.forgetDir()
	}
	return nil
}

// finishDirs sets what directories look like, after everything has been put into them.
func (u *unpacker) finishDirs() error {
	for name, h := range u.dirs {
		fd, err := openInRoot(u.root, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			continue // a later entry has replaced it, or a directory above it
		}
		if err == nil {
			err = errors.Join(u.finishDir(fd, h), unix.Close(fd))
		}
		if err != nil {
			return fmt.Errorf("unpack directory %q: %w", h.Name, err)
		}
	}
	return nil
}

func (u *unpacker) finishDir(fd int, h *tar.Header) error {
	if err := u.chown(h, func(uid, gid int) error { return unix.Fchown(fd, uid, gid) }); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, uint32(h.Mode&0o7777)); err != nil {
		return fmt.Errorf("chmod %o: %w", h.Mode&0o7777, err)
	}
	if err := u.setXattrs(h, func(key string, value []byte) error { return unix.Fsetxattr(fd, key, value, 0) }); err != nil {
		return err
	}
	return setTimes(fd, ".", h)
}

const (
	xattrRecord = "SCHILY.xattr."
	xattrLabel  = "security.selinux"
)

// setXattrs sets the extended attributes of an entry. Those by which overlayfs steers itself are not taken from an
// archive: trusted.overlay.redirect could show a file of another place. Nor are SELinux labels: a host's policy says what they mean.
func (u *unpacker) setXattrs(h *tar.Header, set func(key string, value []byte) error) error {
	for record, value := range h.PAXRecords {
		key, ok := strings.CutPrefix(record, xattrRecord)
		if !ok || key == xattrLabel || strings.HasPrefix(key, "trusted.overlay.") || strings.HasPrefix(key, "user.overlay.") {
			continue
		}
		err := set(key, u.owners.toHost(key, []byte(value)))
		// A file system may have no place for some, and a symbolic link has none for user attributes: as with Docker, such
		// attributes are left out. What gives a program its rights is never left out silently.
		if (errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM)) && key != "security.capability" {
			continue
		}
		if err != nil {
			return fmt.Errorf("set extended attribute %s: %w", key, err)
		}
	}
	return nil
}

func setTimes(dir int, base string, h *tar.Header) error {
	modified, err := unix.TimeToTimespec(h.ModTime)
	accessed := modified
	if err == nil && !h.AccessTime.IsZero() {
		accessed, err = unix.TimeToTimespec(h.AccessTime)
	}
	if err == nil {
		err = unix.UtimesNanoAt(dir, base, []unix.Timespec{accessed, modified}, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return fmt.Errorf("set its times: %w", err)
	}
	return nil
}

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for record := range h.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func deviceMode(h *tar.Header) uint32 {
	mode := uint32(h.Mode & 0o7777)
	switch h.Typeflag {
	case tar.TypeChar:
		return mode | unix.S_IFCHR
	case tar.TypeBlock:
		return mode | unix.S_IFBLK
	}
	return mode | unix.S_IFIFO
}

// procPath names an entry of an open directory for the calls that take no descriptor.
func procPath(dir int, base string) string {
	return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + base
}

func openatRetry(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// writeAll writes at an offset, or where the file stands when the offset is -1.
func writeAll(fd int, data []byte, offset int64) error {
	for len(data) > 0 {
		var n int
		var err error
		if offset < 0 {
			n, err = unix.Write(fd, data)
		} else {
			n, err = unix.Pwrite(fd, data, offset)
			offset += int64(max(n, 0))
		}
		if err != nil && err != unix.EINTR {
			return err
		}
		data = data[max(n, 0):]
	}
	return nil
}
