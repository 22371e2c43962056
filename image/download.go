package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/mydocker/mydocker/state"
)

// download reads a blob of a remote, and keeps it while it passes. It starts with what an earlier, interrupted try has
// left, goes on from there, and goes on again when the line breaks:
//
//	ingest/<digest>.part   |=== replayed ===|=== from the remote, appended ===>
//	                       at the end: digest compared, then renamed to blobs/sha256/<digest>
type download struct {
	ctx      context.Context
	fetcher  *fetcher
	d        Descriptor
	lock     *state.Lock
	part     *os.File
	kept     int64 // how much of the part was there at the start
	offset   int64
	hash     hash.Hash
	body     io.ReadCloser
	failures int
	finished bool
}

// maxFailures is how often in a row a download is taken up again before it is given up.
const maxFailures = 5

// open gives a layer's archive: from the blobs if it is there, else by downloading. Two who want the same blob take
// turns, and the second finds it there.
func (f *fetcher) open(ctx context.Context, d Descriptor) (io.ReadCloser, error) {
	lock, err := state.AcquireLock(f.store.root.Lock("blob-" + d.Digest.Encoded()))
	if err != nil {
		return nil, err
	}
	if f.store.hasBlob(d.Digest, d.Size) {
		file, err := os.Open(f.store.blob(d.Digest))
		if err := errors.Join(err, lock.Release()); err != nil {
			return nil, err
		}
		return newVerifyReader(file, d.Digest, d.Size), nil
	}
	part, err := os.OpenFile(f.store.part(d.Digest), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	l := &download{ctx: ctx, fetcher: f, d: d, lock: lock, part: part, hash: sha256.New()}
	info, err := part.Stat()
	if err == nil && info.Size() > d.Size {
		err = part.Truncate(0) // not a part of this content
	} else if err == nil {
		l.kept = info.Size()
	}
	f.began(d.Digest, l.kept)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *download) Read(p []byte) (int, error) {
	if l.finished {
		return 0, io.EOF
	}
	if l.offset < l.kept {
		return l.replay(p)
	}
	if l.offset == l.d.Size {
		return 0, l.finish()
	}
	for {
		n, err := l.readRemote(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (l *download) replay(p []byte) (int, error) {
	n, err := l.part.ReadAt(p[:min(int64(len(p)), l.kept-l.offset)], l.offset)
	l.hash.Write(p[:n])
	l.offset += int64(n)
	if errors.Is(err, io.EOF) && n > 0 {
		err = nil
	}
	return n, err
}

// readRemote reads the next bytes. Nothing and no error means: try again.
func (l *download) readRemote(p []byte) (int, error) {
	if l.body == nil {
		body, err := l.fetcher.Remote.Blob(l.ctx, l.fetcher.ref, l.d, l.offset)
		if err != nil {
			return 0, l.failed(err)
		}
		l.body = body
	}
	n, err := fillChunk(l.body, p) // few large writes, not many small ones
	if n > 0 {
		if l.offset+int64(n) > l.d.Size {
			return 0, errors.Join(fmt.Errorf("%s is longer than the %d bytes that its manifest declares", l.d.Digest, l.d.Size), l.forget())
		}
		if _, e := l.part.WriteAt(p[:n], l.offset); e != nil {
			return 0, fmt.Errorf("store a layer: %w", e)
		}
		l.hash.Write(p[:n])
		l.offset += int64(n)
		l.failures = 0
		l.fetcher.Progress.tell(l.d, "Downloading", l.offset, l.d.Size)
	}
	if err == nil || l.offset == l.d.Size {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, l.failed(err)
}

// failed says whether it is worth another try: nil means yes, after a pause that grows.
func (l *download) failed(err error) error {
	l.dropBody()
	if cause := context.Cause(l.ctx); cause != nil {
		return cause
	}
	var permanent interface{ Permanent() bool }
	if errors.As(err, &permanent) && permanent.Permanent() {
		return err
	}
	if l.failures++; l.failures >= maxFailures {
		return fmt.Errorf("download broke off after %d of %d bytes, %d tries in a row: %w; the next pull goes on from there", l.offset, l.d.Size, l.failures, err)
	}
	l.fetcher.Progress.tell(l.d, "Retrying", l.offset, l.d.Size)
	select {
	case <-time.After(100 * time.Millisecond << (2 * l.failures)):
		return nil
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
}

func (l *download) dropBody() {
	if l.body != nil {
		l.body.Close()
	}
	l.body = nil
}

// errBadPart: the beginning that an earlier try has left was not good. A power failure leaves files with zeros at their ends.
var errBadPart = errors.New("what was kept of a layer is damaged")

// finish compares the digest and gives the blob its name. Its result is io.EOF when all is well.
func (l *download) finish() error {
	if got := Digest("sha256:" + hex.EncodeToString(l.hash.Sum(nil))); got != l.d.Digest {
		if l.kept > 0 && l.fetcher.mayStartAgain(l.d.Digest) {
			return errors.Join(errBadPart, l.forget())
		}
		return errors.Join(fmt.Errorf("layer %s arrived damaged: it has the digest %s; pull again", l.d.Digest, got), l.forget())
	}
	if err := os.Rename(l.part.Name(), l.fetcher.store.blob(l.d.Digest)); err != nil {
		return err
	}
	l.finished = true
	l.fetcher.Progress.tell(l.d, "Download complete", l.d.Size, l.d.Size)
	return io.EOF
}

// forget removes a part that is of no use for a next try.
func (l *download) forget() error { return os.Remove(l.part.Name()) }

func (l *download) Close() error {
	l.dropBody()
	return errors.Join(l.part.Close(), l.lock.Release())
}
