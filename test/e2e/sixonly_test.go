package e2e

import (
	"slices"
	"strings"
	"testing"
)

// A network without IPv4, from create to gc, by either backend.
func TestNetworkWithoutIPv4(t *testing.T) {
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			cleanHost(t)
			t.Cleanup(func() { my(t, "network", "rm", "six", "four") })
			must(t, "network", "create", "--firewall", backend, "--ipv4=false", "--ipv6", "--subnet", "fd00:66::/64", "--gateway", "fd00:66::fe",
				"--ip-range", "fd00:66::100/120", "--aux-address", "printer=fd00:66::101", "six")
			must(t, "network", "create", "four")
			equal(t, "ls", must(t, "network", "ls", "--filter", "name=six", "--format", "{{.Name}} {{.IPv4}} {{.IPv6}}"), "six false true")
			equal(t, "ls of the others", must(t, "network", "ls", "--filter", "name=four", "--format", "{{.Name}} {{.IPv4}} {{.IPv6}}"), "four true false")
			equal(t, "inspect", must(t, "network", "inspect", "-f", "{{.EnableIPv4}} {{.EnableIPv6}} {{json .IPAM.Config}}", "six"),
				`false true [{"Subnet":"fd00:66::/64","IPRange":"fd00:66::100/120","Gateway":"fd00:66::fe","AuxiliaryAddresses":{"printer":"fd00:66::101"}}]`)
			for _, name := range []string{"four", "bridge", "host", "none"} {
				equal(t, "EnableIPv4 of "+name, must(t, "network", "inspect", "-f", "{{.EnableIPv4}}", name), "true")
			}
			refused(t, 1, []string{"IPv4 or IPv6 must be enabled"}, "network", "create", "--ipv4=false", "bad")
			refused(t, 125, []string{"--ip 10.0.0.9", "has no IPv4"}, "run", "--rm", "--net", "six", "--ip", "10.0.0.9", "busybox", "true")
			server := web(t, "server", "-net", "six", "-p", "8080:80", "-p", "[::]:8081:80")
			chosen := sleeper(t, "chosen", "-net", "six", "--ip6", "fd00:66::177", "--add-host", "box:host-gateway")
			refused(t, 125, []string{"network six has no IPv4"}, "run", "--rm", "--net", "six", "-p", "127.0.0.1:8085:80", "busybox", "true")
			sixOnlySeen(t, server, chosen)
			sixOnlyReached(t, server, chosen)
			sixOnlyMended(t, backend)
			sixOnlyMoved(t, server)
			equal(t, "gc", must(t, "gc"), "")
		})
	}
}

func sixOnlySeen(t *testing.T, server, chosen *ctr) {
	t.Helper()
	const format = `{{with .NetworkSettings}}{{with .Networks.six}}[{{.IPAddress}}] {{.IPPrefixLen}} [{{.Gateway}}] {{.GlobalIPv6Address}}/{{.GlobalIPv6PrefixLen}} {{.IPv6Gateway}}{{end}}{{end}}`
	equal(t, "inspect", server.inspect(format), "[] 0 [] fd00:66::100/64 fd00:66::fe")
	equal(t, "--ip6", chosen.inspect(format), "[] 0 [] fd00:66::177/64 fd00:66::fe")
	listed := must(t, "network", "inspect", "-f", `{{range .Containers}}{{.Name}} [{{.IPv4Address}}] {{.IPv6Address}},{{end}}`, "six")
	for _, one := range []string{"chosen [] fd00:66::177/64,", "server [] fd00:66::100/64,"} {
		if !strings.Contains(listed, one) {
			t.Errorf("inspect of the network: %s lacks %s", listed, one)
		}
	}
	equal(t, "ports", server.inspect(`{{range (index .NetworkSettings.Ports "80/tcp")}}{{.HostIp}} {{.HostPort}},{{end}}`), ":: 8080,:: 8081,")
	equal(t, "mydocker port", must(t, "port", "server"), "80/tcp -> [::]:8080\n80/tcp -> [::]:8081")
	equal(t, "IPv4 of eth0", sh(t, "ip -n server -4 addr show dev eth0; ip -n server -4 route; ip -4 addr show dev six"), "")
	match(t, "the way out", sh(t, "ip -n server -6 route show default"), "^default via fd00:66::fe dev eth0")
	match(t, "hosts", server.exec("cat", "/etc/hosts"), "(?m)^fd00:66::100\t"+server.id[:12]+"$")
	match(t, "host-gateway", chosen.exec("cat", "/etc/hosts"), "(?m)^fd00:66::fe\tbox$")
	match(t, "resolver", chosen.exec("nslookup", "-type=aaaa", "server.", "127.0.0.11"), "fd00:66::100")
}

