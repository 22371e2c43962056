package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Without root: a user namespace of one's own.
func TestWithoutRoot(t *testing.T) {
	for _, file := range []string{"/proc/sys/user/max_user_namespaces"} {
		if data, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(data)) == "0" {
			t.Fatal("this machine has user namespaces switched off")
		}
	}
	dir, err := os.MkdirTemp("/run", "user")
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Chown(dir, 1000, 1000))
	self, err := os.Executable()
	must(t, err)
	program := filepath.Join(dir, "program") // the tests' directory may be closed to others
	sh(t, "cp "+self+" "+program+" && chmod 755 "+program)
	user := func(args ...string) (string, error) {
		cmd := exec.Command(program, append([]string{"sandbox", dir + "/worlds"}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "FAKE_HOST=1"}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000, NoSetGroups: false}}
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	before := outside(t)
	notes, err := user("up", "mine")
	if err != nil {
		t.Fatalf("%v: %s", err, notes)
	}
	contains(t, "notes", notes, "note-no-branch")
	contains(t, "notes", notes, "note-one-id")
	out, err := user("exec", "mine", "bash", "-c", `set -e
		id -u; ip link add br0 type bridge; ip addr add 172.18.0.1/16 dev br0; ip link set br0 up
		ip netns add red; echo 1 > /proc/sys/net/ipv4/ip_forward
		iptables -t nat -A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE
		curl -sf http://www.example.com/; touch /etc/x /var/lib/mydocker/y; mount -t tmpfs x /mnt || :`)
	if err != nil || out != "0\nThis is www.example.com.\nYou are 10.99.0.1." {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := user("down", "mine"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	must(t, os.RemoveAll(dir))
	if after := outside(t); after != before {
		t.Errorf("the host is not as it was:\n%s", changes(before, after))
	}
}
