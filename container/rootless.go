package container

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/cgroups"
	"github.com/mydocker/mydocker/userns"
)

// fit changes a configuration to what can be had in a user namespace in which this program itself lives (package userns): ids that
// do not exist there are left out of mounts, and said of users. The first namespace has all of them, and costs one system call.
func fit(s *specs.Spec) (*specs.Spec, error) {
	if !userns.Inside() || hasUserNS(s) {
		return s, nil
	}
	fitted := *s
	fitted.Mounts = slices.Clone(s.Mounts)
	for i, m := range fitted.Mounts {
		fitted.Mounts[i].Options = slices.DeleteFunc(slices.Clone(m.Options), absentOwner)
	}
	p, err := fitProcess(s.Process)
	fitted.Process = p
	return &fitted, err
}

// absentOwner finds "gid=5", the group tty of terminals, and "uid=N", where there is no such id.
func absentOwner(option string) bool {
	key, value, _ := strings.Cut(option, "=")
	id, err := strconv.ParseUint(value, 10, 32)
	switch {
	case err != nil:
		return false
	case key == "gid":
		return !userns.HasGroup(uint32(id))
	case key == "uid":
		return !userns.HasUser(uint32(id))
	}
	return false
}

// fitProcess refuses a user whom there is not, and leaves out groups that nobody here can have.
func fitProcess(p *specs.Process) (*specs.Process, error) {
	if !userns.Inside() {
		return p, nil
	}
	if !userns.HasUser(p.User.UID) || !userns.HasGroup(p.User.GID) {
		return nil, fmt.Errorf("user %d:%d does not exist here: this is a user namespace with few ids (cat /proc/self/uid_map); ranges of them need newuidmap, and a line for you in /etc/subuid and /etc/subgid",
			p.User.UID, p.User.GID)
	}
	fitted := *p
	if !userns.MaySetGroups() {
		fitted.User.AdditionalGids = nil
		return &fitted, nil
	}
	fitted.User.AdditionalGids = slices.DeleteFunc(slices.Clone(p.User.AdditionalGids), func(id uint32) bool { return !userns.HasGroup(id) })
	return &fitted, nil
}

// fitExec is fitProcess for one that joins a container, unless that has a user namespace of its own.
func (c *Container) fitExec(p *specs.Process) (*specs.Process, error) {
	if !userns.Inside() {
		return p, nil
	}
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", c.state.Pid))
	if own, _ := os.Readlink("/proc/self/ns/user"); err == nil && own != theirs {
		return p, nil
	}
	return fitProcess(p)
}

// ungrouped lists the processes of a container that is in no cgroup: those of its pid namespace. With cgroups there are none.
func (c *Container) ungrouped() (pids []int) {
	if !userns.Inside() || cgroups.Mounted() {
		return nil
	}
	link := func(pid string) string {
		target, _ := os.Readlink("/proc/" + pid + "/ns/pid") // gone meanwhile is as good as another's
		return target
	}
	own := link(strconv.Itoa(c.state.Pid))
	if own == "" || own == link("self") {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && link(e.Name()) == own {
			pids = append(pids, pid)
		}
	}
	return pids
}
