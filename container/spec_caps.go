package container

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// DefaultCapabilities are the fourteen that Docker leaves to a container's root.
func DefaultCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
		"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// capabilityNames are the kernel's, in the order of their numbers: capabilities(7), linux/capability.h.
func capabilityNames() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
		"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
		"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
		"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
		"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
		"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
	}
}

// AllCapabilities are those that this process may hand on: its bounding set. A host may have taken some away for good.
func AllCapabilities() []string {
	var list []string
	for n, name := range capabilityNames() {
		if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0); err == nil && has == 1 {
			list = append(list, name)
		}
	}
	return list
}

// capabilitySets says what root in the container may do. Inheritable and ambient stay empty, or a program run by
// another user would be handed root's powers (CVE-2022-24769).
func capabilitySets(o SpecOptions) (*specs.LinuxCapabilities, error) {
	list, err := effectiveCapabilities(o)
	if err != nil {
		return nil, err
	}
	c := &specs.LinuxCapabilities{Bounding: list, Permitted: list, Effective: list}
	return c, nil
}

func effectiveCapabilities(o SpecOptions) ([]string, error) {
	add, err := normalCapabilities("add", o.CapAdd)
	if err != nil {
		return nil, err
	}
	drop, err := normalCapabilities("drop", o.CapDrop)
	if err != nil {
		return nil, err
	}
	if o.Privileged {
		return AllCapabilities(), nil
	}
	base := DefaultCapabilities()
	switch {
	case slices.Contains(add, "ALL"):
		base, add = AllCapabilities(), nil
	case slices.Contains(drop, "ALL"):
		base, drop = nil, nil
	}
	var list []string
	for _, name := range append(base, add...) {
		if !slices.Contains(drop, name) && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list, nil
}

// normalCapabilities writes capability names as the kernel's header does and refuses unknown ones.
func normalCapabilities(verb string, names []string) ([]string, error) {
	known := capabilityNames()
	var list []string
	for _, given := range names {
		name := strings.ToUpper(given)
		if name != "ALL" && !strings.HasPrefix(name, "CAP_") {
			name = "CAP_" + name
		}
		if name == "CAP_ALL" {
			name = "ALL"
		}
		if name != "ALL" && !slices.Contains(known, name) {
			return nil, fmt.Errorf("invalid capability to %s: unknown capability: %q: capabilities(7) lists them", verb, given)
		}
		list = append(list, name)
	}
	return list, nil
}

// CapabilityNames are all that the runtime knows.
func CapabilityNames() []string { return capabilityNames() }
