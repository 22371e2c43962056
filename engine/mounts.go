package engine

import (
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mounts are the user's and the image's.
func (e *Engine) mounts(d *Definition) ([]specs.Mount, error) {
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
			source, err := e.volumeSource(m)
			if err != nil {
				return nil, err
			}
			list = append(list, specs.Mount{Destination: m.Target, Type: "bind", Source: source, Options: []string{"rbind", access, propagation}})
		case "tmpfs":
			opts := append([]string{"nosuid", "nodev", "noexec"}, m.TmpfsOptions...)
			if m.ReadOnly {
				opts = append(opts, "ro")
			}
			list = append(list, specs.Mount{Destination: m.Target, Type: "tmpfs", Source: "tmpfs", Options: opts})
		}
	}
	return list, nil
}

// volumeSource is the directory of a volume, or what is at a path in it. The containers that have the volume write into it, so the
// path is looked up as they see it: no link of theirs leads out of the volume (openat2(2), RESOLVE_IN_ROOT).
func (e *Engine) volumeSource(m Mount) (string, error) {
	data := e.volumeData(m.Source)
	if m.Subpath == "" {
		return data, nil
	}
	root, err := os.Open(data)
	if err != nil {
		return "", fmt.Errorf("volume %s: %w", m.Source, err)
	}
	defer root.Close()
	f, err := openBeneath(root, m.Subpath, unix.O_PATH)
	if err != nil {
		return "", fmt.Errorf("subpath of volume %s: %w", m.Source, err)
	}
	defer f.Close()
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
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
