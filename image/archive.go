package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Load reads the images of an archive file (`docker save`, or an OCI layout, packed or not) or of a directory with an
// OCI layout.
func (s *Store) Load(ctx context.Context, path string) ([]*Image, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if info.IsDir() {
		images, err := s.loading(ctx, func() ([]*Image, error) { return s.loadDirectory(ctx, path) })
		if err != nil {
			return nil, fmt.Errorf("load %s: %w", path, err)
		}
		return images, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	defer f.Close()
	images, err := s.LoadStream(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	return images, nil
}

// LoadStream is Load of an archive that comes through a pipe.
func (s *Store) LoadStream(ctx context.Context, r io.Reader) ([]*Image, error) {
	return s.loading(ctx, func() ([]*Image, error) { return s.loadArchive(ctx, r) })
}

// loading holds the store during a piece of work that adds to it, and sweeps up after one that failed.
func (s *Store) loading(ctx context.Context, work func() ([]*Image, error)) ([]*Image, error) {
	hold, err := s.hold()
	if err != nil {
		return nil, err
	}
	err = s.makeLayout()
	var images []*Image
	if err == nil {
		images, err = work()
	}
	err = errors.Join(err, hold.Release())
	if err != nil {
		_, sweepErr := s.Collect(context.WithoutCancel(ctx))
		return nil, errors.Join(err, sweepErr)
	}
	return images, nil
}

// content is where an image that is being added has its parts.
type content interface {
	// small reads a manifest or configuration, verified.
	small(d Descriptor) ([]byte, error)
	// ensure puts something into the store's blobs.
	ensure(ctx context.Context, d Descriptor) error
}

// archiveContent is an archive that has been read from front to back: its order is anybody's choice, so what is small
// waits in memory and what is large in the store until the manifest tells what it is.
type archiveContent struct {
	store *Store
	files map[string]Descriptor // by name in the archive; only Digest and Size are set
	links map[string]string     // symbolic and hard links of the archive: old versions of Docker share layers so
	memo  map[Digest][]byte
	room  int64
}

const (
	smallFile = 512 << 10 // bytes
	smallRoom = 32 << 20
)

func (s *Store) loadArchive(ctx context.Context, r io.Reader) ([]*Image, error) {
	plainText, _, err := decompress(&contextReader{ctx, r})
	if err != nil {
		return nil, err
	}
	defer plainText.Close()
	a := &archiveContent{store: s, files: map[string]Descriptor{}, links: map[string]string{}, memo: map[Digest][]byte{}, room: smallRoom}
	ahead := newReadAhead(plainText, 256<<10, 4)
	defer ahead.Close()
	if err := a.read(ctx, tar.NewReader(ahead)); err != nil {
		return nil, err
	}
	if d, ok := a.lookup("manifest.json"); ok {
		return s.loadDockerArchive(ctx, a, d)
	}
	if d, ok := a.lookup("index.json"); ok {
		index, err := a.small(d)
		if err != nil {
			return nil, err
		}
		return s.loadIndex(ctx, a, index)
	}
	return nil, errors.New("it has neither manifest.json nor index.json: this is no archive of `docker save` and no OCI layout " +
		"(an archive of a root file system is taken by `mydocker import`)")
}

func (a *archiveContent) read(ctx context.Context, archive *tar.Reader) error {
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		name, err := localName(h.Name)
		if err != nil {
			return fmt.Errorf("the archive's entry %q: %w", h.Name, err)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			if err := a.take(ctx, name, h.Size, archive); err != nil {
				return fmt.Errorf("read %q of the archive: %w", h.Name, err)
			}
		case tar.TypeSymlink:
			a.links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			a.links[name] = path.Clean(h.Linkname)
		}
	}
}

func (a *archiveContent) take(ctx context.Context, name string, size int64, r io.Reader) error {
	if size <= smallFile && size <= a.room {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		a.room -= size
		d := digestOf(data)
		a.memo[d], a.files[name] = data, Descriptor{Digest: d, Size: size}
		return nil
	}
	want := Digest("")
	if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && isHex64(hex) {
		want = Digest("sha256:" + hex)
		if a.store.hasBlob(want, size) {
			a.files[name] = Descriptor{Digest: want, Size: size}
			return nil
		}
	}
	d, n, err := a.store.storeStream(ctx, r, want)
	a.files[name] = Descriptor{Digest: d, Size: n}
	return err
}

// lookup finds a file by its name, through at most a few links.
func (a *archiveContent) lookup(name string) (Descriptor, bool) {
	name = path.Clean(name)
	for range 8 {
		if d, ok := a.files[name]; ok {
			return d, true
		}
		target, ok := a.links[name]
		if !ok {
			break
		}
		name = target
	}
	return Descriptor{}, false
}

func (a *archiveContent) small(d Descriptor) ([]byte, error) {
	if data, ok := a.memo[d.Digest]; ok {
		return data, nil
	}
	return a.store.readBlob(d.Digest)
}

func (a *archiveContent) ensure(_ context.Context, d Descriptor) error {
	if data, ok := a.memo[d.Digest]; ok {
		_, err := a.store.writeBlob(data)
		return err
	}
	if !a.store.hasBlob(d.Digest, d.Size) {
		return fmt.Errorf("the archive is incomplete: it lacks %s of %d bytes", d.Digest, d.Size)
	}
	return nil
}

// directoryContent is an OCI layout in a directory.
type directoryContent struct {
	store *Store
	dir   string
}

func (s *Store) loadDirectory(ctx context.Context, dir string) ([]*Image, error) {
	index, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the directory has no index.json, so it is no OCI layout: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return s.loadIndex(ctx, &directoryContent{store: s, dir: dir}, index)
}

func (c *directoryContent) path(d Digest) string {
	return filepath.Join(c.dir, "blobs", "sha256", d.Encoded())
}

func (c *directoryContent) small(d Descriptor) ([]byte, error) {
	f, err := os.Open(c.path(d.Digest))
	if err != nil {
		return nil, fmt.Errorf("the layout is incomplete: %w", err)
	}
	defer f.Close()
	data, err := readSmall(f)
	if err == nil && digestOf(data) != d.Digest {
		err = fmt.Errorf("its content has the digest %s", digestOf(data))
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.path(d.Digest), err)
	}
	return data, nil
}

