package e2e

import (
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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

// A container whose default routes are by two networks publishes each family by the one that has its route: under one port, which it
// keeps when both families come to be published by one network and part again.
func TestPortsPartByFamily(t *testing.T) {
	cleanHost(t)
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			makeNetwork(t, "four", "--firewall", backend)
			makeNetwork(t, "six", "--ipv6", "--firewall", backend)
			c := web(t, "parted", "-net", "four", "-net", "six", "-p", "8100:80", "-p", "80", "-p", "8110-8120:80", "--expose", "81", "-P")
			chosen := ""
			published := func(four, six string) {
				t.Helper()
				equal(t, "port 8100", strings.Join(grep(must(t, "port", c.name, "80"), ":8100"), " "), strings.TrimSpace(four+" "+six))
				ports := map[string]int{}
				for _, line := range append(strings.Fields(must(t, "port", c.name, "80")), strings.Fields(must(t, "port", c.name, "81"))...) {
					ports[line[strings.LastIndex(line, ":")+1:]]++
				}
				equal(t, "host ports, for the families that there are", len(ports), 4)
				if numbers := strings.Join(slices.Sorted(maps.Keys(ports)), " "); chosen == "" {
					chosen = numbers
				} else {
					equal(t, "chosen ports stay", numbers, chosen)
				}
				for port, families := range ports {
					equal(t, "families of "+port, families, len(strings.Fields(four+" "+six)))
					equal(t, "in ps "+port, strings.Count(must(t, "ps", "--format", "{{.Ports}}"), ":"+port+"->"), families)
					equal(t, "in inspect "+port, strings.Count(c.inspect("{{json .NetworkSettings.Ports}}"), `"`+port+`"`), families)
				}
				who := map[bool]string{true: "10.99.0.2", false: "fd99::2"}
				for _, port := range strings.Fields(must(t, "port", c.name, "80")) {
					port = port[strings.LastIndex(port, ":")+1:]
					for _, host := range []string{"10.99.0.1", "[fd99::1]"} {
						v4 := host[0] != '['
						if v4 && four == "" || !v4 && six == "" {
							unreachable(t, host+":"+port)
							continue
						}
						equal(t, "client that it sees, "+host, neighbour(t, "curl -sSg --max-time 60 http://"+host+":"+port+"/cgi-bin/who"), who[v4])
						equal(t, "from the host by "+host, mustGet(t, "http://"+host+":"+port+"/"), "page of parted")
					}
				}
				for _, host := range []string{"127.0.0.1", "[::1]"} {
					equal(t, "from the host by "+host, mustGet(t, "http://"+host+":8100/"), "page of parted")
				}
			}
			published("0.0.0.0:8100", "[::]:8100")
			refused(t, 125, []string{"8100", "parted"}, "run", "--rm", "-p", "[fd99::1]:8100:80", "-net", "six", "busybox", "true")
			must(t, "gc")
			equal(t, "sync", must(t, "network", "sync"), "")
			published("0.0.0.0:8100", "[::]:8100")
			must(t, "network", "disconnect", "six", c.name)
			published("0.0.0.0:8100", "")
			must(t, "network", "connect", "six", c.name)
			published("0.0.0.0:8100", "[::]:8100")
			must(t, "network", "disconnect", "four", c.name)
			published("0.0.0.0:8100", "[::]:8100") // both by the one that is left
			must(t, "network", "connect", "--gw-priority", "1", "four", c.name)
			published("0.0.0.0:8100", "[::]:8100")
			must(t, "restart", "-t", "0", c.name)
			c.listens(80)
			chosen = ""
			published("0.0.0.0:8100", "[::]:8100")
			must(t, "rm", "-f", c.name)
			unreachable(t, "10.99.0.1:8100")
			unreachable(t, "[fd99::1]:8100")
			equal(t, "claims", sh(t, "find /run/mydocker/ports -type l"), "")
		})
	}
}

