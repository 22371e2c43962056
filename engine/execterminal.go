package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/mydocker/mydocker/container"
)

// execTerminal is `exec -t`: it stands between the caller's terminal and the one in the container, which execchild.go makes
// and keeps.
func (e *Engine) execTerminal(d *Definition, c *container.Container, x *execRun, p *specs.Process, o ExecOptions, s Streams) (int, error) {
	keys, err := parseDetachKeys(o.DetachKeys, true)
	if err != nil {
		return 125, exitWith(125, err)
	}
	if s.In != nil {
		if size, err := unix.IoctlGetWinsize(int(s.In.Fd()), unix.TIOCGWINSZ); err == nil {
			p.ConsoleSize = &specs.Box{Height: uint(size.Row), Width: uint(size.Col)}
		}
	}
	conn, theirs, err := socketPair()
	if err != nil {
		return 125, exitWith(125, err)
	}
	defer conn.Close()
	code, err := e.execChild(d, c, x, p, theirs)
	theirs.Close()
	if err != nil {
		return code, err
	}
	console, err := receiveFile(conn.(*net.UnixConn), "console")
	if err != nil {
		return 125, exitWith(125, fmt.Errorf("take over the command's terminal: %w", err))
	}
	defer console.Close()
	if s.In != nil && o.Interactive && term.IsTerminal(int(s.In.Fd())) {
		old, err := term.MakeRaw(int(s.In.Fd()))
		if err != nil {
			return 125, fmt.Errorf("set the terminal to raw mode: %w", err)
		}
		defer term.Restore(int(s.In.Fd()), old)
	}
	defer followSize(console, s.In)()
	if !o.Interactive {
		s.In = nil
	}
	if useTerminal(console, s, keys) {
		_, err := conn.Write([]byte{detachByte})
		e.containerEvent(d, "exec_detach", "execID", x.id)
		return 0, err
	}
	var exit childExit
	if err := json.NewDecoder(conn).Decode(&exit); err != nil {
		return 125, exitWith(125, fmt.Errorf("the process that waits for the command has gone: %w", err))
	}
	if exit.Error != "" {
		return exit.Code, errors.New(exit.Error)
	}
	return exit.Code, nil
}

// useTerminal copies what is typed and what is shown, until the last process has closed the terminal or the detach keys are typed.
func useTerminal(console *os.File, s Streams, keys *detachKeys) (detached bool) {
	leave, copied := make(chan struct{}), make(chan struct{})
	if s.In != nil {
		go func() {
			if typeInto(console, s.In, keys) {
				close(leave)
			}
		}()
	}
	go func() {
		_, _ = io.Copy(s.Out, console) // ends with EIO when the last process has closed the terminal
		close(copied)
	}()
	select {
	case <-leave:
		return true
	case <-copied:
		return false
	}
}

// followSize gives a terminal each new size of the caller's.
func followSize(console, in *os.File) (stop func()) {
	if in == nil {
		return func() {}
	}
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGWINCH)
	go func() {
		for range ch {
			if size, err := unix.IoctlGetWinsize(int(in.Fd()), unix.TIOCGWINSZ); err == nil {
				_ = unix.IoctlSetWinsize(int(console.Fd()), unix.TIOCSWINSZ, size) // a dying terminal needs no size
			}
		}
	}()
	return func() { signal.Stop(ch); close(ch) }
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