func (c *directoryContent) ensure(ctx context.Context, d Descriptor) error {
	if c.store.hasBlob(d.Digest, d.Size) {
		return nil
	}
	f, err := os.Open(c.path(d.Digest))
	if err != nil {
		return fmt.Errorf("the layout is incomplete: %w", err)
	}
	defer f.Close()
	_, _, err = c.store.storeStream(ctx, f, d.Digest)
	return err
}

// dockerImage is one entry of the manifest.json of `docker save`
// (https://github.com/moby/docker-image-spec/blob/main/spec.md, "Combined Image JSON + Filesystem Changeset Format").
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (s *Store) loadDockerArchive(ctx context.Context, a *archiveContent, index Descriptor) ([]*Image, error) {
	data, err := a.small(index)
	if err != nil {
		return nil, err
	}
	var entries []dockerImage
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("its manifest.json is not as `docker save` writes it: %w", err)
	}
	if len(entries) == 0 {
		return nil, errors.New("its manifest.json names no image")
	}
	var images []*Image
	for _, e := range entries {
		img, err := s.loadDockerImage(ctx, a, e)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", e.Config, err)
		}
		images = append(images, img)
	}
	return images, nil
}

func (s *Store) loadDockerImage(ctx context.Context, a *archiveContent, e dockerImage) (*Image, error) {
	config, ok := a.lookup(e.Config)
	if !ok {
		return nil, fmt.Errorf("the archive is incomplete: it lacks the configuration %q", e.Config)
	}
	config.MediaType = mediaOCIConfig
	m := manifest{SchemaVersion: 2, MediaType: mediaOCIManifest, Config: &config, Layers: []Descriptor{}}
	for _, name := range e.Layers {
		d, ok := a.lookup(name)
		if !ok {
			return nil, fmt.Errorf("the archive is incomplete: it lacks the layer %q", name)
		}
		if err := a.ensure(ctx, d); err != nil {
			return nil, err
		}
		kind, err := s.blobCompression(d.Digest)
		if err != nil {
			return nil, err
		}
		mediaType, storable := layerMediaType(kind)
		if !storable {
			return nil, fmt.Errorf("the layer %q is packed by %s, which no image format knows", name, kind)
		}
		d.MediaType = mediaType
		m.Layers = append(m.Layers, d)
	}
	names, err := parseNames(e.RepoTags)
	if err != nil {
		return nil, err
	}
	raw, err := encode(m)
	if err != nil {
		return nil, err
	}
	return s.add(ctx, a, raw, names)
}

func parseNames(tags []string) ([]Reference, error) {
	var names []Reference
	for _, tag := range tags {
		ref, err := ParseReference(tag)
		if err != nil {
			return nil, err
		}
		names = append(names, ref)
	}
	return names, nil
}

func (s *Store) blobCompression(d Digest) (compression, error) {
	f, err := os.Open(s.blob(d))
	if err != nil {
		return plain, err
	}
	defer f.Close()
	head := make([]byte, 6)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return plain, err
	}
	return detect(head[:n]), nil
}
