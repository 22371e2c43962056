package trace

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/test/host"
)

// The tests run on a host that is made of namespaces: TestMain starts the program once more in namespaces of its own.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces: run them as root")
		os.Exit(1)
	}
	if slices.Contains(os.Args, "-test.fuzzworker") {
		os.Exit(m.Run())
	}
	if os.Getenv("MYDOCKER_TEST_HOLD") != "" {
		hold()
		return
	}
	if os.Getenv("MYDOCKER_TEST_WORLD") == "" {
		os.Exit(host.Again("MYDOCKER_TEST_WORLD=1", unix.CLONE_NEWNS|unix.CLONE_NEWNET|unix.CLONE_NEWPID))
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		fmt.Fprintln(os.Stderr, "mount proc:", err)
		os.Exit(1)
	}
	if err := shell(`modprobe -q br_netfilter || true; mount -t tmpfs tmpfs /run; mkdir /run/etc; cp -a /etc/. /run/etc/ 2>/dev/null || true; mount --bind /run/etc /etc; mkdir -p /run/netns /run/lock; ip link set lo up
		ip netns add lan; ip link add eth0 type veth peer name eth0 netns lan
		ip addr add 10.99.0.1/24 dev eth0; ip link set eth0 up; ip -n lan addr add 10.99.0.2/24 dev eth0; ip -n lan link set eth0 up
		ip route add default via 10.99.0.2; ip -n lan link set lo up; ip -n lan addr add 203.0.113.9/32 dev lo
		ip addr add fd99::1/64 dev eth0 nodad; ip -n lan addr add fd99::2/64 dev eth0 nodad; ip route add default via fd99::2
		mkdir -p /etc/netns; echo 0 > /proc/sys/net/ipv4/ip_forward`); err != nil {
		fmt.Fprintln(os.Stderr, "make the fake host:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func shell(script string) error {
	out, err := exec.Command("bash", "-euc", script).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func must(t testing.TB, script string) {
	t.Helper()
	if err := shell(script); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}
