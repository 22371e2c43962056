package container

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// builder turns a bundle's config into steps. It is pure: what it must know of the host it is told.
type builder struct {
	spec     *specs.Spec
	host     hostFacts
	rootPath string // absolute
	warn     func(error)
	steps    []step
	trees    []tree // detached mounts that the creator has to make
}

// hostFacts are what the steps depend on besides the config.
type hostFacts struct {
	cgroupV2    bool
	cgroupPath  string
	controllers []string // v1: the trees in which the container has a group
	detached    bool     // the root file system comes as a mount, not as a path
	bundle      string   // what the sources of bind mounts are relative to
	noPivot     bool
	keepKeyring bool
	labels      bool                // linux.mountLabel means something here
	sources     map[string]*os.File // CreateOptions.Sources
}

// buildConfig is the whole of what init is told.
func buildConfig(s *specs.Spec, rootPath string, host hostFacts, warn func(error)) (*initConfig, error) {
	b := &builder{spec: s, host: host, rootPath: rootPath, warn: warn}
	if err := b.filesystem(); err != nil {
		return nil, err
	}
	b.names()
	last, err := privilegeSteps(s.Process, s.Linux, !unconfined(s.Linux.Seccomp), warn)
	if err != nil {
		return nil, err
	}
	keepGroups(last, s.Annotations)
	if host.keepKeyring {
		last = slices.DeleteFunc(last, func(s step) bool { return s.Kind == stepKeyring })
	}
	c := &initConfig{
		Last:  last,
		Trees: len(b.trees), trees: b.trees,
		HasRootfs: host.detached, Steps: b.steps, Args: s.Process.Args, Env: s.Process.Env, Cwd: s.Process.Cwd,
		UID: uint64(s.Process.User.UID), Terminal: s.Process.Terminal,
	}
	if size := s.Process.ConsoleSize; size != nil {
		c.Rows, c.Cols = uint64(size.Height), uint64(size.Width)
	}
	if s.Hooks != nil {
		for _, h := range s.Hooks.StartContainer {
			c.AfterStart = append(c.AfterStart, containerHook(h, "startContainer"))
		}
	}
	return c, nil
}

func (b *builder) add(s step) { b.steps = append(b.steps, s) }

// owns says whether the container gets a new namespace of this kind; joined ones are entered before init is born.
func owns(s *specs.Spec, kind specs.LinuxNamespaceType) bool {
	for _, n := range s.Linux.Namespaces {
		if n.Type == kind {
			return n.Path == ""
		}
	}
	return false
}

// filesystem is everything up to the moment when the host's tree is gone.
func (b *builder) filesystem() error {
	s := b.spec
	// Not at birth: the namespace's root is the group in which the process then is, and it has only now been moved there.
	if owns(s, specs.CgroupNamespace) {
		b.add(step{Kind: stepUnshareCgroup, Reason: "the container sees its own group as the root"})
	}
	if err := b.timeNamespace(); err != nil {
		return err
	}
	if s.Process.ApparmorProfile != "" && hasAppArmor() || s.Process.SelinuxLabel != "" {
		b.add(step{Kind: stepProcHandle, Reason: "AppArmor's profile and SELinux's label are written through the host's own /proc"})
	}
	if owns(s, specs.NetworkNamespace) {
		b.add(step{Kind: stepLoopback, Reason: "a new network namespace has only a loopback, and that is down"})
	}
	propagation := uint64(unix.MS_SLAVE | unix.MS_REC)
	if p := s.Linux.RootfsPropagation; p != "" {
		flag, ok := propagationFlag(p)
		if !ok {
			return fmt.Errorf("linux.rootfsPropagation: unknown value %q", p)
		}
		if flag&unix.MS_PRIVATE != 0 {
			propagation = unix.MS_PRIVATE | unix.MS_REC
		}
	}
	if !sharesMounts(s) {
		b.add(step{Kind: stepPropagation, Num: [6]uint64{propagation}, Reason: "no mount of the container's may reach the host"})
	}
	root := step{Kind: stepRoot, Source: b.rootPath, Reason: "the root file system, as a mount of its own"}
	if b.host.detached {
		root.Num[0] = 1
	}
	b.add(root)
	if sharesMounts(s) {
		b.add(step{Kind: stepRootPropagation, Num: [6]uint64{unix.MS_PRIVATE | unix.MS_REC}, Reason: "what is mounted in the root stays there"})
	}
	//lint:ignore SA1019 deprecated for those who write configs; a runtime has to run them
	if s.Hooks != nil && len(s.Hooks.Prestart)+len(s.Hooks.CreateRuntime) > 0 {
		b.add(step{Kind: stepHooks, Reason: "hooks that want the namespaces made and the root not yet changed"})
	}
	if err := b.mounts(); err != nil {
		return err
	}
	if err := b.devices(); err != nil {
		return err
	}
	if s.Hooks != nil {
		for _, h := range s.Hooks.CreateContainer {
			b.add(containerHook(h, "createContainer"))
		}
	}
	return b.finishRoot()
}

