package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mydocker/mydocker/state"
)

// CreateOptions are the flags of `network create`. Empty means: choose.
type CreateOptions struct {
	Name, Driver         string
	Subnet, Gateway      string // IPv4
	IPRange, IPRange6    string
	Subnet6, Gateway6    string
	AuxAddresses         map[string]string
	Internal, EnableIPv6 bool
	NoIPv4               bool // its containers have IPv6 addresses only
	Attachable           bool
	Labels, Options      map[string]string
}

// Create makes a network: its record, its bridge and its rules. Whatever is wrong with the options is found before
// anything is changed.
func (m *Manager) Create(ctx context.Context, o CreateOptions) (*Network, error) {
	if err := checkCreate(o); err != nil {
		return nil, err
	}
	candidates, err := m.config.pool()
	if err != nil {
		return nil, err
	}
	return m.create(ctx, o, candidates)
}

// checkCreate finds what is wrong with a name and driver.
func checkCreate(o CreateOptions) error {
	switch {
	case !o.NoIPv4:
	case !o.EnableIPv6 && o.Subnet6 == "":
		return errors.New("IPv4 or IPv6 must be enabled: without IPv4 a network needs --ipv6")
	case o.Subnet != "" || o.Gateway != "" || o.IPRange != "":
		return fmt.Errorf("%s is IPv4, and the network is to have none: leave it out, or --ipv4=false", cmp.Or(o.Subnet, o.Gateway, o.IPRange))
	}
	switch o.Driver {
	case "", DriverBridge, DriverMacvlan, DriverIPvlan:
		return checkName(o.Name)
	case "overlay":
		return errors.New("network driver overlay joins the hosts of a swarm, and mydocker works on one machine: bridge, macvlan and ipvlan are known")
	}
	return fmt.Errorf("network driver %q is not known: bridge, macvlan and ipvlan are", o.Driver)
}

func (m *Manager) lockNetworks() (*state.Lock, error) {
	return state.AcquireLock(m.root.Lock("networks"))
}

func (m *Manager) create(ctx context.Context, o CreateOptions, candidates []netip.Prefix) (n *Network, err error) {
	lock, err := m.lockNetworks()
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	if err := m.sweepNetworks(ctx); err != nil {
		return nil, err
	}
	k := &kernel{root: m.root}
	n, err = m.define(k, o, candidates, nil)
	k.close()
	if err != nil {
		return nil, err
	}
	if n.bridged() {
		if _, err := m.firewall(m.backend); err != nil {
			return nil, err
		}
	}
	if err := m.claimName(n); err != nil {
		return nil, err
	}
	made := n // n is what is returned
	defer func() {
		if err != nil {
			err = errors.Join(err, m.remove(context.WithoutCancel(ctx), made))
		}
	}()
	if err = state.ReplaceJSON(m.networkPath(n.ID), n, state.Durable); err != nil {
		return nil, err
	}
	x := m.executor()
	defer x.close()
	return n, m.ensure(ctx, x, n)
}

// claimName takes the network's name. The lock on all networks is held, so a claim without a network is what a kill left.
func (m *Manager) claimName(n *Network) error {
	err := state.Claim(m.networkName(n.Name), n.ID)
	var held *state.Taken
	if !errors.As(err, &held) {
		return err
	}
	if _, e := os.Stat(m.networkPath(held.Owner)); errors.Is(e, fs.ErrNotExist) {
		if err := state.Unclaim(m.networkName(n.Name), held.Owner); err != nil {
			return err
		}
		return state.Claim(m.networkName(n.Name), n.ID)
	}
	return exists("network with name %s already exists", n.Name)
}

func checkName(name string) error {
	switch name {
	case "":
		return errors.New("a network needs a name")
	case DefaultName, HostName, NoneName, "default":
		return fmt.Errorf("network name %q is reserved: choose another", name)
	}
	valid := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	if !strings.Contains(valid, name[:1]) || strings.Trim(name, valid+"_.-") != "" || len(name) > 128 {
		return fmt.Errorf("%q cannot be a network's name: use letters, digits, _ . and -, start with a letter or digit, and take at most 128 of them", name)
	}
	return nil
}

