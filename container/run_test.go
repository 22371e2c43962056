package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// whatAProcessSees prints everything about its surroundings that two runtimes should agree on.
const whatAProcessSees = `
id; hostname; pwd; umask; env | grep -v -E 'SHLVL|PWD' | head -9
grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
ls -l /dev | grep -v total | while read mode n user group size rest; do echo $mode $user $group $size ${rest#*:?? }; done
for p in /proc/kcore /proc/keys /proc/timer_list; do [ -e $p ] && head -c 1 $p | wc -c; done
ls /proc/acpi /sys/firmware | wc -l
for p in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/default_smp_affinity /sys/power; do echo > $p; done 2>&1 | grep -c -i -E 'read-only|permission|directory'
while read id parent dev root target options rest; do case $target in /proc/?*|/) ;; *) echo $target $options;; esac; done < /proc/self/mountinfo
for l in -n -u -c; do ulimit $l > /dev/null; done
readlink /proc/self/fd/3; true
`

// TestSameUnderRunc starts a bundle of ours under runc: what the process sees must be the same.
func TestSameUnderRunc(t *testing.T) {
	bundle := newBundle(t)
	o := shell(whatAProcessSees)
	o.Mounts = []specs.Mount{{Destination: "/data", Type: "bind", Source: t.TempDir(), Options: []string{"rbind", "ro", "rprivate"}}}
	o.User = specs.User{AdditionalGids: []uint32{4, 20}}
	o.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 512, Hard: 1024}}
	spec, err := NewSpec(o)
	must(t, err)
	ours, err := runSpec(t, newRuntime(t), bundle, spec)
	must(t, err)

	spec.Version = "1.0.2" // the newest that Debian's runc knows
	spec.Linux.Seccomp = nil
	spec.Linux.CgroupsPath = fmt.Sprintf("/mydocker-runtime/runc-%d", os.Getpid())
	writeSpec(t, bundle, spec)
	cmd := exec.Command("runc", "--root", t.TempDir(), "run", fmt.Sprintf("judge-%d", os.Getpid()))
	cmd.Dir = bundle
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("runc: %v: %s", err, out)
	}
	theirs := strings.ReplaceAll(string(out), "Seccomp:\t0", "Seccomp:\t2") // ours has a filter, and runc was given none
	// The directory of the controllers' directories: read-only here, as the config says.
	theirs = strings.ReplaceAll(theirs, "/sys/fs/cgroup rw,", "/sys/fs/cgroup ro,")
	compareLines(t, ours.out, theirs)
}

func compareLines(t *testing.T, ours, theirs string) {
	t.Helper()
	a, b := strings.Split(ours, "\n"), strings.Split(theirs, "\n")
	slices.Sort(a)
	slices.Sort(b)
	for _, line := range a {
		if !slices.Contains(b, line) {
			t.Errorf("only ours:   %s", line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			t.Errorf("only runc's: %s", line)
		}
	}
}

func TestExitCodes(t *testing.T) {
	bundle, r := newBundle(t), newRuntime(t)
	for line, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$; kill -KILL $$": 0} {
		res, err := run(t, r, bundle, shell(line))
		must(t, err)
		if res.exit.Code != want {
			t.Errorf("%q: %+v", line, res.exit) // process 1 of a namespace cannot be killed from inside
		}
	}
	for name, want := range map[string]int{"nonsense": 127, "/nonsense": 127, "/etc": 126, "/etc/passwd": 126} {
		_, err := run(t, r, bundle, defaults(name))
		var command *CommandError
		if !errors.As(err, &command) || command.Code != want {
			t.Errorf("%s: %v, want %d", name, err, want)
		}
	}
	// Found only by the last program: a file that is no program, and one whose interpreter is missing.
	for name, want := range map[string]int{"garbage": 126, "script": 127} {
		text := map[string]string{"garbage": "no program", "script": "#!/no/such/interpreter\n"}[name]
		must(t, os.WriteFile(filepath.Join(bundle, "rootfs", "bin", name), []byte(text), 0o755))
		_, err := run(t, r, bundle, defaults(name))
		var command *CommandError
		if !errors.As(err, &command) || command.Code != want {
			t.Errorf("%s: %v, want %d", name, err, want)
		}
	}
	if left := leftovers(t, r, fmt.Sprintf("test-%d-*", os.Getpid())); left != "" {
		t.Errorf("left: %s", left)
	}
}

