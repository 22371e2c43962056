package container

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// readonlyPath puts a read-only view of a path over it. One that the kernel does not have is left out.
func (in *initializer) readonlyPath(s step) error {
	fd, err := in.inRoot(s.Target, unix.O_PATH, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	tree, err := unix.OpenTree(fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	if err := setAttributes(tree, unix.MOUNT_ATTR_RDONLY, 0, 0, true); err != nil {
		return err
	}
	return in.attach(tree, fd, step{})
}

// guardProc refuses what a config mounts over /proc, unless that is a proc file system too, and inside it, but for the files that
// lxcfs makes: runc's rule. Behind anything else the masks would cover nothing, and what is read there would be the image's word.
// It asks the place itself, and not its path, which may lead there by links.
func guardProc(mount, target int, path string) error {
	var place, what unix.Statfs_t
	if err := unix.Fstatfs(target, &place); err != nil {
		return err
	}
	inside := place.Type == unix.PROC_SUPER_MAGIC
	if !inside && path != "/proc" {
		return nil
	}
	var st unix.Stat_t
	if err := errors.Join(unix.Fstat(target, &st), unix.Fstatfs(mount, &what)); err != nil {
		return err
	}
	const rootOfProc = 1 // the number of its inode, in all of them
	switch {
	case what.Type == unix.PROC_SUPER_MAGIC && (!inside || st.Ino == rootOfProc):
		return nil
	case !inside || st.Ino == rootOfProc:
		return errors.New("it is /proc, and cannot be anything else than a proc file system")
	case slices.Contains(lxcfsFiles(), path):
		return nil
	}
	return errors.New("it is inside /proc, where only files of lxcfs can be mounted (/proc/cpuinfo and the like)")
}

func lxcfsFiles() []string {
	return []string{
		"/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/slabinfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
		"/proc/sys/crypto/fips_enabled", "/proc/sys/kernel/ns_last_pid",
	}
}

// maskPath hides a file behind /dev/null and a directory behind an empty one. The null device is the host's, opened
// before anything of the container could stand in its place (CVE-2025-31133).
func (in *initializer) maskPath(s step) error {
	fd, err := in.inRoot(s.Target, unix.O_PATH, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return in.coverDir(fd)
	}
	if in.null < 0 {
		if in.null, err = openNull(); err != nil {
			return err
		}
	}
	return in.coverWith(in.null, fd)
}

// coverDir puts an empty read-only directory over another. All masked directories share one: the first is a new file
// system, the others are copies of it where it is mounted (Linux before 6.15 copies no detached mount).
func (in *initializer) coverDir(target int) error {
	if in.mask >= 0 {
		return in.coverWith(in.mask, target)
	}
	empty, err := newFilesystem("tmpfs", "tmpfs", []string{"size=0", "nr_inodes=1"}, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return err
	}
	in.mask = empty
	return in.attach(empty, target, step{})
}

func (in *initializer) coverWith(source, target int) error {
	tree, err := unix.OpenTree(source, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return in.attach(tree, target, step{})
}

func openNull() (int, error) {
	fd, err := unix.Open(os.DevNull, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("the host's /dev/null: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
		unix.Close(fd)
		return -1, errors.New("the host's /dev/null is not the null device")
	}
	return fd, nil
}
