package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/network"
)

// readNetwork reads the networks, addresses, ports and names.
func readNetwork(c *urfave.Context, o *engine.CreateOptions) error {
	shape, err := shapeTexts(c).Apply(network.Shape{})
	if err != nil {
		return err
	}
	extras, err := readExtras(c)
	if err != nil {
		return err
	}
	first := engine.NetworkAttachment{Shape: shape, Extras: extras, IP: c.String("ip"), IP6: c.String("ip6"), MAC: c.String("mac-address"), Aliases: c.StringSlice("network-alias")}
	networks, err := parseNetworks(c.StringSlice("network"), first)
	if err != nil {
		return err
	}
	first = networks[0]
	o.Network, o.IP, o.IP6, o.MacAddress, o.Aliases, o.Shape, o.Extras = first.Network, first.IP, first.IP6, first.MAC, first.Aliases, first.Shape, first.Extras
	o.Networks = networks[1:]
	o.PublishAll = c.Bool("publish-all")
	if c.IsSet("userland-proxy") {
		proxy := c.Bool("userland-proxy")
		o.UserlandProxy = &proxy
	}
	for _, text := range c.StringSlice("link") {
		name, alias, given := strings.Cut(text, ":")
		if name == "" || given && alias == "" || strings.Contains(alias, ":") {
			return fmt.Errorf("bad format for --link: %q: NAME[:ALIAS] is expected", text)
		}
		o.Links = append(o.Links, text)
	}
	o.DNSOptions = c.StringSlice("dns-option")
	for _, text := range c.StringSlice("dns-search") {
		domain := strings.TrimSpace(text)
		if domain != "." && !validDomain(domain) {
			return fmt.Errorf("invalid --dns-search '%s': a domain is expected, such as example.com, or . for none", text)
		}
		o.DNSSearch = append(o.DNSSearch, domain)
	}

	for _, text := range c.StringSlice("publish") {
		ports, err := network.ParsePort(text)
		if err != nil {
			return fmt.Errorf("invalid --publish '%s': %w", text, err)
		}
		o.Ports = append(o.Ports, ports...)
	}
	for _, text := range c.StringSlice("expose") {
		ports, err := parseExpose(text)
		if err != nil {
			return err
		}
		o.Expose = append(o.Expose, ports...)
	}
	for _, text := range c.StringSlice("dns") {
		if _, err := netip.ParseAddr(text); err != nil {
			return fmt.Errorf("invalid --dns '%s': an IP address is expected", text)
		}
		o.DNS = append(o.DNS, text)
	}
	for _, text := range c.StringSlice("add-host") {
		host, err := parseExtraHost(text)
		if err != nil {
			return err
		}
		o.ExtraHosts = append(o.ExtraHosts, host)
	}
	return nil
}

// parseNetworks reads every --network, in its short form NAME and its long form name=NAME,alias=…,ip=…. What --ip,
// --network-alias and the like said is for the first.
func parseNetworks(texts []string, flags engine.NetworkAttachment) ([]engine.NetworkAttachment, error) {
	var all []engine.NetworkAttachment
	for _, text := range texts {
		n, err := parseNetwork(text)
		if err != nil {
			return nil, fmt.Errorf("invalid --network '%s': %w", text, err)
		}
		for _, other := range all {
			if other.Network == n.Network {
				return nil, fmt.Errorf("network %q is specified multiple times", n.Network)
			}
		}
		all = append(all, n)
	}
	if len(all) == 0 {
		all = append(all, engine.NetworkAttachment{})
	}
	first := &all[0]
	for _, one := range []struct {
		flag, given string
		to          *string
	}{{"ip", flags.IP, &first.IP}, {"ip6", flags.IP6, &first.IP6}, {"mac-address", flags.MAC, &first.MAC}} {
		if one.given == "" {
			continue
		}
		if *one.to != "" {
			return nil, fmt.Errorf("conflicting options: cannot specify both --%s and the same option of --network", one.flag)
		}
		*one.to = one.given
	}
	first.Aliases = append(first.Aliases, flags.Aliases...)
	first.Extras.LinkLocalIPs = append(first.Extras.LinkLocalIPs, flags.Extras.LinkLocalIPs...)
	if flags.Shape != (network.Shape{}) {
		if first.Shape != (network.Shape{}) {
			return nil, errors.New("conflicting options: cannot shape a network both by --net-rate and its like and by options of --network")
		}
		first.Shape = flags.Shape
	}
	for _, n := range all {
		if err := checkAttachment(n); err != nil {
			return nil, err
		}
		if err := checkUserDefined(n); err != nil {
			return nil, err
		}
		if len(all) > 1 && !isNetworkName(n.Network) {
			return nil, fmt.Errorf("conflicting options: --network %s cannot be combined with other networks", n.Network)
		}
	}
	return all, nil
}

// isNetworkName tells a network from the modes that are none.
func isNetworkName(mode string) bool {
	return mode != "host" && mode != "none" && !strings.HasPrefix(mode, "container:") && !strings.HasPrefix(mode, "ns:")
}

