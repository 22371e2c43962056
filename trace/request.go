package trace

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/mydocker/mydocker/world"
)

// Request is a probe to be sent.
type Request struct {
	From     *world.Namespace
	FromName string
	Source   netip.Addr     // the sender's address; invalid: the kernel chooses one
	To       netip.AddrPort // port 0 with icmp
	ToName   string
	ToSpace  *world.Namespace // where the destination is, nil when nobody knows
	Proto    string           // tcp, udp, icmp
	Size     int              // of the IP packet, in bytes; 0: small
	Patience time.Duration    // how long the answer is waited for
}

// Six says whether it is sent by IPv6.
func (r *Request) Six() bool { return r.To.Addr().Is6() }

// Options are what FROM and TO do not say.
type Options struct {
	Six  bool // a name means its IPv6 address
	Size int  // see Request
}

// maxSize is what an IP packet can be, besides jumbograms (RFC 791, 3.1).
const maxSize = 65535

// Resolve reads FROM and TO[:PORT][/PROTO]. Both are a container, a namespace, "host", "outside" or an address; FROM's is one that somebody
// here has. An IPv6 address with a port is written as [fd00::2]:80.
func Resolve(w *world.World, from, to string, o Options) (*Request, error) {
	r := &Request{FromName: from, Patience: 1500 * time.Millisecond, Size: o.Size}
	name, number, proto, err := splitTarget(to)
	if err != nil {
		return nil, err
	}
	if r.Proto = proto; proto == "" {
		r.Proto = "tcp"
	}
	var port uint64
	if number != "" {
		if port, err = strconv.ParseUint(number, 10, 16); err != nil || port == 0 {
			return nil, fmt.Errorf("invalid port %q in %s", number, to)
		}
		if r.Proto == "icmp" {
			return nil, fmt.Errorf("%s: icmp has no ports", to)
		}
	}
	if a, err := netip.ParseAddr(name); err == nil {
		o.Six = a.Is6()
	}
	if n, _ := beyond(w, true); n != nil && speaksOnlySix(n) && (from == "outside" || name == "outside") {
		o.Six = true
	}
	if r.From, r.Source, err = source(w, from, o.Six); err != nil {
		return nil, err
	}
	six := o.Six || speaksOnlySix(r.From)
	a, space, err := destination(w, r.From, name, six)
	if err != nil && six != o.Six {
		a, space, err = destination(w, r.From, name, o.Six)
	}
	if err != nil {
		return nil, err
	}
	if r.Source.IsValid() && r.Source.Is6() != a.Is6() {
		return nil, fmt.Errorf("%s cannot send to %s: one is an IPv4 address, the other an IPv6 address", r.Source, a)
	}
	r.ToName, r.ToSpace = name, space
	if port == 0 && r.Proto != "icmp" {
		if port = uint64(servedPort(space, r.Proto, a)); port == 0 && proto != "" {
			return nil, fmt.Errorf("%s: which port? Nobody listens there that could be asked: say %s:PORT/%s", to, name, r.Proto)
		}
		if port == 0 {
			r.Proto = "icmp"
		}
	}
	r.To = netip.AddrPortFrom(a, uint16(port))
	return r, r.checkSize()
}

// speaksOnlySix says that a namespace has IPv6 addresses and none of IPv4, besides those of lo.
func speaksOnlySix(n *world.Namespace) bool {
	six := false
	for _, l := range n.Links {
		if !l.Loopback && l.Address4().IsValid() {
			return false
		}
		six = six || !l.Loopback && l.Address(true).IsValid()
	}
	return six
}

func (r *Request) checkSize() error {
	if r.Size == 0 {
		return nil
	}
	if r.Proto == "tcp" {
		return errors.New("--size is for /udp and /icmp: the first packet of a TCP connection is always small")
	}
	if low := r.headers(); r.Size < low || r.Size > maxSize {
		return fmt.Errorf("invalid --size %d: from %d to %d bytes", r.Size, low, maxSize)
	}
	return nil
}

// headers are those of IP and of UDP or ICMP, in bytes.
func (r *Request) headers() int {
	if r.Six() {
		return 48
	}
	return 28
}

// splitTarget parts NAME[:PORT][/PROTO]; an IPv6 address has colons of its own.
func splitTarget(to string) (name, port, proto string, err error) {
	name, proto, has := strings.Cut(to, "/")
	if has && proto != "tcp" && proto != "udp" && proto != "icmp" {
		return "", "", "", fmt.Errorf("invalid protocol %q: tcp, udp or icmp", proto)
	}
	hasPort := false
	if rest, ok := strings.CutPrefix(name, "["); ok {
		address, behind, closed := strings.Cut(rest, "]")
		if port, hasPort = strings.CutPrefix(behind, ":"); !closed || behind != "" && !hasPort {
			return "", "", "", fmt.Errorf("%s is not understood: an IPv6 address with a port is written as [fd00::2]:80", to)
		}
		name = address
	} else if strings.Count(name, ":") == 1 {
		name, port, hasPort = strings.Cut(name, ":")
	}
	if hasPort && port == "" {
		return "", "", "", fmt.Errorf("invalid port %q in %s", port, to)
	}
	if a, err := netip.ParseAddr(name); err == nil && a.IsLinkLocalUnicast() && a.Is6() {
		return "", "", "", fmt.Errorf("%s is an address of one link, and is not traced: take another one of its owner", a)
	}
	return name, port, proto, nil
}