// define checks the options against each other and against the host, and makes the record. It changes nothing. replaced is the
// network whose place, and whose link, the new one takes: usually nil.
func (m *Manager) define(k *kernel, o CreateOptions, candidates []netip.Prefix, replaced *Network) (*Network, error) {
	others, err := recordedNetworks(m.networksDir())
	if err != nil {
		return nil, err
	}
	if replaced != nil {
		others = slices.DeleteFunc(others, func(n *Network) bool { return n.ID == replaced.ID })
	}
	for _, other := range others {
		if other.Name == o.Name {
			return nil, exists("network with name %s already exists", o.Name)
		}
	}
	n := &Network{
		ID: newID(), Name: o.Name, Driver: cmp.Or(o.Driver, DriverBridge), Created: time.Now().UTC(), Scope: "local",
		Internal: o.Internal, EnableIPv6: o.EnableIPv6 || o.Subnet6 != "", Attachable: o.Attachable,
		Labels: nonNil(o.Labels), Options: nonNil(o.Options),
	}
	if replaced != nil {
		n.Bridge = replaced.Bridge
	} else if n.bridged() {
		err = m.chooseLink(k, n, others)
	} else {
		err = defineOnWire(k, n, others)
	}
	if err != nil {
		return nil, err
	}
	if n.MTU, err = chooseMTU(k, n); err != nil {
		return nil, err
	}
	used, err := takenSubnets(k, others, replaced)
	if err != nil {
		return nil, err
	}
	if o.Subnet == "" && !o.NoIPv4 {
		used = append(append(used, vpnRanges(m.etc)...), nameServers(m.etc)...)
	}
	if err := chooseAddresses(n, o, candidates, withoutParent(n, used)); err != nil {
		return nil, err
	}
	if n.onWire() {
		if err := keepHostAddresses(k, n); err != nil {
			return nil, err
		}
	}
	if err := checkGSO(k, n); err != nil {
		return nil, err
	}
	return n, errors.Join(m.checkIPv6(n), checkOptions(n.Options))
}

// KnownOptions are the options of networks that mean something here.
func KnownOptions() []string {
	return []string{OptBridgeName, OptMTU, OptICC, OptMasquerade, OptHostBinding, OptGuard, OptGSO, OptParent, OptMacvlanMode, OptIPvlanMode, OptIPvlanFlag}
}

func checkOptions(options map[string]string) error {
	for _, key := range []string{OptICC, OptMasquerade, OptGuard} {
		if v, ok := options[key]; ok {
			b, err := strconv.ParseBool(v)
			if err != nil {
				return fmt.Errorf("option %s=%s: want true or false", key, v)
			}
			options[key] = strconv.FormatBool(b)
		}
	}
	if v, ok := options[OptHostBinding]; ok {
		if a, err := netip.ParseAddr(v); err != nil || !a.Is4() {
			return fmt.Errorf("option %s=%s: want an IPv4 address", OptHostBinding, v)
		}
	}
	return nil
}

// chooseLink settles what the bridge is called. A link of that name that is not ours is never taken over.
func (m *Manager) chooseLink(k *kernel, n *Network, others []*Network) error {
	n.Bridge = n.Options[OptBridgeName]
	if n.Bridge == "" {
		n.Bridge = bridgeLink(n.Name, n.ID)
	}
	if !validLinkName(n.Bridge) {
		return fmt.Errorf("%q cannot be the name of a link: at most 15 letters, digits, _ . and -", n.Bridge)
	}
	for _, other := range others {
		if other.Bridge == n.Bridge || other.ParentMade && other.Parent == n.Bridge {
			return exists("link %s is the bridge of network %s: choose another name", n.Bridge, other.Name)
		}
	}
	l, _, err := k.link("", n.Bridge)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return exists("an interface called %s exists (a %s) and is not mydocker's: choose another name, or see it with `ip -d link show %s`",
		n.Bridge, l.Type(), n.Bridge)
}

func chooseMTU(k *kernel, n *Network) (int, error) {
	v, ok := n.Options[OptMTU]
	if !ok && n.onWire() {
		return parentMTU(k, n)
	}
	if !ok {
		return uplinkMTU(k)
	}
	mtu, err := strconv.Atoi(v)
	if err != nil || mtu < 68 || mtu > 65535 {
		return 0, fmt.Errorf("option %s=%s: want a number of bytes from 68 to 65535", OptMTU, v)
	}
	if n.EnableIPv6 && mtu < leastMTU6 {
		return 0, fmt.Errorf("option %s=%s: IPv6 needs links that take packets of %d bytes: give at least that, or make the network without --ipv6", OptMTU, v, leastMTU6)
	}
	return mtu, nil
}

