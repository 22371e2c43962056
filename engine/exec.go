package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/state"
)

// Exec runs one more command in a running container and gives its exit status. It needs no monitor: the caller is the parent.
func (e *Engine) Exec(ctx context.Context, ref string, o ExecOptions, s Streams) (int, error) {
	d, err := e.Find(ref)
	if err != nil {
		return 1, err
	}
	if err := e.afterStart(d); err != nil {
		return 1, err
	}
	c, err := e.running(d)
	if err != nil {
		return 1, err
	}
	if c.Status() == container.Paused {
		return 1, fmt.Errorf("container %s is paused, unpause it first (mydocker unpause %s)", d.Name, d.Name)
	}
	p, err := e.execProcess(d, c, o)
	if err != nil {
		return e.execFailure(d, c, exitWith(125, err))
	}
	ex := e.newExec(d, o.Args)
	if o.Detach {
		return e.execDetached(d, c, ex, p)
	}
	if o.TTY {
		code, err := execTerminal(ctx, c, p, o, s)
		if errors.Is(err, errDetached) {
			e.containerEvent(d, "exec_detach", "execID", ex.id)
			return 0, nil
		}
		ex.ended(code)
		return code, err
	}
	opts := container.ExecOptions{Process: p, Stdout: s.Out, Stderr: s.Err}
	if o.Interactive {
		opts.Stdin = s.In
	}
	proc, err := c.Exec(ctx, opts)
	if err != nil {
		return e.execFailure(d, c, err)
	}
	begin, stop := relaySignals(proc.Signal)
	begin()
	defer stop()
	exit, err := proc.Wait()
	ex.ended(exit.Code)
	return exit.Code, err
}

// execRun is one more command in a container, as the events tell of it.
type execRun struct {
	e  *Engine
	d  *Definition
	id string
}

// newExec tells that a command is made and started in a container.
func (e *Engine) newExec(d *Definition, args []string) *execRun {
	x := &execRun{e, d, newID()}
	line := commandLine(args)
	e.Emit(eventOf(d, "exec_create: "+line, "execID", x.id), eventOf(d, "exec_start: "+line, "execID", x.id))
	return x
}

func (x *execRun) ended(code int) {
	x.e.containerEvent(x.d, "exec_die", "execID", x.id, "exitCode", strconv.Itoa(code))
}

// execFailure is startFailure, or that the container has ended meanwhile.
func (e *Engine) execFailure(d *Definition, c *container.Container, err error) (int, error) {
	if down := e.unlessDown(d, c, err); down != err {
		return 1, down
	}
	return startFailure(err)
}

func startFailure(err error) (int, error) {
	err = startError(err)
	return exitCode(err), err
}

// execProcess is the process's part of the container's own config.json, with what the caller wants otherwise.
func (e *Engine) execProcess(d *Definition, c *container.Container, o ExecOptions) (*specs.Process, error) {
	if len(o.Args) == 0 {
		return nil, errors.New("no command given to exec")
	}
	var spec specs.Spec
	if err := state.ReadJSON(e.path(d.ID, "config.json"), &spec); err != nil {
		return nil, err
	}
	p := spec.Process
	p.Args, p.Terminal, p.ConsoleSize = o.Args, o.TTY, nil
	if o.WorkingDir != "" {
		if !path.IsAbs(o.WorkingDir) {
			return nil, fmt.Errorf("the working directory %q is invalid, it has to be an absolute path", o.WorkingDir)
		}
		p.Cwd = o.WorkingDir
	}
	var home []string
	if o.User != "" {
		root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", c.Pid()), unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return nil, fmt.Errorf("look into container %s: %w", d.Name, err)
		}
		defer root.Close()
		who, err := lookupUser(root, o.User, nil)
		if err != nil {
			return nil, err
		}
		p.User, home = who.User, []string{"HOME=" + who.home}
	}
	if o.TTY {
		home = append(home, "TERM=xterm")
	}
	p.Env = mergeEnv(p.Env, home, o.Env)
	if o.Privileged {
		all := container.AllCapabilities()
		p.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
	}
	return p, nil
}