// servedPort is the first port on which somebody listens at the address.
func servedPort(n *world.Namespace, proto string, a netip.Addr) uint16 {
	if n == nil {
		return 0
	}
	for _, s := range n.Sockets {
		if s.Proto == proto && !s.Address.Addr().IsLoopback() && s.Takes(a) {
			return s.Address.Port()
		}
	}
	return 0
}

// source finds the namespace that a name or an address stands for.
func source(w *world.World, name string, six bool) (n *world.Namespace, a netip.Addr, err error) {
	if a, err := netip.ParseAddr(name); err == nil {
		for _, n := range w.Namespaces {
			if n.Owns(a) && !a.IsLoopback() {
				return n, a, nil
			}
		}
		return nil, a, fmt.Errorf("nobody here has the address %s, so nothing can be sent from it: see `ip -br addr`; or send from a container, host or outside", a)
	}
	switch name {
	case "host":
		return w.Host, a, nil
	case "outside":
		if n, _ := beyond(w, six); n != nil {
			return n, a, nil
		}
		if w.Host.DefaultRoute(six) == nil {
			return nil, a, noWayOut(six)
		}
		return nil, a, errors.New("outside: what is behind this host's own links cannot be entered; send the probe from there, or work in `mydocker sandbox`")
	}
	if c := w.Container(name); c != nil {
		if c.Namespace == nil {
			return nil, a, fmt.Errorf("container %s is not running (mydocker start %s)", c.Name, c.Name)
		}
		return c.Namespace, a, nil
	}
	if n := w.Namespace(name); n != nil {
		return n, a, nil
	}
	return nil, a, fmt.Errorf("no container and no namespace is called %s: see `mydocker ps`, `ip netns list`; or host, outside", name)
}

// beyond is the namespace at the other end of the host's way out, where the host is itself one of namespaces, and its address.
func beyond(w *world.World, six bool) (*world.Namespace, netip.Addr) {
	r := w.Host.DefaultRoute(six)
	if r == nil || r.Dev == nil {
		return nil, netip.Addr{}
	}
	if p := r.Dev.Peer; p != nil && p.Namespace != w.Host {
		return p.Namespace, p.Address(six).Addr()
	}
	return nil, r.Via
}

// destination finds the address that from would use for a name.
func destination(w *world.World, from *world.Namespace, name string, six bool) (netip.Addr, *world.Namespace, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		for _, n := range w.Namespaces {
			if n.Owns(a) && (n == from || !a.IsLoopback()) {
				return a, n, nil
			}
		}
		return a, nil, nil
	}
	switch name {
	case "host":
		a := hostAddress(w, from, six)
		if !a.IsValid() {
			return a, nil, fmt.Errorf("host: it has no %s address that could be asked", family(six))
		}
		return a, w.Host, nil
	case "outside":
		n, a := beyond(w, six)
		if !a.IsValid() {
			return a, nil, noWayOut(six)
		}
		return a, n, nil
	}
	n, _, err := source(w, name, six)
	if err != nil {
		return netip.Addr{}, nil, err
	}
	a := addressFor(from, n, six)
	if !a.IsValid() && !six {
		a = addressFor(from, n, true)
	}
	if !a.IsValid() {
		return a, nil, fmt.Errorf("%s has no %s address", name, family(six))
	}
	return a, n, nil
}

func noWayOut(six bool) error {
	option := "-4"
	if six {
		option = "-6"
	}
	return fmt.Errorf("outside: the host has no default route for %s (ip %s route add default via …)", family(six), option)
}

func family(six bool) string {
	if six {
		return "IPv6"
	}
	return "IPv4"
}

// hostAddress is the one by which from knows the host: 127.0.0.1 or ::1 itself, its gateway, or the address of the way out.
func hostAddress(w *world.World, from *world.Namespace, six bool) netip.Addr {
	if from == w.Host && six {
		return netip.IPv6Loopback()
	}
	if from == w.Host {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if r := from.DefaultRoute(six); r != nil && r.Via.IsValid() && !r.Via.IsLinkLocalUnicast() && w.Host.Owns(r.Via) {
		return r.Via
	}
	if r := w.Host.DefaultRoute(six); r != nil && r.Dev != nil {
		return r.Dev.Address(six).Addr()
	}
	return netip.Addr{}
}

// addressFor prefers an address of a subnet that from is in, too.
func addressFor(from, n *world.Namespace, six bool) (best netip.Addr) {
	for _, l := range n.Links {
		a := l.Address(six)
		if l.Loopback || !a.IsValid() {
			continue
		}
		if !best.IsValid() {
			best = a.Addr()
		}
		for _, mine := range from.Links {
			if p := mine.Address(six); p.IsValid() && p.Contains(a.Addr()) {
				return a.Addr()
			}
		}
	}
	return best
}
