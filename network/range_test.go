package network

import (
	"context"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A run of ports costs as many rules as one port, and a long one works.
func TestLongRange(t *testing.T) { backends(t, checkLongRange) }

func checkLongRange(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	create(t, m, CreateOptions{Name: "br0", EnableIPv6: true})
	rules := func() int {
		return strings.Count(run(t, "bash", "-c", "iptables-save; ip6tables-save; nft list ruleset | grep -v '^\\s*\\(elements\\|tcp\\|udp\\|\"veth\\)'"), "\n")
	}
	one := start(t, m, "one", "br0", "8000:8000")
	few := rules()
	one.closeHeld()
	if err := m.Release(context.Background(), one.id); err != nil {
		t.Fatal(err)
	}
	many := start(t, m, "many", "br0", "8000-9999:8000-9999")
	if n := rules(); n != few {
		t.Errorf("2000 ports cost %d lines of rules, one costs %d", n, few)
	}
	serve(t, many, "tcp", ":8000", "first")
	serve(t, many, "tcp", ":9999", "last")
	answers(t, lan(), "tcp4", "10.99.0.1:8000", "first")
	answers(t, lan(), "tcp4", "10.99.0.1:9999", "last")
	answers(t, lan(), "tcp6", "[fd99::1]:9999", "last")
	if commands, err := m.Sync(context.Background(), true); err != nil || len(commands) > 0 {
		t.Errorf("%d commands, %v", len(commands), err)
	}
}

// SCTP is published where the kernel has it, and refused where it has not; the rules are right in any case.
func TestSCTP(t *testing.T) { backends(t, checkSCTP) }

func checkSCTP(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	ctx := context.Background()
	n := create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	has := err == nil
	if has {
		unix.Close(fd)
	}
	web, err := tryStart(m, "web", "br0", "9000:9/sctp")
	if has != (err == nil) || err != nil && !strings.Contains(err.Error(), "publish 0.0.0.0:9000->9/sctp: this kernel has no SCTP") {
		t.Errorf("a kernel with SCTP: %t: %v", has, err)
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
