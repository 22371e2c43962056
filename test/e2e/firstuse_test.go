package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// Subnets are chosen so that they overlap with nothing: not with each other, not with the host's routes.
func TestSubnetIsChosen(t *testing.T) {
	cleanHost(t)
	sh(t, "ip route add 172.18.0.0/16 via 10.99.0.2")
	t.Cleanup(func() { sh(t, "ip route del 172.18.0.0/16 via 10.99.0.2") })
	var taken []netip.Prefix
	for line := range strings.Lines(sh(t, "ip -4 route show | awk '$1 ~ \"/\" {print $1}'")) {
		taken = append(taken, netip.MustParsePrefix(strings.TrimSpace(line)))
	}
	for i := range 20 {
		name := fmt.Sprintf("chosen%d", i)
		makeNetwork(t, name)
		subnet := netip.MustParsePrefix(must(t, "network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", name))
		if !subnet.Addr().IsPrivate() {
			t.Errorf("%s is not a private network", subnet)
		}
		for _, other := range taken {
			if subnet.Overlaps(other) {
				t.Errorf("%s overlaps with %s", subnet, other)
			}
		}
		taken = append(taken, subnet)
	}
}

// On a host that has never seen mydocker the first run makes the default network; ip_forward is switched on.
func TestFirstUse(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	equal(t, "ip_forward before", sh(t, "cat /proc/sys/net/ipv4/ip_forward"), "0")
	must(t, "image", "bootstrap")
	if _, ok := links(t, "")["mydocker0"]; ok {
		t.Error("mydocker0 is there before its first use")
	}
	c := sleeper(t, "first")
	equal(t, "address of mydocker0", links(t, "")["mydocker0"].ipv4(), "172.17.0.1/16")
	equal(t, "address", c.ip(), "172.17.0.2")
	equal(t, "MAC", links(t, "first")["eth0"].MAC, "02:42:ac:11:00:02")
	equal(t, "master", hostEnd(t, c).Master, "mydocker0")
	equal(t, "ip_forward", sh(t, "cat /proc/sys/net/ipv4/ip_forward"), "1")
	equal(t, "network named bridge", sleeper(t, "second", "--network", "bridge").ip(), "172.17.0.3")
}

// When somebody else uses Docker's usual subnet, the default network takes another.
func TestFirstUseWithSubnetTaken(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	sh(t, "ip link add other0 type bridge && ip addr add 172.17.0.1/16 dev other0 && ip link set other0 up")
	must(t, "image", "bootstrap")
	c := sleeper(t, "first")
	if strings.HasPrefix(c.ip(), "172.17.") {
		t.Errorf("the default network overlaps with other0: %s", c.ip())
	}
	c.exec("ping", "-c1", "-W20", "203.0.113.9")
}
