package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/mydocker/mydocker/image"
)

// ensureImage finds an image by the pull policy.
func (e *Engine) ensureImage(ctx context.Context, store *image.Store, o CreateOptions) (*image.Image, error) {
	if o.Image == "" {
		return nil, errors.New("no image given")
	}
	switch o.Pull {
	case "", "missing", "never":
	default:
		return nil, fmt.Errorf("--pull %s is not supported: missing and never are", o.Pull)
	}
	img, err := store.Get(o.Image)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return img, err
}

// RemoveImage removes an image's name, and with the last name the image, unless a container is made of it.
func (e *Engine) RemoveImage(ctx context.Context, ref string, force bool) ([]image.Removed, error) {
	store, err := e.images()
	if err != nil {
		return nil, err
	}
	// Nobody may create a container of the image between the look and the removal.
	done, err := e.lockGC()
	if err != nil {
		return nil, err
	}
	defer done()
	all, err := e.definitions()
	if err != nil {
		return nil, err
	}
	return store.Remove(ref, image.RemoveOptions{Force: force, InUse: func(id image.Digest) []string {
		var names []string
		for _, d := range all {
			if d.ImageID == id {
				names = append(names, d.Name)
			}
		}
		return names
	}})
}
