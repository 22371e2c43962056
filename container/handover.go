package container

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
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
	phase := Created
	if j.options.Detach {
		phase = "" // the start barrier's door tells it from here on
	}
	if err := c.enter(phase); err != nil {
		return err
	}
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
	if err := sendPidfd(j.options.PidfdSocket, p.pid, "standard"); err != nil {
		return err
	}
	return writePidFile(j.options.PidFile, p.pid)
}

// writePidFile tells a process id to whoever wants to know: unlike our records, anybody may read it. Without a path nothing is written.
func writePidFile(path string, pid int) error {
	if path == "" {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return wrap("write the pid file", err)
	}
	_, err = f.WriteString(strconv.Itoa(pid))
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return wrap("write the pid file", err)
}

// sendConsole passes a terminal's master side to a listening unix socket, with its name as the message.
func sendConsole(path string, console *os.File) error {
	return wrap("console socket", sendDescriptor(path, console.Name(), int(console.Fd())))
}

// sendPidfd passes a descriptor of a process, which stays the process's when its number is another's, to a listening unix socket.
// The message is runc's: "standard" is a container's first process, "setns" one of exec. Without a path nothing is sent.
func sendPidfd(path string, pid int, message string) error {
	if path == "" {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("pidfd socket: pidfd_open %d: %w", pid, err)
	}
	defer unix.Close(fd)
	return wrap("pidfd socket", sendDescriptor(path, message, fd))
}

func sendDescriptor(path, message string, fd int) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, _, err = conn.WriteMsgUnix([]byte(message), unix.UnixRights(fd), nil)
	return err
}

// checkPidFile refuses, before there is any effect, a file whose directory is not there: nobody wants one made by a slip of the pen.
func checkPidFile(path string) error {
	if path == "" {
		return nil
	}
	_, err := os.Stat(filepath.Dir(path))
	return wrap("the pid file's directory", err)
}
