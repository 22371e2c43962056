package e2e

import (
	"strings"
	"testing"
)

// Ports are published by the network that has the default route, as the answers go that way; they follow it when it changes. An internal
// network publishes nothing.
func TestPortsFollowTheDefaultRoute(t *testing.T) {
	cleanHost(t)
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			makeNetwork(t, "shut", "--internal", "--firewall", backend)
			makeNetwork(t, "front", "--firewall", backend)
			makeNetwork(t, "back", "--firewall", backend, "--subnet", "10.83.0.0/24")
			r := my(t, "run", "--rm", "-net", "shut", "-p", "8100:80", "busybox", "true")
			match(t, "only an internal network", r.err, "published ports are discarded")
			c := web(t, "mover", "-net", "shut", "-p", "8100:80", "--expose", "81", "-P")
			published := func(want string) {
				t.Helper()
				if want == "" {
					equal(t, "port", must(t, "port", "mover"), "")
					unreachable(t, "127.0.0.1:8100")
					return
				}
				match(t, "port", must(t, "port", "mover"), `(?m)^80/tcp -> 0\.0\.0\.0:8100$`)
				match(t, "the default route", sh(t, "ip -n mover route"), `default via `+want)
				for _, host := range []string{"127.0.0.1", "[::1]", "10.99.0.1"} {
					equal(t, "from the host by "+host, mustGet(t, "http://"+host+":8100/"), "page of mover")
				}
				equal(t, "from the LAN", neighbour(t, "curl -sS --max-time 60 http://10.99.0.1:8100/"), "page of mover")
				match(t, "network plan", must(t, "network", "plan", map[bool]string{true: "back", false: "front"}[want[:5] == "10.83"]), "8100")
			}
			published("")
			must(t, "network", "connect", "front", "mover")
			front := must(t, "network", "inspect", "-f", "{{range .IPAM.Config}}{{.Gateway}}{{end}}", "front")
			published(front)
			must(t, "network", "connect", "--gw-priority", "1", "back", "mover")
			published("10.83.0.1")
			must(t, "restart", "-t", "0", c.name)
			c.listens(80)
			published("10.83.0.1")
			chosen := must(t, "port", "mover", "81")
			must(t, "network", "disconnect", "back", "mover")
			published(front)
			equal(t, "a chosen port stays the same", must(t, "port", "mover", "81"), chosen)
			must(t, "network", "disconnect", "front", "mover")
			published("")
			must(t, "rm", "-f", "mover")
		})
	}
}

// A port on an IPv6 address is published as long as the container is on a network with IPv6: it goes with the last of them and comes
// back with the next. A proxy needs none.
func TestPortsOnIPv6ComeBack(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "four")
	makeNetwork(t, "six", "--ipv6")
	makeNetwork(t, "late", "--ipv6", "--firewall", "nftables")
	for _, flags := range [][]string{{"-p", "8100:80"}, {"-p", "8100:80", "--userland-proxy"}, nil} {
		c := web(t, "mover", append(flags, "-p", "[fd99::1]:8101:80", "-net", "six")...)
		must(t, "network", "connect", "four", c.name)
		published := func(six bool) {
			t.Helper()
			six = six || len(flags) == 3
			equal(t, "port 8101", strings.Contains(must(t, "port", c.name), "80/tcp -> [fd99::1]:8101"), six)
			if flags != nil {
				equal(t, "the other port", mustGet(t, "http://10.99.0.1:8100/"), "page of mover")
			}
			if six {
				equal(t, "from the LAN", neighbour(t, "curl -sSg --max-time 60 http://[fd99::1]:8101/"), "page of mover")
			} else {
				unreachable(t, "[fd99::1]:8101")
			}
		}
		for _, n := range []string{"six", "late"} {
			if n == "late" {
				must(t, "network", "connect", n, c.name)
			}
			published(true)
			must(t, "network", "disconnect", n, c.name)
			published(false)
		}
		must(t, "network", "disconnect", "four", c.name)
		must(t, "network", "connect", "four", c.name)
		published(false)
		must(t, "rm", "-f", c.name)
	}
}
