package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// oci is a runtime that is driven as an engine does: ours, or the one that judges.
type oci struct {
	t       *testing.T
	program string
	root    string
	bundle  string
}

// runtimes are ours and runc, each with a bundle of its own whose command sleeps.
func runtimes(t *testing.T) (ours, judge *oci) {
	t.Helper()
	link := filepath.Join(t.TempDir(), "mydocker-runtime")
	if err := os.Symlink(binary, link); err != nil {
		t.Fatal(err)
	}
	return newOCI(t, link), newOCI(t, "runc")
}

func newOCI(t *testing.T, program string) *oci {
	t.Helper()
	o := &oci{t, program, t.TempDir(), t.TempDir()}
	sh(t, fmt.Sprintf(`mkdir -p %[1]s/rootfs/bin && cp /bin/busybox %[1]s/rootfs/bin/ && cd %[1]s/rootfs/bin && for n in sh sleep cat ls id true; do ln -s busybox $n; done; cd %[1]s && runc spec`, o.bundle))
	o.change(func(s *specs.Spec) {
		s.Process.Terminal, s.Process.Args, s.Process.Capabilities.Ambient = false, []string{"sleep", "1000"}, nil
	})
	t.Cleanup(func() {
		for _, id := range strings.Fields(o.run("list", "-q").out) {
			o.run("delete", "--force", id)
		}
	})
	return o
}

func (o *oci) change(f func(*specs.Spec)) {
	o.t.Helper()
	path := filepath.Join(o.bundle, "config.json")
	var s specs.Spec
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err == nil {
		f(&s)
		text, err = json.Marshal(&s)
	}
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *oci) run(args ...string) result { return o.with(nil, nil, args...) }

func (o *oci) with(files []*os.File, env []string, args ...string) result {
	o.t.Helper()
	// sd_listen_fds(3): the descriptors are for the process of this number and no other.
	line := append([]string{"-c", `[ -z "$LISTEN_FDS" ] || export LISTEN_PID=$$; exec "$0" "$@"`, o.program, "--root", o.root}, args...)
	cmd := exec.Command("sh", line...)
	// Files, and no pipes: a detached container has them open for long.
	dir := o.t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		o.t.Fatal(err)
	}
	defer out.Close()
	errOut, err := os.Create(filepath.Join(dir, "err"))
	if err != nil {
		o.t.Fatal(err)
	}
	defer errOut.Close()
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.ExtraFiles = out, errOut, o.bundle, files
	cmd.Env = append(os.Environ(), env...)
	timer := time.AfterFunc(patience(hangs), func() { cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Run() // its status is the result
	return result{read(o.t, out.Name()), read(o.t, errOut.Name()), cmd.ProcessState.ExitCode()}
}

func (o *oci) must(args ...string) string {
	o.t.Helper()
	r := o.run(args...)
	if r.code != 0 {
		o.t.Fatalf("%s %q: exit status %d\n%s%s", filepath.Base(o.program), args, r.code, r.out, r.err)
	}
	return strings.TrimSpace(r.out)
}

func (o *oci) status(id string) string {
	o.t.Helper()
	var s specs.State
	if err := json.Unmarshal([]byte(o.must("state", id)), &s); err != nil {
		o.t.Fatal(err)
	}
	return string(s.Status)
}

// keys lists the paths of a JSON text. What stands below an element of a list, or below "raw", is not told apart.
func keys(t *testing.T, text string) []string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var found []string
	var walk func(prefix string, v any)
	walk = func(prefix string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, below := range v {
				found = append(found, prefix+name)
				if name != "raw" {
					walk(prefix+name+".", below)
				}
			}
		case []any:
			for _, one := range v {
				walk(prefix, one)
			}
		}
	}
	walk("", v)
	slices.Sort(found)
	return slices.Compact(found)
}

