package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func mapping(host uint32) []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{ContainerID: 0, HostID: host, Size: 65536}}
}

// TestIDMappedMounts: files of the host's root are the container's root's own, although that is user 100000 outside; what it
// writes belongs to root on the disk. With the mount's own mapping and with the container's.
func TestIDMappedMounts(t *testing.T) {
	data := t.TempDir() // nobody but root may look into it, so the creator has to open it
	must(t, os.Chmod(data, 0o700))
	must(t, os.WriteFile(filepath.Join(data, "roots"), []byte("x"), 0o600))
	for name, m := range map[string]specs.Mount{
		"own":       {UIDMappings: mapping(100000), GIDMappings: mapping(100000), Options: []string{"bind"}},
		"container": {Options: []string{"rbind", "idmap"}},
		"recursive": {Options: []string{"rbind", "ridmap"}},
	} {
		m.Destination, m.Source, m.Type = "/data", data, "bind"
		o := shell("stat -c %u:%g /data/roots; cat /data/roots; touch /data/" + name + "; stat -c %u /plain/roots; touch /plain/x")
		o.UIDMappings, o.GIDMappings = mapping(100000), mapping(100000)
		o.Mounts = []specs.Mount{m, {Destination: "/plain", Type: "bind", Source: data, Options: []string{"rbind"}}}
		spec, err := NewSpec(o)
		must(t, err)
		res, err := runSpec(t, newRuntime(t), mappedBundle(t), spec)
		must(t, err)
		// Without a mapping the directory is closed to it.
		if !strings.HasPrefix(res.out, "0:0\nx") || strings.Count(res.out, "Permission denied") != 2 {
			t.Errorf("%s: %s", name, res.out)
		}
		var st unix.Stat_t
		must(t, unix.Stat(filepath.Join(data, name), &st))
		if st.Uid != 0 || st.Gid != 0 {
			t.Errorf("%s: on the disk the owner is %d:%d", name, st.Uid, st.Gid)
		}
	}
	// Without a user namespace, by a mapping of the mount's own.
	o := shell("stat -c %u /data/roots")
	o.Mounts = []specs.Mount{{Destination: "/data", Type: "bind", Source: data, Options: []string{"bind"}, UIDMappings: mapping(3000), GIDMappings: mapping(3000)}}
	res, err := run(t, newRuntime(t), newBundle(t), o)
	must(t, err)
	if res.out != "3000\n" {
		t.Errorf("without a user namespace: %q", res.out)
	}
	for want, m := range map[string]specs.Mount{
		"neither the mount":  {Type: "bind", Source: data, Options: []string{"bind", "idmap"}},
		"only a bind mount":  {Type: "tmpfs", Source: "tmpfs", UIDMappings: mapping(1), GIDMappings: mapping(1)},
		"one of them":        {Type: "bind", Source: data, UIDMappings: mapping(1)},
		"file system cannot": {Type: "bind", Source: "/proc", Options: []string{"bind"}, UIDMappings: mapping(1), GIDMappings: mapping(1)},
	} {
		m.Destination = "/data"
		o.Mounts = []specs.Mount{m}
		if _, err := run(t, newRuntime(t), newBundle(t), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// mappedBundle is a bundle whose root file system belongs to user 100000.
func mappedBundle(t *testing.T) string {
	bundle := newBundle(t)
	for dir := bundle; dir != "/tmp"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	must(t, filepath.WalkDir(filepath.Join(bundle, "rootfs"), func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, 100000, 100000))
	}))
	return bundle
}

// TestJoinUserNamespace: a second container joins the first one's user and network namespaces, as the containers of a pod
// do: the same mapping, power over the shared network, exec too. With the host's processes in view and without.
func TestJoinUserNamespace(t *testing.T) {
	o := shell("sleep 1000")
	o.UIDMappings, o.GIDMappings = mapping(100000), mapping(100000)
	spec, err := NewSpec(o)
	must(t, err)
	r := newRuntime(t)
	first, err := r.Create(t.Context(), CreateOptions{ID: fmt.Sprintf("first-%d", os.Getpid()), Bundle: mappedBundle(t), Spec: spec})
	must(t, err)
	defer func() { first.Kill(unix.SIGKILL); first.Wait(); must(t, first.Release()) }()
	must(t, first.Start())
	ns := func(kind string) string { return fmt.Sprintf("/proc/%d/ns/%s", first.Pid(), kind) }
	for _, pid := range []string{"", "host", ns("pid")} {
		o := shell("id -u; cat /proc/self/uid_map; ip link set lo down && ip link set lo up && echo powers; readlink /proc/self/ns/user; echo pid $$; hostname; sleep 1000")
		o.CapAdd, o.NetNS, o.PIDNS = []string{"NET_ADMIN"}, ns("net"), pid
		spec, err := NewSpec(o)
		must(t, err)
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: ns("user")})
		if pid == "host" { // a new proc file system would show processes that are not the namespace's
			for i, m := range spec.Mounts {
				if m.Type == "proc" {
					spec.Mounts[i] = specs.Mount{Destination: "/proc", Type: "bind", Source: "/proc", Options: []string{"rbind"}}
				}
			}
			spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths = nil, nil
		}
		read, write, err := os.Pipe()
		must(t, err)
		c, err := r.Create(t.Context(), CreateOptions{ID: fmt.Sprintf("second-%d", os.Getpid()), Bundle: mappedBundle(t), Spec: spec, Stdout: write, Stderr: write})
		write.Close()
		if err != nil {
			t.Fatalf("pid %q: %v", pid, err)
		}
		must(t, c.Start())
		text := ""
		buf := make([]byte, 4096)
		for !strings.Contains(text, "box\n") {
			n, err := read.Read(buf)
			must(t, err)
			text += string(buf[:n])
		}
		user, err := os.Readlink(ns("user"))
		must(t, err)
		for _, want := range []string{"0\n         0     100000      65536\n", "powers\n", user} {
			if !strings.Contains(text, want) {
				t.Errorf("pid %q: no %q in %s", pid, want, text)
			}
		}
		if pid == "" && !strings.Contains(text, "pid 1\n") {
			t.Errorf("a pid namespace of its own: %s", text)
		}
		var st unix.Stat_t
		must(t, unix.Stat(fmt.Sprintf("/proc/%d", c.Pid()), &st))
		if st.Uid != 100000 {
			t.Errorf("outside it is user %d", st.Uid)
		}
		if res, err := execIn(t, c, specs.Process{Args: []string{"id", "-u"}}); err != nil || res.out != "0\n" {
			t.Errorf("exec: %q %v", res.out, err)
		}
		must(t, c.Kill(unix.SIGKILL))
		c.Wait()
		must(t, c.Release())
		read.Close()
	}
	spec.Linux.Namespaces[len(spec.Linux.Namespaces)-1].Path = "/proc/self/ns/net" // no user namespace
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = nil, nil
	if _, err := r.Create(t.Context(), CreateOptions{ID: fmt.Sprintf("third-%d", os.Getpid()), Bundle: mappedBundle(t), Spec: spec}); err == nil || !strings.Contains(err.Error(), "enter the user namespace") {
		t.Errorf("a path that is no user namespace: %v", err)
	}
}
