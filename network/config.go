package network

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/mydocker/mydocker/state"
)

// Config is the configuration file, with the keys of Docker's daemon.json. Another key is refused: who writes it would rely on it.
type Config struct {
	BIP            string `json:"bip,omitempty"`             // address and prefix length of the default bridge: 192.168.1.1/24
	FixedCIDR      string `json:"fixed-cidr,omitempty"`      // part of that subnet from which addresses are handed out
	MTU            int    `json:"mtu,omitempty"`             // bytes
	DefaultGateway string `json:"default-gateway,omitempty"` // where the default route leads, if not to the bridge
	ICC            *bool  `json:"icc,omitempty"`             // false: containers on the default network do not talk to each other
	IP             string `json:"ip,omitempty"`              // where the default network's ports are published when they name no address
	// FirewallBackend makes the rules of networks that are not in the kernel yet: iptables or nftables.
	FirewallBackend string `json:"firewall-backend,omitempty"`
	// UserlandProxy publishes ports by a proxy unless --userland-proxy says otherwise. It is false by default, unlike Docker's.
	UserlandProxy bool     `json:"userland-proxy,omitempty"`
	DNS           []string `json:"dns,omitempty"`
	DNSSearch     []string `json:"dns-search,omitempty"`
	DNSOptions    []string `json:"dns-opts,omitempty"`
	// AddressPools are where subnets come from when none is asked for: base 10.10.0.0/16 with size 24 means 256 of them.
	AddressPools []AddressPool `json:"default-address-pools,omitempty"`
}

// AddressPool is a range that is cut into subnets of one size.
type AddressPool struct {
	Base string `json:"base"`
	Size int    `json:"size"` // prefix length
}

// gatewayAux is the auxiliary address that stands for the default route's gateway, as in Docker.
const gatewayAux = "DefaultGatewayIPv4"

// ReadConfig reads and checks a configuration file. A missing one is an empty one.
func ReadConfig(path string) (Config, error) {
	var c Config
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	in := json.NewDecoder(bytes.NewReader(data))
	in.DisallowUnknownFields()
	if err := in.Decode(&c); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			err = fmt.Errorf("%w (known are %s; of registries there is /etc/mydocker/registries.json)", err, strings.Join(configKeys(), ", "))
		}
		return c, fmt.Errorf("configuration file %s: %w", path, err)
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("configuration file %s: %w", path, err)
	}
	return c, nil
}

func configKeys() (keys []string) {
	for t, i := reflect.TypeFor[Config](), 0; i < t.NumField(); i++ {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		keys = append(keys, key)
	}
	return keys
}

func (c Config) check() error {
	if c.BIP != "" {
		if p, err := netip.ParsePrefix(c.BIP); err != nil || !p.Addr().Is4() || p.Masked().Addr() == p.Addr() {
			return fmt.Errorf("bip: %q is not an address with a prefix length, such as 192.168.1.1/24", c.BIP)
		}
	} else if c.FixedCIDR != "" || c.DefaultGateway != "" {
		return errors.New("fixed-cidr and default-gateway need bip: without it the subnet is not known beforehand")
	}
	if c.MTU != 0 && (c.MTU < 68 || c.MTU > 65535) {
		return fmt.Errorf("mtu: %d is not a number of bytes from 68 to 65535", c.MTU)
	}
	if a, err := netip.ParseAddr(c.IP); c.IP != "" && (err != nil || !a.Is4()) {
		return fmt.Errorf("ip: %q is not an IPv4 address", c.IP)
	}
	if f := c.FirewallBackend; f != "" && f != FirewallIPTables && f != FirewallNFTables {
		return fmt.Errorf("firewall-backend: %q is not known: iptables and nftables are", f)
	}
	for _, s := range c.DNS {
		if _, err := netip.ParseAddr(s); err != nil {
			return fmt.Errorf("dns: %q is not an IP address", s)
		}
	}
	_, err := c.pool()
	return err
}

