package network

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const wantLarge = 196608 // bytes

// On a network that asks for it packets are larger than the length field of IP can say, and all data arrives as it was sent.
func TestLargePackets(t *testing.T) { backends(t, checkLargePackets) }

func checkLargePackets(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	bridgeNetfilter(t, map[string]string{FirewallIPTables: "1", FirewallNFTables: "0"}[m.chosen()])
	options := map[string]string{OptGSO: fmt.Sprint(wantLarge)}
	create(t, m, CreateOptions{Name: "br0", EnableIPv6: true, Options: options})
	create(t, m, CreateOptions{Name: "shut", EnableIPv6: true, Internal: true, Options: options})
	web, peer := start(t, m, "web", "br0", "8080:80"), start(t, m, "peer", "br0")
	shut, alone := start(t, m, "shut", "shut"), start(t, m, "alone", "shut")
	for _, l := range []string{"br0", web.HostLink, peer.HostLink} {
		sizes(t, hostDoer{}, l, usualGSO)
	}
	sizes(t, peer, "eth0", usualGSO)
	for _, l := range []string{"shut", shut.HostLink, alone.HostLink} {
		sizes(t, hostDoer{}, l, wantLarge)
	}
	sizes(t, shut, "eth0", wantLarge)
	toWeb, toShut, toLAN := sink(t, web, ":80"), sink(t, shut, ":80"), sink(t, lan(), ":99")
	at := func(b box) string { return b.Address.Addr().String() + ":80" }
	at6 := func(b box) string { return "[" + b.Address6.Addr().String() + "]:80" }
	for _, w := range []struct {
		what     string
		from     doer
		to       string
		sums     chan string
		link     string // where large packets are looked for
		protocol uint16 // of those that must be there; 0: there must be none
	}{
		{"container to container", peer, at(web), toWeb, peer.HostLink, unix.ETH_P_IP},
		{"container to container, IPv6", peer, at6(web), toWeb, peer.HostLink, 0},
		{"the host to a container", hostDoer{}, at(web), toWeb, web.HostLink, unix.ETH_P_IP},
		{"127.0.0.1", hostDoer{}, "127.0.0.1:8080", toWeb, "", 0},
		{"the LAN to a container", lan(), "10.99.0.1:8080", toWeb, "", 0},
		{"the LAN to a container, IPv6", lan(), "[fd99::1]:8080", toWeb, "", 0},
		{"a container to the LAN", peer, "10.99.0.2:99", toLAN, peer.HostLink, unix.ETH_P_IP},
		{"a container to the LAN, IPv6", peer, "[fd99::2]:99", toLAN, peer.HostLink, 0},
		{"a container to itself, by the host", web, "10.99.0.1:8080", toWeb, web.HostLink, unix.ETH_P_IP},
		{"within an internal network", alone, at(shut), toShut, alone.HostLink, unix.ETH_P_IP},
		{"within an internal network, IPv6", alone, at6(shut), toShut, alone.HostLink, unix.ETH_P_IPV6},
		{"the host into an internal network, IPv6", hostDoer{}, at6(shut), toShut, shut.HostLink, unix.ETH_P_IPV6},
	} {
		seen := func() []byte { return nil }
		if w.link != "" {
			seen = onlyLarge(t, w.link)
		}
		if want := pour(t, w.from, w.to); <-w.sums != want {
			t.Errorf("%s: other data arrives than was sent", w.what)
		}
		f := seen()
		switch {
		case w.protocol == 0 && f != nil:
			t.Errorf("%s: a packet of more than 64 KB: % x", w.what, f)
		case w.protocol != 0 && f == nil:
			t.Errorf("%s: no packet of more than 64 KB", w.what)
		case f == nil:
		case binary.BigEndian.Uint16(f[12:]) != w.protocol, f[14]>>4 == 4 && binary.BigEndian.Uint16(f[16:]) != 0:
			t.Errorf("%s: a large packet begins with % x", w.what, f)
		}
	}
}

// The sizes have been taken away. `network sync` shows the commands that bring them back, which `ip` understands, and does them.
func TestLargePacketsDrift(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "shut", Internal: true, Options: map[string]string{OptGSO: fmt.Sprint(wantLarge)}})
	web := start(t, m, "web", "shut")
	harm := func(also string) {
		run(t, "bash", "-euc", `for l in shut `+web.HostLink+`; do ip link set $l gso_max_size 65536 gro_max_size 65536; done
			ip -n web link set eth0 gso_max_size 65536 gro_max_size 65536;`+also)
	}
	harm("")
	commands, err := m.Sync(context.Background(), true)
	if err != nil || len(commands) != 3 {
		t.Fatalf("the difference is shown as %q, %v", commands, err)
	}
	script := strings.Join(commands, "\n")
	if help, _ := exec.Command("ip", "link", "help").CombinedOutput(); !bytes.Contains(help, []byte("gso_ipv4_max_size")) {
		script = regexp.MustCompile(` g[sr]o_ipv4_max_size \d+`).ReplaceAllString(script, "") // iproute2 before 6.3
	}
	run(t, "bash", "-euc", script)
	for _, link := range []string{"ip -d link show shut", "ip -n web -d link show eth0", "ip -d link show " + web.HostLink} {
		if out := run(t, "bash", "-c", link); !strings.Contains(out, fmt.Sprint("gso_max_size ", wantLarge)) {
			t.Errorf("after %s:\n%s", script, out)
		}
	}
	for _, also := range []string{"", "ip link set shut down", "ip link del shut", "ip link del " + web.HostLink} {
		harm(also)
		commands, err := m.Sync(context.Background(), true)
		if text := strings.Join(commands, "\n"); err != nil || !strings.Contains(text, fmt.Sprint("ip link set dev shut gso_max_size ", wantLarge)) {
			t.Errorf("after %s, the difference is shown as %s, %v", also, text, err)
		}
		if _, err := m.Sync(context.Background(), false); err != nil {
			t.Fatal(err)
		}
		sizes(t, hostDoer{}, "shut", wantLarge)
		sizes(t, hostDoer{}, web.HostLink, wantLarge)
		sizes(t, web, "eth0", wantLarge)
		if again, err := m.Sync(context.Background(), true); err != nil || len(again) > 0 {
			t.Errorf("after %s, a difference is left: %q, %v", also, again, err)
		}
	}
}

