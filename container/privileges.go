package container

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Everything in this file changes only the calling thread, by direct system calls: the thread is locked, and it is the
// one that will execute the command. syscall.Setuid and its like would stop all threads to change them together.

// capSets are the five sets of capabilities(7), one bit each.
type capSets struct{ bounding, permitted, effective, inheritable, ambient uint64 }

func parseCapabilities(c *specs.LinuxCapabilities) (s capSets, err error) {
	if c == nil {
		return s, nil
	}
	for _, one := range []struct {
		field string
		names []string
		set   *uint64
	}{
		{"bounding", c.Bounding, &s.bounding}, {"permitted", c.Permitted, &s.permitted}, {"effective", c.Effective, &s.effective},
		{"inheritable", c.Inheritable, &s.inheritable}, {"ambient", c.Ambient, &s.ambient},
	} {
		if *one.set, err = capabilityMask(one.names); err != nil {
			return s, fmt.Errorf("process.capabilities.%s: %w", one.field, err)
		}
	}
	return s, nil
}

func capabilityMask(names []string) (mask uint64, err error) {
	if len(names) == 0 {
		return 0, nil
	}
	known := capabilityNames()
	for _, name := range names {
		n := -1
		for i, k := range known {
			if strings.EqualFold(k, name) {
				n = i
				break
			}
		}
		if n < 0 {
			return 0, fmt.Errorf("unknown capability %q", name)
		}
		mask |= 1 << n
	}
	return mask, nil
}

// dropBounding takes everything out of the bounding set that is not in keep: `capsh --drop=…`.
func dropBounding(keep uint64) error {
	for n := 0; n < 64; n++ {
		if keep&(1<<n) != 0 {
			continue
		}
		_, _, errno := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(n), 0)
		if errno == unix.EINVAL {
			return nil // the kernel knows no capability of this number, nor any after it
		}
		if errno != 0 {
			return fmt.Errorf("drop capability %d from the bounding set: %w", n, errno)
		}
	}
	return nil
}

type capHeader struct {
	version uint32
	pid     int32
}
type capData [2]struct{ effective, permitted, inheritable uint32 }

func capget() (d capData, err error) {
	h := capHeader{version: unix.LINUX_CAPABILITY_VERSION_3}
	if _, _, errno := unix.RawSyscall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&d)), 0); errno != 0 {
		return d, fmt.Errorf("capget: %w", errno)
	}
	return d, nil
}

func capset(permitted, effective, inheritable uint64) error {
	h := capHeader{version: unix.LINUX_CAPABILITY_VERSION_3}
	var d capData
	for i := range d {
		shift := 32 * i
		d[i].permitted, d[i].effective, d[i].inheritable = uint32(permitted>>shift), uint32(effective>>shift), uint32(inheritable>>shift)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&d)), 0); errno != 0 {
		return fmt.Errorf("capset: %w", errno)
	}
	return nil
}

// setCapabilities sets the thread's sets. What the runtime itself does not have it cannot give; such a capability is
// left out, as it would be after any execve under the host's own bounding set.
func setCapabilities(permitted, effective, inheritable, ambient uint64) error {
	have, err := capget()
	if err != nil {
		return err
	}
	own := uint64(have[0].permitted) | uint64(have[1].permitted)<<32
	permitted &= own
	if err := capset(permitted, effective&permitted, inheritable&own); err != nil {
		return err
	}
	if _, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0); errno != 0 && errno != unix.EINVAL {
		return fmt.Errorf("clear ambient capabilities: %w", errno)
	}
	for n := 0; n < 64; n++ {
		if ambient&(1<<n) == 0 {
			continue
		}
		if permitted&inheritable&(1<<n) == 0 {
			return fmt.Errorf("ambient capability %s: it must be permitted and inheritable too", capabilityNames()[n])
		}
		if _, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(n), 0, 0, 0); errno != 0 {
			return fmt.Errorf("raise ambient capability %s: %w", capabilityNames()[n], errno)
		}
	}
	return nil
}

// setUser changes groups, group and user, in that order, because each needs the powers that the next one takes away.
// The capabilities survive the change (SECBIT_KEEP_CAPS) so that setCapabilities can decide what stays.
func setUser(uid, gid uint64, groups []string) error {
	ids := make([]uint32, len(groups))
	for i, g := range groups {
		n, err := strconv.ParseUint(g, 10, 32)
		if err != nil {
			return fmt.Errorf("group %q: %w", g, err)
		}
		ids[i] = uint32(n)
	}
	var first unsafe.Pointer
	if len(ids) > 0 {
		first = unsafe.Pointer(&ids[0])
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(ids)), uintptr(first), 0); errno != 0 {
		// A user namespace made by an ordinary user denies setgroups; then there is none to take away either.
		if errno != unix.EPERM || len(ids) > 0 || !setgroupsDenied() {
			return fmt.Errorf("set the groups: %w", errno)
		}
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0); errno != 0 {
		return fmt.Errorf("keep capabilities: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); errno != 0 {
		return fmt.Errorf("become group %d: %w", gid, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return fmt.Errorf("become user %d: %w", uid, errno)
	}
	return nil
}

func setgroupsDenied() bool {
	var buf [16]byte
	fd, err := unix.Open("/proc/self/setgroups", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf[:])
	return err == nil && strings.HasPrefix(string(buf[:n]), "deny")
}

func setNoNewPrivs() error {
	if _, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("set no_new_privs: %w", errno)
	}
	return nil
}

// setDumpable decides whether others of the same user may look into this process. Off, /proc/PID/exe, fd and mem belong
// to the host's root alone, so that a process of the container cannot reach our program through them (CVE-2019-5736).
// execve of the command switches it on again.
func setDumpable(on bool) error {
	value := uintptr(0)
	if on {
		value = 1
	}
	if _, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, value, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("set dumpable: %w", errno)
	}
	return nil
}

func rlimitNumber(name string) (uint64, bool) {
	n, ok := map[string]uint64{
		"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA,
		"RLIMIT_STACK": unix.RLIMIT_STACK, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS,
		"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
		"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
		"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO,
		"RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
	}[name]
	return n, ok
}

func setRlimit(pid int, name string, number, soft, hard uint64) error {
	err := unix.Prlimit(pid, int(number), &unix.Rlimit{Cur: soft, Max: hard}, nil)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("set %s to %s:%s: %w: raising the hard limit needs CAP_SYS_RESOURCE on the host", name, limitText(soft), limitText(hard), err)
	}
	if err != nil {
		return fmt.Errorf("set %s to %s:%s: %w", name, limitText(soft), limitText(hard), err)
	}
	return nil
}
