package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// asDaemon makes the runtime and its files those of a user who is not root: Debian's user "daemon", 1:1.
func (o *oci) asDaemon() {
	o.t.Helper()
	program, err := filepath.EvalSymlinks(o.program)
	if err != nil {
		program = o.program // found by PATH
	}
	dir := o.t.TempDir()
	sh(o.t, fmt.Sprintf("chmod 711 %s && chown -R 1:1 %s %s", filepath.Dir(dir), o.root, o.bundle))
	if strings.Contains(program, "/") {
		sh(o.t, fmt.Sprintf("cp %s %s/mydocker-runtime && chmod 755 %[2]s/mydocker-runtime", program, dir))
		program = dir + "/mydocker-runtime"
	}
	o.program = filepath.Join(dir, "as-daemon")
	line := fmt.Sprintf("#!/bin/sh\nexec setpriv --reuid=1 --regid=1 --clear-groups %s \"$@\"\n", program)
	if err := os.WriteFile(o.program, []byte(line), 0o755); err != nil {
		o.t.Fatal(err)
	}
	sh(o.t, "rm "+o.bundle+"/config.json")
	o.must("spec", "--rootless")
	o.change(func(s *specs.Spec) { s.Process.Terminal, s.Process.Args = false, []string{"sleep", "1000"} })
}

// A user who is not root, and to whom nobody has given a branch of the cgroup tree, has containers all the same, as with runc:
// without limits, and those that are asked for are refused.
func TestOCIRootless(t *testing.T) {
	ours, judge := runtimes(t)
	said := map[*oci]string{}
	for name, o := range map[string]*oci{"ours": ours, "runc": judge} {
		o.asDaemon()
		o.must("run", "--detach", "one")
		o.must("create", "two")
		said[o] += "states " + o.status("one") + " " + o.status("two") + "\n"
		o.must("start", "two")
		said[o] += o.status("two") + "\n" + o.must("exec", "one", "id") + "\n" + o.must("exec", "one", "cat", "/proc/self/uid_map") + "\n"
		for _, refused := range [][]string{{"exec", "--additional-gids", "5", "one", "true"}, {"exec", "--user", "7", "one", "true"},
			{"pause", "one"}, {"update", "--pids-limit", "50", "one"}} {
			if r := o.run(refused...); r.code == 0 {
				t.Errorf("%s: %q: %s", name, refused, r.out)
			}
		}
		for _, id := range []string{"one", "two"} {
			o.must("kill", id, "KILL")
			eventually(t, func() string {
				if s := o.status(id); s != "stopped" {
					return id + " is " + s
				}
				return ""
			})
			o.must("delete", id)
		}
	}
	equal(t, "what ours shows, and runc", said[ours], said[judge])
	limit := int64(50)
	for want, change := range map[string]func(*specs.Spec){
		"pids.max":                    func(s *specs.Spec) { s.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}} },
		"create cgroup /forbidden/to": func(s *specs.Spec) { s.Linux.CgroupsPath = "/forbidden/to" },
		"additionalGids":              func(s *specs.Spec) { s.Process.User.AdditionalGids = []uint32{5} },
		"linux.gidMappings":           func(s *specs.Spec) { s.Linux.GIDMappings[0].HostID = 0 },
		"linux.namespaces": func(s *specs.Spec) {
			s.Linux.Namespaces, s.Linux.UIDMappings, s.Linux.GIDMappings = []specs.LinuxNamespace{{Type: "mount"}, {Type: "pid"}, {Type: "uts"}}, nil, nil
		},
	} {
		for name, o := range map[string]*oci{"ours": ours, "runc": judge} {
			before := read(t, filepath.Join(o.bundle, "config.json"))
			o.change(change)
			r := o.run("run", "--detach", "bad")
			if r.code == 0 || o == ours && !strings.Contains(r.err, want) {
				t.Errorf("%s, %s: exit status %d, %s", name, want, r.code, r.err)
			}
			if left := o.must("list", "-q"); left != "" {
				t.Errorf("%s: left over: %s", want, left)
			}
			if err := os.WriteFile(filepath.Join(o.bundle, "config.json"), []byte(before), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// With ids that /etc/subuid and /etc/subgid grant him, which newuidmap(1) gives out, the user has more users and groups inside.
func TestOCIRootlessRanges(t *testing.T) {
	subIDs(t, "daemon")
	ours, _ := runtimes(t)
	ours.asDaemon()
	ours.change(func(s *specs.Spec) {
		more := specs.LinuxIDMapping{ContainerID: 1, HostID: 100000, Size: 1000}
		s.Linux.UIDMappings, s.Linux.GIDMappings = append(s.Linux.UIDMappings, more), append(s.Linux.GIDMappings, more)
		s.Process.User = specs.User{UID: 7, GID: 8, AdditionalGids: []uint32{9}}
	})
	ours.must("run", "--detach", "one")
	equal(t, "the ids of exec", ours.must("exec", "--user", "5:6", "--additional-gids", "10", "one", "id"), "uid=5 gid=6 groups=9,10")
	var state specs.State
	if err := json.Unmarshal([]byte(ours.must("state", "one")), &state); err != nil {
		t.Fatal(err)
	}
	status := read(t, fmt.Sprintf("/proc/%d/status", state.Pid))
	match(t, "the first process, seen from the host", status, `(?s)Uid:\t100006\t.*Gid:\t100007\t.*Groups:\t100008 \n`)
	ours.must("delete", "--force", "one")
}
