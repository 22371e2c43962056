package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
)

// ImportOptions describe the image that Import makes.
type ImportOptions struct {
	Reference string   // its name; "" leaves it without
	Message   string   // the comment in its history
	Changes   []string // Dockerfile instructions: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR, STOPSIGNAL, …
	Platform  string   // os/architecture[/variant]; "" is the host's
}

// Import makes an image of one layer from the archive of a root file system, compressed or not.
func (s *Store) Import(ctx context.Context, r io.Reader, o ImportOptions) (*Image, error) {
	platform, err := ParsePlatform(o.Platform)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	config := Config{Created: &now, OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant}
	if err := ApplyChanges(&config.Config, o.Changes); err != nil {
		return nil, err
	}
	comment := o.Message
	if comment == "" {
		comment = "Imported from -"
	}
	config.History = []History{{Created: &now, Comment: comment}}
	return s.importLayer(ctx, r, config, o.Reference)
}

// importLayer stores an archive as the only layer of an image with the given configuration.
func (s *Store) importLayer(ctx context.Context, r io.Reader, config Config, name string) (*Image, error) {
	var names []Reference
	if name != "" {
		ref, err := ParseReference(name)
		if err != nil {
			return nil, err
		}
		if ref.Digest != "" {
			return nil, fmt.Errorf("import %s: a digest cannot be given to an image; name a tag", name)
		}
		names = []Reference{ref}
	}
	images, err := s.loading(ctx, func() ([]namedRecord, error) {
		layer, diffID, err := s.storeLayer(ctx, r)
		if err != nil {
			return nil, err
		}
		config.RootFS = RootFSConfig{Type: "layers", DiffIDs: []Digest{diffID}}
		img, err := s.gatherMade(ctx, []Descriptor{layer}, config, names)
		return []namedRecord{img}, err
	})
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return images[0], nil
}

// storeLayer puts an archive into the blobs: as it came if an image may have it so, else unpacked.
func (s *Store) storeLayer(ctx context.Context, r io.Reader) (Descriptor, Digest, error) {
	kept, err := s.newBlob()
	if err != nil {
		return Descriptor{}, "", err
	}
	d, diffID, err := s.copyLayer(ctx, r, kept)
	if err != nil {
		return Descriptor{}, "", errors.Join(err, kept.abort())
	}
	d.Size = kept.size
	d.Digest, err = kept.commit("")
	return d, diffID, err
}

func (s *Store) copyLayer(ctx context.Context, r io.Reader, kept *blobWriter) (Descriptor, Digest, error) {
	r = &contextReader{ctx, r}
	head := make([]byte, 6)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return Descriptor{}, "", err
	}
	if n == 0 {
		return Descriptor{}, "", errors.New("the archive is empty")
	}
	r = io.MultiReader(bytes.NewReader(head[:n]), r)
	mediaType, storable := layerMediaType(detect(head[:n]))
	asItCame := io.TeeReader(r, kept)
	if !storable {
		asItCame = r
	}
	plainText, _, err := decompress(asItCame)
	if err != nil {
		return Descriptor{}, "", err
	}
	defer plainText.Close()
	sum := sha256.New()
	var unpackedTo io.Writer = sum
	if !storable {
		unpackedTo = io.MultiWriter(sum, kept)
	}
	if _, err := io.CopyBuffer(onlyWriter{unpackedTo}, plainText, make([]byte, 256<<10)); err != nil {
		return Descriptor{}, "", fmt.Errorf("read the archive: %w", err)
	}
	if _, err := io.Copy(io.Discard, asItCame); err != nil {
		return Descriptor{}, "", fmt.Errorf("read the archive: %w", err)
	}
	return Descriptor{MediaType: mediaType}, Digest("sha256:" + hex.EncodeToString(sum.Sum(nil))), nil
}

// gatherMade gathers an image that is made here: its layers are in the blobs, its configuration is in memory.
func (s *Store) gatherMade(ctx context.Context, layers []Descriptor, config Config, names []Reference) (img namedRecord, err error) {
	rawConfig, err := encode(config)
	if err != nil {
		return img, err
	}
	d := Descriptor{MediaType: mediaOCIConfig, Digest: digestOf(rawConfig), Size: int64(len(rawConfig))}
	raw, err := encode(manifest{SchemaVersion: 2, MediaType: mediaOCIManifest, Config: &d, Layers: layers})
	if err != nil {
		return img, err
	}
	return s.gather(ctx, &archiveContent{store: s, memo: map[Digest][]byte{d.Digest: rawConfig}}, raw, names)
}
