package cli

import (
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
)

// readMounts reads -v, --mount and --tmpfs.
func readMounts(c *urfave.Context, o *engine.CreateOptions) error {
	for _, kind := range []struct {
		flag  string
		parse func(string) (engine.Mount, error)
	}{{"volume", parseVolume}, {"mount", parseMount}, {"tmpfs", parseTmpfs}} {
		for _, text := range c.StringSlice(kind.flag) {
			m, err := kind.parse(text)
			if err != nil {
				return fmt.Errorf("invalid --%s '%s': %w", kind.flag, text, err)
			}
			o.Mounts = append(o.Mounts, m)
		}
	}
	seen := make(map[string]bool)
	for _, m := range o.Mounts {
		if seen[m.Target] {
			return fmt.Errorf("duplicate mount point: %s", m.Target)
		}
		seen[m.Target] = true
	}
	return nil
}

// parseVolume reads -v: TARGET, or SOURCE:TARGET[:OPTIONS]. A source that begins with a slash or a dot is a path of
// the host, any other the name of a volume.
func parseVolume(text string) (engine.Mount, error) {
	parts := strings.Split(text, ":")
	var m engine.Mount
	switch len(parts) {
	case 1:
		m = engine.Mount{Type: "volume", Target: parts[0]}
	case 2, 3:
		m = engine.Mount{Source: parts[0], Target: parts[1]}
	default:
		return m, fmt.Errorf("too many colons; SOURCE:TARGET[:OPTIONS] is expected")
	}
	if len(parts) > 1 {
		if m.Source == "" {
			return m, fmt.Errorf("empty section between colons")
		}
		m.Type = "volume"
		if isPath(m.Source) {
			abs, err := filepath.Abs(m.Source)
			if err != nil {
				return m, err
			}
			m.Type, m.Source = "bind", abs
		} else if !validVolume(m.Source) {
			return m, fmt.Errorf("%q is no volume name: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed; a directory of the host is given by its absolute path", m.Source)
		}
	}
	if len(parts) == 3 {
		if parts[2] == "" {
			return m, fmt.Errorf("empty section between colons")
		}
		if err := volumeOptions(&m, strings.Split(parts[2], ",")); err != nil {
			return m, err
		}
	}
	return m, cleanTarget(&m)
}

func isPath(source string) bool {
	return strings.HasPrefix(source, "/") || source == "." || source == ".." || strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../")
}

func validVolume(name string) bool {
	for i, r := range name {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !alnum && (i == 0 || !strings.ContainsRune("_.-", r)) {
			return false
		}
	}
	return len(name) > 1
}

// volumeOptions reads the third part of -v: ro, rw, a propagation, nocopy; z and Z relabel for SELinux.
func volumeOptions(m *engine.Mount, options []string) error {
	mode := ""
	for _, option := range options {
		switch {
		case option == "ro" || option == "rw":
			if mode != "" {
				return fmt.Errorf("ro or rw can be given once")
			}
			mode, m.ReadOnly = option, option == "ro"
		case option == "nocopy":
			if m.Type != "volume" {
				return fmt.Errorf("nocopy is for volumes; %s is a directory of the host", m.Source)
			}
			m.NoCopy = true
		case validPropagation(option):
			if m.Type != "bind" {
				return fmt.Errorf("propagation %s is for directories of the host", option)
			}
			if m.Propagation != "" {
				return fmt.Errorf("a propagation can be given once")
			}
			m.Propagation = option
		case option == "z" || option == "Z":
			if m.Relabel != "" {
				return fmt.Errorf("z (for all containers) or Z (for this one) can be given once")
			}
			m.Relabel = option
		case option == "cached" || option == "delegated" || option == "consistent": // of no meaning on Linux, in Docker too
		default:
			return fmt.Errorf("unknown option %q: ro, rw, nocopy, z, Z, [r]private, [r]shared and [r]slave are known", option)
		}
	}
	return nil
}

