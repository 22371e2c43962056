package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// live is what the monitor of a running container holds. All of it is a descriptor or a child: it goes when the monitor
// goes, and what stays in the kernel is found again by name.
type live struct {
	c        *container.Container
	rootfs   *os.File             // the overlay: as long as it is open, the kernel does not unmount and so does not sync
	held     []network.HostSocket // host ports
	proxies  *proxies             // what serves some of them
	dns      io.Closer            // the resolver of user-defined networks
	upstream []netip.Addr         // whom it asks
	streams  *stdio               // our ends
	pumps    chan struct{}        // closed when no pump runs any more
	flowing  []*os.File           // what the pumps read, or have read
}

func (l *live) close() {
	if l.dns != nil {
		l.dns.Close()
	}
	l.proxies.Close()
	for _, s := range l.held {
		s.File.Close()
	}
	if l.rootfs != nil {
		l.rootfs.Close()
	}
}

// bringUp puts the container into the kernel and starts its process. On an error the caller releases: everything that was
// made can be found by the container's id.
//
//	sandbox ────┬── endpoints: address, cable, rules ────────┐
//	overlay ────┴─┬── init is born, mounts, stands ready ────┴── go: execve
//	              └── config.json
func (e *Engine) bringUp(ctx context.Context, d *Definition, h *hub) (l *live, err error) {
	l = &live{}
	beside := &beside{watched: e.Watch != nil}
	defer func() {
		// Whatever happened, the rest has to be over before anything is released.
		if err = beside.join(err); err != nil {
			l.close()
		}
	}()
	if err := e.createNetworkFiles(d); err != nil {
		return l, err
	}
	users, err := e.remap(d)
	if err != nil {
		return l, err
	}
	defer users.release()
	var netns string
	sandboxed := beside.run(func() (err error) { netns, err = e.sandbox(ctx, d, users); return err })
	wired := beside.run(func() error {
		if sandboxed() != nil {
			return nil // told by the other
		}
		return e.attachAll(ctx, d, netns, l)
	})
	if err := beside.failed; err != nil {
		return l, err // with a watcher: nothing more is shown, and done, than what came before the failure
	}
	if err := e.mountVolumes(d); err != nil {
		return l, err
	}
	if l.rootfs, err = e.mountRootfs(d, users); err != nil {
		return l, err
	}
	spec, err := e.spec(d, l.rootfs)
	if err != nil {
		return l, err
	}
	users.apply(spec, filepath.Dir(filepath.Dir(e.Root.Container(d.ID)))+"/", !hasOwnSandbox(d.Options.Network))
	if err := e.fillVolumes(d, l.rootfs, users); err != nil {
		return l, err
	}
	written := beside.run(func() error { return e.writeBundle(d, spec) })
	if err := sandboxed(); err != nil {
		return l, err
	}
	io, err := e.openStdio(d)
	if err != nil {
		return l, err
	}
	defer io.closeTheirs()
	if l.c, err = e.createProcess(ctx, d, spec, l, io, users); err == nil {
		err = errors.Join(wired(), written())
	}
	if err != nil {
		io.closeOurs()
		return l, err
	}
	l.streams = io
	l.resumePumps(d, h)
	return l, l.c.Start()
}

func (e *Engine) createProcess(ctx context.Context, d *Definition, spec *specs.Spec, l *live, io *stdio, users *remapped) (*container.Container, error) {
	defer io.closeTheirs() // or the pumps would never see the end
	sources, err := e.openSubpaths(d)
	if err != nil {
		return nil, err
	}
	defer closeValues(sources)
	return e.runtime.Create(ctx, container.CreateOptions{
		ID: d.ID, Bundle: e.Root.Container(d.ID), Spec: spec, Sources: sources,
		Rootfs: func() (*os.File, error) { return duplicate(l.rootfs) }, // Create closes it; ours keeps the mount alive
		Stdin:  io.stdin, Stdout: io.stdout, Stderr: io.stderr,
		UserNS: users.path("user"),
	})
}

