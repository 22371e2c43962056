package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// A volume with options (`volume create --opt type=… --opt device=… --opt o=…`) is something else's mount on the volume's
// directory, as Docker's local driver has it. It is there as long as a container that has the volume runs:
//
//	RUN/volumes/NAME/ID   an empty file for each container ID that has it: written before the mount, removed after the unmount
//	volumes/NAME/lock     held by who changes either
//
// The mount is in the host's own table, so that several containers see one tmpfs, and `volume inspect` names a directory that
// shows what they see. What a killed monitor leaves is found by those files, and without them (a lost RUN) by the mount itself.

// volumeOptions are those that the driver knows.
const (
	optType   = "type"   // of the file system, or none
	optDevice = "device" // what is mounted
	optWords  = "o"      // the words of mount -o
)

// checkVolumeOptions refuses, before there is a volume, what no mount could be made of.
func checkVolumeOptions(options map[string]string) error {
	for key := range options {
		switch key {
		case optType, optDevice, optWords:
		case "size":
			return errors.New("option size (a quota of the disk) is not supported: a volume takes what its file system has; a tmpfs has a size of its own (--opt o=size=100m)")
		default:
			return fmt.Errorf("invalid option %q: type, device and o are known", key)
		}
	}
	for _, needed := range []string{optDevice, optType} {
		if len(options) > 0 && options[needed] == "" {
			return fmt.Errorf("missing required option: %q; an example is --opt type=tmpfs --opt device=tmpfs --opt o=size=100m", needed)
		}
	}
	return nil
}

// sameOptions refuses options that an existing volume does not have: it would be taken for what it is not.
func (v *Volume) sameOptions(options map[string]string) error {
	if len(options) == 0 || maps.Equal(options, v.Options) {
		return nil
	}
	return fmt.Errorf("volume %s exists already, with other options (mydocker volume inspect %s); remove it first (mydocker volume rm %s), or take another name", v.Name, v.Name, v.Name)
}

// isMount says that the volume is something else's mount.
func (v *Volume) isMount() bool { return v.Options[optDevice] != "" }

// keepsNothing says that each mount of it is empty.
func (v *Volume) keepsNothing() bool {
	return v.Options[optType] == "tmpfs" || v.Options[optType] == "ramfs"
}

func (e *Engine) volumeUsesDir() string            { return filepath.Join(e.Root.Run, "volumes") }
func (e *Engine) volumeUse(name, id string) string { return filepath.Join(e.volumeUsesDir(), name, id) }

func (e *Engine) lockVolume(name string) (*state.Lock, error) {
	l, err := state.AcquireLock(filepath.Join(e.volumeDir(name), "lock"))
	if err != nil {
		return nil, fmt.Errorf("lock volume %s: %w", name, err)
	}
	return l, nil
}

