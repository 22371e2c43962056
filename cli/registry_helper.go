//go:build registry_helper

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/cli/remote"
	"github.com/mydocker/mydocker/image"
)

// atRegistry does one thing at a registry: in a process that is started from memory.
func atRegistry(ctx context.Context, r remote.Request, tell image.Progress) (a remote.Answer, err error) {
	program, err := image.Helper()
	if err != nil {
		return a, fmt.Errorf("start the part that speaks to registries: %w", err)
	}
	defer program.Close()
	request, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	cmd := exec.CommandContext(ctx, fmt.Sprintf("/proc/self/fd/%d", program.Fd()))
	cmd.Args = []string{"mydocker " + r.Verb}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(request), os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGTERM}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return a, err
	}
	if err := cmd.Start(); err != nil {
		return a, fmt.Errorf("start the part that speaks to registries: %w", err)
	}
	a, err = remote.Read(out, tell)
	if waitErr := cmd.Wait(); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the part that speaks to registries ended before it was done: %w", waitErr)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return a, err
}
