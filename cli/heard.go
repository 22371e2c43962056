package cli

import "io"

// heard passes on a text of many parts, and keeps the first fault: nobody asks each part for its own.
type heard struct {
	io.Writer
	err error
}

func (h *heard) Write(p []byte) (n int, err error) {
	if n, err = h.Writer.Write(p); h.err == nil {
		h.err = err
	}
	return n, err
}
