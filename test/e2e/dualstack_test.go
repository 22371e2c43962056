package e2e

import (
	"strings"
	"testing"
)

// A port of a container that has both families is published on both, by either backend, and shown so.
func TestPublishDualStack(t *testing.T) {
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			cleanHost(t)
			t.Cleanup(func() { my(t, "network", "rm", "br6") })
			must(t, "network", "create", "--firewall", backend, "--ipv6", "--subnet", "10.88.0.0/24", "--subnet", "fd00:88::/64", "br6")
			server := web(t, "server", "-net", "br6", "--ip6", "fd00:88::80", "-p", "8080:80", "-p", "[fd99::1]:8081:80", "-p", "[::]:8082:80")
			link, _, _ := strings.Cut(strings.Fields(sh(t, "ip -6 -o addr show dev eth0 scope link"))[3], "/")
			peer := sleeper(t, "peer", "-net", "br6")
			for _, from := range []struct {
				where string
				fetch func() string
			}{
				{"the neighbour", func() string { return neighbour(t, "curl -sS --max-time 60 http://[fd99::1]:8080/") }},
				{"the neighbour by IPv4", func() string { return neighbour(t, "curl -sS --max-time 60 http://10.99.0.1:8080/") }},
				{"the neighbour, one address", func() string { return neighbour(t, "curl -sS --max-time 60 http://[fd99::1]:8081/") }},
				{"the neighbour, IPv6 only", func() string { return neighbour(t, "curl -sS --max-time 60 http://[fd99::1]:8082/") }},
				{"the neighbour, one link's address", func() string { return neighbour(t, "curl -sS --max-time 60 'http://["+link+"%eth0]:8080/'") }},
				{"the neighbour, one link's address, IPv6 only", func() string { return neighbour(t, "curl -sS --max-time 60 'http://["+link+"%eth0]:8082/'") }},
				{"the host by one link's address", func() string { return sh(t, "curl -sS --max-time 60 'http://["+link+"%eth0]:8080/'") }},
				{"the host", func() string { return mustGet(t, "http://[fd99::1]:8080/") }},
				{"the host by ::1", func() string { return mustGet(t, "http://[::1]:8080/") }},
				{"the host by localhost", func() string { return mustGet(t, "http://localhost:8080/") }},
				{"the host by 127.0.0.1", func() string { return mustGet(t, "http://127.0.0.1:8080/") }},
				{"a peer", func() string { return peer.exec("timeout", "60", "wget", "-qO-", "http://[fd99::1]:8080/") }},
				{"a peer, the container's address", func() string { return peer.exec("timeout", "60", "wget", "-qO-", "http://[fd00:88::80]/") }},
				{"itself", func() string { return server.exec("timeout", "60", "wget", "-qO-", "http://[fd99::1]:8080/") }},
			} {
				equal(t, "page from "+from.where, from.fetch(), "page of server")
			}
			equal(t, "client that the server sees", neighbour(t, "curl -sS --max-time 60 http://[fd99::1]:8080/cgi-bin/who"), "fd99::2")
			equal(t, "IPv6 only is not IPv4", neighbour(t, "curl -s --max-time 1 http://10.99.0.1:8082/ || echo none"), "none")
			equal(t, "mydocker port", must(t, "port", "server"), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n80/tcp -> [fd99::1]:8081\n80/tcp -> [::]:8082")
			match(t, "ps", must(t, "ps"), `0\.0\.0\.0:8080->80/tcp, \[::\]:8080->80/tcp`)
			equal(t, "inspect", server.inspect(`{{range (index .NetworkSettings.Ports "80/tcp")}}{{.HostIp}} {{.HostPort}},{{end}}`), "0.0.0.0 8080,:: 8080,fd99::1 8081,:: 8082,")
			rules := sh(t, "iptables-save; ip6tables-save")
			if (backend == "iptables") != strings.Contains(rules, "mydocker server 0.0.0.0:8080") {
				t.Errorf("with %s iptables shows\n%s", backend, rules)
			}
		})
	}
}
