package container

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Everything here works on descriptors, not on names: a file system is made detached (fsmount, open_tree), the mount
// point is opened inside the root file system (openat2 with RESOLVE_IN_ROOT: a symlink to /etc means the container's),
// and move_mount joins the two descriptors. Between the look and the deed there is no name that could be exchanged.

// doRootfs does the steps that have to do with files.
func (in *initializer) doRootfs(s step, rootfs int) error {
	switch s.Kind {
	case stepPropagation:
		return wrap("cut the mounts off from the host", unix.Mount("", "/", "", uintptr(s.Num[0]), ""))
	case stepRoot:
		return in.attachRoot(s, rootfs)
	case stepMount:
		return at("mount "+s.Type+" on", s, in.mountFilesystem(s))
	case stepBind:
		return at("bind "+s.Source+" to", s, in.bind(s))
	case stepCgroup1:
		return at("bind "+s.Source+" to", s, in.bind(s))
	case stepRemount:
		return at("remount", s, in.remount(s))
	case stepDevice:
		return at("make device", s, in.makeDevice(s))
	case stepDeviceBind:
		return at("bind device", s, in.bindDevice(s))
	case stepSymlink:
		return at("make link", s, in.symlink(s))
	case stepConsole:
		return wrap("open a terminal", in.openConsole())
	case stepConsoleDevice:
		return at("bind the terminal to", s, in.bindConsole(s))
	case stepReadonlyPath:
		return at("make read-only", s, in.readonlyPath(s))
	case stepMaskPath:
		return at("mask", s, in.maskPath(s))
	case stepMakeCwd:
		return at("make the working directory", s, in.makeCwd(s))
	case stepSysctl:
		return wrap("set the kernel's "+s.Target, in.sysctl(s))
	case stepRootPropagation, stepReadonlyRoot:
		return in.changeRoot(s)
	case stepChroot:
		return wrap("change the root", in.chroot(s.Num[0] == 1))
	case stepPivot:
		return wrap("change the root", in.pivot())
	}
	return fmt.Errorf("unknown step %d", s.Kind)
}

func at(what string, s step, err error) error {
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, s.Target, err)
	}
	return nil
}

// attachRoot makes the root file system a mount of its own, and opens it. pivot_root wants a mount, and the parent of
// its mount must not be shared: stepPropagation saw to that.
func (in *initializer) attachRoot(s step, detached int) error {
	if detached < 0 {
		tree, err := unix.OpenTree(unix.AT_FDCWD, s.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return fmt.Errorf("root file system %s: %w", s.Source, err)
		}
		detached = tree
	}
	// The descriptor of a detached mount stays good when the mount is attached: it is the root from now on.
	err := unix.MoveMount(detached, "", unix.AT_FDCWD, s.Source, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("attach the root file system to %s: %w", s.Source, err)
	}
	in.root = detached
	return nil
}

// inRoot opens a path of the container as the container will see it. Symlinks are followed inside the root; links of
// /proc that lead to open files ("magic links") are not.
func (in *initializer) inRoot(path string, flags, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | resolve}
	for {
		fd, err := unix.Openat2(in.root, path, &how)
		if err != unix.EINTR && err != unix.EAGAIN { // EAGAIN: something was renamed while the kernel looked for ".."
			return fd, err
		}
	}
}

// mountPoint opens the place where something will be mounted, and makes it where it is missing.
func (in *initializer) mountPoint(path string, file bool, resolve uint64) (int, error) {
	fd, err := in.inRoot(path, unix.O_PATH, resolve)
	if err == unix.ENOENT {
		return in.create(path, file, 0)
	}
	return fd, err
}

const maxLinks = 40 // as the kernel's own limit

