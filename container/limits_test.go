package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func withLimits(t *testing.T, o SpecOptions, l Limits) SpecOptions {
	t.Helper()
	var err error
	o.Resources, err = NewResources(l)
	must(t, err)
	return o
}

// TestMemoryLimit lets a container eat more than it may: the kernel kills it, and the exit says why.
func TestMemoryLimit(t *testing.T) {
	o := defaults("dd", "if=/dev/zero", "of=/dev/shm/eaten", "bs=1048576", "count=60")
	res, err := run(t, newRuntime(t), newBundle(t), withLimits(t, o, Limits{Memory: 24 << 20, MemorySwap: 24 << 20}))
	must(t, err)
	if res.exit.Code != 137 || !res.exit.OOMKilled {
		t.Fatalf("%+v: %s", res.exit, res.out)
	}
	res, err = run(t, newRuntime(t), newBundle(t), withLimits(t, o, Limits{Memory: 200 << 20}))
	must(t, err)
	if res.exit.Code != 0 || res.exit.OOMKilled {
		t.Fatalf("with enough memory: %+v: %s", res.exit, res.out)
	}
}

// TestPidsLimit is a small fork bomb.
func TestPidsLimit(t *testing.T) {
	o := shell("n=0; while [ $n -lt 30 ]; do sleep 1000 & n=$((n+1)); done; echo survived")
	res, err := run(t, newRuntime(t), newBundle(t), withLimits(t, o, Limits{PidsLimit: 10}))
	must(t, err)
	if !strings.Contains(res.out, "can't fork") || strings.Contains(res.out, "survived") {
		t.Fatalf("%+v: %s", res.exit, res.out)
	}
}

// TestCPULimit lets a container count for half a second with a twentieth of a CPU: the kernel must have held it back.
func TestCPULimit(t *testing.T) {
	c := start(t, withLimits(t, shell("while :; do :; done"), Limits{NanoCPUs: 5e7}))
	deadline := time.Now().Add(time.Minute)
	for {
		s, err := c.Stats()
		must(t, err)
		if s.CPU.Throttled > 3 && s.CPU.Usage > 0 && s.Pids.Current == 1 && s.Memory.Usage > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not throttled: %+v", s)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestDevices: the default devices work, mknod is allowed and what it makes cannot be opened, and a rule of one's own
// lets it be opened.
func TestDevices(t *testing.T) {
	line := "echo x > /dev/null && head -c 1 /dev/zero | wc -c; mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg > /dev/null && echo opened"
	out := func(rules []specs.LinuxDeviceCgroup) string {
		o := shell(line)
		o.DeviceRules, o.CapAdd = rules, []string{"SYSLOG"} // which the kernel's log wants besides
		res, err := run(t, newRuntime(t), newBundle(t), o)
		must(t, err)
		return res.out
	}
	if got := out(nil); !strings.HasPrefix(got, "1\n") || !strings.Contains(got, "Operation not permitted") || strings.Contains(got, "opened") {
		t.Errorf("by default: %s", got)
	}
	major, minor := int64(1), int64(11)
	if got := out([]specs.LinuxDeviceCgroup{{Allow: true, Type: "c", Major: &major, Minor: &minor, Access: "r"}}); !strings.Contains(got, "opened") {
		t.Errorf("allowed: %s", got)
	}
	o := shell(line)
	o.Privileged = true
	res, err := run(t, newRuntime(t), newBundle(t), o)
	must(t, err)
	if !strings.Contains(res.out, "opened") {
		t.Errorf("privileged: %s", res.out)
	}
}

func TestPause(t *testing.T) {
	c := start(t, shell("while :; do :; done"))
	must(t, c.Pause())
	if s := c.Status(); s != Paused {
		t.Fatal(s)
	}
	before, err := c.Stats()
	must(t, err)
	time.Sleep(50 * time.Millisecond)
	after, err := c.Stats()
	must(t, err)
	if after.CPU.Usage != before.CPU.Usage {
		t.Errorf("a paused container used %d ns", after.CPU.Usage-before.CPU.Usage)
	}
	if _, err := execIn(t, c, specs.Process{Args: []string{"true"}}); err == nil || !strings.Contains(err.Error(), "paused") {
		t.Errorf("exec in a paused container: %v", err)
	}
	must(t, c.Resume())
	if s := c.Status(); s != Running {
		t.Fatal(s)
	}
	must(t, c.Pause()) // and it can be removed as it is
	must(t, c.Kill(unix.SIGKILL))
	must(t, c.Release())
}

// TestGroupTakesNoProcess: a version 2 group beside a threaded one takes no process; the error says so, and nothing stays.
func TestGroupTakesNoProcess(t *testing.T) {
	top := fmt.Sprintf("/sys/fs/cgroup/threaded-%d", os.Getpid())
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		return // version 1 knows no such thing
	}
	must(t, os.MkdirAll(top+"/a", 0o755))
	defer func() { must(t, os.Remove(top+"/a")); must(t, os.Remove(top)) }()
	must(t, os.WriteFile(top+"/a/cgroup.type", []byte("threaded"), 0))
	spec, err := NewSpec(shell("true"))
	must(t, err)
	spec.Linux.Resources.Memory, spec.Linux.CgroupsPath = nil, filepath.Base(top)+"/b"
	if _, err := runSpec(t, newRuntime(t), newBundle(t), spec); err == nil || !strings.Contains(err.Error(), "takes no processes") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(top + "/b"); err == nil {
		t.Error("the group stays")
		os.Remove(top + "/b")
	}
}

// TestUpdateDevices: new rules take the place of the old ones, in both versions.
func TestUpdateDevices(t *testing.T) {
	o := shell("mknod /tmp/kmsg c 1 11; while :; do sleep 1; done")
	o.CapAdd = []string{"SYSLOG"}
	c := start(t, o)
	opens := func() bool {
		t.Helper()
		res, err := execIn(t, c, specs.Process{Args: []string{"sh", "-c", "test -e /tmp/kmsg || mknod /tmp/kmsg c 1 11; head -c 1 /tmp/kmsg > /dev/null && echo opened"}, Capabilities: &specs.LinuxCapabilities{
			Bounding: []string{"CAP_SYSLOG", "CAP_MKNOD"}, Permitted: []string{"CAP_SYSLOG", "CAP_MKNOD"}, Effective: []string{"CAP_SYSLOG", "CAP_MKNOD"}}})
		must(t, err)
		return strings.Contains(res.out, "opened")
	}
	if opens() {
		t.Fatal("it can be opened at once")
	}
	major, minor := int64(1), int64(11)
	rules := DefaultDeviceRules()
	must(t, c.Update(&specs.LinuxResources{Devices: append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &major, Minor: &minor, Access: "r"})}))
	if !opens() {
		t.Error("allowed, and it cannot be opened")
	}
	must(t, c.Update(&specs.LinuxResources{Devices: rules}))
	if opens() {
		t.Error("forbidden again, and it can be opened")
	}
}
