package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// Options are what the store is told besides where it lies.
type Options struct {
	Watch plan.Watcher
	// Warn is told what a user should know although it is no error; nil tells nobody.
	Warn func(message string)
}

// Store is the images and layers under one root. Any number of processes use it at once.
type Store struct {
	root  state.Root
	watch plan.Watcher
	warn  func(string)
	boot  func() (string, error) // the identifier of this boot of the machine
}

// Open has no effect and reads nothing: directories are made by the first thing that is stored.
func Open(root state.Root, o Options) (*Store, error) {
	return &Store{root: root, watch: o.Watch, warn: o.Warn, boot: readBootID}, nil
}

// record is ids/<image id>.json: all that running a container of the image needs, in one small file. A name is a
// symbolic link to it: names/docker.io+library+busybox:latest -> ../ids/<image id>.json
type record struct {
	ID           Digest    `json:"id"`
	Manifest     Digest    `json:"manifest"`
	ManifestSize int64     `json:"manifestSize"`
	ManifestType string    `json:"manifestType"`
	Size         int64     `json:"size"`
	Stored       time.Time `json:"stored"`
	Layers       []Digest  `json:"layers"`
	// Blobs are the layers' archives, as the manifest names them.
	Blobs []Digest `json:"blobs"`
	// Boot is the boot of the machine in which the image was stored, until it is known to be on the disk: settle.go.
	Boot   string `json:"boot,omitempty"`
	Config Config `json:"config"`
}

func (r *record) image() *Image {
	img := &Image{ID: r.ID, Manifest: r.Manifest, Config: r.Config, Size: r.Size, Layers: r.Layers, Archives: r.Blobs}
	if r.Config.Created != nil {
		img.Created = *r.Config.Created
	}
	return img
}

func (r *record) descriptor() Descriptor {
	return Descriptor{MediaType: r.ManifestType, Digest: r.Manifest, Size: r.ManifestSize,
		Platform: &Platform{Architecture: r.Config.Architecture, OS: r.Config.OS, Variant: r.Config.Variant}}
}

// Get finds an image by name, id, unique prefix of an id, or name@digest. It is on the way of every `run`, so it reads
// one small file and leaves RepoTags and RepoDigests empty; Inspect fills them.
func (s *Store) Get(ref string) (*Image, error) {
	r, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	return r.image(), nil
}

// Inspect is Get with the image's names.
func (s *Store) Inspect(ref string) (*Image, error) {
	r, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	named, err := s.readNames()
	if err != nil {
		return nil, err
	}
	img := r.image()
	img.RepoTags, img.RepoDigests = splitNames(named[r.ID])
	return img, nil
}

// find is Get on the level of records.
func (s *Store) find(ref string) (*record, error) {
	r, err := s.look(ref)
	if err != nil || r.Boot == "" {
		return r, err
	}
	if err := s.EnsureChecked(); err != nil {
		return nil, err
	}
	return s.look(ref) // a power failure may have taken it
}

// look is find without regard to power failures: for who has lockIndex, which mending takes.
func (s *Store) look(ref string) (*record, error) {
	if hex := strings.TrimPrefix(ref, "sha256:"); isHex64(hex) {
		return s.readRecord(s.idPath(Digest("sha256:"+hex)), ref)
	}
	name, err := ParseReference(ref)
	if err == nil {
		var r *record
		if r, err = s.readRecord(s.namePath(name), ref); !errors.Is(err, fs.ErrNotExist) {
			return r, err
		}
	}
	prefix := strings.TrimPrefix(ref, "sha256:")
	if prefix != "" && isHex(prefix) {
		id, err := s.findPrefix(prefix)
		if err != nil {
			return nil, err
		}
		if id != "" {
			return s.readRecord(s.idPath(id), ref)
		}
	}
	return nil, err
}

func (s *Store) findPrefix(prefix string) (Digest, error) {
	entries, err := os.ReadDir(s.ids())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var found Digest
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("several image ids start with %q: give more digits (mydocker images --no-trunc shows them)", prefix)
		}
		found = Digest("sha256:" + strings.TrimSuffix(e.Name(), ".json"))
	}
	return found, nil
}

func notHere(ref string) error {
	return absent(fmt.Sprintf("no image %q here; get it with `mydocker pull %s`, or from an archive with `mydocker load` or `mydocker import`", ref, ref))
}

func (s *Store) readRecord(path, ref string) (*record, error) {
	data, err := readRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notHere(ref)
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of image %q: %w", ref, err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil && isTorn(data) {
		return nil, absent(fmt.Sprintf("image %q is not here any more: the machine stopped before it was on the disk; pull or load it again", ref))
	} else if err != nil {
		return nil, fmt.Errorf("the record %s of image %q is damaged: %w; load or pull the image again", path, ref, err)
	}
	return &r, nil
}

// readRegular is os.ReadFile without what that does for pipes and terminals: four more system calls for each file, which a list of
// a thousand images feels.
func readRegular(path string) ([]byte, error) {
	fd, err := openatRetry(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	data := make([]byte, 0, 8<<10)
	for {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		if n > 0 {
			data = data[:len(data)+n]
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return data, err
		}
		data = slices.Grow(data, 1)
	}
}

// List is all images with their names, newest first.
func (s *Store) List() ([]*Image, error) {
	named, err := s.readNames()
	if err != nil {
		return nil, err
	}
	records, err := s.readRecords()
	if err != nil {
		return nil, err
	}
	images := make([]*Image, len(records))
	for i, r := range records {
		images[i] = r.image()
		images[i].RepoTags, images[i].RepoDigests = splitNames(named[r.ID])
	}
	slices.SortFunc(images, func(a, b *Image) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return images, nil
}

// readRecords reads all records, on all processors: `images` with a thousand images is a matter of parsing.
func (s *Store) readRecords() ([]*record, error) {
	entries, err := os.ReadDir(s.ids())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	found := make([]*record, len(entries))
	errs := make([]error, len(entries))
	workers := min(runtime.GOMAXPROCS(0), 1+len(entries)/32)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < len(entries); i += workers {
				name := entries[i].Name()
				if !strings.HasSuffix(name, ".json") || strings.HasPrefix(name, ".") {
					continue
				}
				found[i], errs[i] = s.readRecord(filepath.Join(s.ids(), name), name)
				if errors.Is(errs[i], fs.ErrNotExist) {
					found[i], errs[i] = nil, nil // removed since the directory was read
				}
			}
		})
	}
	all.Wait()
	return slices.DeleteFunc(found, func(r *record) bool { return r == nil }), errors.Join(errs...)
}

func (s *Store) idPath(id Digest) string { return filepath.Join(s.ids(), id.Encoded()+".json") }
