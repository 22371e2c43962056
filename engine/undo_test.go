package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/state"
)

// The tests of this file run on a host of their own: TestMain starts the test program again in new network, mount and pid
// namespaces. The same program is also started by the engine, as init, monitor and reaper.
func TestMain(m *testing.M) {
	if container.Main(os.Args) {
		return
	}
	if code, mine := Main(os.Args, func(*os.File) (plan.Watcher, error) { return nil, nil }); mine {
		os.Exit(code)
	}
	const inside = "MYDOCKER_TEST_INSIDE"
	if os.Getenv(inside) == "" && os.Geteuid() == 0 {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(inside) == "1" {
		os.Setenv(inside, "made") // a fuzz worker that this process starts finds the host made
		script := `mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up`
		if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "make a host of our own: %v: %s\n", err, out)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// testGroup keeps the groups of these tests apart from those of all other tests that run at the same time, and from what former ones
// have left that were killed.
var testGroup = fmt.Sprintf("mydocker-engine-test-%d", os.Getpid())

func needHost(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes namespaces: run it as root")
	}
}

// newHost is an engine on empty directories with the busybox image.
func newHost(t *testing.T, w plan.Watcher) *Engine {
	t.Helper()
	needHost(t)
	dir := t.TempDir()
	e, err := Open(Config{Root: state.Root{Lib: filepath.Join(dir, "lib"), Run: filepath.Join(dir, "run"), NetNS: "/run/netns"}, Watch: w})
	if err != nil {
		t.Fatal(err)
	}
	store, err := e.Images()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Bootstrap(context.Background(), image.BootstrapOptions{}); err != nil {
		t.Fatal(err)
	}
	return e
}

// world is everything that a container could leave behind, as text.
func world(t *testing.T, e *Engine) string {
	t.Helper()
	var b strings.Builder
	for _, args := range [][]string{{"ip", "-o", "link"}, {"ip", "netns", "list"}, {"iptables-save"}, {"ip", "route"}} {
		out, err := exec.Command(args[0], args[1:]...).Output()
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		for _, line := range strings.Split(string(out), "\n") {
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ":") {
				continue // counters and times
			}
			if len(args) > 1 && args[1] == "-o" { // the bridge's carrier comes and goes with its last port
				line, _, _ = strings.Cut(line, ": <")
			}
			line = strings.TrimSuffix(strings.TrimSpace(line), " linkdown")
			b.WriteString(line + "\n")
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	// Only those of ours: in this copy of the machine's mount table others' mounts vanish when their directories are removed.
	for _, line := range strings.Split(string(mounts), "\n") {
		if f := strings.Fields(line); len(f) > 4 && (strings.HasPrefix(f[4], "/run") || strings.HasPrefix(f[4], e.Root.Lib)) {
			fmt.Fprintf(&b, "mount %s\n", f[4])
		}
	}
	var files []string
	for _, root := range []string{e.Root.Lib, e.Root.Run} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			if strings.HasSuffix(path, "/layers") || strings.HasSuffix(path, "/images") || strings.HasSuffix(path, "/locks") {
				return fs.SkipDir
			}
			if !entry.IsDir() && entry.Name() != eventsFileName {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + testGroup + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if len(filepath.Base(g)) == 64 {
			files = append(files, g)
		}
	}
	sort.Strings(files)
	b.WriteString(strings.Join(files, "\n"))
	return b.String()
}

// resting is the world once the reaper of the last container has gone and nothing has changed for a while.
func resting(t *testing.T, e *Engine) string {
	t.Helper()
	before := world(t, e)
	for same, tries := 0, 0; same < 10; tries++ {
		if tries == 1000 {
			t.Fatalf("the world does not come to rest:\n%s", before)
		}
		time.Sleep(50 * time.Millisecond)
		now := world(t, e)
		left, err := filepath.Glob(e.Root.Lib + "/containers/*")
		if err != nil {
			t.Fatal(err)
		}
		if same++; now != before || len(left) > 0 {
			before, same = now, 0
		}
	}
	return before
}

// settled waits until the world is as wanted: the reaper and the kernel may take their time.
func settled(t *testing.T, e *Engine, want string) (got string, ok bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got = world(t, e)
		if got == want {
			return got, true
		}
		if time.Now().After(end) {
			return got, false
		}
	}
}

// saboteur lets the n-th operation fail: before it is done, or as if it had failed after it was done.
type saboteur struct {
	n, seen int
	after   bool
	hit     string
}

var errSabotage = errors.New("sabotage")

func (s *saboteur) Before(op plan.Op) error {
	s.seen++
	if !s.after && s.seen == s.n {
		s.hit = op.Command()
		return errSabotage
	}
	return nil
}

func (s *saboteur) After(op plan.Op, err error) error {
	if s.after && s.seen == s.n && err == nil && s.hit == "" {
		s.hit = op.Command()
		return errSabotage
	}
	return err
}

func runOptions(e *Engine, command ...string) RunOptions {
	return RunOptions{CreateOptions: CreateOptions{
		Image: "busybox", Args: command, AutoRemove: true, Name: "undo", Network: "br0",
		Resources: Resources{CgroupParent: testGroup},
		Mounts:    []Mount{{Type: "volume", Source: "made", Target: "/made", VolumeOptions: map[string]string{"type": "tmpfs", "device": "tmpfs"}}},
		Ports:     []network.PortMapping{{HostPort: 8080, ContainerPort: 80, Count: 1, Proto: "tcp"}},
	}}
}

// Every operation of a run fails once, before it was done and after; nothing may be left, and the next run has to work.
func TestFailureAtEveryStepLeavesNothing(t *testing.T) {
	e := newHost(t, nil)
	ctx := context.Background()
	if _, err := e.Networks().Create(ctx, network.CreateOptions{Name: "br0"}); err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	streams := Streams{In: null, Out: null, Err: null}
	run := func(w plan.Watcher) (int, error) {
		sabotaged, err := Open(Config{Root: e.Root, Watch: w})
		if err != nil {
			t.Fatal(err)
		}
		return sabotaged.Run(ctx, runOptions(e, "true"), streams)
	}
	if code, err := run(nil); code != 0 || err != nil {
		t.Fatalf("an ordinary run: %d, %v", code, err)
	}
	t.Cleanup(func() {
		if err := e.runtime.DeleteEmptyGroup("/" + testGroup); err != nil {
			t.Error(err)
		}
	})
	before := resting(t, e)
	counter := &saboteur{}
	if code, err := run(counter); code != 0 || err != nil {
		t.Fatalf("a watched run: %d, %v", code, err)
	}
	if got, ok := settled(t, e, before); !ok {
		t.Fatalf("an ordinary run leaves something:\n%s\n--- before:\n%s", got, before)
	}
	if counter.seen < 50 {
		t.Fatalf("only %d operations are watched", counter.seen)
	}
	failed := 0
	for n := 1; n <= counter.seen; n++ {
		for _, after := range []bool{false, true} {
			s := &saboteur{n: n, after: after}
			_, err := run(s)
			if s.hit == "" {
				continue // an operation that ends in an error of its own, which is expected there
			}
			if err != nil {
				failed++
			}
			if got, ok := settled(t, e, before); !ok {
				t.Fatalf("operation %d, %q (after it was done: %v) failed with: %v\nleft:\n%s\n--- before:\n%s", n, s.hit, after, err, got, before)
			}
		}
	}
	t.Logf("%d operations, %d failures told", counter.seen, failed)
	if failed < counter.seen {
		t.Errorf("of %d operations that were made to fail twice, only %d failures were told", counter.seen, failed)
	}
	if code, err := run(nil); code != 0 || err != nil {
		t.Fatalf("a run after all that: %d, %v", code, err)
	}
	if got, ok := settled(t, e, before); !ok {
		t.Fatalf("the last run leaves something:\n%s\n--- before:\n%s", got, before)
	}
}
