package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/state"
)

// Create writes a container's definition down. Nothing of it is in the kernel yet: that is `start`.
func (e *Engine) Create(ctx context.Context, o CreateOptions) (id string, warnings []string, err error) {
	done, err := e.beginCreating()
	if err != nil {
		return "", nil, exitWith(125, err)
	}
	defer done()
	d, warnings, err := e.create(ctx, o, false)
	defer d.unlock()
	if err == nil {
		err = e.keepDefinition(d)
	}
	if err != nil {
		return "", warnings, err
	}
	return d.ID, warnings, nil
}

// create checks everything first and then acts: claim the name, write the definition. A failure takes both back. The container
// is locked afterwards: the caller unlocks it.
func (e *Engine) create(ctx context.Context, o CreateOptions, byRun bool) (_ *Definition, warnings []string, err error) {
	defer func() { err = exitWith(125, err) }()
	if err := refuseNames(&o); err != nil {
		return nil, nil, err
	}
	store, err := e.images()
	if err != nil {
		return nil, nil, err
	}
	// Until the definition says that the image is in use, nobody may remove it.
	hold, err := store.Hold()
	if err != nil {
		return nil, nil, err
	}
	defer hold.Release()
	img, err := localImage(store, o.Image)
	if err != nil {
		return nil, nil, err
	}
	d := &Definition{ID: newID(), Created: time.Now(), ImageID: img.ID, Layers: img.Layers, Options: o, ByRun: byRun}
	if warnings, err = e.complete(d, img.Config.Config); err != nil {
		return nil, warnings, err
	}
	if err := e.claim(d); err != nil {
		return nil, warnings, err
	}
	e.containerEvent(d, "create")
	return d, warnings, nil
}

// refuseNames looks at the names that the user has chosen, before anything else is done.
func refuseNames(o *CreateOptions) error {
	if o.Name != "" {
		if err := validName(o.Name); err != nil {
			return err
		}
	}
	if o.CIDFile != "" {
		if _, err := os.Lstat(o.CIDFile); err == nil {
			return fmt.Errorf("container id file %s exists already; remove it or give another --cidfile", o.CIDFile)
		}
		if _, err := os.Stat(filepath.Dir(o.CIDFile)); err != nil { // where a record's directory would be made
			return fmt.Errorf("write container id file %s: its directory: %w", o.CIDFile, err)
		}
	}
	return nil
}

// complete fills in what the user has left open, and refuses what cannot be. It has no effect but on the definition.
func (e *Engine) complete(d *Definition, c image.ContainerConfig) (warnings []string, err error) {
	o := &d.Options
	if err := e.addVolumesFrom(d); err != nil {
		return nil, err
	}
	if err := mergeImage(d, c); err != nil {
		return nil, fmt.Errorf("image %s: %w", o.Image, err)
	}
	if err := readSecurityOpts(o); err != nil {
		return nil, err
	}
	if err := e.chooseLabels(d); err != nil {
		return nil, err
	}
	if err := checkRemap(o); err != nil {
		return nil, err
	}
	if err := e.checkNetworks(o); err != nil {
		return nil, err
	}
	if len(o.Ports) > 0 && isNetwork(o.Network) && len(e.portsByPlace(o, o.Ports)) == 0 {
		warnings = append(warnings, "published ports are discarded: no network of the container publishes any: bridge networks do that are not internal")
	}
	if err := e.checkMounts(o); err != nil {
		return warnings, err
	}
	return warnings, e.checkHost(o)
}

// claim puts the container on record: its directory, lock, name, definition and volumes. A failure takes all of it back.
func (e *Engine) claim(d *Definition) (err error) {
	// The directory first: a name whose owner has none is known to be left over.
	if err := os.MkdirAll(e.Root.Container(d.ID), 0o710); err != nil {
		return err
	}
	if err := os.Mkdir(e.path(d.ID, "rootfs"), 0o755); err != nil { // where the container will mount its root
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.forget(d))
			d.unlock()
		}
	}()
	// From here on others can find it. Until it has been started, or told to the user, it is ours alone.
	if d.held, err = state.AcquireLock(e.path(d.ID, lockFile)); err != nil {
		return err
	}
	if d.Name, err = e.claimName(d.Options.Name, d.ID); err != nil {
		return err
	}
	d.Options.Name = d.Name
	if err := e.defineAnew(d); err != nil {
		return err
	}
	if err := e.createVolumes(d); err != nil {
		return err
	}
	if len(d.AnonymousVolumes) > 0 {
		if err := e.defineAnew(d); err != nil {
			return err
		}
	}
	if file := d.Options.CIDFile; file != "" {
		if err := state.Replace(file, []byte(d.ID), state.Volatile); err != nil {
			return fmt.Errorf("write container id file: %w", err)
		}
	}
	return nil
}

// exitWith gives an error the exit status that it has when nothing narrower is known.
func exitWith(code int, err error) error {
	var exit *ExitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	return &ExitError{Code: code, Err: err}
}

// mergeImage fills what the user left open from the image's configuration, by Docker's rules.
func mergeImage(d *Definition, c image.ContainerConfig) error {
	if err := mergeProcess(d, c); err != nil {
		return err
	}
	o := &d.Options
	if len(c.Labels) > 0 {
		labels := maps.Clone(c.Labels)
		maps.Copy(labels, o.Labels)
		o.Labels = labels
	}
	if o.Hostname == "" && o.Network == modeHost {
		name, err := os.Hostname()
		if err != nil {
			return err
		}
		o.Hostname = name
	}
	if o.Hostname == "" {
		o.Hostname = ShortID(d.ID)
	}
	for port := range c.ExposedPorts {
		o.Expose = append(o.Expose, port)
	}
	for _, p := range o.Ports {
		for i := range max(p.Count, 1) {
			o.Expose = append(o.Expose, fmt.Sprintf("%d/%s", p.ContainerPort+i, p.Proto))
		}
	}
	o.Expose = sortedUnique(o.Expose)
	if o.Health = mergeHealth(o.Health, c.Healthcheck); o.Health != nil {
		if _, err := healthCommand(o.Health.Test); err != nil {
			return err
		}
	}
	return mergeVolumes(o, c.Volumes)
}