// The same commands have the same effects and the same words in their output as runc's.
func TestOCIAsRunc(t *testing.T) {
	cleanHost(t)
	ours, runc := runtimes(t)
	both := func(what string, f func(o *oci) string) {
		t.Helper()
		if a, b := f(ours), f(runc); a != b {
			t.Errorf("%s:\nours %s\nrunc %s", what, a, b)
		}
	}
	missing := func(what string, f func(o *oci) string) {
		t.Helper()
		have := keys(t, f(ours))
		for _, key := range keys(t, f(runc)) {
			if !slices.Contains(have, key) {
				t.Errorf("%s: runc has %q, we have not: %v", what, key, have)
			}
		}
	}
	both("create", func(o *oci) string { return o.must("create", "c1") + o.status("c1") })
	both("start", func(o *oci) string { return o.must("start", "c1") + o.status("c1") })
	missing("state", func(o *oci) string { return o.must("state", "c1") })
	missing("list --format json", func(o *oci) string { return o.must("list", "--format", "json") })
	missing("events --stats", func(o *oci) string {
		// What was read from a disk is only told of where something was, and that a start finds its program in memory is left to chance.
		o.must("exec", "c1", "busybox", "dd", "if=/bin/busybox", "of=/dev/null", "bs=4096", "count=1", "iflag=direct")
		return o.must("events", "--stats", "c1")
	})
	both("list", func(o *oci) string {
		head, _, _ := strings.Cut(o.must("list"), "\n")
		return strings.Join(strings.Fields(head), " ")
	})
	both("list --quiet", func(o *oci) string { return o.must("list", "--quiet") })
	both("ps", func(o *oci) string { head, _, _ := strings.Cut(o.must("ps", "c1"), "\n"); return head })
	both("ps of one", func(o *oci) string { return fmt.Sprint(strings.Count(o.must("ps", "c1"), "sleep 1000")) })
	both("ps --format json", func(o *oci) string {
		return fmt.Sprint(len(strings.Split(o.must("ps", "--format", "json", "c1"), ",")))
	})
	both("pause", func(o *oci) string { return o.must("pause", "c1") + o.status("c1") })
	both("exec in a paused container", func(o *oci) string { return fmt.Sprint(o.run("exec", "c1", "true").code != 0) })
	both("resume", func(o *oci) string { return o.must("resume", "c1") + o.status("c1") })
	limit := func(o *oci, file string) string {
		group := sh(t, fmt.Sprintf("grep :memory: /proc/$(%s --root %s state c1 | jq .pid)/cgroup | cut -d: -f3", o.program, o.root))
		return sh(t, "cat /sys/fs/cgroup/memory"+group+"/"+file)
	}
	both("update", func(o *oci) string {
		o.must("update", "--memory", "64m", "--memory-swap", "128m", "--memory-reservation", "32m", "c1")
		return limit(o, "memory.limit_in_bytes") + limit(o, "memory.memsw.limit_in_bytes") + limit(o, "memory.soft_limit_in_bytes")
	})
	both("update --resources", func(o *oci) string {
		file := filepath.Join(o.bundle, "resources.json")
		if err := os.WriteFile(file, []byte(`{"memory": {"limit": 50331648, "swap": 50331648}}`), 0o644); err != nil {
			t.Fatal(err)
		}
		o.must("update", "--resources", file, "c1")
		return limit(o, "memory.limit_in_bytes")
	})
	both("exec", func(o *oci) string {
		return o.must("exec", "-e", "A=b", "--cwd", "/bin", "-u", "7:8", "c1", "sh", "-c", "pwd; echo $A; id -u; id -g")
	})
	both("exec's status", func(o *oci) string { return fmt.Sprint(o.run("exec", "c1", "sh", "-c", "exit 9").code) })
	both("kill --all", func(o *oci) string { return o.must("kill", "--all", "c1", "KILL") })
	for _, o := range []*oci{ours, runc} {
		eventually(t, func() string { return strings.TrimPrefix(o.status("c1"), "stopped") })
	}
	both("kill of a dead one", func(o *oci) string {
		r := o.run("kill", "c1", "TERM")
		return fmt.Sprint(r.code, strings.Contains(r.err, "container not running"))
	})
	both("start of a dead one", func(o *oci) string { return fmt.Sprint(o.run("start", "c1").code) })
	both("delete", func(o *oci) string { return o.must("delete", "c1") })
	both("delete of an absent one", func(o *oci) string {
		r := o.run("delete", "c1")
		return fmt.Sprint(r.code, strings.Contains(r.err, "container does not exist"))
	})
	both("delete --force of an absent one", func(o *oci) string { return fmt.Sprint(o.run("delete", "--force", "c1").code) })
	for _, verb := range []string{"start", "state", "kill", "pause", "resume", "ps", "events", "update", "exec"} {
		both(verb+" of an absent one", func(o *oci) string {
			args := []string{verb, "nosuch"}
			if verb == "exec" {
				args = append(args, "true")
			}
			r := o.run(args...)
			return fmt.Sprint(r.code != 0, strings.Contains(r.err, "does not exist"))
		})
	}
	both("delete --force of a running one", func(o *oci) string {
		o.must("run", "-d", "c2")
		return o.must("delete", "--force", "c2") + o.must("list", "-q")
	})
}

