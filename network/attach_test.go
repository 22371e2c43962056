package network

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// One container on one network, seen by ip, iptables-save and ip netns.
func TestAttachSeenFromOutside(t *testing.T) {
	m := newManager(t)
	n := create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	if n.Bridge != "br0" || len(n.ID) != 64 {
		t.Errorf("network %+v", n)
	}
	c := start(t, m, "web", "br0", "8080:80")

	wants := map[string][]string{
		"ip netns list":                           {"web"},
		"ip -n web -br addr":                      {"lo               UNKNOWN        127.0.0.1/8", "eth0@if", "172.20.0.2/16"},
		"ip -n web -o link show eth0":             {"link/ether 02:42:ac:14:00:02", "mtu 1500", "state UP"},
		"ip -n web route":                         {"default via 172.20.0.1 dev eth0", "172.20.0.0/16 dev eth0"},
		"ip -d link show br0":                     {"bridge", "state UP", "02:42:ac:14:00:01"},
		"ip -br -4 addr show br0":                 {"172.20.0.1/16"},
		"ip -d link show " + c.HostLink:           {"master br0", "veth", "hairpin on", "state UP"},
		"cat /proc/sys/net/ipv4/ip_forward":       {"1"},
		"iptables -t nat -S POSTROUTING":          {"-A POSTROUTING -s 172.20.0.0/16 ! -o br0 ", "-j MASQUERADE"},
		"iptables -t nat -S PREROUTING":           {"-m addrtype --dst-type LOCAL -j MYDOCKER"},
		"iptables -t nat -S OUTPUT":               {"-m addrtype --dst-type LOCAL -j MYDOCKER"},
		"iptables -t nat -S MYDOCKER":             {"-p tcp -m tcp --dport 8080", "web 0.0.0.0:8080->80/tcp", "--to-destination 172.20.0.2:80"},
		"ip netns exec web ls /proc/sys/net/ipv4": {"ip_forward"},
	}
	for command, lines := range wants {
		for _, want := range lines {
			out := run(t, strings.Fields(command)...)
			for tries := 0; tries < 1000 && !strings.Contains(out, want); tries++ { // the kernel notes that a link is up a moment later
				time.Sleep(50 * time.Millisecond)
				out = run(t, strings.Fields(command)...)
			}
			if !strings.Contains(out, want) {
				t.Errorf("%s: want %q in\n%s", command, want, out)
			}
		}
	}
	if got := strings.Count(run(t, "iptables", "-t", "nat", "-S", "MYDOCKER"), "-A MYDOCKER"); got != 1 {
		t.Errorf("a published port costs %d rules, want 1", got)
	}
	if n := len(c.Hold()); n != 2 { // 0.0.0.0, which rules serve, and [::1], which none can
		t.Errorf("%d sockets hold the port", n)
	}
	if err := m.Release(context.Background(), c.id); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/run/netns/web"); err == nil {
		t.Error("the namespace is still pinned")
	}
	if err := m.Release(context.Background(), c.id); err != nil {
		t.Errorf("the second release: %v", err)
	}
	if err := m.Remove(context.Background(), "br0"); err != nil {
		t.Fatal(err)
	}
}

func TestPublishedPortReachable(t *testing.T) { backends(t, checkPublishedPortReachable) }