// execTerminal stands between the caller's terminal and the one in the container.
func execTerminal(ctx context.Context, c *container.Container, p *specs.Process, o ExecOptions, s Streams) (int, error) {
	raw := s.In != nil && o.Interactive && term.IsTerminal(int(s.In.Fd()))
	if s.In != nil {
		if size, err := unix.IoctlGetWinsize(int(s.In.Fd()), unix.TIOCGWINSZ); err == nil {
			p.ConsoleSize = &specs.Box{Height: uint(size.Row), Width: uint(size.Col)}
		}
	}
	keys, err := parseDetachKeys(o.DetachKeys, true)
	if err != nil {
		return 125, exitWith(125, err)
	}
	proc, err := c.Exec(ctx, container.ExecOptions{Process: p})
	if err != nil {
		return startFailure(err)
	}
	console := proc.Console()
	defer console.Close()
	if raw {
		old, err := term.MakeRaw(int(s.In.Fd()))
		if err != nil {
			return 125, fmt.Errorf("set the terminal to raw mode: %w", err)
		}
		defer term.Restore(int(s.In.Fd()), old)
	}
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGWINCH)
	defer func() { signal.Stop(ch); close(ch) }()
	go func() {
		for range ch {
			if size, err := unix.IoctlGetWinsize(int(s.In.Fd()), unix.TIOCGWINSZ); err == nil {
				_ = unix.IoctlSetWinsize(int(console.Fd()), unix.TIOCSWINSZ, size) // a dying terminal needs no size
			}
		}
	}()
	detached := make(chan struct{})
	if o.Interactive && s.In != nil {
		go func() {
			if typeInto(console, s.In, keys) {
				close(detached)
			}
		}()
	}
	copied := make(chan struct{})
	go func() {
		_, _ = io.Copy(s.Out, console) // ends with EIO when the last process has closed the terminal
		close(copied)
	}()
	select {
	case <-detached:
		return 0, errDetached
	case <-copied:
	}
	exit, err := proc.Wait()
	return exit.Code, err
}

// typeInto copies what is typed, and says whether the detach keys were.
func typeInto(console io.Writer, in io.Reader, keys *detachKeys) (detached bool) {
	buf := make([]byte, 4096)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			out, detached := keys.filter(buf[:n])
			if _, werr := console.Write(out); werr != nil {
				return false
			}
			if detached {
				return true
			}
		}
		if err != nil {
			return false
		}
	}
}

// detachedExec is what the parent of an `exec -d` is told.
type detachedExec struct {
	ID      string
	Process *specs.Process
}

// execDetached lets a second process of ours be the parent, so that the command has somebody to wait for it.
func (e *Engine) execDetached(d *Definition, c *container.Container, x *execRun, p *specs.Process) (int, error) {
	process, err := json.Marshal(detachedExec{x.id, p})
	if err != nil {
		return 125, exitWith(125, err)
	}
	h, err := e.launch("exec-child")
	if err != nil {
		return 125, exitWith(125, err)
	}
	defer h.dismiss()
	if err := h.send(orders{ID: d.ID, Process: process}); err != nil {
		return 125, exitWith(125, err)
	}
	if err := h.wait(); err != nil {
		if down := e.unlessDown(d, c, err); down != err {
			return 1, down
		}
		return exitCode(err), err
	}
	return 0, nil
}

// ExecChildMain is `mydocker exec-child`: the parent of a command of `exec -d`.
func ExecChildMain() int {
	o, tell, ok := takeOrders()
	var what detachedExec
	if !ok || json.Unmarshal(o.Process, &what) != nil || what.Process == nil {
		tell(errors.New("exec-child: this command is for mydocker itself; use exec -d"))
		return 125
	}
	e, err := Open(Config{Root: o.Config.Root})
	if err != nil {
		tell(err)
		return 125
	}
	c, err := e.runtime.Load(o.ID)
	if err != nil {
		tell(err)
		return 125
	}
	proc, err := c.Exec(context.Background(), container.ExecOptions{Process: what.Process})
	if err != nil {
		tell(startError(err))
		return 125
	}
	tell(nil)
	if console := proc.Console(); console != nil {
		go func() { _, _ = io.Copy(io.Discard, console) }() // somebody has to read, or the command would stall
	}
	settle()
	exit, err := proc.Wait()
	if d, findErr := e.readDefinition(o.ID); findErr == nil { // else it went with the container
		(&execRun{e, d, what.ID}).ended(exit.Code)
	}
	if err != nil {
		return 1
	}
	return exit.Code
}