// Descriptors: LISTEN_FDS and --preserve-fds hand over what was asked for and nothing else; --pid-file holds the process.
func TestOCIDescriptors(t *testing.T) {
	cleanHost(t)
	ours, runc := runtimes(t)
	file, err := os.Open("/etc/hostname")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	files := []*os.File{file, file, file}
	for _, c := range []struct {
		env  []string
		args []string
	}{
		{nil, nil}, {nil, []string{"--preserve-fds", "2"}}, {[]string{"LISTEN_FDS=1"}, nil}, {[]string{"LISTEN_FDS=2"}, []string{"--preserve-fds", "1"}},
	} {
		var got []string
		for _, o := range []*oci{ours, runc} {
			o.change(func(s *specs.Spec) {
				s.Process.Args = []string{"sh", "-c", "echo LISTEN_FDS=$LISTEN_FDS; for fd in 3 4 5 6; do [ -e /proc/self/fd/$fd ] && echo $fd; done; true"}
			})
			r := o.with(files, c.env, append(append([]string{"run"}, c.args...), "fds")...)
			if r.code != 0 {
				t.Fatalf("%s %v: %+v", o.program, c, r)
			}
			got = append(got, r.out)
		}
		if got[0] != got[1] {
			t.Errorf("%v %v:\nours %s\nrunc %s", c.env, c.args, got[0], got[1])
		}
	}
	for _, o := range []*oci{ours, runc} { // exec has those of --preserve-fds alone
		o.change(func(s *specs.Spec) { s.Process.Args = []string{"sleep", "1000"} })
		o.must("run", "-d", "fds")
		r := o.with(files, []string{"LISTEN_FDS=2"}, "exec", "--preserve-fds", "1", "fds", "sh", "-c", "echo LISTEN_FDS=$LISTEN_FDS; for fd in 3 4 5 6; do [ -e /proc/self/fd/$fd ] && echo $fd; done; true")
		if r.out != "LISTEN_FDS=\n3\n" {
			t.Errorf("%s exec: %+v", o.program, r)
		}
		o.must("delete", "--force", "fds")
	}
	if r := ours.run("run", "--preserve-fds", "-1", "fds"); r.code == 0 || !strings.Contains(r.err, "--preserve-fds -1") {
		t.Errorf("less than no descriptors: %+v", r)
	}
	if r := ours.run("run", "--preserve-fds", "3", "fds"); r.code == 0 || !strings.Contains(r.err, "descriptor 3") {
		t.Errorf("a descriptor that is not there: %+v", r)
	}
	pidFile := filepath.Join(t.TempDir(), "pid")
	ours.change(func(s *specs.Spec) { s.Process.Args = []string{"sleep", "1000"} })
	for _, flags := range [][]string{nil, {"--no-pivot"}, {"--no-new-keyring"}} {
		ours.must(append(append([]string{"run", "-d", "--pid-file", pidFile}, flags...), "pid")...)
		var s specs.State
		if err := json.Unmarshal([]byte(ours.must("state", "pid")), &s); err != nil || fmt.Sprint(s.Pid) != read(t, pidFile) || fileMode(t, pidFile) != 0o644 {
			t.Errorf("%v: %v: the file says %s, state %d", flags, err, read(t, pidFile), s.Pid)
		}
		ours.must("delete", "--force", "pid")
	}
}

