package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/cgroups"
	"github.com/mydocker/mydocker/engine"
)

func statsVerb() *verb {
	return &verb{
		name: "stats", summary: "Display a live stream of container(s) resource usage statistics",
		usage: "[OPTIONS] [CONTAINER...]", max: -1, complete: "container",
		about: `The numbers are those of the container's cgroup and of its network interfaces. CPU % is of one CPU: two busy ones
show as 200 %. Memory is without the page cache that could be given back at once.

Examples:
  $ mydocker stats
  $ mydocker stats --no-stream --format '{{.Name}} {{.MemUsage}}'`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("all,a", "Show all containers (default shows just running)"),
				str("format", "string", formatUsage),
				yes("no-stream", "Disable streaming stats and only pull the first result"),
				yes("no-trunc", "Do not truncate output"),
			}
		},
		run: stats,
	}
}

// statsRow is what a template of `stats` may name.
type statsRow struct {
	BlockIO, CPUPerc, Container, ID, MemPerc, MemUsage, Name, NetIO, PIDs string
}

func statsListing() listing[statsRow] {
	return listing[statsRow]{
		header: statsRow{BlockIO: "BLOCK I/O", CPUPerc: "CPU %", Container: "CONTAINER", ID: "CONTAINER ID", MemPerc: "MEM %",
			MemUsage: "MEM USAGE / LIMIT", Name: "NAME", NetIO: "NET I/O", PIDs: "PIDS"},
		table: `{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}`,
	}
}

// statsInterval is the time over which the use of the CPU is measured, and between two pictures.
const statsInterval = time.Second

func stats(s *session, c *urfave.Context) error {
	e, err := s.engine()
	if err != nil {
		return err
	}
	watch := &statsWatch{engine: e, wanted: c.Args().Slice(), all: c.Bool("all"), trunc: !c.Bool("no-trunc")}
	if _, err := watch.sample(); err != nil {
		return err
	}
	format := s.format(c, func(c clientConfig) string { return c.StatsFormat })
	screen := (format == "" || strings.HasPrefix(format, "table")) && isTerminal(s.streams.Out)
	for {
		time.Sleep(statsInterval)
		rows, err := watch.sample()
		if err != nil {
			return err
		}
		var picture bytes.Buffer
		if err := statsListing().print(&picture, format, false, rows); err != nil {
			return err
		}
		text := picture.String()
		if screen && !c.Bool("no-stream") {
			// Home, then each line with what is left of the older one cleared, then the rest of the screen cleared.
			text = "\x1b[H" + strings.ReplaceAll(text, "\n", "\x1b[K\n") + "\x1b[J"
		}
		if _, err := s.streams.Out.WriteString(text); err != nil {
			return err
		}
		if c.Bool("no-stream") {
			return nil
		}
	}
}

// statsWatch remembers the sample before, because use of the CPU is a difference.
type statsWatch struct {
	engine *engine.Engine
	wanted []string
	all    bool
	trunc  bool
	before map[string]*cgroups.Stats
}

func (w *statsWatch) sample() ([]statsRow, error) {
	list, err := w.containers()
	if err != nil {
		return nil, err
	}
	now := make(map[string]*cgroups.Stats)
	var rows []statsRow
	for _, sum := range list {
		row, st, err := w.row(sum)
		if err != nil {
			return nil, err
		}
		if st != nil {
			now[sum.ID] = st
		}
		rows = append(rows, row)
	}
	w.before = now
	return rows, nil
}

// containers are those that were named, or all that run.
func (w *statsWatch) containers() ([]*engine.Summary, error) {
	all, err := w.engine.Containers(context.Background())
	if err != nil {
		return nil, err
	}
	if len(w.wanted) == 0 {
		return slices.DeleteFunc(all, func(s *engine.Summary) bool { return !w.all && s.Pid == 0 }), nil
	}
	var list []*engine.Summary
	for _, ref := range w.wanted {
		d, err := w.engine.Find(ref)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(all, func(s *engine.Summary) bool { return s.ID == d.ID }); i >= 0 {
			list = append(list, all[i])
		}
	}
	return list, nil
}

func (w *statsWatch) row(sum *engine.Summary) (statsRow, *cgroups.Stats, error) {
	const none = "0B / 0B"
	row := statsRow{Container: sum.ID, ID: sum.ID, Name: sum.Names[0], CPUPerc: "0.00%", MemUsage: none, MemPerc: "0.00%",
		NetIO: none, BlockIO: none, PIDs: "0"}
	if w.trunc {
		row.ID = shortID(sum.ID)
	}
	if len(w.wanted) > 0 {
		row.Container = sum.Names[0]
	}
	c, err := w.engine.Runtime().Load(sum.ID)
	if errors.Is(err, fs.ErrNotExist) || sum.Pid == 0 {
		return row, nil, nil
	}
	if err != nil {
		return row, nil, err
	}
	st, err := c.Stats()
	if errors.Is(err, fs.ErrNotExist) {
		return row, nil, nil // it ended while we looked
	}
	if err != nil {
		return row, nil, err
	}
	rx, tx := networkBytes(sum.Pid)
	limit := st.Memory.Limit
	if host := hostMemory(); limit == 0 || host != 0 && limit > host {
		limit = host
	}
	used := st.Memory.Usage - min(st.Memory.Cache, st.Memory.Usage)
	row.CPUPerc = fmt.Sprintf("%.2f%%", cpuPercent(w.before[sum.ID], st))
	row.MemUsage = units.BytesSize(float64(used)) + " / " + units.BytesSize(float64(limit))
	if limit > 0 {
		row.MemPerc = fmt.Sprintf("%.2f%%", float64(used)/float64(limit)*100)
	}
	row.NetIO = ioText(rx, tx)
	row.BlockIO = ioText(st.Blkio.Read, st.Blkio.Write)
	row.PIDs = strconv.FormatUint(st.Pids.Current, 10)
	return row, st, nil
}

func ioText(in, out uint64) string {
	return units.HumanSizeWithPrecision(float64(in), 3) + " / " + units.HumanSizeWithPrecision(float64(out), 3)
}

// cpuPercent is the use of the CPU between two samples, in percent of one CPU.
func cpuPercent(before, now *cgroups.Stats) float64 {
	if before == nil || now.CPU.Usage < before.CPU.Usage || !now.Time.After(before.Time) {
		return 0
	}
	return float64(now.CPU.Usage-before.CPU.Usage) / float64(now.Time.Sub(before.Time).Nanoseconds()) * 100
}

// networkBytes adds up what the interfaces of a process's network namespace received and sent, lo left out; 0 when the
// process is gone. Equals: cat /proc/PID/net/dev
func networkBytes(pid int) (rx, tx uint64) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		return 0, 0
	}
	return parseNetDev(string(data))
}

// parseNetDev reads proc_net_dev(5): two lines of titles, then "eth0: RXBYTES 7 more TXBYTES …".
func parseNetDev(text string) (rx, tx uint64) {
	for line := range strings.Lines(text) {
		name, counters, ok := strings.Cut(line, ":")
		fields := strings.Fields(counters)
		if !ok || len(fields) < 9 || strings.TrimSpace(name) == "lo" {
			continue
		}
		in, errIn := strconv.ParseUint(fields[0], 10, 64)
		out, errOut := strconv.ParseUint(fields[8], 10, 64)
		if errIn == nil && errOut == nil {
			rx, tx = rx+in, tx+out
		}
	}
	return rx, tx
}

// hostMemory is the machine's memory in bytes, or 0 when it cannot be known.
func hostMemory() uint64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "MemTotal:" {
			kib, err := strconv.ParseUint(fields[1], 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
