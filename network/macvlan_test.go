package network

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// onKernelWith skips the rest of a test where the kernel has no links of a kind, after seeing that it is said so, and before
// anything is made.
func onKernelWith(t *testing.T, m *Manager, kind string, o CreateOptions) bool {
	t.Helper()
	if probeLink(kind) == nil {
		return true
	}
	_, err := m.Create(context.Background(), o)
	if err == nil || !strings.Contains(err.Error(), "this kernel has no links of the kind "+kind) || !strings.Contains(err.Error(), "modprobe") {
		t.Errorf("without %s in the kernel: %v", kind, err)
	}
	if n, err := m.Network(o.Name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the network was made all the same: %+v", n)
	}
	return false
}

// Containers are on the wire: neighbours see them, with their own addresses, and no rule is made.
func TestMacvlan(t *testing.T) {
	m := newManager(t)
	wire := CreateOptions{Name: "wire", Driver: DriverMacvlan, Subnet: "10.99.0.0/24", Gateway: "10.99.0.2", Options: map[string]string{OptParent: "eth0"}}
	if !onKernelWith(t, m, "macvlan", wire) {
		return
	}
	rules := run(t, "iptables-save")
	n := create(t, m, wire)
	if n.AuxAddresses["host0"] != netip.MustParseAddr("10.99.0.1") {
		t.Errorf("the host's own address is not kept back: %v", n.AuxAddresses)
	}
	one, two := start(t, m, "one", "wire"), start(t, m, "two", "wire")
	if one.Address.String() != "10.99.0.3/24" || two.Address.String() != "10.99.0.4/24" {
		t.Errorf("addresses %s and %s", one.Address, two.Address)
	}
	if after := run(t, "iptables-save"); stripped(after) != stripped(rules) {
		t.Errorf("rules were made:\n%s", lineDiff(rules, after))
	}
	link := run(t, "ip", "-n", "one", "-d", "link", "show", "eth0")
	if !strings.Contains(link, "macvlan mode bridge") || !strings.Contains(link, "02:42:0a:63:00:03") {
		t.Errorf("inside:\n%s", link)
	}
	serve(t, lan(), "tcp", "10.99.0.2:80", "lan")
	serve(t, lan(), "tcp", "203.0.113.9:80", "internet")
	serve(t, two.Sandbox, "tcp", "10.99.0.4:80", "two")
	answers(t, one.Sandbox, "tcp", "10.99.0.2:80", "lan to 10.99.0.3")
	answers(t, one.Sandbox, "tcp", "203.0.113.9:80", "internet to 10.99.0.3")
	answers(t, one.Sandbox, "tcp", "10.99.0.4:80", "two to 10.99.0.3")
	answers(t, lan(), "tcp", "10.99.0.4:80", "two to 10.99.0.2")
	answers(t, hostDoer{}, "tcp", "10.99.0.4:80", "") // as in Docker: the parent and its children do not hear each other

	// Leaving the wire while running, coming back, starting anew with the same address at once.
	if err := m.Detach(context.Background(), two.id, "wire"); err != nil {
		t.Fatal(err)
	}
	if links := run(t, "ip", "-n", "two", "-o", "link"); strings.Contains(links, "eth0") {
		t.Errorf("after leaving:\n%s", links)
	}
	for range 3 {
		e, err := m.Attach(context.Background(), two.Sandbox, EndpointOptions{ContainerID: two.id, ContainerName: "two", Network: "wire", IP: "10.99.0.9"})
		if err != nil {
			t.Fatal(err)
		}
		if !e.Gateway.IsValid() || !e.DefaultRoute {
			t.Errorf("no way out: %+v", e)
		}
		if err := m.Release(context.Background(), two.id); err != nil {
			t.Fatal(err)
		}
		if two.Sandbox, err = m.CreateSandbox(context.Background(), "two", two.id); err != nil {
			t.Fatal(err)
		}
	}
	_, err := m.Attach(context.Background(), two.Sandbox, EndpointOptions{ContainerID: two.id, ContainerName: "two", Network: "wire", Ports: []PortMapping{{HostPort: 80, ContainerPort: 80, Count: 1, Proto: "tcp"}}})
	if err == nil || !strings.Contains(err.Error(), "publishes no ports") {
		t.Errorf("a published port on a macvlan network: %v", err)
	}
	script, err := m.Plan(context.Background(), "wire")
	if err != nil || !strings.Contains(script, " netns one address 02:42:0a:63:00:03 mtu 1500 type macvlan mode bridge\n") {
		t.Errorf("%v, plan:\n%s", err, script)
	}
	if commands, err := m.Sync(context.Background(), true); err != nil || len(commands) > 0 {
		t.Errorf("sync of an undamaged network: %v, %v", commands, err)
	}
}