// Where nothing is asked for, nothing is set; what cannot be is refused.
func TestLargePacketsAreAskedFor(t *testing.T) {
	m := newManager(t)
	for _, options := range []map[string]string{nil, {OptGSO: "65536"}} {
		plan, err := m.PlanCreate(context.Background(), CreateOptions{Name: "br0", Options: options})
		if err != nil || strings.Contains(plan, "gso_max_size") {
			t.Errorf("%v: %v\n%s", options, err, plan)
		}
		n := &Network{Driver: DriverBridge, Options: options}
		if ops := append(bridgeLarge(n), cableLarge(n, &Endpoint{}, &Sandbox{})...); len(ops) > 0 {
			t.Errorf("%v: %v", options, ops)
		}
	}
	before := snapshot(t)
	for _, size := range []string{"", "0", "65535", "524281", "-1", "4294967296", "many", "196608b"} {
		_, err := m.Create(context.Background(), CreateOptions{Name: "br0", Options: map[string]string{OptGSO: size}})
		if err == nil || !strings.Contains(err.Error(), "from 65536") {
			t.Errorf("%q: %v", size, err)
		}
	}
	_, err := m.Create(context.Background(), CreateOptions{Name: "wire", Driver: DriverMacvlan, Options: map[string]string{OptGSO: "196608", OptParent: "eth0"}})
	if err == nil || !strings.Contains(err.Error(), "bridge networks") {
		t.Errorf("on a wire: %v", err)
	}
	if after := snapshot(t); after != before {
		t.Errorf("changed:\n%s", lineDiff(before, after))
	}
	if err := knowsGSO(&netlink.LinkAttrs{GSOMaxSize: 65536}); err == nil || !strings.Contains(err.Error(), "Linux 6.3") {
		t.Errorf("a kernel that says nothing of it: %v", err)
	}
}

// sizes asserts that a link takes large packets of IPv4, which netlink says (`ip` from 6.3 on), and what it takes of IPv6.
func sizes(t *testing.T, where doer, link string, v6 int) {
	t.Helper()
	err := where.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		a := l.Attrs()
		out, err := exec.Command("ip", "-d", "link", "show", link).CombinedOutput()
		if !bytes.Contains(out, fmt.Appendf(nil, "gso_max_size %d ", v6)) || !bytes.Contains(out, fmt.Appendf(nil, "gro_max_size %d ", v6)) ||
			a.GSOIPv4MaxSize != wantLarge || a.GROIPv4MaxSize != wantLarge {
			t.Errorf("%s takes packets of %d and %d bytes; want %d\n%s", link, a.GSOIPv4MaxSize, a.GROIPv4MaxSize, wantLarge, out)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// sink takes all that comes on a connection, and gives its hash.
func sink(t *testing.T, where doer, address string) chan string {
	t.Helper()
	var l net.Listener
	if err := where.Do(func() (err error) { l, err = net.Listen("tcp", address); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	sums := make(chan string, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h := sha256.New()
			_, err = io.Copy(h, c)
			sums <- fmt.Sprintf("%x %v", h.Sum(nil), err)
			c.Close()
		}
	}()
	return sums
}

// pour sends 16 MB and gives their hash.
func pour(t *testing.T, where doer, address string) string {
	t.Helper()
	var c net.Conn
	if err := where.Do(func() (err error) { c, err = net.Dial("tcp", address); return err }); err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	defer c.Close()
	data := make([]byte, 1<<20)
	noise := rand.NewChaCha8([32]byte{byte(len(address))})
	h := sha256.New()
	for range 16 {
		noise.Read(data)
		h.Write(data)
		if _, err := c.Write(data); err != nil {
			t.Errorf("%s: %v", address, err)
			break
		}
	}
	return fmt.Sprintf("%x %v", h.Sum(nil), nil)
}

// onlyLarge begins to look for packets of more than 64 KB on a link of the host's, and gives a function that has the start of one, or
// nil. The filter is in the kernel, so that no other packet takes one's place in the queue.
func onlyLarge(t *testing.T, link string) func() []byte {
	t.Helper()
	fd, _ := packetSocket(t, hostDoer{}, link)
	filter := []unix.SockFilter{ // bpf(2), "classic"
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_LEN},
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: 65536 + ethernetHeader, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 64},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		t.Fatal(err)
	}
	// What has come before the filter was there is thrown away.
	buf := make([]byte, 64)
	for err := error(nil); err == nil; {
		_, _, err = unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
	}
	return func() []byte {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if err != nil {
			return nil
		}
		return buf[:n]
	}
}
