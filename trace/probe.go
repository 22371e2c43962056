package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/network"
)

// Key is how the probe and its answer are known on their way: by the sender's port, or the number of the echo.
type Key struct {
	Proto string
	ID    uint16
}

// Outcomes of a probe.
const (
	Answered = "answered"
	Refused  = "refused"
	Silence  = "silence"
	NotSent  = "not-sent"
)

// probe is a socket in the sender's namespace.
type probe struct {
	fd      int
	key     Key
	to      netip.AddrPort
	payload []byte
}

// newProbe opens the socket. Its port is chosen by the kernel before anything is sent, so that the watchers can know it.
func newProbe(r *Request) (p *probe, err error) {
	p = &probe{fd: -1, to: r.To, payload: []byte("mydocker trace..")}
	if r.Size > 0 {
		p.payload = make([]byte, r.Size-r.headers())
	}
	door := network.Sandbox{Name: r.From.Name(), Path: r.From.Path}
	if err = door.Do(func() error { return p.open(r) }); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *probe) open(r *Request) (err error) {
	domain, kind, proto := unix.AF_INET, unix.SOCK_STREAM, 0
	if r.Six() {
		domain = unix.AF_INET6
	}
	switch r.Proto {
	case "udp":
		kind = unix.SOCK_DGRAM
	case "icmp":
		kind, proto = unix.SOCK_RAW, unix.IPPROTO_ICMP
		if r.Six() {
			proto = unix.IPPROTO_ICMPV6
		}
	}
	if p.fd, err = unix.Socket(domain, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto); err != nil {
		return fmt.Errorf("open a %s socket: %w", r.Proto, err)
	}
	if err := p.whole(r); err != nil {
		return fmt.Errorf("forbid to part the packet: %w", err)
	}
	from := r.Source
	if !from.IsValid() {
		from = map[bool]netip.Addr{false: netip.IPv4Unspecified(), true: netip.IPv6Unspecified()}[r.Six()]
	}
	if err := unix.Bind(p.fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
		return fmt.Errorf("bind a %s socket to %s: %w", r.Proto, from, err)
	}
	if r.Proto == "icmp" {
		p.key = Key{"icmp", uint16(1 + rand.N(65535))} // a new one each time: of a known one the kernel would not ask the nat tables
		return nil
	}
	own, err := unix.Getsockname(p.fd)
	if err != nil {
		return err
	}
	switch own := own.(type) {
	case *unix.SockaddrInet4:
		p.key = Key{r.Proto, uint16(own.Port)}
	case *unix.SockaddrInet6:
		p.key = Key{r.Proto, uint16(own.Port)}
	}
	return nil
}

// whole sets "don't fragment" for a packet whose size was asked for: the question is who cannot carry it. What was learnt of the way
// before does not count (ip(7), IP_PMTUDISC_PROBE).
func (p *probe) whole(r *Request) error {
	switch {
	case r.Size == 0:
		return nil
	case r.Six():
		return errors.Join(unix.SetsockoptInt(p.fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE), unix.SetsockoptInt(p.fd, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1))
	}
	return unix.SetsockoptInt(p.fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

func (p *probe) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}

// send sends the packet and waits for what comes of it.
func (p *probe) send(patience time.Duration) (outcome string, err error) {
	to := sockaddr(p.to)
	switch p.key.Proto {
	case "tcp":
		err = unix.Connect(p.fd, to)
		if errors.Is(err, unix.EINPROGRESS) {
			err = nil
		}
	case "udp":
		if err = unix.Connect(p.fd, to); err == nil {
			_, err = unix.Write(p.fd, p.payload)
		}
	default:
		err = unix.Sendto(p.fd, p.echo(), 0, to)
	}
	if err != nil {
		if errors.Is(err, unix.ECONNREFUSED) {
			return Refused, err
		}
		return NotSent, err
	}
	return p.wait(patience)
}

// echo is an ICMP echo request: RFC 792, RFC 4443. The sum of IPv6's is the kernel's to make, because addresses go into it.
func (p *probe) echo() []byte {
	if p.to.Addr().Is6() {
		return append([]byte{128, 0, 0, 0, byte(p.key.ID >> 8), byte(p.key.ID), 0, 1}, p.payload...)
	}
	b := append([]byte{8, 0, 0, 0, byte(p.key.ID >> 8), byte(p.key.ID), 0, 1}, p.payload...)
	var sum uint32
	for i, v := range b {
		sum += uint32(v) << (8 * (1 - i%2))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
	return b
}

func (p *probe) wait(patience time.Duration) (string, error) {
	deadline := time.Now().Add(patience)
	events := int16(unix.POLLIN)
	if p.key.Proto == "tcp" {
		events = unix.POLLOUT
	}
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return Silence, nil
		}
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: events}}
		n, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if errors.Is(err, unix.EINTR) || err == nil && n == 0 {
			continue
		}
		if err != nil {
			return Silence, fmt.Errorf("wait for the answer: %w", err)
		}
		number, err := unix.GetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return Silence, err
		}
		if number != 0 {
			if err := unix.Errno(number); err == unix.ECONNREFUSED {
				return Refused, err
			} else {
				return Silence, err
			}
		}
		if p.key.Proto == "icmp" && !p.isReply() {
			continue
		}
		return Answered, nil
	}
}

// isReply: a raw socket hears all ICMP of its namespace; that of IPv4 gets the header in front (raw(7)).
func (p *probe) isReply() bool {
	buf := make([]byte, maxSize)
	n, _, err := unix.Recvfrom(p.fd, buf, 0)
	if err != nil {
		return false
	}
	at, reply := 0, byte(129)
	if p.to.Addr().Is4() && n > 0 {
		at, reply = int(buf[0]&15)*4, 0
	}
	return n >= at+8 && buf[at] == reply && binary.BigEndian.Uint16(buf[at+4:]) == p.key.ID
}
