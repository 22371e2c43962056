package engine

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// What goes over the socket between a monitor and those who are attached: frames of one type byte, four bytes of length
// (big endian) and the content.
//
//	client                                     monitor
//	  <- frameStdout, frameStderr  what the container says
//	  -> frameStdin                what it is told; frameStdinEnd: that was all
//	  -> frameResize               rows, columns (two bytes each) of the client's terminal
//	  <- frameExit                 how it ended (JSON of Life); then the socket is closed
const (
	frameStdout   = 'o'
	frameStderr   = 'e'
	frameStdin    = 'i'
	frameStdinEnd = 'c'
	frameResize   = 'w'
	frameQuiet    = 'q' // from a client that wants nothing but the end
	frameNetwork  = 'n' // from a client: the networks have changed; back: done, or what went wrong
	frameExit     = 'x'
)

// maxFrame bounds what one frame may hold, so that a confused peer cannot make us ask for gigabytes.
const maxFrame = 1 << 20

type frameWriter struct {
	mu sync.Mutex // one frame at a time
	w  io.Writer
}

func (f *frameWriter) frame(kind byte, p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var head [5]byte
	head[0] = kind
	binary.BigEndian.PutUint32(head[1:], uint32(len(p)))
	if _, err := f.w.Write(append(head[:], p...)); err != nil {
		return err
	}
	return nil
}

// readFrame reads into buf, which grows when it has to, and returns the content.
func readFrame(r io.Reader, buf []byte) (kind byte, p, grown []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, buf, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, buf, fmt.Errorf("a frame of %d bytes is longer than %d", n, maxFrame)
	}
	if int(n) > cap(buf) {
		buf = make([]byte, n)
	}
	p = buf[:n]
	if _, err := io.ReadFull(r, p); err != nil {
		return 0, nil, buf, fmt.Errorf("a frame was cut off: %w", err)
	}
	return head[0], p, buf, nil
}
