package e2e

import (
	"os"
	"strings"
	"testing"
)

// What flags say of mounts, namespaces, devices and attached streams is so inside.
func TestMoreFlags(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	for _, d := range []string{"/a/sub", "/data/part"} {
		if err := os.MkdirAll(dir+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sh(t, "mount -t tmpfs inner "+dir+"/a/sub")
	t.Cleanup(func() { sh(t, "umount "+dir+"/a/sub") })
	try := "touch /a/x 2>/dev/null && echo above; touch /a/sub/x 2>/dev/null && echo below; grep -c ' /a/sub ' /proc/mounts"
	equal(t, "read-only is so below, too", see(t, "-v", dir+"/a:/a:ro", "busybox", "sh", "-c", try+" || :"), "1")
	equal(t, "bind-recursive=writable", see(t, "--mount", "type=bind,src="+dir+"/a,dst=/a,ro,bind-recursive=writable", "busybox", "sh", "-c", try+" || :"), "below\n1")
	equal(t, "bind-recursive=disabled", see(t, "--mount", "type=bind,src="+dir+"/a,dst=/a,bind-recursive=disabled", "busybox", "sh", "-c", try+" || :"), "above\nbelow\n0")
	refused(t, 125, []string{"bind-recursive=readonly", "readonly"}, "run", "--mount", "type=bind,src="+dir+"/a,dst=/a,bind-recursive=readonly", "busybox", "true")

	r := my(t, "run", "--rm", "-a", "stderr", "busybox", "sh", "-c", "echo out; echo err >&2")
	equal(t, "-a stderr", r.out+"|"+r.err, "|err\n")
	refused(t, 125, []string{"attach", "detach"}, "run", "-d", "-a", "stdout", "busybox", "true")
	equal(t, "--cgroupns host", strings.Contains(see(t, "--cgroupns", "host", "busybox", "cat", "/proc/self/cgroup"), "/mydocker/"), true)
	equal(t, "--cgroupns private", strings.Contains(see(t, "--cgroupns", "private", "busybox", "cat", "/proc/self/cgroup"), "/mydocker/"), false)

	other := sleeper(t, "other", "--ipc", "shareable", "--annotation", "a=b")
	equal(t, "--pid container", see(t, "--pid", "container:other", "busybox", "readlink", "/proc/self/ns/pid"), other.exec("readlink", "/proc/self/ns/pid"))
	equal(t, "--ipc container", see(t, "--ipc", "container:other", "busybox", "readlink", "/proc/self/ns/ipc"), other.exec("readlink", "/proc/self/ns/ipc"))
	equal(t, "--annotation", other.inspect("{{.HostConfig.Annotations}}"), "map[a:b]")
	refused(t, 125, []string{"device cgroup format"}, "run", "--device-cgroup-rule", "nonsense", "busybox", "true")
	refused(t, 125, []string{"no block device"}, "run", "--device-read-bps", "/dev/null:1mb", "busybox", "true")
	refused(t, 125, []string{"gpus", "--device"}, "run", "--gpus", "all", "busybox", "true")
	r = my(t, "rm", "-f", "not-here")
	equal(t, "rm -f of what is not there", r.code, 0)
	match(t, "what it says", r.err, "no such container")
}

// An update that contradicts the limits that hold changes nothing, the restart policy neither.
func TestUpdateAllOrNothing(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "update", "-m", "64m", "--memory-swap", "64m")
	before := c.inspect("{{json .HostConfig}}")
	refused(t, 1, []string{"--memory-swap"}, "update", "--restart", "always", "-m", "100m", c.name)
	equal(t, "after a wrong update", c.inspect("{{json .HostConfig}}"), before)
	must(t, "update", "--restart", "on-failure:3", "-m", "80m", "--memory-swap", "80m", c.name)
	equal(t, "after a right one", c.inspect("{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}} {{.HostConfig.Memory}}"), "on-failure 3 83886080")
}
