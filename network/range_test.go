package network

import (
	"context"
	"strings"
	"testing"
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
