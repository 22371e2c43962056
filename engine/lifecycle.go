package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/state"
)

// Start starts a container that was created or has ended. A running one is left alone.
func (e *Engine) Start(ctx context.Context, ref string, o StartOptions, s Streams) (int, error) {
	d, err := e.Find(ref)
	if err != nil {
		return 1, err
	}
	l, err := e.lock(d.ID)
	if err != nil {
		return 1, err
	}
	unlock := func() {
		if l != nil {
			l.Release()
			l = nil
		}
	}
	defer unlock()
	if _, err := e.running(d); err == nil {
		if !o.Attach {
			return 0, nil
		}
		unlock()
		return e.Attach(ctx, d.ID, AttachOptions{DetachKeys: o.DetachKeys, NoStdin: !o.Interactive}, s)
	}
	if err := e.checkNetworks(&d.Options); err != nil {
		return 1, err
	}
	if err := e.releaseLeftovers(d); err != nil {
		return 1, err
	}
	if o.Attach {
		code, err := e.startAttached(ctx, d, attachOptions{in: o.Interactive && d.Options.OpenStdin, keys: o.DetachKeys}, s, unlock)
		return code, err
	}
	monitor, err := e.launch("monitor")
	if err != nil {
		return 1, err
	}
	if err := monitor.startContainer(d); err != nil {
		return 1, err
	}
	return 0, nil
}

// signal sends a signal to the container's first process.
func (e *Engine) signal(id string, sig unix.Signal) error {
	c, err := e.runtime.Load(id)
	if err != nil {
		return err
	}
	return c.Kill(sig)
}

// Kill sends a signal to the container's first process; "" means KILL.
func (e *Engine) Kill(ctx context.Context, ref, name string) error {
	if name == "" {
		name = "KILL"
	}
	sig, err := ParseSignal(name)
	if err != nil {
		return err
	}
	d, err := e.Find(ref)
	if err != nil {
		return err
	}
	c, err := e.running(d)
	if err != nil {
		return fmt.Errorf("cannot kill container %s: %w", ref, err)
	}
	if stop, parseErr := ParseSignal(d.Options.StopSignal); sig == unix.SIGKILL || parseErr == nil && sig == stop {
		if err := e.markStopped(d.ID); err != nil {
			return err
		}
	}
	if err := c.Kill(sig); err != nil {
		return fmt.Errorf("kill %s: %w", d.Name, err)
	}
	e.containerEvent(d, "kill", "signal", strconv.Itoa(int(sig)))
	if sig == unix.SIGKILL {
		return e.waitReleased(ctx, d.ID)
	}
	return nil
}

// markStopped tells the monitor that the user wants the container down, so that no policy restarts it.
func (e *Engine) markStopped(id string) error {
	life, err := e.readLife(id)
	if err != nil {
		return err
	}
	life.Stopped = true
	return e.writeLife(id, life)
}

// Stop ends a container: its stop signal first, KILL when that has not ended it in time. timeout is in seconds; nil means
// the container's own, or 10; negative means never KILL.
func (e *Engine) Stop(ctx context.Context, ref string, timeout *int, signal string) error {
	d, err := e.Find(ref)
	if err != nil {
		return err
	}
	if signal == "" {
		signal = d.Options.StopSignal
	}
	sig, err := ParseSignal(signal)
	if err != nil {
		return err
	}
	if timeout == nil {
		timeout = d.Options.StopTimeout
	}
	seconds := 10
	if timeout != nil {
		seconds = *timeout
	}
	if !e.busy(d.ID) {
		return nil
	}
	if err := e.markStopped(d.ID); err != nil {
		return err
	}
	c, err := e.running(d)
	var down *NotRunning
	if errors.As(err, &down) {
		return e.waitReleased(ctx, d.ID) // between two restarts, or just ending
	}
	if err != nil {
		return err
	}
	if err := endProcess(ctx, c, sig, seconds); err != nil {
		return fmt.Errorf("stop %s: %w", d.Name, err)
	}
	e.containerEvent(d, "stop")
	return e.waitReleased(ctx, d.ID)
}

