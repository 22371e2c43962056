package engine

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
)

// What the machine's init asks for: Boot once after its start, Shutdown before its end.

// Boot does what is to be done once after the machine has started: what crashed is cleaned up, and containers come back as
// their restart policy says. It tells whom it started; one that cannot be started does not keep the others down.
func (e *Engine) Boot(ctx context.Context) (started []string, failed []error, err error) {
	if _, err := e.GC(ctx); err != nil {
		failed = append(failed, err)
	}
	all, err := e.definitions()
	if err != nil {
		return nil, failed, err
	}
	// The oldest first: others may join its network or mount its volumes.
	for i := len(all) - 1; i >= 0; i-- {
		d := all[i]
		comes, err := e.comesBack(d)
		if err == nil && comes {
			_, err = e.Start(ctx, d.ID, StartOptions{}, Streams{})
			if err == nil {
				started = append(started, d.Name)
			}
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("start %s: %w", d.Name, err))
		}
	}
	return started, failed, nil
}

// comesBack says whether a container is to be started at boot: Docker's rules for the start of its daemon.
func (e *Engine) comesBack(d *Definition) (bool, error) {
	if e.busy(d.ID) {
		return false, nil
	}
	st, err := e.status(d)
	if err != nil || st.Life.StartedAt.IsZero() {
		return false, err
	}
	switch d.Options.Restart.Name {
	case "always":
		return true, nil
	case "unless-stopped":
		return !st.Life.Halted, nil
	case "on-failure":
		return !st.Life.Halted && st.Life.ExitCode != 0, nil
	}
	return false, nil
}

// Shutdown stops all containers side by side, each by its own stop signal and with its own patience, as Docker's daemon does when it
// ends. None of them counts as stopped by the user: Boot brings back whom its policy wants. Without it, the init would send
// SIGTERM to the containers' processes, which a first process ignores, and wait for them for a minute and a half.
func (e *Engine) Shutdown(ctx context.Context) (stopped []string, failed []error, err error) {
	all, err := e.definitions()
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	var each sync.WaitGroup
	for _, d := range all {
		if !e.busy(d.ID) {
			continue
		}
		each.Go(func() {
			err := e.shutDown(ctx, d)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, fmt.Errorf("stop %s: %w", d.Name, err))
			} else {
				stopped = append(stopped, d.Name)
			}
		})
	}
	each.Wait()
	return stopped, failed, nil
}

func (e *Engine) shutDown(ctx context.Context, d *Definition) error {
	sig, err := ParseSignal(d.Options.StopSignal)
	if err != nil {
		sig = unix.SIGTERM // the image's own word may be nonsense; it has to end all the same
	}
	seconds := defaultStopTimeout
	if t := d.Options.StopTimeout; t != nil && *t >= 0 { // "for ever" is no answer to a machine that goes down
		seconds = *t
	}
	if err := e.afterStart(d); err != nil {
		return err
	}
	if err := e.markDown(d.ID, downByShutdown); err != nil {
		return err
	}
	return e.bringDown(ctx, d, func(c *container.Container) error { return endProcess(ctx, c, sig, seconds) })
}
