package container

import (
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/userns"
)

// checkDevices: a device that is there twice is harmless if it is the same one; else nobody knows which of the two is meant.
func (b *builder) checkDevices() error {
	seen := map[string]specs.LinuxDevice{}
	for _, d := range b.spec.Linux.Devices {
		path := filepath.Clean("/" + d.Path)
		if old, ok := seen[path]; ok && (old.Type != d.Type || old.Major != d.Major || old.Minor != d.Minor) {
			return fmt.Errorf("linux.devices: %s is there twice, as %s %d:%d and as %s %d:%d", path, old.Type, old.Major, old.Minor, d.Type, d.Major, d.Minor)
		}
		seen[path] = d
	}
	return nil
}

// parentOf opens the directory in which a node is to be made, and makes it where it is missing.
func (in *initializer) parentOf(path string) (int, string, error) {
	dir, name := filepath.Split(path)
	fd, err := in.mountPoint(filepath.Clean(dir), false, 0)
	return fd, name, err
}

// makeDevice is `mknod -m MODE TARGET c MAJOR MINOR`. What stands in its place, and is not that device, is replaced.
func (in *initializer) makeDevice(s step) error {
	dir, name, err := in.parentOf(s.Target)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	err = unix.Mknodat(dir, name, uint32(s.Num[0]), int(s.Num[1]))
	if err == unix.EPERM && userns.Inside() {
		return in.bindDevice(s)
	}
	if err == unix.EEXIST {
		var st unix.Stat_t
		if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if uint64(st.Mode&unix.S_IFMT) == s.Num[0]&unix.S_IFMT && st.Rdev == s.Num[1] {
			return nil
		}
		if err := unix.Unlinkat(dir, name, 0); err != nil {
			return err
		}
		err = unix.Mknodat(dir, name, uint32(s.Num[0]), int(s.Num[1]))
	}
	if err != nil {
		return err
	}
	if s.Num[2]|s.Num[3] == 0 {
		return nil
	}
	return unix.Fchownat(dir, name, int(s.Num[2]), int(s.Num[3]), unix.AT_SYMLINK_NOFOLLOW)
}

// bindDevice serves user namespaces, in which mknod is refused: the host's own node of that name is bound, if it is that device.
func (in *initializer) bindDevice(s step) error {
	source := s.Source
	if source == "" {
		source = s.Target
	}
	var st unix.Stat_t
	err := unix.Stat(source, &st)
	if err == nil && s.Num[1] != 0 && st.Rdev != s.Num[1] {
		return fmt.Errorf("in a user namespace no device can be made, and the host's %s is another one", source)
	}
	if err != nil {
		return fmt.Errorf("in a user namespace no device can be made, only the host's be shown: %s: %w", source, err)
	}
	return in.bind(step{Kind: stepBind, Source: source, Target: s.Target})
}

func (in *initializer) symlink(s step) error {
	if s.Source == "/proc/kcore" && in.proc >= 0 && unix.Faccessat(in.proc, "kcore", unix.F_OK, 0) == unix.ENOENT {
		return nil // a kernel without it
	}
	dir, name, err := in.parentOf(s.Target)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	err = unix.Symlinkat(s.Source, dir, name)
	if err == unix.EEXIST {
		if now, e := readlinkat(dir, name); e == nil && now == s.Source {
			return nil
		}
		if err = unix.Unlinkat(dir, name, 0); err == nil {
			err = unix.Symlinkat(s.Source, dir, name)
		}
	}
	return err
}

// copyUp fills a new tmpfs with what the directory under it holds ("tmpcopyup").
func copyUp(from, to int) error {
	src := os.DirFS(fmt.Sprintf("/proc/self/fd/%d", from))
	return os.CopyFS(fmt.Sprintf("/proc/self/fd/%d", to), src)
}
