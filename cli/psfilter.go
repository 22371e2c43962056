package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/docker/go-units"

	"github.com/mydocker/mydocker/engine"
)

// containerFilter turns the filters of `ps` into one question, and refuses values that make no sense.
func containerFilter(f filters, all bool) (keep func(*engine.Summary) bool, err error) {
	var names []*regexp.Regexp
	for _, text := range f["name"] {
		re, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("invalid filter 'name=%s': %w", text, err)
		}
		names = append(names, re)
	}
	for _, text := range f["exited"] {
		if _, err := strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("invalid filter 'exited=%s': a number is expected", text)
		}
	}
	states := []string{"created", "running", "paused", "restarting", "removing", "exited", "dead"}
	for _, text := range f["status"] {
		if !slices.Contains(states, text) {
			return nil, fmt.Errorf("invalid filter 'status=%s': one of %s is expected", text, strings.Join(states, ", "))
		}
	}
	healths := []string{"starting", "healthy", "unhealthy", "none"}
	for _, text := range f["health"] {
		if !slices.Contains(healths, text) {
			return nil, fmt.Errorf("invalid filter 'health=%s': one of %s is expected", text, strings.Join(healths, ", "))
		}
	}
	if _, _, err := f.flag("is-task"); err != nil {
		return nil, err
	}
	ports := make(map[string][]portRange)
	for _, key := range []string{"publish", "expose"} {
		for _, text := range f[key] {
			r, err := parsePortRange(text)
			if err != nil {
				return nil, fmt.Errorf("invalid filter '%s=%s': %w", key, text, err)
			}
			ports[key] = append(ports[key], r)
		}
	}
	return func(s *engine.Summary) bool {
		up := s.State == "running" || s.State == "paused" || s.State == "restarting"
		if !all && len(f["status"]) == 0 && !up {
			return false
		}
		task, given, _ := f.flag("is-task")
		return !(given && task) &&
			f.any("id", func(v string) bool { return strings.HasPrefix(s.ID, v) }) &&
			(len(names) == 0 || slices.ContainsFunc(names, func(re *regexp.Regexp) bool { return nameMatches(s, re) })) &&
			f.any("isolation", func(v string) bool { return v == "default" || v == "" }) && // the others are of Windows

			f.labels(s.Labels) &&
			f.any("status", func(v string) bool { return s.State == v }) &&
			f.any("exited", func(v string) bool {
				code, _ := strconv.Atoi(v)
				return s.State == "exited" && s.ExitCode == code
			}) &&
			f.any("health", func(v string) bool { return healthOf(s.Status) == v }) &&
			f.any("ancestor", func(v string) bool { return isImage(s, v) }) &&
			f.any("network", func(v string) bool { return slices.Contains(s.Networks, v) }) &&
			havePort(ports["publish"], s, func(p engine.PortSummary) uint16 { return p.PublicPort }) &&
			havePort(ports["expose"], s, func(p engine.PortSummary) uint16 { return p.PrivatePort })
	}, nil
}

// nameMatches says whether a name of the container is what is asked for, also with the slash that Docker's own names begin with:
// name=^/web$ is what its users have learnt to write.
func nameMatches(s *engine.Summary, re *regexp.Regexp) bool {
	return slices.ContainsFunc(s.Names, func(name string) bool { return re.MatchString(name) || re.MatchString("/"+name) })
}

// healthOf is the health that a container's status tells: "Up 3 minutes (healthy)".
func healthOf(status string) string {
	for text, health := range map[string]string{"(healthy)": "healthy", "(unhealthy)": "unhealthy", "(health: starting)": "starting"} {
		if strings.HasSuffix(status, text) {
			return health
		}
	}
	return "none"
}

// isImage says whether a container was made from the image that ref names: by name, or by the beginning of its id.
func isImage(s *engine.Summary, ref string) bool {
	name := s.Image
	id := strings.TrimPrefix(s.ImageID, "sha256:")
	ref = strings.TrimPrefix(ref, "sha256:")
	return name == ref || name == ref+":latest" || name+":latest" == ref || ref != "" && strings.HasPrefix(id, ref)
}

type portRange struct {
	first, last uint16
	proto       string
}