// create makes a directory or an empty file, and the directories above it. A symlink that leads nowhere is followed:
// images have links like /var/run -> /run whose target only the container brings.
func (in *initializer) create(path string, file bool, links int) (int, error) {
	if links > maxLinks {
		return -1, unix.ELOOP
	}
	dir, name := filepath.Split(filepath.Clean(path))
	parent, err := in.inRoot(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err == unix.ENOENT {
		parent, err = in.create(dir, false, links+1)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	if file {
		var fd int
		fd, err = unix.Openat(parent, name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
		if err == nil {
			unix.Close(fd)
		}
	} else {
		err = unix.Mkdirat(parent, name, 0o755)
	}
	if err == unix.EEXIST {
		if target, linkErr := readlinkat(parent, name); linkErr == nil {
			if !filepath.IsAbs(target) {
				target = filepath.Join(dir, target)
			}
			fd, openErr := in.inRoot(target, unix.O_PATH, 0)
			if openErr == unix.ENOENT {
				return in.create(target, file, links+1)
			}
			return fd, openErr
		}
	} else if err != nil {
		return -1, err
	}
	return unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func readlinkat(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// mountFilesystem makes a file system and mounts it: `mount -t TYPE -o DATA SOURCE TARGET`.
func (in *initializer) mountFilesystem(s step) error {
	resolve := uint64(0)
	if s.Num[numFlags]&flagNoSymlink != 0 {
		// Were /proc a symlink, a path like /proc/self/attr would lead to a file that the image made up (CVE-2019-16884,
		// CVE-2023-27561).
		resolve = unix.RESOLVE_NO_SYMLINKS
	}
	target, err := in.mountPoint(s.Target, false, resolve)
	if err == unix.ELOOP && resolve != 0 {
		return errors.New("it is reached through a symlink, it must be a plain directory")
	}
	if err != nil {
		return err
	}
	defer unix.Close(target)
	mount, err := in.filesystem(s)
	if err != nil {
		return err
	}
	if s.Num[numFlags]&flagCopyUp != 0 {
		if err := copyUp(target, mount); err != nil {
			return fmt.Errorf("copy what was there: %w", err)
		}
	}
	if err = guardProc(mount, target, s.Target); err == nil {
		err = in.attach(mount, target, s)
	}
	if err != nil {
		unix.Close(mount)
		return err
	}
	switch {
	case s.Type == "proc" && in.proc < 0:
		in.proc = mount
	case s.Type == "devpts" && s.Target == "/dev/pts":
		in.devpts = mount
	default:
		unix.Close(mount)
	}
	return nil
}

// filesystem makes the file system, or takes the one that the first process has made.
func (in *initializer) filesystem(s step) (int, error) {
	if in.direct && belongsToChild(s) {
		mount := in.made[0]
		in.made = in.made[1:]
		return mount, nil
	}
	return newFilesystem(s.Type, s.Source, s.Data, s.Num[numAttrSet])
}

// newFilesystem makes a file system that is mounted nowhere yet: fsopen(2), fsconfig(2), fsmount(2).
func newFilesystem(kind, source string, data []string, attributes uint64) (int, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		if err == unix.ENODEV {
			return -1, fmt.Errorf("the kernel has no file system %q: see `cat /proc/filesystems`", kind)
		}
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", source); err != nil {
		return -1, fmt.Errorf("source %q: %w", source, fsError(fs, err))
	}
	for _, option := range data {
		if option == "" {
			continue
		}
		key, value, hasValue := strings.Cut(option, "=")
		if hasValue {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return -1, fmt.Errorf("mount option %q: %w", option, fsError(fs, err))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fsError(fs, err)
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(attributes))
}

// fsError adds what the kernel has to say about a refused option.
func fsError(fs int, err error) error {
	buf := make([]byte, 512)
	if n, readErr := unix.Read(fs, buf); readErr == nil && n > 2 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(buf[2:n])))
	}
	return err
}

// bind shows a directory or file of the host in the container: `mount --bind SOURCE TARGET`.
func (in *initializer) bind(s step) error {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if s.Num[numRecursive] != 0 {
		flags |= unix.AT_RECURSIVE
	}
	var tree int
	var err error
	if n := s.handed(); n >= 0 && n < len(in.trees) {
		tree = in.trees[n]
	} else if tree, err = unix.OpenTree(unix.AT_FDCWD, s.Source, flags); err != nil {
		return fmt.Errorf("source %s: %w", s.Source, err)
	}
	defer unix.Close(tree)
	var st unix.Stat_t
	if err := unix.Fstat(tree, &st); err != nil {
		return err
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	target, err := in.mountPoint(s.Target, !isDir, 0)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	if err := setAttributes(tree, s.Num[numAttrSet], s.Num[numAttrClear], 0, false); err != nil {
		return err
	}
	if err := guardProc(tree, target, s.Target); err != nil {
		return err
	}
	err = in.attach(tree, target, s)
	if err == unix.ENOTDIR {
		return fmt.Errorf("%w: are you trying to mount a directory onto a file (or vice-versa)?", err)
	}
	return err
}

// attach puts a detached mount on its place, with what holds for everything below it and its propagation.
func (in *initializer) attach(mount, target int, s step) error {
	below := unpack(s.Num[numAttrBelow])
	if err := setAttributes(mount, below.set, below.clear, 0, true); err != nil {
		return err
	}
	if err := unix.MoveMount(mount, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return err
	}
	if p := s.Num[numPropagation]; p != 0 {
		// After the attaching: a mount takes on the propagation of the place where it is put.
		return setAttributes(mount, 0, 0, p&^unix.MS_REC, p&unix.MS_REC != 0)
	}
	return nil
}

func setAttributes(mount int, set, clear, propagation uint64, recursive bool) error {
	if set|clear|propagation == 0 {
		return nil
	}
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(mount, "", flags, &unix.MountAttr{Attr_set: set, Attr_clr: clear, Propagation: propagation})
	return wrap("set the mount's attributes", err)
}

// remount changes the attributes of a mount that is there already.
func (in *initializer) remount(s step) error {
	fd, err := in.inRoot(s.Target, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if len(s.Data) > 0 {
		return fmt.Errorf("option %q of a file system cannot be changed afterwards", s.Data[0])
	}
	if err := setAttributes(fd, s.Num[numAttrSet], s.Num[numAttrClear], 0, false); err != nil {
		return err
	}
	below, p := unpack(s.Num[numAttrBelow]), s.Num[numPropagation]
	if err := setAttributes(fd, below.set, below.clear, 0, true); err != nil {
		return err
	}
	return setAttributes(fd, 0, 0, p&^unix.MS_REC, p&unix.MS_REC != 0)
}

func (in *initializer) makeCwd(s step) error {
	fd, err := in.mountPoint(s.Target, false, 0)
	switch err {
	case nil:
		unix.Close(fd)
	case unix.EROFS, unix.EACCES:
		return nil // chdir will say it better
	}
	return err
}

func (in *initializer) changeRoot(s step) error {
	if s.Kind == stepReadonlyRoot {
		return wrap("make the root read-only", setAttributes(in.root, unix.MOUNT_ATTR_RDONLY, 0, 0, false))
	}
	return wrap("set the root's propagation", setAttributes(in.root, 0, 0, s.Num[0]&^unix.MS_REC, s.Num[0]&unix.MS_REC != 0))
}

// pivot makes the container's root the root of the mount namespace and lets go of the host's tree. pivot_root(2) with
// "." twice stacks the old root on the new one, from where it is taken off: no directory for it is needed.
func (in *initializer) pivot() error {
	old, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(old)
	if err := unix.Fchdir(in.root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Fchdir(old); err != nil {
		return err
	}
	// Taking the host's tree off must not take it off for the host too.
	if err := unix.Mount("", ".", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("cut off the old root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	return unix.Chdir("/")
}

// chroot is what is left where pivot_root is refused: the root is moved over /, and the process goes there.
// With a mount namespace that is not its own, the root stays where it is.
func (in *initializer) chroot(stay bool) error {
	if !stay {
		if err := unix.MoveMount(in.root, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("move the root over /: %w", err)
		}
	}
	if err := unix.Fchdir(in.root); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Chdir("/")
}
