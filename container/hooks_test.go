package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hookKinds are the places for hooks, in the order in which they run.
func hookKinds(h *specs.Hooks) map[string]*[]specs.Hook {
	return map[string]*[]specs.Hook{
		"prestart": &h.Prestart, "createRuntime": &h.CreateRuntime, "createContainer": &h.CreateContainer, //lint:ignore SA1019 a runtime has to run them
		"startContainer": &h.StartContainer, "poststart": &h.Poststart, "poststop": &h.Poststop,
	}
}

// TestHookState: the state that each kind of hook is given names the process as the hook sees it: in the container's namespaces it is
// the first one.
func TestHookState(t *testing.T) {
	for _, shared := range []bool{false, true} { // with the host's processes, every hook sees the same number
		dir, bundle := t.TempDir(), newBundle(t)
		spec, err := NewSpec(shell("sleep 1000"))
		must(t, err)
		spec.Hooks = &specs.Hooks{}
		for kind, list := range hookKinds(spec.Hooks) {
			file := filepath.Join(dir, kind)
			if kind == "startContainer" {
				file = "/tmp/" + kind
			}
			*list = []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "cat > " + file}, Env: []string{"PATH=/bin:/usr/bin"}}}
		}
		if shared {
			kept := spec.Linux.Namespaces[:0]
			for _, n := range spec.Linux.Namespaces {
				if n.Type != specs.PIDNamespace {
					kept = append(kept, n)
				}
			}
			spec.Linux.Namespaces = kept
		}
		r := newRuntime(t)
		c, err := r.Create(t.Context(), CreateOptions{ID: fmt.Sprintf("hooks-%d-%v", os.Getpid(), shared), Bundle: bundle, Spec: spec, KeepConfig: true})
		must(t, err)
		must(t, c.Start())
		inside, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/tmp/startContainer", c.Pid()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "startContainer"), inside, 0o644))
		pid := c.Pid()
		must(t, c.Kill(unix.SIGKILL))
		_, err = c.Wait()
		must(t, err)
		must(t, c.Release())
		for kind, want := range map[string]int{"prestart": pid, "createRuntime": pid, "createContainer": 1, "startContainer": 1, "poststart": pid, "poststop": 0} {
			if shared && want == 1 {
				want = pid
			}
			text, err := os.ReadFile(filepath.Join(dir, kind))
			must(t, err)
			var s specs.State
			if err := json.Unmarshal(text, &s); err != nil || s.Pid != want || s.ID != c.ID() || s.Bundle != bundle || s.Version != specs.Version {
				t.Errorf("%s, processes shared %v: %v: %s, want the process %d", kind, shared, err, text, want)
			}
		}
	}
}

// TestHookFails: a hook that fails, is not there, or takes too long ends what it belongs to, with an error that names it, and nothing is
// left; after the start, and after the end, it is a warning, and the hooks behind it still run.
func TestHookFails(t *testing.T) {
	one := 1
	for how, hook := range map[string]specs.Hook{
		"exit status 3: oh no":             {Path: "/bin/sh", Args: []string{"sh", "-c", "echo oh no; exit 3"}},
		"no such file":                     {Path: "/bin/nosuch"},
		"it did not end within 1 seconds:": {Path: "/bin/sh", Args: []string{"sh", "-c", "exec sleep 1000"}, Env: []string{"PATH=/bin:/usr/bin"}, Timeout: &one},
	} {
		spec, err := NewSpec(shell("sleep 1000"))
		must(t, err)
		spec.Hooks = &specs.Hooks{}
		for kind, list := range hookKinds(spec.Hooks) {
			mark := filepath.Join(t.TempDir(), "next")
			next := specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", "echo > " + mark}}
			*list = []specs.Hook{hook, next}
			warned := ""
			r := newRuntime(t)
			r.Warn = func(err error) { warned += err.Error() }
			c, err := r.Create(t.Context(), CreateOptions{ID: fmt.Sprintf("hook-%d-%s", os.Getpid(), kind), Bundle: newBundle(t), Spec: spec, KeepConfig: true})
			if err == nil {
				err = c.Start()
				c.Kill(unix.SIGKILL)
				c.Wait()
				err = errors.Join(err, c.Release())
			}
			_, nextErr := os.Stat(mark)
			want := kind + " hook " + hook.Path + ": "
			if late := kind == "poststart" || kind == "poststop"; late && (err != nil || nextErr != nil || !strings.Contains(warned, want) || !strings.Contains(warned, how)) {
				t.Errorf("%s: %v, the next one %v, warned %q", kind, err, nextErr, warned)
			} else if !late && (err == nil || nextErr == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), how)) {
				t.Errorf("%s: %v, the next one %v", kind, err, nextErr)
			}
			if left, err := r.List(); err != nil || len(left) > 0 {
				t.Errorf("%s: left %v %v", kind, left, err)
			}
			*list = nil
		}
	}
}
