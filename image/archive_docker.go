package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// dockerImage is one entry of the manifest.json of `docker save`
// (https://github.com/moby/docker-image-spec/blob/main/spec.md, "Combined Image JSON + Filesystem Changeset Format").
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (a *archiveContent) loadDocker(ctx context.Context) ([]namedRecord, error) {
	data, err := a.smallNamed("manifest.json")
	if err != nil {
		return nil, err
	}
	var entries []dockerImage
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("its manifest.json is not as `docker save` writes it: %w", err)
	}
	if len(entries) == 0 {
		return nil, errors.New("its manifest.json names no image")
	}
	var images []namedRecord
	for _, e := range entries {
		img, err := a.loadDockerImage(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", e.Config, err)
		}
		images = append(images, img)
	}
	return images, nil
}

// loadDockerImage makes an OCI manifest for an image that has none, and gathers it.
func (a *archiveContent) loadDockerImage(ctx context.Context, image dockerImage) (img namedRecord, err error) {
	rawConfig, err := a.smallNamed(image.Config)
	if err != nil {
		return img, err
	}
	config, err := parseConfig(rawConfig, len(image.Layers))
	if err != nil {
		return img, err
	}
	d := Descriptor{MediaType: mediaOCIConfig, Digest: digestOf(rawConfig), Size: int64(len(rawConfig))}
	a.memo[d.Digest] = rawConfig
	m := manifest{SchemaVersion: 2, MediaType: mediaOCIManifest, Config: &d, Layers: []Descriptor{}}
	for i, name := range image.Layers {
		layer, err := a.dockerLayer(ctx, name, config.RootFS.DiffIDs[i])
		if err != nil {
			return img, err
		}
		m.Layers = append(m.Layers, layer)
	}
	names, err := parseNames(image.RepoTags)
	if err != nil {
		return img, err
	}
	raw, err := encode(m)
	if err != nil {
		return img, err
	}
	return a.store.gather(ctx, a, raw, names)
}

// dockerLayer describes a layer of such an image: manifest.json tells only its name.
func (a *archiveContent) dockerLayer(ctx context.Context, name string, diffID Digest) (Descriptor, error) {
	e, ok := a.lookup(name)
	if !ok {
		return Descriptor{}, fmt.Errorf("the archive is incomplete: it lacks the layer %q", name)
	}
	kind, err := a.compressionOf(e)
	if err != nil {
		return Descriptor{}, err
	}
	mediaType, storable := layerMediaType(kind)
	switch {
	case !storable:
		return Descriptor{}, fmt.Errorf("the layer %q is packed by %s, which no image format knows", name, kind)
	case a.file != nil && kind == plain:
		// Not packed, so the configuration tells its digest; it is verified when it is read.
		e.digest = diffID
		a.digests[diffID] = e
	case e.digest == "":
		if e.digest, _, err = a.store.storeStream(ctx, io.NewSectionReader(a.file, e.offset, e.size), ""); err != nil {
			return Descriptor{}, err
		}
	}
	return Descriptor{MediaType: mediaType, Digest: e.digest, Size: e.size}, nil
}

func (a *archiveContent) compressionOf(e archived) (compression, error) {
	if data, ok := a.memo[e.digest]; ok {
		return detect(data), nil
	}
	from := io.ReaderAt(a.file)
	if a.file == nil {
		f, err := os.Open(a.store.blob(e.digest))
		if err != nil {
			return plain, err
		}
		defer f.Close()
		from = f
	}
	head := make([]byte, min(6, e.size))
	if _, err := from.ReadAt(head, e.offset); err != nil {
		return plain, err
	}
	return detect(head), nil
}

func parseNames(tags []string) ([]Reference, error) {
	var names []Reference
	for _, tag := range tags {
		ref, err := ParseReference(tag)
		if err != nil {
			return nil, err
		}
		names = append(names, ref)
	}
	return names, nil
}
