package container

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Labels of the policy in testdata/selinux.cil.
const (
	processLabel = "u:r:container_t:s0:c1,c2"
	mountLabel   = "u:object_r:container_file_t:s0:c1,c2"
)

// TestSELinux: on a host with the tests' policy the container has its labels, and they hold; on one without SELinux a
// process's label is refused.
func TestSELinux(t *testing.T) {
	spec, err := NewSpec(shell(`cat /proc/self/attr/current | grep -a -o '[a-z_:0-9,]*'; grep -o 'context=.*' /proc/mounts
echo mine > /dev/shm/file && echo written; echo theirs > /file`))
	must(t, err)
	spec.Process.SelinuxLabel = processLabel
	if !HasSELinux() {
		if _, err := runSpec(t, newRuntime(t), newBundle(t), spec); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "process.selinuxLabel") {
			t.Errorf("without SELinux: %v", err)
		}
		return
	}
	spec.Linux.MountLabel = mountLabel
	for _, user := range []bool{false, true} { // the direct way, and by way of init
		bundle := newBundle(t)
		if user {
			bundle = mappedBundle(t)
			spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			spec.Linux.UIDMappings, spec.Linux.GIDMappings = mapping(100000), mapping(100000)
		}
		res, err := runSpec(t, newRuntime(t), bundle, spec)
		must(t, err)
		if !strings.HasPrefix(res.out, processLabel+"\n") || !strings.Contains(res.out, mountLabel) || !strings.Contains(res.out, "\nwritten\n") ||
			!strings.Contains(res.out, "/file: Permission denied") {
			t.Errorf("user namespace %v: %s", user, res.out)
		}
	}
	for field, change := range map[string]func(*specs.Spec){
		"process.selinuxLabel": func(s *specs.Spec) { s.Process.SelinuxLabel = "u:r:nobody_t:s0" },
		"linux.mountLabel":     func(s *specs.Spec) { s.Linux.MountLabel = "u:r:nobody_t:s0" },
	} {
		spec, err := NewSpec(shell("true"))
		must(t, err)
		change(spec)
		if _, err := runSpec(t, newRuntime(t), newBundle(t), spec); err == nil || !strings.Contains(err.Error(), field+`: "u:r:nobody_t:s0" is no label`) {
			t.Errorf("a label that the policy does not know: %v", err)
		}
	}
}

// TestSELinuxExec: a process that comes later has the label that it is given.
func TestSELinuxExec(t *testing.T) {
	c := start(t, shell("sleep 1000"))
	p := specs.Process{Args: []string{"cat", "/proc/self/attr/current"}, Cwd: "/", Env: []string{"PATH=/bin"}, SelinuxLabel: processLabel}
	if !HasSELinux() {
		if _, err := c.Exec(context.Background(), ExecOptions{Process: &p}); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "process.selinuxLabel") {
			t.Errorf("without SELinux: %v", err)
		}
		return
	}
	for _, limits := range [][]specs.POSIXRlimit{nil, {{Type: "RLIMIT_NPROC", Soft: 1000, Hard: 1000}}} { // born late, and early
		p.Rlimits = limits
		res, err := execIn(t, c, p)
		must(t, err)
		if strings.Trim(res.out, "\x00\n") != processLabel {
			t.Errorf("limits %v: %q", limits, res.out)
		}
	}
}

// TestNoNewKeyring: the caller's keyring is kept if that is asked for, and only then.
func TestNoNewKeyring(t *testing.T) {
	for _, keep := range []bool{false, true} {
		spec, err := NewSpec(shell("true"))
		must(t, err)
		config, err := buildConfig(spec, "/", hostFacts{keepKeyring: keep}, func(error) {})
		must(t, err)
		if makes := slices.ContainsFunc(config.Last, func(s step) bool { return s.Kind == stepKeyring }); makes == keep {
			t.Errorf("keep %v: makes a keyring: %v", keep, makes)
		}
	}
}
