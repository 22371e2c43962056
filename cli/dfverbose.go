package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"github.com/mydocker/mydocker/engine"
)

// diskLists is what a template of `system df -v` may name. There is no build cache here: buildah has one of its own.
type diskLists struct {
	Images     []imageRow
	Containers []containerRow
	Volumes    []volumeRow
	BuildCache []struct{}
}

// dfVerbose is `system df -v`: a table for each kind of thing, or one template over all of them.
func dfVerbose(s *session, e *engine.Engine, format string) error {
	lists, err := readDiskLists(e)
	if err != nil {
		return err
	}
	if format == "json" {
		format = "{{json .}}"
	}
	if format == "" || format == "table" {
		return lists.print(s.streams.Out)
	}
	t, err := parseTemplate(strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format), templateFunctions())
	if err != nil {
		return err
	}
	if err := t.Execute(s.streams.Out, lists); err != nil {
		return templateError(err)
	}
	_, err = fmt.Fprintln(s.streams.Out)
	return err
}

func readDiskLists(e *engine.Engine) (*diskLists, error) {
	lists := &diskLists{Images: []imageRow{}, Containers: []containerRow{}, Volumes: []volumeRow{}, BuildCache: []struct{}{}}
	containers, err := e.Containers(context.Background())
	if err != nil {
		return nil, err
	}
	users := make(map[string]int)
	for _, sum := range containers {
		users[sum.ImageID]++
		row := containerToRow(sum, true)
		size, _, err := containerSizes(e, sum.Dir, sum.ImageID)
		if err != nil {
			return nil, err
		}
		row.Size = units.HumanSizeWithPrecision(float64(size), 3)
		lists.Containers = append(lists.Containers, row)
	}
	if lists.Images, err = imageLines(e, users); err != nil {
		return nil, err
	}
	lists.Volumes, err = volumeLines(e)
	return lists, err
}

// imageLines are the images, with what each has alone, and how many containers are made of it.
func imageLines(e *engine.Engine, users map[string]int) ([]imageRow, error) {
	store, err := e.Images()
	if err != nil {
		return nil, err
	}
	usage, err := store.DiskUsage()
	if err != nil {
		return nil, err
	}
	rows := []imageRow{}
	for _, u := range usage.Images {
		for _, row := range imageRows(u.Image, true) {
			row.SharedSize = units.HumanSize(float64(u.SharedSize))
			row.UniqueSize = units.HumanSize(float64(u.UniqueSize))
			row.Containers = strconv.Itoa(users[string(u.ID)])
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func volumeLines(e *engine.Engine) ([]volumeRow, error) {
	volumes, err := e.Volumes()
	if err != nil {
		return nil, err
	}
	users, err := e.VolumeUsers()
	if err != nil {
		return nil, err
	}
	rows := []volumeRow{}
	for _, v := range volumes {
		if len(v.Options) > 0 {
			continue // what it holds is somewhere else; Docker leaves it out, too
		}
		size, err := diskUsage(v.Mountpoint)
		if err != nil {
			return nil, err
		}
		row := volumeToRow(v)
		row.Links, row.Size = strconv.Itoa(len(users[v.Name])), units.HumanSize(float64(size))
		rows = append(rows, row)
	}
	return rows, nil
}

// print writes Docker's four tables.
func (d *diskLists) print(out io.Writer) error {
	var err error
	title := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(out, format+"\n\n", args...)
		}
	}
	title("Images space usage:")
	if err == nil {
		err = listing[imageRow]{header: imageHeader(),
			table: `{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}`}.print(out, "", false, d.Images)
	}
	title("\nContainers space usage:")
	if err == nil {
		l := containerListing(false)
		l.table = `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}`
		err = l.print(out, "", false, d.Containers)
	}
	title("\nLocal Volumes space usage:")
	if err == nil {
		err = listing[volumeRow]{header: volumeHeader(), table: `{{.Name}}\t{{.Links}}\t{{.Size}}`}.print(out, "", false, d.Volumes)
	}
	title("\nBuild cache usage: %s", units.HumanSize(0))
	if err == nil { // the heading of a table that is always empty
		_, err = fmt.Fprintln(out, "CACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED")
	}
	return err
}
