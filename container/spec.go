package container

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// SpecOptions is what can be said about a container before it becomes a runtime-spec document. The zero value of a
// field means Docker's default.
type SpecOptions struct {
	Args       []string
	Env        []string // NAME=value; PATH is not added
	Cwd        string   // "" means /
	User       specs.User
	TTY        bool
	Console    *specs.Box // the terminal's first size
	Hostname   string
	Domainname string

	// RootPath is the root file system's directory; "" means "rootfs" in the bundle.
	RootPath       string
	ReadonlyRootfs bool
	// Mounts come after the default ones, sorted so that a parent is mounted before its child. One whose destination is
	// that of a default mount replaces it.
	Mounts []specs.Mount
	// ShmSize is the size of /dev/shm in bytes; 0 means 64 MiB.
	ShmSize int64
	// Init puts a reaper (InitBinary, bind-mounted read-only on /sbin/docker-init) above the command as process 1.
	Init       bool
	InitBinary string // this program's own path

	// NetNS, PIDNS, IPCNS, UTSNS and CgroupNS choose namespaces: "" or "private" is a new one, "host" the host's, anything else a path.
	NetNS, PIDNS, IPCNS, UTSNS, CgroupNS string
	// UIDMappings and GIDMappings, if any, ask for a new user namespace.
	UIDMappings, GIDMappings []specs.LinuxIDMapping

	Resources   *specs.LinuxResources // limits; the device rules are added to a copy
	CgroupsPath string
	Rlimits     []specs.POSIXRlimit
	Sysctls     map[string]string
	OOMScoreAdj *int
	Devices     []Device
	// DeviceRules are added after the default rules, as --device-cgroup-rule says them.
	DeviceRules []specs.LinuxDeviceCgroup

	CapAdd, CapDrop []string // with or without CAP_, any case; ALL
	Privileged      bool
	NoNewPrivileges bool
	// Seccomp is the system call filter; nil means Docker's default for these capabilities, and none for a privileged
	// container. Unconfined switches it off.
	Seccomp *specs.LinuxSeccomp
	// SeccompProfile is a filter as Docker's profiles are written (JSON), for these capabilities; it goes before Seccomp.
	SeccompProfile []byte
	// MaskedPaths and ReadonlyPaths replace the default lists; an empty, non-nil list means none.
	MaskedPaths, ReadonlyPaths []string
	AppArmorProfile            string
	SELinuxLabel, MountLabel   string
	// RootfsPropagation is private, slave, shared or unbindable, with or without a leading r; "" means slave.
	RootfsPropagation string

	Annotations map[string]string
}

// Device is a device node to make in the container, and what the container's processes may do with it.
type Device struct {
	specs.LinuxDevice
	Access string // any of r, w, m
}

// InitPath is where the reaper stands in a container that was asked for one; the name is Docker's.
const InitPath = "/sbin/docker-init"

// NewSpec makes the runtime-spec document that Docker would make of the same wishes. It is pure: it reads nothing of
// the host but the options, except that Privileged asks the process for its own bounding set.
func NewSpec(o SpecOptions) (*specs.Spec, error) {
	if len(o.Args) == 0 || o.Args[0] == "" {
		return nil, fmt.Errorf("no command specified: name one after the image")
	}
	caps, err := capabilitySets(o)
	if err != nil {
		return nil, err
	}
	mounts, err := allMounts(o)
	if err != nil {
		return nil, err
	}
	if err := checkSysctls(o); err != nil {
		return nil, err
	}
	filter, err := seccompOf(o, caps.Bounding)
	if err != nil {
		return nil, err
	}
	args := o.Args
	if o.Init {
		args = append([]string{InitPath, "--"}, args...)
	}
	root := o.RootPath
	if root == "" {
		root = "rootfs"
	}
	cwd := o.Cwd
	if cwd == "" {
		cwd = "/"
	}
	if !filepath.IsAbs(cwd) {
		return nil, fmt.Errorf("the working directory %q is invalid, it needs to be an absolute path", cwd)
	}
	s := &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Terminal: o.TTY, ConsoleSize: o.Console, User: o.User, Args: args, Env: o.Env, Cwd: filepath.Clean(cwd),
			Capabilities: caps, Rlimits: o.Rlimits, NoNewPrivileges: o.NoNewPrivileges, OOMScoreAdj: o.OOMScoreAdj,
			ApparmorProfile: o.AppArmorProfile, SelinuxLabel: o.SELinuxLabel,
		},
		Root:        &specs.Root{Path: root, Readonly: o.ReadonlyRootfs},
		Hostname:    o.Hostname,
		Domainname:  o.Domainname,
		Mounts:      mounts,
		Annotations: o.Annotations,
		Linux: &specs.Linux{
			UIDMappings: o.UIDMappings, GIDMappings: o.GIDMappings,
			Sysctl: o.Sysctls, Resources: resourcesWithDevices(o), CgroupsPath: o.CgroupsPath,
			Namespaces: namespaces(o), Seccomp: filter, RootfsPropagation: o.RootfsPropagation, MountLabel: o.MountLabel,
		},
	}
	if !o.Privileged {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = DefaultMaskedPaths(), DefaultReadonlyPaths()
	}
	if o.MaskedPaths != nil {
		s.Linux.MaskedPaths = o.MaskedPaths
	}
	if o.ReadonlyPaths != nil {
		s.Linux.ReadonlyPaths = o.ReadonlyPaths
	}
	for _, d := range o.Devices {
		s.Linux.Devices = append(s.Linux.Devices, d.LinuxDevice)
	}
	return s, nil
}

