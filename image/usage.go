package image

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Layer is one line of `history`, newest first.
type Layer struct {
	ID        string // the image's id for the newest, "<missing>" for the rest, as Docker has it
	Created   time.Time
	CreatedBy string
	Comment   string
	Size      int64 // bytes; 0 for a change of configuration
}

// History tells how an image came to be.
func (s *Store) History(ref string) ([]Layer, error) {
	r, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	var lines []Layer
	next := 0
	for _, h := range r.Config.History {
		line := Layer{ID: "<missing>", CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Created != nil {
			line.Created = *h.Created
		}
		if !h.EmptyLayer && next < len(r.Layers) {
			l, err := s.readLayer(r.Layers[next])
			if err != nil {
				return nil, err
			}
			line.Size = l.Size
			next++
		}
		lines = append(lines, line)
	}
	for ; next < len(r.Layers); next++ {
		l, err := s.readLayer(r.Layers[next])
		if err != nil {
			return nil, err
		}
		lines = append(lines, Layer{ID: "<missing>", Size: l.Size})
	}
	slices.Reverse(lines)
	if len(lines) > 0 {
		lines[0].ID = string(r.ID)
	}
	return lines, nil
}

// PruneOptions say which images are superfluous.
type PruneOptions struct {
	All    bool                     // not only those without a name
	InUse  func(id Digest) []string // as RemoveOptions.InUse
	Filter func(img *Image) bool    // nil, or: false keeps the image
}

// Prune removes images that nobody uses: those without a name, or all. It returns what is gone and the bytes that
// were freed on the disk.
func (s *Store) Prune(ctx context.Context, o PruneOptions) ([]Removed, int64, error) {
	before, err := s.diskBytes()
	if err != nil {
		return nil, 0, err
	}
	images, err := s.List()
	if err != nil {
		return nil, 0, err
	}
	var removed []Removed
	for _, img := range images {
		nameless := len(img.RepoTags) == 0 && len(img.RepoDigests) == 0
		if !o.All && !nameless || o.InUse != nil && len(o.InUse(img.ID)) > 0 || o.Filter != nil && !o.Filter(img) {
			continue
		}
		gone, _, removeErr := s.removeNames(string(img.ID), RemoveOptions{Force: true, InUse: o.InUse})
		removed = append(removed, gone...)
		if !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	layers, collectErr := s.Collect(ctx)
	for _, l := range layers {
		removed = append(removed, Removed{Deleted: string(l)})
	}
	after, sizeErr := s.diskBytes()
	return removed, max(before-after, 0), errors.Join(err, collectErr, sizeErr)
}

// Usage is what the store takes on the disk, in bytes.
type Usage struct {
	Images []ImageUsage
	// LayersSize is the size of all unpacked layers, each counted once.
	LayersSize int64
	// BlobsSize is the size of the archives, manifests and configurations.
	BlobsSize int64
}

// ImageUsage is one image's part: Shared is in layers that other images have too.
type ImageUsage struct {
	*Image
	SharedSize, UniqueSize int64
}

// DiskUsage tells what images take: `system df`.
func (s *Store) DiskUsage() (*Usage, error) {
	images, err := s.List()
	if err != nil {
		return nil, err
	}
	users := map[Digest]int{}
	for _, img := range images {
		for _, l := range img.Layers {
			users[l]++
		}
	}
	sizes := map[Digest]int64{}
	usage := &Usage{}
	for id := range users {
		l, err := s.readLayer(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the image was removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		sizes[id] = l.Size
		usage.LayersSize += l.Size
	}
	for _, img := range images {
		u := ImageUsage{Image: img}
		for _, l := range img.Layers {
			if users[l] > 1 {
				u.SharedSize += sizes[l]
			} else {
				u.UniqueSize += sizes[l]
			}
		}
		usage.Images = append(usage.Images, u)
	}
	usage.BlobsSize, err = sizeOf(s.blobs())
	return usage, err
}

// LayerSize is the sum of the sizes of a layer's files in bytes.
func (s *Store) LayerSize(chainID Digest) (int64, error) {
	r, err := s.readLayer(chainID)
	if err != nil {
		return 0, err
	}
	return r.Size, nil
}

// ArchiveSize is the size of a layer's archive in bytes; one that was removed meanwhile takes nothing.
func (s *Store) ArchiveSize(d Digest) (int64, error) {
	info, err := os.Stat(s.blob(d))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// diskBytes is what layers and archives take together.
func (s *Store) diskBytes() (int64, error) {
	usage, err := s.DiskUsage()
	if err != nil {
		return 0, err
	}
	return usage.LayersSize + usage.BlobsSize, nil
}

func sizeOf(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var size int64
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		size += info.Size()
	}
	return size, nil
}
