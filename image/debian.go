package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootstrapDebian makes a minimal Debian. mmdebstrap is preferred: it is three times as fast and writes an archive.
func (s *Store) bootstrapDebian(ctx context.Context, o BootstrapOptions) (*Image, error) {
	if o.Suite == "" {
		o.Suite = "stable"
	}
	if strings.HasPrefix(o.Suite, "-") || strings.HasPrefix(o.Mirror, "-") {
		return nil, fmt.Errorf("bootstrap: %q and %q are no suite and mirror of Debian", o.Suite, o.Mirror)
	}
	name := o.Reference
	if name == "" {
		name = "debian:" + o.Suite
	}
	if _, err := ParseReference(name); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	platform := hostPlatform()
	config := Config{Created: &now, OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant,
		Config:  ContainerConfig{Cmd: []string{"bash"}, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}},
		History: []History{{Created: &now, CreatedBy: "mydocker image bootstrap --from debian", Comment: "Debian " + o.Suite}},
	}
	for _, tool := range []struct {
		name string
		make func(context.Context, BootstrapOptions, io.Writer) error
	}{{"mmdebstrap", mmdebstrap}, {"debootstrap", s.debootstrap}} {
		if _, err := exec.LookPath(tool.name); err != nil {
			continue
		}
		img, err := s.importFrom(ctx, func(w io.Writer) error { return tool.make(ctx, o, w) }, config, name)
		if err != nil {
			return nil, fmt.Errorf("bootstrap: %w", err)
		}
		return img, nil
	}
	return nil, errors.New("bootstrap: neither mmdebstrap nor debootstrap is installed; apt-get install mmdebstrap")
}

// importFrom imports what a function writes. The function's error counts for more than what it does to the archive.
func (s *Store) importFrom(ctx context.Context, write func(io.Writer) error, config Config, name string) (*Image, error) {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := write(w)
		w.CloseWithError(err)
		done <- err
	}()
	img, err := s.importLayer(ctx, r, config, name)
	r.CloseWithError(errors.New("nobody reads any more"))
	if writeErr := <-done; writeErr != nil && err != nil {
		return nil, writeErr
	}
	return img, err
}

// mmdebstrap equals: mmdebstrap --variant=minbase SUITE - [MIRROR]
func mmdebstrap(ctx context.Context, o BootstrapOptions, w io.Writer) error {
	args := []string{"--variant=minbase", "--format=tar", o.Suite, "-"}
	if o.Mirror != "" {
		args = append(args, o.Mirror)
	}
	return runTool(ctx, o, w, "mmdebstrap", args...)
}

// debootstrap equals: debootstrap --variant=minbase SUITE DIR [MIRROR]; tar -C DIR -c .
func (s *Store) debootstrap(ctx context.Context, o BootstrapOptions, w io.Writer) (err error) {
	held, err := s.hold() // nobody collects what is in no record yet; after a crash somebody does
	if err != nil {
		return err
	}
	defer held.Release()
	if err := errors.Join(s.EnsureChecked(), s.makeLayout()); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.layers(), "new-debootstrap-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	root := filepath.Join(dir, "root")
	args := []string{"--variant=minbase", o.Suite, root}
	if o.Mirror != "" {
		args = append(args, o.Mirror)
	}
	if err := runTool(ctx, o, io.Discard, "debootstrap", args...); err != nil {
		return err
	}
	fd, err := openDirectory(root)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	t := newTreeWriter(ctx, w)
	if err := t.writeTree(fd, ""); err != nil {
		return err
	}
	return t.tar.Close()
}

func runTool(ctx context.Context, o BootstrapOptions, out io.Writer, name string, args ...string) error {
	var said bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Stdout, c.Stderr = out, &said
	if o.Log != nil {
		c.Stderr = io.MultiWriter(o.Log, &said)
	}
	// Its own mounts must not outlive it on the host.
	c.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, complaint(said.String()))
	}
	return nil
}

// complaint is the line that tells what went wrong: the first with an E: in front, as Debian's tools write it, else the last.
func complaint(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	for _, line := range lines {
		if text, ok := strings.CutPrefix(line, "E: "); ok {
			return text
		}
	}
	return lines[len(lines)-1]
}
