package network

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// damage is what somebody does to a link or its port by hand, and the commands that sync shows for it; %[1]s and %[2]s are the outer
// ends of web and of the container alone.
type damage struct {
	name, by string
	shown    []string
}

func damages() []damage {
	tbf := "tc qdisc add dev %[1]s root handle 1: tbf rate 20000000bit burst 25000b latency 50ms"
	inner := "tc -n web qdisc add dev eth0 root handle 1: tbf rate 20000000bit burst 25000b latency 50ms"
	return []damage{
		{"the kernel's own routes", "ip route flush dev br0; ip -6 route flush dev br0", []string{
			"ip route add 172.20.0.0/16 dev br0 proto kernel scope link src 172.20.0.1", "ip -6 route add fd00:20::/64 dev br0 proto kernel metric 256"}},
		{"a bridge's MTU and MAC address", "ip link set br0 mtu 1400 address 02:42:00:00:00:07", []string{"ip link set br0 mtu 1500", "ip link set br0 address 02:42:ac:14:00:01"}},
		{"a bridge without room for IPv6", "ip link set br0 mtu 1000", []string{
			"ip link set br0 mtu 1500", "sysctl -w net/ipv6/conf/br0/accept_ra=0", "sysctl -w net/ipv6/conf/br0/disable_ipv6=0", "ip addr add fd00:20::1/64 dev br0 nodad"}},
		{"a bridge's IPv6", "sysctl -qw net.ipv6.conf.br0.disable_ipv6=1 net.ipv6.conf.br0.accept_ra=1", []string{
			"sysctl -w net/ipv6/conf/br0/accept_ra=0", "sysctl -w net/ipv6/conf/br0/disable_ipv6=0", "ip addr add fd00:20::1/64 dev br0 nodad"}},
		{"a port without hairpin", "bridge link set dev %[1]s hairpin off", []string{"bridge link set dev %[1]s hairpin on"}},
		{"an isolated port", "bridge link set dev %[1]s isolated on", []string{"bridge link set dev %[1]s isolated off"}},
		{"a port that is not isolated", "bridge link set dev %[2]s isolated off", []string{"bridge link set dev %[2]s isolated on"}},
		{"a cable's MTU", "ip link set %[1]s mtu 1400; ip -n web link set eth0 mtu 1300", []string{"ip link set %[1]s mtu 1500", "ip -n web link set eth0 mtu 1500"}},
		{"the inner MAC address", "ip -n web link set eth0 address 02:42:00:00:00:08", []string{"ip -n web link set eth0 address 02:42:ac:14:00:02"}},
		{"the inner routes", "ip -n web route flush dev eth0; ip -n web -6 route flush dev eth0", []string{
			"ip -n web route add 172.20.0.0/16 dev eth0 proto kernel scope link src 172.20.0.2", "ip -n web -6 route add fd00:20::/64 dev eth0 proto kernel metric 256",
			"ip -n web route add default via 172.20.0.1 dev eth0", "ip -n web -6 route add default via fd00:20::1 dev eth0"}},
		{"the inner IPv6", "ip netns exec web sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1", []string{
			"ip netns exec web sysctl -w net/ipv6/conf/eth0/disable_ipv6=0", "ip -n web addr add fd00:20::2/64 dev eth0 nodad", "ip -n web -6 route add default via fd00:20::1 dev eth0"}},
		{"a rate taken away", "tc qdisc del dev %[1]s root; tc -n web qdisc del dev eth0 root", []string{tbf, inner}},
		{"another rate", "tc qdisc change dev %[1]s root tbf rate 30mbit burst 25000b latency 50ms", []string{"tc qdisc del dev %[1]s root", tbf}},
		{"another discipline", "tc -n web qdisc replace dev eth0 root handle 7: pfifo", []string{"tc -n web qdisc del dev eth0 root", inner}},
	}
}

