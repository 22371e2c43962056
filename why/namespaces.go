package why

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mydocker/mydocker/world"
)

// findNamespaces finds a network namespace by name or path, and one of any kind as /proc/PID/ns shows it: pid:[4026531836].
func findNamespaces(_ context.Context, q *Question) (answers []Answer, err error) {
	m := newMakers()
	thing := q.Thing
	if target, err := os.Readlink(thing); err == nil && strings.Contains(thing, "/ns/") {
		thing = target // /proc/12/ns/mnt
	}
	kind, inode, ok := strings.Cut(strings.TrimSuffix(thing, "]"), ":[")
	if ok && kind != "net" {
		a, err := q.otherNamespace(m, thing)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return []Answer{a}, err
	}
	for _, n := range q.World.Namespaces {
		if q.means(n, thing) || n.Path == thing || ok && fmt.Sprint(n.Inode) == inode || strings.HasPrefix(thing, "/run/netns/") && n.Is(filepath.Base(thing)) {
			answers = append(answers, q.namespace(m, n))
		}
	}
	return answers, nil
}

// means says whether a name stands for the namespace: its own, or that of a container that is in it (--network host, container:NAME).
func (q *Question) means(n *world.Namespace, name string) bool {
	c := q.World.Container(name)
	return n.Is(name) || c != nil && c.Namespace == n
}

func (q *Question) namespace(m *makers, n *world.Namespace) Answer {
	t := q.Texts
	a := Answer{Kind: KindNamespace, Name: fmt.Sprintf("%s  net:[%d]", n.Name(), n.Inode), Look: inNamespace(n, "ip -br addr")}
	switch {
	case n == q.World.Host:
		a.other(Maker{"kernel"}, "")
		a.Purpose = append(a.Purpose, t.Text("why.purpose.host"))
	case a.ours(n.Owner):
		a.Purpose = append(a.Purpose, t.Text("why.purpose.sandbox"))
		a.Evidence = append(a.Evidence, t.Text("why.evidence.pinned", "path", n.Path))
	default:
		maker, evidence, ok := q.namespaceMaker(m, n)
		if !ok {
			maker, evidence = Maker{"hand"}, t.Text("why.evidence.nothing")
			if strings.HasPrefix(n.Path, "/run/netns/") {
				evidence = t.Text("why.evidence.pinned", "path", n.Path)
				a.Undo = "ip netns del " + filepath.Base(n.Path)
			}
		}
		a.other(maker, evidence)
		a.Purpose = append(a.Purpose, t.Text("why.purpose.netns"))
	}
	if len(n.Processes) > 0 {
		var who []string
		for _, p := range n.Processes[:min(4, len(n.Processes))] {
			who = append(who, fmt.Sprintf("%s (%d)", p.Name, p.Pid))
		}
		a.Purpose = append(a.Purpose, t.Text("why.purpose.processes", "count", len(n.Processes), "list", t.List(who)))
	} else {
		a.Purpose = append(a.Purpose, t.Text("why.purpose.no-processes"))
	}
	return a
}

// namespaceMaker tells whose a network namespace is: by where it is pinned, and by the cgroup of the processes in it.
func (q *Question) namespaceMaker(m *makers, n *world.Namespace) (Maker, string, bool) {
	if n == q.World.Host {
		return Maker{}, "", false
	}
	if n.Owner.Ours() {
		return Maker{"mydocker"}, q.Texts.Text("why.evidence.leads", "what", q.Texts.Owner(n.Owner.String())), true
	}
	for _, path := range append([]string{n.Path}, n.Names...) {
		if maker, ok := m.paths.find(path); ok {
			return maker, q.Texts.Text("why.evidence.pinned", "path", path), true
		}
	}
	for _, p := range n.Processes {
		if maker, group, ok := processMaker(m, p.Pid); ok {
			return maker, q.Texts.Text("why.evidence.group", "process", fmt.Sprintf("%s (%d)", p.Name, p.Pid), "group", group), true
		}
	}
	return Maker{}, "", false
}

// processMaker tells by its cgroups whose container a process is in.
func processMaker(m *makers, pid int) (Maker, string, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return Maker{}, "", false // it has ended
	}
	for line := range strings.Lines(string(data)) {
		if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); len(parts) == 3 { // cgroups(7)
			if maker, _ := m.ofGroup(parts[2]); maker.ID != "hand" && maker.ID != "systemd" {
				return maker, parts[2], true
			}
		}
	}
	return Maker{}, "", false
}

// otherNamespace is one of another kind: pid, mnt, uts, ipc, user, cgroup, time. It is known by the processes in it.
func (q *Question) otherNamespace(m *makers, name string) (Answer, error) {
	t := q.Texts
	kind, _, _ := strings.Cut(name, ":")
	links, err := filepath.Glob("/proc/[0-9]*/ns/" + kind)
	if err != nil {
		return Answer{}, err
	}
	var pids []int
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == name {
			if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	if len(pids) == 0 {
		return Answer{}, fmt.Errorf("no process is in %s: %w", name, fs.ErrNotExist)
	}
	slices.Sort(pids)
	a := Answer{Kind: KindNamespace, Name: name, Look: "lsns -t " + kind, Purpose: []string{t.Text("why.purpose.namespace." + kindOf(kind))}}
	var who []string
	for _, pid := range pids[:min(4, len(pids))] {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil {
			continue
		}
		who = append(who, fmt.Sprintf("%s (%d)", strings.TrimSpace(string(comm)), pid))
	}
	a.Purpose = append(a.Purpose, t.Text("why.purpose.processes", "count", len(pids), "list", t.List(who)))
	if self, err := os.Readlink("/proc/thread-self/ns/" + kind); err == nil && self == name {
		a.other(Maker{"kernel"}, t.Text("why.evidence.own"))
		return a, nil
	}
	for _, c := range q.World.Containers {
		if slices.Contains(pids, c.Pid) {
			a.ours(world.Owner{Kind: "container", ID: c.ID, Name: c.Name})
			a.Evidence = append(a.Evidence, t.Text("why.evidence.first", "pid", c.Pid))
			return a, nil
		}
	}
	for _, pid := range pids {
		if maker, group, ok := processMaker(m, pid); ok {
			a.other(maker, t.Text("why.evidence.group", "process", strconv.Itoa(pid), "group", group))
			return a, nil
		}
	}
	a.other(Maker{"hand"}, t.Text("why.evidence.nothing"))
	return a, nil
}

// kindOf is a kind that there is a sentence for.
func kindOf(kind string) string {
	switch kind {
	case "pid", "mnt", "uts", "ipc", "user", "cgroup":
		return kind
	}
	return "other"
}
