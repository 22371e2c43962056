package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// A monitor stands over one running container: it is the parent that waits, writes the log, serves those who attach, applies
// the restart policy, records how it ended and releases what it had. Its life is a lock: whoever wants to know whether a
// container is looked after asks whether monitors/<id>/lock is held, and whoever wants to wait for the end waits for it.
//
//	start, run -d:  the command starts `mydocker monitor ID` in a session of its own and waits on a pipe for
//	                "started" or the error
//	run (plain):    the command is its own monitor, which saves a process; when the container has ended it hands the lock
//	                to a reaper, which does the slow half of the release after the user has the prompt back
type monitor struct {
	e    *Engine
	d    *Definition
	lock *state.Lock
	hub  *hub
	log  *logWriter
	sock net.Listener
	// accepting is closed when nobody accepts from sock any more.
	accepting chan struct{}

	// stay says that this process does not belong to the monitor alone: the foreground command.
	stay bool
	mu   sync.Mutex // guards live
	live *live      // nil while the container does not run
}

func (e *Engine) monitorDir(id string) string  { return filepath.Join(e.Root.Run, "monitors", id) }
func (e *Engine) monitorLock(id string) string { return filepath.Join(e.monitorDir(id), "lock") }

// newMonitor takes the container's monitor lock, after waiting for a former monitor's release to end, and opens the log.
func (e *Engine) newMonitor(d *Definition) (_ *monitor, err error) {
	m := &monitor{e: e, d: d}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if m.lock, err = e.lockMonitor(d); err != nil {
		return nil, err
	}
	if err = e.unmarkStopped(d.ID); err != nil {
		return nil, err
	}
	if err = m.openLog(); err != nil {
		return nil, err
	}
	m.makeHub()
	return m, m.listen()
}

// errRuns says that a container needs no monitor: another has it running.
var errRuns = errors.New("it runs already")

// lockMonitor takes the lock of a container's monitor. A former monitor that is releasing is waited for; one that waits for the
// next run of a restart policy is asked to go. Who held the lock before has removed the directory with the file, so what we got
// may be the lock of nothing: then once more. If not, it was killed, and what it had is released here: a process that gets
// SIGKILL holds its locks until the kernel comes to end it, so whoever started the container took it for one that is at work.
func (e *Engine) lockMonitor(d *Definition) (*state.Lock, error) {
	id, waited := d.ID, false
	for {
		l, err := state.TryLock(e.monitorLock(id))
		if errors.Is(err, state.ErrLocked) {
			waited = true
			if _, err := e.running(d); err == nil {
				return nil, errRuns
			}
			if err := e.markStopped(id); err != nil {
				return nil, err
			}
			time.Sleep(2 * time.Millisecond)
			continue
		}
		if err != nil {
			return nil, err
		}
		mine, err := l.File().Stat()
		if err == nil {
			if there, statErr := os.Stat(e.monitorLock(id)); statErr == nil && os.SameFile(mine, there) {
				if waited {
					err = errors.Join(e.releaseClaims(d), e.releaseRun(id, d.Name))
				}
				if err == nil {
					return l, nil
				}
			}
		}
		if err = errors.Join(err, l.Release()); err != nil {
			return nil, err
		}
	}
}

func (m *monitor) makeHub() {
	m.hub = newHub(m.log)
	m.hub.networkChanged = m.networkChanged
	m.hub.resized = func(size unix.Winsize) {
		m.e.containerEvent(m.d, "resize", "height", strconv.Itoa(int(size.Row)), "width", strconv.Itoa(int(size.Col)))
	}
}

// listen opens the socket for `attach`. It is reached through the directory's descriptor, because a socket's path may
// have 107 bytes at most (unix(7)) and --run-root may be long.
func (m *monitor) listen() error {
	dir := m.e.monitorDir(m.d.ID)
	path, done, err := shortPath(dir, "attach.sock")
	if err != nil {
		return err
	}
	defer done()
	if err := os.Remove(filepath.Join(dir, "attach.sock")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for attach: %w", err)
	}
	l.SetUnlinkOnClose(false) // the name was only good for a moment; the directory goes with the release
	m.startAccepting(l)
	return nil
}

func (m *monitor) startAccepting(l net.Listener) {
	m.sock, m.accepting = l, make(chan struct{})
	go m.accept(l, m.accepting)
}

func (m *monitor) accept(l net.Listener, done chan struct{}) {
	defer close(done)
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed
		}
		m.hub.add(conn, false)
	}
}

// close lets go of everything but what the kernel holds for the container.
func (m *monitor) close() {
	if m.sock != nil {
		m.sock.Close()
		m.sock = nil
	}
	if m.log != nil {
		if err := m.log.Close(); err != nil {
			m.complain(err)
		}
		m.log = nil
	}
	if m.lock != nil {
		m.lock.Release()
		m.lock = nil
	}
}

// complain keeps an error that nobody can be told any more where `inspect` shows it.
func (m *monitor) complain(err error) {
	life, readErr := m.e.readLife(m.d.ID)
	if readErr != nil {
		return // the container is being removed: there is nobody left to tell
	}
	life.Error = errors.Join(errors.New(life.Error), err).Error()
	if err := m.e.writeLife(m.d.ID, life); err != nil {
		return
	}
}

