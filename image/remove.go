package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mydocker/mydocker/state"
)

// RemoveOptions say how hard Remove tries.
type RemoveOptions struct {
	// Force removes an image by its id although it has names in several repositories, and takes the names of an image
	// that is in use (which then stays without a name).
	Force bool
	// InUse names the containers that are made of an image; they keep it from being removed.
	InUse func(id Digest) []string
}

// Removed is one line of what `rmi` prints: a name that is gone, or content that is.
type Removed struct {
	Untagged string `json:",omitempty"`
	Deleted  string `json:",omitempty"`
}

// Remove takes a name away, and with the last one the image: rmi. Layers that no image needs any more are collected.
func (s *Store) Remove(ref string, o RemoveOptions) ([]Removed, error) {
	removed, gone, err := s.removeNames(ref, o)
	if err != nil || !gone {
		return removed, err
	}
	layers, err := s.Collect(context.Background())
	for _, l := range layers {
		removed = append(removed, Removed{Deleted: string(l)})
	}
	return removed, err
}

// removeNames is the part of Remove that takes effect for everybody at once. gone says that the image has gone too.
func (s *Store) removeNames(ref string, o RemoveOptions) (removed []Removed, gone bool, err error) {
	lock, err := s.lockIndex()
	if err != nil {
		return nil, false, err
	}
	defer lock.Release()
	r, err := s.look(ref)
	if err != nil {
		return nil, false, err
	}
	named, err := s.readNames()
	if err != nil {
		return nil, false, err
	}
	goes, stays := namesToRemove(ref, r.ID, named[r.ID])
	if len(stays) == 0 {
		if err := mayRemove(ref, r.ID, goes, o); err != nil {
			return nil, false, err
		}
	}
	inUse := o.InUse != nil && len(o.InUse(r.ID)) > 0
	index, err := s.readIndex()
	if err != nil {
		return nil, false, err
	}
	for _, name := range goes {
		if err := os.Remove(s.namePath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, false, err
		}
		index.unindexed(name.String(), r.Manifest)
		removed = append(removed, Removed{Untagged: name.Familiar()})
	}
	switch {
	case len(stays) > 0:
	case inUse:
		index.indexed(r.descriptor())
	default:
		index.unindexed("", r.Manifest)
		if err := os.Remove(s.idPath(r.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, false, err
		}
		removed, gone = append(removed, Removed{Deleted: string(r.ID)}), true
	}
	return removed, gone, s.writeIndex(index)
}

// namesToRemove: a name takes itself, and with the repository's last tag its digests; an id takes all names.
func namesToRemove(ref string, id Digest, names []Reference) (goes, stays []Reference) {
	asked, err := ParseReference(ref)
	if asked.Digest != "" {
		asked.Tag = ""
	}
	byName := err == nil && slices.Contains(names, asked)
	if !byName {
		return names, nil
	}
	otherTags := slices.ContainsFunc(names, func(n Reference) bool { return n.Name() == asked.Name() && n.Tag != "" && n != asked })
	for _, n := range names {
		if n == asked || n.Digest != "" && n.Name() == asked.Name() && !otherTags {
			goes = append(goes, n)
		} else {
			stays = append(stays, n)
		}
	}
	return goes, stays
}

// mayRemove refuses what Docker refuses, with the way out.
func mayRemove(ref string, id Digest, names []Reference, o RemoveOptions) error {
	if o.Force {
		return nil
	}
	if o.InUse != nil {
		if containers := o.InUse(id); len(containers) > 0 {
			return fmt.Errorf("image %s is used by container %s: remove it first (mydocker rm %s), or take only the image's names with --force",
				ref, strings.Join(containers, ", "), strings.Join(containers, " "))
		}
	}
	for _, n := range names {
		if n.Name() != names[0].Name() {
			return fmt.Errorf("image %s has names in several repositories (%s and %s): remove them one by one, or all with --force", ref, names[0].Familiar(), n.Familiar())
		}
	}
	return nil
}

// Hold keeps images and layers from being collected until the lock is released. Whoever makes a container holds the
// store from before Get until the container's record is written.
func (s *Store) Hold() (*state.Lock, error) { return s.hold() }

// stalePart is how long the beginning of a layer whose pull was interrupted is kept for the next try.
const stalePart = 24 * time.Hour

// Collect removes what no image's record reaches, by subtracting sets: blobs and layers that are there, less those
// that records name. While somebody adds to the store it does nothing, and whoever collects next does its work.
// It returns the chain ids of the layers that are gone.
func (s *Store) Collect(ctx context.Context) ([]Digest, error) {
	if _, err := os.Lstat(s.images()); errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nothing was ever stored
	}
	lock, err := state.TryLock(s.root.Lock("images"))
	if errors.Is(err, state.ErrLocked) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	gone, err := s.unlinkUnreached()
	if err := errors.Join(err, lock.Release()); err != nil {
		return gone, err
	}
	return gone, errors.Join(err, s.removeAside()) // the slow part is done without the lock
}

