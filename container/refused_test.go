package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/cgroups"
)

// TestRefusedEarly: what the spec forbids, or what would harm the host, is refused by its name, and nothing has been done by then.
func TestRefusedEarly(t *testing.T) {
	zero := 0
	hooks := func(h specs.Hook) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{h}} }
	}
	for want, change := range map[string]func(*specs.Spec){
		`hooks.createRuntime: the path "true" is not absolute`: hooks(specs.Hook{Path: "true"}),
		`hooks.createRuntime: the path "" is not absolute`:     hooks(specs.Hook{}),
		"hooks.createRuntime: /bin/true: a timeout of 0":       hooks(specs.Hook{Path: "/bin/true", Timeout: &zero}),
		"the container's id 0 is not mapped": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings, s.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 5, HostID: 100000, Size: 9}}, mapping(100000)
		},
		"linux.namespaces: the mount namespace /proc/self/ns/mnt is the host's own": func(s *specs.Spec) {
			for i, n := range s.Linux.Namespaces {
				if n.Type == specs.MountNamespace {
					s.Linux.Namespaces[i].Path = "/proc/self/ns/mnt"
				}
			}
		},
	} {
		spec, err := NewSpec(shell("true"))
		must(t, err)
		must(t, Validate(spec))
		change(spec)
		if err := Validate(spec); err == nil || !strings.Contains(err.Error(), want) { // not by making it: that would change the host's root
			t.Errorf("%v, want %q", err, want)
		}
	}
	if v2, err := cgroups.IsV2(); err != nil || v2 {
		return
	}
	few, many, kernel := uint64(1), uint64(262145), int64(50000000)
	for want, resources := range map[string]*specs.LinuxResources{
		"resources.cpu.shares: 1 is not":      {CPU: &specs.LinuxCPU{Shares: &few}},
		"resources.cpu.shares: 262145 is not": {CPU: &specs.LinuxCPU{Shares: &many}},
		"memory.kmem.limit_in_bytes":          {Memory: &specs.LinuxMemory{Kernel: &kernel}}, // deprecated, and yet it may not be ignored
	} {
		spec, err := NewSpec(shell("true"))
		must(t, err)
		spec.Linux.Resources = resources
		if _, err := runSpec(t, newRuntime(t), newBundle(t), spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestRelativeSource: the source of a bind mount may be relative to the bundle (runtime-spec, config.md, "Mounts"), wherever the caller is.
func TestRelativeSource(t *testing.T) {
	for name, change := range map[string]func(*specs.Spec, *CreateOptions){
		"plain":          func(*specs.Spec, *CreateOptions) {},
		"by way of init": func(_ *specs.Spec, o *CreateOptions) { o.Detach = true },
		"user namespace": func(s *specs.Spec, _ *CreateOptions) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings, s.Linux.GIDMappings = mapping(0), mapping(0)
		},
	} {
		bundle, r := newBundle(t), newRuntime(t)
		must(t, os.Mkdir(filepath.Join(bundle, "data"), 0o755))
		must(t, os.WriteFile(filepath.Join(bundle, "data", "mark"), []byte("x"), 0o644))
		spec, err := NewSpec(shell("sleep 1000"))
		must(t, err)
		spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/tmp/data", Type: "bind", Source: "data", Options: []string{"bind"}})
		o := CreateOptions{ID: fmt.Sprintf("relative-%d", os.Getpid()), Bundle: bundle, Spec: spec}
		change(spec, &o)
		c, err := r.Create(t.Context(), o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/tmp/data/mark", c.Pid())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		must(t, c.Release())
	}
}
