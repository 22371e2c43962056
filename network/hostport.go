package network

import (
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// A published port is a socket of the host's, too. Most are there to keep the port (reserve.go): rules lead the packets away
// before they come to any socket. Where no rule can, the monitor serves the socket and passes on what comes, as Docker's
// docker-proxy does:
//
//   - [::1], in every publication to all addresses: the kernel lets no packet from ::1 onto a wire, and has no
//     route_localnet for IPv6;
//   - clients with an address of fe80::/10, which hold on one link only: no router passes their packets on to another (RFC 4291,
//     2.5.6), and a bridge is another link than the one they came by;
//   - everything, where --userland-proxy asks for it. Then there are no rules, and the container sees the bridge's address in
//     place of the client's.

// HostSocket is one such socket, held open by whoever stands over the container.
type HostSocket struct {
	File     *os.File `json:"-"`
	Endpoint string   // its id
	Proto    string   // tcp, udp, sctp
	Serve    bool     // what comes is to be passed on
	To       netip.AddrPort
}

// side is one address of the host that a mapping stands for.
type side struct {
	PortMapping
	serve bool
	// optional is what Docker has and nobody misses on a host without IPv6.
	optional bool
}

// sides are the addresses of the host that a mapping stands for.
func (e *Endpoint) sides(p PortMapping) []side {
	one := side{PortMapping: p, serve: e.Proxy || isLoopback6(p.HostIP)}
	if p.HostIP.Is6() && p.Proto != "sctp" {
		one.serve = true // rules lead everything away from the socket but what is for ::1 or from fe80::/10
	}
	if p.HostIP.IsValid() {
		return []side{one}
	}
	six := one
	switch six.HostIP = netip.IPv6Unspecified(); {
	case e.Proxy:
		six.optional = true
	case e.Address6.IsValid():
		six.serve = p.Proto != "sctp"
	default:
		six.HostIP, six.serve, six.optional = netip.IPv6Loopback(), true, true
	}
	if p.Proto == "sctp" && !e.Address6.IsValid() {
		return []side{one} // nobody serves it
	}
	return []side{one, six}
}

func isLoopback6(a netip.Addr) bool { return a == netip.IPv6Loopback() }

// hold reserves one port of a mapping on all its sides.
func (e *Endpoint) hold(p PortMapping, offset uint16) ([]HostSocket, error) {
	var all []HostSocket
	for _, s := range e.sides(p) {
		f, _, err := reserve(s.PortMapping, p.HostPort+offset)
		if errors.Is(err, unix.EADDRINUSE) {
			err = portHolder(p, p.HostPort+offset)
		} else if s.optional && (errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT)) {
			continue
		}
		if err != nil {
			closeSockets(all)
			return nil, err
		}
		e.Proxied6 = e.Proxied6 || e.Proxy && s.optional
		all = append(all, HostSocket{File: f, Endpoint: e.ID, Proto: p.Proto, Serve: s.serve, To: e.target(s.HostIP, p.ContainerPort+offset)})
	}
	return all, nil
}

// target is where what comes to an address of the host's goes: into the same address family, if the container has it.
func (e *Endpoint) target(host netip.Addr, port uint16) netip.AddrPort {
	if host.Is6() && e.Address6.IsValid() || !e.Address.IsValid() {
		return netip.AddrPortFrom(e.Address6.Addr(), port)
	}
	return netip.AddrPortFrom(e.Address.Addr(), port)
}

// Hold are the sockets of the endpoint's host ports. They are there only in the Endpoint that Attach has returned.
func (e *Endpoint) Hold() []HostSocket { return e.held }

// HoldAgain takes the sockets of an endpoint whose claims another process has made, for this one to keep.
func (e *Endpoint) HoldAgain() ([]HostSocket, error) {
	var all []HostSocket
	for _, p := range e.Ports {
		for i := range max(p.Count, 1) {
			some, err := e.hold(p, i)
			if err != nil {
				closeSockets(all)
				return nil, err
			}
			all = append(all, some...)
		}
	}
	return all, nil
}

// LetGo closes the sockets, for another process to take.
func (e *Endpoint) LetGo() { e.closeHeld() }

func (e *Endpoint) closeHeld() {
	closeSockets(e.held)
	e.held = nil
}

func closeSockets(sockets []HostSocket) {
	for _, s := range sockets {
		s.File.Close() // nothing was written to it
	}
}

// ruled says whether a mapping needs rules: whether anything but a proxy leads from it to the container.
func (e *Endpoint) ruled(p PortMapping) bool { return !e.Proxy && !isLoopback6(p.HostIP) }
