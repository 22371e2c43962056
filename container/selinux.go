package container

import (
	"errors"
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// SELinux: each process and each file has a label, user:role:type:level, and the host's policy says which type may do what to which:
// selinux(8). Unlike AppArmor's profiles labels are on files too, so a container that has one of its own can read only what is
// labelled for it. See it live: `ps -Z`, `ls -Z`, `cat /proc/PID/attr/current`.

// HasSELinux says whether the host's kernel has a policy to enforce. Before one is loaded each process is called "kernel".
// Without SELinux it is one system call.
func HasSELinux() bool {
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/selinux", &st); err != nil || uint32(st.Type) != unix.SELINUX_MAGIC {
		return false
	}
	label, err := os.ReadFile("/proc/thread-self/attr/current")
	return err == nil && strings.Trim(string(label), "\x00\n") != "kernel"
}

// CheckLabel is an error if the running policy has no such label: it answers whoever writes one into this file. "" is no label, and right.
func CheckLabel(label string) error {
	if label == "" {
		return nil
	}
	err := os.WriteFile("/sys/fs/selinux/context", append([]byte(label), 0), 0)
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%q is no label of this host's SELinux policy (see `seinfo -t`): %w", label, err)
	}
	return wrap("ask SELinux about "+label, err)
}

// validateLabels refuses a label that nobody would enforce. That of mounts alone is a warning without SELinux, as runc and crun
// take it: there is nothing that it could protect.
func validateLabels(p *specs.Process, mounts string) error {
	if p.SelinuxLabel == "" && mounts == "" {
		return nil
	}
	if !HasSELinux() {
		if p.SelinuxLabel == "" {
			return nil
		}
		return fmt.Errorf("process.selinuxLabel: %q cannot be enforced: this host has no SELinux, or no policy is loaded: %w", p.SelinuxLabel, errors.ErrUnsupported)
	}
	for member, label := range map[string]string{"process.selinuxLabel": p.SelinuxLabel, "linux.mountLabel": mounts} {
		if err := CheckLabel(label); err != nil {
			return fmt.Errorf("%s: %w", member, err)
		}
	}
	return nil
}

// selinux writes the labels of the keyring that is made next and of the program that is executed next. execve forgets both.
func (p *program) selinux(label string) {
	p.attribute("self/attr/keycreate", label, "label the keyring "+label)
	p.attribute("self/attr/exec", label, "enter the SELinux label "+label)
	p.closeProc()
}

// mountLabelled says whether files in a file system of this type have a label because their mount has one. Those of the kernel's
// own have labels by the policy, and one message queue file system serves a whole ipc namespace.
func mountLabelled(kind string) bool {
	switch kind {
	case "proc", "sysfs", "cgroup", "cgroup2", "mqueue":
		return false
	}
	return true
}
