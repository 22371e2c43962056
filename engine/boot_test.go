package engine

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/network"
)

// A reboot as far as one process can play it: all processes of ours are killed, the running tree is emptied, links and rules
// and namespaces are gone. Afterwards Boot brings back who is to come back, with address, port and name.
func TestBoot(t *testing.T) {
	e := newHost(t, nil)
	ctx := context.Background()
	if _, err := e.Networks().Create(ctx, network.CreateOptions{Name: "boot0", Subnet: "10.77.0.0/24"}); err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for name, policy := range map[string]string{"always": "always", "stopped": "unless-stopped", "kept": "unless-stopped", "never": "no"} {
		o := RunOptions{CreateOptions: CreateOptions{
			Name: name, Image: "busybox", Args: []string{"sleep", "600"}, Network: "boot0", Restart: RestartPolicy{Name: policy},
		}}
		if name == "always" {
			o.Ports = []network.PortMapping{{HostPort: 7777, ContainerPort: 80, Count: 1, Proto: "tcp"}}
		}
		id, _, err := e.RunDetached(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = id
	}
	zero := 0
	if err := e.Stop(ctx, "stopped", &zero, ""); err != nil {
		t.Fatal(err)
	}
	for name, id := range ids { // until a monitor's command line tells whose it is
		for tries := 0; name != "stopped" && exec.Command("pgrep", "-f", "monito[r] "+id).Run() != nil; tries++ {
			if tries == 600 {
				t.Fatalf("%s has no monitor", name)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	reboot(t, e, ids)
	if started, failed, err := e.Boot(ctx); err != nil || len(failed) > 0 {
		t.Fatalf("boot: %v, %v, %v", started, failed, err)
	}
	for name, want := range map[string]string{"always": "running", "kept": "running", "stopped": "exited", "never": "exited"} {
		j, err := e.Inspect(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if j.State.Status != want {
			t.Errorf("after the reboot %s is %s, want %s", name, j.State.Status, want)
		}
		if want == "running" && j.NetworkSettings.IPAddress == "" {
			t.Errorf("%s has no address", name)
		}
	}
	if j, err := e.Inspect(ctx, "never"); err != nil || j.State.ExitCode != lostExitCode {
		t.Errorf("the exit status of one that went down with the machine: %d, %v", j.State.ExitCode, err)
	}
	if out, err := exec.Command("iptables-save", "-t", "nat").Output(); err != nil || !containsAll(string(out), "--dport 7777", "10.77.0.") {
		t.Errorf("the port is not published again: %v\n%s", err, out)
	}
	for name := range ids {
		if err := e.Remove(ctx, name, RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	}
	if err := e.RemoveNetwork(ctx, "boot0"); err != nil {
		t.Error(err)
	}
}

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

func reboot(t *testing.T, e *Engine, ids map[string]string) {
	t.Helper()
	for _, id := range ids {
		// The monitor first, so that it sees nothing; its lock tells who it is.
		out, err := exec.Command("sh", "-c", "pgrep -f 'monito[r] "+id+"'").Output()
		if err == nil {
			var pid int
			for _, c := range string(out) {
				if c == '\n' {
					break
				}
				pid = pid*10 + int(c-'0')
			}
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := e.runtime.Load(id); err == nil && c.Pid() > 0 {
			if err := c.Kill(unix.SIGKILL); err != nil {
				t.Logf("kill %s: %v", id, err)
			}
		}
	}
	for _, id := range ids { // no others: this is the machine's own tree
		if out, err := exec.Command("sh", "-c", "for i in $(seq 600); do rmdir /sys/fs/cgroup/*/mydocker/"+id+"; ls -d /sys/fs/cgroup/*/mydocker/"+id+" || exit 0; sleep 0.1; done >/dev/null 2>&1; exit 1").CombinedOutput(); err != nil {
			t.Fatalf("%v, %s", err, out)
		}
	}
	for _, cmd := range []string{
		"for n in /run/netns/*; do umount $n; rm $n; done; true", "ip link del boot0", "iptables -F; iptables -t nat -F; iptables -t raw -F",
		"iptables -X; iptables -t nat -X; iptables -t raw -X",
	} {
		if out, err := exec.Command("sh", "-c", cmd).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v, %s", cmd, err, out)
		}
	}
	if err := os.RemoveAll(e.Root.Run); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(e.Root.Run), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestUpdate(t *testing.T) {
	e := newHost(t, nil)
	ctx := context.Background()
	id, _, err := e.RunDetached(ctx, RunOptions{CreateOptions: CreateOptions{Name: "upd", Image: "busybox", Args: []string{"sleep", "600"}, Network: "none"}})
	if err != nil {
		t.Fatal(err)
	}
	err = e.Update(ctx, "upd", UpdateOptions{Resources: func(r *Resources) error { r.PidsLimit = 17; return nil }, Restart: &RestartPolicy{Name: "on-failure", MaximumRetryCount: 2}})
	if err != nil {
		t.Fatal(err)
	}
	j, err := e.Inspect(ctx, "upd")
	if err != nil || *j.HostConfig.PidsLimit != 17 || j.HostConfig.RestartPolicy.MaximumRetryCount != 2 {
		t.Errorf("inspect: %+v, %v", j.HostConfig, err)
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/mydocker/" + id + "/pids.max")
	if err != nil || len(groups) == 0 {
		groups = []string{"/sys/fs/cgroup/mydocker/" + id + "/pids.max"}
	}
	if text, err := os.ReadFile(groups[0]); err != nil || string(text) != "17\n" {
		t.Errorf("%s: %q, %v", groups[0], text, err)
	}
	if err := e.Remove(ctx, "upd", RemoveOptions{Force: true}); err != nil {
		t.Error(err)
	}
}
