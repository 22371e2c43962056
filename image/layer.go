package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// A layer lies in LIB/layers/<chain id>/ and is never changed:
//
//	fs/         what overlayfs stacks
//	layer.json  of what it was made
//
// It is unpacked into LIB/layers/new-… and moved into place when it is whole and verified, so that a directory under a
// chain id is always good.

// layerRecord is layer.json.
type layerRecord struct {
	ChainID Digest `json:"chainId"`
	DiffID  Digest `json:"diffId"`
	Parent  Digest `json:"parent,omitempty"`
	// Size is the sum of the sizes of its files in bytes.
	Size int64 `json:"size"`
}

// layerSource is one layer on its way into the store.
type layerSource struct {
	diffID Digest
	// archive is the digest of what open gives; it is diffID where that is not packed.
	archive Digest
	// open gives the archive, packed or not. Its reader fails at the end when the content is not what was promised.
	open func(ctx context.Context) (io.ReadCloser, error)
	// done, if it is not nil, is called when the layer lies in its place.
	done func()
}

// unpackParallel is how many layers are unpacked at the same time.
const unpackParallel = 3

// unpackLayers makes sure that all layers of an image are unpacked, side by side, and returns their chain ids and
// the sum of their sizes. The caller holds the store.
func (s *Store) unpackLayers(ctx context.Context, sources []layerSource) ([]Digest, int64, error) {
	diffIDs := make([]Digest, len(sources))
	for i, source := range sources {
		diffIDs[i] = source.diffID
	}
	chain := chainIDs(diffIDs)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// published[i] is closed when layer i lies in its place: a layer's implied directories look like those below it.
	published := make([]chan struct{}, len(sources))
	for i := range published {
		published[i] = make(chan struct{})
	}
	slots := make(chan struct{}, unpackParallel)
	errs := make([]error, len(sources))
	var all sync.WaitGroup
	for i := range sources {
		// Bottom first: whoever has a slot never waits for a layer above it.
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			errs[i] = ctx.Err()
			continue
		}
		all.Go(func() {
			job := layerJob{store: s, chain: chain, index: i, source: sources[i], published: published, slots: slots}
			if errs[i] = job.run(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	if err := firstCause(errs); err != nil {
		return nil, 0, err
	}
	size, err := s.sumSizes(chain)
	return chain, size, err
}

// firstCause prefers what went wrong to what was called off because of it.
func firstCause(errs []error) error {
	var called error
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		called = errors.Join(called, err)
	}
	return called
}

func (s *Store) sumSizes(chain []Digest) (int64, error) {
	var size int64
	for _, c := range chain {
		r, err := s.readLayer(c)
		if err != nil {
			return 0, err
		}
		size += r.Size
	}
	return size, nil
}

func (s *Store) readLayer(chainID Digest) (*layerRecord, error) {
	var r layerRecord
	if err := state.ReadJSON(filepath.Join(s.layerDir(chainID), "layer.json"), &r); err != nil {
		return nil, err
	}
	return &r, nil
}

func (s *Store) hasLayer(chainID Digest) bool {
	_, err := os.Lstat(s.layerDir(chainID))
	return err == nil
}

// layerJob is the unpacking of one layer of an image.
type layerJob struct {
	store     *Store
	chain     []Digest
	index     int
	source    layerSource
	published []chan struct{}
	slots     chan struct{}
}

func (j *layerJob) run(ctx context.Context) error {
	release := sync.OnceFunc(func() { <-j.slots })
	defer release()
	err := j.make(ctx, release)
	if err != nil {
		return fmt.Errorf("layer %d of %d (%s): %w", j.index+1, len(j.chain), j.source.diffID.Short(), err)
	}
	close(j.published[j.index])
	if j.source.done != nil {
		j.source.done()
	}
	return nil
}

func (j *layerJob) make(ctx context.Context, release func()) (err error) {
	s, id := j.store, j.chain[j.index]
	if s.hasLayer(id) {
		return nil
	}
	// Whoever comes second waits here, and finds the layer done.
	lock, err := state.AcquireLock(s.root.Lock("layer-" + id.Encoded()))
	if err != nil {
		return err
	}
	defer lock.Release()
	if s.hasLayer(id) {
		return nil
	}
	aside, err := os.MkdirTemp(s.layers(), "new-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(aside))
		}
	}()
	content, err := j.unpack(ctx, filepath.Join(aside, "fs"))
	if err != nil {
		return err
	}
	release()
	if err := j.waitBelow(ctx); err != nil {
		return err
	}
	if err := s.dressImplied(filepath.Join(aside, "fs"), content.implied, j.chain[:j.index]); err != nil {
		return err
	}
	r := layerRecord{ChainID: id, DiffID: j.source.diffID, Size: content.size}
	if j.index > 0 {
		r.Parent = j.chain[j.index-1]
	}
	if err := state.ReplaceJSON(filepath.Join(aside, "layer.json"), r, state.Volatile); err != nil {
		return err
	}
	return os.Rename(aside, s.layerDir(id))
}

func (j *layerJob) waitBelow(ctx context.Context) error {
	if j.index == 0 {
		return nil
	}
	select {
	case <-j.published[j.index-1]:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dressImplied gives the directories that have no entry of their own the looks of theirs in the layers below.
func (s *Store) dressImplied(layer string, implied []string, below []Digest) error {
	if len(implied) == 0 || len(below) == 0 {
		return nil
	}
	top, err := openDirectory(layer)
	if err != nil {
		return err
	}
	defer unix.Close(top)
	lower, done, err := s.openLayers(below)
	if err != nil {
		return err
	}
	defer done()
	return likeBelow(top, implied, lower)
}

// openLayers opens the directories of layers, the last one first. done closes them.
func (s *Store) openLayers(chain []Digest) (dirs []int, done func(), err error) {
	done = func() {
		for _, fd := range dirs {
			unix.Close(fd)
		}
	}
	for _, id := range slices.Backward(chain) {
		fd, err := openDirectory(filepath.Join(s.layerDir(id), "fs"))
		if err != nil {
			done()
			return nil, nil, err
		}
		dirs = append(dirs, fd)
	}
	return dirs, done, nil
}

// openBelow waits for the layers below and opens them. Nobody waits for a layer above, so the waiting comes to an end.
func (j *layerJob) openBelow(ctx context.Context) ([]int, func(), error) {
	if err := j.waitBelow(ctx); err != nil {
		return nil, nil, err
	}
	return j.store.openLayers(j.chain[:j.index])
}

func openDirectory(path string) (int, error) {
	fd, err := openatRetry(unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open directory", Path: path, Err: err}
	}
	return fd, nil
}

// unpack makes the directory dir of the layer's archive, and verifies what it reads on the way.
func (j *layerJob) unpack(ctx context.Context, dir string) (content unpacked, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return unpacked{}, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask
		return unpacked{}, err
	}
	root, err := openDirectory(dir)
	if err != nil {
		return unpacked{}, err
	}
	defer unix.Close(root)
	room, err := freeSpace(root)
	if err != nil {
		return unpacked{}, err
	}
	packed, err := j.source.open(ctx)
	if err != nil {
		return unpacked{}, err
	}
	defer func() { err = errors.Join(err, packed.Close()) }()
	// Three go side by side: reading and verifying the archive, decompressing and verifying that, and making files.
	arriving := newReadAhead(&contextReader{ctx, packed}, 256<<10, 3)
	defer arriving.Close()
	plainText, kind, err := decompress(arriving)
	if err != nil {
		return unpacked{}, whatBroke(ctx, arriving, err)
	}
	defer plainText.Close()
	counted := &hashReader{r: plainText, room: room + trailing}
	if kind != plain || j.source.archive != j.source.diffID { // else packed's own verification is the same
		counted.hash = sha256.New()
	}
	ahead := newReadAhead(counted, 256<<10, 4)
	content, err = unpackTar(ctx, ahead, root, room, func() ([]int, func(), error) { return j.openBelow(ctx) })
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(ahead, trailing))
	}
	ahead.Close()
	plainText.Close() // from here on the archive is read here
	if err != nil {
		return unpacked{}, whatBroke(ctx, arriving, err)
	}
	// The compressed stream has an end of its own, at which its checksum is compared.
	if _, err := io.Copy(io.Discard, arriving); err != nil {
		return unpacked{}, err
	}
	if counted.hash == nil {
		return content, nil
	}
	if got := Digest("sha256:" + hex.EncodeToString(counted.hash.Sum(nil))); got != j.source.diffID {
		return unpacked{}, fmt.Errorf("the unpacked content has the digest %s, but the image promises %s", got, j.source.diffID)
	}
	return content, nil
}

// whatBroke finds out why an archive cannot be unpacked: it is read to its end, where it turns out whether it is what was
// promised. If not, that is the reason, and nothing of it is kept for a next try.
func whatBroke(ctx context.Context, archive io.Reader, err error) error {
	if ctx.Err() != nil || errors.Is(err, unix.ENOSPC) {
		return err
	}
	if _, damaged := io.Copy(io.Discard, archive); damaged != nil {
		return damaged
	}
	return err
}

// trailing is how much may follow the end of an archive, in bytes: padding is a few KiB.
const trailing = 16 << 20

// freeSpace is how many bytes the file system of an open directory can still take.
func freeSpace(dir int) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask for the free space: %w", err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// hashReader hashes what passes, and stops a stream that would never end: no archive is longer than the room for it.
type hashReader struct {
	r    io.Reader
	hash hash.Hash // nil: not wanted
	room int64
}

func (h *hashReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if h.hash != nil {
		h.hash.Write(p[:n])
	}
	if h.room -= int64(n); h.room < 0 {
		return n, fmt.Errorf("the layer is larger than what the file system has free: %w", unix.ENOSPC)
	}
	return n, err
}
