package engine

import (
	"context"
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
	if d, _, err = e.endUnfinished(d.ID); err != nil {
		return 1, err
	}
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
		if errors.As(err, new(*startFailed)) {
			return 1, &ExitError{Code: 1, Err: err} // whatever the reason: 127 and 126 are for those who run a command
		}
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

// killTold sends a signal to the container's first process, and tells of it.
func (e *Engine) killTold(d *Definition, c *container.Container, sig unix.Signal) error {
	err := c.Kill(sig)
	if err == nil {
		e.containerEvent(d, "kill", "signal", strconv.Itoa(int(sig)))
	}
	return err
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
	if err := e.afterStart(d); err != nil {
		return err
	}
	e.lookAfter(d)
	c, err := e.running(d)
	if err != nil {
		return fmt.Errorf("cannot kill container %s: %w", ref, err)
	}
	if stop, parseErr := ParseSignal(d.Options.StopSignal); sig == unix.SIGKILL || parseErr == nil && sig == stop {
		if err := e.markStopped(d.ID); err != nil {
			return err
		}
	}
	if err := unlessEnded(e.killTold(d, c, sig)); err != nil {
		return fmt.Errorf("kill %s: %w", d.Name, err)
	}
	if sig == unix.SIGKILL {
		return e.awaitKilled(ctx, d, c)
	}
	return nil
}

// awaitKilled waits until a killed container is gone. A frozen process dies only when it is let go on, and somebody may have
// paused the container in the moment of its death.
func (e *Engine) awaitKilled(ctx context.Context, d *Definition, c *container.Container) error {
	for {
		released, err := e.waitReleasedFor(ctx, d.ID, 50*time.Millisecond)
		if released || err != nil {
			return err
		}
		if written, err := e.readLife(d.ID); err != nil || !written.Stopped {
			return err // it was down, and somebody has started it anew
		}
		if c.Status() == container.Paused {
			if err := c.Resume(); err != nil && c.Status() == container.Paused {
				return fmt.Errorf("kill %s: let it go on, so that it can die: %w", d.Name, err)
			}
		}
	}
}

// downByShutdown is what the file holds that says that a container should be down, if it was not a user who wants it.
const downByShutdown = "shutdown"

// markStopped tells the monitor that the user wants the container down, so that no policy restarts it.
func (e *Engine) markStopped(id string) error {
	_, err := e.markDown(id, "")
	return err
}

// markDown is markStopped with the reason. A user's word holds, whoever else says it too; first says that nobody had said it.
func (e *Engine) markDown(id, why string) (first bool, err error) {
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if why != "" {
		flags |= os.O_EXCL
	}
	f, err := os.OpenFile(e.path(id, stoppedFile), flags, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return false, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, noSuchContainer(ShortID(id)) // removed meanwhile
	case err != nil:
		return false, err
	}
	_, err = f.WriteString(why)
	return true, errors.Join(err, f.Close())
}

// unmarkStopped is for a monitor that begins.
func (e *Engine) unmarkStopped(id string) error {
	err := os.Remove(e.path(id, stoppedFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

const defaultStopTimeout = 10 // seconds

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
	seconds := defaultStopTimeout
	if timeout != nil {
		seconds = *timeout
	}
	if err := e.afterStart(d); err != nil {
		return err
	}
	e.lookAfter(d)
	if !e.busy(d.ID) {
		return nil
	}
	if err := e.markStopped(d.ID); err != nil {
		return err
	}
	stopped := false
	err = e.bringDown(ctx, d, func(c *container.Container) error {
		if err := e.endProcess(ctx, d, c, sig, seconds); err != nil {
			return fmt.Errorf("stop %s: %w", d.Name, err)
		}
		stopped = true
		return nil
	})
	if err == nil && stopped {
		e.containerEvent(d, "stop")
	}
	return err
}

// bringDown ends a container's process and waits until its monitor has let go. A monitor that was just about to start it once
// more, by its policy, has not seen in time that it should be down: then the process is ended again.
func (e *Engine) bringDown(ctx context.Context, d *Definition, end func(*container.Container) error) error {
	for {
		c, err := e.running(d)
		var down *NotRunning
		switch {
		case err == nil:
			if err := end(c); err != nil {
				return err
			}
		case !errors.As(err, &down):
			return err
		}
		if released, err := e.waitReleasedFor(ctx, d.ID, 50*time.Millisecond); released || err != nil {
			return err
		}
		if written, err := e.readLife(d.ID); err != nil || !written.Stopped {
			return err // it was down, and somebody has started it anew
		}
	}
}

func (e *Engine) endProcess(ctx context.Context, d *Definition, c *container.Container, sig unix.Signal, seconds int) error {
	if c.Status() == container.Paused {
		return e.killProcess(ctx, d, c) // a frozen process takes no signal but the one that ends it
	}
	if err := e.killTold(d, c, sig); err != nil {
		return unlessEnded(err)
	}
	patience := time.Duration(seconds) * time.Second
	if seconds < 0 {
		patience = 1<<63 - 1
	}
	ended, err := waitPid(ctx, c, patience)
	if err != nil || ended {
		return err
	}
	return e.killProcess(ctx, d, c)
}

// killProcess ends a process without asking it. One that is frozen, or is being frozen at this moment, dies when it is thawed.
func (e *Engine) killProcess(ctx context.Context, d *Definition, c *container.Container) error {
	if err := e.killTold(d, c, unix.SIGKILL); err != nil {
		return unlessEnded(err)
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if c.Status() == container.Paused {
			if err := unlessEnded(c.Resume()); err != nil {
				return err
			}
		}
		if ended, err := waitPid(ctx, c, 100*time.Millisecond); ended || err != nil {
			return err
		}
	}
	return errors.New("its process has not ended 30 s after SIGKILL; it hangs in the kernel (cat /proc/PID/stack)")
}

// unlessEnded forgives a signal that came too late.
func unlessEnded(err error) error {
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, container.ErrNotRunning) || errors.Is(err, fs.ErrNotExist) {
		return nil
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
	l, err := state.AcquireLockThere(e.path(d.ID, restartFile))
	if errors.Is(err, fs.ErrNotExist) {
		return noSuchContainer(ref) // removed just now
	}
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

func (e *Engine) withRunning(ref string, do func(*Definition, *container.Container) error) error {
	d, err := e.Find(ref)
	if err != nil {
		return err
	}
	if err := e.afterStart(d); err != nil {
		return err
	}
	e.lookAfter(d)
	c, err := e.running(d)
	if err != nil {
		return err
	}
	return e.unlessDown(d, c, do(d, c))
}

// afterStart waits until nobody is just starting the container: its first process is there already, but what is done to it would
// make the start fail.
func (e *Engine) afterStart(d *Definition) error {
	l, err := e.lock(d.ID)
	if err != nil {
		return err
	}
	return l.Release()
}

// unlessDown says plainly what an error means that came because the container ended meanwhile.
func (e *Engine) unlessDown(d *Definition, was *container.Container, err error) error {
	var down *NotRunning
	if err == nil {
		return nil
	}
	// A process that is just ending has nothing left that could be joined, and is not dead yet.
	if _, waitErr := waitPid(context.Background(), was, 100*time.Millisecond); waitErr != nil {
		return errors.Join(err, waitErr)
	}
	c, runErr := e.running(d)
	switch {
	case errors.As(runErr, &down):
		return runErr
	case runErr == nil && c.Pid() != was.Pid():
		return fmt.Errorf("container %s has ended meanwhile and been started again: try once more", d.Name)
	}
	return err
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
	return published(endpoints), nil
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
