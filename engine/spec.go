package engine

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/container"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// spec turns a definition into the runtime-spec document. rootfs is looked into for the names of users and groups.
func (e *Engine) spec(d *Definition, rootfs *os.File) (*specs.Spec, error) {
	o := &d.Options
	netns, err := e.netnsPath(d)
	if err != nil {
		return nil, err
	}
	who, err := lookupUser(rootfs, o.User, o.GroupAdd)
	if err != nil {
		return nil, err
	}
	resources, err := runtimeResources(o.Resources)
	if err != nil {
		return nil, err
	}
	links, err := e.links(d)
	if err != nil {
		return nil, err
	}
	var linkEnv []string
	for _, l := range links {
		linkEnv = append(linkEnv, l.env(d.Name)...)
	}
	mounts, err := e.checkedMounts(d)
	if err != nil {
		return nil, err
	}
	so := container.SpecOptions{
		Args: d.Command(), Cwd: o.WorkingDir, TTY: o.TTY,
		Env:      environment(o, who.home, linkEnv),
		User:     who.User,
		Hostname: o.Hostname, Domainname: o.Domainname,
		ReadonlyRootfs: o.ReadOnly,
		Mounts:         append(e.networkFileMounts(d), mounts...),
		ShmSize:        o.ShmSize,
		Init:           o.Init,
		NetNS:          netns,
		Resources:      resources,
		CgroupsPath:    cgroupPath(o, d.ID),
		Rlimits:        o.Ulimits,
		Sysctls:        o.Sysctls,
		OOMScoreAdj:    o.OomScoreAdj,
		Annotations:    o.Annotations,
		CgroupNS:       o.CgroupnsMode,
		SELinuxLabel:   d.ProcessLabel, MountLabel: d.MountLabel,
	}
	if netns == "" {
		so.NetNS = "host"
	}
	if so.Init {
		if so.InitBinary, err = os.Readlink(e.Executable); err != nil {
			so.InitBinary = e.Executable
		}
	}
	if err := e.applyModes(&so, o); err != nil {
		return nil, err
	}
	if err := applySecurity(&so, o); err != nil {
		return nil, err
	}
	if err := e.applyAppArmor(&so); err != nil {
		return nil, err
	}
	spec, err := container.NewSpec(so)
	if err == nil && o.IpcMode == "none" { // a namespace of its own, and nothing to share memory by
		spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/dev/shm" || m.Type == "mqueue" })
	}
	return spec, err
}

// cgroupRoot is the group that containers' groups are in unless --cgroup-parent says otherwise.
const cgroupRoot = "mydocker"

