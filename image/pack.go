package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
)

// LayoutDir is the directory with the OCI image layout.
func (s *Store) LayoutDir() string { return s.images() }

// Pack sees to it that an image's layers are stored compressed, as registries want them: what was loaded, imported or
// committed lies there unpacked. The image keeps its id; its manifest becomes another one, which is kept from then on,
// so that the digest is the same here and in the registry. The caller holds the store.
func (s *Store) Pack(ctx context.Context, ref string) (*Image, error) {
	if err := s.EnsureChecked(); err != nil {
		return nil, err
	}
	r, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	raw, err := s.readBlob(r.Manifest)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	changed := false
	for i, d := range m.Layers {
		if d.MediaType != mediaOCILayer && d.MediaType != "application/vnd.docker.image.rootfs.diff.tar" {
			continue
		}
		if m.Layers[i], err = s.packBlob(ctx, d); err != nil {
			return nil, fmt.Errorf("compress layer %s: %w", d.Digest.Short(), err)
		}
		changed = true
	}
	if !changed {
		return r.image(), nil
	}
	if raw, err = encode(m); err != nil {
		return nil, err
	}
	rawConfig, err := s.readBlob(r.ID)
	if err != nil {
		return nil, err
	}
	named, err := s.readNames()
	if err != nil {
		return nil, err
	}
	packed, err := s.finish(raw, m, rawConfig, &r.Config, r.Layers, r.Size, withoutDigests(named[r.ID]))
	if err != nil {
		return nil, err
	}
	return packed.image(), s.publish(packed)
}

// withoutDigests leaves the tags: a digest names another manifest than the one that is stored now.
func withoutDigests(refs []Reference) []Reference {
	var tags []Reference
	for _, r := range refs {
		if r.Digest == "" {
			tags = append(tags, r)
		}
	}
	return tags
}

func (s *Store) packBlob(ctx context.Context, d Descriptor) (packed Descriptor, err error) {
	f, err := os.Open(s.blob(d.Digest))
	if err != nil {
		return Descriptor{}, err
	}
	defer f.Close()
	w, err := s.newBlob()
	if err != nil {
		return Descriptor{}, err
	}
	z := gzip.NewWriter(w)
	_, err = io.CopyBuffer(onlyWriter{z}, newVerifyReader(io.NopCloser(&contextReader{ctx, f}), d.Digest, d.Size), make([]byte, 256<<10))
	if err = errors.Join(err, z.Close()); err != nil {
		return Descriptor{}, errors.Join(err, w.abort())
	}
	size := w.size
	digest, err := w.commit("")
	return Descriptor{MediaType: mediaOCILayer + "+gzip", Digest: digest, Size: size}, err
}

// SetDigest writes down that a registry has the image under its repository's name and the digest of its manifest.
func (s *Store) SetDigest(ref Reference) error {
	lock, err := s.lockIndex()
	if err != nil {
		return err
	}
	defer lock.Release()
	r, err := s.look(ref.String())
	if err != nil {
		return err
	}
	ref.Tag, ref.Digest = "", r.Manifest
	return s.rename(r, ref)
}
