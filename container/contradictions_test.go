package container

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestContradictions: a config that says two things at once, or what cannot be, is refused by the member's name, and nothing is
// left of the attempt. The judges take some of these silently.
func TestContradictions(t *testing.T) {
	users := func(s *specs.Spec, list ...specs.LinuxIDMapping) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings, s.Linux.GIDMappings = list, mapping(100000)
	}
	adj, errno, large := 1001, uint(5), uint(4096)
	rule := func(action specs.LinuxSeccompAction, errno *uint) *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: action, ErrnoRet: errno}}}
	}
	device := func(path string, major, minor int64) specs.LinuxDevice {
		return specs.LinuxDevice{Path: path, Type: "c", Major: major, Minor: minor}
	}
	for _, c := range []struct {
		want   string
		change func(*specs.Spec)
	}{
		{`ociVersion: "1.x"`, func(s *specs.Spec) { s.Version = "1.x" }},
		{`ociVersion: "1"`, func(s *specs.Spec) { s.Version = "1" }},
		{"process.oomScoreAdj: 1001", func(s *specs.Spec) { s.Process.OOMScoreAdj = &adj }},
		{"process.rlimits: RLIMIT_CORE is there twice", func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}, {Type: "RLIMIT_CPU", Hard: 9}, {Type: "RLIMIT_CORE"}}
		}},
		{"process.rlimits: RLIMIT_CORE: the soft limit 9", func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 9, Hard: 8}} }},
		{"process.capabilities.effective: CAP_KILL", func(s *specs.Spec) {
			s.Process.Capabilities.Permitted, s.Process.Capabilities.Effective = []string{"CAP_CHOWN"}, []string{"cap_chown", "CAP_KILL"}
		}},
		{"linux.uidMappings: 0 100000 10 and 9 200000 10 overlap", func(s *specs.Spec) {
			users(s, specs.LinuxIDMapping{HostID: 100000, Size: 10}, specs.LinuxIDMapping{ContainerID: 9, HostID: 200000, Size: 10})
		}},
		{"linux.uidMappings: 0 100000 10 and 10 100009 10 overlap", func(s *specs.Spec) {
			users(s, specs.LinuxIDMapping{HostID: 100000, Size: 10}, specs.LinuxIDMapping{ContainerID: 10, HostID: 100009, Size: 10})
		}},
		{"linux.uidMappings: a mapping of no ids", func(s *specs.Spec) { users(s, specs.LinuxIDMapping{HostID: 100000}) }},
		{"linux.uidMappings: 0 4294967290 6 goes beyond", func(s *specs.Spec) { users(s, specs.LinuxIDMapping{HostID: 4294967290, Size: 6}) }},
		{"linux.uidMappings: 341 mappings", func(s *specs.Spec) { users(s, make([]specs.LinuxIDMapping, 341)...) }},
		{"linux.sysctl: \"kernel.hostname\"", func(s *specs.Spec) {
			s.Hostname, s.Linux.Sysctl = "a", map[string]string{"kernel.hostname": "b"}
		}},
		{"linux.sysctl: \"kernel.domainname\"", func(s *specs.Spec) {
			s.Domainname, s.Linux.Sysctl = "a", map[string]string{"kernel.domainname": "b"}
		}},
		{"linux.devices: /dev/x: the kernel has no device -1:3", func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{device("/dev/x", -1, 3)} }},
		{"linux.devices: /dev/x: the kernel has no device 1:1048576", func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{device("/dev/x", 1, 1<<20)} }},
		{"linux.devices: /dev/x is there twice", func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{device("/dev/x", 1, 3), device("/dev/y", 1, 3), device("/dev//x", 1, 5)}
		}},
		{"mounts: ", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/..", Type: "tmpfs", Source: "x"})
		}},
		{`linux.seccomp.architectures: unknown architecture "SCMP_ARCH_NOPE"`, func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchS390X, "SCMP_ARCH_NOPE"}}
		}},
		{"linux.seccomp.syscalls: mkdir: errnoRet", func(s *specs.Spec) { s.Linux.Seccomp = rule(specs.ActKillProcess, &errno) }},
		{"linux.seccomp.syscalls: mkdir: errno 4096", func(s *specs.Spec) { s.Linux.Seccomp = rule(specs.ActErrno, &large) }},
		{"linux.seccomp.defaultAction: errnoRet", func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActLog, DefaultErrnoRet: &errno}
		}},
	} {
		spec, err := NewSpec(shell("true"))
		must(t, err)
		c.change(spec)
		r := newRuntime(t)
		if _, err := runSpec(t, r, newBundle(t), spec); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
		if list, err := r.List(); err != nil || len(list) != 0 {
			t.Errorf("%s: left over: %v %v", c.want, list, err)
		}
	}
}

// TestPidFileNowhere: no directory is made for a pid file, at create as at exec.
func TestPidFileNowhere(t *testing.T) {
	c := startSpec(t, shell("sleep 1000"), func(*specs.Spec) {})
	dir := filepath.Join(t.TempDir(), "absent")
	p := specs.Process{Args: []string{"true"}, Env: []string{"PATH=/bin"}, Cwd: "/"}
	_, err := c.Exec(t.Context(), ExecOptions{Process: &p, PidFile: dir + "/pid"})
	spec, specErr := NewSpec(shell("true"))
	must(t, specErr)
	r := newRuntime(t)
	_, createErr := r.Create(t.Context(), CreateOptions{ID: "nowhere", Bundle: newBundle(t), Spec: spec, PidFile: dir + "/pid"})
	for _, err := range []error{err, createErr} {
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "pid file") {
			t.Error(err)
		}
	}
	if list, err := r.List(); err != nil || len(list) != 0 {
		t.Errorf("left over: %v %v", list, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory: %v", err)
	}
}

// TestDeviceModes: all twelve bits of a mode, and a device that is there twice.
func TestDeviceModes(t *testing.T) {
	spec, err := NewSpec(shell("stat -c %a /dev/own"))
	must(t, err)
	mode := os.FileMode(0o1666)
	own := specs.LinuxDevice{Path: "/dev/own", Type: "c", Major: 1, Minor: 3, FileMode: &mode}
	spec.Linux.Devices = []specs.LinuxDevice{own, own}
	res, err := runSpec(t, newRuntime(t), newBundle(t), spec)
	if err != nil || res.out != "1666\n" {
		t.Errorf("%q %v", res.out, err)
	}
}
