package network

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestForgetFlows gives the kernel flows and sees which of them it forgets, by both ways: what a new kernel does by itself, and what is done for an
// old one. The kernel's own tool is the judge.
func TestForgetFlows(t *testing.T) {
	begin := [][]string{
		{"udp", "10.99.0.2", "10.99.0.1", "4000", "5353", "172.20.0.2", "0"},
		{"udp", "10.99.0.2", "10.99.0.1", "4001", "5354", "172.20.0.3", "0"},
		{"tcp", "10.99.0.2", "10.99.0.1", "4000", "5353", "172.20.0.3", "0"},
		{"udp", "fd99::2", "fd99::1", "4000", "5353", "fd98::2", "0"},
		{"udp", "fd99::2", "fd99::1", "4001", "5354", "fd98::3", "0"},
	}
	fill := func() {
		t.Helper()
		run(t, "sh", "-c", "conntrack -F; conntrack -F -f ipv6")
		for _, f := range begin {
			args := []string{"-I", "-p", f[0], "-s", f[1], "-d", f[2], "--sport", f[3], "--dport", f[4], "--reply-src", f[5], "--reply-dst", f[1],
				"--reply-port-src", "53", "--reply-port-dst", f[3], "-t", "300"}
			if f[0] == "tcp" {
				args = append(args, "--state", "ESTABLISHED")
			}
			run(t, append([]string{"conntrack"}, args...)...)
		}
	}
	left := func() (names []string) {
		t.Helper()
		out := run(t, "sh", "-c", "conntrack -L -f ipv4; conntrack -L -f ipv6")
		for _, f := range begin {
			for _, line := range strings.Split(out, "\n") {
				if strings.HasPrefix(line, f[0]+" ") && strings.Contains(line, "dport="+f[4]) && strings.Contains(line, "src="+f[5]+" ") {
					names = append(names, f[0]+" "+f[4]+" "+f[5])
				}
			}
		}
		return names
	}
	for _, c := range []struct {
		name   string
		op     operation
		remain []string
	}{
		{"udp port", forgetUDP{[]PortMapping{{HostPort: 5353, Count: 1, Proto: "udp"}}}, []string{"udp 5354 172.20.0.3", "tcp 5353 172.20.0.3", "udp 5354 fd98::3"}},
		{"udp range", forgetUDP{[]PortMapping{{HostPort: 5300, Count: 1000, Proto: "udp"}}}, []string{"tcp 5353 172.20.0.3"}},
		{"no such port", forgetUDP{[]PortMapping{{HostPort: 80, Count: 1, Proto: "udp"}}},
			[]string{"udp 5353 172.20.0.2", "udp 5354 172.20.0.3", "tcp 5353 172.20.0.3", "udp 5353 fd98::2", "udp 5354 fd98::3"}},
		{"address", forgetAddress{netip.MustParseAddr("172.20.0.3")}, []string{"udp 5353 172.20.0.2", "udp 5353 fd98::2", "udp 5354 fd98::3"}},
		{"address of IPv6", forgetAddress{netip.MustParseAddr("fd98::3")}, []string{"udp 5353 172.20.0.2", "udp 5354 172.20.0.3", "tcp 5353 172.20.0.3", "udp 5353 fd98::2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fill()
			if n, err := countFlows(); err != nil || n < len(begin) {
				t.Errorf("%d connections are counted: %v", n, err)
			}
			if err := c.op.apply(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			if got := left(); !slices.Equal(got, c.remain) {
				t.Errorf("left %q, want %q", got, c.remain)
			}
		})
	}
	t.Run("old kernel", func(t *testing.T) {
		fill()
		udp := flowFilter(func(f *netlink.ConntrackFlow) bool { return f.Forward.Protocol == unix.IPPROTO_UDP })
		for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
			if err := searchFlows(udp, family); err != nil {
				t.Fatal(err)
			}
		}
		if got := left(); !slices.Equal(got, []string{"tcp 5353 172.20.0.3"}) {
			t.Errorf("left %q", got)
		}
	})
}
