package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func fileMode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// TestOCIAttackInherited (CVE-2024-21626): whatever the caller has open by mistake, and not marked to be closed, comes into no container,
// and is nobody's working directory. The file is open under every number that the runtime itself could give to something.
func TestOCIAttackInherited(t *testing.T) {
	ours, _ := runtimes(t)
	root, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ours.must("run", "-d", "host")
	show := []string{"sh", "-c", "for fd in 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do [ -e /proc/self/fd/$fd ] && echo $fd; done; true"}
	for n := range 10 {
		files := make([]*os.File, n)
		for i := range files {
			files[i] = root
		}
		for preserved := range min(n, 3) + 1 {
			want := ""
			for fd := 3; fd < 3+preserved; fd++ {
				want += strconv.Itoa(fd) + "\n"
			}
			if r := ours.with(files, nil, append([]string{"exec", "--preserve-fds", strconv.Itoa(preserved), "host"}, show...)...); r.out != want {
				t.Errorf("exec, %d files, %d for it: %+v", n, preserved, r)
			}
		}
		ours.change(func(s *specs.Spec) { s.Process.Args = show })
		if r := ours.with(files, nil, "run", "guest"); r.out != "" || r.code != 0 {
			t.Errorf("run, %d files: %+v", n, r)
		}
		cwd := fmt.Sprintf("/proc/self/fd/%d", 2+n)
		if r := ours.with(files, nil, "exec", "--cwd", cwd, "host", "pwd"); r.code == 0 {
			t.Errorf("exec in %s: %+v", cwd, r)
		}
	}
}

// TestOCIExecOOMScore: a process of exec is as ready to be killed as its config says, and else as the container's first.
func TestOCIExecOOMScore(t *testing.T) {
	ours, _ := runtimes(t)
	score := 321
	ours.change(func(s *specs.Spec) { s.Process.OOMScoreAdj = &score })
	ours.must("run", "-d", "one")
	if got := ours.must("exec", "one", "cat", "/proc/self/oom_score_adj"); got != "321" {
		t.Errorf("the container's: %s", got)
	}
	process := filepath.Join(t.TempDir(), "process.json")
	for want, text := range map[string]string{"555": `"oomScoreAdj":555,`, "321": ""} {
		if err := os.WriteFile(process, []byte(`{`+text+`"args":["cat","/proc/self/oom_score_adj"],"cwd":"/","env":["PATH=/bin"]}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := ours.must("exec", "--process", process, "one"); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestOCIKill: signals by all names, and KILL for a container that is paused, which ends it as under runc.
func TestOCIKill(t *testing.T) {
	ours, runc := runtimes(t)
	for _, o := range []*oci{ours, runc} {
		for _, args := range [][]string{{"kill", "one", "KILL"}, {"kill", "--all", "one", "9"}} {
			o.must("run", "-d", "one")
			o.must("pause", "one")
			o.must("kill", "one", "0")
			o.must(args...)
			eventually(t, func() string { return strings.TrimPrefix(o.status("one"), "stopped") })
			o.must("delete", "one")
		}
	}
	ours.change(func(s *specs.Spec) {
		s.Process.Args = []string{"sh", "-c", "trap 'echo got >>/seen' 37 64 USR1; echo >/ready; while :; do sleep 1000 & wait; done"}
		s.Root.Readonly = false
	})
	ours.must("run", "-d", "one")
	rootfs := filepath.Join(ours.bundle, "rootfs")
	eventually(t, func() string {
		_, err := os.Stat(filepath.Join(rootfs, "ready"))
		return errorText(err)
	})
	for i, name := range []string{"RTMIN+3", "sigrtmin+3", "37", "RTMAX", "SIGUSR1"} {
		ours.must("kill", "one", name)
		eventually(t, func() string {
			if seen, _ := os.ReadFile(filepath.Join(rootfs, "seen")); string(seen) == strings.Repeat("got\n", i+1) {
				return ""
			}
			return name + " has not come"
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestOCIHalfMade: what a creator leaves that died before it had recorded anything is in nobody's way, and delete --force removes it. A
// directory for records that cannot be made is an error.
func TestOCIHalfMade(t *testing.T) {
	ours, _ := runtimes(t)
	dir := filepath.Join(ours.root, "one")
	half := func() {
		if err := os.Mkdir(dir, 0o711); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ".state.json.tmp-1"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gone := func(how string) {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: %s is left", how, dir)
		}
	}
	half()
	ours.must("delete", "--force", "one")
	gone("delete --force")
	half()
	ours.must("run", "-d", "one")
	ours.must("kill", "one", "KILL")
	eventually(t, func() string { return strings.TrimPrefix(ours.status("one"), "stopped") })
	ours.must("delete", "one")
	gone("run, delete")
	nowhere := filepath.Join(t.TempDir(), "link")
	if err := unix.Symlink("nowhere", nowhere); err != nil {
		t.Fatal(err)
	}
	ours.root = nowhere
	if r := ours.run("run", "one"); r.code != 1 || !strings.Contains(r.err, "not a directory") {
		t.Errorf("a root that leads nowhere: %+v", r)
	}
}