// chooseAddresses settles subnets, gateways and what is kept back.
func chooseAddresses(n *Network, o CreateOptions, candidates []netip.Prefix, used []taken) (err error) {
	if !o.NoIPv4 {
		if err := chooseAddresses4(n, o, candidates, used); err != nil {
			return err
		}
	}
	if n.EnableIPv6 {
		n.Subnet6 = uniqueLocal(n, used)
		if o.Subnet6 != "" {
			if n.Subnet6, err = ownSubnet(o.Subnet6, 16, 126, used); err != nil {
				return err
			}
			if !n.Subnet6.Addr().Is6() {
				return fmt.Errorf("subnet %s is not an IPv6 subnet", n.Subnet6)
			}
		}
		if n.Gateway6, err = chooseGateway(n.Subnet6, o.Gateway6); err != nil {
			return err
		}
	}
	if n.IPRange6, err = rangeWithin(n.Subnet6, o.IPRange6); err != nil {
		return err
	}
	return keepBack(n, o.AuxAddresses)
}

// chooseAddresses4 settles those of IPv4.
func chooseAddresses4(n *Network, o CreateOptions, candidates []netip.Prefix, used []taken) (err error) {
	if o.Subnet == "" {
		if o.Gateway != "" || o.IPRange != "" {
			return errors.New("--gateway and --ip-range need --subnet")
		}
		if n.Subnet, err = chooseSubnet(candidates, used); err != nil {
			return err
		}
	} else if n.Subnet, err = ownSubnet(o.Subnet, 8, 31, used); err != nil {
		return err
	} else if !n.Subnet.Addr().Is4() {
		return fmt.Errorf("subnet %s is not an IPv4 subnet", n.Subnet)
	}
	if n.Gateway, err = chooseGateway(n.Subnet, o.Gateway); err != nil {
		return err
	}
	n.IPRange, err = rangeWithin(n.Subnet, o.IPRange)
	return err
}

// keepBack reads the addresses that no container is to get.
func keepBack(n *Network, aux map[string]string) error {
	subnet := n.Subnet
	if !n.EnableIPv4() {
		subnet = n.Subnet6
	}
	for name, text := range aux {
		a, err := netip.ParseAddr(text)
		if err != nil || !n.Subnet.Contains(a) && !n.Subnet6.Contains(a) {
			return fmt.Errorf("auxiliary address %s=%s is not in subnet %s", name, text, subnet)
		}
		if name != gatewayAux && (a == n.Gateway || a == n.Gateway6) {
			return fmt.Errorf("auxiliary address %s=%s is the network's gateway: choose another, or another --gateway", name, text)
		}
		if n.AuxAddresses == nil {
			n.AuxAddresses = map[string]netip.Addr{}
		}
		n.AuxAddresses[name] = a
	}
	return nil
}

// rangeWithin reads an --ip-range. Of an IPv6 subnet, only the part that the bitmap covers can be handed out.
func rangeWithin(subnet netip.Prefix, text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	r, err := netip.ParsePrefix(text)
	if err != nil || !subnet.IsValid() || r.Bits() < subnet.Bits() || !subnet.Contains(r.Addr()) {
		return r, fmt.Errorf("ip range %q is not a part of subnet %s", text, subnet)
	}
	r = r.Masked()
	if window := netip.PrefixFrom(subnet.Addr(), max(subnet.Bits(), 128-maxHostBits6)); r.Addr().Is6() && (!window.Contains(r.Addr()) || r.Bits() < window.Bits()) {
		return r, fmt.Errorf("ip range %s: of an IPv6 subnet, the addresses in %s are handed out; give a part of them", r, window)
	}
	return r, nil
}

func ownSubnet(text string, minBits, maxBits int, used []taken) (netip.Prefix, error) {
	p, err := parseSubnet(text)
	if err != nil {
		return p, err
	}
	if p.Addr().Is4() != (maxBits <= 32) {
		return p, nil // the caller says which family it wanted
	}
	if p.Bits() < minBits || p.Bits() > maxBits {
		return p, fmt.Errorf("subnet %s: a prefix length from %d to %d is possible, or there is no address for a container beside the gateway's", p, minBits, maxBits)
	}
	if t, bad := clash(p, used); bad {
		return p, exists("subnet %s overlaps with %s (%s): choose another with --subnet", p, t.by, t.prefix)
	}
	return p, nil
}

// chooseGateway is the subnet's first address that a machine can have unless another is asked for.
func chooseGateway(subnet netip.Prefix, text string) (netip.Addr, error) {
	nobodys := (&bitmap{subnet: subnet, size: bitmapSize(subnet)}).reserved()
	if text == "" {
		if len(nobodys) == 0 { // a /31 has two machines and nothing else (RFC 3021)
			return subnet.Addr(), nil
		}
		return subnet.Addr().Next(), nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, fmt.Errorf("gateway %q is not an address", text)
	}
	if !subnet.Contains(a) || slices.Contains(nobodys, a) {
		return a, fmt.Errorf("gateway %s is not an address that a machine in subnet %s can have", a, subnet)
	}
	return a, nil
}

func nonNil(m map[string]string) map[string]string {
	c := make(map[string]string, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}
