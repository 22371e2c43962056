package e2e

import (
	"strings"
	"testing"
)

// Large packets by the command line: said of the network, shown, and set on every cable, however the container comes to it. On an internal
// network they are IPv6's as well, whose size every `ip` shows.
func TestLargePackets(t *testing.T) {
	cleanHost(t)
	const option, words = "mydocker.bridge.gso_max_size", `gso_max_size 196608 gro_max_size 196608 gso_ipv4_max_size 196608 gro_ipv4_max_size 196608`
	makeNetwork(t, "fast", "--internal", "-o", option+"=196608")
	makeNetwork(t, "usual")
	equal(t, "inspect", must(t, "network", "inspect", "-f", `{{index .Options "`+option+`"}}`, "fast"), "196608")
	for _, size := range []string{"65535", "524281", "much"} {
		refused(t, 1, []string{option, "from 65536", "524280"}, "network", "create", "-o", option+"="+size, "bad")
	}
	c := sleeper(t, "cc", "-net", "usual")
	set := func(what, where, link string) {
		t.Helper()
		match(t, what, sh(t, "ip "+where+" -d link show "+link), `gso_max_size 196608 .*gro_max_size 196608 `)
	}
	usual := sh(t, "ip -n cc -d link show eth0")
	if strings.Contains(usual, "_max_size 196608") {
		t.Errorf("nobody has asked for it:\n%s", usual)
	}
	explained := my(t, "--explain", "network", "connect", "fast", "cc").err
	match(t, "connect --explain", explained, `ip -n cc link set dev eth1 `+words)
	match(t, "connect --explain", explained, `ip link set dev fast `+words)
	set("connected", "-n cc", "eth1")
	set("the bridge", "", "fast")
	must(t, "restart", "-t", "0", c.name)
	set("restarted", "-n cc", "eth1")
	match(t, "plan", must(t, "network", "plan", "fast"), `(?m)^ip -n cc link set dev eth1 `+words)
	match(t, "dry-run", must(t, "run", "--dry-run", "--net", "fast", "--name", "dry", "busybox", "true"), `(?m)^ip -n dry link set dev eth0 `+words)
	if strings.Contains(must(t, "network", "plan", "usual"), "max_size") {
		t.Error("the plan of a usual network speaks of sizes")
	}
}