// removeAside removes the layers that setAside has taken the names of: they are nobody's.
func (s *Store) removeAside() (err error) {
	for name := range s.entries(s.layers(), &err) {
		if strings.HasPrefix(name, "old-") {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.layers(), name)))
		}
	}
	return err
}

// unlinkUnreached takes away the names of unreached content, and makes index.json say what is there. A layer is moved aside as a whole,
// so that half of it can never be taken for all of it. Nobody adds to the store meanwhile.
func (s *Store) unlinkUnreached() (gone []Digest, err error) {
	lock, err := s.lockIndex()
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	records, err := s.readRecords()
	if err == nil {
		err = s.removeTorn(records)
	}
	if err != nil {
		return nil, err
	}
	blobs, layers := map[string]bool{}, map[string]bool{}
	for _, r := range records {
		for _, d := range append([]Digest{r.ID, r.Manifest}, r.Blobs...) {
			blobs[d.Encoded()] = true
		}
		for _, d := range r.Layers {
			layers[d.Encoded()] = true
		}
	}
	for name := range s.entries(s.blobs(), &err) {
		if !blobs[name] {
			err = errors.Join(err, os.Remove(filepath.Join(s.blobs(), name)))
		}
	}
	for name, entry := range s.entries(s.ingest(), &err) {
		info, statErr := entry.Info()
		hex, part := strings.CutSuffix(name, ".part")
		if part && !blobs[hex] && statErr == nil && time.Since(info.ModTime()) < stalePart {
			continue
		}
		err = errors.Join(err, statErr, os.Remove(filepath.Join(s.ingest(), name)))
	}
	for name := range s.entries(s.layers(), &err) {
		if layers[name] || strings.HasPrefix(name, "old-") {
			continue
		}
		err = errors.Join(err, s.setAside(name))
		if isHex64(name) {
			gone = append(gone, Digest("sha256:"+name))
		}
	}
	return gone, errors.Join(err, s.tidyIndex(records))
}

// setAside takes a layer's name away; removeAside removes the rest.
func (s *Store) setAside(name string) error {
	return os.Rename(filepath.Join(s.layers(), name), filepath.Join(s.layers(), fmt.Sprintf("old-%s-%d", name, os.Getpid())))
}

// tidyIndex removes names that lead nowhere, which a power failure or a full disk can leave, and writes index.json anew if it does not
// say what records and names do: its last writer may have been killed before it was done. The caller has lockIndex.
func (s *Store) tidyIndex(records []*record) error {
	named, err := s.readNames()
	if err != nil {
		return err
	}
	for id, names := range named {
		if _, err := os.Lstat(s.idPath(id)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for _, name := range names {
			if err := os.Remove(s.namePath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	index, err := s.readIndex()
	if err != nil {
		return err
	}
	if right := indexOf(records, named); !index.says(right) {
		return s.writeIndex(right)
	}
	return nil
}

// entries is a directory's content; that it is missing is as good as empty.
func (s *Store) entries(dir string, err *error) map[string]fs.DirEntry {
	list, readErr := os.ReadDir(dir)
	if !errors.Is(readErr, fs.ErrNotExist) {
		*err = errors.Join(*err, readErr)
	}
	found := make(map[string]fs.DirEntry, len(list))
	for _, e := range list {
		found[e.Name()] = e
	}
	return found
}
