package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestSystemdScope needs a host whose init is systemd: in continuous integration that is a virtual machine of its own.
// There `systemctl` is the judge. Elsewhere the wish for a scope is refused with a sentence, before there is any effect.
func TestSystemdScope(t *testing.T) {
	spec, err := NewSpec(withLimits(t, shell("sleep 1000"), Limits{Memory: 64 << 20, MemorySwap: 64 << 20, PidsLimit: 30, NanoCPUs: 5e8}))
	must(t, err)
	spec.Linux.CgroupsPath = "mydocker-test.slice:unit:" + fmt.Sprint(os.Getpid())
	unit := fmt.Sprintf("unit-%d.scope", os.Getpid())
	spec.Annotations = map[string]string{"org.systemd.property.KillSignal": "37", "org.systemd.property.TimeoutStopSec": "uint64 11",
		"org.systemd.property.CollectMode": "'inactive-or-failed'", "org.systemd.property.After": "['systemd-journald.service']", "org.example": "x"}
	r := newRuntime(t)
	id := fmt.Sprintf("test-%d-systemd", os.Getpid())
	c, err := r.Create(t.Context(), CreateOptions{ID: id, Bundle: newBundle(t), Spec: spec, Systemd: true})
	if _, statErr := os.Stat("/run/systemd/system"); errors.Is(statErr, fs.ErrNotExist) {
		if err == nil || !strings.Contains(err.Error(), "systemd is not this host's init") {
			t.Errorf("without systemd: %v", err)
		}
		if os.Getenv("MYDOCKER_TEST_SYSTEMD") != "" {
			t.Error("this host should have systemd")
		}
		return
	}
	must(t, err)
	defer func() { c.Kill(unix.SIGKILL); c.Wait(); c.Release() }()
	must(t, c.Start())
	show := func(property string) string {
		return strings.TrimSpace(hostOutput(t, "systemctl", "show", "--value", "-p", property, unit))
	}
	for property, want := range map[string]string{
		"ActiveState": "active", "Slice": "mydocker-test.slice", "Delegate": "yes", "TasksMax": "30", "MemoryMax": fmt.Sprint(64 << 20),
		"ControlGroup": "/mydocker.slice/mydocker-test.slice/" + unit, "CPUQuotaPerSecUSec": "500ms",
		"KillSignal": "37", "TimeoutStopUSec": "11s", "CollectMode": "inactive-or-failed",
	} {
		if got := show(property); got != want {
			t.Errorf("%s is %q, want %q", property, got, want)
		}
	}
	if after := show("After"); !strings.Contains(after, "systemd-journald.service") {
		t.Errorf("After is %q", after)
	}
	group, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.Pid()))
	must(t, err)
	if !strings.Contains(string(group), ":/mydocker.slice/mydocker-test.slice/"+unit+"\n") {
		t.Errorf("its group is %s", group)
	}
	limit := int64(96 << 20)
	must(t, c.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &limit}}))
	hostOutput(t, "systemctl", "daemon-reload") // at which systemd writes its own idea of the limits
	for path, want := range map[string]string{"memory.max": fmt.Sprint(limit), "pids.max": "30", "cpu.max": "50000 100000"} {
		text, err := os.ReadFile("/sys/fs/cgroup/mydocker.slice/mydocker-test.slice/" + unit + "/" + path)
		must(t, err)
		if got := strings.TrimSpace(string(text)); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	less := int64(32 << 20)
	if err := c.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &less, Swap: &less}, CPU: &specs.LinuxCPU{Cpus: "4095"}}); err == nil {
		t.Error("the processor 4095 was accepted")
	}
	if got := show("MemoryMax"); got != fmt.Sprint(limit) {
		t.Errorf("after an update that was refused MemoryMax is %s, want %d", got, limit)
	}
	if res, err := execIn(t, c, specs.Process{Args: []string{"echo", "inside"}}); err != nil || res.out != "inside\n" {
		t.Errorf("exec: %q %v", res.out, err)
	}
	must(t, c.Pause())
	if s := c.Status(); s != Paused {
		t.Error(s)
	}
	other, err := r.Load(id) // as a later call of the runtime
	must(t, err)
	must(t, other.Resume())
	must(t, r.Delete(id, true))
	c.Wait()
	must(t, r.Delete(id, true))
	if out, _ := exec.Command("systemctl", "show", "--value", "-p", "LoadState", unit).Output(); strings.TrimSpace(string(out)) != "not-found" {
		t.Errorf("the scope is still %s", out)
	}
	for key, value := range map[string]string{"org.systemd.property.KillSignal": "'x", "org.systemd.property.NoSuchProperty": "1"} {
		spec.Annotations = map[string]string{key: value}
		_, err := r.Create(t.Context(), CreateOptions{ID: id, Bundle: newBundle(t), Spec: spec, Systemd: true})
		if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(key, "org.systemd.property.")) {
			t.Errorf("%s=%s: %v", key, value, err)
		}
		if _, loadErr := r.Load(id); !errors.Is(loadErr, fs.ErrNotExist) {
			t.Log(err)
			t.Errorf("%s=%s: what is left: %v", key, value, loadErr)
		}
	}
	spec.Linux.CgroupsPath = "/not/of/systemd"
	if _, err := r.Create(t.Context(), CreateOptions{ID: id, Bundle: newBundle(t), Spec: spec, Systemd: true}); err == nil || !strings.Contains(err.Error(), "linux.cgroupsPath") {
		t.Errorf("a path that is no scope: %v", err)
	}
}
