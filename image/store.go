package image

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

var errTODO = errors.New("not written yet")

// Options are what the store is told besides where it lies.
type Options struct {
	Watch plan.Watcher
}

// Store is the images and layers under one root.
type Store struct {
	root  state.Root
	watch plan.Watcher
}

// Open has no effect and reads nothing: directories are made by the first thing that is stored.
func Open(root state.Root, o Options) (*Store, error) {
	return &Store{root: root, watch: o.Watch}, nil
}

// Get finds an image by name, by id, by a unique prefix of an id or by name@digest.
func (s *Store) Get(ref string) (*Image, error) { return nil, errTODO }

// List is all images, newest first.
func (s *Store) List() ([]*Image, error) { return nil, errTODO }

// Tag gives the image src another name.
func (s *Store) Tag(src, dst string) error { return errTODO }

// RemoveOptions say how hard Remove tries.
type RemoveOptions struct {
	// Force removes an image by its id although it has several names.
	Force bool
	// InUse names the containers that are made of an image; they keep it from being removed.
	InUse func(id Digest) []string
}

// Removed is one line of what `rmi` prints: a name that is gone, or content that is.
type Removed struct {
	Untagged string `json:",omitempty"`
	Deleted  string `json:",omitempty"`
}

// Remove takes a name away, and with the last one the image.
func (s *Store) Remove(ref string, o RemoveOptions) ([]Removed, error) { return nil, errTODO }

// ImportOptions describe the image that Import makes.
type ImportOptions struct {
	Reference string   // its name; "" leaves it without
	Message   string   // the comment in its history
	Changes   []string // Dockerfile instructions: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR, STOPSIGNAL, …
	Platform  string   // os/architecture[/variant]; "" is the host's
}

// Import makes an image of one layer from the archive of a root file system, compressed or not.
func (s *Store) Import(ctx context.Context, r io.Reader, o ImportOptions) (*Image, error) {
	return nil, errTODO
}

// Load reads the images of an archive file or an OCI layout directory.
func (s *Store) Load(ctx context.Context, path string) ([]*Image, error) { return nil, errTODO }

// LoadStream is Load of an archive that comes through a pipe.
func (s *Store) LoadStream(ctx context.Context, r io.Reader) ([]*Image, error) { return nil, errTODO }

// BootstrapOptions describe the image that Bootstrap makes.
type BootstrapOptions struct {
	Busybox   string // the static busybox; "" looks in the usual places
	Reference string // "" is busybox:latest
}

// Bootstrap makes an image from the host's static busybox; it needs no network.
func (s *Store) Bootstrap(ctx context.Context, o BootstrapOptions) (*Image, error) {
	return nil, errTODO
}

// Rootfs is what one container's overlay is stacked of.
type Rootfs struct {
	Lower       []string // layers, the top one first
	Upper, Work string
	// Volatile forgoes syncing the file system when it is unmounted: for containers that are removed when they end.
	Volatile bool
}

// Rootfs makes dir/upper and dir/work and names the layers below them.
func (s *Store) Rootfs(img *Image, dir string) (Rootfs, error) { return Rootfs{}, errTODO }

// Mount makes a detached overlay mount: the descriptor can be used with openat(2) and move_mount(2), and nothing
// appears in the host's mount table.
func (r Rootfs) Mount(w plan.Watcher) (*os.File, error) { return nil, errTODO }
