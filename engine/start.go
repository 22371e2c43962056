package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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
	c      *container.Container
	rootfs *os.File   // the overlay: as long as it is open, the kernel does not unmount and so does not sync
	held   []*os.File // host ports
	dns    io.Closer  // the resolver of user-defined networks
	pumps  chan struct{}
}

func (l *live) close() {
	if l.dns != nil {
		l.dns.Close()
	}
	for _, f := range l.held {
		f.Close()
	}
	if l.rootfs != nil {
		l.rootfs.Close()
	}
}

// bringUp puts the container into the kernel and starts its process. On an error the caller releases: everything that was
// made can be found by the container's id.
//
//	sandbox ──┬── endpoints: address, cable, rules ──────────────┐
//	          └── overlay ── config.json ── init is born, mounts ─┴── go: execve
func (e *Engine) bringUp(ctx context.Context, d *Definition, h *hub) (l *live, err error) {
	l = &live{pumps: make(chan struct{})}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	netns, err := e.sandbox(ctx, d)
	if err != nil {
		return l, err
	}
	if err := e.createNetworkFiles(d); err != nil {
		return l, err
	}
	wired := e.background(func() error { return e.attachAll(ctx, d, netns, l) })
	// Whatever happens below, the wiring has to be over before anything is released.
	defer func() {
		if wireErr := wired(); err == nil {
			err = wireErr
		} else if wireErr != nil && !errors.Is(err, wireErr) {
			err = errors.Join(wireErr, err)
		}
	}()

	if l.rootfs, err = e.mountRootfs(d); err != nil {
		return l, err
	}
	spec, err := e.spec(d, netns, l.rootfs)
	if err != nil {
		return l, err
	}
	if err := e.writeBundle(d, spec); err != nil {
		return l, err
	}
	if err := e.fillVolumes(d, l.rootfs); err != nil {
		return l, err
	}
	io, err := e.openStdio(d)
	if err != nil {
		return l, err
	}
	defer io.closeTheirs()
	l.c, err = e.runtime.Create(ctx, container.CreateOptions{
		ID: d.ID, Bundle: e.Root.Container(d.ID), Spec: spec,
		Rootfs: func() (*os.File, error) { return duplicate(l.rootfs) }, // Create closes it; ours keeps the mount alive
		Stdin:  io.stdin, Stdout: io.stdout, Stderr: io.stderr,
	})
	if err != nil {
		io.closeOurs()
		return l, err
	}
	io.closeTheirs() // or the pumps would never see the end
	if err := wired(); err != nil {
		io.closeOurs()
		return l, err
	}
	l.startPumps(d, h, io)
	if err := l.c.Start(); err != nil {
		return l, err
	}
	return l, nil
}

// background runs f beside the caller; the function that is returned waits for it and gives its result, each time it is
// called. With a watcher there is no "beside": the steps are shown, failed and undone in one order.
func (e *Engine) background(f func() error) func() error {
	if e.Watch != nil {
		err := f()
		return func() error { return err }
	}
	done := make(chan struct{})
	var err error
	go func() { err = f(); close(done) }()
	return func() error { <-done; return err }
}

// sandbox makes the container's network namespace, or finds the one that it shares. "" means the host's.
func (e *Engine) sandbox(ctx context.Context, d *Definition) (string, error) {
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
	if !hasOwnSandbox(mode) {
		return "", nil
	}
	sb, err := e.networks.CreateSandbox(ctx, d.Name, d.ID)
	if err != nil {
		return "", err
	}
	return sb.Path, nil
}

// attachAll wires the container to its networks and then writes the files that need its address.
func (e *Engine) attachAll(ctx context.Context, d *Definition, netns string, l *live) error {
	ports, err := e.portsToPublish(d)
	if err != nil {
		return err
	}
	sb := &network.Sandbox{Name: d.Name, Path: netns}
	var attached []*network.Endpoint
	for _, o := range d.endpoints(ports) {
		ep, err := e.networks.Attach(ctx, sb, o)
		if err != nil {
			return err
		}
		l.held = append(l.held, ep.Hold()...)
		attached = append(attached, ep)
	}
	return e.writeNetworkFiles(d, attached)
}

// portsToPublish adds what -P publishes: every exposed port that is not published by name.
func (e *Engine) portsToPublish(d *Definition) ([]network.PortMapping, error) {
	ports := d.Options.Ports
	if !d.Options.PublishAll {
		return ports, nil
	}
	named := make(map[string]bool)
	for _, p := range ports {
		for i := range max(p.Count, 1) {
			named[fmt.Sprintf("%d/%s", p.ContainerPort+i, p.Proto)] = true
		}
	}
	for _, x := range d.Options.Expose {
		if named[x] {
			continue
		}
		port, err := exposedPort(x)
		if err != nil {
			return nil, err
		}
		ports = append(ports, port...)
	}
	return ports, nil
}

func exposedPort(x string) ([]network.PortMapping, error) {
	ports, err := network.ParsePort(x) // "80/tcp": a container port and a host port of our choice
	if err != nil {
		return nil, fmt.Errorf("exposed port %s: %w", x, err)
	}
	return ports, nil
}

// mountRootfs mounts the image's layers under the container's own, as a mount that stands in no table.
func (e *Engine) mountRootfs(d *Definition) (*os.File, error) {
	store, err := e.images()
	if err != nil {
		return nil, err
	}
	rootfs, err := e.rootfsOf(store, d)
	if err != nil {
		return nil, err
	}
	return rootfs.Mount(e.Watch)
}

// writeBundle writes config.json: from here on everything could be done by any OCI runtime.
func (e *Engine) writeBundle(d *Definition, spec *specs.Spec) error {
	dir := e.Root.Container(d.ID)
	if err := os.MkdirAll(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		return err
	}
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

// startPumps lets the container's output flow. l.pumps is closed when all of it has been passed on.
func (l *live) startPumps(d *Definition, h *hub, s *stdio) {
	if d.Options.TTY {
		console := l.c.Console()
		h.connect(nil, console)
		go func() {
			h.pump("stdout", frameStdout, console)
			h.connect(nil, nil)
			console.Close()
			close(l.pumps)
		}()
		return
	}
	if s.in != nil {
		h.connect(s.in, nil)
	}
	out, errs := s.out, s.err
	both := make(chan struct{}, 2)
	go func() { h.pump("stdout", frameStdout, out); out.Close(); both <- struct{}{} }()
	go func() { h.pump("stderr", frameStderr, errs); errs.Close(); both <- struct{}{} }()
	go func() { <-both; <-both; close(l.pumps) }()
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
