package container

import (
	"strings"
	"testing"
)

func TestRunTrue(t *testing.T) {
	out := output(t, newBundle(t), "id; hostname; cat /proc/self/status | grep -i -E 'cap|nonew|seccomp'; cat /proc/self/mountinfo; ls -l /dev /proc/self/fd; cat /proc/self/cgroup; ls -l /sys/fs/cgroup; pwd; env")
	t.Log(out)
	if !strings.Contains(out, "uid=0") {
		t.Fatal(out)
	}
}
