package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/cgroups"
	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// Start lets init execute the command and returns when that has happened. An error that is a *CommandError carries the
// exit status for a command that cannot be executed; the first process has then ended.
func (c *Container) Start() error {
	if s := c.Status(); s != Created {
		return fmt.Errorf("start container %s: it is %s, not created", shortID(c.state.ID), s)
	}
	op := plan.Step{Cmd: "# execve of the command", Reason: "the start barrier opens: init becomes the command", Final: true}
	err := plan.Do(c.runtime.Watch, op, c.openBarrier)
	if err == nil {
		err = c.lateHooks("poststart", Running)
	}
	if err != nil {
		return fmt.Errorf("start container %s: %w", shortID(c.state.ID), err)
	}
	return nil
}

// lateHooks runs hooks whose failure comes too late to matter: it is a warning.
func (c *Container) lateHooks(kind string, status Status) error {
	if !c.state.Hooks {
		return nil
	}
	spec, err := c.Spec()
	if err == nil && spec.Hooks != nil {
		s := c.OCIState()
		s.Status, s.Pid = specs.ContainerState(status), c.state.Pid // even if it has ended meanwhile
		list := spec.Hooks.Poststart
		if kind == "poststop" {
			list, s.Pid = spec.Hooks.Poststop, 0
		}
		for _, h := range list { // one that fails does not keep the others from running
			err = errors.Join(err, runHooks([]specs.Hook{h}, kind, s))
		}
	}
	if err != nil && c.runtime.Warn != nil {
		c.runtime.Warn(err)
		return nil
	}
	return err
}

// Spec is the container's configuration: the one it was made with, or what its bundle holds.
func (c *Container) Spec() (*specs.Spec, error) {
	if c.spec != nil {
		return c.spec, nil
	}
	kept := filepath.Join(c.runtime.dir(c.state.ID), keptConfig)
	spec := &specs.Spec{}
	err := state.ReadJSON(kept, spec)
	if errors.Is(err, fs.ErrNotExist) {
		return LoadSpec(c.state.Bundle)
	}
	return spec, err
}

// keptConfig is the copy of a container's configuration in the runtime's directory.
const keptConfig = "config.json"

func (c *Container) openBarrier() error {
	p := c.process
	barrier := filepath.Join(c.runtime.dir(c.state.ID), startSocket)
	if _, err := os.Lstat(barrier); err == nil {
		fd, err := dial(barrier)
		if err != nil {
			return err
		}
		if p == nil {
			p = &initProcess{pid: c.state.Pid, watch: c.runtime.Watch}
		}
		p = &initProcess{pid: p.pid, watch: p.watch, steps: p.steps, last: p.last, command: p.command, conn: conn{fd}, listen: c.sendListener}
		defer unix.Close(fd)
	} else if p == nil {
		return fmt.Errorf("its creator alone can start it")
	}
	err := underEyes(p.watch, p.last, func() error {
		if err := p.conn.send(msgStart, nil); err != nil {
			return err
		}
		return p.awaitExec()
	})
	if err != nil {
		return err
	}
	if c.process != nil {
		c.process.started = true
		unix.Close(c.process.conn.fd)
		if err := ignoreAbsent(c.enter("")); err != nil { // whoever deleted it by now knows what it is
			return err
		}
	}
	// Init takes the door away itself, unless its user may not.
	return ignoreAbsent(os.Remove(barrier))
}

// underEyes shows the steps of the last program to a watcher. They are done together: no one can look on in between.
func underEyes(w plan.Watcher, steps []step, do func() error) error {
	if w == nil {
		return do()
	}
	for _, s := range steps {
		if err := w.Before(s); err != nil {
			return err
		}
	}
	err := do()
	for _, s := range steps {
		err = w.After(s, err)
	}
	return err
}

// dial connects to a socket whose path may be longer than the 108 bytes of a socket's name.
func dial(path string) (int, error) {
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path))}); err != nil {
		unix.Close(fd)
		if err == unix.ECONNREFUSED {
			return -1, fmt.Errorf("somebody else is starting it: %w", err)
		}
		return -1, fmt.Errorf("connect to the start barrier: %w", err)
	}
	return fd, nil
}

// Wait waits for the container's first process. Only the process that created the container can.
func (c *Container) Wait() (Exit, error) {
	if c.process == nil {
		return Exit{}, fmt.Errorf("wait for container %s: only its creator can", c.state.ID)
	}
	exit, err := c.process.wait()
	if err != nil {
		return exit, err
	}
	if exit.Signal == unix.SIGKILL || exit.Code == 137 {
		kills, err := c.oomKills()
		if err != nil {
			return exit, err
		}
		exit.OOMKilled = kills > 0
	}
	return exit, nil
}

