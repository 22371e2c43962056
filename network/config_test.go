package network

import (
	"context"
	"os"
	"strings"
	"testing"
)

func TestReadConfig(t *testing.T) {
	file := t.TempDir() + "/daemon.json"
	if c, err := ReadConfig(file); err != nil || c.BIP != "" {
		t.Errorf("a missing file: %+v, %v", c, err)
	}
	for text, want := range map[string]string{
		`{`:                                "unexpected EOF",
		`{"bip": "192.168.1.0/24"}`:        "bip",
		`{"bip": "here"}`:                  "bip",
		`{"fixed-cidr": "192.168.1.0/25"}`: "need bip",
		`{"mtu": 5}`:                       "mtu",
		`{"dns": ["nowhere"]}`:             "dns",
		`{"ip": "::1"}`:                    "ip",
		`{"icc": "no"}`:                    "icc",
		`{"default-address-pools": [{"base":"10.0.0.0/16","size":8}]}`: "default-address-pools",
		`{"bip": "192.168.1.1/24", "dns": ["10.20.1.2"]}`:              "",
		`{"ipv6": true}`:      `"ipv6" (known are bip, fixed-cidr, mtu, `,
		`{"iptables": false}`: "registries.json",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadConfig(file)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("192.168.1.1/24", "192.168.1.0/25", 1500, "192.168.1.254", "10.0.0.0/8", 24)
	f.Fuzz(func(t *testing.T, bip, fixed string, mtu int, gateway, base string, size int) {
		c := Config{BIP: bip, FixedCIDR: fixed, MTU: mtu, DefaultGateway: gateway, AddressPools: []AddressPool{{base, size}}}
		if c.check() != nil {
			return
		}
		all, err := c.pool()
		if err != nil || len(all) == 0 {
			t.Errorf("%+v: %v", c, err)
		}
		for _, p := range all {
			if p.Masked() != p {
				t.Errorf("%+v: %s", c, p)
			}
		}
		c.defaultOptions()
	})
}

// The default network as the configuration file wants it, and made anew by a changed one when nobody is on it.
func TestConfiguredDefaultNetwork(t *testing.T) {
	config := Config{BIP: "192.168.1.1/24", FixedCIDR: "192.168.1.0/25", MTU: 1400, DefaultGateway: "192.168.1.254"}
	m := newManager(t, func(o *Options) { o.Config = config })
	web := start(t, m, "web", "bridge")
	for command, want := range map[string]string{
		"ip -br -4 addr show mydocker0":   "192.168.1.1/24",
		"ip -n web -br -4 addr show eth0": "192.168.1.2/24",
		"ip -n web route":                 "default via 192.168.1.254 dev eth0",
		"ip -n web link show eth0":        "mtu 1400",
	} {
		if out := run(t, strings.Fields(command)...); !strings.Contains(out, want) {
			t.Errorf("%s: want %q in\n%s", command, want, out)
		}
	}
	m.config.BIP, m.config.FixedCIDR, m.config.DefaultGateway = "192.168.2.1/24", "", ""
	for _, id := range []string{web.id} {
		if err := m.Release(context.Background(), id); err != nil {
			t.Fatal(err)
		}
	}
	if next := start(t, m, "next", "bridge"); next.Address.String() != "192.168.2.2/24" {
		t.Errorf("after the change: %s", next.Address)
	}
	if out := run(t, "iptables-save"); strings.Contains(out, "192.168.1.") {
		t.Errorf("rules of the network before:\n%s", out)
	}
}

func TestAddressPools(t *testing.T) {
	m := newManager(t, func(o *Options) {
		o.Config = Config{AddressPools: []AddressPool{{"10.99.0.0/16", 24}, {"10.50.0.0/23", 24}}}
	})
	for i, want := range []string{"10.99.1.0/24", "10.99.2.0/24"} { // 10.99.0.0/24 is the LAN
		if n := create(t, m, CreateOptions{Name: "n" + string(rune('a'+i))}); n.Subnet.String() != want {
			t.Errorf("%s, want %s", n.Subnet, want)
		}
	}
}
