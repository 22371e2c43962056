package container

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ExecProcess is a process started by Exec.
type ExecProcess struct {
	container *Container
	pid       int
	console   *os.File
}

// Pid is the process as the host sees it.
func (p *ExecProcess) Pid() int { return p.pid }

// Console is the master side of its terminal, if it has one and no ConsoleSocket was named.
func (p *ExecProcess) Console() *os.File { return p.console }

// Signal sends a signal to it. It is our own child: until Wait has returned its number is its own.
func (p *ExecProcess) Signal(sig unix.Signal) error { return unix.Kill(p.pid, sig) }

// Wait waits for it to end. Call it once.
func (p *ExecProcess) Wait() (Exit, error) {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(p.pid, &status, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return Exit{}, fmt.Errorf("wait for process %d: %w", p.pid, err)
		}
		return exitOf(status), nil
	}
}

// kill ends a process that must not live on, and collects it.
func (p *ExecProcess) kill() {
	if err := unix.Kill(p.pid, unix.SIGKILL); err == nil || err == unix.ESRCH {
		p.Wait()
	}
	if p.console != nil {
		p.console.Close()
	}
}
