package container

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// oomScore gives the process the readiness to be killed that its config says, or else that of the container's first process, if we may:
// lower than our own takes CAP_SYS_RESOURCE. It is the host's /proc, by descriptor next, the lowest one that is free.
func (e *execJob) oomScore(p *program, next int) error {
	set, want := p.call, ""
	if adj := e.process.OOMScoreAdj; adj != nil {
		want = strconv.Itoa(*adj)
	} else {
		theirs, err := state.ReadFile("/proc/" + strconv.Itoa(e.container.state.Pid) + "/oom_score_adj")
		if err != nil {
			return ErrNotRunning
		}
		own, err := state.ReadFile("/proc/self/oom_score_adj")
		if err != nil || bytes.Equal(own, theirs) {
			return err
		}
		set, want = p.try, string(bytes.TrimSpace(theirs))
	}
	p.call("open oom_score_adj", unix.SYS_OPENAT, workingDirectory, p.string("/proc/self/oom_score_adj"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	set("set oom_score_adj to "+want, unix.SYS_WRITE, uint64(next), p.string(want), uint64(len(want)))
	p.call("close oom_score_adj", unix.SYS_CLOSE, uint64(next))
	return nil
}

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
