package e2e

import (
	"net"
	"strings"
	"testing"
	"time"
)

// --userland-proxy: the monitor itself listens, no rule is made, and the container sees the bridge's address.
func TestUserlandProxy(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0", "--subnet", "10.88.0.0/24")
	rules := sh(t, "iptables-save | grep -c DNAT || :")
	c := web(t, "proxied", "-net", "br0", "--userland-proxy", "-p", "8080:80")
	equal(t, "DNAT rules", sh(t, "iptables-save | grep -c DNAT || :"), rules)
	listeners := sh(t, "ss -Hlntp sport = 8080")
	match(t, "listener, IPv4", listeners, `(?m)^LISTEN .* 0\.0\.0\.0:8080 .*"mydocker"`)
	match(t, "listener, IPv6", listeners, `(?m)^LISTEN .* \[::\]:8080 .*"mydocker"`)
	who := func(when string) {
		t.Helper()
		for _, address := range []string{"127.0.0.1", "10.99.0.1", "[::1]", "10.88.0.1"} {
			equal(t, when+": client by "+address, mustGet(t, "http://"+address+":8080/cgi-bin/who"), "10.88.0.1")
		}
		equal(t, when+": client from outside", sh(t, "ip netns exec neighbour curl -sS -m 60 http://10.99.0.1:8080/cgi-bin/who"), "10.88.0.1")
		equal(t, when+": itself", c.exec("wget", "-qO-", "http://10.88.0.1:8080/cgi-bin/who"), "10.88.0.1")
	}
	who("at once")
	time.Sleep(patience(1500 * time.Millisecond)) // the monitor has become a smaller one meanwhile
	who("a moment later")
	equal(t, "from outside by IPv6", neighbour(t, "curl -sS -m 60 'http://[fd99::1]:8080/cgi-bin/who'"), "10.88.0.1")
	equal(t, "port", must(t, "port", "proxied"), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080")
	equal(t, "ps", must(t, "ps", "--format", "{{.Ports}}", "--filter", "name=proxied"), "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp")
	refused(t, 125, []string{"8080", "proxied"}, "run", "--rm", "-p", "8080:80", "busybox", "true")

	// No server any more: refused as by a closed port, not left hanging.
	c.sh("killall httpd 2>/dev/null; true")
	must(t, "rm", "-f", "proxied")
	unreachable(t, "127.0.0.1:8080")
	script := must(t, "run", "--dry-run", "-net", "br0", "--userland-proxy", "-p", "8081:80", "busybox", "true")
	if strings.Contains(script, "8081") && strings.Contains(script, "DNAT") {
		t.Errorf("rules in the script of a proxied port:\n%s", script)
	}
}

// The foreground command is its own monitor, and so its own proxy.
func TestUserlandProxyInForeground(t *testing.T) {
	cleanHost(t)
	done := make(chan result, 1)
	go func() {
		done <- my(t, "run", "--rm", "--name", "front", "--userland-proxy", "-p", "8082:7", "busybox", "nc", "-l", "-p", "7", "-e", "sh", "-c", "read x; echo heard $x")
	}()
	var answer string
	eventually(t, func() string {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:8082", time.Minute)
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience(time.Minute)))
		conn.Write([]byte("you\n"))
		buf := make([]byte, 100)
		n, err := conn.Read(buf)
		if err != nil {
			return err.Error()
		}
		answer = string(buf[:n])
		return ""
	})
	equal(t, "answer", answer, "heard you\n")
	equal(t, "exit status", (<-done).code, 0)
}

// [::1] has a listener of ours in every publication; other addresses keep their rules and the client's address.
func TestLoopback6(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0", "--subnet", "10.88.0.0/24")
	web(t, "loop", "-net", "br0", "-p", "8083:80", "-p", "[::1]:8084:80")
	for _, port := range []string{"8083", "8084"} {
		equal(t, "[::1]:"+port, mustGet(t, "http://[::1]:"+port+"/"), "page of loop")
	}
	unreachable(t, "127.0.0.1:8084")
	equal(t, "the client's address is kept", sh(t, "ip netns exec neighbour curl -sS -m 60 http://10.99.0.1:8083/cgi-bin/who"), "10.99.0.2")
	// The port goes and comes with the network that it is published by.
	must(t, "network", "disconnect", "br0", "loop")
	unreachable(t, "127.0.0.1:8083")
	unreachable(t, "[::1]:8083")
	other := web(t, "other", "-p", "8083:80")
	equal(t, "somebody else has the port", mustGet(t, "http://[::1]:8083/"), "page of other")
	must(t, "rm", "-f", other.name)
	must(t, "network", "connect", "br0", "loop")
	for _, address := range []string{"127.0.0.1", "[::1]"} {
		equal(t, "after connect, "+address, mustGet(t, "http://"+address+":8083/"), "page of loop")
	}
	refused(t, 125, []string{"8083", "loop"}, "run", "--rm", "-p", "8083:80", "busybox", "true")
}
