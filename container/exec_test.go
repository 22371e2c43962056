package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// start makes a container that lives until the test ends.
func start(t testing.TB, o SpecOptions) *Container {
	t.Helper()
	bundle, r := newBundle(t), newRuntime(t)
	spec, err := NewSpec(o)
	must(t, err)
	id := fmt.Sprintf("test-%d-%s", os.Getpid(), strings.NewReplacer("/", "-", "#", "-", "=", "-", ",", "-").Replace(t.Name()))
	c, err := r.Create(context.Background(), CreateOptions{ID: id, Bundle: bundle, Spec: spec})
	must(t, err)
	t.Cleanup(func() {
		c.Kill(unix.SIGKILL)
		c.Wait()
		if err := c.Release(); err != nil {
			t.Error(err)
		}
	})
	must(t, c.Start())
	return c
}

// exec runs one more process in a container and returns what it wrote.
func execIn(t testing.TB, c *Container, p specs.Process) (result, error) {
	t.Helper()
	if p.Cwd == "" {
		p.Cwd = "/"
	}
	if p.Env == nil {
		p.Env = []string{"PATH=/bin"}
	}
	read, write, err := os.Pipe()
	must(t, err)
	defer read.Close()
	process, err := c.Exec(context.Background(), ExecOptions{Process: &p, Stdout: write, Stderr: write})
	write.Close()
	if err != nil {
		return result{}, err
	}
	out, err := io.ReadAll(read)
	must(t, err)
	exit, err := process.Wait()
	return result{string(out), exit}, err
}

func TestExecIsInside(t *testing.T) {
	c := start(t, shell("sleep 1000"))
	res, err := execIn(t, c, specs.Process{Args: []string{"sh", "-c", "echo pid $$; hostname; for n in /proc/self/ns/*; do readlink $n; done; echo; cat /proc/self/cgroup; grep Cap /proc/self/status; ls -l /proc/self/fd; ls /; env; readlink /proc/self/exe"}})
	must(t, err)
	t.Log(res.out)
	for _, kind := range []string{"mnt", "pid", "uts", "ipc", "net", "cgroup"} {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", c.Pid(), kind))
		must(t, err)
		if !strings.Contains(res.out, link) {
			t.Errorf("not in the container's %s namespace %s", kind, link)
		}
	}
	if !strings.Contains(res.out, "CapEff:\t00000000a80425fb") {
		t.Error("not the container's capabilities")
	}
	// In a cgroup namespace the own group is the root.
	if !strings.Contains(res.out, ":memory:/\n") && !strings.Contains(res.out, "\n0::/\n") {
		t.Error("not in the container's group")
	}
}

func TestExecErrors(t *testing.T) {
	c := start(t, shell("sleep 1000"))
	for _, one := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"nonsense"}, 127, "executable file not found in $PATH"},
		{[]string{"/nonsense"}, 127, "no such file or directory"},
		{[]string{"/etc"}, 126, "is a directory"},
		{[]string{"/etc/passwd"}, 126, "permission denied"},
	} {
		_, err := execIn(t, c, specs.Process{Args: one.args})
		var command *CommandError
		if !errors.As(err, &command) || command.Code != one.code || !strings.Contains(err.Error(), one.text) {
			t.Errorf("%v: %v, want code %d and %q", one.args, err, one.code, one.text)
		}
	}
}

func TestExecUserAndLimits(t *testing.T) {
	c := start(t, shell("sleep 1000"))
	res, err := execIn(t, c, specs.Process{
		Args: []string{"sh", "-c", "id; umask; ulimit -n; pwd; echo $HOME; grep -E 'CapEff|NoNew' /proc/self/status"}, Cwd: "/tmp",
		User: specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{7, 8}}, NoNewPrivileges: true,
		Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 77, Hard: 99}},
	})
	must(t, err)
	for _, want := range []string{"uid=1000(bob) gid=1000 groups=7,8", "0022\n77\n/tmp\n/home/bob\n", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(res.out, want) {
			t.Errorf("no %q in %s", want, res.out)
		}
	}
}

