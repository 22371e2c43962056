package container

import (
	"context"
	"errors"
	"os"
)

type initProcess struct{ started bool }

func (r *Runtime) create(ctx context.Context, o CreateOptions) (*Container, error) {
	return nil, errors.ErrUnsupported
}
func (c *Container) exec(ctx context.Context, o ExecOptions) (*ExecProcess, error) {
	return nil, errors.ErrUnsupported
}

// Create brings a container up to its start barrier.
func (r *Runtime) Create(ctx context.Context, o CreateOptions) (*Container, error) {
	return r.create(ctx, o)
}

// Start lets init execute the command.
func (c *Container) Start() error { return errors.ErrUnsupported }

// Wait waits for the container's first process. Only the process that created the container can.
func (c *Container) Wait() (Exit, error) { return Exit{}, errors.ErrUnsupported }

// ExecProcess is a process started by Exec.
type ExecProcess struct {
	pid     int
	console *os.File
}

// Pid is the process as the host sees it.
func (p *ExecProcess) Pid() int { return p.pid }

// Console is the master side of its terminal, if it has one and no ConsoleSocket was named.
func (p *ExecProcess) Console() *os.File { return p.console }

// Wait waits for it to end.
func (p *ExecProcess) Wait() (Exit, error) { return Exit{}, errors.ErrUnsupported }