func containerHook(h specs.Hook, kind string) step {
	hook := step{Kind: stepContainerHook, Target: kind, Source: h.Path, Data: h.Args, Type: strings.Join(h.Env, "\x00"), Reason: "hook " + kind}
	if h.Timeout != nil {
		hook.Num[0] = uint64(*h.Timeout)
	}
	return hook
}

// mounts are the config's, in its order.
func (b *builder) mounts() error {
	for _, m := range b.spec.Mounts {
		if err := b.mount(m); err != nil {
			return fmt.Errorf("mounts: %s: %w", m.Destination, err)
		}
	}
	return nil
}

func (b *builder) mount(m specs.Mount) error {
	o, err := parseMountOptions(m.Options)
	if err != nil {
		return err
	}
	mapped, err := idMapping(m, &o, b.spec)
	if err != nil {
		return err
	}
	if m.Destination == "" {
		return fmt.Errorf("destination is missing")
	}
	if filepath.Clean("/"+m.Destination) == "/" && !o.remount {
		return fmt.Errorf("destination %q: the container's root is root.path, and nothing on top of it would be seen", m.Destination)
	}
	s := step{Target: filepath.Clean("/" + m.Destination), Source: m.Source, Type: m.Type, Reason: mountReason(m)}
	s.Num[numAttrSet], s.Num[numAttrClear], s.Num[numPropagation], s.Num[numAttrBelow] = o.set, o.clear, o.propagation, o.below.pack()
	switch {
	case o.remount:
		s.Kind, s.Data = stepRemount, o.data
	case o.bind || m.Type == "bind":
		return b.bind(m, s, o, mapped)
	case m.Type == "cgroup" || m.Type == "cgroup2":
		return b.cgroupMount(s)
	case m.Type == "":
		return fmt.Errorf("the type is missing")
	default:
		s.Kind, s.Data = stepMount, o.data
		if s.Source == "" {
			s.Source = m.Type
		}
		if b.host.labels && mountLabelled(m.Type) {
			s.Data = append(s.Data, mountContext(b.spec.Annotations, b.spec.Linux.MountLabel))
		}
		if o.copyUp {
			s.Num[numFlags] |= flagCopyUp
		}
		// A proc or sys somewhere else than the container's own directory could have its masks walked around.
		if m.Type == "proc" || m.Type == "sysfs" {
			s.Num[numFlags] |= flagNoSymlink
		}
	}
	b.add(s)
	return nil
}

// bind shows what the host has at a path, or at one in the bundle.
func (b *builder) bind(m specs.Mount, s step, o mountOptions, mapped *idMap) error {
	if len(o.data) > 0 {
		b.warn(fmt.Errorf("mounts: %s: option %q means nothing for a bind mount", m.Destination, o.data[0]))
	}
	if m.Source == "" {
		return fmt.Errorf("the source of a bind mount is missing")
	}
	if !filepath.IsAbs(m.Source) { // runtime-spec, config.md, "Mounts"
		m.Source = filepath.Join(b.host.bundle, m.Source)
	}
	s.Kind, s.Type, s.Source = stepBind, "", m.Source
	if o.recursive {
		s.Num[numRecursive] = 1
	}
	shared := false
	if o.propagation&unix.MS_SHARED != 0 {
		var err error
		if shared, err = isShared(m.Source); err != nil {
			return err
		}
	}
	opened := b.host.sources[m.Destination]
	if mapped != nil || opened != nil || os.Geteuid() == 0 && (hasUserNS(b.spec) || shared) {
		// Init is nobody on the host: it may neither map the ids of a mount nor look into every directory. And what is to be
		// shared with the host must be taken from the host's own tree: init's copy of it hears, and is not heard. A user who is
		// not root may look into no more than init.
		s.handedOver(len(b.trees))
		b.trees = append(b.trees, tree{source: m.Source, opened: opened, recursive: o.recursive, mapped: mapped})
	}
	b.add(s)
	return nil
}

