package image

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Attachment is a directory or file of the host that appears in a root file system: a volume, or a bind mount.
type Attachment struct {
	Source, Target string
	// Subpath, if any, is what of the source is shown; no link in the source leads out of it.
	Subpath  string
	ReadOnly bool
	// UserNS, if not nil, is a user namespace through whose mapping the owners are shown, as Rootfs.UserNS.
	UserNS *os.File
}

// Attach puts volumes into a root file system that is held by a descriptor, as they would be while its container runs, for
// those who copy files in and out. Nothing of it is seen in the host's mount table; closing the result ends it.
//
//	unshare -m; mount --make-rprivate /; mount --move ROOT PLACE; mount --rbind SOURCE PLACE/TARGET ...
//
// place is a directory that nobody else uses. Mount points that are missing are made, and belong to the container's root.
func Attach(root *os.File, place string, volumes []Attachment, owners Owners) (tree *os.File, err error) {
	err = throwAway(func() (err error) {
		tree, err = attachInPrivate(root, place, volumes, owners)
		return err
	})
	return tree, err
}

func attachInPrivate(root *os.File, place string, volumes []Attachment, owners Owners) (*os.File, error) {
	// Opened before the mounts there are: a source is looked up on the host as it is.
	var sources []int
	defer func() {
		for _, fd := range sources {
			unix.Close(fd)
		}
	}()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("unshare the mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make the mounts private: %w", err)
	}
	for _, v := range volumes {
		fd, err := v.open()
		if err != nil {
			return nil, fmt.Errorf("bind mount %s: %w", v.Source, err)
		}
		sources = append(sources, fd)
	}
	if err := unix.MoveMount(int(root.Fd()), "", unix.AT_FDCWD, place, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, fmt.Errorf("mount the root file system: %w", err)
	}
	if err := owners.become(); err != nil {
		return nil, err
	}
	for i, v := range volumes {
		if err := attach(place, sources[i], v); err != nil {
			return nil, fmt.Errorf("mount %s on %s: %w", v.Source, v.Target, err)
		}
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, place, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil, fmt.Errorf("take the mounts out of their namespace: %w", err)
	}
	return os.NewFile(uintptr(tree), "rootfs"), nil
}

// open makes a detached bind mount of the source, as it will look.
func (v Attachment) open() (int, error) {
	source, err := v.openSource()
	if err != nil {
		return -1, err
	}
	defer unix.Close(source)
	fd, err := unix.OpenTree(source, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH)
	if err != nil {
		return -1, err
	}
	if v.ReadOnly {
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("make it read-only: %w", err)
		}
	}
	if v.UserNS != nil {
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(v.UserNS.Fd())}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("map its owners: %w", err)
		}
	}
	return fd, nil
}

func (v Attachment) openSource() (int, error) {
	fd, err := unix.Open(v.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil || v.Subpath == "" {
		return fd, err
	}
	defer unix.Close(fd)
	return openInRoot(fd, v.Subpath, unix.O_PATH)
}

// attach mounts one source. The place for it is made if the image has none, links resolved inside the root.
func attach(place string, source int, v Attachment) error {
	root, err := openDirectory(place) // anew: what was mounted before lies on top
	if err != nil {
		return err
	}
	defer unix.Close(root)
	var st unix.Stat_t
	if err := unix.Fstat(source, &st); err != nil {
		return err
	}
	target := path.Clean("/" + v.Target)
	fd, err := openInRoot(root, target, unix.O_PATH)
	if errors.Is(err, unix.ENOENT) {
		fd, err = makeTarget(root, target, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.MoveMount(source, "", fd, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// makeTarget is mkdir -p TARGET, or for the mount of a file mkdir -p $(dirname TARGET); touch TARGET.
func makeTarget(root int, target string, directory bool) (int, error) {
	u := newUnpacker(root, 0)
	defer u.forgetDir()
	if directory {
		dir, err := u.openDir(target[1:])
		if err != nil {
			return -1, err
		}
		return unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0)
	}
	dir, err := u.openDir(path.Dir(target)[1:])
	if err != nil {
		return -1, err
	}
	return openatRetry(dir, path.Base(target), unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
}
