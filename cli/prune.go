package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/docker/go-units"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
)

// pruner removes what nothing uses, and tells what that was and how many bytes it freed.
type pruner func(ctx context.Context, e *engine.Engine, f filters, all bool) (removed []string, freed int64, err error)

// pruneVerb makes the prune command of a group.
func pruneVerb(group, what, warning, title string, canAll, sized bool, prune pruner) *verb {
	return &verb{
		name: "prune", filters: pruneFilterKeys, summary: "Remove " + what, usage: "[OPTIONS]",
		about: `--filter takes until=TIME (made before it; a duration is so long ago) and label.

Examples:
  $ mydocker ` + group + ` prune -f`,
		flags: func() []urfave.Flag {
			flags := []urfave.Flag{
				listOf("filter", "filter", `Provide filter values (e.g. "until=<timestamp>")`),
				yes("force,f", "Do not prompt for confirmation"),
			}
			if canAll {
				flags = append(flags, yes("all,a", "Remove all unused images, not just dangling ones"))
			}
			return flags
		},
		run: func(s *session, c *urfave.Context) error {
			f, err := s.pruneFilters(c)
			if err != nil {
				return s.bad(err)
			}
			all := canAll && c.Bool("all")
			warning := warning
			if all {
				warning = "all images without at least one container associated to them"
			}
			if !c.Bool("force") && !s.confirm("WARNING! This will remove "+warning+".") {
				return nil
			}
			freed, err := s.prune(prune, group, title, f, all)
			if err == nil && sized {
				_, err = fmt.Fprintln(s.streams.Out, "Total reclaimed space:", units.HumanSize(float64(freed)))
			}
			return err
		},
	}
}

const pruneFilterKeys = "until label label! dangling"

func (s *session) pruneFilters(c *urfave.Context) (filters, error) {
	f, err := s.readPruneFilters(c)
	if err != nil {
		return nil, err
	}
	for _, text := range f["until"] {
		if _, err := parseTime(text, time.Now()); err != nil {
			return nil, fmt.Errorf("invalid filter 'until': %w", err)
		}
	}
	_, _, err = f.flag("dangling")
	return f, err
}

// before says whether something was made before every until=.
func (f filters) before(made time.Time) bool {
	for _, text := range f["until"] {
		if limit, err := parseTime(text, time.Now()); err != nil || !made.Before(limit) {
			return false
		}
	}
	return true
}

func (s *session) prune(prune pruner, kind, title string, f filters, all bool) (freed int64, err error) {
	e, err := s.engine()
	if err != nil {
		return 0, err
	}
	ctx, stop := interruptible()
	defer stop()
	removed, freed, err := prune(ctx, e, f, all)
	e.PruneEvent(kind, freed)
	s.printPruned(title, removed)
	return freed, err
}

