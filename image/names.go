package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mydocker/mydocker/state"
)

// namePath: no name has a "+", so it can stand for the slashes. With a digest, the tag does not count.
func (s *Store) namePath(r Reference) string {
	if r.Digest != "" {
		r.Tag = ""
	}
	return filepath.Join(s.names(), strings.ReplaceAll(r.String(), "/", "+"))
}

// readNames is which names each image has.
func (s *Store) readNames() (map[Digest][]Reference, error) {
	entries, err := os.ReadDir(s.names())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	named := make(map[Digest][]Reference, len(entries))
	for _, e := range entries {
		ref, err := ParseReference(strings.ReplaceAll(e.Name(), "+", "/"))
		if err != nil {
			continue // the aside file of a name that is being made
		}
		target, err := os.Readlink(filepath.Join(s.names(), e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		id := Digest("sha256:" + strings.TrimSuffix(filepath.Base(target), ".json"))
		named[id] = append(named[id], ref)
	}
	return named, nil
}

func splitNames(refs []Reference) (tags, digests []string) {
	tags, digests = []string{}, []string{}
	for _, r := range refs {
		if r.Digest != "" {
			digests = append(digests, r.Familiar())
		} else {
			tags = append(tags, r.Familiar())
		}
	}
	return tags, digests
}

// Tag gives the image src another name. A name that another image had moves.
func (s *Store) Tag(src, dst string) error {
	ref, err := ParseReference(dst)
	if err != nil {
		return err
	}
	if ref.Digest != "" {
		return fmt.Errorf("tag %q: a digest names content and cannot be given; name a tag", dst)
	}
	lock, err := s.lockIndex()
	if err != nil {
		return err
	}
	defer lock.Release()
	r, err := s.look(src)
	if err != nil {
		return err
	}
	return s.rename(r, ref)
}

// namedRecord is an image that is ready to be known, with the names that it shall have.
type namedRecord struct {
	*record
	names []Reference
}

func (img namedRecord) image() *Image {
	i := img.record.image()
	i.RepoTags, i.RepoDigests = splitNames(img.names)
	return i
}

// publish makes images known, with their names, all at once; index.json, which has all images, is written once however many they are.
// Their layers and blobs are there already. The index comes first: it is the largest, and what it says too much after a kill -9 or on a
// full disk the next Collect takes out again. The caller holds the store.
func (s *Store) publish(images ...namedRecord) error {
	for _, img := range images {
		for _, name := range img.names {
			if len(name.String()) > 250 {
				return fmt.Errorf("the image name %q is longer than the 250 characters that fit into a file name", name)
			}
		}
	}
	lock, err := s.lockIndex()
	if err != nil {
		return err
	}
	defer lock.Release()
	boot, err := s.boot()
	if err == nil {
		err = s.addToIndex(images...)
	}
	var fresh []string
	for _, img := range images {
		if err != nil {
			break
		}
		path := s.idPath(img.ID)
		if _, absent := os.Lstat(path); absent != nil {
			fresh = append(fresh, path)
		}
		img.Boot = boot
		err = state.ReplaceJSON(path, img.record, state.Volatile)
	}
	for _, img := range images {
		if err == nil {
			err = s.setNames(img)
		}
	}
	if err == nil {
		return nil
	}
	for _, path := range fresh { // nothing half-stored; names without a record go with the next Collect
		if removeErr := os.Remove(path); !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	return err
}

// rename gives a known image more names. The caller has lockIndex.
func (s *Store) rename(r *record, names ...Reference) error {
	img := namedRecord{r, names}
	if err := s.addToIndex(img); err != nil {
		return err
	}
	return s.setNames(img)
}

// addToIndex writes images under their names into index.json; those without a tag have an entry of their own. The caller has lockIndex.
func (s *Store) addToIndex(images ...namedRecord) error {
	index, err := s.readIndex()
	if err != nil {
		return err
	}
	for _, img := range images {
		for _, entry := range img.entries(img.names) {
			index.indexed(entry)
		}
	}
	return s.writeIndex(index)
}

// setNames points names at an image: ln -sfn ../ids/ID.json NAME. The caller has lockIndex.
func (s *Store) setNames(img namedRecord) error {
	for _, name := range img.names {
		if err := replaceLink(filepath.Join("..", "ids", img.ID.Encoded()+".json"), s.namePath(name)); err != nil {
			return fmt.Errorf("name the image %s: %w", name, err)
		}
	}
	return nil
}

// replaceLink is ln -sfn, atomic: the link is made aside and moved.
func replaceLink(target, path string) error {
	if len(filepath.Base(path)) > 255 {
		return fmt.Errorf("the name is longer than a file name may be")
	}
	aside := filepath.Join(filepath.Dir(path), ".new-link") // one at a time: the caller has the lock
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, aside); err != nil {
		return err
	}
	if err := os.Rename(aside, path); err != nil {
		return errors.Join(err, os.Remove(aside))
	}
	return nil
}
