package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mydocker/mydocker/plan"
)

// failer fails the nth operation, before or after it took effect.
type failer struct {
	n, seen int
	after   bool
	failed  string
	excused bool // it had failed by itself, which the runtime expected: a controller that is not mounted
}

var errTest = errors.New("failed by the test")

func (f *failer) Before(op plan.Op) error {
	f.seen++
	if f.seen-1 == f.n {
		f.failed = op.Command()
		if !f.after {
			return errTest
		}
	}
	return nil
}

func (f *failer) After(op plan.Op, err error) error {
	if f.after && f.failed == op.Command() {
		if err == nil {
			return errTest
		}
		f.excused = true
	}
	return err
}

// leftovers is what a container could leave on the host.
func leftovers(t *testing.T, r *Runtime, id string) string {
	t.Helper()
	var found []string
	entries, err := os.ReadDir(r.Root)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == filterDir {
			continue // a cache
		}
		found = append(found, "record "+e.Name())
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*/mydocker-runtime/" + id, "/sys/fs/cgroup/mydocker-runtime/" + id} {
		groups, err := filepath.Glob(pattern)
		must(t, err)
		found = append(found, groups...)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	must(t, err)
	if len(children) > 0 {
		found = append(found, "processes "+string(children))
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	if strings.Contains(string(mounts), filepath.Dir(r.Root)) {
		found = append(found, "mounts")
	}
	return strings.Join(found, ", ")
}

// TestFailAtEveryStep makes one operation after the other fail, once before and once after it took effect. Each time
// there must be an error, and after the release nothing may be left.
func TestFailAtEveryStep(t *testing.T) {
	bundle := newBundle(t)
	o := shell("true")
	o.Resources, _ = NewResources(Limits{Memory: 64 << 20, PidsLimit: 50})
	spec, err := NewSpec(o)
	must(t, err)
	for n := 0; ; n++ {
		for _, after := range []bool{false, true} {
			r := newRuntime(t)
			f := &failer{n: n, after: after}
			r.Watch = f
			id := fmt.Sprintf("fail-%d-%d-%v", os.Getpid(), n, after)
			c, err := r.Create(context.Background(), CreateOptions{ID: id, Bundle: bundle, Spec: spec})
			if err == nil {
				if err = c.Start(); err == nil {
					_, err = c.Wait()
				}
				err = errors.Join(err, c.Release())
			}
			if f.failed == "" {
				if n < 40 {
					t.Fatalf("only %d operations were seen", n)
				}
				must(t, err)
				t.Logf("%d operations", n)
				return
			}
			if !f.excused && (err == nil || !strings.Contains(err.Error(), errTest.Error())) {
				t.Errorf("failed %q, after=%v: the error is lost: %v", f.failed, after, err)
			}
			// What failed may be the release itself: the next one, undisturbed, must do it all.
			r.Watch = nil
			must(t, r.Delete(id, true))
			if c != nil && c.process != nil {
				c.process.wait() // it was killed, but it is our child
			}
			if rest := leftovers(t, r, id); rest != "" {
				t.Errorf("failed %q, after=%v: left: %s", f.failed, after, rest)
			}
		}
	}
}
