package cli

import (
	"errors"
	"fmt"
	"io/fs"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/image"
)

// platformFlag is for the commands that take an image as it is here, made for one platform: they refuse it if it is another one.
func platformFlag(usage string) urfave.Flag { return str("platform", "string", usage) }

// wantPlatform refuses images that are not made for the platform that --platform asks for. One that is not here is refused by whoever
// wants it.
func (s *session) wantPlatform(platform string, refs ...string) error {
	if platform == "" {
		return nil
	}
	if _, err := image.ParsePlatform(platform); err != nil {
		return s.bad(err)
	}
	for _, ref := range refs {
		fits, err := s.isForPlatform(ref, platform)
		if err != nil {
			return err
		}
		if !fits {
			return fmt.Errorf("image %s is here, but not for the platform %s; `mydocker pull --platform %s %s` gets that one", familiar(ref), platform, platform, familiar(ref))
		}
	}
	return nil
}

// isForPlatform says whether an image is not here, or is here for the platform that was asked for.
func (s *session) isForPlatform(name, platform string) (bool, error) {
	want, err := image.ParsePlatform(platform)
	if err != nil {
		return false, err
	}
	store, err := s.images()
	if err != nil {
		return false, err
	}
	img, err := store.Get(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return img.Config.OS == want.OS && img.Config.Architecture == want.Architecture && (want.Variant == "" || img.Config.Variant == want.Variant), nil
}
