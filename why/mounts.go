package why

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mydocker/mydocker/world"
)

// mountLine is a line of mountinfo: proc_pid_mountinfo(5).
type mountLine struct {
	id, root, point, options, filesystem, source string
}

// findMounts finds the mount that a path is on; CONTAINER:PATH in a container.
func findMounts(_ context.Context, q *Question) ([]Answer, error) {
	path, pid, where := q.Thing, "self", ""
	var c *world.Container
	if name, rest, ok := strings.Cut(q.Thing, ":"); ok && strings.HasPrefix(rest, "/") {
		if c = q.World.Container(name); c == nil || c.Pid == 0 {
			return nil, nil
		}
		path, pid, where = rest, strconv.Itoa(c.Pid), c.Name
	}
	if !strings.HasPrefix(path, "/") {
		return nil, nil
	}
	if c == nil {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	line, err := mountOf(pid, filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	exact := line.point == filepath.Clean(path)
	if !exact && c == nil && q.Kind != KindMount { // /sys/fs/cgroup/mydocker is meant as a cgroup
		return nil, nil
	}
	return []Answer{q.mount(newMakers(), line, c, where)}, nil
}

// mountOf is the mount on which a path is; of several at one place the last, which lies on top.
func mountOf(pid, path string) (best mountLine, err error) {
	data, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		return best, err
	}
	for line := range strings.Lines(string(data)) {
		left, right, _ := strings.Cut(line, " - ")
		f, g := strings.Fields(left), strings.Fields(right)
		if len(f) < 6 || len(g) < 2 {
			return best, fmt.Errorf("/proc/%s/mountinfo: a line that is not understood: %q", pid, line)
		}
		point := unescape(f[4])
		if path != point && point != "/" && !strings.HasPrefix(path, point+"/") || len(point) < len(best.point) {
			continue
		}
		best = mountLine{id: f[0], root: unescape(f[3]), point: point, options: f[5], filesystem: g[0], source: unescape(g[1])}
	}
	return best, nil
}

// unescape reads the octal escapes of mountinfo: \040 is a space.
func unescape(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

func (q *Question) mount(m *makers, l mountLine, c *world.Container, where string) Answer {
	t := q.Texts
	a := Answer{Kind: KindMount, Name: fmt.Sprintf("%s  %s, %s (%s)", l.point, l.filesystem, l.source, l.options), Where: where, Look: "findmnt --target " + l.point}
	if c != nil {
		a.Look = fmt.Sprintf("findmnt --task %d --target %s", c.Pid, l.point)
		a.ours(world.Owner{Kind: "container", ID: c.ID, Name: c.Name})
		a.Purpose = append(a.Purpose, q.containerMount(l, c)...)
		a.Evidence = append(a.Evidence, t.Text("why.evidence.record", "path", q.World.Root.Container(c.ID)+"/config.json"))
		return a
	}
	if l.filesystem == "nsfs" {
		for _, n := range q.World.Namespaces {
			if n.Path == l.point || n.Is(filepath.Base(l.point)) && strings.HasPrefix(l.point, q.World.Root.NetNS+"/") {
				answer := q.namespace(m, n)
				a.Maker, a.For, a.Evidence, a.Undo = answer.Maker, answer.For, answer.Evidence, answer.Undo
			}
		}
		a.Purpose = append(a.Purpose, t.Text("why.purpose.pin", "namespace", l.root))
		if a.Maker.ID != "" {
			return a
		}
	}
	switch maker, ok := m.paths.find(l.point); {
	case l.point == q.World.Root.NetNS:
		a.other(Maker{"hand"}, t.Text("why.evidence.netns-dir"))
		a.Purpose = append(a.Purpose, t.Text("why.purpose.netns-dir"))
		return a
	case strings.HasPrefix(l.point, q.World.Root.Lib+"/") || strings.HasPrefix(l.point, q.World.Root.Run+"/"):
		a.other(Maker{"mydocker"}, t.Text("why.evidence.below", "path", q.World.Root.Lib))
	case ok:
		a.other(maker, t.Text("why.evidence.path", "path", l.point))
	case l.filesystem == "proc" || l.filesystem == "sysfs" || l.filesystem == "devtmpfs" || l.filesystem == "devpts" || strings.HasPrefix(l.filesystem, "cgroup"):
		a.other(Maker{"boot"}, t.Text("why.evidence.filesystem", "filesystem", l.filesystem))
	case l.point == "/":
		a.other(Maker{"boot"}, t.Text("why.evidence.root"))
	default:
		a.other(Maker{"hand"}, t.Text("why.evidence.fstab"))
	}
	a.Purpose = append(a.Purpose, q.filesystem(l)...)
	return a
}

// filesystem says what a file system is.
func (q *Question) filesystem(l mountLine) []string {
	switch l.filesystem {
	case "proc", "sysfs", "devpts", "devtmpfs", "tmpfs", "overlay", "cgroup", "cgroup2", "mqueue", "nsfs":
		return []string{q.Texts.Text("why.purpose.fs." + l.filesystem)}
	}
	if l.root != "/" {
		return []string{q.Texts.Text("why.purpose.bind", "root", l.root)}
	}
	return []string{q.Texts.Text("why.purpose.disk", "source", l.source)}
}

// containerMount says what a mount is in a container.
func (q *Question) containerMount(l mountLine, c *world.Container) []string {
	t := q.Texts
	switch {
	case l.point == "/":
		return []string{t.Text("why.purpose.container-root")}
	case l.point == "/etc/hosts" || l.point == "/etc/hostname" || l.point == "/etc/resolv.conf":
		return []string{t.Text("why.purpose.container-file", "path", q.World.Root.Container(c.ID)+"/"+filepath.Base(l.point))}
	case strings.Contains(l.root, "/volumes/"):
		return []string{t.Text("why.purpose.volume", "root", l.root)}
	case strings.HasPrefix(l.point, "/proc/") || strings.HasPrefix(l.point, "/sys/firmware") || strings.HasPrefix(l.point, "/sys/devices/virtual/powercap"):
		if l.filesystem == "proc" {
			return []string{t.Text("why.purpose.readonly")}
		}
		return []string{t.Text("why.purpose.masked")}
	}
	return q.filesystem(l)
}
