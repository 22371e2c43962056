package lab_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mydocker/mydocker/lab"
)

// machine is what labs could change on the host that the tests run on.
func machine(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("bash", "-c", `ip netns list | cut -d' ' -f1 | sort; ip -o addr | grep -v fe80 | awk '{print $2, $4}'; ip route | sed 's/ linkdown//; s/ *$//'
		ip -o link | sed -nE 's/^[0-9]+: ([^:@]+).*/\1/p'; iptables-save | grep -E '^-A|DROP'; sysctl net.ipv4.ip_forward; mydocker ps -aq; mydocker images -q; mydocker network ls`).CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return string(out)
}

// Labs on the machine itself, and the machine afterwards.
func TestHere(t *testing.T) {
	bin := t.TempDir()
	self, err := os.Executable()
	must(t, err)
	must(t, os.Symlink(self, filepath.Join(bin, "mydocker")))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	sh := func(script string) {
		t.Helper()
		if out, err := exec.Command("bash", "-ec", script).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", script, err, out)
		}
	}
	// What was there before, and is to stay.
	sh(`ip netns add keep; ip link add mine type bridge; ip addr add 192.0.2.1/24 dev mine; ip link set mine up
		iptables -A INPUT -s 192.0.2.9 -j DROP; iptables -P FORWARD DROP; sysctl -qw net.ipv4.ip_forward=0`)
	t.Cleanup(func() {
		sh(`ip netns del keep; ip link del mine; iptables -D INPUT -s 192.0.2.9 -j DROP; iptables -P FORWARD ACCEPT`)
	})
	before := machine(t)
	d := newDesk(t)
	if _, _, err := d.StartHere("nat-out"); err == nil || !strings.Contains(err.Error(), "needs the neighbour and the internet of a sandbox") {
		t.Error(err)
	}
	for _, name := range []string{"cable", "names"} {
		l, p, err := d.StartHere(name)
		must(t, err)
		if !p.Here {
			t.Error("it does not remember where it is")
		}
		if _, _, err := d.StartHere(name); !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
		if _, _, err := d.Start(name); !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
		for range l.Steps {
			done, out, err := d.Solve(name)
			must(t, err)
			r, err := d.Check(name, done.Word)
			if err != nil || r.Failed != nil {
				t.Fatalf("%v %+v %s", err, r, out)
			}
		}
		// Damage that the lab did not ask for.
		sh(`iptables -F; iptables -P FORWARD ACCEPT; iptables -t nat -A POSTROUTING -j MASQUERADE; ip link set mine down; ip addr del 192.0.2.1/24 dev mine
			ip addr add 192.0.2.2/24 dev mine; sysctl -qw net.ipv4.ip_forward=1; ip route del default
			if [ -e /run/netns/red ]; then ip netns exec red sleep 100 >/dev/null 2>&1 & until ip netns pids red | grep -q .; do sleep 0.1; done; fi`)
		_, err = d.Reset(name)
		must(t, err)
		after := machine(t)
		for try := 0; try < 600 && after != before; try++ { // the kernel takes namespaces and their cables down in the background
			time.Sleep(100 * time.Millisecond)
			after = machine(t)
		}
		if after != before {
			t.Errorf("after lab %s the machine was\n%s\nand is\n%s", name, before, after)
		}
		if _, err := d.Notebook.Read(name); !errors.Is(err, fs.ErrNotExist) {
			t.Error("the progress is still there")
		}
	}
	if left, err := filepath.Glob(d.Notebook.Dir + "/*.here"); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	if _, err := lab.Parse("x.en.md", "x", []byte("---\ntitle: x\nabout: y\nhere: maybe\n---\n## S\n")); err == nil || !strings.Contains(err.Error(), `here is "maybe": yes or no`) {
		t.Error(err)
	}
}
