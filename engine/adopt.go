package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/state"
)

// A container outlives its monitor: a plain `run` that is killed with KILL, or a monitor that the kernel chose when memory ran out,
// leaves it running. Whoever meets it next (ps, inspect, wait, logs, attach, stop, kill, pause, gc) gives it another: that one reads
// its output on, answers its names, holds its ports, tests its health, waits for its end, and does what its restart policy says.

// lookAfter gives a running container that has lost its monitor another one. Without it the container still runs, so a failure is told
// and keeps nobody from what he wanted.
func (e *Engine) lookAfter(d *Definition) {
	held, err := state.Held(e.monitorLock(d.ID))
	if held || err != nil {
		return // as usual; or the caller will meet the error himself
	}
	if _, err := e.running(d); err != nil {
		return
	}
	if err := e.launchAdopter(d.ID); err != nil && e.Warn != nil {
		e.Warn(fmt.Sprintf("the monitor of container %s was killed, and it cannot be given another: %v", d.Name, err))
	}
}

func (e *Engine) launchAdopter(id string) error {
	h, err := e.launch("monitor")
	if err != nil {
		return err
	}
	defer h.dismiss()
	if err := h.send(orders{ID: id, Adopt: true}); err != nil {
		return err
	}
	return h.wait()
}

// adoptContainer is the new monitor's side. Two that are launched at once agree by the lock.
func (e *Engine) adoptContainer(id string, tell func(error)) error {
	m, l, life, err := e.adopt(id)
	if m == nil {
		tell(err)
		return err
	}
	m.heedTermination()
	tell(nil)
	leaveStderr()
	life, l, err = m.run(&begun{live: l, life: life, restarts: life.RestartCount}, func(error) {})
	return errors.Join(err, m.finish(l, life))
}

// adopt takes a running container on. m is nil when there is nothing to take on: it has ended, or somebody else was quicker.
func (e *Engine) adopt(id string) (m *monitor, l *live, life Life, err error) {
	d, err := e.readDefinition(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, life, nil
	}
	if err != nil {
		return nil, nil, life, err
	}
	m = &monitor{e: e, d: d}
	m.lock, err = state.TryLockThere(e.monitorLock(id))
	if errors.Is(err, state.ErrLocked) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil, life, nil
	}
	l = &live{}
	if err == nil {
		l.c, err = e.running(d)
	}
	if err == nil {
		err = l.c.Watch()
	}
	if err == nil {
		life, err = e.readLife(id)
	}
	if err == nil {
		err = m.takeOn(l)
	}
	if err != nil {
		l.close()
		m.close()
		if errors.As(err, new(*NotRunning)) {
			err = nil
		}
		return nil, nil, life, err
	}
	return m, l, life, nil
}

// takeOn holds what a monitor holds. What cannot be had again (a port that somebody else has taken meanwhile) is told by `inspect`; the
// rest is looked after all the same.
func (m *monitor) takeOn(l *live) error {
	if err := m.openLog(); err != nil {
		return err
	}
	m.makeHub()
	if err := m.listen(); err != nil {
		return err
	}
	m.setLive(l)
	l.streams = new(stdio)
	if m.d.Options.TTY { // the terminal went with the monitor
		m.hub.connect(nil, nil)
		l.pumps = make(chan struct{})
		close(l.pumps)
	} else {
		l.streams.out, l.streams.err = forsaken(l.c, 1), forsaken(l.c, 2)
		l.resumePumps(m.d, m.hub)
	}
	if err := m.networkChanged(); err != nil {
		m.complain(fmt.Errorf("the killed monitor's ports and names: %w", err))
	}
	return nil
}

// forsaken is the reading end of the pipe that is a container's descriptor, nil if there is none. Pipes of /proc/PID/fd can be opened
// anew, at either end (proc_pid_fd(5)). One with a reader is not the dead monitor's, but of the container's own: it is left alone.
//
// The container may put another file there at any moment, a device that does something when it is opened: so what is looked at and
// what is opened is one and the same file, held by a descriptor that opens nothing (O_PATH).
func forsaken(c *container.Container, fd int) *os.File {
	held, err := unix.Open(fmt.Sprintf("/proc/%d/fd/%d", c.Pid(), fd), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(held)
	var st unix.Stat_t
	if err := unix.Fstat(held, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil
	}
	path := fmt.Sprintf("/proc/self/fd/%d", held)
	w, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	poll := []unix.PollFd{{Fd: int32(w)}}
	_, err = unix.Poll(poll, 0)
	unix.Close(w)
	if err != nil || poll[0].Revents&unix.POLLERR == 0 { // poll(2): "the write end of a pipe when the read end has been closed"
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	return f
}