// stripped leaves out the lines of iptables-save that change by themselves.
func stripped(rules string) string {
	var keep []string
	for line := range strings.Lines(rules) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ":") {
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "")
}

// In private mode the containers of one parent do not hear each other.
func TestMacvlanModes(t *testing.T) {
	m := newManager(t)
	wire := CreateOptions{Name: "wire", Driver: DriverMacvlan, Subnet: "10.99.0.0/24", Gateway: "10.99.0.2",
		Options: map[string]string{OptParent: "eth0", OptMacvlanMode: "private"}}
	if !onKernelWith(t, m, "macvlan", wire) {
		return
	}
	create(t, m, wire)
	one, two := start(t, m, "one", "wire"), start(t, m, "two", "wire")
	serve(t, two.Sandbox, "tcp", "0.0.0.0:80", "two")
	answers(t, lan(), "tcp", two.Address.Addr().String()+":80", "two to 10.99.0.2")
	answers(t, one.Sandbox, "tcp", two.Address.Addr().String()+":80", "")

	refuse := func(what string, o CreateOptions, want string) {
		t.Helper()
		o.Name, o.Driver = "other", DriverMacvlan
		if _, err := m.Create(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", what, err, want)
		}
	}
	refuse("a mode that there is not", CreateOptions{Options: map[string]string{OptParent: "eth0", OptMacvlanMode: "public"}}, "macvlan_mode=public")
	refuse("the same parent", CreateOptions{Options: map[string]string{OptParent: "eth0"}}, "network wire is already using parent interface eth0")
	refuse("no such parent", CreateOptions{Options: map[string]string{OptParent: "eth9"}}, "no such interface")
	refuse("loopback", CreateOptions{Options: map[string]string{OptParent: "lo"}}, "no wire")
	refuse("a VLAN of nothing", CreateOptions{Options: map[string]string{OptParent: "eth9.5"}}, "needs the interface eth9")
	refuse("a VLAN that there cannot be", CreateOptions{Options: map[string]string{OptParent: "eth0.4095"}}, "1 to 4094")
}