// What is wrong is refused with a sentence, an exit status and no change, as under runc: bundles, ids, states.
func TestOCIBadInput(t *testing.T) {
	cleanHost(t)
	ours, _ := runtimes(t)
	config := filepath.Join(ours.bundle, "config.json")
	good := read(t, config)
	before := restingHost(t)
	defer sameHost(t, before)
	write := func(text string) {
		if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what, word string, args ...string) {
		t.Helper()
		r := ours.run(args...)
		if r.code == 0 || !strings.Contains(r.err, word) || strings.Contains(r.err, "panic") || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%s: status %d, no %q in %q", what, r.code, word, r.err)
		}
		if out := ours.run("list", "-q").out; strings.Contains(out, "bad") {
			t.Errorf("%s: left %q", what, out)
			ours.run("delete", "--force", "bad")
		}
	}
	for _, c := range []struct{ what, word, text string }{
		{"no JSON", "invalid character", "{nonsense"},
		{"an empty file", "unexpected end of JSON", ""},
		{"a wrong type", "cannot unmarshal", `{"ociVersion": 7}`},
		{"an unknown version", `ociVersion: "9.0.0"`, strings.Replace(good, `"ociVersion":"`, `"ociVersion":"9.0.0","x":"`, 1)},
		{"no version", "ociVersion is missing", strings.Replace(good, `"ociVersion"`, `"x"`, 1)},
		{"no process", "process is missing", `{"ociVersion":"1.0.2","root":{"path":"rootfs"},"linux":{}}`},
		{"no command", "process.args is empty", strings.Replace(good, `"args":["sleep","1000"],`, "", 1)},
		{"no root", "root.path: ", strings.Replace(good, `"path":"rootfs"`, `"path":"nosuch"`, 1)},
		{"a zero byte", "zero byte", strings.Replace(good, `"1000"`, `"10\u00000"`, 1)},
		{"mappings without a user namespace", "linux.uidMappings", strings.Replace(good, `"linux":{`, `"linux":{"uidMappings":[{"containerID":0,"hostID":0,"size":1}],`, 1)},
		{"overlapping mappings", "linux.uidMappings", strings.Replace(good, `"linux":{"`, `"linux":{"uidMappings":[{"containerID":0,"hostID":0,"size":9},{"containerID":4,"hostID":100,"size":9}],"gidMappings":[{"containerID":0,"hostID":0,"size":1}],"`, 1)},
		{"a sysctl of the host's", "linux.sysctl", strings.Replace(good, `"linux":{`, `"linux":{"sysctl":{"kernel.core_pattern":"`+strings.TrimSpace(read(t, "/proc/sys/kernel/core_pattern"))+`"},`, 1)},
		{"a sysctl that leads elsewhere", "linux.sysctl", strings.Replace(good, `"linux":{`, `"linux":{"sysctl":{"net/../kernel/core_pattern":"`+strings.TrimSpace(read(t, "/proc/sys/kernel/core_pattern"))+`"},`, 1)},
		{"a namespace twice", "is there twice", strings.Replace(good, `"namespaces":[`, `"namespaces":[{"type":"pid"},`, 1)},
		{"an unknown namespace", "unknown type", strings.Replace(good, `"namespaces":[`, `"namespaces":[{"type":"dream"},`, 1)},
		{"an unknown file system", "no file system", strings.Replace(good, `"mounts":[`, `"mounts":[{"destination":"/x","type":"nofs","source":"x"},`, 1)},
		{"a mount of nothing", "no such file", strings.Replace(good, `"mounts":[`, `"mounts":[{"destination":"/x","type":"bind","source":"/no/such","options":["bind"]},`, 1)},
		{"an unknown rlimit", "process.rlimits", strings.Replace(good, `RLIMIT_NOFILE`, `RLIMIT_DREAM`, 1)},
		{"a relative working directory", "process.cwd", strings.Replace(good, `"cwd":"/"`, `"cwd":"bin"`, 1)},
		{"Intel RDT", "linux.intelRdt", strings.Replace(good, `"linux":{`, `"linux":{"intelRdt":{"closID":"x"},`, 1)},
	} {
		if c.what == "overlapping mappings" {
			c.text = strings.Replace(c.text, `"namespaces":[`, `"namespaces":[{"type":"user"},`, 1)
		}
		write(c.text)
		refused(c.what, c.word, "run", "bad")
		refused(c.what+", create", c.word, "create", "bad")
	}
	// A mount of the root into itself ends, whatever it shows.
	write(strings.Replace(good, `"mounts":[`, `"mounts":[{"destination":"/cycle","type":"bind","source":"`+ours.bundle+`","options":["rbind"]},{"destination":"/cycle/rootfs/cycle","type":"bind","source":"`+ours.bundle+`","options":["rbind"]},`, 1))
	ours.must("run", "-d", "cycle")
	ours.must("delete", "--force", "cycle")
	write(good)
	os.Remove(config)
	refused("no config.json", "config.json", "run", "bad")
	refused("no bundle", "config.json", "run", "--bundle", "/no/such/bundle", "bad")
	write(good)
	for _, id := range []string{"a/b", "..", ".", "", "a b", "bad\n", strings.Repeat("x", 2000)} {
		refused(fmt.Sprintf("the id %.20q", id), "invalid container id", "run", id)
	}
	ours.must("run", "-d", "one")
	pid := ours.must("state", "one")
	refused("an id in use", "container with given ID already exists", "run", "one")
	refused("a socket without a terminal", "cannot use console socket", "run", "-d", "--console-socket", "/no/such", "bad")
	refused("a socket without a terminal, exec", "cannot use console socket", "exec", "-d", "--console-socket", "/no/such", "one", "true")
	refused("a terminal for nobody", "cannot allocate tty", "exec", "-d", "-t", "one", "true")
	refused("delete of a running one", "running", "delete", "one")
	refused("start of a running one", "running", "start", "one")
	refused("resume of one that is not paused", "not paused", "resume", "one")
	refused("an unknown signal", "unknown signal", "kill", "one", "SIGDREAM")
	refused("exec of nothing", "executable file not found", "exec", "one", "nosuch")
	refused("a limit that is no number", "--memory", "update", "--memory", "lots", "one")
	if now := ours.must("state", "one"); now != pid {
		t.Errorf("the state has changed: %s, before %s", now, pid)
	}
	ours.must("delete", "--force", "one")
	if r := ours.with(nil, []string{"LISTEN_FDS=1", "LISTEN_PID=1"}, "list"); r.code != 0 {
		t.Errorf("descriptors for somebody else: %+v", r)
	}
}

// A container whose limit is 24 MB is created and started: making it takes less than 20 MB of its memory.
func TestOCISmallMemory(t *testing.T) {
	cleanHost(t)
	ours, _ := runtimes(t)
	limit := int64(24 << 20)
	ours.change(func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
		s.Linux.CgroupsPath = "/small-memory"
	})
	ours.must("create", "small")
	peak := sh(t, "cat /sys/fs/cgroup/memory/small-memory/memory.max_usage_in_bytes")
	var n int64
	if _, err := fmt.Sscan(peak, &n); err != nil || n == 0 || n > 20<<20 {
		t.Errorf("create took %s bytes of the container's memory", peak)
	}
	t.Logf("create took %d KB", n/1024)
	ours.must("start", "small")
	equal(t, "its status", ours.status("small"), "running")
	ours.must("delete", "--force", "small")
}
