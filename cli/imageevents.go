package cli

import "github.com/mydocker/mydocker/image"

// imageEvent tells of an image that is here. One that cannot be told of is no reason to fail what was done.
func (s *session) imageEvent(action string, img *image.Image, name string) {
	if e, err := s.engine(); err == nil {
		e.ImageEvent(action, string(img.ID), name, img.Config.Config.Labels)
	}
}

// imageMade tells of an image that is new here, and of the name that it was given.
func (s *session) imageMade(action string, img *image.Image, reference string) {
	s.imageEvent(action, img, string(img.ID))
	if reference != "" {
		s.imageEvent("tag", img, familiar(reference))
	}
}

// registryEvent tells of a reference that was pulled or pushed.
func (s *session) registryEvent(action string, ref image.Reference) {
	e, err := s.engine()
	if err != nil {
		return
	}
	var labels map[string]string
	if store, err := e.Images(); err == nil {
		if img, err := store.Get(ref.String()); err == nil {
			labels = img.Config.Config.Labels
		}
	}
	e.ImageEvent(action, ref.Familiar(), ref.FamiliarName(), labels)
}