// beside runs steps beside the caller. With a watcher there is no "beside": the steps are shown, failed and undone in one
// order.
type beside struct {
	watched bool
	failed  error // with a watcher: the first step that failed
	waits   []func() error
}

// run starts f. The function that is returned waits for it and gives its result, each time it is called.
func (b *beside) run(f func() error) (wait func() error) {
	done := make(chan struct{})
	var err error
	work := func() { defer close(done); err = f() }
	if b.watched {
		work()
		if b.failed == nil {
			b.failed = err
		}
	} else {
		go work()
	}
	wait = func() error { <-done; return err }
	b.waits = append(b.waits, wait)
	return wait
}

// join waits for all steps and adds what went wrong there to err.
func (b *beside) join(err error) error {
	all := []error{err}
	for _, wait := range b.waits {
		// Two that have come upon the same say it in the same words.
		if stepErr := wait(); stepErr != nil && (err == nil || !errors.Is(err, stepErr) && err.Error() != stepErr.Error()) {
			all = append(all, stepErr)
		}
	}
	return errors.Join(all...)
}

// sandbox makes the container's network namespace, if it is to have one of its own.
func (e *Engine) sandbox(ctx context.Context, d *Definition, users *remapped) (path string, err error) {
	if !hasOwnSandbox(d.Options.Network) {
		return e.netnsPath(d)
	}
	sb, err := e.networks.CreateSandboxOf(ctx, d.Name, d.ID, users.path("net"))
	if err != nil {
		return "", err
	}
	return sb.Path, e.rememberSandbox(d, sb.Path)
}

// netnsPath is where the container's network namespace is pinned, or will be; "" means the host's.
func (e *Engine) netnsPath(d *Definition) (string, error) {
	mode := d.Options.Network
	if ref, ok := strings.CutPrefix(mode, modeContainer); ok {
		c, err := e.runtime.Load(ref)
		if err != nil || c.Status() != container.Running {
			return "", fmt.Errorf("cannot join the network of container %s, it is not running (mydocker start %s)", ShortID(ref), ShortID(ref))
		}
		return fmt.Sprintf("/proc/%d/ns/net", c.Pid()), nil
	}
	if p, ok := strings.CutPrefix(mode, modePath); ok {
		return p, nil
	}
	if mode == modeHost {
		return "", nil
	}
	return filepath.Join(e.Root.NetNS, d.Name), nil
}

// attachAll wires the container to its networks and then writes the files that need its address.
func (e *Engine) attachAll(ctx context.Context, d *Definition, netns string, l *live) error {
	ports, err := e.portsToPublish(d)
	if err != nil {
		return err
	}
	sb := &network.Sandbox{Name: d.Name, Path: netns}
	var attached []*network.Endpoint
	for _, o := range e.endpoints(d, ports) {
		ep, err := e.attach(ctx, sb, o)
		if err != nil {
			return err
		}
		l.held = append(l.held, ep.Hold()...)
		attached = append(attached, ep)
	}
	if l.proxies, err = startProxies(e.Watch, l.held); err != nil {
		return err
	}
	return e.networkReady(ctx, d, attached, l)
}

// mountRootfs mounts the image's layers under the container's own, as a mount that stands in no table.
func (e *Engine) mountRootfs(d *Definition, users *remapped) (*os.File, error) {
	store, err := e.images()
	if err != nil {
		return nil, err
	}
	rootfs, err := e.rootfsOf(store, d)
	if err != nil {
		return nil, err
	}
	if rootfs.UserNS, err = users.open(); err != nil {
		return nil, err
	}
	if rootfs.UserNS != nil {
		defer rootfs.UserNS.Close()
	}
	return rootfs.Mount(e.Watch)
}

