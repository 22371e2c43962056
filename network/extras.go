package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Extras are what a container may ask of its place on a network beside address and names.
type Extras struct {
	// GwPriority: the network with the highest has the container's default routes; of equals, the one that was joined first.
	GwPriority int `json:",omitempty"`
	// DriverOpts are Docker's options of endpoints: OptEndpointIfname and OptEndpointSysctls.
	DriverOpts map[string]string `json:",omitempty"`
	// LinkLocalIPs are further addresses of the interface, out of 169.254.0.0/16 or fe80::/64. Nobody keeps books of them.
	LinkLocalIPs []netip.Addr `json:",omitempty"`
}

// Docker's options of an endpoint.
const (
	OptEndpointIfname  = "com.docker.network.endpoint.ifname"  // what the interface is called in the container
	OptEndpointSysctls = "com.docker.network.endpoint.sysctls" // net.ipv4.conf.IFNAME.KEY=VALUE, with commas between
)

// IsZero says that nothing is asked for.
func (x Extras) IsZero() bool {
	return x.GwPriority == 0 && len(x.DriverOpts) == 0 && len(x.LinkLocalIPs) == 0
}

// NextInterface is the name that is asked for, otherwise ethN, where N counts those that have no name of their own.
func (x Extras) NextInterface(unnamed *int) string {
	if name := x.DriverOpts[OptEndpointIfname]; name != "" {
		return name
	}
	*unnamed++
	return "eth" + strconv.Itoa(*unnamed-1)
}

// Check refuses what no endpoint could have.
func (x Extras) Check() error {
	for _, key := range slices.Sorted(maps.Keys(x.DriverOpts)) {
		switch value := x.DriverOpts[key]; key {
		case OptEndpointIfname:
			if !validLinkName(value) {
				return fmt.Errorf("driver option %s: %q cannot be the name of an interface: at most 15 letters, digits, _ . and -", key, value)
			}
		case OptEndpointSysctls:
			if _, err := x.sysctls("eth0"); err != nil {
				return err
			}
		default:
			return fmt.Errorf("driver option %s is not known: %s and %s are", key, OptEndpointIfname, OptEndpointSysctls)
		}
	}
	for _, a := range x.LinkLocalIPs {
		if !a.IsLinkLocalUnicast() {
			return fmt.Errorf("%s is no link-local address: those are in 169.254.0.0/16 and fe80::/64", a)
		}
	}
	return nil
}

// CheckExtras is Check, and what this network cannot give.
func (n *Network) CheckExtras(x Extras) error {
	if err := x.Check(); err != nil {
		return err
	}
	for _, a := range x.LinkLocalIPs {
		if a.Is6() && !n.EnableIPv6 {
			return fmt.Errorf("network %s has no IPv6, and so no place for %s: make it with --ipv6", n.Name, a)
		}
	}
	return nil
}

// sysctls are the settings that are asked for, as pairs of key and value.
func (x Extras) sysctls(link string) (pairs [][2]string, err error) {
	text := x.DriverOpts[OptEndpointSysctls]
	if text == "" {
		return nil, nil
	}
	shape := regexp.MustCompile(`^net\.(ipv4|ipv6|mpls)\.(conf|neigh)\.IFNAME\.([a-z0-9_]+)$`)
	for _, one := range strings.Split(text, ",") {
		key, value, given := strings.Cut(strings.TrimSpace(one), "=")
		m := shape.FindStringSubmatch(key)
		if m == nil || !given || value == "" {
			return nil, fmt.Errorf("driver option %s: %q: net.ipv4.conf.IFNAME.KEY=VALUE is expected (or ipv6, mpls; or neigh), with IFNAME as it stands", OptEndpointSysctls, one)
		}
		pairs = append(pairs, [2]string{"net/" + m[1] + "/" + m[2] + "/" + link + "/" + m[3], value})
	}
	return pairs, nil
}

// extrasPlan is the further addresses and the settings of an endpoint's interface, before it is brought up.
func extrasPlan(e *Endpoint, sb *Sandbox) (ops []operation) {
	for _, a := range e.Extras.LinkLocalIPs {
		bits := 16
		if a.Is6() {
			bits = 64
		}
		ops = append(ops, addAddress{Sandbox: sb.Name, Path: sb.Path, Link: e.Interface, Address: netip.PrefixFrom(a, bits), Reason: "a further address, of this link alone"})
	}
	pairs, err := e.Extras.sysctls(e.Interface)
	if err != nil { // it was checked when it was asked for
		return ops
	}
	for _, p := range pairs {
		ops = append(ops, sandboxSysctl{Sandbox: sb, Key: p[0], Value: p[1], Reason: "a setting of this interface that was asked for"})
	}
	return ops
}

// seek settles whether an endpoint gets the default routes: where nobody of the container's has them, or somebody with a lower
// priority, who then gives them up.
func (e *Endpoint) seek(others []*Endpoint) {
	for _, o := range others {
		lower := o.Extras.GwPriority < e.Extras.GwPriority
		if e.DefaultRoute && o.DefaultRoute {
			e.DefaultRoute = lower
			e.displaces = append(e.displaces, o)
		}
		if e.DefaultRoute6 && o.DefaultRoute6 {
			e.DefaultRoute6 = lower
			e.displaces = append(e.displaces, o)
		}
	}
}

// displace writes down who has lost a default route to the endpoint.
func (m *Manager) displace(e *Endpoint) error {
	var errs []error
	for _, o := range e.displaces {
		was := [2]bool{o.DefaultRoute, o.DefaultRoute6}
		o.DefaultRoute, o.DefaultRoute6 = o.DefaultRoute && !e.DefaultRoute, o.DefaultRoute6 && !e.DefaultRoute6
		if was != [2]bool{o.DefaultRoute, o.DefaultRoute6} {
			errs = append(errs, m.saveEndpoint(o))
		}
	}
	return errors.Join(errs...)
}

// giveRoutesBack is for an endpoint that could not be made after all.
func (m *Manager) giveRoutesBack(ctx context.Context, x executor, e *Endpoint, sb *Sandbox) error {
	var errs []error
	for _, o := range e.displaces {
		o.DefaultRoute, o.DefaultRoute6 = o.DefaultRoute && e.DefaultRoute, o.DefaultRoute6 && e.DefaultRoute6
		errs = append(errs, m.run(ctx, x, replaced(routesFor(o, sb))...))
	}
	return errors.Join(errs...)
}

// replaced are the same routes, in place of any that are there.
func replaced(ops []operation) []operation {
	for i, op := range ops {
		switch op := op.(type) {
		case addRoute:
			op.Replace = true
			ops[i] = op
		case directRoute:
			op.Replace = true
			ops[i] = op
		}
	}
	return ops
}

// verb is how ip calls it.
func routeVerb(replace bool) string {
	if replace {
		return "replace"
	}
	return "add"
}
