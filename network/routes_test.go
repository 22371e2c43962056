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

// A part of an IPv6 subnet is handed out like one of IPv4.
func TestIPRange6(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "part", Subnet: "172.20.0.0/16", IPRange: "172.20.8.0/24", Subnet6: "fd20::/64", IPRange6: "fd20::800/120"})
	one, two := start(t, m, "one", "part"), start(t, m, "two", "part")
	if a, b := one.Address6.String(), two.Address6.String(); a != "fd20::800/64" || b != "fd20::801/64" {
		t.Errorf("addresses %s, %s", a, b)
	}
	for text, want := range map[string]string{"fd21::/120": "is not a part of", "fd20::/48": "is not a part of", "fd20::1:0:0/120": "fd20::/112", "x": "is not a part of"} {
		_, err := m.Create(context.Background(), CreateOptions{Name: "bad", Subnet: "172.21.0.0/16", Subnet6: "fd20:1::/64", IPRange6: strings.Replace(text, "fd20::", "fd20:1::", 1)})
		if err == nil || !strings.Contains(err.Error(), strings.Replace(want, "fd20::", "fd20:1::", 1)) {
			t.Errorf("ip range %s: %v", text, err)
		}
	}
}
