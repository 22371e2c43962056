package e2e

import (
	"bytes"
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
		if out := sh(t, "curl -s -m 60 http://127.0.0.1:8088/ || true"); out != "page" {
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

// mydocker cp with a container whose root is nobody on the host, running and stopped, in both directions: owners are the
// container's own, in its root file system, in a volume and in what the host lends.
func TestCopyRemapped(t *testing.T) {
	cleanHost(t)
	subIDs(t, "dockremap")
	dir := t.TempDir()
	sh(t, "cd "+dir+" && mkdir tree lent && echo one > tree/one && echo two > tree/two && chown 5:6 tree/two && chmod 640 tree/two && chown 100000:100000 lent")
	powers := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // cap_net_bind_service, revision 2
	if err := unix.Setxattr(dir+"/tree/two", "security.capability", powers, 0); err != nil {
		t.Fatal(err)
	}
	c := start(t, "copied", "--userns-remap", "default", "-v", "copyvol:/data", "-v", dir+"/lent:/lent", "busybox", "sleep", "1000")
	must(t, "exec", c.name, "sh", "-c", "mkdir /own && echo x > /own/seven && chown 7:8 /own/seven && cp -a /own /data/")
	for _, running := range []bool{true, false} {
		what := "running"
		if !running {
			what = "stopped"
			must(t, "stop", "-t", "0", c.name)
		}
		for _, place := range []string{"/own", "/data", "/lent", ""} {
			must(t, "cp", dir+"/tree/.", c.name+":"+place+"/"+what)
			must(t, "cp", "-a", dir+"/tree/.", c.name+":"+place+"/"+what+"-a")
		}
		sh(t, "tar -C "+dir+" --numeric-owner -cf - tree/two | "+binary+" cp - "+c.name+":/own/"+what)
		for _, place := range []string{"/own", "/data"} {
			equal(t, "owner in an archive, "+what+place, sh(t, binary+" cp -a "+c.name+":"+place+"/. - | tar --numeric-owner -tv | grep seven | awk '{print $2}'"), "7/8")
		}
		out := filepath.Join(dir, "out-"+what)
		must(t, "cp", "-a", c.name+":/own", out)
		must(t, "cp", c.name+":/own/seven", out+"/plain")
		equal(t, "owners on the host, "+what, sh(t, "cd "+out+" && stat -c %u:%g . seven plain"), "0:0\n7:8\n0:0")
	}
	must(t, "start", c.name)
	for _, what := range []string{"running", "stopped"} {
		for _, place := range []string{"/own/", "/data/", "/lent/", "/"} {
			plain, kept := place+what, place+what+"-a"
			equal(t, "owners in "+plain, must(t, "exec", c.name, "stat", "-c", "%u:%g %a", plain, plain+"/one", kept+"/one", kept+"/two"),
				"0:0 755\n0:0 644\n0:0 644\n5:6 640")
		}
		equal(t, "a file of a piped archive", must(t, "exec", c.name, "cat", "/own/"+what+"/tree/two"), "two")
	}
	// Powers of a file hold in the container, not beyond: they belong to its root (xattr revision 3, with his id).
	file := filepath.Join("/proc", c.inspect("{{.State.Pid}}"), "root/own/running-a/two")
	value := make([]byte, 100)
	n, err := unix.Getxattr(file, "security.capability", value)
	if want := append([]byte{1, 0, 0, 3, 0, 4}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa0, 0x86, 1, 0); err != nil || !bytes.Equal(value[:n], want) {
		t.Errorf("the powers of a file: %x, want %x (%v)", value[:max(n, 0)], want, err)
	}
	must(t, "rm", "-f", "-v", c.name)
	must(t, "volume", "rm", "copyvol")
}
