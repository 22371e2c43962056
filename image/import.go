package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
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
	names, removal := scanRemovals()
	unpackedTo := io.MultiWriter(sum, names)
	if !storable {
		unpackedTo = io.MultiWriter(sum, names, kept)
	}
	_, err = io.CopyBuffer(onlyWriter{unpackedTo}, plainText, make([]byte, 256<<10))
	names.Close()
	first := <-removal
	if err != nil {
		return Descriptor{}, "", fmt.Errorf("read the archive: %w", err)
	}
	if first != "" {
		s.tell("the archive has a file %q, and maybe more whose names begin with %s: in an image that means that another file is removed, so the image does not have it", first, whiteoutPrefix)
	}
	if _, err := io.Copy(io.Discard, asItCame); err != nil {
		return Descriptor{}, "", fmt.Errorf("read the archive: %w", err)
	}
	return Descriptor{MediaType: mediaType}, Digest("sha256:" + hex.EncodeToString(sum.Sum(nil))), nil
}

// scanRemovals tells the first name of an archive, which is written to w, that an image takes for a removal: a root file
// system may well have a file of that name, and `tar` puts it in. What is no archive is for the unpacker to say.
func scanRemovals() (w *io.PipeWriter, first <-chan string) {
	r, w := io.Pipe()
	found := make(chan string, 1)
	go func() {
		name := ""
		for archive := tar.NewReader(r); name == ""; {
			h, err := archive.Next()
			if err != nil {
				break
			}
			if base := path.Base(h.Name); strings.HasPrefix(base, whiteoutPrefix) {
				name = h.Name
			}
		}
		io.Copy(io.Discard, r)
		found <- name
	}()
	return w, found
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
