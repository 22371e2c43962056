package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/mydocker/mydocker/state"
)

// The files of the OCI image layout: image-spec image-layout.md. `skopeo inspect oci:LIB/images:docker.io/library/busybox:latest` reads it.

func (s *Store) images() string           { return filepath.Join(s.root.Lib, "images") }
func (s *Store) blobs() string            { return filepath.Join(s.images(), "blobs", "sha256") }
func (s *Store) blob(d Digest) string     { return filepath.Join(s.blobs(), d.Encoded()) }
func (s *Store) ingest() string           { return filepath.Join(s.images(), "ingest") }
func (s *Store) names() string            { return filepath.Join(s.images(), "names") }
func (s *Store) ids() string              { return filepath.Join(s.images(), "ids") }
func (s *Store) layers() string           { return filepath.Join(s.root.Lib, "layers") }
func (s *Store) layerDir(c Digest) string { return filepath.Join(s.layers(), c.Encoded()) }

// part is the beginning of a layer whose download broke off.
func (s *Store) part(d Digest) string { return filepath.Join(s.ingest(), d.Encoded()+".part") }

// hold keeps content from being collected while it is not yet, or not only, reachable from an image's record. Any
// number of processes hold at once; collecting waits for none of them and is done by the next who finds nobody.
func (s *Store) hold() (*state.Lock, error) { return state.AcquireShared(s.root.Lock("images")) }

// lockIndex is taken for the short moment in which records, names and index.json change together.
func (s *Store) lockIndex() (*state.Lock, error) {
	return state.AcquireLock(s.root.Lock("images-index"))
}

// makeLayout makes the directories: mkdir -p LIB/images/{blobs/sha256,ingest,names,ids} LIB/layers
func (s *Store) makeLayout() error {
	for _, dir := range []string{s.blobs(), s.ingest(), s.names(), s.ids(), s.layers()} {
		// Only root looks at images: a layer has set-user-id programs of foreign making.
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the image store: %w", err)
		}
	}
	if err := s.ensureSkeleton(); err != nil {
		return err
	}
	marker, content := filepath.Join(s.images(), "oci-layout"), `{"imageLayoutVersion":"1.0.0"}`
	if there, err := state.ReadFile(marker); err == nil && string(there) == content {
		return nil
	}
	return state.Replace(marker, []byte(content), state.Volatile)
}

func (s *Store) hasBlob(d Digest, size int64) bool {
	info, err := os.Stat(s.blob(d))
	return err == nil && (size < 0 || info.Size() == size)
}

// readBlob reads a manifest or configuration and verifies it.
func (s *Store) readBlob(d Digest) ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	f, err := os.Open(s.blob(d))
	if err != nil {
		return nil, fmt.Errorf("read content of the image store: %w", err)
	}
	defer f.Close()
	data, err := readSmall(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.blob(d), err)
	}
	if got := digestOf(data); got != d {
		return nil, fmt.Errorf("%s is damaged: its content has the digest %s; remove the image and load or pull it again", s.blob(d), got)
	}
	return data, nil
}

func readSmall(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err == nil && len(data) > maxManifest {
		err = fmt.Errorf("it is larger than %d bytes, too large for a manifest or configuration", maxManifest)
	}
	return data, err
}

// writeBlob stores small content that is in memory.
func (s *Store) writeBlob(data []byte) (Digest, error) {
	d := digestOf(data)
	if s.hasBlob(d, int64(len(data))) {
		return d, nil
	}
	return d, state.Replace(s.blob(d), data, state.Volatile)
}

// blobWriter takes content whose digest is perhaps not known before its end, aside, and moves it into place.
type blobWriter struct {
	store *Store
	file  *os.File
	hash  hash.Hash
	size  int64
}

func (s *Store) newBlob() (*blobWriter, error) {
	f, err := os.CreateTemp(s.ingest(), "new-*")
	if err != nil {
		return nil, fmt.Errorf("store content: %w", err)
	}
	return &blobWriter{store: s, file: f, hash: sha256.New()}, nil
}

func (w *blobWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.hash.Write(p[:n])
	w.size += int64(n)
	return n, err
}

func (w *blobWriter) digest() Digest { return Digest("sha256:" + hex.EncodeToString(w.hash.Sum(nil))) }

