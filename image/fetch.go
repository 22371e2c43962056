package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Remote is a place that images are pulled from. Package registry has the real one; it is apart, because what speaks
// HTTP costs every process its start, and running a container needs none of it.
type Remote interface {
	// Manifest gives the manifest or index of a name with a tag or a digest, as its bytes. The caller verifies it.
	Manifest(ctx context.Context, ref Reference) ([]byte, error)
	// Blob gives content from a byte offset on. The caller verifies it.
	Blob(ctx context.Context, ref Reference, d Descriptor, offset int64) (io.ReadCloser, error)
}

// Progress is told how far a pull or push is. It is called by several goroutines at once, and often.
type Progress func(Event)

// Event is one piece of news about one layer.
type Event struct {
	ID     string // the first digits of the layer's digest
	Status string // in Docker's words: Pulling fs layer, Downloading, Download complete, Pull complete, Already exists
	// Current and Total are bytes; Total is 0 where there is nothing to measure.
	Current, Total int64
}

func (p Progress) tell(d Descriptor, status string, current, total int64) {
	if p != nil {
		p(Event{ID: d.Digest.Short(), Status: status, Current: current, Total: total})
	}
}

// FetchOptions say what is fetched from where.
type FetchOptions struct {
	Remote   Remote
	Platform string // os/architecture[/variant]; "" is the host's
	Progress Progress
}

// Fetched is a pulled image. Fresh says that it was not here before under this name.
type Fetched struct {
	*Image
	Digest Digest // of the manifest or index that the registry has under the name
	Fresh  bool
	Stored bool // something came into the store: it was not all here already
}

// Fetch makes an image of a registry part of the store. Layers come side by side, are verified and unpacked while they
// arrive, and what has arrived when it is interrupted is kept for the next try.
func (s *Store) Fetch(ctx context.Context, ref Reference, o FetchOptions) (*Fetched, error) {
	platform, err := ParsePlatform(o.Platform)
	if err != nil {
		return nil, err
	}
	f := &fetcher{store: s, ref: ref, FetchOptions: o, begun: map[Digest]int64{}, again: map[Digest]bool{}}
	var fetched *Fetched
	images, err := s.loading(ctx, func() (fresh []namedRecord, err error) {
		for again := true; again; again = errors.Is(err, errBadPart) {
			fetched, fresh, err = f.fetch(ctx, platform)
		}
		return fresh, errors.Join(err, f.leave(err))
	})
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", ref.Familiar(), err)
	}
	if len(images) > 0 {
		fetched.Image = images[0]
	}
	return fetched, nil
}

type fetcher struct {
	store *Store
	ref   Reference
	FetchOptions

	mu    sync.Mutex
	begun map[Digest]int64 // layers that were downloaded, and how much of each was there before, in bytes
	again map[Digest]bool  // layers that are downloaded from their start, because what was there before was not good
}

// mayStartAgain says yes once for each layer: a registry that sends something else each time is not asked for ever.
func (f *fetcher) mayStartAgain(d Digest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.again[d]
	f.again[d] = true
	return !was
}

// began remembers that a layer's download has begun.
func (f *fetcher) began(d Digest, kept int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, again := f.begun[d]; !again {
		f.begun[d] = kept
	}
}

