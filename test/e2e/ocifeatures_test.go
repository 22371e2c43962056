package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// A bundle of ours runs under runc and crun, and theirs under ours.
func TestOCIBundlesBothWays(t *testing.T) {
	cleanHost(t)
	ours, runc := runtimes(t)
	text := `"$(id -u) $(cat /proc/sys/kernel/hostname) $(ls / | tr '\n' ' ')"`
	command := func(s *specs.Spec) {
		s.Process.Terminal, s.Process.Args, s.Version = false, []string{"sh", "-c", "echo " + text}, "1.0.2" // the newest that Debian's runc knows
		s.Hostname = "both"
	}
	ways := map[string]string{"ours": ours.program, "runc": "runc", "crun": "crun"}
	want := ""
	for maker, program := range ways {
		if err := os.Remove(filepath.Join(ours.bundle, "config.json")); err != nil {
			t.Fatal(err)
		}
		sh(t, fmt.Sprintf("cd %s && %s spec", ours.bundle, program))
		ours.change(command)
		for runner, program := range ways {
			// crun takes a host with both versions of cgroups for one of version 2, unless it sees the first only.
			line := fmt.Sprintf("umount /sys/fs/cgroup/unified /sys/fs/cgroup/systemd 2>/dev/null; cd %s && exec %s --root %s run both 2>&1", ours.bundle, program, t.TempDir())
			out, err := exec.Command("unshare", "--mount", "sh", "-c", line).Output()
			last := string(out)
			if lines := strings.Split(strings.TrimSpace(last), "\n"); len(lines) > 0 {
				last = lines[len(lines)-1] // before it stand warnings
			}
			if want == "" {
				want = last
			}
			if err != nil || last != want || !strings.HasPrefix(last, "0 both ") {
				t.Errorf("the bundle of %s under %s: %q %v, want %q", maker, runner, out, err, want)
			}
		}
	}
	_ = runc
}

// `features` tells the truth: each thing that it names works, and what it denies is refused.
func TestOCIFeatures(t *testing.T) {
	cleanHost(t)
	ours, _ := runtimes(t)
	var f features.Features
	if err := json.Unmarshal([]byte(ours.must("features")), &f); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(ours.bundle, "config.json")
	good := read(t, config)
	try := func(what string, change func(*specs.Spec)) error {
		t.Helper()
		if err := os.WriteFile(config, []byte(good), 0o644); err != nil {
			t.Fatal(err)
		}
		ours.change(func(s *specs.Spec) { s.Process.Args = []string{"true"}; change(s) })
		if r := ours.run("run", "feature"); r.code != 0 {
			return fmt.Errorf("%s: %s", what, r.err)
		}
		return nil
	}
	works := func(what string, change func(*specs.Spec)) {
		t.Helper()
		if err := try(what, change); err != nil {
			t.Error(err)
		}
	}
	for _, version := range []string{f.OCIVersionMin, f.OCIVersionMax} {
		works("version "+version, func(s *specs.Spec) { s.Version = version })
	}
	for _, kind := range f.Linux.Namespaces {
		works("a namespace of type "+kind, func(s *specs.Spec) {
			if !slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return string(n.Type) == kind }) {
				s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.LinuxNamespaceType(kind)})
			}
			if kind == "user" {
				s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 0, Size: 65536}}
				s.Linux.GIDMappings = s.Linux.UIDMappings
			}
		})
	}
	for _, kind := range []specs.LinuxNamespaceType{"pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"} {
		if !slices.Contains(f.Linux.Namespaces, string(kind)) {
			t.Errorf("features does not name the namespace %q", kind)
		}
	}
	for _, option := range f.MountOptions {
		if option == "remount" {
			continue // of a mount that is there already
		}
		works("the mount option "+option, func(s *specs.Spec) {
			m := specs.Mount{Destination: "/mnt", Type: "bind", Source: t.TempDir(), Options: []string{"bind", option}}
			switch {
			case option == "tmpcopyup":
				m = specs.Mount{Destination: "/bin", Type: "tmpfs", Source: "tmpfs", Options: []string{option}}
			case strings.HasSuffix(option, "idmap"):
				m.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 10}}
				m.GIDMappings = m.UIDMappings
			}
			s.Mounts = append(s.Mounts, m)
		})
	}
	seccomp := func(change func(*specs.LinuxSeccomp)) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"acct"}, Action: specs.ActErrno}}}
			change(s.Linux.Seccomp)
		}
	}
	for _, action := range f.Linux.Seccomp.Actions {
		if action == string(specs.ActNotify) {
			continue // needs somebody who listens: the runtime's own tests have one
		}
		works("the action "+action, seccomp(func(p *specs.LinuxSeccomp) { p.Syscalls[0].Action = specs.LinuxSeccompAction(action) }))
	}
	for _, operator := range f.Linux.Seccomp.Operators {
		works("the operator "+operator, seccomp(func(p *specs.LinuxSeccomp) {
			p.Syscalls[0].Args = []specs.LinuxSeccompArg{{Index: 1, Value: 7, ValueTwo: 7, Op: specs.LinuxSeccompOperator(operator)}}
		}))
	}
	for _, arch := range f.Linux.Seccomp.Archs {
		works("the architecture "+arch, seccomp(func(p *specs.LinuxSeccomp) { p.Architectures = []specs.Arch{specs.Arch(arch)} }))
	}
	for _, flag := range f.Linux.Seccomp.SupportedFlags {
		if flag == string(specs.LinuxSeccompFlagWaitKillableRecv) {
			continue // only with a listener
		}
		works("the flag "+flag, seccomp(func(p *specs.LinuxSeccomp) { p.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlag(flag)} }))
	}
	for _, name := range f.Linux.Capabilities {
		works("the capability "+name, func(s *specs.Spec) { s.Process.Capabilities.Bounding = []string{name} })
	}
	for kind, set := range map[string]func(h *specs.Hooks, list []specs.Hook){
		"prestart": func(h *specs.Hooks, l []specs.Hook) { h.Prestart = l }, "createRuntime": func(h *specs.Hooks, l []specs.Hook) { h.CreateRuntime = l }, //lint:ignore SA1019 a runtime has to run them
		"createContainer": func(h *specs.Hooks, l []specs.Hook) { h.CreateContainer = l }, "startContainer": func(h *specs.Hooks, l []specs.Hook) { h.StartContainer = l },
		"poststart": func(h *specs.Hooks, l []specs.Hook) { h.Poststart = l }, "poststop": func(h *specs.Hooks, l []specs.Hook) { h.Poststop = l },
	} {
		if !slices.Contains(f.Hooks, kind) {
			t.Errorf("features does not name the hook %s", kind)
		}
		works("the hook "+kind, func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{}
			path := "/bin/true"
			set(s.Hooks, []specs.Hook{{Path: path}})
		})
	}
	for what, denied := range map[string]struct {
		enabled *bool
		change  func(*specs.Spec)
	}{
		"intelRdt": {f.Linux.IntelRdt.Enabled, func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} }},
	} {
		if *denied.enabled {
			t.Errorf("features says that there is %s", what)
		}
		if err := try(what, denied.change); err == nil {
			t.Errorf("%s is denied, and taken", what)
		}
	}
	if !*f.Linux.MountExtensions.IDMap.Enabled || !*f.Linux.Cgroup.Systemd || !*f.Linux.Apparmor.Enabled || !*f.Linux.Selinux.Enabled || !*f.Linux.NetDevices.Enabled {
		t.Error("features denies what there is")
	}
}
