package network

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// PortMapping is one -p: a host port, or a run of them, that leads to a container's.
type PortMapping struct {
	HostIP        netip.Addr `json:",omitzero"` // the zero Addr means every address of the host
	HostPort      uint16     // 0: one is chosen from the kernel's range of ephemeral ports
	HostPortEnd   uint16     `json:",omitempty"` // not 0: the first free port from HostPort to this one is chosen
	ContainerPort uint16
	Count         uint16 // length of the range, at least 1
	Proto         string // tcp, udp, sctp
	// Split says that "every address" was asked for, and that these are those of one family: the other family's default route is by
	// another network, which publishes the rest.
	Split bool `json:",omitempty"`
}

// NeedsIPv6 says whether the mapping leads from an IPv6 address to one: what comes to ::1 is passed on to either family.
func (p PortMapping) NeedsIPv6() bool { return p.HostIP.Is6() && !isLoopback6(p.HostIP) }

// NeedsIPv4 says whether the mapping leads from an IPv4 address to one.
func (p PortMapping) NeedsIPv4() bool { return p.HostIP.Is4() }

// Halves part a mapping to all addresses into those of IPv4 and those of IPv6.
func (p PortMapping) Halves() (four, six PortMapping) {
	four, six = p, p
	four.HostIP, four.Split = netip.IPv4Unspecified(), true
	six.HostIP, six.Split = netip.IPv6Unspecified(), true
	return four, six
}

// otherHalf is the mapping to the other family.
func (p PortMapping) otherHalf() PortMapping {
	four, six := p.Halves()
	if p.HostIP.Is6() {
		return four
	}
	return six
}

// leads says whether anything leads from the mapping to an address of the family.
func (p PortMapping) leads(v6 bool) bool { return !p.HostIP.IsValid() || p.HostIP.Is6() == v6 }

// String is how `ps` shows it: 0.0.0.0:8080->80/tcp.
func (p PortMapping) String() string {
	host := "0.0.0.0"
	if p.HostIP.IsValid() {
		host = p.HostIP.String()
		if p.HostIP.Is6() {
			host = "[" + host + "]"
		}
	}
	return fmt.Sprintf("%s:%s->%s/%s", host, span(p.HostPort, p.Count), span(p.ContainerPort, p.Count), p.Proto)
}

// Published are the endpoint's ports as a person sees them: "all addresses" are those of IPv4 and, if the container has IPv6 or a proxy
// passes on what comes by it, those of IPv6.
func (e *Endpoint) Published() (all []PortMapping) {
	for _, p := range e.Ports {
		all = append(all, p)
		if !p.HostIP.IsValid() && (e.Address6.IsValid() || e.Proxied6 && p.Proto != "sctp") {
			p.HostIP = netip.IPv6Unspecified()
			all = append(all, p)
		}
	}
	return all
}

// span writes a run of ports: 80, or 80-89.
func span(first, count uint16) string {
	s := strconv.Itoa(int(first))
	if count > 1 {
		s += "-" + strconv.Itoa(int(first)+int(count)-1)
	}
	return s
}

// ParsePort reads Docker's -p:
//
//	[[address:][port|first-last]:]port|first-last[/tcp|udp|sctp]
//
// An IPv6 address may stand in brackets. Runs of ports must be equally long, except that a run of host ports may stand for one
// container port: then the first free one is taken. Without a host port, or with 0, one is chosen for each container port.
func ParsePort(s string) ([]PortMapping, error) {
	fail := func(why string) ([]PortMapping, error) {
		return nil, fmt.Errorf("invalid port %q: %s; want [address:][hostPort:]containerPort[/tcp|udp|sctp]", s, why)
	}
	rest, proto, hasProto := strings.Cut(s, "/")
	if !hasProto {
		proto = "tcp"
	}
	proto = strings.ToLower(proto)
	if proto != "tcp" && proto != "udp" && proto != "sctp" {
		return fail(fmt.Sprintf("the protocol %q is not known", proto))
	}
	ip, host, inner, err := splitPort(rest)
	if err != nil {
		return fail(err.Error())
	}
	first, count, err := parseSpan(inner)
	if err != nil {
		return fail("container port: " + err.Error())
	}
	p := PortMapping{HostIP: ip, ContainerPort: first, Count: count, Proto: proto}
	if host == "" || host == "0" {
		all := make([]PortMapping, count)
		for i := range all {
			all[i] = p
			all[i].ContainerPort, all[i].Count = first+uint16(i), 1
		}
		return all, nil
	}
	hostFirst, hostCount, err := parseSpan(host)
	switch {
	case err != nil:
		return fail("host port: " + err.Error())
	case count == 1 && hostCount > 1:
		p.HostPort, p.HostPortEnd = hostFirst, hostFirst+hostCount-1
	case hostCount != count:
		return fail("the runs of host and container ports are not equally long")
	default:
		p.HostPort = hostFirst
	}
	return []PortMapping{p}, nil
}

// splitPort takes apart address, host port and container port, from behind: whatever stands before the last two is an address.
func splitPort(s string) (ip netip.Addr, host, inner string, err error) {
	before, inner, found := cutLast(s)
	if !found {
		return ip, "", s, nil
	}
	address, host, found := cutLast(before)
	if !found {
		return ip, before, inner, nil
	}
	if strings.HasPrefix(address, "[") && strings.HasSuffix(address, "]") {
		address = address[1 : len(address)-1]
		if !strings.Contains(address, ":") {
			return ip, "", "", fmt.Errorf("%q is not an IPv6 address", address)
		}
	}
	if address == "" {
		return ip, host, inner, nil
	}
	if ip, err = netip.ParseAddr(address); err != nil || ip.Zone() != "" {
		return ip, "", "", fmt.Errorf("%q is not an IP address", address)
	}
	if ip == netip.IPv4Unspecified() {
		ip = netip.Addr{}
	}
	return ip, host, inner, nil
}

// cutLast cuts at the last colon.
func cutLast(s string) (before, after string, found bool) {
	if at := strings.LastIndexByte(s, ':'); at >= 0 {
		return s[:at], s[at+1:], true
	}
	return s, "", false
}

// parseSpan reads 80 or 80-89.
func parseSpan(s string) (first, count uint16, err error) {
	a, b, isRange := strings.Cut(s, "-")
	if !isRange {
		b = a
	}
	from, err := parsePortNumber(a)
	if err != nil {
		return 0, 0, err
	}
	to, err := parsePortNumber(b)
	if err != nil {
		return 0, 0, err
	}
	if to < from {
		return 0, 0, fmt.Errorf("%q ends before it starts", s)
	}
	return from, to - from + 1, nil
}

func parsePortNumber(s string) (uint16, error) {
	if strings.Trim(s, "0123456789") != "" || s == "" {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s is not a port: they go from 1 to 65535", s)
	}
	return uint16(n), nil
}
