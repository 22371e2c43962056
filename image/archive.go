package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Load reads the images of an archive file (`docker save`, or an OCI layout, packed or not) or of a directory with an
// OCI layout. Of an image for several platforms that of the given one is taken, as ParsePlatform has it; an image that is for another
// one alone is refused, unless platform is "", the host's.
func (s *Store) Load(ctx context.Context, path, platform string) ([]*Image, error) {
	images, err := s.loadPath(ctx, path, platform)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	return images, nil
}

func (s *Store) loadPath(ctx context.Context, path, platform string) ([]*Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return s.loadingFor(ctx, platform, func(want Platform) ([]namedRecord, error) {
		switch {
		case info.IsDir():
			return s.loadDirectory(ctx, path, want)
		case info.Mode().IsRegular():
			return s.loadFile(ctx, f, want)
		}
		return s.loadArchive(ctx, f, want)
	})
}

// LoadStream is Load of an archive that comes through a pipe.
func (s *Store) LoadStream(ctx context.Context, r io.Reader, platform string) ([]*Image, error) {
	return s.loadingFor(ctx, platform, func(want Platform) ([]namedRecord, error) { return s.loadArchive(ctx, r, want) })
}

// loadingFor is loading of what may be for another platform than is wanted.
func (s *Store) loadingFor(ctx context.Context, platform string, work func(want Platform) ([]namedRecord, error)) ([]*Image, error) {
	want, err := ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	return s.loading(ctx, func() ([]namedRecord, error) {
		images, err := work(want)
		for _, img := range images {
			if have := img.descriptor().Platform; err == nil && platform != "" && platformScore(have, want) == 0 {
				err = fmt.Errorf("image %s is made for %s, not for %s", img.ID.Short(), have, want)
			}
		}
		return images, err
	})
}

// loading holds the store during a piece of work that gathers images, then makes them known, and sweeps up after one that failed.
func (s *Store) loading(ctx context.Context, work func() ([]namedRecord, error)) ([]*Image, error) {
	hold, err := s.hold()
	if err != nil {
		return nil, err
	}
	if err = s.EnsureChecked(); err == nil {
		err = s.makeLayout()
	}
	var gathered []namedRecord
	if err == nil {
		gathered, err = work()
	}
	if err == nil && len(gathered) > 0 {
		err = s.publish(gathered...)
	}
	err = errors.Join(wayOut(err), hold.Release())
	if err != nil {
		_, sweepErr := s.Collect(context.WithoutCancel(ctx))
		return nil, errors.Join(err, sweepErr)
	}
	images := make([]*Image, len(gathered))
	for i, img := range gathered {
		images[i] = img.image()
	}
	return images, nil
}

// wayOut adds to an error what its reader can do.
func wayOut(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w; make room, for instance by `mydocker system prune`; nothing of the image was kept", err)
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("%w: this is no tar archive of an image or layer", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: what should be read ends too early; fetch or save it again", err)
	}
	return err
}

// content is where an image that is being added has its parts.
type content interface {
	// small reads a manifest or configuration, verified.
	small(d Descriptor) ([]byte, error)
	// open reads a layer's archive that the store does not have yet. The caller verifies it.
	open(d Descriptor) (io.ReadCloser, error)
}

// archiveContent is an archive. One that comes through a pipe is read from front to back; its order is anybody's choice,
// so what is small waits in memory and what is large in the store until the manifest tells what it is. One in a file is
// only looked through, and its layers are then read side by side, each where it lies.
type archiveContent struct {
	store   *Store
	file    *os.File            // nil for a pipe
	files   map[string]archived // by name in the archive
	links   map[string]string   // symbolic and hard links of the archive: old versions of Docker share layers so
	digests map[Digest]archived // what lies in the file, by its digest, as far as that is known
	memo    map[Digest][]byte
	room    int64
}

// archived is one file of an archive. Its digest may not be known yet when it lies in a file.
type archived struct {
	digest       Digest
	size, offset int64
}

const (
	smallFile = 512 << 10 // bytes
	smallRoom = 32 << 20
)

func (s *Store) newArchiveContent() *archiveContent {
	return &archiveContent{store: s, files: map[string]archived{}, links: map[string]string{}, digests: map[Digest]archived{}, memo: map[Digest][]byte{}, room: smallRoom}
}

func (s *Store) loadArchive(ctx context.Context, r io.Reader, want Platform) ([]namedRecord, error) {
	plainText, _, err := decompress(&contextReader{ctx, r})
	if err != nil {
		return nil, err
	}
	defer plainText.Close()
	a := s.newArchiveContent()
	ahead := newReadAhead(plainText, 256<<10, 4)
	defer ahead.Close()
	if err := a.read(ctx, tar.NewReader(ahead), a.take); err != nil {
		return nil, err
	}
	return a.load(ctx, want)
}

// loadFile loads an archive that can be read at any place, if it is not packed.
func (s *Store) loadFile(ctx context.Context, f *os.File, want Platform) ([]namedRecord, error) {
	head := make([]byte, 6)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if detect(head[:n]) != plain {
		return s.loadArchive(ctx, f, want)
	}
	a := s.newArchiveContent()
	a.file = f
	// The reader of archives seeks over what it is not asked to read.
	if err := a.read(ctx, tar.NewReader(f), a.note); err != nil {
		return nil, err
	}
	return a.load(ctx, want)
}

