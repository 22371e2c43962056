package container

import (
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestKeepGroups: the caller's groups are gone inside, unless the annotation asks for them (`podman run --group-add keep-groups`).
func TestKeepGroups(t *testing.T) {
	old, err := syscall.Getgroups()
	must(t, err)
	must(t, syscall.Setgroups([]int{4321, 100002}))
	defer func() { must(t, syscall.Setgroups(old)) }()
	for value, want := range map[string][2]string{"": {"0 10", "0 10"}, "0": {"0 10", "0 10"}, "1": {"0 4321 100002", "0 65534 2"}} {
		annotate := func(s *specs.Spec) {
			s.Process.User.AdditionalGids = []uint32{10}
			if value != "" {
				s.Annotations = map[string]string{annotationGroups: value}
			}
		}
		spec, err := NewSpec(shell("echo $(id -G)"))
		must(t, err)
		annotate(spec)
		res, err := runSpec(t, newRuntime(t), newBundle(t), spec)
		if err != nil || res.out != want[0]+"\n" {
			t.Errorf("%q: %q %v, want %q", value, res.out, err, want[0])
		}
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		spec.Linux.UIDMappings, spec.Linux.GIDMappings = mapping(100000), mapping(100000)
		res, err = runSpec(t, newRuntime(t), mappedBundle(t), spec)
		if err != nil || res.out != want[1]+"\n" {
			t.Errorf("%q in a user namespace: %q %v, want %q", value, res.out, err, want[1])
		}
		t.Run("exec"+value, func(t *testing.T) {
			c := startSpec(t, shell("sleep 1000"), annotate)
			res, err := execIn(t, c, specs.Process{Args: []string{"sh", "-c", "echo $(id -G)"}, User: specs.User{AdditionalGids: []uint32{10}}})
			if err != nil || res.out != want[0]+"\n" {
				t.Errorf("exec %q: %q %v, want %q", value, res.out, err, want[0])
			}
		})
	}
}

// TestAnnotations: orders to the runtime that are not followed are refused by name; notes of engines are left alone.
func TestAnnotations(t *testing.T) {
	for _, c := range []struct{ key, value, refused string }{
		{"org.example.note", "x", ""}, {"run.oci.unheard", "x", ""}, {"run.oci.systemd.subgroup", "", ""}, {"run.oci.mount_context_type", "rootcontext", ""},
		{"run.oci.systemd.subgroup", "container", "is not supported"}, {"run.oci.seccomp_bpf_data", "AAAA", "is not supported"},
		{"run.oci.handler", "krun", "is not supported"}, {"run.oci.hooks.stdout", "/x", "is not supported"},
		{"run.oci.keep_original_groups", "yes", "it is 1 or 0"}, {"run.oci.mount_context_type", "x", "it is context,"},
	} {
		spec, err := NewSpec(shell("true"))
		must(t, err)
		spec.Annotations = map[string]string{c.key: c.value}
		err = Validate(spec)
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.HasPrefix(err.Error(), "annotations: "+c.key) || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s=%q: %v, want %q", c.key, c.value, err, c.refused)
		}
	}
	if got := mountContext(map[string]string{annotationContext: "rootcontext"}, "u:r:t:s0"); got != "rootcontext=u:r:t:s0" {
		t.Error(got)
	}
}
