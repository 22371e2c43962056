// Package cgroups limits and counts what a group of processes uses: a limit is a number written into a file.
//
// The kernel has two versions. In v1 (v1.go) every controller is a tree of its own, and a container has a directory in
// each; in v2 (v2.go) there is one tree. What to write is decided by pure functions (Values), and written by one loop.
//
// See it live: `cat /proc/PID/cgroup`, then `cat /sys/fs/cgroup/memory/mydocker/ID/memory.limit_in_bytes` (v1) or
// `cat /sys/fs/cgroup/mydocker/ID/memory.max` (v2).
//
// It is not a scheduler of its own, and it does not touch groups that it did not make.
package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// Manager is one container's group. Path names it; nothing is remembered, so a Manager can be made at any time.
type Manager interface {
	// Path is the group's path below the cgroup mounts: "/mydocker/<id>".
	Path() string
	// Create makes the group. One that exists is kept.
	Create() error
	// Set writes limits and device rules.
	Set(*specs.LinuxResources) error
	// Add moves a process, with all its threads, into the group.
	Add(pid int) error
	// AddSelf moves the calling thread, so that what it forks is born in the group (v1). In v2 use Dir with clone3.
	AddSelf() error
	// Dir opens the group's directory for clone3(CLONE_INTO_CGROUP); nil in v1, which cannot do that.
	Dir() (*os.File, error)
	// Procs lists the processes in the group and below it.
	Procs() ([]int, error)
	Stats() (*Stats, error)
	// Freeze stops all processes and returns when they have stopped; Thaw lets them go on.
	Freeze() error
	Thaw() error
	Frozen() (bool, error)
	// Signal sends a signal to every process.
	Signal(unix.Signal) error
	// OOMKills counts the processes that the kernel killed in the group for want of memory.
	OOMKills() (uint64, error)
	// Delete kills what is left and removes the group. Absent is success.
	Delete() error

	completed(*specs.LinuxResources) (*specs.LinuxResources, error) // complete.go
}

// Stats is what a group has used.
type Stats struct {
	Time   time.Time
	CPU    CPUStats
	Memory MemoryStats
	Pids   PidsStats
	Blkio  BlkioStats
}

// CPUStats are in nanoseconds.
type CPUStats struct {
	Usage, User, System                uint64
	Periods, Throttled, ThrottledNanos uint64
}

// MemoryStats are in bytes. Usage includes the page cache; what can be given back at once (inactive files) is in Cache.
type MemoryStats struct {
	Usage, MaxUsage, Limit uint64
	Cache                  uint64 // inactive file pages: `docker stats` subtracts them
	Swap                   uint64
	OOMKills               uint64
	Detail                 map[string]uint64 // memory.stat
}

// PidsStats counts processes and threads. Limit 0 means none.
type PidsStats struct{ Current, Limit uint64 }

// BlkioStats are in bytes.
type BlkioStats struct{ Read, Write uint64 }

// ErrUnavailable says that the host has not mounted a controller that a limit needs.
var ErrUnavailable = errors.New("cgroup controller is not available")

// Mount is where the host keeps its cgroups: systemd's place, which all distributions share.
const Mount = "/sys/fs/cgroup"

// Open names a group; it has no effect. The version is the host's: one statfs(2) tells it.
func Open(path string, w plan.Watcher) (Manager, error) {
	return openAt(Mount, path, w)
}

func openAt(mount, path string, w plan.Watcher) (Manager, error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
		return nil, fmt.Errorf("cgroup path %q is not a clean absolute path below the root group", path)
	}
	v2, err := unified(mount)
	if err != nil {
		return nil, err
	}
	if v2 {
		return &v2Group{mount: mount, path: path, watch: w}, nil
	}
	if nothingToJoin(mount) {
		return noGroup{path}, nil
	}
	return &v1Group{mount: mount, path: path, watch: w}, nil
}

// IsV2 says whether the host has the one tree of version 2 (true) or a tree for each controller (false).
func IsV2() (bool, error) { return unified(Mount) }

func unified(mount string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(mount, &st); err != nil {
		return false, fmt.Errorf("no cgroups on this host: %s: %w", mount, err)
	}
	return st.Type == unix.CGROUP2_SUPER_MAGIC, nil
}

// Setting is one limit: a value to be written into a file of the group.
type Setting struct {
	Controller string // v1: the tree; v2: only for messages
	File       string
	Value      string
	Reason     string
}

// DeleteEmpty removes a group that other groups were in, if none is any more: `rmdir /sys/fs/cgroup/*/mydocker`. In use,
// and absent, are success.
func DeleteEmpty(path string) error {
	v2, err := IsV2()
	if err != nil {
		return err
	}
	dirs := []string{filepath.Join(Mount, path)}
	if !v2 {
		dirs = nil
		for _, c := range v1Controllers() {
			dirs = append(dirs, filepath.Join(Mount, c, path))
		}
	}
	for _, dir := range dirs {
		switch err := unix.Rmdir(dir); err {
		case nil, unix.ENOENT, unix.EBUSY, unix.ENOTEMPTY:
		default:
			return fmt.Errorf("remove the empty cgroup %s: %w", dir, err)
		}
	}
	return nil
}
