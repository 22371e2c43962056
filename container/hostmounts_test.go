package container

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// inPrivateMounts runs a test again in a mount namespace of its own, so that no mount of it reaches the host. It says true
// in there.
func inPrivateMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv("PRIVATE_MOUNTS") == t.Name() {
		return true
	}
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", self, "-test.v", "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "PRIVATE_MOUNTS="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return false
}

// TestNoMountNamespace: a container without a mount namespace is kept in its root by a chroot, exec too, and its mounts
// are gone with it, although no namespace's death takes them along.
func TestNoMountNamespace(t *testing.T) {
	if !inPrivateMounts(t) {
		return
	}
	bundle, r := newBundle(t), newRuntime(t)
	mounts := func() string {
		text, err := os.ReadFile("/proc/self/mounts")
		must(t, err)
		return string(text)
	}
	before := mounts()
	create := func(id string, args ...string) (*Container, error) {
		spec, err := NewSpec(defaults(args...))
		must(t, err)
		spec.Linux.Namespaces = slices.DeleteFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.MountNamespace })
		return r.Create(context.Background(), CreateOptions{ID: fmt.Sprintf("%s-%d", id, os.Getpid()), Bundle: bundle, Spec: spec})
	}
	c, err := create("shares", "sh", "-c", "sleep 1000")
	must(t, err)
	must(t, c.Start())
	ours, err := os.Readlink("/proc/self/ns/mnt")
	must(t, err)
	res, err := execIn(t, c, specs.Process{Args: []string{"sh", "-c", "readlink /proc/self/ns/mnt; ls /; cat /proc/keys | wc -c; echo x > /proc/sys/kernel/core_pattern; ls -d /proc/self/fd/[3-9]"}})
	must(t, err)
	for _, want := range []string{ours + "\nbin\n", "\n0\n", "Read-only file system"} {
		if !strings.Contains(res.out, want) {
			t.Errorf("no %q in %s", want, res.out)
		}
	}
	if strings.Contains(res.out, "root\n") || strings.Contains(res.out, "/fd/4") { // 3 is the shell's own look at the directory
		t.Errorf("not in its root, or with a descriptor too many: %s", res.out)
	}
	if mounts() == before {
		t.Error("nothing is mounted: is this test looking at the right place?")
	}
	must(t, c.Kill(unix.SIGKILL))
	_, err = c.Wait()
	must(t, err)
	must(t, c.Release())
	must(t, c.Release())
	if _, err := create("fails", "nonsense"); err == nil {
		t.Error("a command that is not there was created")
	}
	if after := mounts(); after != before {
		t.Errorf("mounts stay:\n%s\nbefore:\n%s", after, before)
	}
}
