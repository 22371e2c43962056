package image

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// compression is how a stream is packed: it is told by its first bytes, never by a name or a media type, which lie.
type compression string

const (
	plain     compression = ""
	gzipped   compression = "gzip"
	bzipped   compression = "bzip2"
	xzipped   compression = "xz"
	zstandard compression = "zstd"
)

func detect(head []byte) compression {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b, 0x08}):
		return gzipped
	case bytes.HasPrefix(head, []byte("BZh")):
		return bzipped
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return xzipped
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstandard
	case len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		return zstandard // a skippable frame in front
	}
	return plain
}

// Decompress writes what is packed in r, however it is packed, to w.
func Decompress(w io.Writer, r io.Reader) error {
	unpacked, _, err := decompress(r)
	if err != nil {
		return err
	}
	defer unpacked.Close()
	_, err = io.Copy(w, unpacked)
	return err
}

// decompress unpacks r, however it is packed. Closing the result does not close r, but nothing reads r afterwards.
func decompress(r io.Reader) (io.ReadCloser, compression, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	head, err := buffered.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, plain, err
	}
	kind := detect(head)
	var unpacked io.ReadCloser
	switch kind {
	case gzipped:
		unpacked, err = gzip.NewReader(buffered)
	case plain:
		unpacked, err = io.NopCloser(buffered), nil
	default:
		unpacked, err = decoder(kind, buffered)
	}
	if err != nil {
		return nil, kind, fmt.Errorf("decompress (%s): %w", kind, err)
	}
	return unpacked, kind, nil
}

// layerMediaType is what a layer that is stored as it came is called in a manifest. What OCI has no name for is
// stored unpacked.
func layerMediaType(kind compression) (mediaType string, storable bool) {
	switch kind {
	case plain:
		return mediaOCILayer, true
	case gzipped, zstandard:
		return mediaOCILayer + "+" + string(kind), true
	}
	return mediaOCILayer, false
}

// readAhead reads r in a goroutine of its own, so that unpacking and writing go on side by side. It takes chunks*size
// bytes of memory. Close must be called; it waits for the goroutine, so that nothing reads r afterwards.
type readAhead struct {
	full, free chan []byte
	stop, done chan struct{}
	current    []byte
	rest       []byte
	err        error
}

func newReadAhead(r io.Reader, size, chunks int) *readAhead {
	a := &readAhead{full: make(chan []byte, chunks), free: make(chan []byte, chunks), stop: make(chan struct{}), done: make(chan struct{})}
	for range chunks {
		a.free <- make([]byte, size)
	}
	go a.fill(r)
	return a
}

func (a *readAhead) fill(r io.Reader) {
	defer close(a.done)
	defer close(a.full)
	for {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-a.stop:
			return
		}
		n, err := fillChunk(r, buf[:cap(buf)])
		if n > 0 {
			a.full <- buf[:n] // never blocks: there are as many places as buffers
		}
		if err != nil {
			a.err = err
			return
		}
	}
}

// fillChunk is io.ReadFull that tells the reader's own error: a stream that is torn off (io.ErrUnexpectedEOF) must not
// be mistaken for one that ends in the middle of a chunk.
func fillChunk(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

func (a *readAhead) Read(p []byte) (int, error) {
	if len(a.rest) == 0 {
		if a.current != nil {
			a.free <- a.current
			a.current = nil
		}
		chunk, ok := <-a.full
		if !ok {
			<-a.done
			if a.err == nil {
				return 0, io.ErrClosedPipe
			}
			return 0, a.err
		}
		a.current, a.rest = chunk, chunk
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

func (a *readAhead) Close() error {
	close(a.stop)
	<-a.done
	return nil
}
