package container

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/cgroups"
	"github.com/mydocker/mydocker/state"
)

// ErrNotRunning says that the container's first process has ended, or never was.
var ErrNotRunning = errors.New("container not running")

// openPid opens a handle on the container's first process, and makes sure that it is that one and not a later process
// with the same number.
func (c *Container) openPid() (int, error) {
	if c.state.Pid <= 0 {
		return -1, ErrNotRunning
	}
	fd, err := unix.PidfdOpen(c.state.Pid, 0)
	if err != nil {
		if err == unix.ESRCH {
			return -1, ErrNotRunning
		}
		return -1, fmt.Errorf("open process %d: %w", c.state.Pid, err)
	}
	// The start time is compared after the handle is open: from here on the number cannot pass to another process.
	if !alive(c.state.Pid, c.state.Start) {
		unix.Close(fd)
		return -1, ErrNotRunning
	}
	return fd, nil
}

// Kill sends a signal to the container's first process: `kill -SIG PID`, but never to a stranger of the same number.
func (c *Container) Kill(sig unix.Signal) error {
	fd, err := c.openPid()
	if err != nil {
		return fmt.Errorf("kill container %s: %w", c.state.ID, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		if err == unix.ESRCH {
			err = ErrNotRunning
		}
		return fmt.Errorf("kill container %s: %w", c.state.ID, err)
	}
	return c.letDie(sig)
}

// letDie thaws a container that was killed: in version 1 a frozen process does not die, and in both the others stay frozen.
func (c *Container) letDie(sig unix.Signal) error {
	if sig != unix.SIGKILL {
		return nil
	}
	m, err := c.cgroup()
	if err != nil {
		return err
	}
	if frozen, err := m.Frozen(); err != nil || !frozen {
		return nil // it has ended, and its group perhaps with it
	}
	return ignoreAbsent(m.Thaw())
}

// KillAll sends a signal to every process of the container, those included that outlived the first.
func (c *Container) KillAll(sig unix.Signal) error {
	m, err := c.cgroup()
	if err != nil {
		return err
	}
	err = m.Signal(sig)
	for _, pid := range c.ungrouped() {
		if killErr := unix.Kill(pid, sig); killErr != unix.ESRCH {
			err = errors.Join(err, killErr)
		}
	}
	return errors.Join(err, c.letDie(sig))
}

var errPaused = errors.New("it is paused: resume it first")

// Pause freezes all processes of the container; Resume lets them go on.
func (c *Container) Pause() error {
	if s := c.Status(); s != Running && s != Created {
		return fmt.Errorf("pause container %s: it is %s, not running", c.state.ID, s)
	}
	// Nobody is frozen while he begins a process here: see execJob.keepGoing.
	l, err := state.AcquireDir(c.runtime.dir(c.state.ID), false)
	if err != nil {
		return fmt.Errorf("pause container %s: %w", c.state.ID, err)
	}
	defer l.Release()
	if s := c.Status(); s != Running && s != Created {
		return fmt.Errorf("pause container %s: it is %s, not running", c.state.ID, s)
	}
	m, err := c.cgroup()
	if err != nil {
		return err
	}
	return m.Freeze()
}

// Resume lets a paused container go on.
func (c *Container) Resume() error {
	if s := c.Status(); s != Paused {
		return fmt.Errorf("resume container %s: it is %s, not paused", c.state.ID, s)
	}
	m, err := c.cgroup()
	if err != nil {
		return err
	}
	return m.Thaw()
}

// Stats reads what the container has used.
func (c *Container) Stats() (*cgroups.Stats, error) {
	m, err := c.cgroup()
	if err != nil {
		return nil, err
	}
	return m.Stats()
}

// Details reads the rarer counts.
func (c *Container) Details() (*cgroups.Details, error) {
	m, err := c.cgroup()
	if err != nil {
		return nil, err
	}
	return cgroups.ReadDetails(m)
}

// Processes lists the container's processes as the host sees them.
func (c *Container) Processes() ([]int, error) {
	m, err := c.cgroup()
	if err != nil {
		return nil, err
	}
	pids, err := m.Procs()
	return append(pids, c.ungrouped()...), err
}

func (c *Container) cgroup() (cgroups.Manager, error) {
	if c.state.Scope != nil {
		return cgroups.OpenScope(*c.state.Scope, c.runtime.Watch)
	}
	if c.state.Cgroup == "" {
		return cgroups.None(), nil
	}
	return cgroups.Open(c.state.Cgroup, c.runtime.Watch)
}
