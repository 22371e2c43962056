package container

import (
	"context"
	"errors"
	"os"
)

func (c *Container) exec(ctx context.Context, o ExecOptions) (*ExecProcess, error) {
	return nil, errors.ErrUnsupported
}

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
