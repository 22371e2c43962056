package cli

import (
	"context"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/docker/go-units"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/image"
)

// imageRow is what a template of `images` may name.
type imageRow struct {
	Containers, CreatedAt, CreatedSince, Digest, ID, Repository, SharedSize, Size, Tag, UniqueSize, VirtualSize string
}

func imageHeader() imageRow {
	return imageRow{Containers: "CONTAINERS", CreatedAt: "CREATED AT", CreatedSince: "CREATED", Digest: "DIGEST", ID: "IMAGE ID", Repository: "REPOSITORY",
		SharedSize: "SHARED SIZE", Size: "SIZE", Tag: "TAG", UniqueSize: "UNIQUE SIZE", VirtualSize: "SIZE"}
}

func imagesVerb() *verb {
	return &verb{
		name: "images", filters: "before dangling label label! reference since", summary: "List images", usage: "[OPTIONS] [REPOSITORY[:TAG]]", max: 1, complete: "image",
		about: `--filter takes before, dangling, label, reference and since.

Examples:
  $ mydocker images
  $ mydocker images --filter reference='*:latest' --format '{{.ID}} {{.Repository}}'`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("all,a", "Show all images (there are no intermediate images here to hide)"),
				yes("digests", "Show digests"),
				listOf("filter,f", "filter", "Filter output based on conditions provided"),
				str("format", "string", formatUsage),
				yes("no-trunc", "Don't truncate output"),
				yes("quiet,q", "Only show image IDs"),
			}
		},
		run: listImages,
	}
}

func listImages(s *session, c *urfave.Context) error {
	f, err := s.readFilters(c)
	if err == nil {
		_, _, err = f.flag("dangling")
	}
	if err != nil {
		return s.bad(err)
	}
	images, err := s.images()
	if err != nil {
		return err
	}
	all, err := images.List()
	if err != nil {
		return err
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Created.After(all[j].Created) })
	if all, err = imagesBetween(images, all, f); err != nil {
		return err
	}
	var rows []imageRow
	for _, img := range all {
		if dangling, given, _ := f.flag("dangling"); given && dangling != (len(img.RepoTags) == 0) || !f.labels(img.Config.Config.Labels) {
			continue
		}
		for _, row := range imageRows(img, !c.Bool("no-trunc")) {
			if matchesReference(row, f["reference"]) && matchesName(row, c.Args().First()) {
				rows = append(rows, row)
			}
		}
	}
	l := listing[imageRow]{
		header: imageHeader(),
		table:  `{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`, quiet: "{{.ID}}", rawKey: "image_id",
	}
	digest := ""
	if c.Bool("digests") {
		digest = "digest: {{.Digest}}\n"
		l.table = `{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`
	}
	l.raw = "repository: {{.Repository}}\ntag: {{.Tag}}\n" + digest + "image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
	return l.print(s.streams.Out, s.format(c, func(c clientConfig) string { return c.ImagesFormat }), c.Bool("quiet"), rows)
}

func imagesBetween(store *image.Store, all []*image.Image, f filters) ([]*image.Image, error) {
	keep := func(*image.Image) bool { return true }
	for _, key := range []string{"before", "since"} {
		for _, ref := range f[key] {
			other, err := store.Get(ref)
			if err != nil {
				return nil, err
			}
			before, inner := key == "before", keep
			keep = func(img *image.Image) bool {
				return inner(img) && (before && img.Created.Before(other.Created) || !before && img.Created.After(other.Created))
			}
		}
	}
	var kept []*image.Image
	for _, img := range all {
		if keep(img) {
			kept = append(kept, img)
		}
	}
	return kept, nil
}

