package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// Run is `create` and `start -a` in one: it stays until the container ends, and gives its exit status.
func (e *Engine) Run(ctx context.Context, o RunOptions, s Streams) (code int, err error) {
	busy, err := e.beginCreating()
	if err != nil {
		return 125, exitWith(125, err)
	}
	defer busy()
	d, warnings, err := e.create(ctx, o.CreateOptions, true)
	if err != nil {
		return exitCode(err), err
	}
	defer d.unlock()
	for _, w := range warnings {
		if e.Warn != nil {
			e.Warn(w)
		}
	}
	if o.NoSigProxy || e.needsMonitorProcess(d) {
		begun := func() { busy(); d.unlock() }
		code, err = e.startAttached(ctx, d, attachOptions{in: o.OpenStdin, keys: o.DetachKeys, noProxy: o.NoSigProxy}, s, begun)
	} else {
		code, err = e.runHere(ctx, d, o, s, busy)
	}
	return code, e.forgetFailed(d, err)
}

// forgetFailed leaves nothing of a container that `run` could not start.
func (e *Engine) forgetFailed(d *Definition, err error) error {
	var start *startFailed
	if errors.As(err, &start) {
		if forgetErr := e.forget(d); forgetErr != nil {
			return errors.Join(err, forgetErr)
		}
		if d.Options.CIDFile != "" {
			return errors.Join(err, removeCIDFile(d))
		}
	}
	return err
}

// removeCIDFile removes the file that names the container, if it still does.
func removeCIDFile(d *Definition) error {
	id, err := os.ReadFile(d.Options.CIDFile)
	if err != nil || string(id) != d.ID {
		return nil // somebody else's by now
	}
	return os.Remove(d.Options.CIDFile)
}

// RunDetached is `run -d`: it returns when the container's command has been started.
func (e *Engine) RunDetached(ctx context.Context, o RunOptions) (id string, warnings []string, err error) {
	busy, err := e.beginCreating()
	if err != nil {
		return "", nil, exitWith(125, err)
	}
	defer busy()
	monitor, err := e.launch("monitor")
	if err != nil {
		return "", nil, exitWith(125, err)
	}
	defer monitor.dismiss()
	d, warnings, err := e.create(ctx, o.CreateOptions, true)
	if err != nil {
		return "", warnings, err
	}
	defer d.unlock()
	if err := monitor.startContainer(d); err != nil {
		return "", warnings, e.forgetFailed(d, err)
	}
	return d.ID, warnings, nil
}

// beginCreating holds gc off while there is something that no record owns yet. The function that it returns ends that; it may
// be called more than once.
func (e *Engine) beginCreating() (done func(), err error) {
	l, err := state.AcquireShared(e.Root.Lock("gc"))
	if err != nil {
		return nil, err
	}
	return func() {
		if l != nil {
			l.Release()
			l = nil
		}
	}, nil
}

// needsMonitorProcess says whether the container has to be able to outlive this command: one on a terminal may be detached
// from, one with a restart policy comes back. So does one that is not told of its signals, which end the command (Run).
func (e *Engine) needsMonitorProcess(d *Definition) bool {
	o := &d.Options
	return o.TTY || o.Restart.Name != "" && o.Restart.Name != "no"
}

// lockGC is gc's side of it: it waits until nobody is creating, and nobody creates until done is called.
func (e *Engine) lockGC() (done func() error, err error) {
	l, err := state.AcquireLock(e.Root.Lock("gc"))
	if err != nil {
		return nil, err
	}
	return l.Release, nil
}

// startFailed marks an error after which nothing of the container is in the kernel.
type startFailed struct{ error }

func (s *startFailed) Unwrap() error { return s.error }

// runHere lets this process be the monitor, and leaves the slow half of the release to a reaper.
func (e *Engine) runHere(ctx context.Context, d *Definition, o RunOptions, s Streams, busy func()) (int, error) {
	m, err := e.newMonitor(d)
	if err != nil {
		return 125, &startFailed{exitWith(125, err)}
	}
	busy()
	m.stay = true
	keepFromPipes()
	local := &localClient{out: s.Out, err: s.Err}
	m.hub.local = local
	begin, stop := relaySignals(func(sig unix.Signal) error { return e.signal(d.ID, sig) })
	life, l, err := m.run(nil, func(startErr error) {
		d.unlock()
		if startErr != nil {
			return
		}
		begin()
		if o.OpenStdin && s.In != nil {
			go m.hub.feed(s.In) // not before: the input may hold answers to a watcher's questions, too
		}
	})
	stop()
	if err != nil {
		err = errors.Join(err, m.finishStart(l, life))
		return exitCode(err), &startFailed{err}
	}
	err = m.handOver(l, life)
	if local.failed != nil {
		err = errors.Join(err, exitWith(125, fmt.Errorf("the container's output could not be passed on: %w", local.failed)))
	}
	return life.ExitCode, err
}

