package cli

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"runtime/debug"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/lang"
)

// containerRow is what a template of `ps` may name.
type containerRow struct {
	Command, CreatedAt, ID, Image, Labels, LocalVolumes, Mounts, Names, Networks, Ports, RunningFor, Size, State, Status string

	// Platform is what Docker knows with one kind of image store only.
	Platform *string

	labels map[string]string
	header bool
}

// Label is {{.Label "name"}}; as a column's header, the last part of the name.
func (r containerRow) Label(name string) string {
	if r.header {
		return name[strings.LastIndexByte(name, '.')+1:]
	}
	return r.labels[name]
}

func containerListing(size bool) listing[containerRow] {
	platform := "PLATFORM"
	l := listing[containerRow]{
		header: containerRow{Command: "COMMAND", CreatedAt: "CREATED AT", ID: "CONTAINER ID", Image: "IMAGE", Labels: "LABELS",
			LocalVolumes: "LOCAL VOLUMES", Mounts: "MOUNTS", Names: "NAMES", Networks: "NETWORKS", Ports: "PORTS",
			RunningFor: "CREATED", Size: "SIZE", State: "STATE", Status: "STATUS", Platform: &platform, header: true},
		table: `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}`,
		quiet: "{{.ID}}", rawKey: "container_id",
		raw: "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate:{{pad .State 1 0}}\n" +
			"status:{{pad .Status 1 0}}\nnames: {{.Names}}\nlabels:{{pad .Labels 1 0}}\nports:{{pad .Ports 1 0}}\n",
	}
	if size {
		l.raw += "size: {{.Size}}\n"
		l.table += `\t{{.Size}}`
	}
	return l
}

func psVerb() *verb {
	return &verb{
		name: "ps", summary: "List containers", usage: "[OPTIONS]",
		filters: "ancestor before exited expose health id is-task isolation label label! name network publish since status volume",
		about: `--filter takes ancestor, before, exited, expose, health, id, label, name, network, publish, since, status and volume.
--format takes "table", "table TEMPLATE", "json" or a Go template over .ID .Names .Image .Command .CreatedAt .RunningFor
.Ports .State .Status .Size .Labels .Label .Mounts .LocalVolumes .Networks.

Examples:
  $ mydocker ps -a
  $ mydocker ps --filter status=exited --format "table {{.Names}}\t{{.Status}}"
  $ mydocker rm $(mydocker ps -aq)`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("all,a", "Show all containers (default shows just running)"),
				listOf("filter,f", "filter", "Filter output based on conditions provided"),
				str("format", "string", formatUsage),
				numberDefault("last,n", -1, "Show n last created containers (includes all states)"),
				yes("latest,l", "Show the latest created container (includes all states)"),
				yes("no-trunc", "Don't truncate output"),
				yes("quiet,q", "Only display container IDs"),
				yes("size,s", "Display total file sizes"),
			}
		},
		run: ps,
	}
}

const formatUsage = "Format output using a custom template:\n" +
	"'table':            Print output in table format with column headers (default)\n" +
	"'table TEMPLATE':   Print output in table format using the given Go template\n" +
	"'json':             Print in JSON format\n" +
	"'TEMPLATE':         Print output using the given Go template"

func ps(s *session, c *urfave.Context) error {
	f, err := s.readFilters(c)
	if err != nil {
		return s.bad(err)
	}
	limit := c.Int("last")
	if c.Bool("latest") && limit == -1 {
		limit = 1
	}
	keep, err := containerFilter(f, c.Bool("all") || limit > 0)
	if err != nil {
		return s.bad(err)
	}
	// Decoded records are garbage in a moment: to look through it eight times for a thousand containers takes a tenth of the time.
	debug.SetGCPercent(400)
	e, err := s.engine()
	if err != nil {
		return err
	}
	f.nameNetworks(e)
	all, err := e.Containers(context.Background())
	if err != nil {
		return err
	}
	if all, err = betweenContainers(all, f); err != nil {
		return err
	}
	format := s.format(c, func(c clientConfig) string { return c.PsFormat })
	size := c.Bool("size") || uses(format, "Size")
	var rows []containerRow
	for _, sum := range all {
		if limit > 0 && len(rows) == limit {
			break
		}
		if !keep(sum) {
			continue
		}
		if mounted, err := hasVolume(e, sum, f); err != nil {
			return err
		} else if !mounted {
			continue
		}
		row := containerToRow(sum, !c.Bool("no-trunc"))
		if size {
			if row.Size, err = sizeText(e, sum); err != nil {
				return err
			}
		}
		rows = append(rows, row)
	}
	if c.Bool("quiet") && format != "" {
		fmt.Fprintln(s.streams.Err, "WARNING: Ignoring custom format, because both --format and --quiet are set.")
		if format != "raw" {
			format = ""
		}
	}
	return containerListing(c.Bool("size")).print(s.streams.Out, format, c.Bool("quiet"), rows)
}

