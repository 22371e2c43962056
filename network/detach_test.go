package network

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strings"
	"testing"
	"time"
)

// A container joins and leaves networks while it runs.
func TestConnectDisconnect(t *testing.T) {
	m := newManager(t)
	ctx := context.Background()
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	create(t, m, CreateOptions{Name: "br1", Subnet: "172.21.0.0/16"})
	create(t, m, CreateOptions{Name: "shut", Subnet: "172.22.0.0/16", Internal: true})
	web := start(t, m, "web", "br0", "8080:80")
	two := start(t, m, "two", "br1")
	serve(t, two, "tcp4", ":80", "two")
	serve(t, web, "tcp4", ":80", "web")
	answers(t, web, "tcp4", "172.21.0.2:80", "")
	join(t, m, web, "shut")
	e := join(t, m, web, "br1")
	if e.Interface != "eth2" || e.Address.String() != "172.21.0.3/16" || e.DefaultRoute {
		t.Errorf("%+v", e)
	}
	answers(t, web, "tcp4", "172.21.0.2:80", "two to 172.21.0.3")
	answers(t, two, "tcp4", "172.21.0.3:80", "web")
	if _, err := m.Attach(ctx, web.Sandbox, EndpointOptions{ContainerID: web.id, ContainerName: "web", Network: "br1"}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("twice: %v", err)
	}
	if eps, err := m.ContainerEndpoints(web.id); err != nil || len(eps) != 3 || eps[0].NetworkName != "br0" || eps[2].NetworkName != "br1" {
		t.Errorf("%v, %v", eps, err)
	}
	web.closeHeld()
	if err := m.Detach(ctx, web.id, "br0"); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "ip", "-n", "web", "route"); !strings.Contains(out, "default via 172.21.0.1 dev eth2") {
		t.Errorf("the default route has not moved:\n%s", out)
	}
	answers(t, lan(), "tcp4", "10.99.0.1:8080", "")
	if err := m.Detach(ctx, web.id, "br0"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "is not connected to network br0") {
		t.Errorf("twice: %v", err)
	}
	if again := join(t, m, web, "br0"); again.Interface != "eth0" || again.DefaultRoute {
		t.Errorf("%+v", again)
	}
	if err := m.Remove(ctx, "br1"); err == nil || !strings.Contains(err.Error(), "two, web") {
		t.Errorf("%v", err)
	}
}

func TestStaticAddresses(t *testing.T) {
	m := newManager(t)
	ctx := context.Background()
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/24", Gateway: "172.20.0.254", IPRange: "172.20.0.128/30",
		AuxAddresses: map[string]string{"router": "172.20.0.129"}})
	try := func(name, ip, mac string) (*Endpoint, error) {
		sb, err := m.CreateSandbox(ctx, name, containerID(name))
		if err != nil {
			t.Fatal(err)
		}
		return m.Attach(ctx, sb, EndpointOptions{ContainerID: containerID(name), ContainerName: name, Network: "br0", IP: ip, MAC: mac})
	}
	for _, c := range []struct{ name, ip, mac, want, wrong string }{
		{name: "a", want: "172.20.0.128/24"},
		{name: "b", want: "172.20.0.130/24"},
		{name: "c", ip: "172.20.0.7", want: "172.20.0.7/24", mac: "02:00:00:00:00:07"},
		{name: "d", ip: "172.20.0.7", wrong: "in use by container c"},
		{name: "d", ip: "172.20.0.254", wrong: "the gateway"},
		{name: "d", ip: "172.20.0.129", wrong: "the auxiliary address router"},
		{name: "d", ip: "172.20.0.255", wrong: "in use by the network itself"},
		{name: "d", ip: "172.20.0.0", wrong: "in use by the network itself"},
		{name: "d", ip: "172.21.0.1", wrong: "not in the network's subnet"},
		{name: "d", ip: "here", wrong: `"here" is not an address`},
		{name: "d", mac: "01:00:00:00:00:01", wrong: "not a MAC address"},
		{name: "d", want: "172.20.0.131/24"},
		{name: "e", wrong: "no free address left in 172.20.0.128/30"},
	} {
		e, err := try(c.name, c.ip, c.mac)
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil || e.Address.String() != c.want || c.mac != "" && e.MAC.String() != c.mac {
			t.Errorf("%+v: %v, %v", c, e, err)
		}
	}
	if out := run(t, "ip", "-n", "c", "link", "show", "eth0"); !strings.Contains(out, "02:00:00:00:00:07") {
		t.Error(out)
	}
	if out := run(t, "ip", "-n", "a", "route"); !strings.Contains(out, "default via 172.20.0.254") {
		t.Error(out)
	}
}

// A client that never stops sending reaches the container as soon as there is one, and the next one after it.
func TestUDPFlowsFollow(t *testing.T) { backends(t, checkUDPFlowsFollow) }

func checkUDPFlowsFollow(t *testing.T, use func(*Options)) {
	m := newManager(t, use)
	create(t, m, CreateOptions{Name: "br0"})
	var c net.Conn
	if err := lan().Do(func() (err error) { c, err = net.Dial("udp4", "10.99.0.1:5353"); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func() string {
		for range 200 { // the first one may be told that the port was unreachable before
			c.SetDeadline(time.Now().Add(300 * time.Millisecond))
			c.Write([]byte("?"))
			buf := make([]byte, 100)
			if n, err := c.Read(buf); err == nil {
				return string(buf[:n])
			}
		}
		return ""
	}
	c.Write([]byte("?"))
	for tries := 0; ; tries++ {
		out := run(t, "conntrack", "-L", "-p", "udp")
		if strings.Contains(out, "dport=5353") {
			break
		}
		if tries == 600 {
			t.Fatalf("the kernel remembers no flow:\n%s", out)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, name := range []string{"one", "two"} {
		b := start(t, m, name, "br0", "5353:53/udp")
		serve(t, b, "udp4", ":53", name)
		if got := ask(); got != name+" to 10.99.0.2" {
			t.Errorf("%q, want %s", got, name)
		}
		b.closeHeld()
		if err := m.Release(context.Background(), b.id); err != nil {
			t.Fatal(err)
		}
	}
}
