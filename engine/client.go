package engine

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// client is one attached command. What it has not read yet waits in a buffer of a bounded size; what happens when that is
// full depends on who it is:
//
//	patient   `run` and `start -a` without a terminal: they stand at the end of a pipeline, where every byte counts, so the
//	          container has to wait, as for any reader of a pipe
//	others    people at terminals and `attach`: a container must not stall for a dead connection, so what does not fit is
//	          left out, the client is told so when it reads again, and `logs` has it all
type client struct {
	h    *hub
	conn net.Conn
	gone chan struct{} // closed when everything is sent or the client is lost

	patient bool

	mu    sync.Mutex // guards the rest
	more  *sync.Cond // there is more to send, or room for more, or the end
	buf   []byte     // frames to be sent
	spare []byte     // the buffer that was sent last, for the next
	lost  int64      // bytes of output that were left out since
	last  bool       // nothing follows what is in buf
	dead  bool       // nobody reads any more
	quiet bool       // it waits for the end only
}

// clientBuffer is how much a client may be behind, in bytes.
const clientBuffer = 4 << 20

// add takes a new client in and serves it until it goes.
func (h *hub) add(conn net.Conn, patient bool) {
	c := &client{h: h, conn: conn, gone: make(chan struct{}), patient: patient}
	c.more = sync.NewCond(&c.mu)
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

// send puts a frame into the buffer.
func (c *client) send(kind byte, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	output := kind == frameStdout || kind == frameStderr
	if c.quiet && output {
		return
	}
	for output && !c.dead && len(c.buf)+len(p) > clientBuffer {
		if !c.patient {
			c.lost += int64(len(p))
			return
		}
		c.more.Wait()
	}
	if c.dead {
		return
	}
	if c.lost > 0 {
		c.tellLost()
	}
	c.buf = appendFrame(c.buf, kind, p)
	c.more.Broadcast()
}

// sendLast is the last send.
func (c *client) sendLast(kind byte, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost > 0 {
		c.tellLost()
	}
	c.buf = appendFrame(c.buf, kind, p)
	c.last = true
	c.more.Broadcast()
}

func (c *client) tellLost() {
	text := fmt.Sprintf("\r\nmydocker: %d bytes of output are left out here, because this terminal did not read for too long; mydocker logs has them\r\n", c.lost)
	c.buf, c.lost = appendFrame(c.buf, frameStderr, []byte(text)), 0
}

func appendFrame(b []byte, kind byte, p []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, kind), uint32(len(p)))
	return append(b, p...)
}

// sendLoop sends all that has come together since the last time, at once.
func (c *client) sendLoop() {
	defer close(c.gone)
	defer c.conn.Close()
	for {
		c.mu.Lock()
		for len(c.buf) == 0 && !c.last && !c.dead {
			c.more.Wait()
		}
		out, end := c.buf, c.dead || len(c.buf) == 0
		c.buf, c.spare = c.spare[:0], nil
		c.more.Broadcast() // room
		c.mu.Unlock()
		if end {
			return
		}
		if _, err := c.conn.Write(out); err != nil {
			c.drop()
			return
		}
		c.mu.Lock()
		if cap(out) <= 256<<10 { // a rare burst need not be remembered
			c.spare = out
		}
		c.mu.Unlock()
	}
}

func (c *client) drop() {
	c.h.mu.Lock()
	delete(c.h.clients, c)
	c.h.mu.Unlock()
	c.mu.Lock()
	c.dead = true
	c.more.Broadcast()
	c.mu.Unlock()
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
			c.mu.Lock()
			c.quiet = true
			c.mu.Unlock()
		case frameResize:
			if len(p) == 4 {
				c.h.resize(unix.Winsize{Row: binary.BigEndian.Uint16(p), Col: binary.BigEndian.Uint16(p[2:])})
			}
		}
	}
}
