package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A published port answers from everywhere: the host's loopback, the host's own address, the LAN, a peer, the container
// itself; and the server sees who really asked.
func TestPublish(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0", "--subnet", "10.88.0.0/24")
	server := web(t, "server", "-net", "br0", "-p", "8080:80")
	peer := sleeper(t, "peer", "-net", "br0")
	stranger := sleeper(t, "stranger") // on the default network

	for _, from := range []struct {
		where string
		fetch func(page string) string
	}{
		{"the host, 127.0.0.1", func(p string) string { return mustGet(t, "http://127.0.0.1:8080"+p) }},
		{"the host, its own address", func(p string) string { return mustGet(t, "http://10.99.0.1:8080"+p) }},
		{"the host, the gateway", func(p string) string { return mustGet(t, "http://10.88.0.1:8080"+p) }},
		{"the host, the container's address", func(p string) string { return mustGet(t, "http://10.88.0.2"+p) }},
		{"the neighbour", func(p string) string {
			return neighbour(t, "curl -sS --max-time 60 http://10.99.0.1:8080"+p)
		}},
		{"a peer, the host's address", func(p string) string { return peer.exec("timeout", "60", "wget", "-qO-", "http://10.99.0.1:8080"+p) }},
		{"a peer, the gateway", func(p string) string { return peer.exec("timeout", "60", "wget", "-qO-", "http://10.88.0.1:8080"+p) }},
		{"itself, the host's address", func(p string) string { return server.exec("timeout", "60", "wget", "-qO-", "http://10.99.0.1:8080"+p) }},
		{"itself, the gateway", func(p string) string { return server.exec("timeout", "60", "wget", "-qO-", "http://10.88.0.1:8080"+p) }},
		{"another network", func(p string) string {
			return stranger.exec("timeout", "60", "wget", "-qO-", "http://10.99.0.1:8080"+p)
		}},
	} {
		equal(t, "page from "+from.where, from.fetch("/"), "page of server")
		if from.where == "the neighbour" {
			equal(t, "client that the server sees", from.fetch("/cgi-bin/who"), "10.99.0.2")
		}
	}
	equal(t, "mydocker port", must(t, "port", "server"), "80/tcp -> 0.0.0.0:8080")
	equal(t, "mydocker port of one", must(t, "port", "server", "80/tcp"), "0.0.0.0:8080")
	match(t, "ps", must(t, "ps"), `0\.0\.0\.0:8080->80/tcp`)
	equal(t, "inspect", server.inspect(`{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}`), "8080")
}

// The rules have the shape that learners know from Docker.
func TestPublishRules(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0", "--subnet", "10.88.0.0/24")
	server := web(t, "server", "-net", "br0", "-p", "8080:80")
	nat := sh(t, "iptables -t nat -S")
	match(t, "hook for what comes in", nat, `(?m)^-A PREROUTING .*--dst-type LOCAL -j MYDOCKER`)
	match(t, "hook for the host itself", nat, `(?m)^-A OUTPUT .*--dst-type LOCAL -j MYDOCKER`)
	match(t, "the rule of the port", nat, `(?m)^-A MYDOCKER\S* .*--dport 8080 .*-j DNAT --to-destination 10\.88\.0\.2:80`)
	match(t, "its comment names the container", nat, `(?m)^.*--dport 8080 .*server.*DNAT|^.*server.*--dport 8080 .*DNAT`)
	equal(t, "rules for the port", strings.Count(sh(t, "iptables-save"), "--dport 8080 "), 1)

	count := func() string {
		return sh(t, `iptables -t nat -nvxL | awk '/dpt:8080/ && /DNAT/ {print $1}'`)
	}
	before := count()
	neighbour(t, "curl -sS --max-time 60 http://10.99.0.1:8080/")
	if count() == before {
		t.Error("the counters of the rule do not rise")
	}
	must(t, "rm", "-f", server.name)
	if left := sh(t, "iptables-save | grep ^-A | grep -e 8080 -e 10.88.0.2 || :"); left != "" {
		t.Errorf("rules are left after rm:\n%s", left)
	}
}

