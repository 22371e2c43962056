package engine

import (
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// mounts are the user's and the image's.
func (e *Engine) mounts(d *Definition) []specs.Mount {
	var list []specs.Mount
	for _, m := range d.Options.Mounts {
		access := "rw"
		if m.ReadOnly {
			access = "ro"
		}
		propagation := or(m.Propagation, "rprivate")
		switch m.Type {
		case "bind":
			list = append(list, specs.Mount{Destination: m.Target, Type: "bind", Source: m.Source, Options: bindOptions(m)})
		case "volume":
			source := filepath.Join(e.volumeData(m.Source), filepath.Clean("/"+m.Subpath))
			list = append(list, specs.Mount{Destination: m.Target, Type: "bind", Source: source, Options: []string{"rbind", access, propagation}})
		case "tmpfs":
			opts := append([]string{"nosuid", "nodev", "noexec"}, m.TmpfsOptions...)
			if m.ReadOnly {
				opts = append(opts, "ro")
			}
			list = append(list, specs.Mount{Destination: m.Target, Type: "tmpfs", Source: "tmpfs", Options: opts})
		}
	}
	return list
}

// bindOptions are the words of mount(8) for a directory or file of the host. What is mounted below it is read-only with it, as
// with Docker since version 25.
func bindOptions(m Mount) []string {
	kind, access := "rbind", "rw"
	if m.Recursive == "disabled" {
		kind = "bind"
	}
	if m.ReadOnly {
		access = "ro"
		if m.Recursive != "writable" && m.Recursive != "disabled" {
			access = "rro"
		}
	}
	return []string{kind, access, or(m.Propagation, "rprivate")}
}