func parseNetwork(text string) (n engine.NetworkAttachment, err error) {
	if !strings.Contains(text, "=") || strings.HasPrefix(text, "ns:") {
		n.Network = text
		switch {
		case text == "":
			return n, fmt.Errorf("the name is empty")
		case text == "container:":
			return n, fmt.Errorf("the container's name is missing: container:NAME")
		case text == "ns:":
			return n, fmt.Errorf("the path is missing: ns:PATH")
		}
		return n, nil
	}
	fields, err := splitCSV(text)
	if err != nil {
		return n, err
	}
	var shape network.ShapeTexts
	for _, field := range fields {
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			return n, fmt.Errorf("invalid field %s", field)
		}
		switch value = strings.TrimSpace(value); strings.ToLower(strings.TrimSpace(key)) {
		case "name":
			n.Network = value
		case "alias":
			n.Aliases = append(n.Aliases, value)
		case "ip":
			n.IP = value
		case "ip6":
			n.IP6 = value
		case "mac-address":
			n.MAC = value
		case "net-rate":
			shape.Rate = value
		case "net-burst":
			shape.Burst = value
		case "net-delay":
			shape.Delay = value
		case "net-loss":
			shape.Loss = value
		case "driver-opt", "link-local-ip", "gw-priority":
			if err := readExtra(&n.Extras, strings.ToLower(strings.TrimSpace(key)), value); err != nil {
				return n, err
			}
		default:
			return n, fmt.Errorf("invalid field key %s", key)
		}
	}
	if n.Network == "" {
		return n, fmt.Errorf("network name/id is not specified")
	}
	n.Shape, err = shape.Apply(n.Shape)
	return n, err
}

func checkAttachment(n engine.NetworkAttachment) error {
	if a, err := netip.ParseAddr(n.IP); n.IP != "" && (err != nil || !a.Is4()) {
		return fmt.Errorf("invalid IPv4 address: %s", n.IP)
	}
	if a, err := netip.ParseAddr(n.IP6); n.IP6 != "" && (err != nil || !a.Is6() || a.Is4In6()) {
		return fmt.Errorf("invalid IPv6 address: %s", n.IP6)
	}
	if err := n.Extras.Check(); err != nil {
		return err
	}
	if n.MAC != "" {
		mac, err := net.ParseMAC(n.MAC)
		if err != nil || len(mac) != 6 {
			return fmt.Errorf("%s is not a valid mac address", n.MAC)
		}
		if mac[0]&1 == 1 {
			return fmt.Errorf("%s is a multicast address, which no interface can have: the first byte has to be even", n.MAC)
		}
	}
	return nil
}

// checkUserDefined refuses what only a network that the user made can have, as Docker does: an address of one's choice and
// other names. Elsewhere there is nothing that could have them.
func checkUserDefined(n engine.NetworkAttachment) error {
	mode := n.Network
	for _, one := range []struct {
		flag     string
		given    bool
		anywhere bool // on the default network too
	}{{"--ip", n.IP != "", false}, {"--ip6", n.IP6 != "", false}, {"--network-alias", len(n.Aliases) > 0, false},
		{"--link-local-ip", len(n.Extras.LinkLocalIPs) > 0, false}, {"gw-priority and driver-opt", !n.Extras.IsZero(), true},
		{"--mac-address", n.MAC != "", true}, {"--net-rate (or --net-delay, --net-loss)", n.Shape != network.Shape{}, true}} {
		switch {
		case !one.given:
		case mode != "" && !isNetworkName(mode):
			return fmt.Errorf("conflicting options: %s and --network %s, which gives the container no interface of its own", one.flag, mode)
		case (mode == "" || mode == "default" || mode == "bridge") && !one.anywhere:
			return fmt.Errorf("%s is supported on user defined networks only: mydocker network create NAME, then --network NAME", one.flag)
		}
	}
	return nil
}

// parseExpose reads PORT[-PORT][/PROTOCOL] into one "80/tcp" for each port.
func parseExpose(text string) ([]string, error) {
	span, proto, given := strings.Cut(text, "/")
	proto = strings.ToLower(proto)
	if !given {
		proto = "tcp"
	}
	first, last, isRange := strings.Cut(span, "-")
	if !isRange {
		last = first
	}
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(last, 10, 16)
	if errA != nil || errB != nil || a == 0 || b < a || proto != "tcp" && proto != "udp" && proto != "sctp" {
		return nil, fmt.Errorf("invalid --expose '%s': PORT[-PORT][/tcp|udp|sctp] is expected", text)
	}
	var ports []string
	for p := a; p <= b; p++ {
		ports = append(ports, fmt.Sprintf("%d/%s", p, proto))
	}
	return ports, nil
}

// parseExtraHost reads --add-host: name:address or name=address, the address perhaps in brackets, or host-gateway.
func parseExtraHost(text string) (string, error) {
	name, address, ok := strings.Cut(text, "=")
	if !ok {
		name, address, ok = strings.Cut(text, ":")
	}
	if !ok || name == "" {
		return "", fmt.Errorf("bad format for --add-host: %q: name:address is expected", text)
	}
	if strings.HasPrefix(address, "[") && strings.HasSuffix(address, "]") {
		address = address[1 : len(address)-1]
	}
	if _, err := netip.ParseAddr(address); err != nil && address != "host-gateway" {
		return "", fmt.Errorf("invalid IP address in --add-host: %q", text)
	}
	return name + ":" + address, nil
}

// validDomain takes what Docker takes: labels of letters, digits and - with dots between, a letter among them; and _, which domains of
// Windows have.
func validDomain(s string) bool {
	if len(s) > 254 || !strings.ContainsFunc(s, func(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }) {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	return true
}
