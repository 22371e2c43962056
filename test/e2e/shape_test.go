package e2e

import (
	"strings"
	"testing"
)

// Shaping by the command line: at the start, on a running container, on a second network, after a restart, and away again.
func TestShaping(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0")
	makeNetwork(t, "br1")
	c := sleeper(t, "shaped", "-net", "br0", "--net-rate", "10mbit", "--net-burst", "40kb")
	inner := func(link string) string { return sh(t, "tc -n shaped qdisc show dev "+link) }
	match(t, "inside", inner("eth0"), `^qdisc tbf 1: root refcnt \d+ rate 10Mbit burst 40Kb lat 50`)
	match(t, "outside", sh(t, "tc qdisc show dev "+hostEnd(t, c).Name), `^qdisc tbf 1: root refcnt \d+ rate 10Mbit burst 40Kb`)

	must(t, "network", "connect", "--net-rate", "1gbit", "br1", "shaped")
	match(t, "the second network", inner("eth1"), `^qdisc tbf 1: root refcnt \d+ rate 1Gbit`)
	must(t, "network", "shape", "--net-rate", "500kbit", "br1", "shaped")
	match(t, "the second network, changed", inner("eth1"), `rate 500Kbit`)
	must(t, "update", "--net-rate", "20mbit", "shaped")
	match(t, "update", inner("eth0"), `rate 20Mbit burst 40Kb`)

	must(t, "restart", "-t", "0", "shaped")
	match(t, "after a restart", inner("eth0"), `rate 20Mbit burst 40Kb`)
	match(t, "after a restart, the second network", inner("eth1"), `rate 500Kbit`)

	must(t, "network", "shape", "--net-rate", "0", "br0", "shaped")
	equal(t, "without a limit", inner("eth0"), "qdisc noqueue 0: root refcnt 2 ")

	refused(t, 1, []string{"--net-rate", "fast"}, "network", "shape", "--net-rate", "fast", "br0", "shaped")
	refused(t, 125, []string{"--net-rate", "host"}, "run", "--rm", "--net", "host", "--net-rate", "1mbit", "busybox", "true")
	refused(t, 125, []string{"burst", "packet"}, "run", "--rm", "-net", "br0", "--net-rate", "1mbit", "--net-burst", "100b", "busybox", "true")
	r := my(t, "--explain", "run", "--rm", "--net", "name=br0,net-rate=5mbit", "busybox", "true")
	match(t, "--explain", r.err, `(?m)^.*tc qdisc add dev veth\w+ root handle 1: tbf rate 5000000bit burst 15140b latency 50ms`)
}

// Delay needs a module that not every kernel has: without it nothing is begun.
func TestDelay(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0")
	r := my(t, "run", "-d", "--name", "far", "-net", "br0", "--net-delay", "60ms", "busybox", "sleep", "1000")
	if r.code == 0 {
		t.Cleanup(func() { my(t, "rm", "-f", "far") })
		match(t, "inside", sh(t, "tc -n far qdisc show dev eth0"), `netem 1: root refcnt \d+ limit 10000 delay 60ms`)
		must(t, "network", "shape", "--net-delay", "0", "--net-loss", "2.5%", "br0", "far")
		match(t, "changed", sh(t, "tc -n far qdisc show dev eth0"), `netem 1: root refcnt \d+ limit 10000 loss 2.5%`)
		return
	}
	equal(t, "exit status", r.code, 125)
	match(t, "refusal", r.err, `--net-delay.*this kernel has no queueing discipline netem \(module sch_netem`)
	if strings.Contains(must(t, "ps", "-a", "--format", "{{.Names}}"), "far") {
		t.Error("the container was made all the same")
	}
}