// TestReaper: with --init, process 1 is ours, orphans are collected, signals and the exit code go through.
func TestReaper(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	bundle, r := newBundle(t), newRuntime(t)
	o := shell("sh -c 'true & exec sleep 0.1' & wait; n=0; while ps -o stat | grep -q '[Z]' && [ $n -lt 600 ]; do n=$((n+1)); sleep 0.1; done; ps -o pid,stat,args; exit 9")
	o.Init, o.InitBinary = true, self
	res, err := run(t, r, bundle, o)
	must(t, err)
	if res.exit.Code != 9 || strings.Contains(res.out, " Z ") || !strings.Contains(res.out, " 1 S") || !strings.Contains(res.out, " /sbin/docker-init -- sh") {
		t.Errorf("%+v %s", res.exit, res.out)
	}
	o = shell("trap 'exit 4' TERM; echo ready > /tmp/ready; while :; do sleep 0.05; done")
	o.Init, o.InitBinary = true, self
	c := start(t, o)
	root := fmt.Sprintf("/proc/%d/root/tmp/ready", c.Pid())
	for range 6000 {
		if _, err := os.Stat(root); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	must(t, c.Kill(unix.SIGTERM))
	exit, err := c.Wait()
	must(t, err)
	if exit.Code != 4 {
		t.Errorf("the signal did not reach the command: %+v", exit)
	}
}

// TestIDInUse: of two containers with one id the second is refused, and the first lives on.
func TestIDInUse(t *testing.T) {
	c := start(t, shell("sleep 1000"))
	spec, err := c.Spec()
	must(t, err)
	_, err = c.runtime.Create(context.Background(), CreateOptions{ID: c.ID(), Bundle: c.State().Bundle, Spec: spec})
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	if s := c.Status(); s != Running {
		t.Error(s)
	}
	if err := c.runtime.Delete(c.ID(), false); err == nil || !strings.Contains(err.Error(), "running") {
		t.Errorf("delete of a running container: %v", err)
	}
	for _, id := range []string{"", "..", "a/b", "a b", "@seccomp"} {
		if _, err := c.runtime.Create(context.Background(), CreateOptions{ID: id, Bundle: c.State().Bundle, Spec: spec}); err == nil {
			t.Errorf("the id %q was taken", id)
		}
	}
}

// TestCreatorDies: a container whose creator is killed before the start leaves nothing that a forced delete cannot remove,
// and its first process ends by itself.
func TestBarrierAndDetachedStart(t *testing.T) {
	bundle, r := newBundle(t), newRuntime(t)
	spec, err := NewSpec(shell("sleep 1000"))
	must(t, err)
	writeSpec(t, bundle, spec)
	id := fmt.Sprintf("detached-%d", os.Getpid())
	c, err := r.Create(context.Background(), CreateOptions{ID: id, Bundle: bundle, Detach: true})
	must(t, err)
	other, err := r.Load(id) // as another process would
	must(t, err)
	if s := other.Status(); s != Created {
		t.Fatal(s)
	}
	must(t, other.Start())
	if s := other.Status(); s != Running {
		t.Fatal(s)
	}
	if err := other.Start(); err == nil {
		t.Error("started twice")
	}
	must(t, other.Kill(unix.SIGKILL))
	_, err = c.Wait()
	must(t, err)
	if s := other.Status(); s != Stopped {
		t.Error(s)
	}
	if err := other.Kill(unix.SIGTERM); !errors.Is(err, ErrNotRunning) {
		t.Errorf("kill of a dead container: %v", err)
	}
	must(t, r.Delete(id, false))
	if left := leftovers(t, r, id); left != "" {
		t.Errorf("left: %s", left)
	}
}

// TestHooks runs all six kinds and wants them in their order, with the container's state on standard input.
func TestHooks(t *testing.T) {
	bundle, r := newBundle(t), newRuntime(t)
	journal := filepath.Join(t.TempDir(), "journal")
	outside := func(name string) []specs.Hook {
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo " + name + " $(grep -o '\"status\":\"[a-z]*\"') $FOO >> " + journal}, Env: []string{"FOO=bar", "PATH=/bin:/usr/bin"}}}
	}
	spec, err := NewSpec(shell("cat /tmp/inside"))
	must(t, err)
	inside := outside("startContainer")
	inside[0].Args[2] = strings.Replace(inside[0].Args[2], journal, "/tmp/inside", 1)
	spec.Hooks = &specs.Hooks{
		Prestart: outside("prestart"), CreateRuntime: outside("createRuntime"), CreateContainer: outside("createContainer"),
		StartContainer: inside, Poststart: outside("poststart"), Poststop: outside("poststop"),
	}
	res, err := runSpec(t, r, bundle, spec)
	must(t, err)
	if want := "startContainer \"status\":\"created\" bar\n"; res.out != want {
		t.Errorf("inside: %q", res.out)
	}
	got, err := os.ReadFile(journal)
	must(t, err)
	want := ""
	for _, line := range []string{"prestart created", "createRuntime creating", "createContainer creating", "poststart running", "poststop stopped"} {
		name, status, _ := strings.Cut(line, " ")
		want += name + " \"status\":\"" + status + "\" bar\n"
	}
	if string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
	spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/false"}}}
	if _, err := runSpec(t, r, bundle, spec); err == nil || !strings.Contains(err.Error(), "/bin/false") {
		t.Errorf("a failing hook: %v", err)
	}
}

// TestRefused: what a config asks for and we cannot do is refused by its name.
func TestRefused(t *testing.T) {
	bundle, r := newBundle(t), newRuntime(t)
	for want, change := range map[string]func(*specs.Spec){
		"linux.intelRdt":  func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} },
		"ociVersion":      func(s *specs.Spec) { s.Version = "2.0.0" },
		"root.path":       func(s *specs.Spec) { s.Root.Path = "/no/such/directory" },
		"uidMappings":     func(s *specs.Spec) { s.Linux.UIDMappings = []specs.LinuxIDMapping{{Size: 1}} },
		"linux.sysctl":    func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"vm.swappiness": "1"} },
		"process.rlimits": func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_X"}} },
		"no-such-fs":      func(s *specs.Spec) { s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "no-such-fs"}) },
	} {
		spec, err := NewSpec(shell("true"))
		must(t, err)
		change(spec)
		if _, err := runSpec(t, r, bundle, spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if left := leftovers(t, r, fmt.Sprintf("test-%d-*", os.Getpid())); left != "" {
		t.Errorf("left: %s", left)
	}
}

// FuzzConfig feeds any text as config.json: it may be refused, and nothing else may happen.
func FuzzConfig(f *testing.F) {
	spec, err := NewSpec(shell("true"))
	must(f, err)
	good, err := json.Marshal(spec)
	must(f, err)
	f.Add(good)
	f.Add([]byte(`{"ociVersion":"1.0.0","process":{"args":["x"],"cwd":"/"},"root":{"path":"x"},"linux":{"namespaces":[{"type":"mount"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, err := ParseSpec(data)
		if err != nil || Validate(spec) != nil {
			return
		}
		c, err := buildConfig(spec, "/rootfs", hostFacts{cgroupPath: "/x", controllers: []string{"memory"}}, func(error) {})
		if err != nil {
			return
		}
		back, err := decodeConfig(c.encode())
		if err != nil || len(back.Steps) != len(c.Steps) || len(back.Args) != len(c.Args) {
			t.Fatalf("the config does not survive its journey: %v", err)
		}
		for _, s := range c.Steps {
			_ = s.Command()
		}
	})
}

// TestOpenFiles: the command has the caller's limit of open files, and not the one that Go has made of it.
func TestOpenFiles(t *testing.T) {
	if os.Getenv("LIMITED") == "" {
		self, err := os.Executable()
		must(t, err)
		cmd := exec.Command("sh", "-c", `ulimit -Sn 456; ulimit -Hn 900; exec "$0" -test.run TestOpenFiles`, self)
		cmd.Env = append(os.Environ(), "LIMITED=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	if out := output(t, newBundle(t), "ulimit -Sn; ulimit -Hn"); out != "456\n900\n" {
		t.Errorf("run: %q", out)
	}
	c := start(t, shell("sleep 1000"))
	res, err := execIn(t, c, specs.Process{Args: []string{"sh", "-c", "ulimit -Sn; ulimit -Hn"}})
	must(t, err)
	if res.out != "456\n900\n" {
		t.Errorf("exec: %q", res.out)
	}
}
