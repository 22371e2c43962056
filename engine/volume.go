package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mydocker/mydocker/state"
)

// Volume is a directory with a name, which outlives containers.
type Volume struct {
	Name       string
	Driver     string
	Mountpoint string
	CreatedAt  string
	Labels     map[string]string
	Scope      string
	Options    map[string]string
	// Anonymous volumes were made for one container and go with it.
	Anonymous bool `json:",omitempty"`
}

func (e *Engine) volumeDir(name string) string  { return filepath.Join(e.Root.Lib, "volumes", name) }
func (e *Engine) volumeData(name string) string { return filepath.Join(e.volumeDir(name), "_data") }

func validVolumeName(name string) error {
	if err := validName(name); err != nil {
		return fmt.Errorf("invalid volume name %q: only [a-zA-Z0-9][a-zA-Z0-9_.-]+ is allowed; a directory of the host is given by its absolute path", name)
	}
	return nil
}

// createVolumes makes the volumes that the container names and does not find, and gives its anonymous ones their names.
func (e *Engine) createVolumes(d *Definition) error {
	for i := range d.Options.Mounts {
		m := &d.Options.Mounts[i]
		switch {
		case m.Type == "bind" && !m.MustExist:
			// -v makes a missing source, as Docker does. Equals: mkdir -p SOURCE
			if err := os.MkdirAll(m.Source, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				if _, statErr := os.Stat(m.Source); statErr != nil {
					return fmt.Errorf("bind mount %s: %w", m.Source, err)
				}
			}
		case m.Type == "volume":
			anonymous := m.Source == ""
			if anonymous {
				m.Source = newID()
				d.AnonymousVolumes = append(d.AnonymousVolumes, m.Source)
			}
			if err := e.ensureVolume(m.Source, anonymous, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// ensureVolume makes a volume unless it is there.
func (e *Engine) ensureVolume(name string, anonymous bool, labels map[string]string) error {
	if err := validVolumeName(name); err != nil {
		return err
	}
	record := filepath.Join(e.volumeDir(name), "volume.json")
	if _, err := os.Stat(record); err == nil {
		return nil
	}
	if err := os.MkdirAll(e.volumeData(name), 0o755); err != nil {
		return fmt.Errorf("make volume %s: %w", name, err)
	}
	return state.ReplaceJSON(record, &Volume{
		Name: name, Driver: "local", Mountpoint: e.volumeData(name), CreatedAt: now().Format(timeFormat),
		Labels: labels, Scope: "local", Anonymous: anonymous,
	}, state.Durable)
}

// removeVolume deletes a volume and what is in it; absent is success.
func (e *Engine) removeVolume(name string) error { return os.RemoveAll(e.volumeDir(name)) }
