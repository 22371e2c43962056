package host

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// lan makes a host with a neighbour, lan, which is its way out, and beyond whom 203.0.113.9 answers.
const lan = `modprobe -q br_netfilter || true; mount -t tmpfs tmpfs /run; mkdir /run/etc; cp -a /etc/. /run/etc/ 2>/dev/null || true; mount --bind /run/etc /etc
mkdir -p /run/netns /run/lock /etc/netns; ip link set lo up
ip netns add lan; ip link add eth0 type veth peer name eth0 netns lan
ip addr add 10.99.0.1/24 dev eth0; ip link set eth0 up; ip -n lan addr add 10.99.0.2/24 dev eth0; ip -n lan link set eth0 up
ip route add default via 10.99.0.2; ip -n lan link set lo up; ip -n lan addr add 203.0.113.9/32 dev lo
ip addr add fd99::1/64 dev eth0 nodad; ip -n lan addr add fd99::2/64 dev eth0 nodad; ip route add default via fd99::2
echo 0 > /proc/sys/net/ipv4/ip_forward`

// RunOnLAN is the last line of a TestMain: os.Exit(host.RunOnLAN(m)). It is lighter than Run: network, mount and pid namespaces, with links,
// rules and a /run of their own.
func RunOnLAN(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces: run them as root")
		return 1
	}
	if slices.Contains(os.Args, "-test.fuzzworker") { // a child of a process that has made the host
		return m.Run()
	}
	if os.Getenv("MYDOCKER_TEST_WORLD") == "" {
		return Again("MYDOCKER_TEST_WORLD=1", unix.CLONE_NEWNS|unix.CLONE_NEWNET|unix.CLONE_NEWPID)
	}
	err := unix.Mount("proc", "/proc", "proc", 0, "")
	if err == nil {
		err = Try(lan)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "make the fake host:", err)
		return 1
	}
	return m.Run()
}

// Try runs a script.
func Try(script string) error {
	out, err := exec.Command("bash", "-euc", script).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", script, err, out)
	}
	return nil
}

// Shell runs a script, which has to succeed.
func Shell(t testing.TB, script string) {
	t.Helper()
	if err := Try(script); err != nil {
		t.Fatal(err)
	}
}
