package network

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mydocker/mydocker/state"
)

// A changed configuration while containers run: whoever runs stays reachable where he is, whoever comes is on the new subnet,
// and what the former one needed goes with the last that was on it.
func TestRedefinedUnderContainers(t *testing.T) { backends(t, checkRedefinedUnderContainers) }

func checkRedefinedUnderContainers(t *testing.T, use func(*Options)) {
	var said []string
	m := newManager(t, use, func(o *Options) {
		o.Config = Config{BIP: "192.168.1.1/24", FixedCIDR: "192.168.1.0/25", MTU: 1400}
		o.Warn = func(s string) { said = append(said, s) }
	})
	old := start(t, m, "old", "bridge", "8080:80")
	serve(t, old, "tcp", ":80", "old")
	serve(t, lan(), "tcp", "203.0.113.9:7777", "internet")
	m.config = Config{BIP: "192.168.2.1/24", MTU: 1300}
	fresh := start(t, m, "fresh", "bridge", "8081:80")
	serve(t, fresh, "tcp", ":80", "fresh")
	if fresh.Address.String() != "192.168.2.2/24" {
		t.Errorf("a new container has %s", fresh.Address)
	}
	if len(said) != 1 || !strings.Contains(said[0], "old keep what they have") || !strings.Contains(said[0], "192.168.2.0/24") {
		t.Errorf("the user is told %q", said)
	}
	shows(t, map[string]string{
		"ip -n old -br -4 addr show eth0": "192.168.1.2/24",
		"ip -n old link show eth0":        "mtu 1300",
		"ip -n fresh link show eth0":      "mtu 1300",
		"ip link show mydocker0":          "mtu 1300",
		"ip -br -4 addr show mydocker0":   "192.168.1.1/24",
		"ip -n fresh route":               "default via 192.168.2.1",
	})
	for address, want := range map[string]string{"10.99.0.1:8080": "old to 10.99.0.2", "10.99.0.1:8081": "fresh to 10.99.0.2"} {
		answers(t, lan(), "tcp", address, want)
	}
	answers(t, hostDoer{}, "tcp", "127.0.0.1:8080", "old")
	answers(t, old, "tcp", "10.99.0.1:8080", "old") // its own published port
	answers(t, old, "tcp", "192.168.2.2:80", "fresh to 192.168.1.2")
	answers(t, fresh, "tcp", "192.168.1.2:80", "old to 192.168.2.2")
	answers(t, old, "tcp", "203.0.113.9:7777", "internet to 10.99.0.1")
	inSync(t, m)

	// The one on the former subnet starts anew.
	if err := m.Release(context.Background(), old.id); err != nil {
		t.Fatal(err)
	}
	if again := start(t, m, "old", "bridge"); again.Address.String() != "192.168.2.3/24" {
		t.Errorf("started anew: %s", again.Address)
	}
	for _, command := range []string{"ip addr show mydocker0", "nft list ruleset"} {
		if out := run(t, strings.Fields(command)...); strings.Contains(out, "192.168.1.") {
			t.Errorf("%s: the former subnet is left:\n%s", command, out)
		}
	}
	inSync(t, m)
	if len(said) != 1 {
		t.Errorf("said again: %q", said[1:])
	}
}

