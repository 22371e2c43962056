package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// A published host port is held twice. The claim, RUN/ports/<proto>/<port>, says which container has it, and stands as long as
// the container's endpoint does. It is a symbolic link to nowhere whose target is the text: made, with its content, by one
// system call or not at all, and shown by `ls -l`. The socket, bound and never listened on, keeps other programs from
// taking the port; it is held by the container's monitor and needs no clean-up.

// PortTaken says that a host port is not free, and who has it. It is an fs.ErrExist.
type PortTaken struct {
	Port          PortMapping
	ContainerID   string // "" when it is not a container of ours
	ContainerName string
	Itself        bool   // it is the one that asks
	Program       string // "" when it could not be found out
	PID           int
}

func (e *PortTaken) Error() string {
	s := fmt.Sprintf("publish %s: port is already allocated", e.Port)
	switch {
	case e.Itself:
		return fmt.Sprintf("%s to this container by another -p: leave one out, or choose another host port", s)
	case e.ContainerID != "":
		return fmt.Sprintf("%s to container %s: stop that container, or choose another host port", s, e.ContainerName)
	case e.Program != "":
		return fmt.Sprintf("%s: program %s (pid %d) uses it: stop it, or choose another host port", s, e.Program, e.PID)
	}
	return s + ": another program uses it (`ss -lntup` shows which): stop it, or choose another host port"
}

// Is says that the error is of the kind "exists already".
func (e *PortTaken) Is(target error) bool { return target == fs.ErrExist }

// claimPorts takes the host ports that are asked for: all of them or none. Where one is to be chosen, it is written into
// the endpoint. The lock on the ports is held, and until the endpoint's record is written.
func (m *Manager) claimPorts(e *Endpoint, wanted []PortMapping) (err error) {
	defer func() {
		if err != nil {
			e.closeHeld()
			err = errors.Join(err, m.unclaimPorts(e))
			e.Ports = nil
		}
	}()
	for _, p := range wanted {
		if p.Count == 0 {
			p.Count = 1
		}
		if p.Proto == "sctp" && !e.ruled(p) {
			return fmt.Errorf("publish %s: a proxy passes on tcp and udp only", p)
		}
		if p.NeedsIPv6() && !e.Address6.IsValid() && e.ruled(p) {
			return fmt.Errorf("publish %s: network %s has no IPv6: make it with --ipv6", p, e.NetworkName)
		}
		if p.NeedsIPv4() && !e.Address.IsValid() && e.ruled(p) {
			return fmt.Errorf("publish %s: network %s has no IPv4: publish on an IPv6 address, or with --userland-proxy", p, e.NetworkName)
		}
		if p, err = m.claimMapping(e, p); err != nil {
			return err
		}
		e.Ports = append(e.Ports, p)
	}
	return nil
}

// claimMapping claims one mapping, choosing its port first where that is left to us.
func (m *Manager) claimMapping(e *Endpoint, p PortMapping) (PortMapping, error) {
	if p.HostPort != 0 && p.HostPortEnd == 0 {
		return p, m.claimRange(e, p)
	}
	same, err := m.chosenForOtherHalf(e, p)
	if err != nil {
		return p, err
	}
	if same != 0 {
		half := p
		half.HostPort, half.HostPortEnd = same, 0
		if err := m.claimRange(e, half); !errors.As(err, new(*PortTaken)) {
			return half, err
		} // somebody was quicker: this half gets a number of its own
	}
	if p.HostPort == 0 {
		return m.claimAny(e, p)
	}
	first, last := p.HostPort, max(p.HostPort, p.HostPortEnd)
	for port := int(first); ; port++ {
		p.HostPort, p.HostPortEnd = uint16(port), 0
		err := m.claimChosen(e, p)
		var held *PortTaken
		if !errors.As(err, &held) || port == int(last) {
			return p, err
		}
	}
}

// claimAny lets the kernel choose: a socket bound to port 0 gets a free one of net.ipv4.ip_local_port_range.
func (m *Manager) claimAny(e *Endpoint, p PortMapping) (PortMapping, error) {
	for range 100 {
		f, port, err := reserve(p, 0)
		if err != nil {
			return p, err
		}
		f.Close() // the lock on the ports is held: no container of ours can come between
		p.HostPort = port
		err = m.claimChosen(e, p)
		var held *PortTaken
		if !errors.As(err, &held) {
			return p, err
		}
		p.HostPort = 0
	}
	return p, fmt.Errorf("publish %s: no free port found in net.ipv4.ip_local_port_range", p)
}

// claimChosen claims a port that was chosen by us: of a mapping that is split, one that the other half can have, too.
func (m *Manager) claimChosen(e *Endpoint, p PortMapping) error {
	if p.Split {
		f, _, err := reserve(p.otherHalf(), p.HostPort)
		if errors.Is(err, unix.EADDRINUSE) {
			return portHolder(p, p.HostPort)
		}
		if err != nil {
			return err
		}
		f.Close()
	}
	return m.claimRange(e, p)
}

// chosenForOtherHalf is the port that was chosen for the other half of a mapping, which another network of the container publishes; 0
// if none was. The lock on the ports is held.
func (m *Manager) chosenForOtherHalf(e *Endpoint, p PortMapping) (uint16, error) {
	if !p.Split {
		return 0, nil
	}
	all, err := m.ContainerEndpoints(e.ContainerID)
	for _, other := range all {
		for _, o := range other.Ports {
			mine := func(q PortMapping) bool { return q.Split && q.HostPort == o.HostPort && q.Proto == o.Proto }
			if o.Split && o.HostIP.Is6() != p.HostIP.Is6() && o.ContainerPort == p.ContainerPort && o.Proto == p.Proto && !slices.ContainsFunc(e.Ports, mine) {
				return o.HostPort, err
			}
		}
	}
	return 0, err
}