func parsePortRange(text string) (r portRange, err error) {
	ports, err := parseExpose(text)
	if err != nil {
		return r, fmt.Errorf("PORT[-PORT][/PROTOCOL] is expected")
	}
	span, proto, _ := strings.Cut(ports[0], "/")
	first, err := strconv.ParseUint(span, 10, 16)
	if err != nil {
		return r, err
	}
	r = portRange{uint16(first), uint16(first) + uint16(len(ports)-1), proto}
	return r, nil
}

func havePort(wanted []portRange, s *engine.Summary, port func(engine.PortSummary) uint16) bool {
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(r portRange) bool {
		return slices.ContainsFunc(s.Ports, func(p engine.PortSummary) bool {
			n := port(p)
			return n >= r.first && n <= r.last && p.Type == r.proto
		})
	})
}

// betweenContainers keeps the containers made before and since others. The list is newest first.
func betweenContainers(all []*engine.Summary, f filters) ([]*engine.Summary, error) {
	find := func(ref string) (int, error) {
		for i, s := range all {
			if s.ID == ref || slices.Contains(s.Names, strings.TrimPrefix(ref, "/")) || ref != "" && strings.HasPrefix(s.ID, ref) {
				return i, nil
			}
		}
		return 0, fmt.Errorf("no such container: %s", ref)
	}
	first, last := 0, len(all)
	for _, ref := range f["before"] {
		i, err := find(ref)
		if err != nil {
			return nil, err
		}
		first = max(first, i+1)
	}
	for _, ref := range f["since"] {
		i, err := find(ref)
		if err != nil {
			return nil, err
		}
		last = min(last, i)
	}
	if first > last {
		return nil, nil
	}
	return all[first:last], nil
}

// nameNetworks puts the names of networks in the place of their ids, which a container's summary does not have. What names
// no network stays as it is, and then matches nothing.
func (f filters) nameNetworks(e *engine.Engine) {
	for i, ref := range f["network"] {
		if n, err := e.Networks().Network(ref); err == nil {
			f["network"][i] = n.Name
		}
	}
}

// hasVolume says whether a container mounts what --filter volume= names: a volume, a directory of the host, or the place in
// the container.
func hasVolume(e *engine.Engine, s *engine.Summary, f filters) (bool, error) {
	if len(f["volume"]) == 0 {
		return true, nil
	}
	j, err := e.Inspect(context.Background(), s.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // removed in the meantime
	}
	if err != nil {
		return false, err
	}
	return f.any("volume", func(v string) bool {
		return slices.ContainsFunc(j.Mounts, func(m engine.MountJSON) bool { return v == m.Name || v == m.Source || v == m.Destination })
	}), nil
}

// sizeText is the SIZE column: what the container wrote, and that together with its image.
func sizeText(e *engine.Engine, s *engine.Summary) (string, error) {
	written, layers, err := containerSizes(e, s.Dir, s.ImageID)
	if err != nil {
		return "", err
	}
	text := units.HumanSizeWithPrecision(float64(written), 3)
	if layers == 0 {
		return text, nil
	}
	return fmt.Sprintf("%s (virtual %s)", text, units.HumanSizeWithPrecision(float64(written+layers), 3)), nil
}

// containerSizes are the bytes that a container has written, and those of its image's layers: 0 if the image is gone.
func containerSizes(e *engine.Engine, dir, imageID string) (written, layers int64, err error) {
	for _, part := range []string{"upper", "copied"} { // the copy is there where overlayfs cannot be used
		size, err := diskUsage(filepath.Join(dir, part))
		if err != nil {
			return 0, 0, err
		}
		written += size
	}
	images, err := e.Images()
	if err != nil {
		return 0, 0, err
	}
	img, err := images.Get(imageID)
	if errors.Is(err, fs.ErrNotExist) {
		return written, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	return written, img.Size, nil
}

// diskUsage adds up the sizes of the files under dir; what vanishes while we look counts nothing.
func diskUsage(dir string) (total int64, err error) {
	seen := make(map[uint64]bool) // files with several names
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			st, ok := info.Sys().(*syscall.Stat_t)
			if ok && st.Nlink > 1 && seen[st.Ino] {
				return nil
			}
			if ok && st.Nlink > 1 {
				seen[st.Ino] = true
			}
			total += info.Size()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return total, err
}
