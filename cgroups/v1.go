package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// v1Group is a directory of the same name in the tree of every controller that the host has mounted.
type v1Group struct {
	mount, path string
	watch       plan.Watcher
	// sub names groups below path, by controller or for all by "", that stand for it (OpenBelow).
	sub map[string]string
}

// v1Controllers are the trees that a container has a group in. The freezer comes first so that a group that is being
// removed can be frozen until the last moment; "systemd" is systemd's own book-keeping tree, without limits.
func v1Controllers() []string {
	return []string{
		"freezer", "devices", "memory", "cpu", "cpuacct", "cpuset", "pids", "blkio",
		"hugetlb", "net_cls", "net_prio", "perf_event", "rdma", "misc", "systemd",
	}
}

func (g *v1Group) Path() string { return g.path }

func (g *v1Group) dir(controller string) string {
	below, ok := g.sub[controller]
	if !ok {
		below = g.sub[""]
	}
	return filepath.Join(g.mount, controller, g.path, below)
}

// Create makes the group in each tree: `mkdir -p /sys/fs/cgroup/memory/mydocker/ID`, and so on.
func (g *v1Group) Create() error {
	for _, c := range v1Controllers() {
		root := filepath.Join(g.mount, c)
		if unix.Access(root, unix.F_OK) != nil {
			continue // the host has not mounted this controller; Set says so if a limit needs it
		}
		err := g.createIn(c, root)
		for try := 0; errors.Is(err, fs.ErrNotExist) && try < 10; try++ {
			err = g.createIn(c, root) // somebody removed the empty parent just now (DeleteEmpty)
		}
		if err != nil {
			return fmt.Errorf("create cgroup %s: %w", g.path, err)
		}
	}
	return nil
}

func (g *v1Group) createIn(controller, root string) error {
	dir := g.dir(controller)
	if unix.Access(filepath.Dir(dir), unix.F_OK) != nil {
		if err := makeParents(g.watch, root, filepath.Dir(dir)); err != nil {
			return err
		}
	}
	if err := makeDir(g.watch, dir); err != nil || controller != "cpuset" {
		return err
	}
	return g.inheritCpuset(dir)
}

// makeParents makes all directories between a mounted tree and a group.
func makeParents(w plan.Watcher, root, dir string) error {
	if dir == root {
		return nil
	}
	if err := makeParents(w, root, filepath.Dir(dir)); err != nil {
		return err
	}
	return makeDir(w, dir)
}

// inheritCpuset copies the parent's CPUs and memory nodes into a new group: an empty cpuset refuses every process
// (cpuset(7), "a cpuset must have cpus and mems before tasks can be attached").
func (g *v1Group) inheritCpuset(dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := readFile(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		if own != "" {
			continue
		}
		parent := filepath.Dir(dir)
		if parent == filepath.Join(g.mount, "cpuset") {
			// The root's values are always set.
		} else if err := g.inheritCpuset(parent); err != nil {
			return err
		}
		value, err := readFile(filepath.Join(parent, file))
		if err != nil {
			return err
		}
		if err := write(g.watch, filepath.Join(dir, file), value, "a cpuset without CPUs and memory refuses processes"); err != nil {
			return err
		}
	}
	return nil
}

