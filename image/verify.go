package image

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// verifyReader fails at the end of a stream that is not the promised content.
type verifyReader struct {
	io.ReadCloser
	want Digest
	size int64 // -1: not known
	hash hash.Hash
	read int64
}

func newVerifyReader(r io.ReadCloser, want Digest, size int64) *verifyReader {
	return &verifyReader{ReadCloser: r, want: want, size: size, hash: sha256.New()}
}

func (v *verifyReader) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.hash.Write(p[:n])
	v.read += int64(n)
	if v.size >= 0 && v.read > v.size {
		return n, fmt.Errorf("%s is longer than the %d bytes that its manifest declares", v.want, v.size)
	}
	if errors.Is(err, io.EOF) {
		if v.size >= 0 && v.read < v.size {
			return n, fmt.Errorf("%s ends after %d of %d bytes: %w", v.want, v.read, v.size, io.ErrUnexpectedEOF)
		}
		if got := Digest("sha256:" + hex.EncodeToString(v.hash.Sum(nil))); got != v.want {
			return n, fmt.Errorf("%s is damaged: its content has the digest %s", v.want, got)
		}
	}
	return n, err
}

// keep reads a layer's archive: from the blobs if it is there, else from where it comes from, in which case it becomes a
// blob while it passes.
func (s *Store) keep(from content, d Descriptor) (io.ReadCloser, error) {
	if s.hasBlob(d.Digest, d.Size) {
		f, err := os.Open(s.blob(d.Digest))
		if err != nil {
			return nil, err
		}
		return newVerifyReader(f, d.Digest, d.Size), nil
	}
	r, err := from.open(d)
	if err != nil {
		return nil, err
	}
	w, err := s.newBlob()
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &keeper{r: r, w: w, d: d}, nil
}

// keeper passes content on, keeps it as a blob, and fails at its end when it is not what was promised.
type keeper struct {
	r    io.ReadCloser
	w    *blobWriter
	d    Descriptor
	done bool
}

func (k *keeper) Read(p []byte) (int, error) {
	if k.done {
		return 0, io.EOF
	}
	n, err := k.r.Read(p)
	if n > 0 {
		if _, e := k.w.Write(p[:n]); e != nil {
			return 0, fmt.Errorf("store a layer: %w", e)
		}
	}
	switch {
	case k.w.size > k.d.Size:
		return n, fmt.Errorf("%s is longer than the %d bytes that its manifest declares", k.d.Digest, k.d.Size)
	case errors.Is(err, io.EOF) && k.w.size < k.d.Size:
		return n, fmt.Errorf("%s ends after %d of %d bytes: %w", k.d.Digest, k.w.size, k.d.Size, io.ErrUnexpectedEOF)
	case errors.Is(err, io.EOF):
		k.done = true
		if _, e := k.w.commit(k.d.Digest); e != nil {
			return n, e
		}
	}
	return n, err
}

func (k *keeper) Close() error {
	err := k.r.Close()
	if !k.done {
		err = errors.Join(err, k.w.abort())
	}
	return err
}
