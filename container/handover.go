package container

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// openBarrier makes the socket at which init will wait. It is bound by way of /proc/self/fd, because a socket's name may
// have only 108 bytes.
func (j *createJob) openBarrier() (*os.File, error) {
	dir, err := os.OpenFile(j.runtime.dir(j.options.ID), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		j.listener = os.NewFile(uintptr(fd), startSocket)
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), startSocket)})
	}
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("make the start barrier: %w", err)
	}
	return dir, nil
}

// handOver gives away what init made for others: the terminal and the process id.
func (j *createJob) handOver() error {
	c, p := j.container, j.container.process
	if j.listener != nil {
		j.listener.Close()
		j.listener = nil
	}
	if p.console >= 0 {
		console := os.NewFile(uintptr(p.console), "console")
		p.console = -1
		if j.options.ConsoleSocket == "" {
			c.console = console
		} else {
			err := sendConsole(j.options.ConsoleSocket, console)
			if err = errors.Join(err, console.Close()); err != nil {
				return err
			}
		}
	}
	if j.options.PidFile != "" {
		return wrap("write the pid file", state.Replace(j.options.PidFile, []byte(strconv.Itoa(p.pid)), state.Volatile))
	}
	return nil
}

// sendConsole passes a terminal's master side to a listening unix socket, with its name as the message.
func sendConsole(path string, console *os.File) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("console socket: %w", err)
	}
	defer conn.Close()
	if _, _, err := conn.WriteMsgUnix([]byte(console.Name()), unix.UnixRights(int(console.Fd())), nil); err != nil {
		return fmt.Errorf("console socket: %w", err)
	}
	return nil
}