func validPropagation(text string) bool {
	switch text {
	case "private", "rprivate", "shared", "rshared", "slave", "rslave":
		return true
	}
	return false
}

func cleanTarget(m *engine.Mount) error {
	if !path.IsAbs(m.Target) {
		return fmt.Errorf("mount path '%s' must be absolute", m.Target)
	}
	if m.Target = path.Clean(m.Target); m.Target == "/" {
		return fmt.Errorf("the destination can't be '/'")
	}
	return nil
}

// parseTmpfs reads --tmpfs: TARGET[:OPTIONS].
func parseTmpfs(text string) (engine.Mount, error) {
	target, options, given := strings.Cut(text, ":")
	m := engine.Mount{Type: "tmpfs", Target: target}
	if given {
		for _, option := range strings.Split(options, ",") {
			if err := checkTmpfsOption(option); err != nil {
				return m, err
			}
			m.TmpfsOptions = append(m.TmpfsOptions, option)
		}
	}
	return m, cleanTarget(&m)
}

// checkTmpfsOption refuses what mount(8) does not know for a tmpfs.
func checkTmpfsOption(option string) error {
	key, value, given := strings.Cut(option, "=")
	switch key {
	case "ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "sync", "async", "atime", "noatime", "diratime",
		"nodiratime", "relatime", "norelatime", "strictatime", "private", "rprivate", "shared", "rshared", "slave", "rslave":
		if given {
			return fmt.Errorf("tmpfs option %s takes no value", key)
		}
		return nil
	case "size":
		if strings.HasSuffix(value, "%") {
			_, err := strconv.ParseUint(strings.TrimSuffix(value, "%"), 10, 32)
			return wrongTmpfs(option, err)
		}
		_, err := units.RAMInBytes(value)
		return wrongTmpfs(option, err)
	case "mode":
		_, err := strconv.ParseUint(value, 8, 32)
		return wrongTmpfs(option, err)
	case "uid", "gid":
		_, err := strconv.ParseUint(value, 10, 32)
		return wrongTmpfs(option, err)
	case "nr_inodes", "nr_blocks":
		_, err := units.RAMInBytes(value)
		return wrongTmpfs(option, err)
	case "mpol":
		return nil
	}
	return fmt.Errorf("unknown tmpfs option %q", option)
}

func wrongTmpfs(option string, err error) error {
	if err != nil {
		return fmt.Errorf("invalid tmpfs option %q", option)
	}
	return nil
}

// parseMount reads --mount: type=bind,src=/a,dst=/b,readonly,….
func parseMount(text string) (engine.Mount, error) {
	m := engine.Mount{Type: "volume"}
	fields, err := splitCSV(text)
	if err != nil {
		return m, err
	}
	given := make(map[string]bool) // which kinds of options were there: bind, volume, tmpfs
	for _, field := range fields {
		key, value, hasValue := strings.Cut(field, "=")
		key = strings.ToLower(key)
		if !hasValue {
			switch key {
			case "readonly", "ro", "volume-nocopy", "bind-nonrecursive":
				value = "true"
			default:
				return m, fmt.Errorf("invalid field '%s' must be a key=value pair", field)
			}
		}
		if kind, _, ok := strings.Cut(key, "-"); ok {
			given[kind] = true
		}
		if err := mountField(&m, key, value); err != nil {
			return m, err
		}
	}
	for kind := range given {
		if kind != m.Type {
			return m, fmt.Errorf("cannot mix '%s-*' options with mount type '%s'", kind, m.Type)
		}
	}
	return m, finishMount(&m)
}

