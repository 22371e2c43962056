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
	"os"
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

// Open names a group; it has no effect. The version is the host's.
func Open(path string, w plan.Watcher) (Manager, error) { return nil, errors.ErrUnsupported }
