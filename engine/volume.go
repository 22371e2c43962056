package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
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
func (e *Engine) volumeRecord(name string) string {
	return filepath.Join(e.volumeDir(name), "volume.json")
}

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
			_, statErr := os.Stat(e.volumeDir(m.Source))
			if err := e.ensureVolume(Volume{Name: m.Source, Anonymous: anonymous, Labels: m.Labels, Options: m.VolumeOptions}); err != nil {
				return err
			}
			if statErr != nil {
				e.volumeEvent(m.Source, "create")
			}
		}
	}
	return nil
}

// ensureVolume makes a volume unless it is there. What v leaves open is the same for all volumes.
func (e *Engine) ensureVolume(v Volume) error {
	if err := validVolumeName(v.Name); err != nil {
		return err
	}
	if err := checkVolumeOptions(v.Options); err != nil {
		return fmt.Errorf("create volume %s: %w", v.Name, err)
	}
	there, err := e.Volume(v.Name)
	if err == nil {
		return there.sameOptions(v.Options)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(e.volumeData(v.Name), 0o755); err != nil {
		return fmt.Errorf("make volume %s: %w", v.Name, err)
	}
	if err := e.labelVolume(v.Name); err != nil {
		return err
	}
	v.Driver, v.Scope, v.Mountpoint, v.CreatedAt = "local", "local", e.volumeData(v.Name), now().Format(timeFormat)
	if err := state.ReplaceJSON(e.volumeRecord(v.Name), &v, state.Durable); err != nil {
		err = fmt.Errorf("make volume %s: %w", v.Name, err)
		if _, thereErr := e.Volume(v.Name); errors.Is(thereErr, fs.ErrNotExist) { // nobody else has made it
			err = errors.Join(err, e.removeVolume(v.Name))
		}
		return err
	}
	return nil
}

func (e *Engine) volumeEvent(name, action string) {
	e.Emit(Event{Type: "volume", Action: action, Actor: Actor{ID: name, Attributes: map[string]string{"driver": "local"}}})
}

// removeVolume deletes a volume and what is in it; absent is success. The record goes first: half a volume is none, and gc removes it.
func (e *Engine) removeVolume(name string) error {
	if v, err := e.Volume(name); err == nil && v.isMount() {
		return e.removeMounted(name)
	}
	if err := e.refuseMount(name); err != nil {
		return err
	}
	if err := os.Remove(e.volumeRecord(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(e.volumeDir(name))
}

// refuseMount refuses to remove a volume on which somebody has mounted something.
func (e *Engine) refuseMount(name string) error {
	mounted, err := container.IsMountPoint(e.volumeData(name))
	if err == nil && mounted {
		err = fmt.Errorf("something is mounted on volume %s, which would be removed with it: umount %s: %w", name, e.volumeData(name), unix.EBUSY)
	}
	return err
}

// gcHalfVolumes removes what is left of volumes that somebody was killed while making or removing. Nobody makes one meanwhile.
func (e *Engine) gcHalfVolumes() (removed []string, err error) {
	entries, err := os.ReadDir(filepath.Join(e.Root.Lib, "volumes"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, entry := range entries {
		name := entry.Name()
		if _, statErr := os.Lstat(e.volumeRecord(name)); !entry.IsDir() || !errors.Is(statErr, fs.ErrNotExist) {
			continue
		}
		if rmErr := e.removeVolume(name); rmErr != nil {
			err = errors.Join(err, rmErr)
			continue
		}
		removed = append(removed, "half-made volume "+name)
	}
	return removed, err
}

// removeAnonymous removes a container's anonymous volumes but those that another has by --volumes-from: they go with the last.
func (e *Engine) removeAnonymous(d *Definition) error {
	if len(d.AnonymousVolumes) == 0 {
		return nil
	}
	all, err := e.definitions()
	if err != nil {
		return err
	}
	for _, v := range d.AnonymousVolumes {
		has := func(m Mount) bool { return m.Type == "volume" && m.Source == v }
		if !slices.ContainsFunc(all, func(o *Definition) bool { return o.ID != d.ID && slices.ContainsFunc(o.Options.Mounts, has) }) {
			err = errors.Join(err, e.removeVolume(v))
		}
	}
	return err
}

// NoSuchVolume says that no volume has the name. It is an fs.ErrNotExist.
type NoSuchVolume struct{ Name string }

func (n *NoSuchVolume) Error() string {
	return "no such volume: " + n.Name + " (mydocker volume ls lists them)"
}
func (n *NoSuchVolume) Is(target error) bool { return target == fs.ErrNotExist }

// CreateVolume makes a volume, named at random when name is empty. One that exists is left as it is, and other options than it
// has are refused. options are those of Docker's local driver: volumemount.go.
func (e *Engine) CreateVolume(name string, labels, options map[string]string) (*Volume, error) {
	anonymous := name == ""
	if anonymous {
		name = newID()
	}
	done, err := e.beginCreating()
	if err != nil {
		return nil, err
	}
	defer done()
	if err := e.ensureVolume(Volume{Name: name, Anonymous: anonymous, Labels: labels, Options: options}); err != nil {
		return nil, err
	}
	e.volumeEvent(name, "create")
	return e.Volume(name)
}

// Volume finds one volume.
func (e *Engine) Volume(name string) (*Volume, error) {
	if validVolumeName(name) != nil {
		return nil, &NoSuchVolume{name}
	}
	v := new(Volume)
	err := state.ReadJSON(e.volumeRecord(name), v)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NoSuchVolume{name}
	}
	return v, err
}

// Volumes lists all volumes by name.
func (e *Engine) Volumes() ([]*Volume, error) {
	entries, err := os.ReadDir(filepath.Join(e.Root.Lib, "volumes"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	list := make([]*Volume, 0, len(entries))
	for _, entry := range entries {
		v, err := e.Volume(entry.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // being made, or removed
		}
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// VolumeUsers names the containers that mount each volume.
func (e *Engine) VolumeUsers() (map[string][]string, error) {
	all, err := e.definitions()
	if err != nil {
		return nil, err
	}
	users := map[string][]string{}
	for _, d := range all {
		for _, m := range d.Options.Mounts {
			if m.Type == "volume" {
				users[m.Source] = append(users[m.Source], d.Name)
			}
		}
	}
	return users, nil
}

// RemoveVolume deletes a volume that no container uses. With force a missing one is no error.
func (e *Engine) RemoveVolume(name string, force bool) error {
	done, err := e.lockGC() // nobody may create a container with it meanwhile
	if err != nil {
		return err
	}
	defer done()
	if _, err := e.Volume(name); err != nil {
		if force && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	users, err := e.VolumeUsers()
	if err != nil {
		return err
	}
	if in := users[name]; len(in) > 0 {
		return fmt.Errorf("volume %s is in use by container %s: remove that first (mydocker rm %s)", name, in[0], in[0])
	}
	return e.destroyVolume(name)
}

func (e *Engine) destroyVolume(name string) error {
	if err := e.removeVolume(name); err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	e.volumeEvent(name, "destroy")
	return nil
}

// PruneVolumes removes the anonymous volumes that no container uses, or with all the named ones too. It tells their names
// and how many bytes that freed.
func (e *Engine) PruneVolumes(all bool, keep func(*Volume) bool) (removed []string, freed int64, err error) {
	done, err := e.lockGC()
	if err != nil {
		return nil, 0, err
	}
	defer done()
	volumes, err := e.Volumes()
	if err != nil {
		return nil, 0, err
	}
	users, err := e.VolumeUsers()
	if err != nil {
		return nil, 0, err
	}
	for _, v := range volumes {
		// What a volume with options holds is somewhere else: as with Docker, only its name removes it.
		if len(users[v.Name]) > 0 || len(v.Options) > 0 || !v.Anonymous && !all || keep != nil && keep(v) {
			continue
		}
		size, sizeErr := diskUsage(v.Mountpoint)
		if rmErr := errors.Join(sizeErr, e.destroyVolume(v.Name)); rmErr != nil {
			err = errors.Join(err, rmErr)
			continue
		}
		removed, freed = append(removed, v.Name), freed+size
	}
	return removed, freed, err
}

// diskUsage is the size of the files below dir in bytes, each inode once. Equals: du -sb DIR
func diskUsage(dir string) (size int64, err error) {
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed while we looked
			}
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || info.IsDir() {
			return nil
		}
		if id := (inode{uint64(st.Dev), st.Ino}); !seen[id] {
			seen[id] = true
			size += info.Size()
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return size, err
}
