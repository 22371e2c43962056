package network

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// The network with the highest priority has the default routes, whenever it comes and goes.
func TestGwPriority(t *testing.T) {
	m := newManager(t)
	ctx := context.Background()
	for name, subnet := range map[string]string{"low": "172.20.0.0/16", "mid": "172.21.0.0/16", "top": "172.22.0.0/16"} {
		create(t, m, CreateOptions{Name: name, Subnet: subnet, EnableIPv6: name != "low"})
	}
	web := start(t, m, "web", "low")
	join := func(network string, priority int, change ...func(*EndpointOptions)) (*Endpoint, error) {
		o := EndpointOptions{ContainerID: web.id, ContainerName: "web", Network: network, Extras: Extras{GwPriority: priority}}
		for _, c := range change {
			c(&o)
		}
		return m.Attach(ctx, web.Sandbox, o)
	}
	via := func(what, want, want6 string) {
		t.Helper()
		got := run(t, "ip", "-n", "web", "route", "show", "default") + run(t, "ip", "-n", "web", "-6", "route", "show", "default")
		if strings.Count(got, "default via") != strings.Count(want+want6, "eth") || want != "" && !strings.Contains(got, want) || want6 != "" && !strings.Contains(got, want6) {
			t.Errorf("%s: %s", what, got)
		}
	}
	must := func(_ *Endpoint, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	via("alone", "via 172.20.0.1 dev eth0", "")
	must(join("mid", 0))
	via("of equals, the first", "via 172.20.0.1 dev eth0", "dev eth1")
	must(join("top", 5))
	via("the highest", "via 172.22.0.1 dev eth2", "dev eth2")
	if err := m.Detach(ctx, web.id, "top"); err != nil {
		t.Fatal(err)
	}
	via("the highest has gone", "via 172.20.0.1 dev eth0", "dev eth1")
	// One that fails at the last step has taken nothing away.
	m.executor = func() executor { return &failing{newKernel(m.root)} }
	if _, err := join("top", 9, func(o *EndpointOptions) { o.Shape.Rate = 1e6 }); err == nil {
		t.Error("the cable has been shaped by a kernel that cannot")
	}
	m.executor = func() executor { return newKernel(m.root) }
	via("after a failure", "via 172.20.0.1 dev eth0", "dev eth1")
	must(join("top", -1))
	via("a lower one", "via 172.20.0.1 dev eth0", "dev eth1")
	for _, gone := range []string{"low", "mid"} {
		if err := m.Detach(ctx, web.id, gone); err != nil {
			t.Fatal(err)
		}
	}
	via("only the lowest is left", "via 172.22.0.1 dev eth2", "dev eth2")
}

// failing is a kernel that cannot shape.
type failing struct{ executor }

func (f *failing) do(ctx context.Context, op operation) error {
	if strings.Contains(op.Command(), "qdisc") {
		return errors.New("no")
	}
	return f.executor.do(ctx, op)
}

// What an endpoint is asked for beside its address: its interface's name, settings, further addresses that the guard lets pass.
func TestExtras(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16", EnableIPv6: true})
	create(t, m, CreateOptions{Name: "four", Subnet: "172.21.0.0/16"})
	peer := start(t, m, "peer", "br0")
	sb, err := m.CreateSandbox(context.Background(), "web", containerID("web"))
	if err != nil {
		t.Fatal(err)
	}
	x := Extras{LinkLocalIPs: []netip.Addr{netip.MustParseAddr("169.254.7.7"), netip.MustParseAddr("fe80::7")},
		DriverOpts: map[string]string{OptEndpointIfname: "wan", OptEndpointSysctls: "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.hop_limit=9"}}
	if _, err := m.Attach(context.Background(), sb, EndpointOptions{ContainerID: containerID("web"), ContainerName: "web", Network: "br0", Extras: x}); err != nil {
		t.Fatal(err)
	}
	addresses := run(t, "ip", "-n", "web", "-o", "addr", "show", "dev", "wan")
	for _, want := range []string{"172.20.0.", "169.254.7.7/16", "fe80::7/64"} {
		if !strings.Contains(addresses, want) {
			t.Errorf("no %s in\n%s", want, addresses)
		}
	}
	if err := sb.Do(func() error {
		for key, want := range map[string]string{"net/ipv4/conf/wan/log_martians": "1", "net/ipv6/conf/wan/hop_limit": "9"} {
			if v, err := readSysctl(key); v != want {
				t.Errorf("%s is %s, %v", key, v, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "-n", "peer", "addr", "add", "169.254.8.8/16", "dev", "eth0")
	serve(t, sb, "tcp", "169.254.7.7:80", "web")
	run(t, "nft", "add", "element", "bridge", "mydocker", "addresses", "{", `"`+peer.HostLink+`"`, ".", "169.254.8.8", "}") // the peer's is not the matter here
	answers(t, peer, "tcp", "169.254.7.7:80", "web to 169.254.8.8")
	for text, bad := range map[string]Extras{
		"is not known":           {DriverOpts: map[string]string{"x": "y"}},
		"name of an interface":   {DriverOpts: map[string]string{OptEndpointIfname: "a/b"}},
		"IFNAME.KEY=VALUE":       {DriverOpts: map[string]string{OptEndpointSysctls: "net.ipv4.ip_forward=1"}},
		"is no link-local":       {LinkLocalIPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}},
		"network four has no IP": {LinkLocalIPs: []netip.Addr{netip.MustParseAddr("fe80::1")}},
	} {
		o := EndpointOptions{ContainerID: containerID("web"), ContainerName: "web", Network: "four", Extras: bad}
		if _, err := m.Attach(context.Background(), sb, o); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