func TestExecTerminal(t *testing.T) {
	c := start(t, shell("sleep 1000"))
	p, err := c.Exec(context.Background(), ExecOptions{Process: &specs.Process{
		Args: []string{"sh", "-c", "tty; stty size"}, Env: []string{"PATH=/bin"}, Cwd: "/", Terminal: true, ConsoleSize: &specs.Box{Height: 33, Width: 77},
	}})
	must(t, err)
	var out bytes.Buffer
	done := make(chan struct{})
	go func() { io.Copy(&out, p.Console()); close(done) }() // ends with EIO, when the last writer has gone
	exit, err := p.Wait()
	must(t, err)
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the terminal stays open")
	}
	p.Console().Close()
	if exit.Code != 0 || out.String() != "/dev/pts/0\r\n33 77\r\n" {
		t.Fatalf("%v %q", exit, out.String())
	}
}

// TestNoCapabilities: a config that says nothing of capabilities grants none, as under runc and crun; exec has the container's.
func TestNoCapabilities(t *testing.T) {
	const want = "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n"
	spec, err := NewSpec(shell("grep ^Cap /proc/self/status"))
	must(t, err)
	spec.Process.Capabilities = nil
	res, err := runSpec(t, newRuntime(t), newBundle(t), spec)
	must(t, err)
	if res.out != want {
		t.Errorf("run: %q", res.out)
	}
	c := startSpec(t, shell("sleep 1000"), func(s *specs.Spec) { s.Process.Capabilities = nil })
	res, err = execIn(t, c, specs.Process{Args: []string{"grep", "^Cap", "/proc/self/status"}})
	must(t, err)
	if res.out != want {
		t.Errorf("exec: %q", res.out)
	}
}

// TestExecBelow: a process joins a group below the container's, with either version; one that is not there is refused.
func TestExecBelow(t *testing.T) {
	c := start(t, shell("sleep 1000"))
	var made []string
	for _, base := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		found, err := filepath.Glob(base + c.State().Cgroup)
		must(t, err)
		for _, group := range found {
			made = append(made, filepath.Join(group, "sub"))
			must(t, os.Mkdir(filepath.Join(group, "sub"), 0o755))
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // version 1 takes nobody into a cpuset without
				if value, err := os.ReadFile(filepath.Join(group, file)); err == nil && strings.Contains(group, "/cpuset/") {
					must(t, os.WriteFile(filepath.Join(group, "sub", file), value, 0o644))
				}
			}
		}
	}
	t.Cleanup(func() {
		for _, group := range made {
			os.Remove(group)
		}
	})
	below := func(sub map[string]string) (string, error) {
		var out bytes.Buffer
		r, w, err := os.Pipe()
		must(t, err)
		defer r.Close()
		p := specs.Process{Args: []string{"grep", "-c", "/sub$", "/proc/self/cgroup"}, Cwd: "/", Env: []string{"PATH=/bin"}}
		e, err := c.Exec(t.Context(), ExecOptions{Process: &p, Stdout: w, Cgroup: sub})
		w.Close()
		if err != nil {
			return "", err
		}
		_, err = out.ReadFrom(r)
		must(t, err)
		_, err = e.Wait()
		must(t, err)
		return strings.TrimSpace(out.String()), nil
	}
	if got, err := below(map[string]string{"": "sub"}); err != nil || got != fmt.Sprint(len(made)) {
		t.Errorf("in %s of %d groups: %v", got, len(made), err)
	}
	for _, sub := range []map[string]string{{"": "absent"}, {"": "../sub"}, {"nosuch": "sub"}} {
		if got, err := below(sub); err == nil || !strings.Contains(err.Error(), "cgroup") {
			t.Errorf("%v: %s %v", sub, got, err)
		}
	}
}