func sixOnlyReached(t *testing.T, server, chosen *ctr) {
	t.Helper()
	for _, from := range []struct {
		where string
		fetch func() string
	}{
		{"the neighbour", func() string { return neighbour(t, "curl -sS --max-time 60 http://[fd99::1]:8080/") }},
		{"the neighbour, on ::", func() string { return neighbour(t, "curl -sS --max-time 60 http://[fd99::1]:8081/") }},
		{"the host", func() string { return mustGet(t, "http://[fd99::1]:8080/") }},
		{"the host by ::1", func() string { return mustGet(t, "http://[::1]:8080/") }},
		{"the host by ::1, on ::", func() string { return mustGet(t, "http://[::1]:8081/") }},
		{"a peer", func() string { return chosen.exec("timeout", "60", "wget", "-qO-", "http://[fd99::1]:8080/") }},
		{"a peer, by its name", func() string { return chosen.exec("timeout", "60", "wget", "-qO-", "http://server/") }},
		{"itself", func() string { return server.exec("timeout", "60", "wget", "-qO-", "http://[fd99::1]:8080/") }},
	} {
		equal(t, "page from "+from.where, from.fetch(), "page of server")
	}
	equal(t, "client that the server sees", neighbour(t, "curl -sS --max-time 60 http://[fd99::1]:8080/cgi-bin/who"), "fd99::2")
	equal(t, "by IPv4", neighbour(t, "curl -s --max-time 1 http://10.99.0.1:8080/ || echo none"), "none")
	equal(t, "by 127.0.0.1", sh(t, "curl -s --max-time 1 http://127.0.0.1:8080/ || echo none"), "none")
}

// sixOnlyMended: nothing is found that is not wrong, and what is wrong is mended.
func sixOnlyMended(t *testing.T, backend string) {
	t.Helper()
	equal(t, "sync", must(t, "network", "sync", "--dry-run"), "")
	if r := my(t, "doctor"); r.code != 0 {
		t.Errorf("doctor finds %s", r.out)
	}
	for _, command := range [][]string{{"topology"}, {"trace", "chosen", "server:80"}, {"network", "plan", "six"}, {"run", "--dry-run", "--net", "six", "-p", "8090:80", "busybox"}, {"why", "six"}} {
		if r := my(t, command...); r.code != 0 {
			t.Errorf("%s: %s%s", command, r.out, r.err)
		}
	}
	flush := "ip6tables -F; ip6tables -t nat -F"
	if backend == "nftables" {
		flush = "nft delete table ip6 mydocker"
	}
	sh(t, flush+"; ip -n server -6 addr flush dev eth0 scope global; ip -6 addr flush dev six scope global")
	must(t, "network", "sync")
	equal(t, "page after sync", neighbour(t, "curl -sS --max-time 60 http://[fd99::1]:8080/"), "page of server")
	equal(t, "sync again", must(t, "network", "sync", "--dry-run"), "")
}

// sixOnlyMoved: with a network of each family, each publishes and leads out by its own.
func sixOnlyMoved(t *testing.T, server *ctr) {
	t.Helper()
	const six = "80/tcp -> [::]:8080\n80/tcp -> [::]:8081"
	must(t, "network", "connect", "four", "server")
	for _, again := range []bool{false, true} {
		if again {
			must(t, "restart", "-t", "0", "server")
			server.listens(80)
		}
		ports := strings.Split(must(t, "port", "server"), "\n")
		slices.Sort(ports)
		equal(t, "ports on both", strings.Join(ports, "\n"), "80/tcp -> 0.0.0.0:8080\n"+six)
		equal(t, "page by IPv4", neighbour(t, "curl -sS --max-time 60 http://10.99.0.1:8080/"), "page of server")
		equal(t, "page by IPv6", neighbour(t, "curl -sS --max-time 60 http://[fd99::1]:8080/"), "page of server")
		equal(t, "page by 127.0.0.1", mustGet(t, "http://127.0.0.1:8080/"), "page of server")
		equal(t, "page by ::1", mustGet(t, "http://[::1]:8081/"), "page of server")
		match(t, "ways out", sh(t, "ip -n server -4 route show default; ip -n server -6 route show default"), "(?s)dev eth1.*via fd00:66::fe dev eth0")
	}
	must(t, "network", "disconnect", "four", "server")
	equal(t, "ports on six", must(t, "port", "server"), six)
	equal(t, "by IPv4", neighbour(t, "curl -s --max-time 1 http://10.99.0.1:8080/ || echo none"), "none")
	must(t, "stop", "-t", "0", "server")
	equal(t, "published when it is stopped", must(t, "port", "server"), "")
	must(t, "network", "connect", "four", "server")
	must(t, "start", "server")
	server.listens(80)
	must(t, "network", "disconnect", "six", "server")
	equal(t, "ports on four", must(t, "port", "server"), "80/tcp -> 0.0.0.0:8080")
	equal(t, "page by IPv4 alone", neighbour(t, "curl -sS --max-time 60 http://10.99.0.1:8080/"), "page of server")
	must(t, "network", "connect", "six", "server")
	equal(t, "page by IPv6 again", neighbour(t, "curl -sS --max-time 60 http://[fd99::1]:8081/"), "page of server")
	must(t, "rm", "-f", "server")
	if left := sh(t, "ip6tables-save; iptables-save; nft list ruleset"); strings.Contains(left, "mydocker server") {
		t.Errorf("left:\n%s", left)
	}
}