// load tells the two formats apart.
func (a *archiveContent) load(ctx context.Context, want Platform) ([]namedRecord, error) {
	if _, ok := a.lookup("manifest.json"); ok {
		return a.loadDocker(ctx)
	}
	if _, ok := a.lookup("index.json"); ok {
		index, err := a.smallNamed("index.json")
		if err != nil {
			return nil, err
		}
		return a.store.loadIndex(ctx, a, index, want)
	}
	return nil, errors.New("it has neither manifest.json nor index.json: this is no archive of `docker save` and no OCI layout " +
		"(an archive of a root file system is taken by `mydocker import`)")
}

// read goes through the archive and hands each file on.
func (a *archiveContent) read(ctx context.Context, archive *tar.Reader, take func(ctx context.Context, name string, size int64, r io.Reader) error) error {
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
			if err := take(ctx, name, h.Size, archive); err != nil {
				return fmt.Errorf("read %q of the archive: %w", h.Name, err)
			}
		case tar.TypeSymlink:
			a.links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			a.links[name] = path.Clean(h.Linkname)
		}
	}
}

// note writes down where a file of an archive in a file lies.
func (a *archiveContent) note(_ context.Context, name string, size int64, _ io.Reader) error {
	offset, err := a.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if info, err := a.file.Stat(); err != nil || offset+size > info.Size() {
		return errors.Join(io.ErrUnexpectedEOF, err)
	}
	e := archived{size: size, offset: offset}
	if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && isHex64(hex) {
		e.digest = Digest("sha256:" + hex)
		a.digests[e.digest] = e
	}
	a.files[name] = e
	return nil
}

// take keeps a file of an archive that comes through a pipe.
func (a *archiveContent) take(ctx context.Context, name string, size int64, r io.Reader) error {
	if size <= smallFile && size <= a.room {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		a.room -= size
		d := digestOf(data)
		a.memo[d], a.files[name] = data, archived{digest: d, size: size}
		return nil
	}
	want := Digest("")
	if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && isHex64(hex) {
		want = Digest("sha256:" + hex)
		if a.store.hasBlob(want, size) {
			a.files[name] = archived{digest: want, size: size}
			return nil
		}
	}
	d, n, err := a.store.storeStream(ctx, r, want)
	a.files[name] = archived{digest: d, size: n}
	return err
}

// lookup finds a file by its name, through at most a few links.
func (a *archiveContent) lookup(name string) (archived, bool) {
	name = path.Clean(name)
	for range 8 {
		if e, ok := a.files[name]; ok {
			return e, true
		}
		target, ok := a.links[name]
		if !ok {
			break
		}
		name = target
	}
	return archived{}, false
}

// smallNamed reads a small file by its name.
func (a *archiveContent) smallNamed(name string) ([]byte, error) {
	e, ok := a.lookup(name)
	if !ok {
		return nil, fmt.Errorf("the archive is incomplete: it lacks %q", name)
	}
	if a.file == nil {
		return a.small(Descriptor{Digest: e.digest, Size: e.size})
	}
	return a.section(e)
}

func (a *archiveContent) section(e archived) ([]byte, error) {
	if e.size > maxManifest {
		return nil, fmt.Errorf("%d bytes are too many for a manifest or configuration", e.size)
	}
	data := make([]byte, e.size)
	if _, err := a.file.ReadAt(data, e.offset); err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	return data, nil
}

func (a *archiveContent) small(d Descriptor) ([]byte, error) {
	if data, ok := a.memo[d.Digest]; ok {
		return data, nil
	}
	e, ok := a.digests[d.Digest]
	if !ok {
		return a.store.readBlob(d.Digest)
	}
	data, err := a.section(e)
	if err == nil && digestOf(data) != d.Digest {
		err = fmt.Errorf("the archive is damaged: what should be %s is %s", d.Digest, digestOf(data))
	}
	return data, err
}

func (a *archiveContent) open(d Descriptor) (io.ReadCloser, error) {
	if data, ok := a.memo[d.Digest]; ok {
		return io.NopCloser(bytes.NewReader(data)), nil
	}
	e, ok := a.digests[d.Digest]
	if !ok {
		return nil, fmt.Errorf("the archive is incomplete: it lacks %s of %d bytes", d.Digest, d.Size)
	}
	return io.NopCloser(io.NewSectionReader(a.file, e.offset, e.size)), nil
}

// directoryContent is an OCI layout in a directory.
type directoryContent struct {
	store *Store
	dir   string
}

func (s *Store) loadDirectory(ctx context.Context, dir string, want Platform) ([]namedRecord, error) {
	index, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the directory has no index.json, so it is no OCI layout: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return s.loadIndex(ctx, &directoryContent{store: s, dir: dir}, index, want)
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

func (c *directoryContent) open(d Descriptor) (io.ReadCloser, error) {
	f, err := os.Open(c.path(d.Digest))
	if err != nil {
		return nil, fmt.Errorf("the layout is incomplete: %w", err)
	}
	return f, nil
}
