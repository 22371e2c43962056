package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/state"
)

// Exec runs one more command in a running container and gives its exit status. It needs no monitor: the caller is the parent, or,
// where the command may go on without the caller, a process made for it (execchild.go).
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
	if paused, err := e.paused(d, c); err != nil {
		return 1, err
	} else if paused {
		return 1, fmt.Errorf("container %s is paused, unpause it first (mydocker unpause %s)", d.Name, d.Name)
	}
	p, err := e.execProcess(d, c, o)
	if err != nil {
		return e.execFailure(d, c, err)
	}
	ex := e.newExec(d, o.Args)
	if o.Detach {
		return e.execChild(d, c, ex, p, nil)
	}
	if o.TTY {
		return e.execTerminal(d, c, ex, p, o, s)
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

// paused says whether a user has paused the container. One that is paused for a commit goes on when the commit is done.
func (e *Engine) paused(d *Definition, c *container.Container) (bool, error) {
	if c.Status() != container.Paused {
		return false, nil
	}
	if err := e.afterStart(d); err != nil {
		return false, err
	}
	return c.Status() == container.Paused, nil
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

// execFailure says with which exit status an exec ends that has not begun, and why: that the container has ended meanwhile, or as
// execError says.
func (e *Engine) execFailure(d *Definition, c *container.Container, err error) (int, error) {
	if down := e.unlessDown(d, c, err); down != err {
		return 1, down
	}
	err = execError(err)
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
