package engine

import (
	"context"
	"errors"

	"github.com/mydocker/mydocker/image"
)

// localImage finds the image of a container to be. Who wants it pulled has done that before: the engine speaks to no registry.
func localImage(store *image.Store, ref string) (*image.Image, error) {
	if ref == "" {
		return nil, errors.New("no image given")
	}
	return store.Get(ref)
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
	img, getErr := store.Get(ref)
	removed, err := store.Remove(ref, image.RemoveOptions{Force: force, InUse: func(id image.Digest) []string {
		var names []string
		for _, d := range all {
			if d.ImageID == id {
				names = append(names, d.Name)
			}
		}
		return names
	}})
	for _, r := range removed {
		switch {
		case getErr != nil: // a damaged one: nobody can say what it was
		case r.Untagged != "":
			e.ImageEvent("untag", string(img.ID), string(img.ID), img.Config.Config.Labels)
		case r.Deleted == string(img.ID): // its layers are told of by their image
			e.ImageEvent("delete", string(img.ID), string(img.ID), img.Config.Config.Labels)
		}
	}
	return removed, err
}
