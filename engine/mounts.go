package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
)

// mounts are the user's and the image's, one for each of d.Options.Mounts.
func (e *Engine) mounts(d *Definition) ([]specs.Mount, error) {
	var list []specs.Mount
	for _, m := range d.Options.Mounts {
		switch m.Type {
		case "bind":
			list = append(list, specs.Mount{Destination: m.Target, Type: "bind", Source: m.Source, Options: bindOptions(m)})
		case "volume":
			source, err := e.volumeSource(m)
			if err != nil {
				return nil, err
			}
			options := []string{"rbind", or(m.Propagation, "rprivate")}
			if m.ReadOnly {
				options = append(options, "ro")
			}
			list = append(list, specs.Mount{Destination: m.Target, Type: "bind", Source: source, Options: options})
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

// checkPropagation refuses a propagation that the source's mount cannot give: a mount that is not shared tells nobody of what is
// mounted below it. A source that is still to be made will be on the mount of the directory above it.
func checkPropagation(m Mount) error {
	shared := strings.HasSuffix(m.Propagation, "shared")
	if !shared && !strings.HasSuffix(m.Propagation, "slave") {
		return nil
	}
	path := m.Source
	on, err := container.MountOf(path)
	for errors.Is(err, fs.ErrNotExist) && path != "/" {
		path = filepath.Dir(path)
		on, err = container.MountOf(path)
	}
	switch {
	case err != nil:
		return fmt.Errorf("bind mount %s: %w", m.Target, err)
	case shared && !on.Shared:
		return fmt.Errorf("path %s is mounted on %s but it is not a shared mount (mount --make-shared %s)", m.Source, on.Point, on.Point)
	case !on.Shared && !on.Slave:
		return fmt.Errorf("path %s is mounted on %s but it is not a shared or slave mount (mount --make-shared %s)", m.Source, on.Point, on.Point)
	}
	return nil
}

// checkedMounts are the mounts of a container that is to be started now.
func (e *Engine) checkedMounts(d *Definition) ([]specs.Mount, error) {
	for _, m := range d.Options.Mounts {
		if err := checkPropagation(m); err != nil { // again: the host may have been booted since
			return nil, err
		}
	}
	list, err := e.mounts(d)
	if err != nil {
		return nil, err
	}
	for i, m := range d.Options.Mounts {
		if m.Relabel != "" {
			if err := e.relabel(d, list[i].Source, m.Relabel == "z"); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// openSubpaths opens the paths in volumes that a container is to see, by their targets.
func (e *Engine) openSubpaths(d *Definition) (map[string]*os.File, error) {
	opened := make(map[string]*os.File)
	for _, m := range d.Options.Mounts {
		if m.Subpath == "" {
			continue
		}
		f, err := e.openSubpath(m)
		if err != nil {
			closeValues(opened)
			return nil, err
		}
		opened[m.Target] = f
	}
	return opened, nil
}

func closeValues(files map[string]*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// volumeSource is the directory of a volume, or what is at a path in it. With a path it is for people and tools to read: what is
// mounted is what openSubpaths has opened.
func (e *Engine) volumeSource(m Mount) (string, error) {
	data := e.volumeData(m.Source)
	if m.Subpath == "" {
		return data, nil
	}
	f, err := e.openSubpath(m)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

// openSubpath opens a path in a volume. The containers that have the volume write into it, so the path is looked up as they see it:
// no link of theirs leads out of the volume (openat2(2), RESOLVE_IN_ROOT).
func (e *Engine) openSubpath(m Mount) (*os.File, error) {
	root, err := os.Open(e.volumeData(m.Source))
	if err != nil {
		return nil, fmt.Errorf("volume %s: %w", m.Source, err)
	}
	defer root.Close()
	f, err := openBeneath(root, m.Subpath, unix.O_PATH)
	if err != nil {
		return nil, fmt.Errorf("subpath of volume %s: %w", m.Source, err)
	}
	return f, nil
}

// bindOptions are the words of mount(8) for a directory or file of the host. What is mounted below it is read-only with it, as
// with Docker since version 25. Never "rw", not even if the user says so: what the host has mounted read-only would become writable.
func bindOptions(m Mount) []string {
	options := []string{"rbind", or(m.Propagation, "rprivate")}
	if m.Recursive == "disabled" {
		options[0] = "bind"
	}
	switch {
	case m.ReadOnly && m.Recursive != "writable" && m.Recursive != "disabled":
		options = append(options, "rro")
	case m.ReadOnly:
		options = append(options, "ro")
	}
	return options
}
