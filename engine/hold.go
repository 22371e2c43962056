package engine

import (
	"os"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/state"
)

// Hold keeps a container from being started, removed and renamed until the lock is released, for those who work on its files:
// cp, commit, diff, export.
func (e *Engine) Hold(d *Definition) (*state.Lock, error) { return e.lock(d.ID) }

// Attachments are the volumes and bind mounts that a container has when it runs. users is its user namespace, or nil.
func (e *Engine) Attachments(d *Definition, users *os.File) ([]image.Attachment, error) {
	mounts, err := e.mounts(d)
	if err != nil {
		return nil, err
	}
	var list []image.Attachment
	for i, m := range mounts {
		if m.Type != "bind" {
			continue
		}
		a := image.Attachment{Source: m.Source, Target: m.Destination, ReadOnly: readOnlyMount(m)}
		if mine := d.Options.Mounts[i]; mine.Subpath != "" {
			a.Source, a.Subpath = e.volumeData(mine.Source), mine.Subpath
		}
		if isOurs(m, e.Root.Lib+"/") {
			a.UserNS = users
		}
		list = append(list, a)
	}
	return list, nil
}

func readOnlyMount(m specs.Mount) bool {
	return slices.Contains(m.Options, "ro") || slices.Contains(m.Options, "rro")
}