func mountReason(m specs.Mount) string {
	switch m.Type {
	case "proc":
		return "the processes of the new pid namespace, and the kernel's settings"
	case "sysfs":
		return "devices and drivers; network interfaces are the new namespace's"
	case "devpts":
		return "terminals of its own"
	case "mqueue":
		return "POSIX message queues of the ipc namespace"
	}
	switch m.Destination {
	case "/dev":
		return "an empty /dev, so that no device of the host is in it"
	case "/dev/shm":
		return "POSIX shared memory"
	}
	return "as the config says"
}

// cgroupMount shows the container its own group. In v1 that is a tmpfs with one directory for each controller.
func (b *builder) cgroupMount(s step) error {
	if b.host.cgroupV2 {
		if owns(b.spec, specs.CgroupNamespace) {
			s.Kind, s.Type, s.Source, s.Reason = stepMount, "cgroup2", "cgroup", "the container's own group"
		} else {
			s.Kind, s.Source, s.Type, s.Reason = stepBind, filepath.Join("/sys/fs/cgroup", b.host.cgroupPath), "", "the container's own group"
		}
		b.add(s)
		return nil
	}
	readonly := s.Num[numAttrSet] & unix.MOUNT_ATTR_RDONLY
	base := s
	base.Kind, base.Type, base.Source, base.Data = stepMount, "tmpfs", "tmpfs", []string{"mode=755"}
	if b.host.labels {
		base.Data = append(base.Data, mountContext(b.spec.Annotations, b.spec.Linux.MountLabel))
	}
	base.Reason = "a directory for each cgroup controller"
	base.Num[numAttrSet] &^= readonly
	b.add(base)
	for _, c := range b.host.controllers {
		g := s
		g.Kind, g.Type, g.Source = stepCgroup1, c, filepath.Join("/sys/fs/cgroup", c, b.host.cgroupPath)
		g.Target, g.Reason = filepath.Join(s.Target, c), "the container's own group"
		b.add(g)
	}
	if readonly != 0 {
		b.add(step{Kind: stepRemount, Target: s.Target, Num: [6]uint64{readonly}, Reason: "no more directories here"})
	}
	return nil
}

// devices fills /dev, unless the config binds a directory of the host there.
func (b *builder) devices() error {
	for _, m := range b.spec.Mounts {
		if filepath.Clean(m.Destination) == "/dev" && (m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")) {
			return nil
		}
	}
	inUserNS := hasUserNS(b.spec)
	seen := map[string]bool{}
	if err := b.checkDevices(); err != nil {
		return err
	}
	for _, d := range slices.Concat(b.spec.Linux.Devices, DefaultDevices()) {
		path := filepath.Clean("/" + d.Path)
		if seen[path] {
			continue // the config's own description of a default device counts
		}
		seen[path] = true
		s, err := deviceStep(d, path)
		if err != nil {
			return err
		}
		if inUserNS {
			s.Kind, s.Source = stepDeviceBind, d.Path
		}
		b.add(s)
	}
	links := []step{
		{Source: "/proc/self/fd", Target: "/dev/fd"}, {Source: "/proc/self/fd/0", Target: "/dev/stdin"},
		{Source: "/proc/self/fd/1", Target: "/dev/stdout"}, {Source: "/proc/self/fd/2", Target: "/dev/stderr"},
		{Source: "/proc/kcore", Target: "/dev/core"}, {Source: "pts/ptmx", Target: "/dev/ptmx"},
	}
	for _, l := range links {
		if seen[l.Target] {
			continue
		}
		l.Kind, l.Reason = stepSymlink, "a name that programs expect"
		b.add(l)
	}
	return nil
}

