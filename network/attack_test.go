package network

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sniff says which of the marks are in frames that come in by a link while something is done. If "rightly" is one of them, it is waited
// for: when it has come, so has what was sent before.
func sniff(t *testing.T, where doer, link string, marks []string, during func()) map[string]bool {
	t.Helper()
	in, _ := packetSocket(t, where, link)
	tv := unix.NsecToTimeval(int64(50 * time.Millisecond))
	unix.SetsockoptTimeval(in, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	during()
	seen := map[string]bool{}
	buf := make([]byte, 2048)
	least, most := time.Now().Add(250*time.Millisecond), time.Now().Add(time.Minute)
	for {
		n, sender, err := unix.Recvfrom(in, buf, 0)
		now := time.Now()
		waiting := slices.Contains(marks, "rightly") && !seen["rightly"] && now.Before(most)
		if err != nil && now.After(least) && !waiting { // what has come is read first, however late it has become
			return seen
		}
		if l, ok := sender.(*unix.SockaddrLinklayer); err != nil || ok && l.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		for _, m := range marks {
			if bytes.Contains(buf[:n], []byte(m)) {
				seen[m] = true
			}
		}
	}
}

// throw puts frames on a link as they are.
func throw(t *testing.T, where doer, link string, frames ...[]byte) {
	t.Helper()
	out, at := packetSocket(t, where, link)
	for _, f := range frames {
		if err := unix.Sendto(out, f, 0, at); err != nil {
			t.Fatal(err)
		}
	}
}

func macOf(t *testing.T, where doer, link string) (mac HardwareAddr) {
	t.Helper()
	if err := where.Do(func() error {
		i, err := net.InterfaceByName(link)
		if err == nil {
			mac = HardwareAddr(i.HardwareAddr)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return mac
}

// udp6 is an IPv6 datagram with a checksum, because without one it would be dropped for that.
func udp6(from, to netip.Addr, port uint16, mark string) []byte {
	udp := append([]byte{0, 7, byte(port >> 8), byte(port), 0, byte(8 + len(mark)), 0, 0}, mark...)
	if len(udp)%2 == 1 {
		udp = append(udp, ' ')
		udp[5]++
	}
	pseudo := append(append(from.AsSlice(), to.AsSlice()...), 0, 0, 0, byte(len(udp)), 0, 0, 0, unix.IPPROTO_UDP)
	sum := checksum(append(pseudo, udp...), 0)
	udp[6], udp[7] = byte(sum>>8), byte(sum)
	return ipv6Packet(from, to, unix.IPPROTO_UDP, udp)
}

// Somebody on the LAN knows all addresses, sends what he likes to the host's MAC address, and gets no further than he should.
func TestAttackerOnTheLAN(t *testing.T) { backends(t, checkAttackerOnTheLAN) }

func checkAttackerOnTheLAN(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16", Subnet6: "fd00:20::/64"})
	create(t, m, CreateOptions{Name: "shut", Subnet: "172.22.0.0/16", Subnet6: "fd00:22::/64", Internal: true})
	web := start(t, m, "web", "br0", "127.0.0.1:8081:80", "10.99.0.1:8082:80", "[fd99::1]:8083:80", "5353:9/udp")
	shut := start(t, m, "shut", "shut")
	serve(t, web, "tcp", ":80", "web")
	serve(t, web, "tcp", ":81", "unpublished")
	serve(t, shut, "tcp", ":80", "shut")
	serve(t, hostDoer{}, "tcp", ":2222", "host")
	run(t, "bash", "-euc", `for r in 172.20.0.0/16 172.22.0.0/16; do ip -n lan route add $r via 10.99.0.1; done
		for r in fd00:20::/64 fd00:22::/64; do ip -n lan route add $r via fd99::1; done`)
	defer run(t, "bash", "-euc", `for r in 172.20.0.0/16 172.22.0.0/16 fd00:20::/64 fd00:22::/64; do ip -n lan route del $r; done`)
	tries := map[string]struct{ address, want string }{
		"one address, rightly":                   {"10.99.0.1:8082", "web"},
		"one IPv6 address, rightly":              {"[fd99::1]:8083", "web"},
		"one address, by the bridge's":           {"172.20.0.1:8082", ""},
		"one IPv6 address, by the bridge's":      {"[fd00:20::1]:8083", ""},
		"loopback alone":                         {"10.99.0.1:8081", ""},
		"loopback alone, by the bridge's":        {"172.20.0.1:8081", ""},
		"straight to a published port":           {"172.20.0.2:80", ""},
		"straight to a published port, IPv6":     {"[fd00:20::2]:80", ""},
		"straight to an unpublished port":        {"172.20.0.2:81", ""},
		"straight to an unpublished port, IPv6":  {"[fd00:20::2]:81", ""},
		"unpublished, by the bridge's address":   {"172.20.0.1:81", ""},
		"unpublished, by the host's":             {"10.99.0.1:81", ""},
		"an internal network":                    {"172.22.0.2:80", ""},
		"an internal network, IPv6":              {"[fd00:22::2]:80", ""},
		"the host itself, which is not our part": {"10.99.0.1:2222", "host"},
	}
	t.Run("tries", func(t *testing.T) {
		for what, c := range tries {
			t.Run(what, func(t *testing.T) { t.Parallel(); answers(t, lan(), "tcp", c.address, c.want) })
		}
	})
}

// Single frames, for which no handshake is needed, from the LAN and from containers without a guard, which lie about
// everything. Each bears a mark, and nobody may see it.
func TestForgedPackets(t *testing.T) { backends(t, checkForgedPackets) }

func checkForgedPackets(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	unguarded := map[string]string{OptGuard: "false"}
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16", Subnet6: "fd00:20::/64", Options: unguarded})
	create(t, m, CreateOptions{Name: "br1", Subnet: "172.21.0.0/16", Subnet6: "fd00:21::/64"})
	create(t, m, CreateOptions{Name: "shut", Subnet: "172.22.0.0/16", Subnet6: "fd00:22::/64", Internal: true, Options: unguarded})
	web := start(t, m, "web", "br0", "127.0.0.1:5354:9/udp", "5353:9/udp")
	other, shut := start(t, m, "other", "br1"), start(t, m, "shut", "shut")
	// The worst case: another program has opened the way from the LAN to loopback addresses, as kube-proxy does.
	run(t, "sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")
	defer run(t, "sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=0")
	host, gateway := macOf(t, hostDoer{}, "eth0"), macFor(web.Gateway, web.Gateway6)
	a := netip.MustParseAddr
	v4 := func(to, from HardwareAddr, src, dst string, port uint16, mark string) []byte {
		p := datagram(a(src), a(dst), mark)
		p[22], p[23] = byte(port>>8), byte(port)
		return frame(to, from, unix.ETH_P_IP, p)
	}
	v6 := func(to, from HardwareAddr, src, dst, mark string) []byte {
		return frame(to, from, unix.ETH_P_IPV6, udp6(a(src), a(dst), 9, mark))
	}
	mine := macOf(t, lan(), "eth0")
	none := func(seen map[string]bool) {
		t.Helper()
		for mark := range seen {
			t.Errorf("%q has arrived", mark)
		}
	}
	t.Run("from the LAN to a container", func(t *testing.T) {
		marks := []string{"from a peer's address", "for 127.0.0.1", "unpublished", "its peer in IPv6", "from the bridge"}
		seen := sniff(t, web, "eth0", append(marks, "rightly"), func() {
			throw(t, lan(), "eth0",
				v4(host, mine, "172.20.0.3", "172.20.0.2", 9, marks[0]), v4(host, mine, "10.99.0.2", "127.0.0.1", 5354, marks[1]),
				v4(host, mine, "10.99.0.2", "172.20.0.2", 9, marks[2]), v6(host, mine, "fd00:20::3", "fd00:20::2", marks[3]),
				v4(host, mine, "172.20.0.1", "172.20.0.2", 9, marks[4]), v4(host, mine, "10.99.0.2", "10.99.0.1", 5353, "rightly"))
		})
		if !seen["rightly"] {
			t.Error("what is published does not arrive either: this test sees nothing")
		}
		delete(seen, "rightly")
		none(seen)
	})
	t.Run("from a container to other networks", func(t *testing.T) {
		marks := []string{"to another network", "to another in IPv6", "to an internal one", "as if from there"}
		none(sniff(t, other, "eth0", marks, func() {
			throw(t, web, "eth0", v4(gateway, web.MAC, "172.20.0.2", "172.21.0.2", 9, marks[0]), v6(gateway, web.MAC, "fd00:20::2", "fd00:21::2", marks[1]),
				v4(gateway, web.MAC, "172.21.0.3", "172.21.0.2", 9, marks[3]))
			throw(t, shut, "eth0", v4(macFor(a("172.22.0.1"), netip.Addr{}), shut.MAC, "172.22.0.2", "172.21.0.2", 9, marks[2]))
		}))
	})
	t.Run("from a container to the LAN", func(t *testing.T) {
		marks := []string{"from nowhere", "from nowhere in IPv6", "out of an internal network", "out of one in IPv6"}
		seen := sniff(t, lan(), "eth0", append(marks, "rightly"), func() {
			throw(t, web, "eth0", v4(gateway, web.MAC, "8.8.8.8", "10.99.0.2", 9, marks[0]), v6(gateway, web.MAC, "2001:db8::8", "fd99::2", marks[1]),
				v4(gateway, web.MAC, "172.20.0.2", "10.99.0.2", 9, "rightly"))
			in := macFor(a("172.22.0.1"), netip.Addr{})
			throw(t, shut, "eth0", v4(in, shut.MAC, "172.22.0.2", "10.99.0.2", 9, marks[2]), v6(in, shut.MAC, "fd00:22::2", "fd99::2", marks[3]))
		})
		if !seen["rightly"] {
			t.Error("what may leave does not arrive either: this test sees nothing")
		}
		delete(seen, "rightly")
		none(seen)
	})
	t.Run("to the host's loopback", func(t *testing.T) {
		heard := make(chan string, 10)
		for _, address := range []string{"127.0.0.1:9", "[::1]:9"} {
			c, err := net.ListenPacket("udp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			go func() {
				buf := make([]byte, 100)
				for {
					n, _, err := c.ReadFrom(buf)
					if err != nil {
						return
					}
					heard <- string(buf[:n])
				}
			}()
		}
		throw(t, web, "eth0", v4(gateway, web.MAC, "172.20.0.2", "127.0.0.1", 9, "to 127.0.0.1"), v4(gateway, web.MAC, "127.0.0.1", "127.0.0.1", 9, "from 127.0.0.1"),
			v6(gateway, web.MAC, "fd00:20::2", "::1", "to ::1"), v6(gateway, web.MAC, "::1", "::1", "from ::1"))
		throw(t, lan(), "eth0", v4(host, mine, "10.99.0.2", "127.0.0.1", 9, "from the LAN"), v4(host, mine, "127.0.0.1", "127.0.0.1", 9, "from the LAN's 127.0.0.1"),
			v4(host, mine, "127.0.0.1", "10.99.0.1", 9, "with a sender of 127.0.0.1"), v6(host, mine, "fd99::2", "::1", "from the LAN to ::1"))
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(50 * time.Millisecond)
		c.Write([]byte("rightly"))
		if got := <-heard; got != "rightly" {
			t.Errorf("the host has heard %q", got)
		}
	})
}

// A container without a guard plays the router, and the host learns nothing.
func TestForgedRouter(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0", Subnet6: "fd00:20::/64", Options: map[string]string{OptGuard: "false"}})
	create(t, m, CreateOptions{Name: "four"})
	for _, network := range []string{"br0", "four"} {
		evil := start(t, m, "evil"+network, network)
		look := func() string {
			return run(t, "bash", "-c", `ip -6 route show table all | grep -v "^multicast\|^ff00\|fe80" | sed 's/ linkdown//' ; ip -6 -o addr show dev `+network+` | grep -v fe80; true`)
		}
		settled(t)
		before := look()
		nodes, own := netip.MustParseAddr("ff02::1"), linkLocal(evil.MAC)
		ra := discovery(134, own, nodes, own, evil.MAC)
		// A prefix to take an address from: fd00:bad::/64, on this link, for ever (RFC 4861, 4.6.2).
		prefix := append([]byte{3, 4, 64, 0xc0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0}, netip.MustParseAddr("fd00:bad::").AsSlice()...)
		ra = append(ra, prefix...)
		ra[2], ra[3] = 0, 0
		pseudo := append(append(own.AsSlice(), nodes.AsSlice()...), 0, 0, 0, byte(len(ra)), 0, 0, 0, unix.IPPROTO_ICMPV6)
		sum := checksum(append(pseudo, ra...), 0)
		ra[2], ra[3] = byte(sum>>8), byte(sum)
		advertise := func() string {
			throw(t, evil, "eth0", frame(HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, evil.MAC, unix.ETH_P_IPV6, ipv6Packet(own, nodes, unix.IPPROTO_ICMPV6, ra)))
			time.Sleep(100 * time.Millisecond)
			return look()
		}
		if after := advertise(); after != before {
			t.Errorf("the host has believed it:\n%s", lineDiff(before, after))
		}
		if network == "br0" {
			run(t, "sysctl", "-qw", "net.ipv6.conf.br0.accept_ra=2")
			believed := false
			for tries := 0; tries < 100 && !believed; tries++ {
				believed = strings.Contains(advertise(), "fd00:bad:")
			}
			if !believed {
				t.Error("a host that listens does not believe it either: this test proves nothing")
			}
		}
	}
}
