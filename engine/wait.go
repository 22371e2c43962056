package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/state"
)

// Wait waits until the container is not running and gives its exit status.
func (e *Engine) Wait(ctx context.Context, ref string) (int, error) {
	d, err := e.Find(ref)
	if err != nil {
		return 1, err
	}
	e.lookAfter(d)
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

// waitReleasedFor waits until nobody looks after the container any more, but not longer than patience: then its name, address
// and ports are free. A container whose monitor was killed is released here.
func (e *Engine) waitReleasedFor(ctx context.Context, id string, patience time.Duration) (released bool, err error) {
	for began := time.Now(); ; {
		held, err := state.Held(e.monitorLock(id))
		if err != nil {
			return false, err
		}
		if !held {
			break
		}
		if time.Since(began) > patience {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
	if _, err := os.Stat(e.monitorDir(id)); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return true, e.releaseOrphan(id)
}