// namespaces lists those that the container has for itself or shares by path. One that is the host's is not listed.
func namespaces(o SpecOptions) []specs.LinuxNamespace {
	list := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	add := func(kind specs.LinuxNamespaceType, which string) {
		switch which {
		case "host":
		case "", "private":
			list = append(list, specs.LinuxNamespace{Type: kind})
		default:
			list = append(list, specs.LinuxNamespace{Type: kind, Path: which})
		}
	}
	add(specs.NetworkNamespace, o.NetNS)
	add(specs.UTSNamespace, o.UTSNS)
	add(specs.PIDNamespace, o.PIDNS)
	add(specs.IPCNamespace, o.IPCNS)
	if o.Privileged && o.CgroupNS == "" {
		return list // Docker gives a privileged container the host's cgroup view on v1 only; see CgroupNS to choose
	}
	add(specs.CgroupNamespace, o.CgroupNS)
	if len(o.UIDMappings)+len(o.GIDMappings) > 0 {
		list = append(list, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	return list
}

// DefaultMaskedPaths are hidden from the container: they tell about, or reach into, the host.
func DefaultMaskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
}

// DefaultReadonlyPaths can be read in the container, and would change the host if they could be written.
func DefaultReadonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// defaultMounts are the mounts that every Docker container has.
func defaultMounts(o SpecOptions) []specs.Mount {
	shm := o.ShmSize
	if shm == 0 {
		shm = 64 << 20
	}
	access := "ro"
	if o.Privileged {
		access = "rw"
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", access}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{access, "nosuid", "noexec", "nodev"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + strconv.FormatInt(shm, 10)}},
	}
}

func allMounts(o SpecOptions) ([]specs.Mount, error) {
	own := slices.Clone(o.Mounts)
	replaced := map[string]bool{}
	for i, m := range own {
		if !filepath.IsAbs(m.Destination) {
			return nil, fmt.Errorf("invalid mount path: %q: mount path must be absolute", m.Destination)
		}
		own[i].Destination = filepath.Clean(m.Destination)
		if own[i].Destination == "/" {
			return nil, fmt.Errorf("invalid mount: destination can't be '/'")
		}
		if replaced[own[i].Destination] {
			return nil, fmt.Errorf("duplicate mount point: %s", own[i].Destination)
		}
		replaced[own[i].Destination] = true
	}
	if o.Init {
		if o.InitBinary == "" {
			return nil, fmt.Errorf("the path of the init program is missing")
		}
		own = append(own, specs.Mount{Destination: InitPath, Type: "bind", Source: o.InitBinary, Options: []string{"bind", "ro", "nosuid", "nodev"}})
	}
	// A parent before its children: else /a would be mounted over /a/b.
	slices.SortStableFunc(own, func(a, b specs.Mount) int {
		return strings.Count(a.Destination, "/") - strings.Count(b.Destination, "/")
	})
	var list []specs.Mount
	for _, m := range defaultMounts(o) {
		if replaced[m.Destination] {
			continue
		}
		// The host's queues. A host that has not mounted them shows them here, as its own are those of the namespace.
		if _, err := os.Stat(m.Destination); m.Type == "mqueue" && o.IPCNS == "host" && err == nil {
			m = specs.Mount{Destination: "/dev/mqueue", Type: "bind", Source: "/dev/mqueue", Options: []string{"rbind", "nosuid", "noexec", "nodev"}}
		}
		list = append(list, m)
	}
	return append(list, own...), nil
}

// checkSysctls refuses a kernel setting that is not the container's own to change.
func checkSysctls(o SpecOptions) error {
	for name := range o.Sysctls {
		switch kind := sysctlNamespace(name); {
		case kind == "":
			return fmt.Errorf("sysctl %q is not in a separate kernel namespace: it would change the host", name)
		case kind == specs.NetworkNamespace && o.NetNS == "host",
			kind == specs.IPCNamespace && o.IPCNS == "host",
			kind == specs.UTSNamespace && o.UTSNS == "host":
			return fmt.Errorf("sysctl %q is not allowed when the container shares the host's %s namespace", name, kind)
		}
	}
	return nil
}

// sysctlNamespace tells which kind of namespace a kernel setting belongs to; "" means to the whole machine.
func sysctlNamespace(name string) specs.LinuxNamespaceType {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." || part == "." || part == "" {
			return "" // net/../kernel/core_pattern is the host's
		}
	}
	name = strings.ReplaceAll(name, "/", ".")
	switch {
	case strings.HasPrefix(name, "net."):
		return specs.NetworkNamespace
	case name == "kernel.domainname", name == "kernel.hostname":
		return specs.UTSNamespace
	case strings.HasPrefix(name, "fs.mqueue."), strings.HasPrefix(name, "kernel.msg"), strings.HasPrefix(name, "kernel.shm"), name == "kernel.sem":
		return specs.IPCNamespace
	}
	return ""
}
