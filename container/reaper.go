package container

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// reap is process 1 of a container started with --init: it runs the command as its child, passes signals on, and
// collects the orphans that the kernel gives to process 1. Its exit status is the command's.
func reap(args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "no command to run")
		return 127
	}
	// All signals, caught before there is a child that could need them.
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	paths, err := lookPath(args[0], os.Environ(), executable)
	if err != nil {
		return complain(err)
	}
	child, err := os.StartProcess(paths[0], args, &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Env: os.Environ(), Sys: reapedAttributes(),
	})
	if err != nil {
		return complain(commandError(args[0], unwrapPath(err)))
	}
	for s := range signals {
		switch s {
		case unix.SIGCHLD:
			if status, done := collect(child.Pid); done {
				return status
			}
		case unix.SIGURG, unix.SIGPIPE: // Go's own
		default:
			if err := unix.Kill(child.Pid, s.(unix.Signal)); err != nil && err != unix.ESRCH {
				fmt.Fprintln(os.Stderr, "pass on signal:", err)
			}
		}
	}
	return 125
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, err)
	if c, ok := err.(*CommandError); ok {
		return c.Code
	}
	return 125
}

// collect waits for everybody who has ended, and tells whether the command is among them.
func collect(command int) (status int, done bool) {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return status, done
		}
		if pid == command {
			status, done = exitOf(ws).Code, true
		}
	}
}

func unwrapPath(err error) error {
	if p, ok := err.(*os.PathError); ok {
		return p.Err
	}
	return err
}

// reapedAttributes gives the command a process group of its own: with a terminal the foreground one, so that ctrl-c
// reaches it once, by the terminal, and not again through us.
func reapedAttributes() *syscall.SysProcAttr {
	if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		return &syscall.SysProcAttr{Foreground: true, Ctty: 0}
	}
	return &syscall.SysProcAttr{Setpgid: true}
}