func endProcess(ctx context.Context, c *container.Container, sig unix.Signal, seconds int) error {
	if c.Status() == container.Paused {
		// A frozen process takes no signal but the one that ends it.
		if err := c.Kill(unix.SIGKILL); err != nil {
			return err
		}
		return c.Resume()
	}
	if err := c.Kill(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	patience := time.Duration(seconds) * time.Second
	if seconds < 0 {
		patience = 1<<63 - 1
	}
	ended, err := waitPid(ctx, c, patience)
	if err != nil || ended {
		return err
	}
	if err := c.Kill(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ended, err = waitPid(ctx, c, 30*time.Second)
	if err == nil && !ended {
		err = errors.New("its process has not ended 30 s after SIGKILL; it hangs in the kernel (cat /proc/PID/stack)")
	}
	return err
}

// waitPid waits until the container's process is dead, whoever its parent is. A pidfd becomes readable then; comparing the
// state afterwards also covers a pid that was dead before we looked.
func waitPid(ctx context.Context, c *container.Container, patience time.Duration) (ended bool, err error) {
	fd, err := unix.PidfdOpen(c.Pid(), 0)
	if err == unix.ESRCH {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("watch process %d: %w", c.Pid(), err)
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(patience)
	if patience == 1<<63-1 {
		deadline = time.Now().AddDate(100, 0, 0)
	}
	for {
		if s := c.Status(); s != container.Running && s != container.Paused {
			return true, nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return false, nil
		}
		// In short slices, so that a cancelled context is noticed.
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, int(min(left, 250*time.Millisecond).Milliseconds())+1); err != nil && err != unix.EINTR {
			return false, err
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
}

// waitReleased waits until nobody looks after the container any more: then its name, address and ports are free. A
// container whose monitor was killed is released here.
func (e *Engine) waitReleased(ctx context.Context, id string) error {
	for {
		held, err := state.Held(e.monitorLock(id))
		if err != nil {
			return err
		}
		if !held {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
	if _, err := os.Stat(e.monitorDir(id)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return e.releaseOrphan(id)
}

// Restart is stop and start.
func (e *Engine) Restart(ctx context.Context, ref string, timeout *int) error {
	d, err := e.Find(ref)
	if err != nil {
		return err
	}
	if err := e.Stop(ctx, d.ID, timeout, ""); err != nil {
		return err
	}
	if _, err = e.Start(ctx, d.ID, StartOptions{}, Streams{}); err == nil {
		e.containerEvent(d, "restart")
	}
	return err
}

// Wait waits until the container is not running and gives its exit status.
func (e *Engine) Wait(ctx context.Context, ref string) (int, error) {
	d, err := e.Find(ref)
	if err != nil {
		return 1, err
	}
	if e.busy(d.ID) {
		// The monitor tells how it ended, also of a container that is removed with its end.
		if life, ok := e.waitMonitor(d); ok && !d.restarts() {
			return life.ExitCode, nil
		}
		if err := e.waitUnsupervised(ctx, d); err != nil {
			return 1, err
		}
	}
	st, err := e.status(d)
	if err != nil {
		return 1, err
	}
	return st.Life.ExitCode, nil
}

func (e *Engine) waitMonitor(d *Definition) (life Life, ok bool) {
	conn, err := e.dialMonitor(d)
	if err != nil {
		return life, false
	}
	defer conn.Close()
	if err := (&frameWriter{w: conn}).frame(frameQuiet, nil); err != nil {
		return life, false
	}
	var buf []byte
	for {
		kind, p, grown, err := readFrame(conn, buf)
		if err != nil {
			return life, false
		}
		buf = grown
		if kind == frameExit {
			return life, json.Unmarshal(p, &life) == nil
		}
	}
}

// waitUnsupervised waits for a container whose monitor does not answer.
func (e *Engine) waitUnsupervised(ctx context.Context, d *Definition) error {
	for e.busy(d.ID) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// Remove deletes a container and what it wrote.
func (e *Engine) Remove(ctx context.Context, ref string, o RemoveOptions) error {
	d, err := e.Find(ref)
	if err != nil {
		return err
	}
	if st, err := e.status(d); err == nil && (st.Running || st.Restarting) {
		if !o.Force {
			return fmt.Errorf("container %s is %s: stop it first (mydocker stop %s), or remove it with force (mydocker rm -f %s)", d.Name, st.name(), d.Name, d.Name)
		}
		if err := e.forceDown(ctx, d); err != nil {
			return err
		}
	}
	l, err := e.lock(d.ID)
	if errors.Is(err, fs.ErrNotExist) && o.Force {
		return nil // --rm was quicker
	}
	if err != nil {
		return err
	}
	defer l.Release()
	if e.busy(d.ID) {
		if err := e.waitReleased(ctx, d.ID); err != nil {
			return err
		}
	}
	if c, err := e.running(d); err == nil && !o.Force {
		return fmt.Errorf("container %s was started meanwhile (pid %d): stop it first (mydocker stop %s)", d.Name, c.Pid(), d.Name)
	}
	err = errors.Join(e.releaseClaims(d), e.releaseKernel(d.ID, d.Name))
	if err != nil {
		return fmt.Errorf("remove %s: %w", d.Name, err) // the record stays, so that it can be tried again
	}
	if o.Volumes {
		for _, v := range d.AnonymousVolumes {
			err = errors.Join(err, e.removeVolume(v))
		}
	}
	return errors.Join(err, e.forgetRecords(d))
}

// forceDown kills the container and waits until its monitor has let go.
func (e *Engine) forceDown(ctx context.Context, d *Definition) error {
	if err := e.markStopped(d.ID); err != nil {
		return err
	}
	c, err := e.running(d)
	if err == nil {
		if err := c.Kill(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("kill %s: %w", d.Name, err)
		}
		if c.Status() == container.Paused {
			if err := c.Resume(); err != nil {
				return err
			}
		}
		if _, err := waitPid(ctx, c, 30*time.Second); err != nil {
			return err
		}
	}
	return e.waitReleased(ctx, d.ID)
}

// Rename gives a container another name. The pinned namespace of a running one is renamed with it.
func (e *Engine) Rename(ctx context.Context, ref, name string) error {
	d, err := e.Find(ref)
	if err != nil {
		return err
	}
	if err := validName(name); err != nil {
		return err
	}
	if name == d.Name {
		return fmt.Errorf("renaming container %s: the new name is the old one", d.Name)
	}
	l, err := e.lock(d.ID)
	if err != nil {
		return err
	}
	defer l.Release()
	if err := e.claimGivenName(name, d.ID); err != nil {
		return err
	}
	old := d.Name
	if e.busy(d.ID) && hasOwnSandbox(d.Options.Network) {
		if err := e.networks.RenameSandbox(old, name); err != nil {
			return errors.Join(err, state.Unclaim(e.nameFile(name), d.ID))
		}
	}
	d.Name, d.Options.Name = name, name
	if err := e.writeDefinition(d); err != nil {
		return errors.Join(err, state.Unclaim(e.nameFile(name), d.ID))
	}
	e.containerEvent(d, "rename", "oldName", old)
	return state.Unclaim(e.nameFile(old), d.ID)
}

// Pause freezes all processes of a container; Unpause lets them go on.
func (e *Engine) Pause(ctx context.Context, ref string) error {
	return e.withRunning(ref, func(d *Definition, c *container.Container) error {
		if c.Status() == container.Paused {
			return fmt.Errorf("container %s is already paused", d.Name)
		}
		if err := c.Pause(); err != nil {
			return err
		}
		e.containerEvent(d, "pause")
		return nil
	})
}

// Unpause lets a paused container go on.
func (e *Engine) Unpause(ctx context.Context, ref string) error {
	return e.withRunning(ref, func(d *Definition, c *container.Container) error {
		if c.Status() != container.Paused {
			return fmt.Errorf("container %s is not paused", d.Name)
		}
		if err := c.Resume(); err != nil {
			return err
		}
		e.containerEvent(d, "unpause")
		return nil
	})
}

func (e *Engine) withRunning(ref string, do func(*Definition, *container.Container) error) error {
	d, err := e.Find(ref)
	if err != nil {
		return err
	}
	c, err := e.running(d)
	if err != nil {
		return err
	}
	return do(d, c)
}

// Port lists what a container publishes.
func (e *Engine) Port(ctx context.Context, ref string) ([]network.PortMapping, error) {
	d, err := e.Find(ref)
	if err != nil {
		return nil, err
	}
	endpoints, err := e.networks.ContainerEndpoints(d.ID)
	if err != nil {
		return nil, err
	}
	var ports []network.PortMapping
	for _, ep := range endpoints {
		ports = append(ports, ep.Ports...)
	}
	return ports, nil
}

// Top lists the processes of a container, as pids of the host.
func (e *Engine) Top(ctx context.Context, ref string) ([]int, error) {
	var pids []int
	err := e.withRunning(ref, func(d *Definition, c *container.Container) (err error) {
		pids, err = c.Processes()
		return err
	})
	return pids, err
}

// RemoveNetwork removes a network that no container uses.
func (e *Engine) RemoveNetwork(ctx context.Context, ref string) error {
	return e.networks.Remove(ctx, ref)
}
