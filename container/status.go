package container

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/cgroups"
	"github.com/mydocker/mydocker/state"
)

// Status is what a container is doing. It is computed, never stored.
type Status string

const (
	// Creating: recorded, but its first process is not up yet.
	Creating Status = "creating"
	// Created: everything is mounted; init waits at the start barrier.
	Created Status = "created"
	// Running: the command has been executed and has not ended.
	Running Status = "running"
	// Paused: running or created, and frozen.
	Paused Status = "paused"
	// Stopped: the first process has ended.
	Stopped Status = "stopped"
)

// State is the record RUN/containers/<id>/state.json. A pid is not an identity: pid and start time are.
type State struct {
	ID      string `json:"id"`
	Bundle  string `json:"bundle"`
	Rootfs  string `json:"rootfs"`
	Pid     int    `json:"pid"`               // 0 until the first process exists
	Start   uint64 `json:"startTime"`         // clock ticks since boot: proc_pid_stat(5), field 22
	Cgroup  string `json:"cgroup"`            // path below the cgroup mount(s)
	Seccomp string `json:"seccomp,omitempty"` // names its compiled filter, which exec needs too
	Hooks   bool   `json:"hooks,omitempty"`   // the bundle has hooks for later than create
	// Phase is Creating or Created while hooks may ask for the status from before the command runs. It is recorded only for a bundle
	// with such hooks, and counts as long as the creator lives: nobody else ends it.
	Phase Status `json:"phase,omitempty"`
	// Scope is the unit that systemd has made for the container, if it was asked to.
	Scope *cgroups.Scope `json:"scope,omitempty"`
	// KernelFaces says that the config has more for every process of the container: a personality, a memory policy.
	KernelFaces bool `json:"kernelFaces,omitempty"`
	// RootMount, if not 0, says that the container's mounts are made in the caller's mount namespace, on top of the mount
	// with this id at Rootfs: they do not go away by themselves.
	RootMount uint64 `json:"rootMount,omitempty"`
	// Creator is the process that is making the container, by which a half-made one is told from a dead one.
	Creator      int               `json:"creator"`
	CreatorStart uint64            `json:"creatorStartTime"`
	Created      time.Time         `json:"created"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// startSocket is the door at which init waits when its creator may go away. Init takes it away just before it becomes
// the command, so that its presence tells created from running.
const startSocket = "start.sock"

func (r *Runtime) dir(id string) string       { return filepath.Join(r.Root, id) }
func (r *Runtime) statePath(id string) string { return filepath.Join(r.Root, id, "state.json") }

// Load finds a container by its id. The error is fs.ErrNotExist when there is none.
func (r *Runtime) Load(id string) (*Container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	c := &Container{runtime: r}
	if err := state.ReadJSON(r.statePath(id), &c.state); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("container %q: %w", id, fs.ErrNotExist)
		}
		return nil, fmt.Errorf("container %q: %w", id, err)
	}
	return c, nil
}

// List finds all containers, sorted by id.
func (r *Runtime) List() ([]*Container, error) {
	entries, err := os.ReadDir(r.Root)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var list []*Container
	for _, e := range entries {
		if e.Name() == filterDir {
			continue
		}
		c, err := r.Load(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // a directory without a record, or removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// checkID refuses an id that could name something outside the runtime's directory or its cgroup.
func checkID(id string) error {
	if id == "" || id == "." || id == ".." || len(id) > 1024 {
		return fmt.Errorf("invalid container id %q", id)
	}
	for _, c := range id {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("_+-.", c):
		default:
			return fmt.Errorf("invalid container id %q: only letters, digits and _ + - . may be used", id)
		}
	}
	return nil
}

// Status asks the kernel what the container is doing.
func (c *Container) Status() Status {
	if c.state.Pid == 0 {
		if alive(c.state.Creator, c.state.CreatorStart) {
			return Creating
		}
		return Stopped
	}
	if !alive(c.state.Pid, c.state.Start) {
		return Stopped
	}
	waiting := c.waiting()
	if waiting && c.process != nil {
		return Created // nobody else knows of it yet
	}
	if c.state.Phase != "" && alive(c.state.Creator, c.state.CreatorStart) {
		return c.state.Phase
	}
	if m, err := c.cgroup(); err == nil {
		if frozen, err := m.Frozen(); err == nil && frozen {
			return Paused
		}
	}
	if waiting {
		return Created
	}
	return Running
}

// enter records that the container is in another phase now, where that is recorded at all.
func (c *Container) enter(phase Status) error {
	if c.state.Phase == "" || c.state.Phase == phase {
		return nil
	}
	c.state.Phase = phase
	return c.record()
}

// record writes what has changed. A container that was deleted meanwhile stays so.
func (c *Container) record() error {
	err := state.RewriteJSON(c.runtime.statePath(c.state.ID), c.state)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("container %q was deleted by somebody else while it was created: %w", c.state.ID, err)
	}
	return err
}

// waiting says whether init stands at the start barrier.
func (c *Container) waiting() bool {
	if c.process != nil {
		return !c.process.started // the creator knows it without looking
	}
	_, err := os.Lstat(filepath.Join(c.runtime.dir(c.state.ID), startSocket))
	return err == nil
}

// alive says whether the process exists, is the one that was meant, and is neither dead nor a zombie.
func alive(pid int, start uint64) bool {
	if pid <= 0 {
		return false
	}
	stat, err := readStat(pid)
	return err == nil && stat.start == start && stat.state != 'Z' && stat.state != 'X'
}

type procStat struct {
	state byte
	ppid  int
	start uint64
}

// readStat reads /proc/PID/stat: proc_pid_stat(5). The name in parentheses may hold anything, so it is skipped from behind.
func readStat(pid int) (procStat, error) {
	return readStatFile("/proc/" + strconv.Itoa(pid) + "/stat")
}

func readStatFile(path string) (procStat, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return procStat{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return procStat{}, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return parseStat(buf[:n])
}

func parseStat(text []byte) (procStat, error) {
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return procStat{}, fmt.Errorf("no process name in %q", text)
	}
	fields := bytes.Fields(text[end+1:])
	if len(fields) < 20 || len(fields[0]) != 1 {
		return procStat{}, fmt.Errorf("too few fields in %q", text)
	}
	ppid, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return procStat{}, err
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	return procStat{state: fields[0][0], ppid: ppid, start: start}, err
}
