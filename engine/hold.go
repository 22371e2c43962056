package engine

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/state"
)

// Hold keeps a container from being started, removed and renamed until the lock is released, for those who work on its files:
// cp, commit, diff, export.
func (e *Engine) Hold(d *Definition) (*state.Lock, error) { return e.lock(d.ID) }

// Attachments are the volumes and bind mounts that a container has when it runs.
func (e *Engine) Attachments(d *Definition) []image.Attachment {
	var list []image.Attachment
	for _, m := range e.mounts(d) {
		if m.Type == "bind" {
			list = append(list, image.Attachment{Source: m.Source, Target: m.Destination, ReadOnly: readOnlyMount(m)})
		}
	}
	return list
}

func readOnlyMount(m specs.Mount) bool {
	return slices.Contains(m.Options, "ro") || slices.Contains(m.Options, "rro")
}
