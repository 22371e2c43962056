package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hook is a shell's line.
func hook(line string) []specs.Hook {
	return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", line}, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}}}
}

// TestOCIHooksAskState: a hook that asks for the state is told how far the container is (runtime-spec, runtime.md, "State"): creating
// until create is done, created until the command runs, then running. Neither runc 1.1 nor crun answers before create is done.
func TestOCIHooksAskState(t *testing.T) {
	ours, _ := runtimes(t)
	journal, gate := filepath.Join(t.TempDir(), "journal"), filepath.Join(ours.bundle, "rootfs", "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(kind, more string) []specs.Hook {
		return hook("exec >>" + journal + " 2>&1; echo " + kind + " $(" + ours.program + " --root " + ours.root + " state one | grep -o '\"status\": .*,'); " + more)
	}
	refuse := func(verbs ...string) (line string) {
		for _, verb := range verbs {
			line += ours.program + " --root " + ours.root + " " + verb + " && echo it went well;"
		}
		return line + ":"
	}
	ours.change(func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{
			Prestart: ask("prestart", ""), CreateRuntime: ask("createRuntime", refuse("start one", "exec one true", "pause one", "delete one")), // a runtime has to run both
			CreateContainer: ask("createContainer", ""), StartContainer: hook("read line < /gate"), Poststart: ask("poststart", ""),
		}
	})
	for _, way := range []string{"create", "run"} {
		done := make(chan result, 1)
		go func() {
			if way == "run" {
				done <- ours.run("run", "--detach", "one")
				return
			}
			if r := ours.run("create", "one"); r.code != 0 {
				done <- r
				return
			}
			done <- ours.run("start", "one")
		}()
		// Opening waits for the hook, which waits for a line.
		w, err := os.OpenFile(gate, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := ours.status("one"); got != "created" {
			t.Errorf("%s, startContainer: %s", way, got)
		}
		if r := ours.run("start", "one"); r.code == 0 || way == "create" && !strings.Contains(r.err, "somebody else is starting it") {
			t.Errorf("%s, a second start: %d %s", way, r.code, r.err)
		}
		w.WriteString("\n")
		w.Close()
		if r := <-done; r.code != 0 {
			t.Errorf("%s: %d %s", way, r.code, r.err)
		}
		if got := ours.status("one"); got != "running" {
			t.Errorf("%s, afterwards: %s", way, got)
		}
		want := `prestart "status": "creating",
createRuntime "status": "creating",
mydocker-runtime: start container one: it is creating, not created
mydocker-runtime: exec in container one: container not running
mydocker-runtime: pause container one: it is creating, not running
mydocker-runtime: delete container one: it is creating: stop it first, or use --force
createContainer "status": "creating",
poststart "status": "running",
`
		if got := read(t, journal); got != want {
			t.Errorf("%s: %s, want %s", way, got, want)
		}
		os.Remove(journal)
		ours.must("delete", "--force", "one")
	}
}

// TestOCIHookEndsCreation: who kills or deletes a container while it is being made ends that, whatever the hooks do, and so does the
// creator's own death. Nothing is left, and the id is free.
func TestOCIHookEndsCreation(t *testing.T) {
	ours, _ := runtimes(t)
	runtime := ours.program + " --root " + ours.root + " "
	for _, line := range []string{runtime + "kill one KILL", runtime + "delete --force one", runtime + "delete --force one; exit 1", "kill -KILL $PPID"} {
		killed := strings.Contains(line, "PPID")
		ours.change(func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateRuntime: hook(line), Poststop: hook(":")} })
		for _, way := range [][]string{{"create"}, {"run", "--detach"}} {
			r := ours.run(append(way, "one")...)
			if r.code == 0 || killed != (r.code < 0) {
				t.Errorf("%s, %s: status %d %s", way, line, r.code, r.err)
			}
			if killed {
				eventually(t, func() string { return strings.TrimPrefix(ours.status("one"), "stopped") })
				ours.must("delete", "one")
			}
			if _, err := os.Stat(filepath.Join(ours.root, "one")); err == nil {
				t.Errorf("%s, %s: the directory is left", way, line)
			}
		}
	}
}
