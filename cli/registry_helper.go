//go:build registry_helper

package cli

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/cli/remote"
	"github.com/mydocker/mydocker/image"
)

// helper is the program cli/remote/helper, compressed. `make` puts it there. A process that does not need it never reads it
// from the disk.
//
//go:embed registry-helper.gz
var helper string

// atRegistry does one thing at a registry: in a process that is started from memory.
func atRegistry(ctx context.Context, r remote.Request, tell image.Progress) (a remote.Answer, err error) {
	program, err := unpackHelper()
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

// unpackHelper puts the program into a file that is only in memory and has no name.
func unpackHelper() (*os.File, error) {
	fd, err := unix.MemfdCreate("mydocker-registry", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 every such file could be executed
		fd, err = unix.MemfdCreate("mydocker-registry", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "mydocker-registry")
	z, err := gzip.NewReader(strings.NewReader(helper))
	if err == nil {
		_, err = io.Copy(f, z)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	defer f.Close()
	// A file that somebody has open for writing cannot be executed (ETXTBSY): execute it through a descriptor that only reads.
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}
