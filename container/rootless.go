package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

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
	if os.Geteuid() != 0 && len(p.User.AdditionalGids) > 0 {
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/setgroups", c.state.Pid)); err == nil && string(text) == "deny\n" {
			return nil, errNoGroups
		}
	}
	if !userns.Inside() {
		return p, nil
	}
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", c.state.Pid))
	if own, _ := os.Readlink("/proc/self/ns/user"); err == nil && own != theirs {
		return p, nil
	}
	return fitProcess(p)
}

// A user who is not root makes a container in a user namespace, of which he is root. He may map his own ids there himself; others
// are given by newuidmap(1) and newgidmap(1), as far as /etc/subuid and /etc/subgid grant them.

// checkUser refuses what such a user cannot have.
func checkUser(s *specs.Spec) error {
	switch {
	case os.Geteuid() == 0:
		return nil
	case !hasUserNS(s):
		return errors.New("linux.namespaces: a user who is not root needs a user namespace: add {\"type\": \"user\"} and mappings, as `spec --rootless` does")
	case len(s.Process.User.AdditionalGids) > 0 && owns(s, specs.UserNamespace) && mapsOnlyHimself(s.Linux):
		return errNoGroups
	}
	return nil
}

var errNoGroups = errors.New("process.user.additionalGids: a user who has mapped his one id himself can give no groups (user_namespaces(7), setgroups)")

// mapsOnlyHimself says whether mappings are those that the kernel lets a user write.
func mapsOnlyHimself(l *specs.Linux) bool {
	one := func(list []specs.LinuxIDMapping, own int) bool {
		return len(list) == 1 && list[0].Size == 1 && list[0].HostID == uint32(own)
	}
	return one(l.UIDMappings, os.Geteuid()) && one(l.GIDMappings, os.Getegid())
}

// lendIDs makes the user namespace of a user's container with more ids than his own. The namespace lives on in the container.
func (j *createJob) lendIDs() (release func(), err error) {
	l := j.spec.Linux
	if os.Geteuid() == 0 || !owns(j.spec, specs.UserNamespace) || j.options.UserNS != "" || mapsOnlyHimself(l) {
		return func() {}, nil
	}
	holder, err := hold(&syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER})
	if err != nil {
		return nil, err
	}
	err = errors.Join(mapIDs("newuidmap", "linux.uidMappings", holder.pid, l.UIDMappings), mapIDs("newgidmap", "linux.gidMappings", holder.pid, l.GIDMappings))
	if err != nil {
		holder.Release()
		return nil, err
	}
	j.options.UserNS = holder.Path("user")
	return holder.Release, nil
}

// mapIDs is `newuidmap PID CONTAINER HOST SIZE …`.
func mapIDs(tool, field string, pid int, list []specs.LinuxIDMapping) error {
	words := []string{strconv.Itoa(pid)}
	for _, m := range list {
		for _, n := range []uint32{m.ContainerID, m.HostID, m.Size} {
			words = append(words, strconv.FormatUint(uint64(n), 10))
		}
	}
	out, err := exec.Command(tool, words...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %s %s: %w: %s", field, tool, strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// ungrouped lists the processes of a container that is in no cgroup: those of its pid namespace. With cgroups there are none.
func (c *Container) ungrouped() (pids []int) {
	if c.state.Cgroup != "" && (!userns.Inside() || cgroups.Mounted()) {
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