// writeBundle writes config.json: from here on everything could be done by any OCI runtime.
func (e *Engine) writeBundle(d *Definition, spec *specs.Spec) error {
	dir := e.Root.Container(d.ID)
	op := plan.Step{Cmd: "# write " + filepath.Join(dir, "config.json"), Reason: "the OCI bundle: all that the runtime needs to know"}
	return plan.Do(e.Watch, op, func() error {
		return state.ReplaceJSON(filepath.Join(dir, "config.json"), spec, state.Volatile)
	})
}

// stdio is the container's standard streams: their ends and ours.
type stdio struct {
	stdin, stdout, stderr *os.File // the container's
	in, out, err          *os.File // ours
}

// openStdio makes pipes, except for a terminal: that one is made by the runtime inside the container's own devpts.
func (e *Engine) openStdio(d *Definition) (io *stdio, err error) {
	io = new(stdio)
	if d.Options.TTY {
		return io, nil
	}
	defer func() {
		if err != nil {
			io.closeTheirs()
			io.closeOurs()
		}
	}()
	if d.Options.OpenStdin {
		io.stdin, io.in, err = os.Pipe()
	} else {
		io.stdin, err = os.Open(os.DevNull)
	}
	if err != nil {
		return io, err
	}
	if io.out, io.stdout, err = os.Pipe(); err != nil {
		return io, err
	}
	if io.err, io.stderr, err = os.Pipe(); err != nil {
		return io, err
	}
	return io, nil
}

func closeAll(files ...**os.File) {
	for _, f := range files {
		if *f != nil {
			(*f).Close()
			*f = nil
		}
	}
}

func (s *stdio) closeTheirs() { closeAll(&s.stdin, &s.stdout, &s.stderr) }
func (s *stdio) closeOurs()   { closeAll(&s.in, &s.out, &s.err) }

// resumePumps lets the container's output flow, from the start or after a pause.
func (l *live) resumePumps(d *Definition, h *hub) {
	l.pumps, l.flowing = make(chan struct{}), nil
	if d.Options.TTY {
		console := l.c.Console()
		h.connect(nil, console)
		go func() {
			defer close(l.pumps)
			h.pump("stdout", frameStdout, console)
			h.connect(nil, nil)
			console.Close()
		}()
		return
	}
	s := l.streams
	var stdin io.WriteCloser // not s.in itself: a nil *os.File would be no nil interface
	if s.in != nil {
		stdin = s.in
	}
	h.connect(stdin, nil)
	var both sync.WaitGroup
	flow := func(stream string, kind byte, f **os.File) {
		defer both.Done()
		if paused := h.pump(stream, kind, *f); !paused {
			closeAll(f)
		}
	}
	for _, p := range []struct {
		stream string
		kind   byte
		f      **os.File
	}{{"stdout", frameStdout, &s.out}, {"stderr", frameStderr, &s.err}} {
		if *p.f != nil { // else it has ended already
			l.flowing = append(l.flowing, *p.f)
			both.Add(1)
			go flow(p.stream, p.kind, p.f)
		}
	}
	done := l.pumps
	go func() { both.Wait(); close(done) }()
}

// pausePumps stops the flow between two reads, so that nothing is lost. Afterwards the streams that have ended are nil.
func (l *live) pausePumps() {
	for _, f := range l.flowing {
		_ = f.SetReadDeadline(time.Unix(1, 0)) // one that has ended meanwhile needs no deadline
	}
	<-l.pumps
	for _, f := range l.flowing {
		_ = f.SetReadDeadline(time.Time{})
	}
}

// wait returns when the container's first process has ended and its output is passed on.
func (l *live) wait() (container.Exit, error) {
	exit, err := l.c.Wait()
	// The death of the first process takes the whole pid namespace with it, so the pipes end now; unless one of them was
	// carried out of the container, say by an `exec`.
	select {
	case <-l.pumps:
	case <-time.After(2 * time.Second):
	}
	return exit, err
}

// now is the wall clock; UTC, as in Docker's records.
func now() time.Time { return time.Now().UTC() }

// timeFormat is how Docker writes a time in JSON.
const timeFormat = time.RFC3339Nano
