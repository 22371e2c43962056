package engine

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A hub stands between one container's standard streams and everybody who is attached to it: the log, the command that
// started it, later `attach`es.
//
//	container --pipe or pty--> pump --> log file
//	                               \--> clients (sockets), the foreground command itself (local)
type hub struct {
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
// `mydocker run IMAGE cat big | gzip` has to hold the container back, or lose data.
type localClient struct{ out, err io.Writer }

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
			h.broadcast(kind, buf[:n])
		}
		if err != nil { // EOF; EIO from a pty whose last holder is gone
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
}

func (h *hub) broadcast(kind byte, p []byte) {
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
			h.mu.Lock()
			h.local = nil // nobody reads any more: the log still does
			h.mu.Unlock()
		}
	}
	for _, c := range clients {
		c.send(kind, p)
	}
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
	defer h.mu.Unlock()
	h.size = &size
	h.resizeLocked(size)
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
		c.send(frameExit, data)
		close(c.queue)
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

// client is one attached command. Its queue is bounded: who does not read for long is let go, because a container must not
// stall for a dead terminal.
type client struct {
	h     *hub
	conn  net.Conn
	queue chan []byte
	gone  chan struct{} // closed when everything is sent or the client is lost
	// patient clients hold the container back instead of being dropped: the `run` or `start` that began it.
	patient bool
	// quiet clients wait for the end only.
	quiet atomic.Bool
}

const clientPatience = 5 * time.Second

// add takes a new client in and serves it until it goes.
func (h *hub) add(conn net.Conn, patient bool) {
	c := &client{h: h, conn: conn, queue: make(chan []byte, 64), gone: make(chan struct{}), patient: patient}
	h.mu.Lock()
	if h.ended {
		h.mu.Unlock()
		conn.Close()
		return
	}
	h.clients[c] = struct{}{}
	h.mu.Unlock()
	go c.sendLoop()
	go c.receiveLoop()
}

func (c *client) send(kind byte, p []byte) {
	if c.quiet.Load() && (kind == frameStdout || kind == frameStderr) {
		return
	}
	frame := make([]byte, 5+len(p))
	frame[0] = kind
	binary.BigEndian.PutUint32(frame[1:5], uint32(len(p)))
	copy(frame[5:], p)
	select {
	case c.queue <- frame:
		return
	case <-c.gone:
		return
	default:
	}
	if c.patient {
		select {
		case c.queue <- frame:
		case <-c.gone:
		}
		return
	}
	select {
	case c.queue <- frame:
	case <-c.gone:
	case <-time.After(clientPatience):
		c.drop()
	}
}

func (c *client) sendLoop() {
	defer close(c.gone)
	defer c.conn.Close()
	for frame := range c.queue {
		if _, err := c.conn.Write(frame); err != nil {
			c.drop()
			return
		}
	}
}

func (c *client) drop() {
	c.h.mu.Lock()
	delete(c.h.clients, c)
	c.h.mu.Unlock()
	c.conn.Close()
}

func (c *client) receiveLoop() {
	var buf []byte
	for {
		kind, p, grown, err := readFrame(c.conn, buf)
		if err != nil {
			return // the sender notices too; a client that only listens may have shut down its half
		}
		buf = grown
		switch kind {
		case frameStdin:
			c.h.write(p)
		case frameStdinEnd:
			c.h.closeStdin()
		case frameNetwork:
			var text string
			if c.h.networkChanged != nil {
				if err := c.h.networkChanged(); err != nil {
					text = err.Error()
				}
			}
			c.send(frameNetwork, []byte(text))
		case frameQuiet:
			c.quiet.Store(true)
		case frameResize:
			if len(p) == 4 {
				c.h.resize(unix.Winsize{Row: binary.BigEndian.Uint16(p), Col: binary.BigEndian.Uint16(p[2:])})
			}
		}
	}
}
