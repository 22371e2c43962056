package container

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/mydocker/mydocker/plan"
)

// AppArmor: what a program may do is written in a profile of the kernel's, which holds beside capabilities and seccomp, also for
// root: apparmor(7), apparmor.d(5). See it live: `cat /proc/PID/attr/current`, `cat /sys/kernel/security/apparmor/profiles`.

// DefaultAppArmor is the profile of a container that names none. It is loaded by the first container that needs it, and stays
// until the machine goes down, as Docker's does.
const DefaultAppArmor = "mydocker-default"

const (
	appArmorParser   = "/sbin/apparmor_parser"
	appArmorProfiles = "/sys/kernel/security/apparmor/profiles"
	appArmorConfig   = "/etc/apparmor.d/"
)

// hasAppArmor says whether the host's kernel enforces AppArmor profiles. Without AppArmor it is one system call.
func hasAppArmor() bool {
	text, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.TrimSpace(string(text)) == "Y"
}

// LoadsAppArmor says whether a profile of ours could be loaded here. As for Docker that takes AppArmor's own compiler, and this
// must not be a container itself, whose profiles are its host's.
func LoadsAppArmor() bool {
	if !hasAppArmor() || os.Getenv("container") != "" {
		return false
	}
	for _, file := range []string{appArmorProfiles, appArmorParser} {
		if _, err := os.Stat(file); err != nil {
			return false
		}
	}
	return true
}

// LoadDefaultAppArmor loads the default profile unless the kernel has it. Somebody may have taken it away meanwhile
// (`systemctl restart apparmor` does), so each start of a container looks.
func LoadDefaultAppArmor(w plan.Watcher) error {
	loaded, err := os.ReadFile(appArmorProfiles)
	if err != nil {
		return fmt.Errorf("is the AppArmor profile %s loaded: %w", DefaultAppArmor, err)
	}
	if bytes.Contains(append([]byte("\n"), loaded...), []byte("\n"+DefaultAppArmor+" (")) {
		return nil
	}
	op := plan.Step{Cmd: "apparmor_parser --replace --skip-cache  # profile " + DefaultAppArmor, Reason: "what a container may do, also as root, whatever its capabilities"}
	return plan.Do(w, op, func() error {
		cmd := exec.Command(appArmorParser, "--replace", "--skip-cache")
		cmd.Stdin = strings.NewReader(defaultAppArmor(appArmorHas))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("load the AppArmor profile %s: %w: %s (--security-opt apparmor=unconfined does without)", DefaultAppArmor, err, bytes.TrimSpace(out))
		}
		return nil
	})
}

func appArmorHas(include string) bool {
	_, err := os.Stat(appArmorConfig + include)
	return err == nil
}

// defaultAppArmor is Docker's default profile, under our name. has tells which of AppArmor's own pieces the host has.
func defaultAppArmor(has func(include string) bool) string {
	head, inner := "@{PROC}=/proc/\n", ""
	if has("tunables/global") {
		head = "include <tunables/global>\n"
	}
	if has("abi/3.0") {
		head = "abi <abi/3.0>,\n" + head
	}
	if has("abstractions/base") {
		inner = "  include <abstractions/base>\n"
	}
	return head + "\nprofile " + DefaultAppArmor + " flags=(attach_disconnected,mediate_deleted) {\n" + inner + defaultAppArmorRules + "}\n"
}

const defaultAppArmorRules = `  network,
  capability,
  file,
  umount,

  # The host may send signals: stop, kill. So may the container's processes among themselves.
  signal (receive) peer=unconfined,
  signal (receive) peer=runc,
  signal (receive) peer=crun,
  signal (send,receive) peer=` + DefaultAppArmor + `,

  # Of /proc, files in the directories of processes only, and shared memory's settings.
  deny @{PROC}/* w,
  deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,
  deny @{PROC}/sys/[^k]** w,
  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny @{PROC}/sysrq-trigger rwklx,
  deny @{PROC}/kcore rwklx,

  deny mount,

  # Of /sys, cgroups only.
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,

  # Looking at each other: ps.
  ptrace (trace,read,tracedby,readby) peer=` + DefaultAppArmor + `,
`
