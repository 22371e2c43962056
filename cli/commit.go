package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/docker/go-units"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/cgroups"
	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/lang"
)

func commitVerb() *verb {
	return &verb{
		name: "commit", summary: "Create a new image from a container's changes", usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", min: 1, max: 2, complete: "container image",
		about: `What is in volumes does not become part of the image.

Examples:
  $ mydocker commit -m 'with curl' web web:curl
  $ mydocker commit -c 'CMD ["httpd","-f"]' -c 'EXPOSE 80' box httpd`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				str("author,a", "string", `Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")`),
				list("change,c", "Apply Dockerfile instruction to the created image"),
				str("message,m", "string", "Commit message"),
				yesDefault("pause,p", true, "Pause container during commit"),
			}
		},
		run: commit,
	}
}

func commit(s *session, c *urfave.Context) (err error) {
	reference := c.Args().Get(1)
	if reference != "" {
		if _, err := image.ParseReference(reference); err != nil {
			return s.bad(err)
		}
	}
	files, err := s.filesOf(c.Args().First())
	if err != nil {
		return err
	}
	var img *image.Image
	// Last of all: a process that is just being started has the container's lock open too, and would hold on to it if we were killed.
	defer func() {
		if img != nil {
			s.settleLater()
		}
	}()
	defer func() { err = errors.Join(err, files.close()) }()
	e, d := files.engine, files.definition
	store, err := e.Images()
	if err != nil {
		return err
	}
	base, err := store.Get(string(d.ImageID))
	if err != nil {
		return err
	}
	shown, err := e.Inspect(context.Background(), d.ID)
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	if c.Bool("pause") && files.pid != 0 && !shown.State.Paused {
		thaw, freezeErr := e.Freeze(d)
		switch {
		case errors.Is(freezeErr, cgroups.ErrUnavailable) && !c.IsSet("pause"): // without root: no cgroup, no freezer
			s.warn([]string{"the container goes on while it is committed, because it cannot be paused here"})
		case freezeErr != nil:
			return freezeErr
		default:
			defer func() { err = errors.Join(err, thaw()) }()
		}
	}
	img, err = store.Commit(ctx, image.CommitOptions{
		Rootfs: files.rootfs, Base: base, Config: imageConfig(base, shown), Reference: reference, Author: c.String("author"),
		Message: c.String("message"), Changes: c.StringSlice("change"), Command: d.Command(),
	})
	if err != nil {
		return err
	}
	e.ContainerEvent(d, "commit", "comment", c.String("message"))
	if reference != "" {
		s.imageEvent("tag", img, familiar(reference))
	}
	_, err = fmt.Fprintln(s.streams.Out, img.ID)
	return err
}

// imageConfig is the configuration of an image made of a container: what the container was made with. The hostname and what
// belongs to this host are left out.
func imageConfig(base *image.Image, c *engine.ContainerJSON) *image.ContainerConfig {
	config := base.Config.Config
	config.User, config.Env, config.Cmd, config.Entrypoint = c.Config.User, c.Config.Env, c.Config.Cmd, c.Config.Entrypoint
	config.WorkingDir, config.StopSignal, config.StopTimeout = c.Config.WorkingDir, c.Config.StopSignal, c.Config.StopTimeout
	config.Healthcheck = c.Config.Healthcheck
	if len(c.Config.Labels) > 0 {
		config.Labels = c.Config.Labels
	}
	if len(c.Config.ExposedPorts) > 0 {
		config.ExposedPorts = c.Config.ExposedPorts
	}
	return &config
}

func saveVerb() *verb {
	return &verb{
		name: "save", summary: "Save one or more images to a tar archive (streamed to STDOUT by default)", usage: "[OPTIONS] IMAGE [IMAGE...]", min: 1, max: -1, complete: "image",
		about: `The archive can be loaded by mydocker, Docker, Podman and skopeo.

Examples:
  $ mydocker save -o box.tar busybox:latest
  $ mydocker save --archive-format oci-archive busybox | gzip > box.tar.gz`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				strDefault("archive-format", "string", image.FormatDocker, "Layout of the archive ("+image.FormatDocker+", "+image.FormatOCI+")"),
				str("output,o", "file", "Write to a file, instead of STDOUT"),
				platformFlag("Save the images only if they are made for this platform"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			if err := s.wantPlatform(c.String("platform"), c.Args().Slice()...); err != nil {
				return err
			}
			format := c.String("archive-format")
			if format != image.FormatDocker && format != image.FormatOCI {
				return s.bad(fmt.Errorf("unknown --archive-format %q: %s or %s is expected", format, image.FormatDocker, image.FormatOCI))
			}
			store, err := s.images()
			if err != nil {
				return err
			}
			err = s.output(c.String("output"), func(ctx context.Context, w *os.File) error {
				return store.Save(ctx, c.Args().Slice(), w, format)
			})
			for _, ref := range c.Args().Slice() {
				if img, getErr := store.Get(ref); err == nil && getErr == nil { // it may have been a repository, or be gone by now
					s.imageEvent("save", img, string(img.ID))
				}
			}
			return err
		},
	}
}

// historyRow is what a template of `history` may name.
type historyRow struct {
	Comment, CreatedAt, CreatedBy, CreatedSince, ID, Size string
}

func historyVerb() *verb {
	return &verb{
		name: "history", summary: "Show the history of an image", usage: "[OPTIONS] IMAGE", min: 1, max: 1, complete: "image",
		about: `Examples:
  $ mydocker history --no-trunc busybox`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				str("format", "string", formatUsage),
				yesDefault("human,H", true, "Print sizes and dates in human readable format"),
				yes("no-trunc", "Don't truncate output"),
				platformFlag("Show the image only if it is made for this platform"),
				yes("quiet,q", "Only show image IDs"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			if err := s.wantPlatform(c.String("platform"), c.Args().First()); err != nil {
				return err
			}
			store, err := s.images()
			if err != nil {
				return err
			}
			layers, err := store.History(c.Args().First())
			if err != nil {
				return err
			}
			rows := make([]historyRow, len(layers))
			for i, l := range layers {
				rows[i] = historyToRow(l, c.Bool("human"), !c.Bool("no-trunc"))
			}
			created := "CREATED"
			l := listing[historyRow]{
				header: historyRow{Comment: "COMMENT", CreatedAt: "CREATED AT", CreatedBy: "CREATED BY", CreatedSince: created, ID: "IMAGE", Size: "SIZE"},
				table:  `{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}`, quiet: "{{.ID}}",
			}
			if !c.Bool("human") {
				l.table = strings.Replace(l.table, "CreatedSince", "CreatedAt", 1)
			}
			return l.print(s.streams.Out, c.String("format"), c.Bool("quiet"), rows)
		},
	}
}

func historyToRow(l image.Layer, human, trunc bool) historyRow {
	row := historyRow{Comment: l.Comment, CreatedBy: strings.ReplaceAll(l.CreatedBy, "\t", " "), ID: l.ID, CreatedSince: "N/A", CreatedAt: "N/A",
		Size: fmt.Sprint(l.Size)}
	if !l.Created.IsZero() {
		row.CreatedAt = l.Created.Format(time.RFC3339)
		row.CreatedSince = units.HumanDuration(time.Since(l.Created)) + " ago"
	}
	if !human {
		row.CreatedSince = row.CreatedAt
	} else {
		row.Size = units.HumanSizeWithPrecision(float64(l.Size), 3)
	}
	if trunc {
		row.CreatedBy = lang.Clip(row.CreatedBy, 45)
		if row.ID != "<missing>" {
			row.ID = shortID(row.ID)
		}
	}
	return row
}
