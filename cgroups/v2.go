package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// v2Group is one directory in the one tree: Documentation/admin-guide/cgroup-v2.rst.
type v2Group struct {
	mount, path string
	watch       plan.Watcher
}

func (g *v2Group) Path() string { return g.path }
func (g *v2Group) dir() string  { return filepath.Join(g.mount, g.path) }

// Create makes the group, and the groups above it with their controllers handed down.
func (g *v2Group) Create() error {
	err := g.handDownFirst()
	for try := 0; errors.Is(err, fs.ErrNotExist) && try < 10; try++ {
		err = g.handDownFirst() // somebody removed the empty parent just now (DeleteEmpty)
	}
	if err != nil {
		return fmt.Errorf("create cgroup %s: %w", g.path, err)
	}
	return nil
}

func (g *v2Group) handDownFirst() error {
	if unix.Access(filepath.Dir(g.dir()), unix.F_OK) != nil {
		if err := g.handDown(); err != nil {
			return err
		}
	}
	return makeDir(g.watch, g.dir())
}

// handDown makes every group above this one and lets it hand its controllers to its children:
// `echo "+memory +pids" > cgroup.subtree_control`. A file of a controller exists only where the parent hands it down.
func (g *v2Group) handDown() error {
	dir := g.mount
	for _, name := range strings.Split(strings.TrimPrefix(filepath.Dir(g.path), "/"), "/") {
		if err := g.enable(dir); err != nil {
			return err
		}
		if name == "" {
			return nil
		}
		dir = filepath.Join(dir, name)
		if err := makeDir(g.watch, dir); err != nil {
			return err
		}
	}
	return g.enable(dir)
}

func (g *v2Group) enable(dir string) error {
	available, err := readFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	enabled, err := readFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	have := " " + enabled + " "
	for c := range strings.FieldsSeq(available) {
		if strings.Contains(have, " "+c+" ") {
			continue
		}
		err := write(g.watch, filepath.Join(dir, "cgroup.subtree_control"), "+"+c, "hand the controller down")
		switch {
		case errors.Is(err, unix.EBUSY):
			// Only a group without processes of its own may hand a controller down; the root of the tree is excepted, the
			// root that a container sees is not.
			return fmt.Errorf("%w: processes live in the group %s itself: move them into one below it", err, dir)
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
			// The kernel lists a controller that it will not hand down now (cpu, while real-time processes run). A limit
			// that needs it fails by name in Set.
		case err != nil:
			return err
		}
	}
	return nil
}

func (g *v2Group) Set(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	r, err := g.completed(r)
	if err != nil {
		return err
	}
	list, err := V2Values(r)
	if err == nil {
		err = checkUsage(r.Memory, filepath.Join(g.dir(), "memory.current"))
	}
	if err != nil {
		return err
	}
	for _, s := range list {
		path := filepath.Join(g.dir(), s.File)
		err := write(g.watch, path, s.Value, s.Reason)
		if errors.Is(err, fs.ErrNotExist) {
			// The groups above were made by somebody who needed fewer controllers.
			if err = g.handDown(); err == nil {
				err = write(g.watch, path, s.Value, s.Reason)
			}
		}
		if errors.Is(err, fs.ErrNotExist) && s.File == "memory.swap.max" && swapIsDefault(r.Memory) {
			continue // a kernel without swap: nobody asked for a swap limit of its own
		}
		if errors.Is(err, fs.ErrNotExist) && s.isReservation() {
			continue // the limit of use has been set
		}
		if errors.Is(err, fs.ErrNotExist) {
			return s.unavailable(s.Controller + ": see `cat " + g.dir() + "/cgroup.controllers`")
		}
		if err != nil {
			return fmt.Errorf("set %s: %w", s.File, err)
		}
	}
	return g.setDevices(r.Devices)
}

func (g *v2Group) Add(pid int) error {
	err := write(g.watch, filepath.Join(g.dir(), "cgroup.procs"), strconv.Itoa(pid), "the process joins the group")
	if err != nil {
		return fmt.Errorf("join cgroup %s: %w", g.path, err)
	}
	return nil
}

// AddSelf is refused: in v2 a thread cannot live in another group than its process. Use Dir and clone3.
func (g *v2Group) AddSelf() error { return errors.ErrUnsupported }

// Dir is the group as clone3(CLONE_INTO_CGROUP) wants it: the process is born in it and never anywhere else.
func (g *v2Group) Dir() (*os.File, error) {
	return os.OpenFile(g.dir(), unix.O_DIRECTORY|unix.O_PATH|unix.O_CLOEXEC, 0)
}

func (g *v2Group) Procs() ([]int, error) { return procsBelow(g.dir()) }

func (g *v2Group) Freeze() error { return g.freeze("1") }
func (g *v2Group) Thaw() error   { return g.freeze("0") }

func (g *v2Group) freeze(value string) error {
	if err := write(g.watch, filepath.Join(g.dir(), "cgroup.freeze"), value, "stop the group's processes (1) or let them go on (0)"); err != nil {
		return err
	}
	for range 400 {
		frozen, err := g.Frozen()
		if err != nil || frozen == (value == "1") {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("cgroup %s does not freeze: a process is stuck in the kernel (state D in `ps`)", g.path)
}

func (g *v2Group) Frozen() (bool, error) {
	m, err := readMap(filepath.Join(g.dir(), "cgroup.events"))
	return m["frozen"] == 1, ignoreAbsent(err)
}

// Signal kills the whole group at once where the signal is KILL: no fork can escape cgroup.kill.
func (g *v2Group) Signal(sig unix.Signal) error {
	if sig == unix.SIGKILL {
		return ignoreAbsent(write(g.watch, filepath.Join(g.dir(), "cgroup.kill"), "1", "kill every process of the group"))
	}
	pids, err := g.Procs()
	if err != nil {
		return err
	}
	return signalAll(pids, sig)
}

func (g *v2Group) Delete() error {
	if g.watch == nil {
		if err := unix.Rmdir(g.dir()); err == nil || err == unix.ENOENT {
			return nil // the usual case: the processes are gone
		}
	}
	if err := g.Signal(unix.SIGKILL); err != nil {
		return fmt.Errorf("delete cgroup %s: %w", g.path, err)
	}
	if err := removeDir(g.watch, g.dir()); err != nil {
		return fmt.Errorf("delete cgroup %s: %w", g.path, err)
	}
	return nil
}

// ExplainBirth says why the kernel gave birth to no process in a group: in version 2 only a group of the ordinary type, whose
// controllers are not handed on, takes one (cgroup-v2.rst, "Threads" and "No Internal Process Constraint").
func ExplainBirth(m Manager, err error) error {
	v2, isV2 := m.(*v2Group)
	if s, ok := m.(*SystemdGroup); ok {
		v2, isV2 = s.Manager.(*v2Group)
	}
	if !isV2 || !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EBUSY) {
		return err
	}
	kind, _ := readFile(filepath.Join(v2.dir(), "cgroup.type")) // the sentence holds without it
	return fmt.Errorf("%w: cgroup %s takes no processes (its cgroup.type is %q): processes live in the groups above it, or one of them is threaded; move them into a group of their own, or choose another linux.cgroupsPath",
		err, v2.path, kind)
}