// finishStart undoes a start that failed; the definition stays, unless the caller forgets it.
func (m *monitor) finishStart(l *live, life Life) error {
	err := m.e.releaseClaims(m.d)
	m.hub.end(life)
	if l != nil {
		l.close()
	}
	err = errors.Join(err, m.e.releaseKernel(m.d.ID, m.d.Name))
	m.close()
	return err
}

// keepFromPipes lets a write to a pipe that nobody reads be an error, also on standard output, where it would end this process
// (signal(7), SIGPIPE). Not signal.Ignore: what is ignored is inherited by the container.
func keepFromPipes() { signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) }

// handOver gives everything back that the next command may want at once, and leaves the rest to a reaper: a process that
// holds the overlay open (so that the kernel does not sync it while the user waits), the host ports' sockets and the
// monitor's lock.
func (m *monitor) handOver(l *live, life Life) error {
	err := m.e.releaseClaims(m.d)
	m.hub.end(life)
	if m.log != nil {
		err = errors.Join(err, m.log.Close())
		m.log = nil
	}
	if m.d.Options.AutoRemove {
		err = errors.Join(err, m.e.unclaimName(m.d))
	}
	if reapErr := m.e.startReaper(m.d, m.lock.File(), l.rootfs); reapErr != nil {
		// No process to be had: then the user waits.
		return errors.Join(err, m.finish(l, life))
	}
	l.close()
	m.close() // the reaper's descriptors keep the lock and the overlay
	return err
}

// startReaper starts `mydocker reap`. It inherits the lock, so that nobody starts the container again before the reaper is
// done with it.
func (e *Engine) startReaper(d *Definition, lock, rootfs *os.File) error {
	h, err := e.launch("reap", lock, rootfs)
	if err != nil {
		return err
	}
	defer h.dismiss()
	return h.send(orders{ID: d.ID})
}

// ReapMain is `mydocker reap`: the slow half of a foreground container's release.
func ReapMain() int {
	o, _, ok := takeOrders()
	if !ok {
		return 125
	}
	e, err := Open(Config{Root: o.Config.Root, Firewall: o.Config.Firewall})
	if err != nil {
		return 125
	}
	d, err := e.readDefinition(o.ID)
	if err != nil {
		return 1
	}
	err = e.releaseKernel(d.ID, "") // the name may be somebody else's by now; its namespace went with the claims
	unix.Close(reapRootfsFD)        // only now is the overlay unmounted and written out
	if d.Options.AutoRemove {
		err = errors.Join(err, e.forget(d))
	}
	if err != nil {
		return 1 // what is left has a record, and gc finds it
	}
	return 0
}

// reapRootfsFD is the overlay's descriptor in the reaper; the one before it is the lock.
const reapRootfsFD = 5

// startAttached starts a monitor and stands beside it as its first client.
func (e *Engine) startAttached(ctx context.Context, d *Definition, o attachOptions, s Streams, busy func()) (int, error) {
	conn, theirs, err := socketPair()
	if err != nil {
		return 125, exitWith(125, err)
	}
	defer conn.Close()
	if o.tty = d.Options.TTY; o.tty {
		// Before the process starts, so that it finds a terminal of the right size.
		sendSize(&frameWriter{w: conn}, s.In)
	}
	monitor, err := e.launch("monitor", theirs)
	theirs.Close()
	if err == nil {
		err = monitor.startContainer(d)
	}
	busy()
	if err != nil {
		return exitCode(err), err
	}
	return e.stand(ctx, d, conn, o, s)
}

// settle gives memory back that only the start needed: a monitor may stand for years.
func settle() {
	debug.SetGCPercent(20)
	debug.FreeOSMemory()
}

// exitCode is the exit status that an error stands for.
func exitCode(err error) int {
	var exit *ExitError
	if errors.As(err, &exit) {
		return exit.Code
	}
	return 125
}
