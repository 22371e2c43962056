package engine

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// AttachOptions are how `attach` stands beside a running container.
type AttachOptions struct {
	DetachKeys string
	NoStdin    bool
	NoSigProxy bool
}

// Attach connects the caller's streams to those of a running container, until the container ends or the detach keys are
// typed.
func (e *Engine) Attach(ctx context.Context, ref string, o AttachOptions, s Streams) (int, error) {
	d, err := e.Find(ref)
	if err != nil {
		return 1, err
	}
	e.lookAfter(d)
	switch st, err := e.status(d); {
	case err != nil:
		return 1, err
	case st.Paused:
		return 1, fmt.Errorf("you cannot attach to a paused container, unpause it first (mydocker unpause %s)", d.Name)
	case !st.Running:
		return 1, fmt.Errorf("you cannot attach to a stopped container, start it first (mydocker start %s)", d.Name)
	}
	conn, err := e.dialMonitor(d)
	if err != nil {
		return 1, err
	}
	defer conn.Close()
	e.containerEvent(d, "attach")
	opts := attachOptions{in: d.Options.OpenStdin && !o.NoStdin, tty: d.Options.TTY, keys: o.DetachKeys, noProxy: o.NoSigProxy}
	if opts.tty {
		sendSize(&frameWriter{w: conn}, s.In)
	}
	return e.stand(ctx, d, conn, opts, s)
}

func (e *Engine) dialMonitor(d *Definition) (net.Conn, error) {
	path, done, err := shortPath(e.monitorDir(d.ID), "attach.sock")
	if err == nil {
		defer done()
		var conn net.Conn
		if conn, err = net.Dial("unix", path); err == nil {
			return conn, nil
		}
	}
	return nil, fmt.Errorf("the monitor of container %s does not answer: %w (if the container should go on without it, leave it; else: mydocker restart %s)", d.Name, err, d.Name)
}

// shortPath is a path to a file in dir that is short enough for a socket address, good until done is called.
func shortPath(dir, name string) (path string, done func(), err error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return filepath.Join("/proc/self/fd", fmt.Sprint(fd), name), func() { unix.Close(fd) }, nil
}

type attachOptions struct {
	in, tty bool
	keys    string
	noProxy bool
}

// errDetached says that the user typed the detach keys: the container goes on, the command ends well.
var errDetached = errors.New("detached")

// stand is the client's half: it passes streams, signals and the terminal's size until it is told the exit status.
func (e *Engine) stand(ctx context.Context, d *Definition, conn net.Conn, o attachOptions, s Streams) (int, error) {
	w := &frameWriter{w: conn}
	if o.tty && o.in && s.In != nil && term.IsTerminal(int(s.In.Fd())) {
		old, err := term.MakeRaw(int(s.In.Fd()))
		if err != nil {
			return 125, fmt.Errorf("set the terminal to raw mode: %w", err)
		}
		defer term.Restore(int(s.In.Fd()), old)
	}
	if o.tty {
		defer relaySize(w, s.In)()
	} else if !o.noProxy {
		begin, stop := relaySignals(func(sig unix.Signal) error { return e.signal(d.ID, sig) })
		begin()
		defer stop()
	}
	ended := make(chan error, 2)
	if o.in && s.In != nil {
		keys, err := parseDetachKeys(o.keys, o.tty)
		if err != nil {
			return 125, err
		}
		go func() {
			if err := sendInput(w, s.In, keys); errors.Is(err, errDetached) {
				ended <- err
			}
		}()
	}
	var life Life
	go func() { ended <- receiveOutput(conn, s, &life) }()
	select {
	case err := <-ended:
		switch {
		case errors.Is(err, errDetached):
			e.containerEvent(d, "detach")
			return 0, nil
		case err != nil:
			return 125, fmt.Errorf("the connection to the monitor of container %s broke: %w (mydocker ps tells whether it still runs)", d.Name, err)
		}
		return life.ExitCode, nil
	case <-ctx.Done():
		return 125, ctx.Err()
	}
}

func receiveOutput(conn io.Reader, s Streams, life *Life) error {
	var buf []byte
	for {
		kind, p, grown, err := readFrame(conn, buf)
		if err != nil {
			return err
		}
		buf = grown
		var out *os.File
		switch kind {
		case frameStdout:
			out = s.Out
		case frameStderr:
			out = s.Err
		case frameExit:
			return json.Unmarshal(p, life)
		}
		if out != nil {
			if _, err := out.Write(p); err != nil {
				return err
			}
		}
	}
}

func sendInput(w *frameWriter, in io.Reader, keys *detachKeys) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			out, detached := keys.filter(buf[:n])
			if len(out) > 0 {
				if err := w.frame(frameStdin, out); err != nil {
					return err
				}
			}
			if detached {
				return errDetached
			}
		}
		if err != nil {
			if endErr := w.frame(frameStdinEnd, nil); err == io.EOF {
				err = endErr
			}
			return err
		}
	}
}

// sendSize tells the size of the caller's terminal; a caller without one has nothing to tell.
func sendSize(w *frameWriter, in *os.File) {
	if in == nil {
		return
	}
	size, err := unix.IoctlGetWinsize(int(in.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return
	}
	var p [4]byte
	binary.BigEndian.PutUint16(p[:], size.Row)
	binary.BigEndian.PutUint16(p[2:], size.Col)
	_ = w.frame(frameResize, p[:]) // a broken connection is noticed by the one who reads
}

// relaySize tells each new size of the caller's terminal.
func relaySize(w *frameWriter, in *os.File) (stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGWINCH)
	go func() {
		for range ch {
			sendSize(w, in)
		}
	}()
	return func() { signal.Stop(ch); close(ch) }
}

// detachKeys finds a sequence of bytes in what is typed. A sequence that was begun and not ended is typed after all.
type detachKeys struct {
	seq  []byte
	held int // how many of seq have been typed
}

// parseDetachKeys reads Docker's notation: "ctrl-p,ctrl-q", single letters, ctrl- and one of a-z @ [ \ ] ^ _.
func parseDetachKeys(s string, tty bool) (*detachKeys, error) {
	if s == "" {
		if !tty {
			return &detachKeys{}, nil // bytes from a pipe are data, never keys
		}
		s = "ctrl-p,ctrl-q"
	}
	k := &detachKeys{}
	for _, key := range strings.Split(s, ",") {
		rest, ctrl := strings.CutPrefix(strings.ToLower(key), "ctrl-")
		switch {
		case !ctrl && len(key) == 1:
			k.seq = append(k.seq, key[0])
		case ctrl && len(rest) == 1 && rest[0] >= 'a' && rest[0] <= 'z':
			k.seq = append(k.seq, rest[0]-'a'+1)
		case ctrl && len(rest) == 1 && strings.Contains(`@[\]^_`, rest):
			k.seq = append(k.seq, rest[0]-'@')
		default:
			return nil, fmt.Errorf("invalid detach keys %q: write them like ctrl-p,ctrl-q", s)
		}
	}
	return k, nil
}

func (k *detachKeys) filter(p []byte) (out []byte, detached bool) {
	if len(k.seq) == 0 {
		return p, false
	}
	if k.held == 0 && strings.IndexByte(string(p), k.seq[0]) < 0 {
		return p, false
	}
	for _, c := range p {
		if c == k.seq[k.held] {
			if k.held++; k.held == len(k.seq) {
				return out, true
			}
			continue
		}
		out = append(out, k.seq[:k.held]...)
		k.held = 0
		if c == k.seq[0] {
			k.held = 1
			if len(k.seq) == 1 {
				return out, true
			}
			continue
		}
		out = append(out, c)
	}
	return out, false
}
