package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/state"
)

// Health check: the monitor runs the image's or the user's test in the container, again and again, and writes down what came
// of it. Nobody acts on it but people and their tools.

// Health is what is known of a container's health; the keys are Docker's.
type Health struct {
	Status        string // starting, healthy, unhealthy
	FailingStreak int
	Log           []HealthResult
}

// HealthResult is one run of the test.
type HealthResult struct {
	Start, End time.Time
	ExitCode   int
	Output     string
}

const (
	healthFile      = "health.json"
	healthLogLength = 5
	healthMaxOutput = 4096 // bytes of a test's output that are kept
)

// Defaults as Docker's.
const (
	defaultHealthInterval      = 30 * time.Second
	defaultHealthTimeout       = 30 * time.Second
	defaultHealthStartInterval = 5 * time.Second
	defaultHealthRetries       = 3
)

// mergeHealth takes from the image what the user left open.
func mergeHealth(mine, images *image.Healthcheck) *image.Healthcheck {
	if mine == nil {
		mine = images
	} else if images != nil {
		merged := *mine
		if len(merged.Test) == 0 {
			merged.Test = images.Test
		}
		for _, f := range []struct{ to, from *time.Duration }{
			{&merged.Interval, &images.Interval}, {&merged.Timeout, &images.Timeout},
			{&merged.StartPeriod, &images.StartPeriod}, {&merged.StartInterval, &images.StartInterval},
		} {
			if *f.to == 0 {
				*f.to = *f.from
			}
		}
		if merged.Retries == 0 {
			merged.Retries = images.Retries
		}
		mine = &merged
	}
	if mine == nil || len(mine.Test) == 0 || mine.Test[0] == "NONE" {
		return nil
	}
	return mine
}

// healthCommand is the command line of a test: ["CMD", …] as it stands, ["CMD-SHELL", "…"] through the shell.
func healthCommand(test []string) ([]string, error) {
	switch {
	case test[0] == "CMD" && len(test) > 1:
		return test[1:], nil
	case test[0] == "CMD-SHELL" && len(test) == 2:
		return []string{"/bin/sh", "-c", test[1]}, nil
	}
	return nil, fmt.Errorf("invalid health check %q: CMD and a command, or CMD-SHELL and one string, is expected", test)
}

func (e *Engine) readHealth(id string) (*Health, error) {
	h := new(Health)
	err := state.ReadJSON(e.path(id, healthFile), h)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return h, err
}

// startHealth begins to test; the function that it returns ends that.
func (m *monitor) startHealth(l *live, started time.Time) (stop func()) {
	check := m.d.Options.Health
	if check == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.testHealth(ctx, l.c, check, started)
	}()
	return func() { cancel(); <-done }
}

func (m *monitor) testHealth(ctx context.Context, c *container.Container, check *image.Healthcheck, started time.Time) {
	h, err := m.e.readHealth(m.d.ID) // another may have tested before: a monitor that was killed, or this one before it became lean
	if err != nil || h == nil {
		if err != nil {
			m.complain(err)
		}
		h = &Health{Status: "starting"}
	}
	for {
		wait := orDuration(check.Interval, defaultHealthInterval)
		starting := h.Status == "starting" && time.Since(started) < check.StartPeriod
		if starting {
			wait = min(wait, orDuration(check.StartInterval, defaultHealthStartInterval))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		result := m.testOnce(ctx, c, check)
		if ctx.Err() != nil {
			return
		}
		before := h.Status
		h.Log = append(h.Log, result)
		if len(h.Log) > healthLogLength {
			h.Log = h.Log[1:]
		}
		switch {
		case result.ExitCode == 0:
			h.Status, h.FailingStreak = "healthy", 0
		case starting: // a failure in the start period does not count
		default:
			if h.FailingStreak++; h.FailingStreak >= orInt(check.Retries, defaultHealthRetries) {
				h.Status = "unhealthy"
			}
		}
		m.writeHealth(h)
		if h.Status != before {
			m.e.containerEvent(m.d, "health_status: "+h.Status)
		}
	}
}

func orDuration(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

func orInt(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

func (m *monitor) writeHealth(h *Health) {
	if err := state.ReplaceJSON(m.e.path(m.d.ID, healthFile), h, state.Volatile); err != nil {
		m.complain(fmt.Errorf("write health: %w", err))
	}
}

// testOnce runs the test; a test that does not end in time is killed and has failed.
func (m *monitor) testOnce(ctx context.Context, c *container.Container, check *image.Healthcheck) HealthResult {
	r := HealthResult{Start: now(), ExitCode: -1}
	err := func() error {
		args, err := healthCommand(check.Test)
		if err != nil {
			return err
		}
		p, err := m.e.execProcess(m.d, c, ExecOptions{Args: args})
		if err != nil {
			return err
		}
		out, theirs, err := os.Pipe()
		if err != nil {
			return err
		}
		defer out.Close()
		ran := m.e.newExec(m.d, args)
		proc, err := c.Exec(ctx, container.ExecOptions{Process: p, Stdout: theirs, Stderr: theirs})
		theirs.Close()
		if err != nil {
			return err
		}
		text := make(chan string, 1)
		go func() {
			data, _ := io.ReadAll(io.LimitReader(out, healthMaxOutput)) // what was said before the end counts
			text <- string(data)
			_, _ = io.Copy(io.Discard, out)
		}()
		late := time.AfterFunc(orDuration(check.Timeout, defaultHealthTimeout), func() { _ = proc.Signal(unix.SIGKILL) })
		exit, err := proc.Wait()
		ran.ended(exit.Code)
		if !late.Stop() {
			return fmt.Errorf("health check exceeded timeout (%s)", orDuration(check.Timeout, defaultHealthTimeout))
		}
		out.SetReadDeadline(time.Now().Add(time.Second)) // something it left behind may still hold the pipe
		r.ExitCode, r.Output = exit.Code, <-text
		return err
	}()
	if err != nil {
		r.Output = err.Error()
	}
	r.End = now()
	return r
}