func pruneContainers(ctx context.Context, e *engine.Engine, f filters, _ bool) (removed []string, freed int64, err error) {
	all, err := e.Containers(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, sum := range all {
		idle := sum.State == "exited" || sum.State == "created" || sum.State == "dead"
		if !idle || !f.before(sum.Created) || !f.labels(sum.Labels) {
			continue
		}
		size, sizeErr := diskUsage(filepath.Join(sum.Dir, "upper"))
		removeErr := e.Remove(ctx, sum.ID, engine.RemoveOptions{}) // not forced: one that was started meanwhile stays
		if errors.Is(removeErr, fs.ErrNotExist) || errors.As(removeErr, new(*engine.Runs)) {
			continue
		}
		if removeErr != nil || sizeErr != nil {
			err = errors.Join(err, sizeErr, removeErr)
			continue
		}
		removed, freed = append(removed, sum.ID), freed+size
	}
	return removed, freed, err
}

func pruneNetworks(ctx context.Context, e *engine.Engine, f filters, _ bool) (removed []string, _ int64, err error) {
	networks, err := e.Networks().Networks()
	if err != nil {
		return nil, 0, err
	}
	containers, err := e.Containers(ctx)
	if err != nil {
		return nil, 0, err
	}
	used := make(map[string]bool) // by containers that do not run, too: they would not start again
	for _, sum := range containers {
		for _, ref := range sum.Networks {
			if n, err := e.Networks().Network(ref); err == nil {
				used[n.ID] = true
			}
		}
	}
	for _, n := range networks {
		if n.BuiltIn() || used[n.ID] || !f.before(n.Created) || !f.labels(n.Labels) {
			continue
		}
		if removeErr := e.RemoveNetwork(ctx, n.ID); removeErr != nil {
			err = errors.Join(err, removeErr)
			continue
		}
		removed = append(removed, n.Name)
	}
	return removed, 0, err
}

func pruneImages(ctx context.Context, e *engine.Engine, f filters, all bool) (removed []string, freed int64, err error) {
	if dangling, given, _ := f.flag("dangling"); given {
		all = !dangling
	}
	store, err := e.Images()
	if err != nil {
		return nil, 0, err
	}
	containers, err := e.Containers(ctx)
	if err != nil {
		return nil, 0, err
	}
	used := make(map[string]bool)
	for _, sum := range containers {
		used[sum.ImageID] = true
	}
	before, err := store.DiskUsage()
	if err != nil {
		return nil, 0, err
	}
	for _, u := range before.Images {
		if used[string(u.ID)] || len(u.RepoTags) > 0 && !all || !f.before(u.Created) || !f.labels(u.Config.Config.Labels) {
			continue
		}
		// One by one through the engine, which lets nobody make a container of the image in the meantime.
		lines, removeErr := e.RemoveImage(ctx, string(u.ID), true)
		for _, r := range lines {
			line := "untagged: " + r.Untagged
			if r.Deleted != "" {
				line = "deleted: " + r.Deleted
			}
			removed = append(removed, line)
		}
		if !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	// What no image has: that of pulls and loads that were cut short, too.
	layers, collectErr := store.Collect(ctx)
	for _, l := range layers {
		removed = append(removed, "deleted: "+string(l))
	}
	err = errors.Join(err, collectErr)
	after, sizeErr := store.DiskUsage()
	if sizeErr != nil {
		return removed, 0, errors.Join(err, sizeErr)
	}
	return removed, max(before.LayersSize+before.BlobsSize-after.LayersSize-after.BlobsSize, 0), err
}

func containerPruneVerb() *verb {
	return pruneVerb("container", "all stopped containers", "all stopped containers", "Deleted Containers:", false, true, pruneContainers)
}

func networkPruneVerb() *verb {
	return pruneVerb("network", "all unused networks", "all custom networks not used by at least one container", "Deleted Networks:", false, false, pruneNetworks)
}

func imagePruneVerb() *verb {
	return pruneVerb("image", "unused images", "all dangling images", "Deleted Images:", true, true, pruneImages)
}

func systemPruneVerb() *verb {
	return &verb{
		name: "prune", filters: pruneFilterKeys, summary: "Remove unused data", usage: "[OPTIONS]",
		about: `Stopped containers, unused networks, dangling images and, with --volumes, unused anonymous volumes are removed.

Examples:
  $ mydocker system prune -f
  $ mydocker system prune -af --volumes`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("all,a", "Remove all unused images not just dangling ones"),
				listOf("filter", "filter", `Provide filter values (e.g. "label=<key>=<value>")`),
				yes("force,f", "Do not prompt for confirmation"),
				yes("volumes", "Prune anonymous volumes"),
			}
		},
		run: systemPrune,
	}
}

func systemPrune(s *session, c *urfave.Context) error {
	f, err := s.pruneFilters(c)
	if err != nil {
		return s.bad(err)
	}
	warning := "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container"
	if c.Bool("volumes") {
		warning += "\n  - all anonymous volumes not used by at least one container"
	}
	if c.Bool("all") {
		warning += "\n  - all images without at least one container associated to them"
	} else {
		warning += "\n  - all dangling images"
	}
	if !c.Bool("force") && !s.confirm(warning+"\n") {
		return nil
	}
	var total int64
	for _, part := range []struct {
		kind, title string
		prune       pruner
		skip        bool
	}{
		{"container", "Deleted Containers:", pruneContainers, false},
		{"network", "Deleted Networks:", pruneNetworks, false},
		{"volume", "Deleted Volumes:", pruneAnonymous, !c.Bool("volumes")},
		{"image", "Deleted Images:", pruneImages, false},
	} {
		if part.skip {
			continue
		}
		freed, pruneErr := s.prune(part.prune, part.kind, part.title, f, c.Bool("all"))
		total += freed
		err = errors.Join(err, pruneErr)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.streams.Out, "Total reclaimed space:", units.HumanSize(float64(total)))
	return err
}

func pruneAnonymous(_ context.Context, e *engine.Engine, f filters, _ bool) ([]string, int64, error) {
	return e.PruneVolumes(false, func(v *engine.Volume) bool { return !f.labels(v.Labels) })
}
