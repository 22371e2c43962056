package container

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestMain lets the test program be what mydocker's main is: started again as "init", it becomes the container.
func TestMain(m *testing.M) {
	if Main(os.Args) {
		return
	}
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make real containers: run them as root")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// newBundle makes a bundle whose root file system is a busybox with all its names.
func newBundle(t testing.TB) string {
	t.Helper()
	bundle := t.TempDir()
	bin := filepath.Join(bundle, "rootfs", "bin")
	must(t, os.MkdirAll(bin, 0o755))
	must(t, os.MkdirAll(filepath.Join(bundle, "rootfs", "etc"), 0o755))
	must(t, os.MkdirAll(filepath.Join(bundle, "rootfs", "tmp"), 0o1777))
	must(t, os.WriteFile(filepath.Join(bundle, "rootfs", "etc", "passwd"), []byte("root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n"), 0o644))
	data, err := os.ReadFile("/bin/busybox")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(bin, "busybox"), data, 0o755))
	for _, name := range []string{"sh", "true", "cat", "ls", "id", "sleep", "mount", "grep", "echo", "hostname", "stat", "kill", "ps", "touch", "pwd", "env", "mkdir", "rm", "ln", "test", "tty", "ip", "dd", "mknod", "readlink", "wc", "head", "printf", "umount", "stty", "unshare"} {
		must(t, os.Symlink("busybox", filepath.Join(bin, name)))
	}
	return bundle
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// defaults are the options of a plain container that runs a shell line.
func defaults(args ...string) SpecOptions {
	return SpecOptions{Args: args, Env: []string{"PATH=/bin"}, Hostname: "box"}
}

func shell(line string) SpecOptions { return defaults("sh", "-c", line) }

func newRuntime(t testing.TB) *Runtime {
	self, err := os.Executable()
	must(t, err)
	return &Runtime{Root: filepath.Join(t.TempDir(), "containers"), Executable: self}
}

// result is what a container's whole life came to.
type result struct {
	out  string
	exit Exit
}

// run makes a container, lets it live to its end, and removes it.
func run(t testing.TB, r *Runtime, bundle string, o SpecOptions) (result, error) {
	t.Helper()
	spec, err := NewSpec(o)
	must(t, err)
	return runSpec(t, r, bundle, spec)
}

func runSpec(t testing.TB, r *Runtime, bundle string, spec *specs.Spec) (res result, err error) {
	t.Helper()
	read, write, err := os.Pipe()
	must(t, err)
	done := make(chan string, 1)
	go func() {
		var b bytes.Buffer
		b.ReadFrom(read)
		done <- b.String()
	}()
	id := fmt.Sprintf("test-%d-%s", os.Getpid(), strings.NewReplacer("/", "-", "#", "-", "=", "-", ",", "-").Replace(t.Name()))
	c, err := r.Create(context.Background(), CreateOptions{ID: id, Bundle: bundle, Spec: spec, Stdout: write, Stderr: write})
	write.Close()
	if err == nil {
		if err = c.Start(); err == nil {
			res.exit, err = c.Wait()
		}
		if e := c.Release(); e != nil {
			t.Errorf("release: %v", e)
		}
	}
	res.out = <-done
	read.Close()
	return res, err
}

// output runs a shell line in a default container and wants it to succeed.
func output(t testing.TB, bundle, line string) string {
	t.Helper()
	res, err := run(t, newRuntime(t), bundle, shell(line))
	must(t, err)
	if res.exit.Code != 0 {
		t.Fatalf("exit %d: %s", res.exit.Code, res.out)
	}
	return res.out
}

func hostOutput(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

func writeSpec(t testing.TB, bundle string, spec *specs.Spec) {
	t.Helper()
	data, err := json.Marshal(spec)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(bundle, "config.json"), data, 0o644))
}
