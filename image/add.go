package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// gather makes an image whose manifest is at hand part of the store: its blobs and its unpacked layers. Nobody knows it before it is
// published, so that whatever has a name is whole. The caller holds the store.
func (s *Store) gather(ctx context.Context, from content, rawManifest []byte, names []Reference) (img namedRecord, err error) {
	m, err := parseManifest(rawManifest)
	if err != nil {
		return img, err
	}
	if m.Config == nil || m.ArtifactType != "" || !isImageConfig(m.Config.MediaType) {
		return img, errors.New("the manifest describes something other than a container image")
	}
	rawConfig, err := from.small(*m.Config)
	if err != nil {
		return img, err
	}
	config, err := parseConfig(rawConfig, len(m.Layers))
	if err != nil {
		return img, err
	}
	sources := make([]layerSource, len(m.Layers))
	for i, d := range m.Layers {
		sources[i] = layerSource{diffID: config.RootFS.DiffIDs[i], archive: d.Digest, open: func(context.Context) (io.ReadCloser, error) { return s.keep(from, d) }}
	}
	chain, size, err := s.unpackLayers(ctx, sources)
	if err != nil {
		return img, err
	}
	// A layer may have been there from another archive: then its blob has not passed yet.
	for _, d := range m.Layers {
		if s.hasBlob(d.Digest, d.Size) {
			continue
		}
		r, err := s.keep(from, d)
		if err != nil {
			return img, err
		}
		_, err = io.CopyBuffer(onlyWriter{io.Discard}, &contextReader{ctx, r}, make([]byte, 256<<10))
		if err := errors.Join(err, r.Close()); err != nil {
			return img, err
		}
	}
	return s.finish(rawManifest, m, rawConfig, config, chain, size, names)
}

// finish writes the small files of an image whose layers are in place, but for its record.
func (s *Store) finish(rawManifest []byte, m *manifest, rawConfig []byte, config *Config, chain []Digest, size int64, names []Reference) (img namedRecord, err error) {
	id, err := s.writeBlob(rawConfig)
	if err != nil {
		return img, err
	}
	if id != m.Config.Digest {
		return img, fmt.Errorf("the configuration has the digest %s, but the manifest promises %s", id, m.Config.Digest)
	}
	manifestID, err := s.writeBlob(rawManifest)
	if err != nil {
		return img, err
	}
	r := &record{ID: id, Manifest: manifestID, ManifestSize: int64(len(rawManifest)), ManifestType: m.MediaType,
		Size: size, Stored: time.Now().UTC(), Layers: chain, Config: *config}
	if r.ManifestType == "" {
		r.ManifestType = mediaOCIManifest
	}
	for _, d := range m.Layers {
		r.Blobs = append(r.Blobs, d.Digest)
	}
	return namedRecord{r, names}, nil
}

func isImageConfig(mediaType string) bool {
	return mediaType == mediaOCIConfig || mediaType == "application/vnd.docker.container.image.v1+json" || mediaType == ""
}

// loadIndex gathers all images of an OCI layout's index.json; those for several platforms, for the one that is wanted.
func (s *Store) loadIndex(ctx context.Context, from content, rawIndex []byte, want Platform) ([]namedRecord, error) {
	index, err := parseManifest(rawIndex)
	if err != nil {
		return nil, err
	}
	if len(index.Manifests) == 0 {
		return nil, errors.New("its index.json names no image")
	}
	// One image with two names has two entries; the names are gathered, so that it is added once.
	var order []Digest
	named := map[Digest][]Reference{}
	for _, d := range index.Manifests {
		if isAttestation(d) {
			continue
		}
		if !slices.Contains(order, d.Digest) {
			order = append(order, d.Digest)
		}
		if ref, ok := nameOf(d); ok {
			named[d.Digest] = append(named[d.Digest], ref)
		}
	}
	var images []namedRecord
	for _, d := range order {
		raw, err := s.resolve(from, Descriptor{Digest: d}, want, 3)
		if err != nil {
			return nil, err
		}
		img, err := s.gather(ctx, from, raw, named[d])
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	return images, nil
}

// resolve goes from an index to the manifest of the right platform.
func (s *Store) resolve(from content, d Descriptor, want Platform, depth int) ([]byte, error) {
	raw, err := from.small(d)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	if !m.isIndex() {
		return raw, nil
	}
	if depth == 0 {
		return nil, errors.New("indexes are nested too deeply")
	}
	chosen, err := choosePlatform(m.Manifests, want)
	if err != nil {
		return nil, err
	}
	return s.resolve(from, chosen, want, depth-1)
}

// nameOf is the name that a layout gives an image: containerd and Docker write the full one, skopeo writes what its
// user typed, which is a whole name or only a tag.
func nameOf(d Descriptor) (Reference, bool) {
	for _, annotation := range []string{annotationImageName, annotationRefName} {
		name := d.Annotations[annotation]
		if !strings.ContainsAny(name, ":/") {
			continue
		}
		if ref, err := ParseReference(name); err == nil {
			return ref, true
		}
	}
	return Reference{}, false
}

// isAttestation tells what buildkit puts beside images: provenance and lists of software.
func isAttestation(d Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] == "attestation-manifest"
}

func hostPlatform() Platform {
	p := Platform{OS: "linux", Architecture: runtime.GOARCH}
	if p.Architecture == "arm64" {
		p.Variant = "v8"
	}
	return p
}

// ParsePlatform reads os/architecture[/variant], or an architecture alone.
func ParsePlatform(s string) (Platform, error) {
	p := hostPlatform()
	if s == "" {
		return p, nil
	}
	parts := strings.Split(s, "/")
	if len(parts) > 3 || slices.Contains(parts, "") {
		return Platform{}, fmt.Errorf("invalid platform %q: want os/architecture or os/architecture/variant, as in linux/arm64", s)
	}
	if len(parts) == 1 {
		parts = []string{"linux", parts[0]}
	}
	p = Platform{OS: parts[0], Architecture: architecture(parts[1])}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	if p.OS != "linux" {
		return Platform{}, fmt.Errorf("platform %q: only linux images can be run here", s)
	}
	return p, nil
}

// architecture turns the names that uname(1) and Debian use into those of Go, which images use.
func architecture(name string) string {
	switch name {
	case "x86_64", "x86-64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "i386", "i686":
		return "386"
	case "armhf", "armel":
		return "arm"
	}
	return name
}

// String is how platforms are written: linux/arm64/v8.
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// choosePlatform takes the entry of an index that fits best: the exact variant, then one without or, where none is
// asked for, any.
func choosePlatform(entries []Descriptor, want Platform) (Descriptor, error) {
	best, bestScore := Descriptor{}, 0
	var offered []string
	for _, e := range entries {
		if isAttestation(e) || e.Platform != nil && e.Platform.OS == "unknown" {
			continue
		}
		score := platformScore(e.Platform, want)
		if score > bestScore {
			best, bestScore = e, score
		}
		if e.Platform != nil {
			offered = append(offered, e.Platform.String())
		}
	}
	if bestScore == 0 {
		return Descriptor{}, fmt.Errorf("the image is not made for %s; it is offered for %s (choose one with --platform)", want, strings.Join(offered, ", "))
	}
	return best, nil
}

func platformScore(have *Platform, want Platform) int {
	switch {
	case have == nil:
		return 1
	case have.OS != want.OS || architecture(have.Architecture) != want.Architecture:
		return 0
	case have.Variant == want.Variant:
		return 4
	case have.Variant == "":
		return 3
	case want.Variant == "" || want.Architecture == "arm64":
		return 2
	}
	return 0
}
