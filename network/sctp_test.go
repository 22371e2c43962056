package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// SCTP is published where the kernel has it, and refused where it has not; the rules are right in any case. A kernel that has it is
// in the virtual machine of test/vm.sh, if not here.
func TestSCTP(t *testing.T) {
	backends(t, checkSCTP)
	if hasSCTP() {
		t.Run("packets", func(t *testing.T) { backends(t, checkSCTPPackets) })
	}
}

func hasSCTP() bool {
	s, err := sctpSocket(unix.AF_INET)
	if err == nil {
		unix.Close(s)
	}
	return err == nil
}

func checkSCTP(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	ctx := context.Background()
	n := create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	web, err := tryStart(m, "web", "br0", "9000:9/sctp")
	if hasSCTP() != (err == nil) || err != nil && !strings.Contains(err.Error(), "publish 0.0.0.0:9000->9/sctp: this kernel has no SCTP") {
		t.Errorf("a kernel with SCTP: %t: %v", hasSCTP(), err)
	}
	if err == nil {
		web.closeHeld()
	}
	if err := m.Release(ctx, containerID("web")); err != nil {
		t.Fatal(err)
	}
	plain := start(t, m, "plain", "br0")
	e := *plain.Endpoint
	e.Ports = []PortMapping{{HostPort: 9000, ContainerPort: 9, Count: 1, Proto: "sctp"}}
	fw, err := m.firewall(m.backendOf(n))
	if err != nil {
		t.Fatal(err)
	}
	x := m.executor()
	defer x.close()
	list := func() string { return run(t, "bash", "-c", "iptables-save -t nat; nft list ruleset") }
	if err := m.run(ctx, x, fw.Publish(&e)...); err != nil {
		t.Fatal(err)
	}
	if out := list(); !strings.Contains(out, "-p sctp -m sctp --dport 9000") && !strings.Contains(out, "sctp . 9000") {
		t.Errorf("no rule for SCTP:\n%s", out)
	}
	if err := m.run(ctx, x, fw.Withdraw(&e)...); err != nil {
		t.Fatal(err)
	}
	if out := list(); strings.Contains(out, "9000") {
		t.Errorf("the rule for SCTP is left:\n%s", out)
	}
}

// checkSCTPPackets is the way of SCTP's packets.
func checkSCTPPackets(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	create(t, m, CreateOptions{Name: "sctp0", Subnet: "172.22.0.0/16", Subnet6: "fd20::/64", EnableIPv6: true})
	create(t, m, CreateOptions{Name: "sctp1", Subnet: "172.23.0.0/16"})
	web := start(t, m, "server", "sctp0", "9000:9/sctp", "9010-9019:7010-7019/sctp", "127.0.0.1:9001:9/sctp")
	peer, other := start(t, m, "peer", "sctp0"), start(t, m, "other", "sctp1")
	serveSCTP(t, web, "0.0.0.0:9", "web")
	serveSCTP(t, web, "0.0.0.0:7013", "three")
	serveSCTP(t, web, "[::]:9", "web6")
	for _, c := range []struct {
		what    string
		from    doer
		address string
		want    string
	}{
		{"from outside, with the client's address", lan(), "10.99.0.1:9000", "web to 10.99.0.2"},
		{"a run of ports, shifted by nothing or by all", lan(), "10.99.0.1:9013", "three to 10.99.0.2"},
		{"from outside, IPv6", lan(), "[fd99::1]:9000", "web6 to fd99::2"},
		{"host by its address", hostDoer{}, "10.99.0.1:9000", "web to 10.99.0.1"},
		{"host by 127.0.0.1", hostDoer{}, "127.0.0.1:9000", "web to 172.22.0.1"},
		{"loopback publish on the host", hostDoer{}, "127.0.0.1:9001", "web to 172.22.0.1"},
		{"peer by the host's address", peer, "10.99.0.1:9000", "web"},
		{"peer directly", peer, "172.22.0.2:9", "web to 172.22.0.3"},
		{"another network by the host's address", other, "10.99.0.1:9000", "web"},
		{"another network directly", other, "172.22.0.2:9", ""},
		{"loopback publish from outside", lan(), "10.99.0.1:9001", ""},
	} {
		got, err := askSCTP(c.from, c.address, c.want != "")
		if c.want == "" && err == nil || c.want != "" && !strings.HasPrefix(got, c.want) {
			t.Errorf("%s, %s: got %q, %v; want %q", c.what, c.address, got, err, c.want)
		}
	}
}

// sctpSocket is one that is used like TCP's (sctp(7), one-to-one style). Whoever waits on it waits for a second at most.
func sctpSocket(domain int) (int, error) {
	s, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return s, fmt.Errorf("open an SCTP socket: %w", err)
	}
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, option, &unix.Timeval{Sec: 1}); err != nil {
			unix.Close(s)
			return s, err
		}
	}
	return s, nil
}

func sctpAddress(text string) (int, unix.Sockaddr) {
	a := netip.MustParseAddrPort(text)
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// serveSCTP answers each association as serve does.
func serveSCTP(t *testing.T, where doer, address, name string) {
	t.Helper()
	domain, sa := sctpAddress(address)
	var l int
	if err := where.Do(func() (err error) {
		if l, err = sctpSocket(domain); err != nil {
			return err
		}
		if domain == unix.AF_INET6 {
			if err := unix.SetsockoptInt(l, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
				return err
			}
		}
		if err := unix.Bind(l, sa); err != nil {
			return err
		}
		return unix.Listen(l, 16)
	}); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		<-stopped
		unix.Close(l)
	})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			c, from, err := unix.Accept(l)
			if err != nil { // nobody came
				continue
			}
			unix.Write(c, []byte(name+" to "+sctpPeer(from)))
			unix.Close(c)
		}
	}()
}

func sctpPeer(sa unix.Sockaddr) string {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr).String()
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr).String()
	}
	return "nobody"
}

// askSCTP connects and reads the answer. patient: there should be one. A call with a time-out is not taken up again by the kernel after a
// signal (signal(7)), and Go sends itself some: then another association is made.
func askSCTP(where doer, address string, patient bool) (answer string, err error) {
	for {
		if answer, err = tryAskSCTP(where, address, patient); !errors.Is(err, unix.EINTR) {
			return answer, err
		}
	}
}

func tryAskSCTP(where doer, address string, patient bool) (answer string, err error) {
	domain, sa := sctpAddress(address)
	err = where.Do(func() error {
		s, err := sctpSocket(domain)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		if patient {
			for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
				if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, option, &unix.Timeval{Sec: 20}); err != nil {
					return err
				}
			}
		}
		if err := unix.Connect(s, sa); err != nil {
			return err
		}
		buf := make([]byte, 100)
		n, err := unix.Read(s, buf)
		answer = string(buf[:max(n, 0)])
		return err
	})
	return answer, err
}
