package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The file systems that are the kernel itself, /dev, /proc and /sys, as a sandbox's host sees them.

// mountDev leaves out the disks, and all else that a learner could harm with a slip.
func mountDev() error {
	devices := []string{"null", "zero", "full", "random", "urandom", "tty", "fuse", "net/tun", "kmsg"}
	staged := layers + "/dev"
	if err := os.Mkdir(staged, 0o755); err != nil {
		return err
	}
	if err := do("tmpfs", staged, "tmpfs", unix.MS_NOSUID, "mode=755,size=64k"); err != nil {
		return err
	}
	for _, name := range devices {
		_, err := os.Stat("/dev/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		target := filepath.Join(staged, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, nil, 0o666); err != nil {
			return err
		}
		if err := do("/dev/"+name, target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, filepath.Join(staged, name)); err != nil {
			return err
		}
	}
	// Terminals of its own: the kernel looks for the one that /dev/ptmx makes beside it, and not beside a bind mount of it.
	if err := os.Mkdir(staged+"/pts", 0o755); err != nil {
		return err
	}
	if err := do("devpts", staged+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return err
	}
	if err := os.Mkdir(staged+"/shm", 0o777|os.ModeSticky); err != nil {
		return err
	}
	if err := do("tmpfs", staged+"/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return err
	}
	return do(staged, "/dev", "", unix.MS_MOVE, "")
}

// mountProc shows the sandbox's own processes. Of the sysctls, those below net/ belong to the network namespace; the others are
// the whole machine's, and read-only.
func mountProc() error {
	if err := do("proc", "/proc", "proc", quiet, ""); err != nil {
		return fmt.Errorf("%w (in a container: its /proc must not be masked)", err)
	}
	for _, dir := range []string{"/proc/sys", "/proc/sys/net"} {
		if err := do(dir, dir, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return readOnly("/proc/sys", "/proc/sysrq-trigger")
}

// readOnly binds paths onto themselves, where they are not mounted already, and makes them read-only. Absent is success.
func readOnly(paths ...string) error {
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if path != "/proc/sys" { // has its mount
			if err := do(path, path, "", unix.MS_BIND, ""); err != nil {
				return err
			}
		}
		if err := unix.MountSetattr(unix.AT_FDCWD, path, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return fmt.Errorf("make %s read-only: %w", path, err)
		}
	}
	return nil
}

// mountSys mounts sysfs anew, because it shows the links of the namespace in which it was mounted, and the cgroup trees in it.
func mountSys(trees []hierarchy, grouped bool) error {
	if err := do("sysfs", "/sys", "sysfs", quiet, ""); err != nil {
		return err
	}
	if err := readOnly("/sys/block", "/sys/bus", "/sys/firmware", "/sys/hypervisor", "/sys/kernel", "/sys/module", "/sys/power"); err != nil {
		return err
	}
	if !grouped {
		return nil
	}
	if len(trees) == 1 && trees[0].target == "/sys/fs/cgroup" {
		return do("cgroup2", "/sys/fs/cgroup", "cgroup2", quiet, "")
	}
	if err := do("tmpfs", "/sys/fs/cgroup", "tmpfs", quiet, "mode=755"); err != nil {
		return err
	}
	for _, h := range trees {
		if err := os.MkdirAll(h.target, 0o755); err != nil {
			return err
		}
		kind := "cgroup"
		if h.v2 {
			kind = "cgroup2"
		}
		if err := do(kind, h.target, kind, quiet, h.options); err != nil {
			return err
		}
	}
	return nil
}
