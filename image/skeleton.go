package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The skeleton is a directory below all layers of every container: empty files and directories at the places where a
// container's own are mounted. An image that brings them is not changed by it; with one that does not, each start would
// have to make them in the writable layer, which costs more than all the mounts on them, and would show in `diff`.
// Docker has such a layer for each container ("ID-init"), we have one for all.

func (s *Store) skeleton() string { return filepath.Join(s.images(), "skeleton") }

// ensureSkeleton makes it: mkdir -p proc sys dev etc; touch etc/{hosts,hostname,resolv.conf}
func (s *Store) ensureSkeleton() error {
	for _, dir := range []string{"proc", "sys", "dev", "etc"} {
		if err := os.MkdirAll(filepath.Join(s.skeleton(), dir), 0o755); err != nil {
			return fmt.Errorf("make the places for mounts: %w", err)
		}
	}
	for _, file := range []string{"hosts", "hostname", "resolv.conf"} {
		f, err := os.OpenFile(filepath.Join(s.skeleton(), "etc", file), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("make the places for mounts: %w", err)
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// WithSkeleton puts the skeleton below the layers, for a container's start.
func (s *Store) WithSkeleton(r Rootfs) Rootfs {
	if _, err := os.Stat(s.skeleton()); err == nil { // a store of an older version has none
		r.Skeleton = s.skeleton()
	}
	return r
}

// stack is what the overlay is mounted with: the layers, and the skeleton where there is one.
func (r Rootfs) stack() []string {
	// With mapped owners the skeleton's would be nobody; it has no view of its own.
	if r.Skeleton == "" || r.UserNS != nil {
		return r.Lower
	}
	return append(r.Lower[:len(r.Lower):len(r.Lower)], r.Skeleton)
}
