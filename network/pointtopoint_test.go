package network

import (
	"context"
	"net/netip"
	"strings"
	"testing"
)

// A /31 is a wire between two (RFC 3021): the bridge and one container, and no address is anybody else's.
func TestPointToPoint(t *testing.T) { backends(t, checkPointToPoint) }

func checkPointToPoint(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	before := snapshot(t)
	serve(t, lan(), "tcp4", ":99", "lan")
	for _, c := range []struct{ name, gateway, bridge, container string }{
		{"first", "", "10.40.0.0", "10.40.0.1"},
		{"second", "10.40.0.1", "10.40.0.1", "10.40.0.0"},
	} {
		n := create(t, m, CreateOptions{Name: c.name, Subnet: "10.40.0.0/31", Gateway: c.gateway})
		web := start(t, m, "web", c.name, "8080:80")
		if n.Gateway.String() != c.bridge || web.Address != netip.MustParsePrefix(c.container+"/31") {
			t.Fatalf("%s: gateway %s, container %s", c.name, n.Gateway, web.Address)
		}
		serve(t, web, "tcp", ":80", "web")
		answers(t, lan(), "tcp4", "10.99.0.1:8080", "web to 10.99.0.2")
		answers(t, hostDoer{}, "tcp4", "127.0.0.1:8080", "web")
		answers(t, hostDoer{}, "tcp4", c.container+":80", "web")
		answers(t, web, "tcp4", "10.99.0.1:8080", "web")
		answers(t, web, "tcp4", "10.99.0.2:99", "lan to 10.99.0.1")
		if _, err := tryStart(m, "late", c.name); err == nil || !strings.Contains(err.Error(), "no free address") {
			t.Errorf("%s: a second container: %v", c.name, err)
		}
		if commands, err := m.Sync(context.Background(), true); err != nil || len(commands) > 0 {
			t.Errorf("sync would do %q, %v", commands, err)
		}
		web.closeHeld()
		removeAll(t, m)
		if now := eventually(t, before); now != before {
			t.Errorf("not clean:\n%s", lineDiff(before, now))
		}
	}
}
