package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/docker/go-units"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
)

func volumeGroup() *verb {
	return group("volume", "Manage volumes",
		volumeCreateVerb(),
		inspectKind("volume", "Display detailed information on one or more volumes", "VOLUME [VOLUME...]", `Examples:
  $ mydocker volume inspect -f '{{.Mountpoint}}' data`),
		volumeLsVerb(),
		volumePruneVerb(),
		volumeRmVerb(),
	)
}

func inspectVolume(_ context.Context, s *session, ref string) (any, error) {
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	v, err := e.Volume(ref)
	if err != nil {
		return nil, err
	}
	return struct {
		CreatedAt, Driver string
		Labels            map[string]string
		Mountpoint, Name  string
		Options           map[string]string
		Scope             string
	}{v.CreatedAt, v.Driver, v.Labels, v.Mountpoint, v.Name, v.Options, v.Scope}, nil
}

func volumeCreateVerb() *verb {
	return &verb{
		name: "create", summary: "Create a volume", usage: "[OPTIONS] [VOLUME]", max: 1,
		about: `A volume is a directory with a name, which outlives containers. With --opt it is something else, mounted there while a
container that has it runs: type and device are those of mount(8), o are the words of its -o. An nfs server may be given by name.

Examples:
  $ mydocker volume create data
  $ mydocker run --rm -v data:/data busybox touch /data/x
  $ mydocker volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=100m,uid=1000 fast
  $ mydocker volume create --opt type=none --opt device=/srv/site --opt o=bind,ro site
  $ mydocker volume create --opt type=nfs --opt device=:/export --opt o=addr=192.168.1.1,rw,nfsvers=4 far`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				strDefault("driver,d", "string", "local", "Specify volume driver name"),
				list("label", "Set metadata for a volume"),
				listOf("opt,o", "map", "Set driver specific options"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			labels, err := parseLabels(c.StringSlice("label"))
			if err != nil {
				return s.bad(err)
			}
			if d := c.String("driver"); d != "local" {
				return s.bad(fmt.Errorf("volume driver %q is not supported: local is the only one", d))
			}
			options, err := keyValues("opt", c.StringSlice("opt"))
			if err != nil {
				return s.bad(err)
			}
			e, err := s.engine()
			if err != nil {
				return err
			}
			v, err := e.CreateVolume(c.Args().First(), labels, options)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(s.streams.Out, v.Name)
			return err
		},
	}
}

// volumeRow is what a template of `volume ls` may name.
type volumeRow struct {
	Availability, Driver, Group, Labels, Links, Mountpoint, Name, Scope, Size, Status string

	labels map[string]string
	header bool
}

func volumeHeader() volumeRow {
	return volumeRow{Availability: "AVAILABILITY", Group: "GROUP", Status: "STATUS", Driver: "DRIVER", Labels: "LABELS", Links: "LINKS", Mountpoint: "MOUNTPOINT", Name: "VOLUME NAME", Scope: "SCOPE", Size: "SIZE", header: true}
}

// volumeToRow leaves out what is dear to find out, as Docker does: `system df -v` has it. Availability, group and status are those of
// Swarm's volumes.
func volumeToRow(v *engine.Volume) volumeRow {
	return volumeRow{Availability: "N/A", Group: "N/A", Status: "N/A", Driver: v.Driver, Labels: joinLabels(v.Labels), Links: "N/A", Mountpoint: v.Mountpoint, Name: v.Name, Scope: v.Scope, Size: "N/A", labels: v.Labels}
}

// Label is {{.Label "name"}}.
func (r volumeRow) Label(name string) string {
	if r.header {
		return name[strings.LastIndexByte(name, '.')+1:]
	}
	return r.labels[name]
}

func volumeLsVerb() *verb {
	return &verb{
		name: "ls", aliases: []string{"list"}, filters: "dangling driver label label! name", summary: "List volumes", usage: "[OPTIONS]",
		about: `--filter takes dangling, driver, label and name.

Examples:
  $ mydocker volume ls --filter dangling=true -q`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				listOf("filter,f", "filter", `Provide filter values (e.g. "dangling=true")`),
				str("format", "string", formatUsage),
				yes("quiet,q", "Only display volume names"),
			}
		},
		run: volumeLs,
	}
}

