package engine

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A hub stands between one container's standard streams and everybody who is attached to it: the log, the command that
// started it, later `attach`es.
//
//	container --pipe or pty--> pump --> log file
//	                               \--> clients (sockets), the foreground command itself (local)
type hub struct {
	resized        func(unix.Winsize)
	log            *logWriter   // nil for --log-driver none
	networkChanged func() error // does what a frameNetwork asks for

	mu      sync.Mutex // guards the rest
	clients map[*client]struct{}
	local   *localClient
	stdin   io.WriteCloser // the container's stdin; nil without -i
	console *os.File       // the terminal's master; nil without -t
	size    *unix.Winsize  // the last size that a client gave
	ended   bool

	// ready is closed when the container's streams are there for the first time, or will never be: what is typed before
	// that has to wait.
	ready     chan struct{}
	readyOnce sync.Once
}

// localClient is the foreground command that is its own monitor. It is not dropped when it is slow: a pipe such as
// `mydocker run IMAGE cat big | gzip` has to hold the container back, or lose data. When the reader of such a pipe has gone, the
// container is told so as any writer is: its own pipe is closed, too.
type localClient struct {
	out, err io.Writer
	failed   error // why one of them could not be written to, other than for want of a reader
}

func newHub(log *logWriter) *hub {
	return &hub{log: log, clients: make(map[*client]struct{}), ready: make(chan struct{})}
}

// pump copies one of the container's streams until its end, or until a deadline pauses it.
func (h *hub) pump(stream string, kind byte, r io.Reader) (paused bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if h.log != nil {
				h.log.write(stream, buf[:n])
			}
			if unread := h.broadcast(kind, buf[:n]); unread {
				return false
			}
		}
		if err != nil { // EOF; EIO from a pty whose last holder is gone
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
}

// broadcast gives output to all; unread says that the one for whom the container was run reads no more.
func (h *hub) broadcast(kind byte, p []byte) (unread bool) {
	h.mu.Lock()
	local := h.local
	clients := make([]*client, 0, len(h.clients))
	for c := range h.clients {
		clients = append(clients, c)
	}
	h.mu.Unlock()
	if local != nil {
		w := local.out
		if kind == frameStderr {
			w = local.err
		}
		if _, err := w.Write(p); err != nil {
			unread = errors.Is(err, unix.EPIPE) && len(clients) == 0
			h.mu.Lock()
			if !errors.Is(err, unix.EPIPE) {
				local.failed = err
				h.local = nil // the log still goes on
			}
			h.mu.Unlock()
		}
	}
	for _, c := range clients {
		c.send(kind, p)
	}
	return unread
}

// connect wires the streams of a newly started container process; a restart connects again.
func (h *hub) connect(stdin io.WriteCloser, console *os.File) {
	defer h.readyOnce.Do(func() { close(h.ready) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stdin, h.console = stdin, console
	if console != nil {
		h.stdin = console
		if h.size != nil {
			h.resizeLocked(*h.size)
		}
	}
}

func (h *hub) write(p []byte) {
	<-h.ready
	h.mu.Lock()
	w := h.stdin
	h.mu.Unlock()
	if w == nil {
		return
	}
	if _, err := w.Write(p); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		h.closeStdin() // the process has closed its end or is gone
	}
}

// closeStdin tells the container that no more input comes. On a terminal that is the terminal's own business (ctrl-d).
func (h *hub) closeStdin() {
	<-h.ready
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.console == nil && h.stdin != nil {
		h.stdin.Close()
		h.stdin = nil
	}
}

func (h *hub) resize(size unix.Winsize) {
	h.mu.Lock()
	h.size = &size
	h.resizeLocked(size)
	h.mu.Unlock()
	if h.resized != nil {
		h.resized(size)
	}
}

func (h *hub) resizeLocked(size unix.Winsize) {
	if h.console != nil {
		// A terminal that is just dying cannot be resized, and need not be.
		_ = unix.IoctlSetWinsize(int(h.console.Fd()), unix.TIOCSWINSZ, &size)
	}
}

// end tells all clients how it ended and waits, within bounds, until they have been told.
func (h *hub) end(l Life) {
	h.readyOnce.Do(func() { close(h.ready) })
	h.mu.Lock()
	h.ended = true
	clients := h.clients
	h.clients = make(map[*client]struct{})
	h.mu.Unlock()
	data, err := json.Marshal(l)
	if err != nil {
		data = []byte("{}") // a Life has nothing that cannot be encoded
	}
	for c := range clients {
		c.sendLast(frameExit, data)
	}
	deadline := time.After(5 * time.Second)
	for c := range clients {
		select {
		case <-c.gone:
		case <-deadline:
			return
		}
	}
}