// mountField reads one key=value of --mount.
func mountField(m *engine.Mount, key, value string) (err error) {
	wrong := fmt.Errorf("invalid value for %s: %s", key, value)
	switch key {
	case "type":
		m.Type = strings.ToLower(value)
	case "source", "src":
		m.Source = value
		if strings.HasPrefix(value, ".") {
			m.Source, err = filepath.Abs(value)
		}
		return err
	case "target", "dst", "destination":
		m.Target = value
	case "readonly", "ro":
		if m.ReadOnly, err = strconv.ParseBool(value); err != nil {
			return wrong
		}
	case "bind-propagation":
		if m.Propagation = strings.ToLower(value); !validPropagation(m.Propagation) {
			return wrong
		}
	case "volume-nocopy":
		if m.NoCopy, err = strconv.ParseBool(value); err != nil {
			return wrong
		}
	case "volume-subpath":
		if m.Subpath = value; path.IsAbs(value) || strings.HasPrefix(path.Clean(value), "..") {
			return fmt.Errorf("volume-subpath has to be a relative path inside the volume: %s", value)
		}
	case "tmpfs-size":
		size, err := units.RAMInBytes(value)
		if err != nil || size <= 0 {
			return wrong
		}
		m.TmpfsOptions = append(m.TmpfsOptions, "size="+strconv.FormatInt(size, 10))
	case "tmpfs-mode":
		mode, err := strconv.ParseUint(value, 8, 12)
		if err != nil {
			return wrong
		}
		m.TmpfsOptions = append(m.TmpfsOptions, fmt.Sprintf("mode=%04o", mode))
	case "bind-recursive":
		switch m.Recursive = strings.ToLower(value); m.Recursive {
		case "enabled", "disabled", "writable", "readonly":
		default:
			return wrong
		}
	case "bind-nonrecursive":
		off, err := strconv.ParseBool(value)
		if err != nil {
			return wrong
		}
		if off {
			m.Recursive = "disabled"
		}
	case "volume-driver":
		if value != "local" {
			return fmt.Errorf("volume driver %q is not supported: local is the only one", value)
		}
	case "volume-label":
		if m.Labels == nil {
			m.Labels = map[string]string{}
		}
		name, text, _ := strings.Cut(value, "=")
		m.Labels[name] = text
	case "consistency": // of no meaning on Linux, in Docker too
	case "volume-opt":
		if m.VolumeOptions == nil {
			m.VolumeOptions = map[string]string{}
		}
		name, text, ok := strings.Cut(value, "=")
		if !ok {
			return fmt.Errorf("invalid volume-opt '%s' must be a key=value pair", value)
		}
		m.VolumeOptions[name] = text
	case "image-subpath":
		return fmt.Errorf("mount option %s is not supported", key)
	default:
		return fmt.Errorf("unexpected key '%s' in '%s=%s'", key, key, value)
	}
	return nil
}

// finishMount checks what the fields say together.
func finishMount(m *engine.Mount) error {
	m.MustExist = true
	switch m.Type {
	case "bind":
		if m.Source == "" {
			return fmt.Errorf("field source must not be empty for type bind")
		}
		if !filepath.IsAbs(m.Source) {
			return fmt.Errorf("the source of a bind mount has to be an absolute path: %s", m.Source)
		}
		m.Source = filepath.Clean(m.Source)
		switch {
		case m.Recursive == "readonly" && !m.ReadOnly:
			return fmt.Errorf("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")
		case m.Recursive == "readonly" && m.Propagation != "" && m.Propagation != "rprivate":
			return fmt.Errorf("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate'")
		case m.Recursive == "writable" && !m.ReadOnly:
			return fmt.Errorf("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction")
		}
	case "volume":
		if m.Source != "" && !validVolume(m.Source) {
			return fmt.Errorf("%q is no volume name; for a directory of the host say type=bind", m.Source)
		}
		if m.Source == "" && m.Subpath != "" {
			return fmt.Errorf("volume-subpath needs the name of a volume (source=NAME)")
		}
	case "tmpfs":
		if m.Source != "" {
			return fmt.Errorf("a tmpfs has no source")
		}
	case "":
		return fmt.Errorf("type is required")
	default:
		return fmt.Errorf("mount type %q is not supported: bind, volume and tmpfs are", m.Type)
	}
	if m.Target == "" {
		return fmt.Errorf("target is required")
	}
	return cleanTarget(m)
}
