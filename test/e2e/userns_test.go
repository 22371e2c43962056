package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// subIDs gives sub-ids to a user for the time of a test.
func subIDs(t *testing.T, user string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "subid")
	if err := os.WriteFile(file, []byte(user+":100000:65536\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/etc/subuid", "/etc/subgid"} {
		if f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o644); err == nil {
			f.Close()
		}
		if err := unix.Mount(file, target, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(target, unix.MNT_DETACH) })
	}
}

// --userns-remap: root of the container is nobody on the host, owns its files, volumes and network all the same, and the
// image's layers are not copied for it.
func TestUsernsRemap(t *testing.T) {
	cleanHost(t)
	subIDs(t, "dockremap")
	layers := sh(t, "find /var/lib/mydocker/layers | sort")
	c := start(t, "remapped", "--userns-remap", "default", "--cap-add", "NET_ADMIN", "-v", "usersvol:/data", "-p", "8088:80", "busybox", "sh", "-c",
		"touch /data/by-remapped /own; mkdir -p /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www")
	eventually(t, func() string {
		if out := sh(t, "curl -s -m 2 http://127.0.0.1:8088/ || true"); out != "page" {
			return "the published port says " + out
		}
		return ""
	})
	match(t, "the mapping", c.exec("cat", "/proc/self/uid_map"), `^\s*0\s+100000\s+65536$`)
	equal(t, "inside it is root", c.exec("id", "-u"), "0")
	equal(t, "owners inside", c.exec("stat", "-c", "%u:%g", "/bin/busybox", "/own", "/data/by-remapped", "/etc/hosts"), "0:0\n0:0\n0:0\n0:0")
	equal(t, "power over its own network", c.exec("sh", "-c", "ip link set lo down && ip link set lo up && echo ok"), "ok")
	var st unix.Stat_t
	if err := unix.Stat("/proc/"+strings.TrimSpace(sh(t, "echo "+c.inspect("{{.State.Pid}}"))), &st); err != nil || st.Uid != 100000 {
		t.Errorf("outside it is user %d (%v)", st.Uid, err)
	}
	equal(t, "a file of the host's root", my(t, "exec", c.name, "sh", "-c", "echo x > /proc/sys/kernel/core_pattern").code, 1)
	equal(t, "without the remapping the volume is root's too", see(t, "-v", "usersvol:/data", "busybox", "stat", "-c", "%u", "/data/by-remapped"), "0")
	equal(t, "the layers", sh(t, "find /var/lib/mydocker/layers | sort"), layers)
	must(t, "restart", "-t", "0", c.name)
	equal(t, "after a restart", c.exec("id", "-u"), "0")
	must(t, "rm", "-f", "-v", c.name)
	must(t, "volume", "rm", "usersvol")
	equal(t, "--userns host", strings.Join(strings.Fields(see(t, "--userns-remap", "default", "--userns", "host", "busybox", "cat", "/proc/self/uid_map")), " "), "0 0 4294967295")
	refused(t, 125, []string{"/etc/subuid", "nobodyknows"}, "run", "--rm", "--userns-remap", "nobodyknows", "busybox", "true")
	refused(t, 125, []string{"privileged mode is incompatible with user namespaces"}, "run", "--rm", "--privileged", "--userns-remap", "default", "busybox", "true")
	refused(t, 125, []string{"cannot share the host's network namespace"}, "run", "--rm", "--net", "host", "--userns-remap", "default", "busybox", "true")
}