// commit gives the content its name. want may be "" when any content will do.
func (w *blobWriter) commit(want Digest) (Digest, error) {
	got := w.digest()
	if want != "" && got != want {
		return "", errors.Join(fmt.Errorf("content that should have the digest %s has %s", want, got), w.abort())
	}
	if err := w.file.Close(); err != nil {
		return "", errors.Join(err, os.Remove(w.file.Name()))
	}
	if err := os.Rename(w.file.Name(), w.store.blob(got)); err != nil {
		return "", errors.Join(err, os.Remove(w.file.Name()))
	}
	return got, nil
}

func (w *blobWriter) abort() error { return errors.Join(w.file.Close(), os.Remove(w.file.Name())) }

// storeStream puts all of r into the store.
func (s *Store) storeStream(ctx context.Context, r io.Reader, want Digest) (Digest, int64, error) {
	w, err := s.newBlob()
	if err != nil {
		return "", 0, err
	}
	if _, err := io.CopyBuffer(onlyWriter{w}, &contextReader{ctx, r}, make([]byte, 256<<10)); err != nil {
		return "", 0, errors.Join(err, w.abort())
	}
	d, err := w.commit(want)
	return d, w.size, err
}

// onlyWriter hides other methods, so that io.Copy uses the buffer that it is given.
type onlyWriter struct{ io.Writer }

// contextReader ends with the context's error when the work is called off.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// The index is for other programs; here the names are the truth. It is changed under lockIndex.

func (s *Store) indexPath() string { return filepath.Join(s.images(), "index.json") }

func (s *Store) readIndex() (*manifest, error) {
	var index manifest
	data, err := state.ReadFile(s.indexPath())
	if errors.Is(err, fs.ErrNotExist) {
		return &manifest{SchemaVersion: 2, MediaType: mediaOCIIndex, Manifests: []Descriptor{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the images' index: %w", err)
	}
	if json.Unmarshal(data, &index) != nil {
		return s.rebuildIndex() // torn by a power failure; nothing is in it that is not elsewhere
	}
	return &index, nil
}

// rebuildIndex makes the index anew, of the names and records. The caller has lockIndex.
func (s *Store) rebuildIndex() (*manifest, error) {
	records, err := s.readRecords()
	if err != nil {
		return nil, err
	}
	named, err := s.readNames()
	if err != nil {
		return nil, err
	}
	index := indexOf(records, named)
	return index, s.writeIndex(index)
}

// indexOf is what the index should say.
func indexOf(records []*record, named map[Digest][]Reference) *manifest {
	index := &manifest{SchemaVersion: 2, MediaType: mediaOCIIndex}
	for _, r := range records {
		index.Manifests = append(index.Manifests, r.entries(named[r.ID])...)
	}
	return index
}

// says compares two indexes, whatever the order of their entries.
func (index *manifest) says(other *manifest) bool {
	type entry struct {
		name     string
		manifest Digest
	}
	mine := make(map[entry]bool, len(index.Manifests))
	for _, d := range index.Manifests {
		mine[entry{d.Annotations[annotationRefName], d.Digest}] = true
	}
	for _, d := range other.Manifests {
		if !mine[entry{d.Annotations[annotationRefName], d.Digest}] {
			return false
		}
	}
	return len(index.Manifests) == len(other.Manifests)
}

func (s *Store) writeIndex(index *manifest) error {
	if index.Manifests == nil {
		index.Manifests = []Descriptor{}
	}
	data, err := encode(index)
	if err != nil {
		return err
	}
	return state.Replace(s.indexPath(), data, state.Volatile)
}

// entries are what the index says of an image: one for each tag, or one without a name.
func (r *record) entries(names []Reference) (list []Descriptor) {
	for _, name := range withoutDigests(names) {
		d := r.descriptor()
		d.Annotations = map[string]string{annotationRefName: name.String()}
		list = append(list, d)
	}
	if len(list) == 0 {
		list = append(list, r.descriptor())
	}
	return list
}

// indexed puts an entry into the index, in place of another of that name.
func (index *manifest) indexed(d Descriptor) {
	index.unindexed(d.Annotations[annotationRefName], d.Digest)
	index.Manifests = append(index.Manifests, d)
}

// unindexed takes a name out; the name "" means the nameless entry of the manifest d.
func (index *manifest) unindexed(name string, d Digest) {
	index.Manifests = slices.DeleteFunc(index.Manifests, func(m Descriptor) bool {
		return m.Annotations[annotationRefName] == name && (name != "" || m.Digest == d)
	})
}
