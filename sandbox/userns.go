package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/lang"
)

// Without root, a sandbox lives in a user namespace (user_namespaces(7)): its user is root in there, and owns all the other
// namespaces that are made from it. The user's own id becomes 0. More ids than this one can only be had from
// newuidmap(1), which is set-user-id root and gives what /etc/subuid grants.

// mayMakeNamespaces says early and in words what clone(2) would say with a number.
func mayMakeNamespaces() error {
	if os.Geteuid() == 0 {
		if !haveCapability(unix.CAP_SYS_ADMIN) {
			return errors.New("namespaces need CAP_SYS_ADMIN, which this root does not have (a container without --privileged?): run it on the machine itself, or as a user where user namespaces are allowed")
		}
		return nil
	}
	if limit, err := os.ReadFile("/proc/sys/user/max_user_namespaces"); err == nil && strings.TrimSpace(string(limit)) == "0" {
		return lang.Errorf(nil, "sandbox.error-switched-off")
	}
	if allowed, err := os.ReadFile("/proc/sys/kernel/unprivileged_userns_clone"); err == nil && strings.TrimSpace(string(allowed)) == "0" {
		return lang.Errorf(nil, "sandbox.error-root-only")
	}
	return nil
}

func haveCapability(bit uint) bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(status), "CapEff:\t")
	word, _, _ := strings.Cut(rest, "\n")
	set, err := strconv.ParseUint(word, 16, 64)
	return err == nil && set>>bit&1 == 1
}

func explainUserNamespace(err error, rootless bool) error {
	if !rootless || !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("make a user namespace: %w: this machine does not let users have them (on Ubuntu: `sysctl kernel.apparmor_restrict_unprivileged_userns`); use sudo", err)
}

// haveRanges says whether this user can have more than one id.
func haveRanges() bool {
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(tool); err != nil {
			return false
		}
	}
	return subordinate("/etc/subuid") != nil && subordinate("/etc/subgid") != nil
}

// subordinate is the words "first count" that a file of subuid(5) has for this user, nil if there are none.
func subordinate(file string) []string {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	id := strconv.Itoa(os.Getuid())
	name := id
	if u, err := user.LookupId(id); err == nil {
		name = u.Username
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 3 && (f[0] == name || f[0] == id) && f[2] != "0" {
			return f[1:]
		}
	}
	return nil
}

// waitForIDs is in the environment of a launch that has to wait for its ids.
const waitForIDs = "MYDOCKER_SANDBOX_WAIT"

// ownUsers has the command born in a user namespace. mapped is to be called after its start; it gives the ids where the kernel
// does not let us write them ourselves.
func (sb *Sandbox) ownUsers(cmd *exec.Cmd) (mapped func() error, err error) {
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
	uid, gid := os.Getuid(), os.Getgid()
	if !sb.Ranged {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
		return func() error { return nil }, nil
	}
	wait, tell, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, wait)
	cmd.Env = append(os.Environ(), waitForIDs+"=1")
	return func() error {
		defer tell.Close() // lets launch go on
		defer wait.Close()
		for _, m := range []struct {
			tool, file string
			id         int
		}{{"newuidmap", "/etc/subuid", uid}, {"newgidmap", "/etc/subgid", gid}} {
			words := append([]string{strconv.Itoa(cmd.Process.Pid), "0", strconv.Itoa(m.id), "1", "1"}, subordinate(m.file)...)
			if out, err := exec.Command(m.tool, words...).CombinedOutput(); err != nil {
				return fmt.Errorf("%s %s: %w: %s", m.tool, strings.Join(words, " "), err, out)
			}
		}
		return nil
	}, nil
}

// getRights waits until launch's user namespace has its ids, and executes launch again: a process that was born before the ids
// has lost its capabilities by execve, and gets them as user 0.
func getRights() error {
	if _, err := os.NewFile(mapsFD, "ids").Read(make([]byte, 1)); err == nil {
		return errors.New("something was written where nothing should be")
	}
	if err := os.Unsetenv(waitForIDs); err != nil {
		return err
	}
	for _, fd := range []int{aliveFD, readyFD} { // Go's own start has not marked them, execve is to keep them
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return err
		}
	}
	if err := unix.Setresgid(0, 0, 0); err != nil {
		return fmt.Errorf("become group 0 of the user namespace: %w", err)
	}
	if err := unix.Setresuid(0, 0, 0); err != nil {
		return fmt.Errorf("become user 0 of the user namespace: %w", err)
	}
	return unix.Exec("/proc/self/exe", os.Args, os.Environ())
}