// Each family's network says what its own half is: bound to an address, or passed on by a proxy. A port is chosen that both families have.
func TestPortsPartFurther(t *testing.T) {
	cleanHost(t)
	const binding = "com.docker.network.bridge.host_binding_ipv4=127.0.0.1"
	makeNetwork(t, "four")
	makeNetwork(t, "four-bound", "-o", binding)
	makeNetwork(t, "six", "--ipv6", "--subnet", "10.84.0.0/24", "--subnet", "fd00:84::/64")
	makeNetwork(t, "six-bound", "--ipv6", "-o", binding)
	for _, one := range []struct{ flags, want string }{
		{"-net four-bound -net six", "127.0.0.1:8100 [::]:8100"},
		{"-net four -net six-bound", "0.0.0.0:8100"},
		{"-net six -net name=four,gw-priority=1", "0.0.0.0:8100 [::]:8100"},
		{"-net four -net six --userland-proxy", "0.0.0.0:8100 [::]:8100"},
	} {
		c := web(t, "parted", append(strings.Fields(one.flags), "-p", "8100:80")...)
		equal(t, one.flags, strings.Join(strings.Fields(must(t, "port", c.name, "80")), " "), one.want)
		equal(t, one.flags, mustGet(t, "http://127.0.0.1:8100/"), "page of parted")
		if strings.Contains(one.want, "::") {
			client := neighbour(t, "curl -sSg --max-time 60 http://[fd99::1]:8100/cgi-bin/who")
			equal(t, one.flags, client, map[bool]string{false: "fd99::2", true: "fd00:84::1"}[strings.Contains(one.flags, "proxy")])
		} else {
			unreachable(t, "[fd99::1]:8100")
		}
		if strings.Contains(one.flags, "four-bound") {
			unreachable(t, "10.99.0.1:8100")
			must(t, "network", "disconnect", "four-bound", c.name)
			equal(t, "off the network that binds", strings.Join(strings.Fields(must(t, "port", c.name, "80")), " "), "0.0.0.0:8100 [::]:8100")
		}
		must(t, "rm", "-f", c.name)
	}
	taken, err := net.Listen("tcp6", "[fd99::1]:8110")
	if err != nil {
		t.Fatal(err)
	}
	must(t, "run", "-d", "--name", "parted", "-net", "four", "-net", "six", "-p", "8110-8120:80", "busybox", "sleep", "3600")
	equal(t, "a port that one family has not", strings.Join(strings.Fields(must(t, "port", "parted", "80")), " "), "0.0.0.0:8111 [::]:8111")
	taken.Close()
	must(t, "rm", "-f", "parted")
}

// UDP parts as TCP does, and connections of one family live on when the other one moves.
func TestPortsPartWhileServing(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "four")
	makeNetwork(t, "six", "--ipv6")
	c := sleeper(t, "parted", "-net", "four", "-p", "8100:80", "-p", "8100:80/udp")
	within(t, "/run/netns/"+c.name, func() error {
		streams, err := net.Listen("tcp", ":80")
		if err != nil {
			return err
		}
		t.Cleanup(func() { streams.Close() })
		go func() {
			for {
				conn, err := streams.Accept()
				if err != nil {
					return
				}
				go func() { io.Copy(conn, conn); conn.Close() }()
			}
		}()
		packets, err := net.ListenPacket("udp", ":80")
		if err != nil {
			return err
		}
		t.Cleanup(func() { packets.Close() })
		go func() {
			b := make([]byte, 100)
			for {
				n, from, err := packets.ReadFrom(b)
				if err != nil {
					return
				}
				packets.WriteTo(b[:n], from)
			}
		}()
		return nil
	})
	conn, err := net.Dial("tcp", "10.99.0.1:8100")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo := func(when string, conn net.Conn) {
		t.Helper()
		answer := make([]byte, 5)
		_, err := conn.Write([]byte("hello"))
		if err == nil {
			err = conn.SetReadDeadline(time.Now().Add(patience(time.Minute)))
		}
		if err == nil {
			_, err = io.ReadFull(conn, answer)
		}
		equal(t, when, fmt.Sprint(string(answer), " ", err), "hello <nil>")
	}
	echo("at first", conn)
	must(t, "network", "connect", "six", c.name)
	match(t, "flows that the kernel knows", sh(t, "conntrack -L -p tcp --orig-port-dst 8100 2>&1"), "ESTABLISHED.* dst=10.99.0.1 .*ASSURED")
	echo("when the other family is another network's", conn)
	within(t, "/run/netns/neighbour", func() error {
		for _, proto := range []string{"udp", "tcp"} {
			for _, host := range []string{"10.99.0.1", "[fd99::1]"} {
				conn, err := net.Dial(proto, host+":8100")
				if err != nil {
					return err
				}
				echo(proto+" to "+host, conn)
				conn.Close()
			}
		}
		return nil
	})
	conn.Close() // while there is a way for the server to learn it
	must(t, "rm", "-f", c.name)
}

// within does something on a thread in another network namespace. Sockets that are made there stay there.
func within(t testing.TB, namespace string, do func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		f, err := os.Open(namespace)
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			f.Close()
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("in %s: %v", namespace, err)
	}
}

// grep are the lines with the text.
func grep(text, what string) (lines []string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, what) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}
