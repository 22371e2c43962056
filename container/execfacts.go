package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container/seccomp"
	"github.com/mydocker/mydocker/state"
)

// What exec must know of the container that it goes into.

// filter is the container's system call filter, compiled. It is compiled anew if somebody has cleaned up.
func (c *Container) filter() (*seccomp.Filter, error) {
	f, err := c.runtime.loadFilter(c.state.Seccomp)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	spec, err := c.Spec()
	if err != nil {
		return nil, err
	}
	name, f, err := c.runtime.filter(spec.Linux.Seccomp)
	if err == nil && name != c.state.Seccomp {
		err = errors.New("the container's system call filter is lost, and its config.json has another one now")
	}
	return f, err
}

// foreignNamespaces are the container's namespaces that are not ours: joining one's own mount or user namespace is an
// error or worse.
func (c *Container) foreignNamespaces() (flags uintptr, err error) {
	for _, n := range []struct {
		name string
		flag uintptr
	}{
		{"user", unix.CLONE_NEWUSER}, {"mnt", unix.CLONE_NEWNS}, {"uts", unix.CLONE_NEWUTS}, {"ipc", unix.CLONE_NEWIPC},
		{"net", unix.CLONE_NEWNET}, {"pid", unix.CLONE_NEWPID}, {"cgroup", unix.CLONE_NEWCGROUP}, {"time", unix.CLONE_NEWTIME},
	} {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", c.state.Pid, n.name))
		if errors.Is(err, fs.ErrNotExist) && alive(c.state.Pid, c.state.Start) {
			continue // a kernel without this kind
		}
		if err != nil {
			return 0, err
		}
		ours, err := os.Readlink("/proc/thread-self/ns/" + n.name)
		if err != nil {
			return 0, err
		}
		if ours != theirs {
			flags |= n.flag
		}
	}
	return flags, nil
}

// capabilities are those of the container's first process, for an exec that does not name its own.
func (c *Container) capabilities() (*specs.LinuxCapabilities, error) {
	data, err := state.ReadFile(fmt.Sprintf("/proc/%d/status", c.state.Pid))
	if err != nil {
		return nil, err
	}
	_, rest, ok := strings.Cut(string(data), "\nCapBnd:")
	line, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if !ok || err != nil {
		return nil, fmt.Errorf("process %d tells no bounding set", c.state.Pid)
	}
	var names []string
	for n, name := range capabilityNames() {
		if mask&(1<<n) != 0 {
			names = append(names, name)
		}
	}
	return &specs.LinuxCapabilities{Bounding: names, Permitted: names, Effective: names}, nil
}

// kernelFaces is the part of the config that holds for every process of the container and that no process inherits.
func (c *Container) kernelFaces() (*specs.Linux, error) {
	if !c.state.KernelFaces {
		return nil, nil
	}
	spec, err := c.Spec()
	if err != nil {
		return nil, err
	}
	return spec.Linux, nil
}

// runOn lets the calling thread run on these processors only: `taskset -c LIST`. Its children begin there.
func runOn(list string) error {
	mask, err := parseRanges(list)
	if err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETAFFINITY, 0, uintptr(len(mask)), uintptr(unsafe.Pointer(&mask[0])))
	runtime.KeepAlive(mask)
	if errno != 0 {
		return fmt.Errorf("run on the processors %s: %w", list, errno)
	}
	return nil
}