func (m *Manager) claimRange(e *Endpoint, p PortMapping) (err error) {
	before := len(e.held)
	var done uint16
	defer func() {
		if err != nil {
			closeSockets(e.held[before:])
			e.held = e.held[:before]
			for i := range done {
				err = errors.Join(err, m.unclaimPort(e, p.Proto, p.HostPort+i, p.HostIP))
			}
		}
	}()
	for i := range p.Count {
		if err := m.claimPort(e, p, p.HostPort+i); err != nil {
			return err
		}
		done++
		sockets, err := e.hold(p, i)
		if err != nil {
			return err
		}
		e.held = append(e.held, sockets...)
	}
	return nil
}

// claim is one line of a claims file: address, network, container, endpoint, container name.
type portClaim struct {
	ip                                netip.Addr
	network, container, endpoint, who string
}

func (c portClaim) String() string {
	ip := "*"
	if c.ip.IsValid() {
		ip = c.ip.String()
	}
	return strings.Join([]string{ip, c.network, c.container, c.endpoint, c.who}, " ") + "\n"
}

func (m *Manager) claimsPath(proto string, port uint16) string {
	return filepath.Join(m.root.Run, "ports", proto, strconv.Itoa(int(port)))
}

func readClaims(path string) ([]portClaim, error) {
	text, err := os.Readlink(path)
	if err != nil {
		return nil, ignoreAbsent(err)
	}
	var claims []portClaim
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		f := strings.Fields(line)
		if len(f) != 5 {
			return nil, fmt.Errorf("port claim %s is damaged: remove it", path)
		}
		c := portClaim{network: f[1], container: f[2], endpoint: f[3], who: f[4]}
		if f[0] != "*" {
			if c.ip, err = netip.ParseAddr(f[0]); err != nil {
				return nil, fmt.Errorf("port claim %s is damaged: %w", path, err)
			}
		}
		claims = append(claims, c)
	}
	return claims, nil
}

// writeClaims replaces a port's claims. The lock on the ports is held.
func writeClaims(path, text string) error {
	err := os.Symlink(text, path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
			return err
		}
		err = os.Symlink(text, path)
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	aside := path + ".new"
	if err := ignoreAbsent(os.Remove(aside)); err != nil {
		return err
	}
	if err := os.Symlink(text, aside); err != nil {
		return err
	}
	return os.Rename(aside, path)
}

// claimPort writes the claim for one port, unless somebody's claim to it, or to a part of it, is good.
func (m *Manager) claimPort(e *Endpoint, p PortMapping, port uint16) error {
	path := m.claimsPath(p.Proto, port)
	claims, err := readClaims(path)
	if err != nil {
		return err
	}
	text := ""
	for _, c := range claims {
		who, good := m.claimant(c)
		if !good && c.endpoint != e.ID {
			continue
		}
		if sameAddress(c.ip, p.HostIP) {
			one := p
			one.HostPort, one.ContainerPort, one.Count = port, p.ContainerPort+(port-p.HostPort), 1
			return &PortTaken{Port: one, ContainerID: c.container, ContainerName: who, Itself: c.container == e.ContainerID}
		}
		text += c.String()
	}
	mine := portClaim{p.HostIP, e.NetworkID, e.ContainerID, e.ID, e.ContainerName}
	return writeClaims(path, text+mine.String())
}

// claimant says whether the endpoint that a claim speaks of has a record, and what its container is called by now.
func (m *Manager) claimant(c portClaim) (name string, good bool) {
	var e Endpoint
	err := state.ReadJSON(m.endpointPath(c.network, c.container), &e)
	if err == nil && e.ID == c.endpoint {
		return e.ContainerName, true
	}
	return c.who, err != nil && !errors.Is(err, fs.ErrNotExist)
}

func (m *Manager) claimGood(c portClaim) bool {
	_, good := m.claimant(c)
	return good
}

// sameAddress says whether two publications of one port get in each other's way: no address means all of them.
func sameAddress(a, b netip.Addr) bool {
	return !a.IsValid() || !b.IsValid() || a == b || a.IsUnspecified() && a.Is4() == b.Is4() || b.IsUnspecified() && a.Is4() == b.Is4()
}

// unclaimPorts gives all of an endpoint's ports back. The lock on the ports is held.
func (m *Manager) unclaimPorts(e *Endpoint) error {
	var errs []error
	for _, p := range e.Ports {
		for i := range p.Count {
			errs = append(errs, m.unclaimPort(e, p.Proto, p.HostPort+i, p.HostIP))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) unclaimPort(e *Endpoint, proto string, port uint16, ip netip.Addr) error {
	path := m.claimsPath(proto, port)
	claims, err := readClaims(path)
	if err != nil {
		return err
	}
	text, mine := "", false
	for _, c := range claims {
		if c.endpoint == e.ID && c.ip == ip {
			mine = true
			continue
		}
		text += c.String()
	}
	switch {
	case !mine:
		return nil
	case text == "":
		return ignoreAbsent(os.Remove(path))
	}
	return writeClaims(path, text)
}

func (m *Manager) lockPorts() (*state.Lock, error) { return state.AcquireLock(m.root.Lock("ports")) }