// A rule for a port of this host does not catch traffic to the same port elsewhere.
func TestPublishDoesNotHijack(t *testing.T) {
	cleanHost(t)
	web(t, "server", "-p", "7070:80")
	client := sleeper(t, "client")
	neighbourServes(t, 7070, "echo the neighbour itself")
	var said string
	eventually(t, func() string {
		r := my(t, "exec", client.name, "nc", "-w", "60", "203.0.113.9", "7070")
		if said = strings.TrimSpace(r.out); said == "" {
			return "no answer: " + r.err
		}
		return ""
	})
	equal(t, "who answers on port 7070 of another host", said, "the neighbour itself")
}

// Ports bound to one address of the host.
func TestPublishOnOneAddress(t *testing.T) {
	cleanHost(t)
	web(t, "loopback", "-p", "127.0.0.1:8081:80")
	web(t, "lan", "-p", "10.99.0.1:8082:80")
	equal(t, "127.0.0.1", mustGet(t, "http://127.0.0.1:8081/"), "page of loopback")
	unreachable(t, "10.99.0.1:8081")
	if out := sh(t, "ip netns exec neighbour curl -sS --max-time 1 http://10.99.0.1:8081/ 2>&1 || :"); strings.Contains(out, "page of") {
		t.Errorf("a port bound to 127.0.0.1 answers on the LAN: %s", out)
	}
	// Not even to a neighbour that sends packets for 127.0.0.1 over the wire.
	sh(t, "ip netns exec neighbour sysctl -qw net.ipv4.conf.all.route_localnet=1; ip -n neighbour addr del 127.0.0.1/8 dev lo; ip -n neighbour route add 127.0.0.1 via 10.99.0.1 src 10.99.0.2")
	t.Cleanup(func() {
		sh(t, "ip -n neighbour route del 127.0.0.1; ip -n neighbour addr add 127.0.0.1/8 dev lo; ip netns exec neighbour sysctl -qw net.ipv4.conf.all.route_localnet=0")
	})
	if out := sh(t, "ip netns exec neighbour curl -sS --max-time 1 http://127.0.0.1:8081/ 2>&1 || :"); strings.Contains(out, "page of") {
		t.Errorf("a port bound to 127.0.0.1 answers the LAN through a route for 127.0.0.1: %s", out)
	}
	equal(t, "the LAN address", neighbour(t, "curl -sS --max-time 60 http://10.99.0.1:8082/"), "page of lan")
	unreachable(t, "127.0.0.1:8082")
	equal(t, "mydocker port", must(t, "port", "loopback"), "80/tcp -> 127.0.0.1:8081")
}

// A container does not reach services that the host keeps on its loopback, although 127.0.0.1 is routed for its ports.
func TestHostLoopbackIsNotReachable(t *testing.T) {
	cleanHost(t)
	c := web(t, "server", "-p", "8080:80")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("secret\n"))
			conn.Close()
		}
	}()
	port := listener.Addr().(*net.TCPAddr).Port
	gateway := c.inspect("{{.NetworkSettings.Gateway}}")
	script := fmt.Sprintf("ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via %s dev eth0; nc -w 1 127.0.0.1 %d; nc -w 1 %s %d; true", gateway, port, gateway, port)
	if r := my(t, "exec", "--privileged", c.name, "sh", "-c", script); strings.Contains(r.out, "secret") {
		t.Errorf("the host's loopback service answers a container: %s", r.out)
	}
}

