package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestAttackMakeMountPointRace (CVE-2024-45310): a directory that two containers share is a symbolic link to the host's files now, and a
// directory again a moment later, while the second is made with a mount below it. A runtime that makes the mount point by its path
// (mkdir -p) leaves directories and files on the host. Here whatever is met is inside the container's root.
func TestAttackMakeMountPointRace(t *testing.T) {
	host, shared, source := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(source, []byte("bound"), 0o644))
	bundle, r := newBundle(t), newRuntime(t)
	must(t, os.Mkdir(filepath.Join(shared, "d"), 0o755))
	must(t, os.Symlink(host, filepath.Join(shared, "l")))
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		dir, err := unix.Open(shared, unix.O_PATH|unix.O_CLOEXEC, 0)
		for err == nil {
			select {
			case <-stop:
				stopped <- unix.Close(dir)
				return
			default:
				err = unix.Renameat2(dir, "d", dir, "l", unix.RENAME_EXCHANGE)
			}
		}
		stopped <- err
	}()
	seen := map[string]bool{}
	for run := 0; run < 200 && !(seen["directory"] && seen["link"]); run++ {
		o := shell("true")
		o.Mounts = []specs.Mount{
			{Destination: "/v", Type: "bind", Source: shared, Options: []string{"bind"}},
			{Destination: fmt.Sprintf("/v/d/%d/deep/file", run), Type: "bind", Source: source, Options: []string{"bind"}},
		}
		spec, err := NewSpec(o)
		must(t, err)
		// Refused is right as well: the directory may go while it is worked in.
		if _, err := runSpec(t, r, bundle, spec); err != nil && !strings.Contains(err.Error(), "/v/d/") {
			t.Error(err)
		}
		for what, root := range map[string]string{"directory": filepath.Join(shared, "d"), "link": filepath.Join(bundle, "rootfs", host)} {
			if _, err := os.Stat(filepath.Join(root, fmt.Sprint(run), "deep", "file")); err == nil {
				seen[what] = true
			}
		}
		// Either name leads to the directory half of the time.
		if _, err := os.Stat(filepath.Join(shared, "l", fmt.Sprint(run), "deep", "file")); err == nil {
			seen["directory"] = true
		}
	}
	close(stop)
	must(t, <-stopped)
	if made, err := os.ReadDir(host); err != nil || len(made) > 0 {
		t.Errorf("made on the host: %v %v", made, err)
	}
	if !seen["directory"] || !seen["link"] {
		t.Errorf("there was no race: %v", seen)
	}
}

// TestAttackConsole (CVE-2025-52565): the image has its own /dev, in which the console and the terminals are links to the kernel's
// settings. What is bound over the console is the terminal by its descriptor, and comes to lie inside the container.
func TestAttackConsole(t *testing.T) {
	const setting = "/proc/sys/kernel/core_pattern"
	before, err := os.ReadFile(setting)
	must(t, err)
	bundle, r := newBundle(t), newRuntime(t)
	dev := filepath.Join(bundle, "rootfs", "dev")
	must(t, os.MkdirAll(filepath.Join(dev, "real"), 0o755))
	must(t, os.Symlink("/dev/real", filepath.Join(dev, "pts")))
	must(t, os.Symlink(setting, filepath.Join(dev, "console")))
	for n := range 10 { // under the file system of terminals
		must(t, os.Symlink(setting, filepath.Join(dev, "real", fmt.Sprint(n))))
	}
	o := shell("echo evil > /dev/console; echo evil > " + setting + "; stat -c %t -L /proc/self/fd/0")
	o.TTY = true
	spec, err := NewSpec(o)
	must(t, err)
	kept := spec.Mounts[:0]
	for _, m := range spec.Mounts { // no tmpfs on /dev
		if m.Destination != "/dev" {
			kept = append(kept, m)
		}
	}
	spec.Mounts = kept
	out := consoleOutput(t, r, bundle, spec)
	after, err := os.ReadFile(setting)
	must(t, err)
	if string(after) != string(before) {
		must(t, os.WriteFile(setting, before, 0o644))
		t.Fatalf("the host's core_pattern was written: %s", out)
	}
	// What was written to the console came out of the terminal, whose major number is 136.
	if !strings.HasPrefix(out, "evil\r\n") || !strings.Contains(out, "Read-only file system") || !strings.HasSuffix(out, "\r\n88\r\n") {
		t.Errorf("%s", out)
	}
}