// mountVolumes mounts those of a container's volumes that are mounts. On an error the caller releases.
func (e *Engine) mountVolumes(d *Definition) error {
	for _, m := range d.Options.Mounts {
		if m.Type != "volume" {
			continue
		}
		v, err := e.Volume(m.Source)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed behind our back: fillVolumes makes it anew
		}
		if err == nil && v.isMount() {
			err = e.mountVolume(v, d.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) mountVolume(v *Volume, id string) error {
	l, err := e.lockVolume(v.Name)
	if err != nil {
		return err
	}
	defer l.Release()
	if _, err := e.Volume(v.Name); err != nil {
		return err // removed while the lock was waited for
	}
	use := e.volumeUse(v.Name, id)
	if err := os.MkdirAll(filepath.Dir(use), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(use, nil, 0o600); err != nil {
		return err
	}
	data := e.volumeData(v.Name)
	if err := os.MkdirAll(data, 0o755); err != nil { // somebody has removed it
		return err
	}
	mounted, err := container.IsMountPoint(data)
	if err != nil || mounted {
		return err
	}
	m := container.HostFilesystem{Type: v.Options[optType], Device: v.Options[optDevice], Words: strings.Split(v.Options[optWords], ",")}
	if err := resolveServer(&m); err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	op := plan.Step{Cmd: hidePassword(m.Command(data)), Reason: "what volume " + v.Name + " is made of"}
	if err := plan.Do(e.Watch, op, func() error { return m.Mount(data) }); err != nil {
		return fmt.Errorf("mount volume %s (mydocker volume inspect %s shows its options): %w", v.Name, v.Name, err)
	}
	return nil
}

// resolveServer replaces the name of a file server by its address, as Docker does: the kernel knows no names.
func resolveServer(m *container.HostFilesystem) error {
	if m.Type != "nfs" && m.Type != "nfs4" && m.Type != "cifs" {
		return nil
	}
	given := false
	for i, word := range m.Words {
		if name, ok := strings.CutPrefix(word, "addr="); ok {
			address, err := addressOf(name)
			if err != nil {
				return err
			}
			m.Words[i], given = "addr="+address, true
		}
	}
	// For cifs the name may stand in the device alone: //SERVER/SHARE.
	if server, share, ok := strings.Cut(strings.TrimPrefix(m.Device, "//"), "/"); ok && !given && m.Type == "cifs" && server != "" {
		address, err := addressOf(server)
		if err != nil {
			return err
		}
		m.Device = "//" + address + "/" + share
	}
	return nil
}

func addressOf(server string) (string, error) {
	if _, err := netip.ParseAddr(server); err == nil {
		return server, nil
	}
	ip, err := net.ResolveIPAddr("ip", server)
	if err != nil {
		return "", fmt.Errorf("the address of the file server %s: %w", server, err)
	}
	return ip.String(), nil
}

// hidePassword is for what is shown: cifs takes its password among the words.
func hidePassword(command string) string {
	before, after, ok := strings.Cut(command, "password=")
	if !ok {
		return command
	}
	end := strings.IndexAny(after, ", ")
	if end < 0 {
		end = len(after)
	}
	return before + "password=********" + after[end:]
}

// unmountVolumes ends a container's use of its volumes, and unmounts those that nobody else uses. It goes by what was
// recorded, so it needs no definition. Absent is success.
func (e *Engine) unmountVolumes(id string) error {
	entries, err := os.ReadDir(e.volumeUsesDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the usual case: no volume here has options
	}
	for _, entry := range entries {
		if _, statErr := os.Lstat(e.volumeUse(entry.Name(), id)); statErr == nil {
			err = errors.Join(err, e.endVolumeUse(entry.Name(), id))
		}
	}
	return err
}

func (e *Engine) endVolumeUse(name, id string) error {
	if _, err := os.Lstat(e.volumeDir(name)); errors.Is(err, fs.ErrNotExist) {
		return os.RemoveAll(filepath.Dir(e.volumeUse(name, id))) // its directory must not come back with the lock
	}
	l, err := e.lockVolume(name)
	if err != nil {
		return err
	}
	defer l.Release()
	users, err := os.ReadDir(filepath.Dir(e.volumeUse(name, id)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	alone := len(users) == 1 && users[0].Name() == id
	if alone {
		if err := e.unmountVolume(name); err != nil {
			return err
		}
	}
	if err := os.Remove(e.volumeUse(name, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if alone {
		err = os.Remove(filepath.Dir(e.volumeUse(name, id)))
	}
	return err
}

// unmountVolume takes off what is mounted on a volume's directory; nothing is success. Who still has a file of it open keeps
// that: umount -l.
func (e *Engine) unmountVolume(name string) error {
	data := e.volumeData(name)
	for {
		mounted, err := container.IsMountPoint(data)
		if err != nil || !mounted {
			return err
		}
		op := plan.Step{Cmd: "umount -l " + data, Reason: "no container has volume " + name + " any more"}
		if err := plan.Do(e.Watch, op, func() error { return container.Unmount(data) }); err != nil {
			return fmt.Errorf("unmount volume %s: %w", name, err)
		}
	}
}

// gcVolumes unmounts the volumes that only dead containers have had, and those of which nothing is recorded any more.
func (e *Engine) gcVolumes(alive func(id string) bool) (removed []string, err error) {
	volumes, err := e.Volumes()
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		if !v.isMount() {
			continue
		}
		mounted, mountErr := container.IsMountPoint(e.volumeData(v.Name))
		users, readErr := os.ReadDir(filepath.Dir(e.volumeUse(v.Name, "x")))
		if errors.Is(readErr, fs.ErrNotExist) {
			readErr = nil
		}
		err = errors.Join(err, mountErr, readErr)
		living := 0
		for _, user := range users {
			if alive(user.Name()) {
				living++
			} else {
				err = errors.Join(err, e.endVolumeUse(v.Name, user.Name()))
			}
		}
		if living == 0 && mounted {
			err = errors.Join(err, e.unmountVolume(v.Name))
			removed = append(removed, "the mount of volume "+v.Name)
		}
	}
	return removed, err
}

// removeMounted removes a volume that is something else's mount. Nothing of it is removed in depth: what is mounted on the directory, be
// it by a container that starts at this moment, is not the volume's to empty.
func (e *Engine) removeMounted(name string) error {
	l, err := e.lockVolume(name)
	if err != nil {
		return err
	}
	defer l.Release()
	if err := e.unmountVolume(name); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Dir(e.volumeUse(name, "x"))); err != nil {
		return err
	}
	dir := e.volumeDir(name)
	for _, path := range []string{e.volumeData(name), filepath.Join(dir, "volume.json"), filepath.Join(dir, "lock"), dir} {
		err := os.Remove(path)
		if errors.Is(err, unix.ENOTEMPTY) {
			return fmt.Errorf("remove volume %s: there are files in %s itself, below what is mounted on it (ls -la %s): %w", name, path, path, err)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove volume %s: %w", name, err)
		}
	}
	return nil
}

// WithVolumes mounts those of a container's volumes that are mounts while work runs, for those who look at its files though it
// does not run.
func (e *Engine) WithVolumes(d *Definition, work func() error) error {
	done, err := e.beginCreating() // gc would find a mount of a container that does not run
	if err != nil {
		return err
	}
	defer done()
	err = e.mountVolumes(d)
	if err == nil {
		err = work()
	}
	return errors.Join(err, e.unmountVolumes(d.ID))
}