func deviceStep(d specs.LinuxDevice, path string) (step, error) {
	kind, ok := map[string]uint64{"c": unix.S_IFCHR, "u": unix.S_IFCHR, "b": unix.S_IFBLK, "p": unix.S_IFIFO}[d.Type]
	if !ok {
		return step{}, fmt.Errorf("linux.devices: %s: unknown type %q", d.Path, d.Type)
	}
	if d.Type != "p" && (d.Major < 0 || d.Major >= 1<<12 || d.Minor < 0 || d.Minor >= 1<<20) {
		return step{}, fmt.Errorf("linux.devices: %s: the kernel has no device %d:%d (majors go to 4095, minors to 1048575)", d.Path, d.Major, d.Minor)
	}
	mode := uint64(0o666)
	if d.FileMode != nil {
		mode = uint64(*d.FileMode) & 0o7777 // the kernel's bits: not those of Go's FileMode
	}
	s := step{Kind: stepDevice, Target: path, Reason: "a device that the container may use"}
	s.Num[0], s.Num[1] = kind|mode, unix.Mkdev(uint32(d.Major), uint32(d.Minor))
	if d.UID != nil {
		s.Num[2] = uint64(*d.UID)
	}
	if d.GID != nil {
		s.Num[3] = uint64(*d.GID)
	}
	return s, nil
}

// finishRoot are the last looks at the host, and the change of root.
func (b *builder) finishRoot() error {
	s := b.spec
	if s.Process.Terminal {
		b.add(step{Kind: stepConsole, Reason: "the container's terminal"})
		b.add(step{Kind: stepConsoleDevice, Target: "/dev/console", Reason: "the terminal under its usual name"})
	}
	names := slices.Sorted(maps.Keys(s.Linux.Sysctl))
	for _, name := range names {
		if err := b.sysctl(name, s.Linux.Sysctl[name]); err != nil {
			return err
		}
	}
	for _, p := range s.Linux.ReadonlyPaths {
		b.add(step{Kind: stepReadonlyPath, Target: filepath.Clean("/" + p), Reason: "writing here would change the host"})
	}
	for _, p := range s.Linux.MaskedPaths {
		b.add(step{Kind: stepMaskPath, Target: filepath.Clean("/" + p), Reason: "reading here would tell about the host"})
	}
	if cwd := filepath.Clean(s.Process.Cwd); cwd != "/" {
		b.add(step{Kind: stepMakeCwd, Target: cwd, Reason: "the working directory is made where it is missing"})
	}
	if s.Root.Readonly {
		b.add(step{Kind: stepReadonlyRoot, Reason: "the root file system may not be written"})
	}
	switch {
	case sharesMounts(s):
		b.add(step{Kind: stepChroot, Num: [6]uint64{1}, Reason: "the root changes for the container's processes alone: its mount namespace is the caller's"})
	case b.host.noPivot:
		b.add(step{Kind: stepChroot, Reason: "the container's root becomes /; the host's tree stays hidden under it"})
	default:
		b.add(step{Kind: stepPivot, Reason: "the container's root becomes /, and the host's tree goes away"})
	}
	// After pivot_root, which refuses a shared root.
	if flag, ok := propagationFlag(s.Linux.RootfsPropagation); ok && flag&(unix.MS_SHARED|unix.MS_UNBINDABLE) != 0 {
		b.add(step{Kind: stepRootPropagation, Num: [6]uint64{flag}, Reason: "as the config says"})
	}
	return nil
}

// names are the host name and the NIS domain.
func (b *builder) names() {
	if name := b.spec.Hostname; name != "" {
		b.add(step{Kind: stepHostname, Source: name, Reason: "a name of its own"})
	}
	if name := b.spec.Domainname; name != "" {
		b.add(step{Kind: stepDomainname, Source: name, Reason: "a NIS domain of its own"})
	}
}
