package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/docker/go-units"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/state"
)

// status is what the kernel says of a container now, with what the records add of its past.
type status struct {
	Running, Paused, Restarting bool
	Pid                         int
	Life                        Life
	Health                      *Health // nil without a health check
}

// name is Docker's word for the state.
func (s status) name() string {
	switch {
	case s.Paused:
		return "paused"
	case s.Restarting:
		return "restarting"
	case s.Running:
		return "running"
	case s.Life.StartedAt.IsZero():
		return "created"
	}
	return "exited"
}

// sentence is the STATUS column of `ps`.
func (s status) sentence() string {
	switch s.name() {
	case "paused":
		return "Up " + ago(s.Life.StartedAt) + " (Paused)"
	case "restarting":
		return fmt.Sprintf("Restarting (%d) %s ago", s.Life.ExitCode, ago(s.Life.FinishedAt))
	case "running":
		if s.Health != nil {
			word := s.Health.Status
			if word == "starting" {
				word = "health: starting"
			}
			return "Up " + ago(s.Life.StartedAt) + " (" + word + ")"
		}
		return "Up " + ago(s.Life.StartedAt)
	case "created":
		return "Created"
	}
	return fmt.Sprintf("Exited (%d) %s ago", s.Life.ExitCode, ago(s.Life.FinishedAt))
}

func ago(t time.Time) string { return units.HumanDuration(time.Since(t)) }

// lostExitCode is what a container is given that was running when its monitor or the machine died: nobody saw its end.
const lostExitCode = 255

func (e *Engine) status(d *Definition) (s status, err error) {
	if s.Life, err = e.readLife(d.ID); err != nil {
		return s, err
	}
	c, err := e.runtime.Load(d.ID)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if err == nil {
		switch c.Status() {
		case container.Running:
			s.Running, s.Pid = true, c.Pid()
		case container.Paused:
			s.Running, s.Paused, s.Pid = true, true, c.Pid()
		}
	}
	if d.Options.Health != nil {
		if s.Health, err = e.readHealth(d.ID); err != nil {
			return s, err
		}
	}
	if s.Running {
		return s, nil
	}
	monitored, err := state.Held(e.monitorLock(d.ID))
	if err != nil {
		return s, err
	}
	if monitored && d.restarts() && !s.Life.FinishedAt.IsZero() && !s.Life.Stopped {
		s.Restarting = true
		return s, nil
	}
	if !monitored && s.Life.FinishedAt.Before(s.Life.StartedAt) {
		// It was started and nobody recorded an end: its monitor was killed, or the machine went down.
		s.Life.ExitCode = lostExitCode
		s.Life.FinishedAt = s.Life.StartedAt
		if st, statErr := os.Stat(e.path(d.ID, logFile)); statErr == nil {
			s.Life.FinishedAt = lastSeen(s.Life.StartedAt, st.ModTime())
		}
	}
	return s, nil
}

func (d *Definition) restarts() bool {
	return d.Options.Restart.Name != "" && d.Options.Restart.Name != "no"
}

// busy says whether somebody still looks after the container: it runs, restarts, starts or is being released.
func (e *Engine) busy(id string) bool {
	held, err := state.Held(e.monitorLock(id))
	if err == nil && held {
		return true
	}
	c, err := e.runtime.Load(id)
	return err == nil && (c.Status() == container.Running || c.Status() == container.Paused)
}

// running gives the container's process, or says how to start it.
func (e *Engine) running(d *Definition) (*container.Container, error) {
	c, err := e.runtime.Load(d.ID)
	if err == nil && (c.Status() == container.Running || c.Status() == container.Paused) {
		return c, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return nil, &NotRunning{Name: d.Name, ID: d.ID}
}

// NotRunning says that a verb needs a running container.
type NotRunning struct{ Name, ID string }

func (n *NotRunning) Error() string {
	return fmt.Sprintf("container %s is not running (mydocker start %s)", n.Name, n.Name)
}