// consoleOutput runs a container with a terminal to its end.
func consoleOutput(t *testing.T, r *Runtime, bundle string, spec *specs.Spec) string {
	t.Helper()
	c, err := r.Create(t.Context(), CreateOptions{ID: fmt.Sprintf("console-%d-%d", os.Getpid(), time.Now().UnixNano()), Bundle: bundle, Spec: spec})
	must(t, err)
	defer func() { must(t, c.Release()) }()
	must(t, c.Start())
	var text strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := c.Console().Read(buf)
		text.Write(buf[:n])
		if err != nil {
			break // EIO: the last who had it open has ended
		}
	}
	c.Console().Close()
	_, err = c.Wait()
	must(t, err)
	return text.String()
}

// TestAttackNoID: 4294967295 is -1 for setresuid(2), which then leaves the id as it is: root's. It is refused, by its name.
func TestAttackNoID(t *testing.T) {
	c := start(t, shell("sleep 1000"))
	for name, u := range map[string]specs.User{
		"uid": {UID: noID, GID: 5}, "gid": {UID: 5, GID: noID}, "additionalGids": {UID: 5, GID: 5, AdditionalGids: []uint32{7, noID}},
	} {
		spec, err := NewSpec(shell("id"))
		must(t, err)
		spec.Process.User = u
		if res, err := runSpec(t, newRuntime(t), newBundle(t), spec); err == nil || !strings.Contains(err.Error(), "process.user."+name+": 4294967295") {
			t.Errorf("%s: %s %v", name, res.out, err)
		}
		if res, err := execIn(t, c, specs.Process{Args: []string{"id"}, User: u}); err == nil || !strings.Contains(err.Error(), "process.user."+name+": 4294967295") {
			t.Errorf("exec, %s: %s %v", name, res.out, err)
		}
	}
}

// TestAttackMountInProc: a config (an image's volume, say) mounts something over /proc, or inside it, also by way of a link of the image's.
// All is refused but another proc file system, and the files that lxcfs makes.
func TestAttackMountInProc(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte("made up\n"), 0o644))
	for _, one := range []struct {
		m       specs.Mount
		refused string
	}{
		{specs.Mount{Destination: "/proc", Type: "tmpfs", Source: "tmpfs"}, "it is /proc"},
		{specs.Mount{Destination: "/proc/.", Type: "bind", Source: t.TempDir(), Options: []string{"bind"}}, "it is /proc"},
		{specs.Mount{Destination: "/link", Type: "tmpfs", Source: "tmpfs"}, "it is /proc"},
		{specs.Mount{Destination: "/proc/sys/kernel", Type: "tmpfs", Source: "tmpfs"}, "inside /proc"},
		{specs.Mount{Destination: "/link/sys", Type: "bind", Source: t.TempDir(), Options: []string{"bind"}}, "inside /proc"},
		{specs.Mount{Destination: "/link/version", Type: "bind", Source: file, Options: []string{"bind"}}, "inside /proc"},
		{specs.Mount{Destination: "/proc/sys", Type: "bind", Source: "/proc/sys", Options: []string{"rbind"}}, "inside /proc"},
		{specs.Mount{Destination: "/proc/cpuinfo", Type: "bind", Source: file, Options: []string{"bind"}}, ""},
		{specs.Mount{Destination: "/proc/sys/kernel/ns_last_pid", Type: "bind", Source: file, Options: []string{"bind"}}, ""},
		{specs.Mount{Destination: "/proc", Type: "bind", Source: "/proc", Options: []string{"rbind"}}, ""},
		{specs.Mount{Destination: "/elsewhere", Type: "bind", Source: "/proc", Options: []string{"rbind"}}, ""},
	} {
		bundle := newBundle(t)
		must(t, os.Symlink("proc", filepath.Join(bundle, "rootfs", "link")))
		spec, err := NewSpec(shell("cat " + one.m.Destination))
		must(t, err)
		spec.Mounts = append(spec.Mounts, one.m) // after the proc file system that covers /proc already
		res, err := runSpec(t, newRuntime(t), bundle, spec)
		switch {
		case one.refused == "" && (err != nil || one.m.Source == file && res.out != "made up\n"):
			t.Errorf("%+v: %q %v", one.m, res.out, err)
		case one.refused != "" && (err == nil || !strings.Contains(err.Error(), one.refused)):
			t.Errorf("%+v: %q %v", one.m, res.out, err)
		}
		if one.m.Destination == "/proc" && one.m.Type == "tmpfs" {
			spec.Mounts = []specs.Mount{one.m} // and where it is the only one
			if _, err := runSpec(t, newRuntime(t), bundle, spec); err == nil || !strings.Contains(err.Error(), one.refused) {
				t.Errorf("nothing but %+v: %v", one.m, err)
			}
		}
	}
}