func checkPublishedPortReachable(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	web := start(t, m, "web", "br0", "8080:80", "5353:53/udp", "9000-9009:7000-7009", "127.0.0.1:8081:80", "10.99.0.1:8082:80")
	peer := start(t, m, "peer", "br0")
	create(t, m, CreateOptions{Name: "br1", Subnet: "172.21.0.0/16"})
	other := start(t, m, "other", "br1")
	serve(t, web, "tcp4", ":80", "web")
	serve(t, web, "udp4", ":53", "dns")
	serve(t, web, "tcp4", ":7003", "three")
	serve(t, hostDoer{}, "tcp4", "127.0.0.1:631", "cups")
	serve(t, hostDoer{}, "tcp4", ":2222", "ssh")
	serve(t, lan(), "tcp4", ":8080", "elsewhere")

	host := hostDoer{}
	for _, c := range []struct {
		what             string
		from             doer
		network, address string
		want             string
	}{
		{"from outside, with the client's address", lan(), "tcp4", "10.99.0.1:8080", "web to 10.99.0.2"},
		{"host by its address", host, "tcp4", "10.99.0.1:8080", "web to 10.99.0.1"},
		{"host by 127.0.0.1", host, "tcp4", "127.0.0.1:8080", "web to 172.20.0.1"},
		{"host by another loopback address", host, "tcp4", "127.1.2.3:8080", "web to 172.20.0.1"},
		{"host by the gateway", host, "tcp4", "172.20.0.1:8080", "web"},
		{"peer by the gateway", peer, "tcp4", "172.20.0.1:8080", "web"},
		{"peer by the host's address", peer, "tcp4", "10.99.0.1:8080", "web"},
		{"peer directly", peer, "tcp4", "172.20.0.2:80", "web to 172.20.0.3"},
		{"itself", web, "tcp4", "10.99.0.1:8080", "web"},
		{"another network by the host's address", other, "tcp4", "10.99.0.1:8080", "web to 172.20.0.1"},
		{"another network directly", other, "tcp4", "172.20.0.2:80", ""},
		{"no hijack: a container to a machine outside", peer, "tcp4", "10.99.0.2:8080", "elsewhere to 10.99.0.1"},
		{"no hijack: the host to a machine outside", host, "tcp4", "203.0.113.9:8080", "elsewhere"},
		{"udp from outside", lan(), "udp4", "10.99.0.1:5353", "dns to 10.99.0.2"},
		{"udp by 127.0.0.1", host, "udp4", "127.0.0.1:5353", "dns"},
		{"a run of ports, shifted", lan(), "tcp4", "10.99.0.1:9003", "three to 10.99.0.2"},
		{"loopback publish on the host", host, "tcp4", "127.0.0.1:8081", "web"},
		{"loopback publish from outside", lan(), "tcp4", "10.99.0.1:8081", ""},
		{"loopback publish from a container", peer, "tcp4", "172.20.0.1:8081", ""},
		{"one address from outside", lan(), "tcp4", "10.99.0.1:8082", "web to 10.99.0.2"},
		{"one address, by another", host, "tcp4", "127.0.0.1:8082", ""},
		{"the host's own service from a container", peer, "tcp4", "172.20.0.1:2222", "ssh"},
		{"out", peer, "tcp4", "203.0.113.9:8080", "elsewhere to 10.99.0.1"},
	} {
		t.Run(c.what, func(t *testing.T) { answers(t, c.from, c.network, c.address, c.want) })
	}

	t.Run("routing straight to the container", func(t *testing.T) {
		run(t, "ip", "-n", "lan", "route", "add", "172.20.0.0/16", "via", "10.99.0.1")
		defer run(t, "ip", "-n", "lan", "route", "del", "172.20.0.0/16")
		answers(t, lan(), "tcp4", "172.20.0.2:80", "")
		answers(t, lan(), "tcp4", "172.20.0.1:8080", "web") // published on every address of the host
	})
	t.Run("127.0.0.1 over the wire", func(t *testing.T) {
		for _, from := range []doer{lan(), peer} {
			name := map[doer]string{doer(peer): "peer"}[from]
			gateway, dev := "172.20.0.1", "eth0"
			if name == "" {
				name, gateway = "lan", "10.99.0.1"
			}
			run(t, "bash", "-euc", strings.NewReplacer("NS", name, "GW", gateway, "DEV", dev).Replace(`
				ip netns exec NS sysctl -qw net.ipv4.conf.all.route_localnet=1
				ip -n NS addr del 127.0.0.1/8 dev lo
				ip -n NS route add 127.0.0.1/32 via GW dev DEV
				`))
			answers(t, from, "tcp4", "127.0.0.1:631", "")
			answers(t, from, "tcp4", "127.0.0.1:8081", "")
			answers(t, from, "tcp4", "127.0.0.1:8080", "")
			run(t, "bash", "-euc", strings.NewReplacer("NS", name).Replace(`
				ip -n NS route del 127.0.0.1/32; ip -n NS addr add 127.0.0.1/8 dev lo
				ip netns exec NS sysctl -qw net.ipv4.conf.all.route_localnet=0`))
		}
	})
}

// The first packet arrives: nobody has to wait for the links to settle.
func TestFirstPacket(t *testing.T) {
	m := newManager(t)
	for i := range 10 {
		name := fmt.Sprintf("br%d", i)
		create(t, m, CreateOptions{Name: name})
		web := start(t, m, "web"+name, name, fmt.Sprintf("%d:53/udp", 5000+i))
		serve(t, web, "udp4", ":53", name)
		// UDP is not sent again, and answers waits for less than a second.
		answers(t, lan(), "udp4", fmt.Sprintf("10.99.0.1:%d", 5000+i), name)
	}
}
