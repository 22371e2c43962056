package lab_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A user who is not root does a lab from its beginning to its end, by the command line.
func TestWithoutRoot(t *testing.T) {
	dir, err := os.MkdirTemp("/run", "user")
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Chown(dir, 1000, 1000))
	self, err := os.Executable()
	must(t, err)
	data, err := os.ReadFile(self)
	must(t, err)
	program := filepath.Join(dir, "bin", "mydocker")
	must(t, os.Mkdir(filepath.Dir(program), 0o755))
	must(t, os.WriteFile(program, data, 0o755))
	user := func(args ...string) string {
		cmd := exec.Command(program, args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "XDG_RUNTIME_DIR=" + dir, "XDG_STATE_HOME=" + dir + "/state"}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	// By hand; with containers, and with the runtime alone.
	for _, name := range []string{"cable", "docker-network", "runtime"} {
		if out := user("lab", "start", name); !strings.Contains(out, "WARNING: there is one user id only") || !strings.Contains(out, "WARNING: limits do not work") {
			t.Error(out)
		}
		if out := user("lab", "solve", "--all"); !strings.Contains(out, "checks that failed on the way: 0") {
			t.Error(out)
		}
		user("lab", "reset")
	}
	if out := user("sandbox", "status"); strings.Contains(out, "lab-") {
		t.Error(out)
	}
	inUserSandbox(t, user)
}

// inUserSandbox is what containers can and cannot do in a sandbox that a user has made.
func inUserSandbox(t *testing.T, user func(args ...string) string) {
	user("sandbox", "up", "mine")
	defer user("sandbox", "down", "mine")
	for _, c := range []struct{ script, want string }{
		{"mydocker image bootstrap", "Loaded image"},
		{"mydocker run -d --name c1 -p 8080:80 busybox httpd -f -h /etc", ""},
		{"mydocker run -d -p 8080:80 busybox true", "port is already allocated"},
		{"mydocker exec c1 id", "uid=0(root)"},
		{"mydocker exec -u 3 c1 id", "user 3:3 does not exist here: this is a user namespace with few ids"},
		{"mydocker run --rm -u 7 busybox true", "user 7:0 does not exist here"},
		{"mydocker run --rm -m 64m busybox true", "limits do not work here; leave the limit out"},
		{"mydocker run --rm --pids-limit 9 busybox true", "limits do not work here; leave the limit out"},
		{"mydocker pause c1", "the container has no cgroup, because this user may make none, so it cannot be paused"},
		{"mydocker top c1", "httpd -f"},
		{"mydocker commit c1 copy", "goes on while it is committed"},
		{"mydocker run --rm copy sh -c 'rm -r /bin/[m-z]*; ls /bin'", "busybox"},
		{"mydocker run --rm busybox ls -l /dev/null", "1,   3"},
		{"mydocker run --rm busybox mknod /x c 1 3", "Operation not permitted"},
		{"script -qc 'mydocker run --rm -it busybox tty' /dev/null", "/dev/pts/0"},
		{"mydocker run --rm --network host busybox hostname", "host"},
		{"mydocker doctor", "No fault found"},
		// The capture ends by itself with the first packet: the ping goes on until then.
		{"ping -i .2 $(mydocker inspect -f '{{.NetworkSettings.IPAddress}}' c1) >/dev/null & timeout 60 tcpdump -ni mydocker0 -c 1 icmp; kill $!", "1 packet captured"},
		{"on lan ping -i .2 10.99.0.1 >/dev/null & /bin/sh -c 'exec tcpdump -ni eth0 -c 1 icmp'; kill $!", "IP 10.99.0.2 > 10.99.0.1: ICMP echo request"},
	} {
		if out := user("sandbox", "exec", "-n", "mine", "host", "bash", "-c", "exec 2>&1; "+c.script+" || :"); !strings.Contains(out, c.want) {
			t.Errorf("%s: %s, want %s", c.script, out, c.want)
		}
	}
	if out := user("sandbox", "exec", "-n", "mine", "lan", "curl", "-s", "http://10.99.0.1:8080/hostname"); strings.TrimSpace(out) == "" {
		t.Error("the port that is published does not answer")
	}
}
