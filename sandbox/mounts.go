package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Paths inside a sandbox.
const (
	home     = "/run/sandbox"
	netnsDir = home + "/netns" // the network namespaces of lan and internet
	binDir   = home + "/bin"   // this very program as `mydocker`, and `on`
	layers   = home + "/layers"
)

// writable are the directories where a machine's root writes. In the sandbox they are overlays: what is there is seen, what is
// written goes to memory.
var writable = [...]string{"/etc", "/var", "/tmp", "/root", "/home", "/opt", "/srv", "/mnt", "/usr/local"}

// buildMounts makes the file systems of a host. What is mounted here is in the mount namespace only, and gone with it.
func buildMounts(r *Record, hostname string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	trees, err := hierarchies()
	if err != nil {
		return err
	}
	program, err := ownProgram()
	if err != nil {
		return err
	}
	defer program.Close()
	shared, err := openShared(r.Shared)
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		lockDown,
		mountRun,
		func() error { return mountOverlays(r, hostname) },
		func() error { return installProgram(program) },
		func() error { return installTcpdump(r) },
		mountDev, mountProc,
		func() error { return mountSys(trees, len(r.Cgroups) > 0) },
		func() error { return placeShared(r.Shared, shared) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return unix.Sethostname([]byte(hostname))
}

// do is mount(2) with an error that names the mount.
func do(source, target, fstype string, flags uintptr, options string) error {
	if err := unix.Mount(source, target, fstype, flags, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", strings.TrimSpace(fstype+" "+source), target, err)
	}
	return nil
}

const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// lockDown makes every file system read-only, but for those that are replaced anyway.
func lockDown() error {
	mounts, err := readMounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if below(m.target, "/proc") || below(m.target, "/sys") || below(m.target, "/dev") || below(m.target, "/run") {
			continue
		}
		err := unix.MountSetattr(unix.AT_FDCWD, m.target, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		// One below another mount cannot be reached by its path, nor one in a directory that is not ours to search; nobody
		// in here can write to those.
		if err != nil && err != unix.EINVAL && err != unix.ENOENT && err != unix.EACCES {
			return fmt.Errorf("make %s read-only: %w", m.target, err)
		}
	}
	return nil
}

func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func mountRun() error {
	if err := do("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	for _, dir := range []string{"/run/lock", "/run/netns", netnsDir, binDir, layers} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return os.Chmod(layers, 0o700)
}

// mountOverlays lays memory over the directories to which root writes.
func mountOverlays(r *Record, hostname string) error {
	mounts, err := readMounts()
	if err != nil {
		return err
	}
	for i, dir := range writable {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		// An overlay shows one file system: where something is mounted below, it would be hidden. The first four have to be.
		crowded := slices.ContainsFunc(mounts, func(m mount) bool { return m.target != dir && below(m.target, dir) })
		if i >= 4 && crowded {
			continue
		}
		cover := overlay
		// The kernel lets no user look under a mount, nor into another's closed directory, by an overlay neither.
		if r.Rootless && (crowded || unix.Access(dir, unix.R_OK|unix.X_OK) != nil) {
			cover = memory
		}
		if err := cover(dir, info.Mode().Perm()|info.Mode()&os.ModeSticky, r, hostname); err != nil {
			return err
		}
	}
	// What this machine's mydocker keeps, and how it is configured, is none of the sandbox's business.
	for dir, mode := range map[string]string{"/var/lib/mydocker": "711", "/etc/mydocker": "755"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := do("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode="+mode); err != nil {
			return err
		}
	}
	return nil
}

// overlay is: mount -t overlay -o lowerdir=DIR,upperdir=…,workdir=… overlay DIR
func overlay(dir string, mode os.FileMode, r *Record, hostname string) error {
	upper := filepath.Join(layers, strings.ReplaceAll(dir[1:], "/", "-"))
	work := upper + "-work"
	for _, d := range []string{upper, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(upper, mode); err != nil {
		return err
	}
	if err := fillUpper(dir, upper, r, hostname); err != nil {
		return err
	}
	return do("overlay", dir, "overlay", unix.MS_NOSUID|unix.MS_NODEV, "lowerdir="+dir+",upperdir="+upper+",workdir="+work)
}

// memory replaces a directory by an empty one in memory, or for /etc by a copy of what can be read.
func memory(dir string, mode os.FileMode, r *Record, hostname string) error {
	staged := filepath.Join(layers, strings.ReplaceAll(dir[1:], "/", "-"))
	if err := os.Mkdir(staged, 0o755); err != nil {
		return err
	}
	switch dir {
	case "/etc":
		if err := copyReadable(dir, staged); err != nil {
			return err
		}
	case "/var":
		if err := os.Symlink("/run", staged+"/run"); err != nil { // where older texts look: /var/run/netns
			return err
		}
	}
	if err := os.Chmod(staged, mode); err != nil {
		return err
	}
	if err := fillUpper(dir, staged, r, hostname); err != nil {
		return err
	}
	return do(staged, dir, "", unix.MS_BIND, "")
}

// copyReadable copies a tree as far as this user may read it.
func copyReadable(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		target := to + strings.TrimPrefix(path, from)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return nil
		case err != nil:
			return err
		case path == from:
			return nil
		case d.IsDir():
			return os.Mkdir(target, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, info.Mode().Perm()|0o200)
	})
}

// fillUpper puts what is this host's own into the upper directory before it is one: without root, the directories below
// belong to a user whom the namespace does not know, and nothing could be written into them later.
func fillUpper(dir, upper string, r *Record, hostname string) error {
	switch dir {
	case "/etc":
		hosts := "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n" + hostAddress + " host\n" + lanAddress + " lan\n"
		six := hostAddress6 + " host\n" + lanAddress6 + " lan\n"
		if r.Hosts == 2 {
			hosts, six = hosts+secondAddress+" host2\n", six+secondAddress6+" host2\n"
		}
		if haveIPv6() {
			hosts += six
		}
		return errors.Join(
			os.WriteFile(upper+"/resolv.conf", []byte("nameserver "+dnsAddress+"\n"), 0o644),
			os.WriteFile(upper+"/hosts", []byte(hosts), 0o644),
			os.WriteFile(upper+"/hostname", []byte(hostname+"\n"), 0o644))
	case "/var":
		for _, d := range []string{"/lib/mydocker", "/tmp", "/log"} {
			if err := os.MkdirAll(upper+d, 0o755); err != nil {
				return err
			}
		}
		return os.Chmod(upper+"/tmp", 0o777|os.ModeSticky)
	}
	return nil
}

// onScript is `on PLACE COMMAND…`, the short form of sandbox exec for labs.
const onScript = "#!/bin/sh\n# on PLACE COMMAND [ARG...] - run a command on lan, internet, host or host2\nexec " + binDir + "/mydocker sandbox exec \"$@\"\n"

// ownProgram opens this program by a path in this mount namespace: /proc/self/exe leads to the namespace in which the first of
// us was started, and a mount can only be bound from one's own.
func ownProgram() (*os.File, error) {
	running, err := os.Stat("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	for _, candidate := range []string{path, binDir + "/mydocker"} {
		if f, err := os.Open(candidate); err == nil {
			if info, err := f.Stat(); err == nil && os.SameFile(info, running) {
				return f, nil
			}
			f.Close()
		}
	}
	return nil, fmt.Errorf("this program has been moved or replaced while it runs (%s): start it again", path)
}

// installProgram puts this very program into the PATH of the sandbox.
func installProgram(program *os.File) error {
	target := filepath.Join(binDir, "mydocker")
	if err := os.WriteFile(target, nil, 0o755); err != nil {
		return err
	}
	if err := do(fmt.Sprintf("/proc/self/fd/%d", program.Fd()), target, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(binDir, "on"), []byte(onScript), 0o755)
}

// openShared takes hold of the real directories before they are covered.
func openShared(dirs []string) (held []int, err error) {
	for _, dir := range dirs {
		fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return nil, fmt.Errorf("share %s: %w", dir, err)
		}
		held = append(held, fd)
	}
	return held, nil
}

func placeShared(dirs []string, held []int) error {
	for i, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("share %s: %w", dir, err)
		}
		if err := unix.MoveMount(held[i], "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("share %s: %w", dir, err)
		}
		if err := unix.Close(held[i]); err != nil {
			return err
		}
	}
	return nil
}