// A parent that is not there is made, and removed with the network: a VLAN, or a dummy.
func TestMadeParents(t *testing.T) {
	m := newManager(t)
	ctx := context.Background()
	vlan := CreateOptions{Name: "tagged", Driver: DriverMacvlan, Subnet: "10.50.0.0/24", Options: map[string]string{OptParent: "eth0.50"}}
	if onKernelWith(t, m, "vlan", vlan) && probeLink("macvlan") == nil {
		run(t, "ip", "-n", "lan", "link", "add", "link", "eth0", "name", "eth0.50", "type", "vlan", "id", "50")
		t.Cleanup(func() { run(t, "ip", "-n", "lan", "link", "del", "eth0.50") })
		run(t, "ip", "-n", "lan", "addr", "add", "10.50.0.1/24", "dev", "eth0.50")
		run(t, "ip", "-n", "lan", "link", "set", "eth0.50", "up")
		create(t, m, vlan)
		one := start(t, m, "one", "tagged")
		serve(t, lan(), "tcp", "10.50.0.1:80", "lan")
		answers(t, one.Sandbox, "tcp", "10.50.0.1:80", "lan to 10.50.0.2")
		run(t, "ip", "link", "del", "eth0.50")
		if commands, err := m.Sync(ctx, false); err != nil || len(commands) != 2 {
			t.Errorf("sync after the parent was deleted: %v, %v", commands, err)
		}
	}
	alone := CreateOptions{Name: "alone", Driver: DriverMacvlan}
	if onKernelWith(t, m, "dummy", alone) && probeLink("macvlan") == nil {
		create(t, m, alone)
		one, two := start(t, m, "a", "alone"), start(t, m, "b", "alone")
		serve(t, two.Sandbox, "tcp", "0.0.0.0:80", "b")
		answers(t, one.Sandbox, "tcp", two.Address.Addr().String()+":80", "b to "+one.Address.Addr().String())
		if one.Gateway.IsValid() {
			t.Errorf("there is a way out of a network without a wire: %s", one.Gateway)
		}
	}
}

// Ipvlan containers share the parent's MAC address; in mode l3 they need no gateway.
func TestIPvlan(t *testing.T) {
	m := newManager(t)
	wire := CreateOptions{Name: "wire", Driver: DriverIPvlan, Subnet: "10.99.0.0/24", Gateway: "10.99.0.2", Options: map[string]string{OptParent: "eth0"}}
	if !onKernelWith(t, m, "ipvlan", wire) {
		return
	}
	ctx := context.Background()
	create(t, m, wire)
	one, two := start(t, m, "one", "wire"), start(t, m, "two", "wire")
	serve(t, lan(), "tcp", "10.99.0.2:80", "lan")
	serve(t, lan(), "tcp", "203.0.113.9:80", "internet")
	serve(t, two.Sandbox, "tcp", "0.0.0.0:80", "two")
	answers(t, one.Sandbox, "tcp", "10.99.0.2:80", "lan to "+one.Address.Addr().String())
	answers(t, one.Sandbox, "tcp", "203.0.113.9:80", "internet to "+one.Address.Addr().String())
	answers(t, one.Sandbox, "tcp", two.Address.Addr().String()+":80", "two to "+one.Address.Addr().String())
	mac := strings.Fields(run(t, "ip", "-br", "link", "show", "eth0"))[2]
	if link := run(t, "ip", "-n", "one", "-d", "link", "show", "eth0"); !strings.Contains(link, mac) {
		t.Errorf("the parent's MAC is %s; inside:\n%s", mac, link)
	}
	if _, err := m.Attach(ctx, one.Sandbox, EndpointOptions{ContainerID: "x", Network: "wire", MAC: "02:00:00:00:00:01"}); err == nil || !strings.Contains(err.Error(), "MAC") {
		t.Errorf("a MAC of its own: %v", err)
	}
	for _, b := range []box{one, two} {
		if err := m.Release(ctx, b.id); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Remove(ctx, "wire"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the links go with their namespaces: the mode is the parent's, so all of one mode
	create(t, m, CreateOptions{Name: "routed", Driver: DriverIPvlan, Subnet: "10.70.0.0/24", Options: map[string]string{OptParent: "eth0", OptIPvlanMode: "l3"}})
	run(t, "ip", "-n", "lan", "route", "add", "10.70.0.0/24", "via", "10.99.0.1")
	t.Cleanup(func() { run(t, "ip", "-n", "lan", "route", "del", "10.70.0.0/24") })
	three := start(t, m, "three", "routed")
	if routes := run(t, "ip", "-n", "three", "route", "show", "default"); !strings.HasPrefix(routes, "default dev eth0 scope link") {
		t.Errorf("routes: %s", routes)
	}
	answers(t, three.Sandbox, "tcp", "10.99.0.2:80", "lan to "+three.Address.Addr().String())
}
