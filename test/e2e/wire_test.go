package e2e

import (
	"strings"
	"testing"
)

// Macvlan and ipvlan by the command line; a kernel without them says so.
func TestOnTheWire(t *testing.T) {
	cleanHost(t)
	for _, driver := range []string{"macvlan", "ipvlan"} {
		flags := []string{"network", "create", "-d", driver, "--subnet", "10.99.0.0/24", "--gateway", "10.99.0.2", "-o", "parent=eth0", "wire"}
		if r := my(t, flags...); r.code != 0 {
			match(t, "refusal of "+driver, r.err, "this kernel has no links of the kind "+driver+": .*modprobe "+driver)
			if strings.Contains(must(t, "network", "ls"), "wire") {
				t.Errorf("%s: the network was made all the same", driver)
			}
			continue
		}
		equal(t, "driver", must(t, "network", "ls", "--filter", "driver="+driver, "--format", "{{.Name}}"), "wire")
		c := sleeper(t, "wired", "-net", "wire", "--ip", "10.99.0.77")
		c.exec("ping", "-c1", "-W20", "10.99.0.2")
		sh(t, "ip netns exec neighbour ping -c1 -W20 10.99.0.77")
		match(t, "inside", sh(t, "ip -n wired -d link show eth0"), driver+" +mode ")
		r := my(t, "run", "-d", "--name", "published", "-net", "wire", "-p", "8080:80", "busybox", "sleep", "1000")
		equal(t, "exit status of -p", r.code, 0)
		match(t, "warning", r.err, "published ports are discarded")
		must(t, "network", "disconnect", "wire", "published")
		makeNetwork(t, "br0")
		must(t, "network", "connect", "br0", "published")
		must(t, "network", "connect", "wire", "published")
		match(t, "both networks", sh(t, "ip -n published -br addr"), `(?s)eth0\S+ .*eth1`)
		refused(t, 1, []string{"wire", "wired"}, "network", "rm", "wire")
		must(t, "restart", "-t", "0", "wired", "published") // now it has a bridge: its port is published there
		equal(t, "port", must(t, "port", "published"), "80/tcp -> 0.0.0.0:8080")
		c.exec("ping", "-c1", "-W20", "10.99.0.2")
		must(t, "rm", "-f", "wired", "published")
		must(t, "network", "rm", "wire", "br0")
	}
}
