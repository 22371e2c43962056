package container

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// A config may leave the mount namespace out. Such a container's root is a mount on top of itself in the caller's
// namespace, and everything else is mounted in it; a chroot is all that keeps the container there. What the death of a
// namespace does otherwise has to be done by hand then: `umount -l ROOTFS`.

// sharesMounts says whether the container has no mount namespace of its own, and none by path.
func sharesMounts(s *specs.Spec) bool {
	for _, n := range s.Linux.Namespaces {
		if n.Type == specs.MountNamespace {
			return false
		}
	}
	return true
}

// mountID names the topmost mount at a path: statx(2).
func mountID(path string) (uint64, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &st); err != nil {
		return 0, fmt.Errorf("find the mount of %s: %w", path, err)
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return 0, fmt.Errorf("find the mount of %s: the kernel tells no mount ids: a container without a mount namespace needs Linux 5.8", path)
	}
	return st.Mnt_id, nil
}

// A HostMount is the mount that a path of the host is on.
type HostMount struct {
	Point string
	// Shared says that what is mounted below it is seen elsewhere too, Slave that it shows what is mounted elsewhere: the
	// optional fields shared: and master: of proc_pid_mountinfo(5).
	Shared, Slave bool
}

// MountOf finds the topmost mount at a path, in the calling thread's mount namespace.
func MountOf(path string) (HostMount, error) {
	id, err := mountID(path)
	if err != nil {
		return HostMount{}, err
	}
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return HostMount{}, err
	}
	for line := range strings.Lines(string(mounts)) {
		facts, _, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(facts); fields[0] == strconv.FormatUint(id, 10) {
			has := func(tag string) bool {
				return slices.ContainsFunc(fields[6:], func(f string) bool { return strings.HasPrefix(f, tag) })
			}
			return HostMount{Point: fields[4], Shared: has("shared:"), Slave: has("master:")}, nil
		}
	}
	return HostMount{}, fmt.Errorf("the mount %d of %s is not in /proc/self/mountinfo", id, path)
}

// isShared says whether what is mounted below a path is seen elsewhere too. Nothing is shared at a path that is not there.
func isShared(path string) (bool, error) {
	m, err := MountOf(path)
	return m.Shared, ignoreAbsent(err)
}

// unmountRoot takes the container's mounts off the caller's namespace. Absent is success: only what lies on top of the
// mount that was there before is taken off.
func (c *Container) unmountRoot() error {
	if c.state.RootMount == 0 {
		return nil
	}
	for {
		now, err := mountID(c.state.Rootfs)
		if err != nil {
			return ignoreAbsent(err)
		}
		if now == c.state.RootMount {
			return nil
		}
		op := plan.Step{Cmd: "umount -l " + quote(c.state.Rootfs), Reason: "the container had no mount namespace of its own"}
		err = plan.Do(c.runtime.Watch, op, func() error { return unix.Unmount(c.state.Rootfs, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) })
		if err != nil {
			return fmt.Errorf("unmount %s: %w", c.state.Rootfs, err)
		}
	}
}

// HostFilesystem is a file system to be mounted on the host, or with the word bind a directory of it.
type HostFilesystem struct {
	Type, Device string
	Words        []string // of mount -o
}

// Command is what it equals: mount(8).
func (h HostFilesystem) Command(dir string) string {
	words := slices.DeleteFunc(slices.Clone(h.Words), func(w string) bool { return w == "" })
	options := ""
	if len(words) > 0 {
		options = " -o " + quote(strings.Join(words, ","))
	}
	return "mount -t " + quote(h.Type) + options + " " + quote(h.Device) + " " + quote(dir)
}

// Mount mounts it on a directory, in the caller's mount namespace.
func (h HostFilesystem) Mount(dir string) error {
	o, err := parseMountOptions(slices.DeleteFunc(slices.Clone(h.Words), func(w string) bool { return w == "" }))
	switch {
	case err != nil:
		return err
	case o.remount || o.copyUp || o.idmap:
		return fmt.Errorf("the options remount, tmpcopyup and idmap are not for a new mount of the host")
	}
	mount, err := h.detached(o)
	if err != nil {
		return mountRefused(h, err)
	}
	defer unix.Close(mount)
	if err := setAttributes(mount, o.below.set, o.below.clear, 0, true); err != nil {
		return err
	}
	if err := unix.MoveMount(mount, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attach it to %s: %w", dir, err)
	}
	return setAttributes(mount, 0, 0, o.propagation&^unix.MS_REC, o.propagation&unix.MS_REC != 0)
}

// detached makes the mount, which is nowhere yet.
func (h HostFilesystem) detached(o mountOptions) (int, error) {
	if !o.bind {
		data := o.data
		if o.readonly {
			data = append(data, "ro") // or a disk would be opened for writing
		}
		return newFilesystem(h.Type, h.Device, data, o.set)
	}
	if len(o.data) > 0 {
		return -1, fmt.Errorf("mount option %q: a bind mount takes none of a file system's options", o.data[0])
	}
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if o.recursive {
		flags |= unix.AT_RECURSIVE
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, h.Device, flags)
	if err != nil {
		return -1, fmt.Errorf("device %s: %w", h.Device, err)
	}
	if err := setAttributes(tree, o.set, o.clear, 0, false); err != nil {
		unix.Close(tree)
		return -1, err
	}
	return tree, nil
}

// mountRefused says what the kernel's bare words mean here.
func mountRefused(h HostFilesystem, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: only root of the host itself may mount a %s, not root of a user namespace", err, h.Type)
	case errors.Is(err, unix.ENOTBLK):
		return fmt.Errorf("%w: %s is no block device; the image of a disk is made one by losetup", err, h.Device)
	}
	return err
}

// IsMountPoint says whether something is mounted on a directory, in the caller's mount namespace. On one that is absent nothing is.
func IsMountPoint(dir string) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_NO_AUTOMOUNT|unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC, 0, &st)
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil && err != unix.ESTALE && err != unix.EIO { // the server of a mount may be gone
		return false, fmt.Errorf("find the mount of %s: %w", dir, err)
	}
	return err != nil || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// Unmount takes the topmost mount off a directory of the host: umount -l DIR
func Unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) }