// What somebody has done by hand to links and their ports is shown, mended to the last attribute, and mended by who types what is shown.
func TestSyncLinks(t *testing.T) {
	m := newManager(t)
	ctx := context.Background()
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16", Subnet6: "fd00:20::/64"})
	create(t, m, CreateOptions{Name: "br1", Subnet: "172.21.0.0/16", Options: map[string]string{OptICC: "false", OptMTU: "1400"}})
	web := shapedBox(t, m, "web", Shape{Rate: 20e6})
	start(t, m, "peer", "br0")
	alone := start(t, m, "alone", "br1")
	alone.Guard = nil // as on a kernel without nftables for bridges
	if err := errors.Join(m.saveEndpoint(alone.Endpoint), m.run(ctx, m.executor(), isolatePort(alone.Endpoint))); err != nil {
		t.Fatal(err)
	}
	want := kernelState(t)
	for _, d := range damages() {
		by := fmt.Sprintf(d.by+"%.0[1]s%.0[2]s", web.HostLink, alone.HostLink)
		var shown []string
		for _, c := range d.shown {
			shown = append(shown, fmt.Sprintf(c+"%.0[1]s%.0[2]s", web.HostLink, alone.HostLink))
		}
		for _, mend := range []func() error{
			func() error {
				done, err := m.Sync(ctx, false)
				if !slices.Equal(done, shown) {
					t.Errorf("%s: done: %q", d.name, done)
				}
				return err
			},
			func() error {
				out, err := exec.Command("bash", "-euc", strings.Join(shown, "\n")).CombinedOutput()
				if err != nil {
					err = fmt.Errorf("typed by hand: %w: %s", err, out)
				}
				return err
			},
		} {
			run(t, "bash", "-euc", by)
			if commands, err := m.Sync(ctx, true); err != nil || !slices.Equal(commands, shown) {
				t.Errorf("%s is shown as\n%s\n(%v), want\n%s", d.name, strings.Join(commands, "\n"), err, strings.Join(shown, "\n"))
			}
			if err := mend(); err != nil {
				t.Errorf("%s: %v", d.name, err)
			}
			if got := stateBecomes(t, want); got != want {
				t.Fatalf("%s is not mended:\n%s", d.name, lineDiff(want, got))
			}
			if again, err := m.Sync(ctx, true); err != nil || len(again) > 0 {
				t.Fatalf("%s: a difference is left: %q, %v", d.name, again, err)
			}
		}
	}
}

// What an empty bridge becomes by itself, and what somebody has put on a cable that nobody wanted to be slow, is no difference.
func TestSyncLeavesWhatIsNotOurs(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0", Options: map[string]string{OptMTU: "1400"}})
	create(t, m, CreateOptions{Name: "br1", Options: map[string]string{OptMTU: "1000"}})
	web := start(t, m, "web", "br0")
	run(t, "bash", "-euc", "tc qdisc add dev "+web.HostLink+" root tbf rate 30mbit burst 25000b latency 50ms")
	check := func(when string) {
		t.Helper()
		if commands, err := m.Sync(context.Background(), true); err != nil || len(commands) > 0 {
			t.Errorf("%s: %q, %v", when, commands, err)
		}
	}
	check("with a container")
	if err := m.Release(context.Background(), web.id); err != nil {
		t.Fatal(err)
	}
	for range 1000 { // the last port takes the bridge's MTU along
		if strings.Contains(run(t, "ip", "link", "show", "br0"), "mtu 1500") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	check("without one")
}

// shapedBox is a container on br0 that publishes a port.
func shapedBox(t *testing.T, m *Manager, name string, s Shape) box {
	t.Helper()
	id := containerID(name)
	sb, err := m.CreateSandbox(context.Background(), name, id)
	if err != nil {
		t.Fatal(err)
	}
	ports, err := ParsePort("8080:80")
	if err != nil {
		t.Fatal(err)
	}
	e, err := m.Attach(context.Background(), sb, EndpointOptions{ContainerID: id, ContainerName: name, Network: "br0", Shape: s, Ports: ports})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.closeHeld)
	b := box{sb, e, id}
	awaitCable(t, b)
	return b
}

// stateBecomes gives the kernel the moment that it needs for links to settle.
func stateBecomes(t *testing.T, want string) (got string) {
	t.Helper()
	for range 400 {
		if got = kernelStateNow(t); got == want {
			break
		}
		time.Sleep(25 * time.Millisecond)
	}
	return got
}
