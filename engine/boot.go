package engine

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"

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
	if err := e.afterStart(d); err != nil {
		return err
	}
	first, err := e.markDown(d.ID, downByShutdown)
	if err != nil {
		return err
	}
	sig, seconds := d.lastWords()
	return e.bringDown(ctx, d, func(c *container.Container) error {
		if first {
			return e.endProcess(ctx, d, c, sig, seconds)
		}
		// Somebody has asked it already, and a program that is asked twice may take that for an order to be quick.
		ended, err := waitPid(ctx, c, time.Duration(seconds)*time.Second)
		if err != nil || ended {
			return err
		}
		return e.killProcess(ctx, d, c)
	})
}

// lastWords are how a container is stopped when the machine goes down: by which signal, and within how many seconds.
func (d *Definition) lastWords() (unix.Signal, int) {
	sig, err := ParseSignal(d.Options.StopSignal)
	if err != nil {
		sig = unix.SIGTERM // the image's own word may be nonsense; it has to end all the same
	}
	if t := d.Options.StopTimeout; t != nil && *t >= 0 { // "for ever" is no answer to a machine that goes down
		return sig, *t
	}
	return sig, defaultStopTimeout
}

// heedTermination stops the container when the monitor is told to end, which nobody does but an init that ends a session, or the
// machine: so what the container says last is still written down, and how it ended.
func (m *monitor) heedTermination() {
	if m.stay {
		return
	}
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGTERM)
	go func() {
		<-ch
		first, err := m.e.markDown(m.d.ID, downByShutdown)
		m.mu.Lock()
		l := m.live
		m.mu.Unlock()
		if err == nil && first && l != nil {
			sig, seconds := m.d.lastWords()
			err = m.e.endProcess(context.Background(), m.d, l.c, sig, seconds)
		}
		if err != nil {
			m.complain(err)
		}
	}()
}
