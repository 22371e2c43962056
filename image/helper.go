//go:build registry_helper

package image

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// helper is the program cli/remote/helper, compressed. `make` puts it there. A process that does not need it never reads it
// from the disk.
//
//go:embed registry-helper.gz
var helper string

// Helper puts the program with the seldom used parts (HTTP, the decoders of bzip2, xz and zstd) into a file that is only in
// memory and has no name. Linked in, they would cost every process of a `run` a millisecond at its start.
func Helper() (*os.File, error) {
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

// decoder unpacks, in a process of its own, what is packed by another method than gzip: like `zstd -dc`.
func decoder(kind compression, r io.Reader) (io.ReadCloser, error) {
	program, err := Helper()
	if err != nil {
		return nil, fmt.Errorf("start the part that unpacks: %w", err)
	}
	defer program.Close()
	d := &decoding{in: &lastError{r: r}}
	d.cmd = exec.Command(fmt.Sprintf("/proc/self/fd/%d", program.Fd()))
	d.cmd.Args = []string{"mydocker", "decompress"}
	d.cmd.Stdin, d.cmd.Stderr = d.in, &d.said
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if d.out, err = d.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the part that unpacks: %w", err)
	}
	d.wait = sync.OnceValue(d.cmd.Wait)
	return d, nil
}

// decoding is a process that unpacks.
type decoding struct {
	cmd  *exec.Cmd
	in   *lastError
	out  io.ReadCloser
	said bytes.Buffer
	wait func() error // also waits until nothing reads the packed stream any more
}

// Read ends as the packed stream does: with its own error, or with what the process said of it.
func (d *decoding) Read(p []byte) (int, error) {
	n, err := d.out.Read(p)
	if n > 0 || err == nil {
		return n, nil
	}
	failed := d.wait()
	switch {
	case d.in.err != nil:
		return 0, d.in.err
	case !errors.Is(err, io.EOF):
		return 0, err
	case d.said.Len() > 0:
		return 0, errors.New(strings.TrimSpace(d.said.String()))
	case failed != nil:
		return 0, fmt.Errorf("the part that unpacks ended before it was done: %w", failed)
	}
	return 0, io.EOF
}

func (d *decoding) Close() error {
	_ = d.cmd.Process.Kill() // it may have ended by itself
	_ = d.wait()             // how it ends is of no interest any more
	return nil
}

// lastError remembers why a stream ended.
type lastError struct {
	r   io.Reader
	err error
}

func (l *lastError) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = err
	}
	return n, err
}