// imageRows is one row for each name of an image, or one without a name.
func imageRows(img *image.Image, trunc bool) []imageRow {
	row := imageRow{
		CreatedAt: img.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"), CreatedSince: "N/A", Digest: "<none>", ID: string(img.ID),
		Containers: "N/A", SharedSize: "N/A", UniqueSize: "N/A", // `system df -v` counts them
		Repository: "<none>", Size: units.HumanSizeWithPrecision(float64(img.Size), 3), Tag: "<none>", VirtualSize: units.HumanSize(float64(img.Size)),
	}
	if !img.Created.IsZero() {
		row.CreatedSince = units.HumanDuration(time.Since(img.Created)) + " ago"
	}
	if trunc {
		row.ID = shortID(row.ID)
	}
	digests := make(map[string]string)
	for _, name := range img.RepoDigests {
		repository, digest, _ := strings.Cut(name, "@")
		digests[repository] = digest
	}
	var rows []imageRow
	for _, name := range img.RepoTags {
		r := row
		r.Repository, r.Tag = name, ""
		if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
			r.Repository, r.Tag = name[:colon], name[colon+1:]
		}
		if d, ok := digests[r.Repository]; ok {
			r.Digest = d
		}
		rows = append(rows, r)
	}
	if rows == nil {
		for repository, digest := range digests {
			r := row
			r.Repository, r.Digest = repository, digest
			rows = append(rows, r)
		}
	}
	if rows == nil {
		rows = []imageRow{row}
	}
	return rows
}

// matchesReference is the filter reference=PATTERN: a shell pattern over REPOSITORY or REPOSITORY:TAG.
func matchesReference(row imageRow, patterns []string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, pattern := range patterns {
		for _, name := range []string{row.Repository, row.Repository + ":" + row.Tag} {
			if ok, err := path.Match(pattern, name); err == nil && ok {
				return true
			}
		}
	}
	return false
}

// matchesName is the argument of `images`: a repository, with or without a tag.
func matchesName(row imageRow, name string) bool {
	if name == "" {
		return true
	}
	return matchesReference(row, []string{name, strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")})
}

// imageJSON is what `image inspect` shows, with Docker's keys.
type imageJSON struct {
	ID            string `json:"Id"`
	RepoTags      []string
	RepoDigests   []string
	Parent        string
	Comment       string
	Created       string
	DockerVersion string
	Author        string
	Config        image.ContainerConfig
	Architecture  string
	Variant       string `json:",omitempty"`
	Os            string //nolint:revive // Docker's key
	Size          int64
	GraphDriver   struct {
		Data map[string]string
		Name string
	}
	RootFS struct {
		Type   string
		Layers []string
	}
	Metadata struct{ LastTagTime string }
}

func inspectImage(_ context.Context, s *session, ref string) (any, error) {
	store, err := s.images()
	if err != nil {
		return nil, err
	}
	img, err := store.Inspect(ref)
	if err != nil {
		return nil, err
	}
	j := &imageJSON{
		ID: string(img.ID), RepoTags: append([]string{}, img.RepoTags...), RepoDigests: append([]string{}, img.RepoDigests...),
		Created: img.Created.Format(time.RFC3339Nano), Author: img.Config.Author, Config: img.Config.Config,
		Architecture: img.Config.Architecture, Variant: img.Config.Variant, Os: img.Config.OS, Size: img.Size,
	}
	if n := len(img.Config.History); n > 0 {
		j.Comment = img.Config.History[n-1].Comment
	}
	j.GraphDriver.Name = "overlay2"
	var lower []string
	for i := len(img.Layers) - 1; i >= 0; i-- {
		lower = append(lower, filepath.Join(s.root.Lib, "layers", img.Layers[i].Encoded(), "fs"))
	}
	j.GraphDriver.Data = map[string]string{"LowerDir": strings.Join(lower, ":")}
	j.RootFS.Type = "layers"
	for _, d := range img.Config.RootFS.DiffIDs {
		j.RootFS.Layers = append(j.RootFS.Layers, string(d))
	}
	j.Metadata.LastTagTime = "0001-01-01T00:00:00Z"
	return j, nil
}