// mergeProcess is what the first process is, and how it is told to stop.
func mergeProcess(d *Definition, c image.ContainerConfig) error {
	o := &d.Options
	switch {
	case o.Entrypoint == nil:
		o.Entrypoint = c.Entrypoint
		if len(o.Args) == 0 {
			o.Args = c.Cmd
		}
	case len(o.Entrypoint) == 1 && o.Entrypoint[0] == "": // --entrypoint "" takes the image's away
		o.Entrypoint = nil
	}
	if len(d.Command()) == 0 {
		return errors.New("no command specified: the image has neither Cmd nor Entrypoint; name the command after the image")
	}
	o.Env = mergeEnv(c.Env, o.Env)
	o.WorkingDir = cmp.Or(o.WorkingDir, c.WorkingDir, "/")
	if !path.IsAbs(o.WorkingDir) {
		return fmt.Errorf("the working directory %q is invalid, it has to be an absolute path", o.WorkingDir)
	}
	o.User = cmp.Or(o.User, c.User)
	if o.StopTimeout == nil {
		o.StopTimeout = c.StopTimeout
	}
	o.StopSignal = cmp.Or(o.StopSignal, c.StopSignal, "SIGTERM")
	_, err := ParseSignal(o.StopSignal)
	return err
}

// mergeVolumes adds an anonymous volume for each VOLUME of the image that the user has not mounted over.
func mergeVolumes(o *CreateOptions, volumes map[string]struct{}) error {
	mounted := make(map[string]bool)
	for _, m := range o.Mounts {
		if !path.IsAbs(m.Target) || path.Clean(m.Target) == "/" {
			return fmt.Errorf("invalid mount target %q: it has to be an absolute path other than /", m.Target)
		}
		if target := path.Clean(m.Target); mounted[target] {
			return fmt.Errorf("duplicate mount point: %s", target)
		} else {
			mounted[target] = true
		}
	}
	for target := range volumes {
		if target = path.Clean("/" + target); !mounted[target] && target != "/" {
			o.Mounts = append(o.Mounts, Mount{Type: "volume", Target: target})
		}
	}
	// A mount below another has to come after it.
	sort.SliceStable(o.Mounts, func(i, j int) bool {
		return strings.Count(path.Clean(o.Mounts[i].Target), "/") < strings.Count(path.Clean(o.Mounts[j].Target), "/")
	})
	return nil
}

// addVolumesFrom adds the volumes and bind mounts of other containers (--volumes-from NAME[:ro]), unless something else is
// mounted there.
func (e *Engine) addVolumesFrom(d *Definition) error {
	o := &d.Options
	for _, from := range o.VolumesFrom {
		ref, mode, _ := strings.Cut(from, ":")
		if !slices.Contains([]string{"", "ro", "rw", "z", "Z"}, mode) {
			return fmt.Errorf("--volumes-from %s: the mode is ro, rw, z or Z, not %q", from, mode)
		}
		other, err := e.Find(ref)
		if err != nil {
			return fmt.Errorf("--volumes-from %s: %w", from, err)
		}
		for _, m := range other.Options.Mounts {
			taken := slices.ContainsFunc(o.Mounts, func(mine Mount) bool { return path.Clean(mine.Target) == path.Clean(m.Target) })
			if m.Type == "tmpfs" || taken {
				continue
			}
			m.ReadOnly = m.ReadOnly || mode == "ro"
			if strings.EqualFold(mode, "z") {
				m.Relabel = mode
			}
			o.Mounts = append(o.Mounts, m)
			if slices.Contains(other.AnonymousVolumes, m.Source) {
				d.AnonymousVolumes = append(d.AnonymousVolumes, m.Source) // the last one that has it takes it along
			}
		}
	}
	return nil
}

// mergeEnv lets later values of a variable replace earlier ones, in place.
func mergeEnv(lists ...[]string) []string {
	var env []string
	at := make(map[string]int)
	for _, list := range lists {
		for _, kv := range list {
			name, _, _ := strings.Cut(kv, "=")
			if i, ok := at[name]; ok {
				env[i] = kv
				continue
			}
			at[name] = len(env)
			env = append(env, kv)
		}
	}
	return env
}

func sortedUnique(list []string) []string {
	seen := make(map[string]bool, len(list))
	var out []string
	for _, s := range list {
		if !strings.Contains(s, "/") {
			s += "/tcp"
		}
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	sort.Strings(out)
	return out
}

// checkMounts refuses bind sources that are missing when --mount was used.
func (e *Engine) checkMounts(o *CreateOptions) error {
	for _, m := range o.Mounts {
		switch m.Type {
		case "bind":
			if !filepath.IsAbs(m.Source) {
				return fmt.Errorf("bind mount %s: the source %q has to be an absolute path", m.Target, m.Source)
			}
			_, err := os.Stat(m.Source)
			if m.MustExist && errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("invalid mount config for type %q: bind source path does not exist: %s", m.Type, m.Source)
			}
			if err := checkPropagation(m); err != nil {
				return err
			}
		case "volume":
			if m.Source != "" {
				if err := validVolumeName(m.Source); err != nil {
					return err
				}
			}
		case "tmpfs":
		default:
			return fmt.Errorf("unknown mount type %q: bind, volume and tmpfs are supported", m.Type)
		}
	}
	return nil
}
