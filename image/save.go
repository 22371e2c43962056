package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// The formats that Save writes.
const (
	// FormatDocker is what `docker save` writes since version 25: an OCI layout with Docker's manifest.json beside it, so
	// that old and new programs both find what they look for.
	FormatDocker = "docker-archive"
	// FormatOCI is the layout alone.
	FormatOCI = "oci-archive"
)

// Save writes images as an archive. A name without a tag stands for all tags of its repository, as with Docker. The
// layers are written as they are stored, so that digests stay what they are.
func (s *Store) Save(ctx context.Context, refs []string, w io.Writer, format string) error {
	if format == "" {
		format = FormatDocker
	}
	if format != FormatDocker && format != FormatOCI {
		return fmt.Errorf("save: the format %q is unknown; %s and %s are known", format, FormatDocker, FormatOCI)
	}
	if len(refs) == 0 {
		return errors.New("save: no image given")
	}
	hold, err := s.hold()
	if err != nil {
		return err
	}
	defer hold.Release()
	chosen, err := s.choose(refs)
	if err != nil {
		return err
	}
	a := &archiveWriter{ctx: ctx, store: s, tar: tar.NewWriter(w), written: map[Digest]bool{}}
	if err := a.write(chosen, format); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return nil
}

// saved is one image to be saved, with those of its names that were asked for.
type saved struct {
	record *record
	names  []Reference
}

func (s *Store) choose(refs []string) ([]*saved, error) {
	named, err := s.readNames()
	if err != nil {
		return nil, err
	}
	var chosen []*saved
	add := func(r *record, names ...Reference) {
		i := slices.IndexFunc(chosen, func(c *saved) bool { return c.record.ID == r.ID })
		if i < 0 {
			chosen = append(chosen, &saved{record: r})
			i = len(chosen) - 1
		}
		for _, n := range names {
			if n.Digest == "" && !slices.Contains(chosen[i].names, n) {
				chosen[i].names = append(chosen[i].names, n)
			}
		}
	}
	for _, ref := range refs {
		whole, err := parseReference(ref)
		found := false
		if err == nil && whole.Tag == "" && whole.Digest == "" {
			for id, names := range named {
				for _, n := range names {
					if n.Name() == whole.Name() && n.Tag != "" {
						r, err := s.readRecord(s.idPath(id), ref)
						if err != nil {
							return nil, err
						}
						add(r, n)
						found = true
					}
				}
			}
		}
		if found {
			continue
		}
		r, err := s.find(ref)
		if err != nil {
			return nil, err
		}
		if name, err := ParseReference(ref); err == nil && slices.Contains(named[r.ID], name) {
			add(r, name)
		} else {
			add(r)
		}
	}
	return chosen, nil
}

type archiveWriter struct {
	ctx     context.Context
	store   *Store
	tar     *tar.Writer
	written map[Digest]bool
}

func (a *archiveWriter) write(chosen []*saved, format string) error {
	if err := a.directories(); err != nil {
		return err
	}
	index := &manifest{SchemaVersion: 2, MediaType: mediaOCIIndex, Manifests: []Descriptor{}}
	var docker []dockerImage
	for _, c := range chosen {
		raw, err := a.store.readBlob(c.record.Manifest)
		if err != nil {
			return err
		}
		m, err := parseManifest(raw)
		if err != nil {
			return err
		}
		entry := dockerImage{Config: blobName(m.Config.Digest), RepoTags: []string{}}
		for _, d := range m.Layers {
			entry.Layers = append(entry.Layers, blobName(d.Digest))
		}
		for _, d := range append(slices.Clone(m.Layers), *m.Config, Descriptor{Digest: c.record.Manifest, Size: int64(len(raw))}) {
			if err := a.blob(d); err != nil {
				return err
			}
		}
		d := c.record.descriptor()
		if len(c.names) == 0 {
			index.Manifests = append(index.Manifests, d)
		}
		for _, n := range c.names {
			d.Annotations = map[string]string{annotationImageName: n.String(), annotationRefName: n.Tag}
			index.Manifests = append(index.Manifests, d)
			entry.RepoTags = append(entry.RepoTags, n.Familiar())
		}
		docker = append(docker, entry)
	}
	if err := a.json("index.json", index); err != nil {
		return err
	}
	if format == FormatDocker {
		if err := a.json("manifest.json", docker); err != nil {
			return err
		}
	}
	if err := a.json("oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}); err != nil {
		return err
	}
	return a.tar.Close()
}

func blobName(d Digest) string { return path.Join("blobs", "sha256", d.Encoded()) }

// epoch is the time of everything in an archive: the same images make the same archive.
func epoch() time.Time { return time.Unix(0, 0) }

func (a *archiveWriter) directories() error {
	for _, name := range []string{"blobs/", "blobs/sha256/"} {
		if err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: epoch()}); err != nil {
			return err
		}
	}
	return nil
}

func (a *archiveWriter) blob(d Descriptor) error {
	if a.written[d.Digest] {
		return nil
	}
	a.written[d.Digest] = true
	f, err := os.Open(a.store.blob(d.Digest))
	if err != nil {
		return fmt.Errorf("the store is damaged: %w; pull or load the image again", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: blobName(d.Digest), Mode: 0o644, Size: info.Size(), ModTime: epoch()}); err != nil {
		return err
	}
	_, err = io.CopyBuffer(onlyWriter{a.tar}, &contextReader{a.ctx, newVerifyReader(f, d.Digest, info.Size())}, make([]byte, 256<<10))
	return err
}

func (a *archiveWriter) json(name string, v any) error {
	data, err := encode(v)
	if err != nil {
		return err
	}
	if err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: epoch()}); err != nil {
		return err
	}
	_, err = io.Copy(a.tar, strings.NewReader(string(data)))
	return err
}