// What can change under a container changes at once: its way out, the pool of addresses, the MTU. Its address stays.
func TestRedefinedOnTheSameSubnet(t *testing.T) {
	m := newManager(t, func(o *Options) { o.Config = Config{BIP: "192.168.1.1/24"} })
	web := start(t, m, "web", "bridge")
	m.config = Config{BIP: "192.168.1.1/24", DefaultGateway: "192.168.1.254", MTU: 1280, FixedCIDR: "192.168.1.128/26"}
	if late := start(t, m, "late", "bridge"); late.Address.String() != "192.168.1.128/24" {
		t.Errorf("from the new pool: %s", late.Address)
	}
	shows(t, map[string]string{
		"ip -n web -br -4 addr show eth0": "192.168.1.2/24",
		"ip -n web route":                 "default via 192.168.1.254",
		"ip -n web link show eth0":        "mtu 1280",
		"ip -n late route":                "default via 192.168.1.254",
	})
	if eps, err := m.ContainerEndpoints(web.id); err != nil || eps[0].Gateway.String() != "192.168.1.254" || eps[0].MTU != 1280 {
		t.Errorf("the record: %+v, %v", eps, err)
	}
	// Another address of the bridge's in the same subnet: web's gateway is not touched, so there is nothing to keep.
	m.config = Config{BIP: "192.168.1.9/24"}
	next := start(t, m, "next", "bridge")
	shows(t, map[string]string{
		"ip -n web route":  "default via 192.168.1.9",
		"ip -n next route": "default via 192.168.1.9",
	})
	// And once more, now that it is the containers' gateway: they keep it until they start anew.
	m.config = Config{BIP: "192.168.1.10/24"}
	last := start(t, m, "last", "bridge")
	shows(t, map[string]string{
		"ip -n next route": "default via 192.168.1.9",
		"ip -n last route": "default via 192.168.1.10",
	})
	for _, c := range []box{web, next, last} {
		answersPing(t, c, c.Gateway.String())
	}
	for _, name := range []string{"web", "late", "next"} {
		if err := m.Release(context.Background(), containerID(name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Network("bridge"); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "ip", "-br", "-4", "addr", "show", "mydocker0"); !strings.Contains(out, "192.168.1.10/24") || strings.Contains(out, "192.168.1.9/") {
		t.Errorf("the bridge has %s", out)
	}
	answersPing(t, last, "192.168.1.10")
}

// The MTU alone, without a bip: the subnet that was chosen stays. A kill in the middle is gone on with.
func TestRedefinedByHalf(t *testing.T) {
	m := newManager(t)
	web := start(t, m, "web", "bridge")
	m.config = Config{MTU: 1280}
	if late := start(t, m, "late", "bridge"); late.Address.Masked() != web.Address.Masked() {
		t.Errorf("%s, and the first has %s", late.Address, web.Address)
	}
	n, err := m.loadNetwork(builtInID(DefaultName))
	if err != nil {
		t.Fatal(err)
	}
	n.Settings += notYet
	if err := state.ReplaceJSON(m.networkPath(n.ID), n, state.Volatile); err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "-n", "web", "link", "set", "eth0", "mtu", "1500")
	if after, err := m.Network("bridge"); err != nil || strings.HasSuffix(after.Settings, notYet) || after.Subnet != n.Subnet {
		t.Errorf("%+v, %v", after, err)
	}
	shows(t, map[string]string{"ip -n web link show eth0": "mtu 1280"})
	m.config = Config{BIP: "10.99.0.77/24"} // the LAN's
	if _, err := m.Network("bridge"); err == nil || !strings.Contains(err.Error(), "10.99.0.0/24") {
		t.Errorf("a subnet that is in use: %v", err)
	}
	m.config = Config{MTU: 1280}
	if _, err := m.Network("bridge"); err != nil {
		t.Error(err)
	}
}

// shows asserts that commands show something.
func shows(t *testing.T, wants map[string]string) {
	t.Helper()
	for command, want := range wants {
		if out := run(t, strings.Fields(command)...); !strings.Contains(out, want) {
			t.Errorf("%s: want %q in\n%s", command, want, out)
		}
	}
}

// inSync asserts that there is nothing to mend.
func inSync(t *testing.T, m *Manager) {
	t.Helper()
	if commands, err := m.Sync(context.Background(), true); err != nil || len(commands) > 0 {
		t.Errorf("to be mended: %q, %v", commands, err)
	}
}

// answersPing asserts that an address answers from within a container.
func answersPing(t *testing.T, from box, address string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err := ask(from, "udp", address+":9", time.Second); err != nil && strings.Contains(err.Error(), "refused") {
			return
		} else if time.Now().After(deadline) {
			t.Errorf("%s does not answer: %v", address, err)
			return
		}
	}
}
