package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// After the power has failed, a file that was being written can be short, empty or full of zeros, though it has its name and
// perhaps its size: file systems keep their own books in order, not ours. What had settled (settle.go) is whole. The rest is
// looked at once in each boot, before anything is added and before anything is mounted:
//
//	an image that had not settled   its archives are read and verified; if they are good its layers are unpacked again,
//	                                else the image is removed, with a sentence that says so
//	what belongs to no image        removed: nothing vouches for it
//
// That this boot has looked is remembered in a file under RUN, which is empty after a boot: one access(2) on the way of `run`.

func (s *Store) checkedPath() string { return filepath.Join(s.root.Run, "images-checked") }

// EnsureChecked looks for what a power failure has left, if nobody has since the machine was started. What uses the store does so by
// itself; who lets another process use it does so before, because what it tells is for the user's terminal.
func (s *Store) EnsureChecked() error {
	if unix.Access(s.checkedPath(), unix.F_OK) == nil {
		return nil
	}
	lock, err := state.AcquireLock(s.root.Lock("images-check"))
	if err != nil {
		return err
	}
	defer lock.Release()
	hold, err := s.hold() // nobody collects meanwhile
	if err != nil {
		return err
	}
	defer hold.Release()
	if unix.Access(s.checkedPath(), unix.F_OK) == nil {
		return nil
	}
	if _, err := os.Lstat(s.images()); !errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(err, s.check()); err != nil {
			return fmt.Errorf("look after the images since the last start of the machine: %w", err)
		}
	}
	return state.Replace(s.checkedPath(), nil, state.Volatile)
}

// check is done by one process in each boot, before anybody adds to the store.
func (s *Store) check() error {
	boot, err := s.boot()
	if err != nil {
		return err
	}
	records, err := s.readRecords()
	if err != nil {
		return err
	}
	sound := map[Digest]bool{}
	var doubtful, mended []*record
	for _, r := range records {
		if r.Boot != "" && r.Boot != boot {
			doubtful = append(doubtful, r)
			continue
		}
		for _, d := range r.Layers {
			sound[d] = true
		}
	}
	for _, r := range doubtful {
		damage, err := s.mend(r, sound)
		if err != nil {
			return fmt.Errorf("image %s: %w", r.ID.Short(), err)
		}
		if damage == nil {
			mended = append(mended, r)
			continue
		}
		s.tell("the machine stopped before image %s was wholly on the disk, and %v: it is removed; pull or load it again", s.called(r), damage)
		if _, _, err := s.removeNames(string(r.ID), RemoveOptions{Force: true}); err != nil {
			return err
		}
	}
	if _, err := s.unlinkUnreached(); err != nil {
		return err
	}
	return errors.Join(s.settle(mended), s.removeAside())
}

// mend verifies the archives of an image that had not settled, and unpacks its layers again, but for those that are sound. What
// is wrong with the archives is the damage; an error is what keeps us from finding out or from unpacking.
func (s *Store) mend(r *record, sound map[Digest]bool) (damage, err error) {
	for _, d := range []Digest{r.ID, r.Manifest} {
		if damage := s.verifyBlob(Descriptor{Digest: d, Size: -1}); damage != nil {
			return damage, nil
		}
	}
	rawManifest, err := s.readBlob(r.Manifest)
	if err != nil {
		return nil, err
	}
	m, damage := parseManifest(rawManifest)
	if damage != nil || len(m.Layers) != len(r.Layers) || len(m.Layers) != len(r.Config.RootFS.DiffIDs) {
		return errors.Join(damage, errors.New("its record does not fit")), nil
	}
	s.tell("the machine stopped before image %s was wholly on the disk: verifying it, and unpacking it again", s.called(r))
	sources := make([]layerSource, len(m.Layers))
	for i, d := range m.Layers {
		if damage := s.verifyBlob(d); damage != nil {
			return damage, nil
		}
		sources[i] = layerSource{diffID: r.Config.RootFS.DiffIDs[i], archive: d.Digest,
			open: func(context.Context) (io.ReadCloser, error) { return s.keep(nil, d) }}
	}
	for _, id := range r.Layers {
		if !sound[id] && s.hasLayer(id) {
			if err := s.setAside(id.Encoded()); err != nil {
				return nil, err
			}
		}
		sound[id] = true // in a moment
	}
	_, _, err = s.unpackLayers(context.Background(), sources)
	return nil, wayOut(err)
}

// verifyBlob reads a blob to its end.
func (s *Store) verifyBlob(d Descriptor) error {
	f, err := os.Open(s.blob(d.Digest))
	if err != nil {
		return err
	}
	r := newVerifyReader(f, d.Digest, d.Size)
	_, err = io.CopyBuffer(onlyWriter{io.Discard}, r, make([]byte, 256<<10))
	return errors.Join(err, r.Close())
}

// called is the image's name, or else its id.
func (s *Store) called(r *record) string {
	if named, err := s.readNames(); err == nil {
		if tags, digests := splitNames(named[r.ID]); len(tags)+len(digests) > 0 {
			return append(tags, digests...)[0]
		}
	}
	return r.ID.Short()
}

func (s *Store) tell(format string, args ...any) {
	if s.warn != nil {
		s.warn(fmt.Sprintf(format, args...))
	}
}

// isTorn says whether a record looks as a power failure leaves it: empty, cut off, or with zeros where the disk had nothing yet.
func isTorn(data []byte) bool {
	text := strings.TrimRight(string(data), " \n")
	return !strings.HasSuffix(text, "}") || bytes.IndexByte(data, 0) >= 0
}

// removeTorn removes records that cannot be read because the power failed: such an image was never finished.
func (s *Store) removeTorn(whole []*record) (err error) {
	known := map[string]bool{}
	for _, r := range whole {
		known[filepath.Base(s.idPath(r.ID))] = true
	}
	for name := range s.entries(s.ids(), &err) {
		if isHex64(strings.TrimSuffix(name, ".json")) && !known[name] {
			err = errors.Join(err, os.Remove(filepath.Join(s.ids(), name)))
		}
	}
	return err
}
