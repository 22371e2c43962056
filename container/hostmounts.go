package container

import (
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
