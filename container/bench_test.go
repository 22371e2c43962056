package container

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// BenchmarkRun is a container's whole life: made, started, waited for, removed. Compare with BenchmarkCrunRun.
func BenchmarkRun(b *testing.B) {
	bundle, r := newBundle(b), newRuntime(b)
	spec, err := NewSpec(defaults("true"))
	must(b, err)
	for n := 0; b.Loop(); n++ {
		c, err := r.Create(context.Background(), CreateOptions{ID: "bench-" + strconv.Itoa(n), Bundle: bundle, Spec: spec})
		must(b, err)
		must(b, c.Start())
		_, err = c.Wait()
		must(b, err)
		must(b, c.Release())
	}
}

// BenchmarkCrunRun is `crun run` of a like bundle, where crun is installed. It refuses a hybrid cgroup hierarchy, so it
// is shown version 1 only.
func BenchmarkCrunRun(b *testing.B) {
	bundle := newBundle(b)
	spec, err := NewSpec(defaults("true"))
	must(b, err)
	spec.Version = "1.0.2" // the newest that it knows
	writeSpec(b, bundle, spec)
	script := filepath.Join(b.TempDir(), "loop")
	must(b, os.WriteFile(script, []byte(`#!/bin/sh
umount /sys/fs/cgroup/unified 2>/dev/null
cd "$1"; n=0
while [ $n -lt $2 ]; do crun --root "$1/run" run bench-$$-$n || exit 1; n=$((n+1)); done
`), 0o755))
	b.ResetTimer()
	out, err := exec.Command("unshare", "-m", script, bundle, strconv.Itoa(b.N)).CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
}

func BenchmarkExec(b *testing.B) {
	c := start(b, shell("sleep 1000"))
	for b.Loop() {
		p, err := c.Exec(context.Background(), ExecOptions{Process: &specs.Process{Args: []string{"true"}, Env: []string{"PATH=/bin"}, Cwd: "/"}})
		must(b, err)
		_, err = p.Wait()
		must(b, err)
	}
}

// BenchmarkCrunExec is `crun exec` in a like container.
func BenchmarkCrunExec(b *testing.B) {
	bundle := newBundle(b)
	spec, err := NewSpec(shell("sleep 1000"))
	must(b, err)
	spec.Version = "1.0.2"
	writeSpec(b, bundle, spec)
	script := filepath.Join(b.TempDir(), "loop")
	must(b, os.WriteFile(script, []byte(`#!/bin/sh
umount /sys/fs/cgroup/unified 2>/dev/null
cd "$1"; n=0
crun --root "$1/run" run -d bench-$$ </dev/null >/dev/null 2>&1 || exit 1
while [ $n -lt $2 ]; do crun --root "$1/run" exec bench-$$ true || exit 1; n=$((n+1)); done
crun --root "$1/run" delete -f bench-$$
`), 0o755))
	b.ResetTimer()
	out, err := exec.Command("unshare", "-m", script, bundle, strconv.Itoa(b.N)).CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
}