func (c *Container) oomKills() (uint64, error) {
	m, err := c.cgroup()
	if err != nil {
		return 0, err
	}
	return m.OOMKills()
}

// Update changes the limits of a container that exists.
func (c *Container) Update(r *specs.LinuxResources) error {
	m, err := c.cgroup()
	if err == nil {
		err = cgroups.Update(m, r)
	}
	if err != nil {
		return fmt.Errorf("update container %s: %w", c.state.ID, err)
	}
	return nil
}

// Release frees what the container holds in the kernel: its processes, its cgroup, and last its record. Absent is
// success, and a failure keeps the record, so that the next call tries again.
func (c *Container) Release() error {
	err := c.runtime.Delete(c.state.ID, true)
	if err == nil && c.process != nil {
		_, err = c.process.wait() // dead by now: our child is not to stay a zombie
	}
	return err
}

// Delete is Release by id. Without force a container that runs is refused, and one that is absent is fs.ErrNotExist. One
// that was never started holds nothing that could be lost: it is deleted.
func (r *Runtime) Delete(id string, force bool) error {
	c, err := r.Load(id)
	if errors.Is(err, fs.ErrNotExist) && force {
		return r.removeDir(id)
	}
	if err != nil {
		return err
	}
	if s := c.Status(); s != Stopped {
		if !force && s != Created {
			return fmt.Errorf("delete container %s: it is %s: stop it first, or use --force", id, s)
		}
		if err := c.killAndWait(); err != nil {
			return err
		}
	}
	if c.state.Hooks {
		if c.spec, err = c.Spec(); err != nil { // read before it is removed
			return err
		}
	}
	if err := r.remove(c); err != nil {
		return err
	}
	return c.lateHooks("poststop", Stopped)
}

// DeleteGroup kills whatever lives in a group and removes the group: for a container whose record is lost. Absent is
// success.
func (r *Runtime) DeleteGroup(path string) error {
	group, err := cgroups.Open(path, r.Watch)
	if err != nil {
		return err
	}
	if err := group.Signal(unix.SIGKILL); err != nil {
		return err
	}
	return group.Delete()
}

// DeleteEmptyGroup removes a group that containers' groups were in, if none is any more.
func (r *Runtime) DeleteEmptyGroup(path string) error { return cgroups.DeleteEmpty(path) }

// killAndWait kills the first process; in a pid namespace of its own, the kernel kills all others with it.
func (c *Container) killAndWait() error {
	fd, err := c.openPid()
	if errors.Is(err, ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill container %s: %w", c.state.ID, err)
	}
	if err := c.letDie(unix.SIGKILL); err != nil {
		return err
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	deadline := time.Now().Add(10 * time.Second)
	for alive(c.state.Pid, c.state.Start) {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("container %s does not die: process %d is stuck in the kernel", c.state.ID, c.state.Pid)
		}
		if _, err := unix.Poll(poll, int(left.Milliseconds())+1); err != nil && err != unix.EINTR {
			return err
		}
	}
	return nil
}

// remove takes away all that is recorded of a container that is dead: the group first, the record last.
func (r *Runtime) remove(c *Container) error {
	group, err := c.cgroup()
	if err == nil {
		err = group.Delete()
	}
	if err != nil {
		return fmt.Errorf("release container %s: %w", c.state.ID, err)
	}
	if err := c.unmountRoot(); err != nil {
		return fmt.Errorf("release container %s: %w", c.state.ID, err)
	}
	dir := r.dir(c.state.ID)
	for _, name := range []string{startSocket, keptConfig, "state.json"} {
		if err := ignoreAbsent(os.Remove(filepath.Join(dir, name))); err != nil {
			return fmt.Errorf("release container %s: %w", c.state.ID, err)
		}
	}
	return r.removeDir(c.state.ID)
}

// removeDir removes a container's directory, and what somebody was writing there when he died. Absent is success, and so is a directory
// in which somebody else keeps something.
func (r *Runtime) removeDir(id string) error {
	err := os.Remove(r.dir(id))
	if !errors.Is(err, unix.ENOTEMPTY) {
		return ignoreAbsent(err)
	}
	swept, err := state.Sweep(r.dir(id), 0)
	if len(swept) == 0 || err != nil {
		return err
	}
	if err = os.Remove(r.dir(id)); errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	return ignoreAbsent(err)
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
