package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/go-units"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/image"
)

// dfRow is what a template of `system df` may name.
type dfRow struct {
	Active, Reclaimable, Size, TotalCount, Type string
}

func dfVerb() *verb {
	return &verb{
		name: "df", summary: "Show disk usage", usage: "[OPTIONS]",
		about: `Images are their layers and the layers' archives. Reclaimable is what "mydocker system prune -a --volumes" could free.
With -v every image, container and volume has a line; a template then sees lists: .Images .Containers .Volumes .BuildCache.

Examples:
  $ mydocker system df
  $ mydocker system df -v --format '{{range .Volumes}}{{.Name}} {{.Size}}{{"\n"}}{{end}}'`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{str("format", "string", formatUsage), yes("verbose,v", "Show detailed information on space usage")}
		},
		run: df,
	}
}

func df(s *session, c *urfave.Context) error {
	e, err := s.engine()
	if err != nil {
		return err
	}
	if c.Bool("verbose") {
		return dfVerbose(s, e, c.String("format"))
	}
	rows, err := diskRows(e)
	if err != nil {
		return err
	}
	l := listing[dfRow]{
		header: dfRow{Active: "ACTIVE", Reclaimable: "RECLAIMABLE", Size: "SIZE", TotalCount: "TOTAL", Type: "TYPE"},
		table:  `{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}`,
		raw:    "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n",
	}
	return l.print(s.streams.Out, c.String("format"), false, rows)
}

// usage adds up one kind of thing.
type usage struct {
	total, active     int
	size, reclaimable int64
}

func (u *usage) add(size int64, active bool) {
	u.total++
	u.size += size
	if active {
		u.active++
	} else {
		u.reclaimable += size
	}
}

func (u *usage) row(kind string) dfRow {
	reclaimable := units.HumanSize(float64(u.reclaimable))
	if u.size > 0 {
		reclaimable += fmt.Sprintf(" (%d%%)", u.reclaimable*100/u.size)
	}
	return dfRow{Type: kind, TotalCount: fmt.Sprint(u.total), Active: fmt.Sprint(u.active), Size: units.HumanSize(float64(u.size)), Reclaimable: reclaimable}
}

func diskRows(e *engine.Engine) ([]dfRow, error) {
	var images, containers, volumes usage
	list, err := e.Containers(context.Background())
	if err != nil {
		return nil, err
	}
	used := make(map[string]bool)
	for _, sum := range list {
		used[sum.ImageID] = true
		size, _, err := containerSizes(e, sum.Dir, sum.ImageID)
		if err != nil {
			return nil, err
		}
		containers.add(size, sum.Pid != 0)
	}
	store, err := e.Images()
	if err != nil {
		return nil, err
	}
	all, err := store.List()
	if err != nil {
		return nil, err
	}
	if images, err = imageUsage(store, all, used); err != nil {
		return nil, err
	}
	dirs, err := e.Volumes()
	if err != nil {
		return nil, err
	}
	users, err := e.VolumeUsers()
	if err != nil {
		return nil, err
	}
	for _, v := range dirs {
		if len(v.Options) > 0 {
			continue // what it holds is somewhere else; Docker leaves it out, too
		}
		size, err := diskUsage(v.Mountpoint)
		if err != nil {
			return nil, err
		}
		volumes.add(size, len(users[v.Name]) > 0)
	}
	return []dfRow{images.row("Images"), containers.row("Containers"), volumes.row("Local Volumes"), new(usage).row("Build Cache")}, nil
}

// imageUsage measures the layers and their archives, each once, however many images share it. What no image in use has can be
// reclaimed.
func imageUsage(store *image.Store, all []*image.Image, used map[string]bool) (u usage, err error) {
	layers, archives := make(map[image.Digest]bool), make(map[image.Digest]bool)
	for _, img := range all {
		isUsed := used[string(img.ID)]
		u.total++
		if isUsed {
			u.active++
		}
		for _, layer := range img.Layers {
			layers[layer] = layers[layer] || isUsed
		}
		for _, archive := range img.Archives {
			archives[archive] = archives[archive] || isUsed
		}
	}
	measure := func(needed map[image.Digest]bool, sizeOf func(image.Digest) (int64, error)) error {
		for d, isNeeded := range needed {
			size, err := sizeOf(d)
			if err != nil {
				return err
			}
			u.size += size
			if !isNeeded {
				u.reclaimable += size
			}
		}
		return nil
	}
	err = errors.Join(measure(layers, store.LayerSize), measure(archives, store.ArchiveSize))
	return u, err
}
