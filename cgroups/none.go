package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/userns"
)

// noGroup is the group of a container that has none: a user who is not root, and to whom nobody has given a branch of the cgroup
// tree, may make none. Its processes stay in the group of whoever starts them, and are counted and limited there. Limits of
// their own are refused. What is said of devices is granted: a container of such a user can make no device, and has only
// those that it is given.
type noGroup struct{ path string }

// None is the group of a container without a group.
func None() Manager { return noGroup{} }

// nothingToJoin says that no cgroup tree is mounted, in a user namespace to which nobody has given a branch of one.
func nothingToJoin(mount string) bool { return userns.Inside() && !anyTree(mount) }

// IsForbidden says of an error of Create whether it is that this user may make no group: one who is root of no more than a user
// namespace, or not even of that.
func IsForbidden(err error) bool {
	return (errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS)) && (os.Geteuid() != 0 || userns.Inside())
}

func (g noGroup) Path() string            { return g.path }
func (noGroup) Create() error             { return nil }
func (noGroup) Add(int) error             { return nil }
func (noGroup) AddSelf() error            { return nil }
func (noGroup) Dir() (*os.File, error)    { return nil, nil }
func (noGroup) Procs() ([]int, error)     { return nil, nil }
func (noGroup) Frozen() (bool, error)     { return false, nil }
func (noGroup) Signal(unix.Signal) error  { return nil }
func (noGroup) OOMKills() (uint64, error) { return 0, nil }
func (noGroup) Delete() error             { return nil }
func (noGroup) Stats() (*Stats, error)    { return &Stats{Time: time.Now()}, nil }
func (noGroup) Freeze() error             { return errNotPaused }
func (noGroup) Thaw() error               { return errNotPaused }

var errNotPaused = fmt.Errorf("the container has no cgroup, because this user may make none, so it cannot be paused: %w", ErrUnavailable)

func (noGroup) completed(r *specs.LinuxResources) (*specs.LinuxResources, error) { return r, nil }

// Set refuses the first limit.
func (noGroup) Set(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	v2, err := IsV2()
	if err != nil {
		return err
	}
	values := V1Values
	if v2 {
		values = V2Values
	}
	list, err := values(r)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Controller != "devices" {
			return fmt.Errorf("set %s: %w: no branch of the cgroup tree belongs to this user, so limits do not work here; leave the limit out", s.File, ErrUnavailable)
		}
	}
	return nil
}