func volumeLs(s *session, c *urfave.Context) error {
	f, err := s.readFilters(c)
	if err != nil {
		return s.bad(err)
	}
	dangling, onlyDangling, err := f.flag("dangling")
	if err != nil {
		return s.bad(err)
	}
	e, err := s.engine()
	if err != nil {
		return err
	}
	volumes, err := e.Volumes()
	if err != nil {
		return err
	}
	users, err := e.VolumeUsers()
	if err != nil {
		return err
	}
	rows := []volumeRow{}
	for _, v := range volumes {
		if onlyDangling && dangling != (len(users[v.Name]) == 0) || !f.labels(v.Labels) ||
			!f.any("name", func(want string) bool { return strings.Contains(v.Name, want) }) ||
			!f.any("driver", func(want string) bool { return v.Driver == want }) {
			continue
		}
		rows = append(rows, volumeToRow(v))
	}
	l := listing[volumeRow]{header: volumeHeader(), table: `{{.Driver}}\t{{.Name}}`, quiet: "{{.Name}}",
		raw: "name: {{.Name}}\ndriver: {{.Driver}}\n", rawKey: "name"}
	return l.print(s.streams.Out, s.format(c, func(c clientConfig) string { return c.VolumesFormat }), c.Bool("quiet"), rows)
}

func volumeRmVerb() *verb {
	return &verb{
		name: "rm", aliases: []string{"remove"}, summary: "Remove one or more volumes", usage: "[OPTIONS] VOLUME [VOLUME...]",
		min: 1, max: -1, complete: "volume",
		about: `A volume that a container mounts, running or not, stays.

Examples:
  $ mydocker volume rm data`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{yes("force,f", "Force the removal of one or more volumes")}
		},
		run: func(s *session, c *urfave.Context) error {
			return s.onEach(c, func(e *engine.Engine, ref string) error { return e.RemoveVolume(ref, c.Bool("force")) })
		},
	}
}

func volumePruneVerb() *verb {
	return &verb{
		name: "prune", filters: "all label label!", summary: "Remove unused local volumes", usage: "[OPTIONS]",
		about: `Anonymous volumes that no container mounts are removed; with -a the named ones too. --filter takes label and all.

Examples:
  $ mydocker volume prune -af`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("all,a", "Remove all unused volumes, not just anonymous ones"),
				listOf("filter", "filter", `Provide filter values (e.g. "label=<label>")`),
				yes("force,f", "Do not prompt for confirmation"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			f, err := s.readPruneFilters(c)
			if err != nil {
				return s.bad(err)
			}
			all, _, err := f.flag("all")
			if err != nil {
				return s.bad(err)
			}
			all = all || c.Bool("all")
			what := "anonymous local volumes not used by at least one container"
			if all {
				what = "all local volumes not used by at least one container"
			}
			if !c.Bool("force") && !s.confirm("WARNING! This will remove "+what+".") {
				return nil
			}
			return s.pruneVolumes(all, f)
		},
	}
}

func (s *session) pruneVolumes(all bool, f filters) error {
	e, err := s.engine()
	if err != nil {
		return err
	}
	removed, freed, err := e.PruneVolumes(all, func(v *engine.Volume) bool { return !f.labels(v.Labels) })
	e.PruneEvent("volume", freed)
	s.printPruned("Deleted Volumes:", removed)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.streams.Out, "Total reclaimed space:", units.HumanSize(float64(freed)))
	return err
}

// printPruned lists what was removed beneath a title, followed by an empty line, or nothing.
func (s *session) printPruned(title string, removed []string) {
	if len(removed) > 0 {
		fmt.Fprintf(s.streams.Out, "%s\n%s\n\n", title, strings.Join(removed, "\n"))
	}
}
