package container

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Adopt makes this process the container's parent again after it has replaced itself by execve(2): that keeps the children
// and forgets everything else. It must only be called by the process that created the container, after Start.
func (c *Container) Adopt() {
	c.process = &initProcess{pid: c.state.Pid, conn: conn{-1}, console: -1, started: true}
}

// Watch lets this process wait for a container that a process has created which is dead: init is the parent now, and the end is seen by
// a pidfd. How it ended the kernel tells since Linux 6.15; otherwise Wait gives the status UnseenEnd.
func (c *Container) Watch() error {
	fd, err := unix.PidfdOpen(c.state.Pid, 0)
	if err != nil {
		return fmt.Errorf("watch process %d: %w", c.state.Pid, err)
	}
	if s := c.Status(); s != Running && s != Paused { // the number may be another process's by now
		unix.Close(fd)
		return fmt.Errorf("watch container %s: it has ended", c.state.ID)
	}
	c.Adopt()
	c.process.pidfd = os.NewFile(uintptr(fd), "pidfd")
	return nil
}

// UnseenEnd is the status of a container whose end nobody saw.
const UnseenEnd = 255

// awaitPidfd is wait for a process that is no child.
func (p *initProcess) awaitPidfd() (unix.WaitStatus, error) {
	defer p.pidfd.Close()
	fd := int32(p.pidfd.Fd())
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: fd, Events: unix.POLLIN}}, -1)
		if err == nil && n > 0 {
			break
		}
		if err != unix.EINTR {
			return 0, fmt.Errorf("wait for process %d: %w", p.pid, err)
		}
	}
	// It is dead. How it ended it tells itself until its parent, init, has asked, which some do every other second only. After that the
	// pidfd does; that it has come so far newer kernels show as POLLHUP.
	for range 100 {
		status, dead := zombieExit(p.pid)
		n, err := unix.Poll([]unix.PollFd{{Fd: fd}}, 10)
		if n == 0 && dead { // it was still there, so the number was its own
			return status, nil
		}
		if n > 0 || err != nil && err != unix.EINTR {
			break
		}
	}
	return pidfdExit(int(fd))
}

// zombieExit reads the exit_code of a process that nobody has waited for, the 52nd field (proc_pid_stat(5)).
func zombieExit(pid int) (status unix.WaitStatus, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:])) // from the third on
	if len(f) < 50 || f[0] != "Z" {
		return 0, false
	}
	code, err := strconv.ParseUint(f[49], 10, 32)
	return unix.WaitStatus(code), err == nil
}

// pidfdExit asks a pidfd how its process ended (linux/pidfd.h: PIDFD_GET_INFO with PIDFD_INFO_EXIT).
func pidfdExit(fd int) (unix.WaitStatus, error) {
	const (
		getInfo  = 0xc040ff0b // _IOWR(0xff, 11, struct pidfd_info), of its first version's 64 bytes
		infoExit = 1 << 3
	)
	info := struct {
		mask, cgroup uint64
		ids          [11]uint32
		exit         int32
	}{mask: infoExit}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), getInfo, uintptr(unsafe.Pointer(&info)))
	if errno != 0 || info.mask&infoExit == 0 {
		return UnseenEnd << 8, nil // an older kernel
	}
	return unix.WaitStatus(info.exit), nil
}
