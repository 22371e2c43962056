package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CommitOptions describe the image that Commit makes of a container.
type CommitOptions struct {
	Rootfs    Rootfs // the container's; only its upper directory is read
	Base      *Image // the image that it was made of
	Config    *ContainerConfig
	Reference string // "" leaves the image without a name
	Author    string
	Message   string
	Changes   []string // Dockerfile instructions
	Command   []string // what the container ran, for the history
}

// Commit makes an image of a container: its base's layers, and on top one more with what the container has changed.
// Config, if given, replaces the base's configuration, and Changes change it. The container may run; whoever wants a
// consistent picture pauses it.
func (s *Store) Commit(ctx context.Context, o CommitOptions) (*Image, error) {
	config := o.Base.Config
	if o.Config != nil {
		config.Config = *o.Config
	}
	if err := ApplyChanges(&config.Config, o.Changes); err != nil {
		return nil, err
	}
	var names []Reference
	if o.Reference != "" {
		ref, err := ParseReference(o.Reference)
		if err != nil {
			return nil, err
		}
		if ref.Digest != "" {
			return nil, fmt.Errorf("commit %s: a digest cannot be given to an image; name a tag", o.Reference)
		}
		names = []Reference{ref}
	}
	images, err := s.loading(ctx, func() ([]namedRecord, error) {
		img, err := s.commit(ctx, o, config, names)
		return []namedRecord{img}, err
	})
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return images[0], nil
}

func (s *Store) commit(ctx context.Context, o CommitOptions, config Config, names []Reference) (img namedRecord, err error) {
	if o.Rootfs.isCopied() {
		return img, errCopied
	}
	base, err := s.readBlob(o.Base.Manifest)
	if err != nil {
		return img, fmt.Errorf("the image it was made of: %w", err)
	}
	m, err := parseManifest(base)
	if err != nil {
		return img, err
	}
	layer, err := s.storeDiff(ctx, o.Rootfs.Upper)
	if err != nil {
		return img, err
	}
	now := time.Now().UTC()
	config.Created, config.Author = &now, o.Author
	config.RootFS = RootFSConfig{Type: "layers", DiffIDs: append(slices.Clone(config.RootFS.DiffIDs), layer.Digest)}
	config.History = append(slices.Clone(config.History), History{Created: &now, Author: o.Author, Comment: o.Message, CreatedBy: strings.Join(o.Command, " ")})
	return s.gatherMade(ctx, append(slices.Clone(m.Layers), layer), config, names)
}

// errCopied: without an upper directory nobody has written down what was changed.
var errCopied = errors.New("this container's root file system is a copy, because overlayfs cannot be used here, so its changes are not known; " +
	"take all of it with `mydocker export` and `mydocker import`")

// storeDiff puts a container's upper directory into the blobs as a layer's archive.
func (s *Store) storeDiff(ctx context.Context, upper string) (Descriptor, error) {
	w, err := s.newBlob()
	if err != nil {
		return Descriptor{}, err
	}
	if err := writeDiff(ctx, upper, w, false); err != nil {
		return Descriptor{}, errors.Join(err, w.abort())
	}
	d := Descriptor{MediaType: mediaOCILayer, Size: w.size}
	d.Digest, err = w.commit("")
	return d, err
}

// writeDiff archives what a container has changed, from its upper directory, as a layer: whiteouts for what is gone,
// markers for directories through which nothing shines. marked is as treeWriter's.
func writeDiff(ctx context.Context, upper string, w io.Writer, marked bool) error {
	fd, err := openDirectory(upper)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	t := newTreeWriter(ctx, w)
	t.layer, t.marked = true, marked
	if err := t.writeTree(fd, ""); err != nil {
		return err
	}
	return t.tar.Close()
}

// Export archives a whole root file system: the directory that root is open on, a mounted overlay.
func Export(ctx context.Context, root *os.File, w io.Writer) error {
	t := newTreeWriter(ctx, w)
	if err := t.writeTree(int(root.Fd()), ""); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return t.tar.Close()
}

// Change is one line of `diff`: Kind is A for added, C for changed, D for deleted.
type Change struct {
	Kind byte
	Path string
}

// Diff lists what a container has changed, in the order of names.
func (r Rootfs) Diff() ([]Change, error) {
	if r.isCopied() {
		return nil, errCopied
	}
	upper, err := openDirectory(r.Upper)
	if err != nil {
		return nil, err
	}
	defer unix.Close(upper)
	d := &differ{}
	defer func() {
		for _, fd := range d.lower {
			unix.Close(fd)
		}
	}()
	for _, dir := range r.Lower {
		fd, err := openDirectory(dir)
		if err != nil {
			return nil, err
		}
		d.lower = append(d.lower, fd)
	}
	if err := d.walk(upper, "", false); err != nil {
		return nil, fmt.Errorf("compare with the image: %w", err)
	}
	return d.changes, nil
}

type differ struct {
	lower   []int
	changes []Change
}

// walk compares one directory of the upper layer. fresh says that the image has nothing at this place.
func (d *differ) walk(dir int, prefix string, fresh bool) error {
	names, err := readNames(dir)
	if err != nil {
		return err
	}
	for _, base := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); errors.Is(err, unix.ENOENT) {
			continue
		} else if err != nil {
			return err
		}
		name := prefix + "/" + base
		below := false
		if !fresh {
			if below, err = d.existsBelow(name[1:]); err != nil {
				return err
			}
		}
		switch {
		case isWhiteout(&st):
			if below {
				d.changes = append(d.changes, Change{'D', name})
			}
			continue
		case below:
			d.changes = append(d.changes, Change{'C', name})
		default:
			d.changes = append(d.changes, Change{'A', name})
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		fd, err := openatRetry(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = d.walk(fd, name, !below)
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// existsBelow says whether the image has a name.
func (d *differ) existsBelow(name string) (bool, error) {
	parent, err := findBelow(d.lower, name)
	if errors.Is(err, errNoTarget) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, unix.Close(parent)
}