// leave decides what a pull that has failed leaves behind. What has arrived is kept for the next try, as beginnings of
// layers, whole ones too: blobs that belong to no image would be collected. On a disk that is full nothing more than
// before is left.
func (f *fetcher) leave(failed error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for d, kept := range f.begun {
		part := f.store.part(d)
		var err error
		switch {
		case failed == nil:
		case !errors.Is(failed, unix.ENOSPC):
			err = os.Link(f.store.blob(d), part)
		case kept > 0:
			err = os.Truncate(part, kept)
		default:
			err = os.Remove(part)
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// fetch gives the image if it is here already, else what is to be published.
func (f *fetcher) fetch(ctx context.Context, platform Platform) (fetched *Fetched, gathered []namedRecord, err error) {
	raw, err := f.Remote.Manifest(ctx, f.ref)
	if err != nil {
		return nil, nil, err
	}
	top := digestOf(raw)
	if f.ref.Digest != "" && f.ref.Digest != top {
		return nil, nil, fmt.Errorf("the registry's answer is not what was asked for: it has the digest %s", top)
	}
	raw, err = f.store.resolve(&remoteContent{ctx: ctx, fetcher: f, memo: map[Digest][]byte{top: raw}}, Descriptor{Digest: top}, platform, 3)
	if err != nil {
		return nil, nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, nil, err
	}
	if m.Config == nil || m.ArtifactType != "" || !isImageConfig(m.Config.MediaType) {
		return nil, nil, errors.New("what the registry has under this name is not a container image")
	}
	rawConfig, err := (&remoteContent{ctx: ctx, fetcher: f}).small(*m.Config)
	if err != nil {
		return nil, nil, err
	}
	config, err := parseConfig(rawConfig, len(m.Layers))
	if err != nil {
		return nil, nil, err
	}
	names := f.names(top)
	here := f.alreadyHere(digestOf(rawConfig), names)
	if here != nil && here.Manifest == digestOf(raw) && f.store.isWhole(here, m) {
		for _, d := range m.Layers {
			f.Progress.tell(d, "Already exists", 0, 0)
		}
		return &Fetched{Image: here.image(), Digest: top}, nil, nil
	}
	chain, size, err := f.layers(ctx, m, config)
	if err != nil {
		return nil, nil, err
	}
	img, err := f.store.finish(raw, m, rawConfig, config, chain, size, names)
	if err != nil {
		return nil, nil, err
	}
	return &Fetched{Digest: top, Fresh: here == nil, Stored: true}, []namedRecord{img}, nil
}

// names are the tag that was asked for, and the digest under which the registry has it.
func (f *fetcher) names(top Digest) []Reference {
	byDigest := f.ref
	byDigest.Tag, byDigest.Digest = "", top
	if f.ref.Digest != "" {
		return []Reference{byDigest}
	}
	return []Reference{f.ref, byDigest}
}

// alreadyHere is the record of the image, if all names mean it already.
func (f *fetcher) alreadyHere(id Digest, names []Reference) (r *record) {
	for _, name := range names {
		var err error
		if r, err = f.store.readRecord(f.store.namePath(name), name.Familiar()); err != nil || r.ID != id {
			return nil
		}
	}
	return r
}

// isWhole looks whether everything that a record names is there.
func (s *Store) isWhole(r *record, m *manifest) bool {
	for i, d := range m.Layers {
		if !s.hasBlob(d.Digest, d.Size) || i >= len(r.Layers) || !s.hasLayer(r.Layers[i]) {
			return false
		}
	}
	return len(m.Layers) == len(r.Layers) && s.hasBlob(r.ID, -1) && s.hasBlob(r.Manifest, -1)
}

// layers sees to it that all layers are unpacked and their archives in the blobs.
func (f *fetcher) layers(ctx context.Context, m *manifest, config *Config) ([]Digest, int64, error) {
	chain := chainIDs(config.RootFS.DiffIDs)
	sources := make([]layerSource, len(m.Layers))
	for i, d := range m.Layers {
		if len(d.URLs) > 0 {
			return nil, 0, fmt.Errorf("layer %s is kept outside of the registry (%s), which is not supported", d.Digest.Short(), d.URLs[0])
		}
		if f.store.hasLayer(chain[i]) && f.store.hasBlob(d.Digest, d.Size) {
			f.Progress.tell(d, "Already exists", 0, 0)
		} else {
			f.Progress.tell(d, "Pulling fs layer", 0, 0)
		}
		sources[i] = layerSource{diffID: config.RootFS.DiffIDs[i], archive: d.Digest,
			open: func(ctx context.Context) (io.ReadCloser, error) { return f.open(ctx, d) },
			done: func() { f.Progress.tell(d, "Pull complete", 0, 0) }}
	}
	_, size, err := f.store.unpackLayers(ctx, sources)
	if err != nil {
		return nil, 0, err
	}
	return chain, size, f.missingBlobs(ctx, m.Layers)
}

// missingBlobs downloads the archives of layers that were unpacked before from another archive of the same content:
// without them the image could not be pushed or saved as what it is.
func (f *fetcher) missingBlobs(ctx context.Context, layers []Descriptor) error {
	for _, d := range layers {
		if f.store.hasBlob(d.Digest, d.Size) {
			continue
		}
		r, err := f.open(ctx, d)
		if err != nil {
			return err
		}
		_, err = io.CopyBuffer(onlyWriter{io.Discard}, r, make([]byte, 256<<10))
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		f.Progress.tell(d, "Pull complete", 0, 0)
	}
	return nil
}

// remoteContent reads manifests and configurations from the remote, verified.
type remoteContent struct {
	ctx     context.Context
	fetcher *fetcher
	memo    map[Digest][]byte
}

func (c *remoteContent) small(d Descriptor) ([]byte, error) {
	if data, ok := c.memo[d.Digest]; ok {
		return data, nil
	}
	f := c.fetcher
	if f.store.hasBlob(d.Digest, -1) {
		if data, err := f.store.readBlob(d.Digest); err == nil {
			return data, nil
		}
		// Damaged on our disk: the remote's is as good, and replaces it.
	}
	data, err := c.load(d)
	if err != nil {
		return nil, err
	}
	if got := digestOf(data); got != d.Digest {
		return nil, fmt.Errorf("the registry's answer for %s is damaged: it has the digest %s", d.Digest, got)
	}
	return data, nil
}

func (c *remoteContent) load(d Descriptor) ([]byte, error) {
	f := c.fetcher
	if d.MediaType != mediaOCIConfig && d.MediaType != "application/vnd.docker.container.image.v1+json" {
		ref := f.ref
		ref.Tag, ref.Digest = "", d.Digest
		return f.Remote.Manifest(c.ctx, ref)
	}
	r, err := f.Remote.Blob(c.ctx, f.ref, d, 0)
	if err != nil {
		return nil, err
	}
	data, err := readSmall(r)
	return data, errors.Join(err, r.Close())
}

func (c *remoteContent) open(d Descriptor) (io.ReadCloser, error) { return c.fetcher.open(c.ctx, d) }