// UDP, both protocols on one port, ranges, chosen ports.
func TestPublishKinds(t *testing.T) {
	cleanHost(t)
	udp := sleeper(t, "udp", "-p", "5353:53/udp")
	// The image has no UDP server; the host's socat does as well, in the container's namespace.
	server := exec.Command("ip", "netns", "exec", "udp", "socat", "UDP-LISTEN:53,fork", "SYSTEM:echo udp answer")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { server.Process.Kill(); server.Wait() }()
	for _, address := range []string{"127.0.0.1:5353"} {
		conn, err := net.Dial("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience(time.Minute)))
		buffer := make([]byte, 100)
		n := 0
		for range 200 {
			fmt.Fprintln(conn, "hello")
			conn.SetReadDeadline(time.Now().Add(patience(300 * time.Millisecond)))
			if n, err = conn.Read(buffer); err == nil {
				break
			}
		}
		conn.Close()
		equal(t, "UDP through "+address, strings.TrimSpace(string(buffer[:n])), "udp answer")
	}
	equal(t, "port of udp", must(t, "port", udp.name, "53/udp"), "0.0.0.0:5353")

	ranged := web(t, "ranged", "-p", "9000-9002:80-82")
	equal(t, "the first of a range", mustGet(t, "http://127.0.0.1:9000/"), "page of ranged")
	equal(t, "ports of a range", strings.Count(must(t, "port", ranged.name), "0.0.0.0:"), 3)

	chosen := web(t, "chosen", "-p", "80")
	address := strings.Split(must(t, "port", chosen.name, "80"), "\n")[0]
	equal(t, "a chosen port", mustGet(t, "http://"+strings.Replace(address, "0.0.0.0", "127.0.0.1", 1)+"/"), "page of chosen")

	twice := web(t, "twice", "-p", "9010:80", "-p", "9011:80")
	equal(t, "one port published twice", mustGet(t, "http://127.0.0.1:9011/"), "page of twice")
	equal(t, "its ports", must(t, "port", twice.name, "80/tcp"), "0.0.0.0:9010\n0.0.0.0:9011")
}

// -P publishes what the image and --expose expose, on ports of the kernel's ephemeral range.
func TestPublishAll(t *testing.T) {
	cleanHost(t)
	c := web(t, "all", "-P", "--expose", "80", "--expose", "33060/tcp")
	var low, high, port int
	fmt.Sscan(sh(t, "cat /proc/sys/net/ipv4/ip_local_port_range"), &low, &high)
	if _, err := fmt.Sscanf(strings.Split(must(t, "port", c.name, "80"), "\n")[0], "0.0.0.0:%d", &port); err != nil {
		t.Fatal(err)
	}
	if port < low || port > high {
		t.Errorf("port %d is not in the ephemeral range %d-%d", port, low, high)
	}
	equal(t, "the page", mustGet(t, fmt.Sprintf("http://127.0.0.1:%d/", port)), "page of all")
	exposed := sleeper(t, "exposed", "--expose", "33060", "-p", "3306:3306")
	match(t, "ps shows exposed ports too", must(t, "ps", "--filter", "name="+exposed.name, "--format", "{{.Ports}}"), `^0\.0\.0\.0:3306->3306/tcp, 33060/tcp$`)
}

// A port has one owner: another container is named, another program is at least said to be there; and while a
// container runs no other program can take its port.
func TestPortTaken(t *testing.T) {
	cleanHost(t)
	web(t, "first", "-p", "8080:80")
	refused(t, 125, []string{"8080", "first"}, "run", "-d", "--name", "second", "-p", "8080:80", "busybox", "true")
	refused(t, 125, []string{"8080", "first"}, "run", "-d", "--name", "second", "-p", "127.0.0.1:8080:80", "busybox", "true")
	for _, network := range []string{"tcp4"} {
		if l, err := net.Listen(network, ":8080"); err == nil {
			l.Close()
			t.Errorf("another program could listen on the published port (%s)", network)
		}
	}
	must(t, "stop", "first")
	web(t, "second", "-p", "8080:80") // free as soon as stop has returned
	must(t, "rm", "-f", "second")

	l, err := net.Listen("tcp4", "127.0.0.1:8083")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	refused(t, 125, []string{"8083"}, "run", "-d", "--name", "second", "-p", "8083:80", "busybox", "true")
	refused(t, 125, []string{"8083"}, "run", "-d", "--name", "second", "-p", "127.0.0.1:8083:80", "busybox", "true")
}

// When a foreground run, a stop or an rm returns, name, address and port can be used again at once.
func TestEverythingIsFreeAtOnce(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "tiny", "--subnet", "10.88.0.0/30") // one address
	for range 5 {
		see(t, "--name", "again", "-net", "tiny", "-p", "8080:80", "busybox", "true")
	}
	for range 3 {
		sleeper(t, "again", "-net", "tiny", "-p", "8080:80")
		must(t, "rm", "-f", "again")
	}
	sleeper(t, "again", "-net", "tiny", "-p", "8080:80")
	for range 3 {
		must(t, "restart", "again")
	}
	must(t, "stop", "again")
	must(t, "start", "again")
}