// cgroupPath is the container's group below the cgroup mounts.
func cgroupPath(o *CreateOptions, id string) string {
	return path.Join("/", or(o.Resources.CgroupParent, cgroupRoot), id)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// environment is what the process finds: Docker's own variables, then the image's and the user's. Nothing of the host's.
func environment(o *CreateOptions, home string, links []string) []string {
	env := []string{defaultPath, "HOSTNAME=" + o.Hostname}
	if o.TTY {
		env = append(env, "TERM=xterm")
	}
	env = mergeEnv(env, links, o.Env)
	for _, kv := range env {
		if strings.HasPrefix(kv, "HOME=") {
			return env
		}
	}
	return append(env, "HOME="+home)
}

// applyModes sets the namespaces that are shared with the host or with another container.
func (e *Engine) applyModes(so *container.SpecOptions, o *CreateOptions) error {
	for _, m := range []struct {
		flag, mode, file string
		to               *string
	}{
		{"--pid", o.PidMode, "pid", &so.PIDNS}, {"--ipc", o.IpcMode, "ipc", &so.IPCNS}, {"--uts", o.UTSMode, "uts", &so.UTSNS},
	} {
		switch ref, ok := strings.CutPrefix(m.mode, modeContainer); {
		case m.mode == "" || m.mode == "private" || m.mode == "shareable" || m.mode == "none" && m.flag == "--ipc":
		case m.mode == "host":
			*m.to = "host"
		case ok && m.flag != "--uts":
			d, err := e.Find(ref)
			if err != nil {
				return fmt.Errorf("%s %s: %w", m.flag, m.mode, err)
			}
			c, err := e.running(d)
			if err != nil {
				return fmt.Errorf("%s %s: %w", m.flag, m.mode, err)
			}
			if m.flag == "--ipc" && d.Options.IpcMode != "shareable" && d.Options.IpcMode != "host" && !strings.HasPrefix(d.Options.IpcMode, modeContainer) {
				return fmt.Errorf("--ipc %s: container %s does not share its IPC namespace (it would, if it were run with --ipc shareable)", m.mode, d.Name)
			}
			*m.to = fmt.Sprintf("/proc/%d/ns/%s", c.Pid(), m.file)
		default:
			return fmt.Errorf("invalid %s mode %q", m.flag, m.mode)
		}
	}
	if so.UTSNS == "host" {
		so.Hostname, so.Domainname = "", ""
	}
	return nil
}

func applySecurity(so *container.SpecOptions, o *CreateOptions) error {
	s := o.Security
	so.CapAdd, so.CapDrop, so.Privileged = s.CapAdd, s.CapDrop, s.Privileged
	if err := applySecurityOpts(so, s.SecurityOpt); err != nil {
		return err
	}
	for _, dev := range o.Devices {
		host, target, access := splitDevice(dev)
		list, err := container.HostDevices(host, target, access)
		if err != nil {
			return err
		}
		so.Devices = append(so.Devices, list...)
	}
	for _, text := range o.DeviceCgroupRules {
		rule, err := parseDeviceRule(text)
		if err != nil {
			return err
		}
		so.DeviceRules = append(so.DeviceRules, rule)
	}
	if s.Privileged {
		list, err := container.HostDevices("/dev", "/dev", "rwm")
		if err != nil {
			return err
		}
		so.Devices = append(so.Devices, list...)
	}
	return nil
}

// account is the process's user with its home directory.
type account struct {
	specs.User
	home string
}

// lookupUser resolves "name", "uid", "name:group" and so on in the root file system's /etc/passwd and /etc/group.
func lookupUser(rootfs *os.File, spec string, groupAdd []string) (a account, err error) {
	passwd, err := openInRoot(rootfs, "etc/passwd")
	if err != nil {
		return a, err
	}
	defer passwd.Close()
	group, err := openInRoot(rootfs, "etc/group")
	if err != nil {
		return a, err
	}
	defer group.Close()
	u, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, passwd.reader(), group.reader())
	if err != nil {
		return a, fmt.Errorf("user %q of the container: %w (mydocker run IMAGE cat /etc/passwd shows those that the image knows)", spec, err)
	}
	a.home = u.Home
	a.UID, a.GID = uint32(u.Uid), uint32(u.Gid)
	gids := u.Sgids
	if len(groupAdd) > 0 {
		if err := group.rewind(); err != nil {
			return a, err
		}
		more, err := user.GetAdditionalGroups(groupAdd, group.reader())
		if err != nil {
			return a, fmt.Errorf("--group-add: %w", err)
		}
		gids = append(gids, more...)
	}
	for _, id := range append([]int{u.Uid, u.Gid}, gids...) {
		// The image's files may say anything: to the kernel -1 would mean root, and so might what is left of a larger number.
		if id < 0 || id > 1<<31-1 {
			return a, fmt.Errorf("user %q of the container: uids and gids must be in range 0-2147483647: /etc/passwd or /etc/group of the image says %d", spec, id)
		}
	}
	// The main group is one of the groups too (CVE-2022-29162 and its kin: a process without it could drop out of it).
	seen := map[uint32]bool{}
	for _, g := range append([]int{u.Gid}, gids...) {
		if !seen[uint32(g)] {
			seen[uint32(g)] = true
			a.AdditionalGids = append(a.AdditionalGids, uint32(g))
		}
	}
	return a, nil
}