// run starts the container and stays until it has ended for good. started is called once, with the result of the first
// start. A container that is running already is taken on as it is. The kernel half of the release is left to the caller.
func (m *monitor) run(at *begun, started func(error)) (Life, *live, error) {
	if at == nil {
		at = new(begun)
	}
	backoff := at.backoff
	unlock := func() {}
	for restarts := at.restarts; ; restarts++ {
		l, life := at.live, at.life
		at.live = nil
		if l == nil {
			var err error
			l, life, err = m.start(restarts)
			unlock()
			if err != nil && restarts == 0 {
				started(err)
				return life, l, err
			}
			if err == nil {
				m.setLive(l)
				started(nil)
				if restarts == 0 {
					m.keep()
					m.heedTermination()
				}
				started = func(error) {}
				m.leanLater(l, life, restarts, backoff)
			}
		}
		if life.FinishedAt.IsZero() {
			var err error
			if life, err = m.stand(l, life); err != nil {
				return life, l, err
			}
		}
		again, err := m.shouldRestart(life, restarts)
		if err != nil || !again {
			return life, l, err
		}
		if l != nil {
			l.close()
		}
		if err := m.e.releaseRun(m.d.ID, m.d.Name); err != nil {
			return life, nil, err
		}
		if !m.pauseBeforeRestart(backoff.next(life)) {
			return life, nil, nil
		}
		var wanted bool
		if unlock, wanted = m.lockForRestart(); !wanted {
			return life, nil, nil
		}
	}
}

// start is one start.
func (m *monitor) start(restarts int) (*live, Life, error) {
	before, err := m.e.readLife(m.d.ID)
	if err != nil {
		return nil, before, exitWith(125, err)
	}
	life := Life{StartedAt: now(), RestartCount: restarts}
	if restarts > 0 { // it may have been changed since
		if err := m.e.readConfig(); err != nil {
			m.complain(err)
		}
	}
	if err := m.e.writeLife(m.d.ID, life); err != nil {
		return nil, life, exitWith(125, err)
	}
	if m.d.Options.Health != nil {
		m.writeHealth(&Health{Status: "starting"}) // nobody is to see what was found of the run before
	}
	l, err := m.e.bringUp(context.Background(), m.d, m.hub)
	if err != nil {
		err = startError(err)
		return l, m.failed(life, before, err), err
	}
	m.e.startEvents(m.d, m.hub.attached())
	return l, life, nil
}

// stand waits beside the running container until it has ended.
func (m *monitor) stand(l *live, life Life) (Life, error) {
	endHealth := m.startHealth(l, life.StartedAt)
	exit, err := l.wait()
	endHealth()
	m.setLive(nil)
	return m.ended(life, exit, err)
}

// keep puts the definition on the disk beside whatever else happens.
func (m *monitor) keep() {
	d := m.d
	go func() {
		if err := m.e.keepDefinition(d); err != nil && !errors.Is(err, os.ErrNotExist) { // removed meanwhile
			m.complain(err)
		}
	}()
}

func (m *monitor) setLive(l *live) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live = l
}

// finish releases everything, in the monitor's own process, and then lets the lock go.
func (m *monitor) finish(l *live, life Life) error {
	err := m.e.releaseClaims(m.d)
	m.hub.end(life)
	if l != nil {
		l.close()
	}
	err = errors.Join(err, m.e.releaseKernel(m.d.ID, m.d.Name))
	if m.d.Options.AutoRemove {
		m.closeLog()
		err = errors.Join(err, m.e.forget(m.d))
	}
	if err != nil && !m.d.Options.AutoRemove {
		m.complain(err)
	}
	m.close()
	return err
}

// MonitorMain is `mydocker monitor`: it takes its orders and runs until its container has ended. watcher makes the watcher of
// a monitor whose command is watched: from the socket that the command's watcher gave (plan.Remote), or, where that is nil, one that
// writes to stderr, which the two share.
//
//	mydocker monitor         start a container and stand over it
//	mydocker monitor ID FD   go on with one that a former self has started (lean.go)
func MonitorMain(args []string, watcher func(remote *os.File) (plan.Watcher, error)) int {
	if len(args) == 2 {
		return resumeMain(args[1])
	}
	o, tell, ok := takeOrders()
	if !ok {
		return 125
	}
	e, err := o.open(watcher)
	if err != nil {
		tell(err)
		return 125
	}
	if o.Adopt {
		if err := e.adoptContainer(o.ID, tell); err != nil {
			return 1
		}
		return 0
	}
	client, err := o.client()
	if err != nil {
		tell(err)
		return 125
	}
	if err := e.monitorContainer(o.ID, client, tell); err != nil {
		return 1
	}
	return 0
}

func (e *Engine) monitorContainer(id string, patient net.Conn, tell func(error)) error {
	d, err := e.readDefinition(id)
	if err != nil {
		tell(err)
		return err
	}
	m, err := e.newMonitor(d)
	if errors.Is(err, errRuns) && patient == nil {
		tell(nil) // that is what was asked for
		return nil
	}
	if err != nil {
		tell(exitWith(125, err))
		return err
	}
	if patient != nil {
		m.hub.add(patient, !d.Options.TTY)
	}
	life, l, err := m.run(nil, func(err error) {
		if err == nil {
			tell(nil)
			leaveStderr()
		}
	})
	// An error of the start is told after everything has been undone: then the user can try again at once.
	finishErr := m.finish(l, life)
	tell(err)
	return errors.Join(err, finishErr)
}
