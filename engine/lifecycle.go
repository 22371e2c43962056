package engine

import (
	"context"
	"errors"
	"fmt"
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

// Restart is stop and start.
func (e *Engine) Restart(ctx context.Context, ref string, timeout *int) error {
	d, err := e.Find(ref)
	if err != nil {
		return err
	}
	// Held until it runs again, so that those who follow its log do not go away in between.
	if _, err := os.Stat(e.Root.Container(d.ID)); err != nil {
		return noSuchContainer(ref) // removed just now: the lock must not bring its directory back
	}
	l, err := state.AcquireLock(e.path(d.ID, restartFile))
	if err != nil {
		return err
	}
	defer l.Release()
	if err := e.Stop(ctx, d.ID, timeout, ""); err != nil {
		return err
	}
	if _, err = e.Start(ctx, d.ID, StartOptions{}, Streams{}); err == nil {
		e.containerEvent(d, "restart")
	}
	return err
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
		ports = append(ports, ep.Published()...)
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