func (g *v1Group) Set(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	r, err := g.completed(r)
	if err != nil {
		return err
	}
	settings, err := V1Values(r)
	if err == nil {
		err = checkUsage(r.Memory, filepath.Join(g.dir("memory"), "memory.usage_in_bytes"))
	}
	if err != nil {
		return err
	}
	for _, s := range settings {
		path := filepath.Join(g.dir(s.Controller), s.File)
		err := write(g.watch, path, s.Value, s.Reason)
		if err != nil {
			err = g.explainFailure(r, s, path, err)
		} else if s.File == v1KernelLimit && s.Value != "-1" {
			if limit, readErr := readUint(path); readErr == nil && limit == 0 {
				err = s.unavailable("this kernel takes it and does nothing with it; memory.limit counts the kernel's memory, too")
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// explainFailure turns a refused write into success where the order of two limits was the only trouble, and into a
// sentence that names the missing controller where that is.
func (g *v1Group) explainFailure(r *specs.LinuxResources, s Setting, path string, err error) error {
	switch {
	case s.File == v1MemoryLimit && errors.Is(err, unix.EINVAL) && r.Memory.Swap != nil:
		// The memory limit may never be above that of memory and swap: when both grow, the second must go first.
		swap := filepath.Join(g.dir(s.Controller), v1SwapLimit)
		if err := write(g.watch, swap, strconv.FormatInt(*r.Memory.Swap, 10), "memory and swap grow before memory may"); err != nil {
			return err
		}
		return write(g.watch, path, s.Value, s.Reason)
	case s.File == v1SwapLimit && errors.Is(err, fs.ErrNotExist) && swapIsDefault(r.Memory):
		return nil // a kernel without swap accounting: nobody asked for a swap limit of its own
	case s.isReservation() && errors.Is(err, fs.ErrNotExist):
		return nil // the limit of use has been set
	case errors.Is(err, fs.ErrNotExist):
		return s.unavailable(s.Controller + " is not mounted or lacks this file: see `cat /proc/cgroups`")
	case s.File == v1RealTime && errors.Is(err, unix.EINVAL):
		above := filepath.Join(filepath.Dir(filepath.Dir(path)), s.File)
		return fmt.Errorf("set %s: %w: the groups above have too little real-time of their own to give (echo 950000 > %s, and so on upwards)", s.File, err, above)
	}
	return fmt.Errorf("set %s: %w", s.File, err)
}

func swapIsDefault(m *specs.LinuxMemory) bool {
	return *m.Swap == -1 || m.Limit != nil && *m.Swap == 2**m.Limit
}

func (g *v1Group) Add(pid int) error {
	return g.each("cgroup.procs", strconv.Itoa(pid), "the process, with all its threads, joins the group")
}

// AddSelf moves only the calling thread, by the "tasks" file: no other thread of this process is limited. Writing 0
// spares the kernel its global lock.
func (g *v1Group) AddSelf() error {
	return g.each("tasks", "0", "this thread joins the group; what it starts is born there")
}

func (g *v1Group) each(file, value, reason string) error {
	joined := 0
	for _, c := range v1Controllers() {
		if unix.Access(g.dir(c), unix.F_OK) != nil {
			continue
		}
		err := write(g.watch, filepath.Join(g.dir(c), file), value, reason)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("join cgroup %s: %w", g.path, err)
		}
		joined++
	}
	if joined == 0 {
		return fmt.Errorf("join cgroup %s: %w", g.path, fs.ErrNotExist)
	}
	return nil
}

// Mounted says whether this host has cgroups at all.
func Mounted() bool { return anyTree(Mount) }

func anyTree(mount string) bool {
	return unix.Access(filepath.Join(mount, "cgroup.procs"), unix.F_OK) == nil || slices.ContainsFunc(v1Controllers(), func(c string) bool {
		return unix.Access(filepath.Join(mount, c), unix.F_OK) == nil
	})
}

// Dir is nil: clone3 cannot give birth into a v1 group.
func (g *v1Group) Dir() (*os.File, error) { return nil, nil }

func (g *v1Group) Procs() ([]int, error) {
	for _, c := range []string{"pids", "freezer", "memory", "devices"} {
		if _, err := os.Stat(g.dir(c)); err == nil {
			return residents(g.dir(c))
		}
	}
	return nil, nil
}

func (g *v1Group) Freeze() error {
	return g.freezer("FROZEN", "stop every process of the group")
}

func (g *v1Group) Thaw() error {
	return g.freezer("THAWED", "let every process of the group go on")
}

// freezer writes the wanted state and waits for it: a process in the middle of a fork can keep the group at FREEZING,
// and then only asking again helps.
func (g *v1Group) freezer(want, reason string) error {
	path := filepath.Join(g.dir("freezer"), "freezer.state")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("freeze cgroup %s: freezer: %w", g.path, ErrUnavailable)
	}
	for try := range 200 {
		if err := write(g.watch, path, want, reason); err != nil {
			return err
		}
		got, err := readFile(path)
		if err != nil {
			return err
		}
		if got == want {
			return nil
		}
		if try > 10 {
			time.Sleep(5 * time.Millisecond)
		}
	}
	err := fmt.Errorf("cgroup %s does not become %s: a process is stuck in the kernel (state D in `ps`)", g.path, want)
	if want == "FROZEN" {
		err = errors.Join(err, write(g.watch, path, "THAWED", "do not leave it half frozen"))
	}
	return err
}

func (g *v1Group) Frozen() (bool, error) {
	text, err := readFile(filepath.Join(g.dir("freezer"), "freezer.state"))
	return text == "FROZEN" || text == "FREEZING", ignoreAbsent(err)
}

func (g *v1Group) Signal(sig unix.Signal) error {
	pids, err := g.Procs()
	if err != nil {
		return err
	}
	return signalAll(pids, sig)
}

// Delete kills what is left, thaws it so that it can die, and removes the group from every tree.
func (g *v1Group) Delete() error {
	var errs []error
	for _, c := range v1Controllers() {
		dir := g.dir(c)
		if g.watch == nil {
			if err := unix.Rmdir(dir); err == nil || err == unix.ENOENT {
				continue // the usual case: the processes are gone
			}
		}
		err := g.killAll(dir)
		if err == nil {
			err = removeDir(g.watch, dir)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete cgroup %s: %w", g.path, err)
	}
	return nil
}

// killAll kills until nobody is left: a process that forks meanwhile is seen by the next look. A frozen one dies only
// when it is thawed.
func (g *v1Group) killAll(dir string) error {
	for try := range 200 {
		present, err := procsBelow(dir)
		if err != nil || len(present) == 0 {
			return err
		}
		pids, err := residents(dir)
		if err != nil {
			return err
		}
		if try > 100 {
			// A process whose first thread has ended does not look like a resident. Nobody's visit takes this long.
			pids = slices.DeleteFunc(present, func(pid int) bool { return pid == os.Getpid() })
		}
		if err := signalAll(pids, unix.SIGKILL); err != nil {
			return err
		}
		if frozen, err := g.Frozen(); err == nil && frozen {
			if err := g.Thaw(); err != nil {
				return err
			}
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("processes in %s do not die", dir)
}

// residents lists the processes that live in a group and below it. The kernel also lists a process of which only one
// thread is there: that is us, or somebody like us, on a short visit to give birth to a process in the group (AddSelf).
// To kill such a visitor would be to kill the runtime.
func residents(dir string) ([]int, error) {
	pids, err := procsBelow(dir)
	if err != nil || len(pids) == 0 {
		return pids, err
	}
	threads, err := listBelow(dir, "tasks")
	if err != nil {
		return nil, err
	}
	inside := make(map[int]bool, len(threads))
	for _, t := range threads {
		inside[t] = true
	}
	return slices.DeleteFunc(pids, func(pid int) bool { return !inside[pid] }), nil
}

// Controllers lists the version 1 trees in which a group exists: those that its container can be shown.
func Controllers(m Manager) []string {
	g, ok := m.(*v1Group)
	if !ok {
		return nil
	}
	var list []string
	for _, c := range v1Controllers() {
		if _, err := os.Stat(g.dir(c)); err == nil {
			list = append(list, c)
		}
	}
	return list
}