// pool is the subnets that networks get when none is asked for.
func (c Config) pool() ([]netip.Prefix, error) {
	if len(c.AddressPools) == 0 {
		return pool(), nil
	}
	const most = 4096 // of one base
	var all []netip.Prefix
	for _, a := range c.AddressPools {
		base, err := netip.ParsePrefix(a.Base)
		if err != nil || !base.Addr().Is4() || a.Size < base.Bits() || a.Size > 30 {
			return nil, fmt.Errorf("default-address-pools: base %q with size %d: want an IPv4 subnet and a longer prefix length", a.Base, a.Size)
		}
		base = base.Masked()
		for i := uint64(0); i < min(uint64(1)<<(a.Size-base.Bits()), most); i++ {
			all = append(all, netip.PrefixFrom(addOffset(base.Addr(), i<<(32-a.Size)), a.Size))
		}
	}
	return all, nil
}

// defaultOptions are the default network's, and settings is what they say, to be compared with later.
func (c Config) defaultOptions() (o CreateOptions, settings string) {
	o = CreateOptions{Name: DefaultName, IPRange: c.FixedCIDR, Options: map[string]string{OptBridgeName: defaultLink, OptDefaultBridge: "true"}}
	if p, err := netip.ParsePrefix(c.BIP); err == nil {
		o.Subnet, o.Gateway = p.Masked().String(), p.Addr().String()
	}
	if c.MTU != 0 {
		o.Options[OptMTU] = strconv.Itoa(c.MTU)
	}
	if c.DefaultGateway != "" {
		o.AuxAddresses = map[string]string{gatewayAux: c.DefaultGateway}
	}
	if c.BIP != "" || c.MTU != 0 {
		settings = fmt.Sprintf("bip=%s fixed-cidr=%s mtu=%d default-gateway=%s", c.BIP, c.FixedCIDR, c.MTU, c.DefaultGateway)
	}
	if c.ICC != nil && !*c.ICC {
		o.Options[OptICC] = "false"
		settings += " icc=false"
	}
	if c.IP != "" {
		o.Options[OptHostBinding] = c.IP
		settings += " ip=" + c.IP
	}
	return o, settings
}

// defaultNetwork is the network called bridge. Its record is made when it is first needed, and anew when the configuration
// has changed (see redefineDefault).
func (m *Manager) defaultNetwork() (*Network, error) {
	_, settings := m.config.defaultOptions()
	n, err := m.loadNetwork(builtInID(DefaultName))
	if err == nil && n.Settings == settings && len(n.Former) == 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return n, err
	}
	lock, err := m.lockNetworks()
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	if m, err = m.current(); err != nil {
		return nil, err
	}
	_, settings = m.config.defaultOptions()
	n, err = m.loadNetwork(builtInID(DefaultName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m.defineDefault()
	case err != nil:
		return n, err
	case n.Settings != settings:
		return m.redefineDefault(n)
	}
	return n, m.forgetFormer(n)
}

// defineDefault makes the record. The lock on all networks is held.
func (m *Manager) defineDefault() (*Network, error) {
	o, settings := m.config.defaultOptions()
	candidates, err := m.config.pool()
	if err != nil {
		return nil, err
	}
	if len(m.config.AddressPools) == 0 {
		candidates = append([]netip.Prefix{defaultSubnet}, candidates...)
	}
	k := &kernel{root: m.root}
	defer k.close()
	n, err := m.define(k, o, candidates, nil)
	if err != nil {
		return nil, fmt.Errorf("make the default network: %w", err)
	}
	n.ID, n.Settings = builtInID(DefaultName), settings
	return n, state.ReplaceJSON(m.networkPath(n.ID), n, state.Durable)
}

func endpointNames(eps []*Endpoint) string {
	names := make([]string, len(eps))
	for i, e := range eps {
		names[i] = e.ContainerName
	}
	return strings.Join(names, ", ")
}

// ConfigPath is where the configuration is read from unless another file is named.
func ConfigPath() string { return filepath.Join("/etc", "mydocker", "daemon.json") }