func containerToRow(sum *engine.Summary, trunc bool) containerRow {
	row := containerRow{
		Command: strconv.Quote(sum.Command), CreatedAt: sum.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
		ID: sum.ID, Image: sum.Image, Labels: joinLabels(sum.Labels), Mounts: strings.Join(sum.Mounts, ","),
		Names: strings.Join(sum.Names, ","), Networks: strings.Join(sum.Networks, ","), Ports: portsText(sum.Ports),
		RunningFor: units.HumanDuration(time.Since(sum.Created)) + " ago", State: sum.State, Status: sum.Status,
		LocalVolumes: strconv.Itoa(localVolumes(sum)), labels: sum.Labels,
	}
	if row.Image == "" {
		row.Image = "<no image>"
	}
	if trunc {
		row.ID = shortID(row.ID)
		row.Command = strconv.Quote(lang.Clip(sum.Command, 20))
		mounts := make([]string, len(sum.Mounts))
		for i, m := range sum.Mounts {
			mounts[i] = lang.Clip(m, 15)
		}
		row.Mounts = strings.Join(mounts, ",")
	}
	return row
}

// localVolumes counts the mounts that are volumes: those whose source is a name.
func localVolumes(sum *engine.Summary) (n int) {
	for _, m := range sum.Mounts {
		if !strings.HasPrefix(m, "/") {
			n++
		}
	}
	return n
}

func joinLabels(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for k, v := range labels {
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs)
	return strings.Join(pairs, ",")
}

// portsText is the PORTS column, in Docker's order: ports that lead to the same number, or to nowhere, by number, neighbours
// as a range; then the others, one by one.
func portsText(ports []engine.PortSummary) string {
	ports = slices.Clone(ports)
	slices.SortStableFunc(ports, func(a, b engine.PortSummary) int {
		return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), cmp.Compare(a.IP, b.IP), cmp.Compare(a.PublicPort, b.PublicPort), cmp.Compare(a.Type, b.Type))
	})
	type place struct{ ip, proto string }
	type span struct{ first, last uint16 }
	open := make(map[place]span) // the range that each place is in
	var order []place
	var done, others []string
	for _, p := range ports {
		if p.PublicPort != 0 && p.PublicPort != p.PrivatePort {
			others = append(others, fmt.Sprintf("%s->%d/%s", net.JoinHostPort(p.IP, strconv.Itoa(int(p.PublicPort))), p.PrivatePort, p.Type))
			continue
		}
		at := place{p.IP, p.Type}
		s, ok := open[at]
		switch {
		case !ok:
			order = append(order, at)
			s = span{p.PrivatePort, p.PrivatePort}
		case p.PrivatePort == s.last+1:
			s.last = p.PrivatePort
		default:
			done = append(done, spanText(at.ip, at.proto, s.first, s.last))
			s = span{p.PrivatePort, p.PrivatePort}
		}
		open[at] = s
	}
	for _, at := range order {
		done = append(done, spanText(at.ip, at.proto, open[at].first, open[at].last))
	}
	return strings.Join(append(done, others...), ", ")
}

func spanText(ip, proto string, first, last uint16) string {
	text := strconv.Itoa(int(first))
	if last != first {
		text += "-" + strconv.Itoa(int(last))
	}
	if ip != "" {
		text = net.JoinHostPort(ip, text) + "->" + text
	}
	return text + "/" + proto
}
