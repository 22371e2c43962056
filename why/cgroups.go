package why

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/world"
)

const cgroupMount = "/sys/fs/cgroup"

// findCgroups finds a group by its path, with the mount or without: /sys/fs/cgroup/memory/mydocker/ID, /mydocker/ID.
func findCgroups(_ context.Context, q *Question) ([]Answer, error) {
	thing := filepath.Clean("/" + q.Thing)
	if !strings.HasPrefix(q.Thing, "/") && q.Kind != KindCgroup {
		return nil, nil
	}
	dirs := []string{thing}
	if !strings.HasPrefix(thing, cgroupMount+"/") {
		dirs = []string{cgroupMount + thing}
		trees, err := os.ReadDir(cgroupMount) // version 1: a tree for each controller
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, filepath.Join(cgroupMount, "memory", thing)) // the one that is asked about most
		for _, tree := range trees {
			dirs = append(dirs, filepath.Join(cgroupMount, tree.Name(), thing))
		}
	}
	for _, dir := range dirs {
		procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENAMETOOLONG) {
			continue
		}
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) { // a group of threads does not list processes
			return nil, err
		}
		return []Answer{q.cgroup(newMakers(), dir, strings.Fields(string(procs)))}, nil
	}
	return nil, nil
}

func (q *Question) cgroup(m *makers, dir string, procs []string) Answer {
	t := q.Texts
	a := Answer{Kind: KindCgroup, Name: dir, Look: "cat " + dir + "/cgroup.procs"}
	id := filepath.Base(dir)
	if c := q.World.Container(id); c != nil && strings.Contains(dir, "/mydocker") {
		a.ours(world.Owner{Kind: "container", ID: c.ID, Name: c.Name})
		a.Evidence = append(a.Evidence, t.Text("why.evidence.id", "id", id[:min(12, len(id))]))
		a.Purpose = append(a.Purpose, t.Text("why.purpose.cgroup"))
	} else {
		maker, part := m.ofGroup(strings.TrimPrefix(dir, cgroupMount))
		if part == "" {
			a.other(maker, t.Text("why.evidence.nothing"))
		} else {
			a.other(maker, t.Text("why.evidence.name", "name", part, "maker", maker.text(t)))
		}
		a.Purpose = append(a.Purpose, t.Text("why.purpose.group"))
	}
	a.Purpose = append(a.Purpose, t.Text("why.purpose.group-processes", "count", len(procs)))
	for _, limit := range []string{"memory.max", "memory.limit_in_bytes", "pids.max", "cpu.max", "cpu.cfs_quota_us"} {
		data, err := os.ReadFile(filepath.Join(dir, limit))
		if err != nil {
			continue // another controller's, or another version's
		}
		value := strings.TrimSpace(string(data))
		if value == "max" || strings.HasPrefix(value, "max ") || value == "-1" || value == "9223372036854771712" {
			continue
		}
		a.Purpose = append(a.Purpose, t.Text("why.purpose.limit", "limit", fmt.Sprintf("%s = %s", limit, value)))
	}
	return a
}
