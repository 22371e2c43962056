package network

import (
	"context"
	"strings"
	"testing"
)

// Each address family has a default route of its own: it may lead by another network than the other's, and moves on when that
// network is left.
func TestDefaultRoutes(t *testing.T) {
	m := newManager(t)
	ctx := context.Background()
	create(t, m, CreateOptions{Name: "four", Subnet: "172.20.0.0/16"})
	create(t, m, CreateOptions{Name: "both", Subnet: "172.21.0.0/16", Subnet6: "fd21::/64"})
	create(t, m, CreateOptions{Name: "shut", Subnet: "172.22.0.0/16", Subnet6: "fd22::/64", Internal: true})
	create(t, m, CreateOptions{Name: "more", Subnet: "172.23.0.0/16", Subnet6: "fd23::/64"})
	web := start(t, m, "web", "shut")
	routes := func(when, want4, want6 string) {
		t.Helper()
		for family, want := range map[string]string{"-4": want4, "-6": want6} {
			got := strings.TrimSpace(run(t, "ip", "-n", "web", family, "route", "show", "default"))
			if want == "" && got != "" || !strings.HasPrefix(got, want) {
				t.Errorf("%s: ip %s route: %q; want %q", when, family, got, want)
			}
		}
	}
	leave := func(network string) {
		t.Helper()
		if err := m.Detach(ctx, web.id, network); err != nil {
			t.Fatal(err)
		}
	}
	routes("an internal network", "", "")
	join(t, m, web, "four")
	routes("IPv4 alone", "default via 172.20.0.1 dev eth1", "")
	join(t, m, web, "both")
	routes("two networks", "default via 172.20.0.1 dev eth1", "default via fd21::1 dev eth2")
	join(t, m, web, "more")
	leave("four")
	routes("the first has gone", "default via 172.21.0.1 dev eth2", "default via fd21::1 dev eth2")
	leave("both")
	routes("the second has gone", "default via 172.23.0.1 dev eth3", "default via fd23::1 dev eth3")
	leave("more")
	routes("all have gone", "", "")
}
