package sandbox

import (
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// terminal is a pseudo terminal (pty(7)) between the user's and a command in the sandbox: a session can have a terminal only
// for itself, and the user's belongs to the user's shell.
type terminal struct {
	in, out      *os.File
	outer, inner *os.File
	old          *term.State
	resized      chan os.Signal
	drained      chan struct{}
}

// openTerminal makes one among those of the sandbox, so that its programs find it under the name that they are told. dev is the
// sandbox's /dev/pts.
func openTerminal(dev string, in, out *os.File) (*terminal, error) {
	outer, err := os.OpenFile(dev+"/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a terminal: %w", err)
	}
	t := &terminal{in: in, out: out, outer: outer, resized: make(chan os.Signal, 1), drained: make(chan struct{})}
	fd := int(outer.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("unlock the terminal: %w", err)
	}
	peer, err := openPeer(dev, fd)
	if err != nil {
		return nil, fmt.Errorf("open the terminal: %w", err)
	}
	t.inner = os.NewFile(uintptr(peer), "terminal")
	t.resize()
	return t, nil
}

// openPeer opens the inner end by its number.
func openPeer(dev string, fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return -1, err
	}
	return unix.Open(fmt.Sprintf("%s/%d", dev, n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
}

// start hands keys in and output out, and sizes when the window changes.
func (t *terminal) start() {
	t.inner.Close() // the command has it: when it has ended, so has the output
	if old, err := term.MakeRaw(int(t.in.Fd())); err == nil {
		t.old = old
	}
	signal.Notify(t.resized, unix.SIGWINCH)
	go func() {
		for range t.resized {
			t.resize()
		}
	}()
	go func() { _, _ = io.Copy(t.outer, t.in) }() // ends with the process
	go func() {
		_, _ = io.Copy(t.out, t.outer) // EIO is how a terminal says end
		close(t.drained)
	}()
}

func (t *terminal) resize() {
	if size, err := unix.IoctlGetWinsize(int(t.out.Fd()), unix.TIOCGWINSZ); err == nil {
		_ = unix.IoctlSetWinsize(int(t.outer.Fd()), unix.TIOCSWINSZ, size)
	}
}

// close waits for the last output, and gives the user's terminal back as it was.
func (t *terminal) close() {
	if t.old != nil {
		<-t.drained
		_ = term.Restore(int(t.in.Fd()), t.old)
	}
	signal.Stop(t.resized)
	t.outer.Close()
}
