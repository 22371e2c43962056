package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
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
	fd  int
	key Key
	to  netip.AddrPort
}

// newProbe opens the socket. Its port is chosen by the kernel before anything is sent, so that the watchers can know it.
func newProbe(r *Request) (p *probe, err error) {
	p = &probe{fd: -1, to: r.To}
	door := network.Sandbox{Name: r.From.Name(), Path: r.From.Path}
	err = door.Do(func() error {
		switch r.Proto {
		case "tcp":
			p.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		case "udp":
			p.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		default:
			p.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
		}
		if err != nil {
			return fmt.Errorf("open a %s socket: %w", r.Proto, err)
		}
		if r.Proto == "icmp" {
			p.key = Key{"icmp", uint16(os.Getpid())}
			return nil
		}
		if err := unix.Bind(p.fd, &unix.SockaddrInet4{}); err != nil {
			return fmt.Errorf("bind a %s socket: %w", r.Proto, err)
		}
		own, err := unix.Getsockname(p.fd)
		if err != nil {
			return err
		}
		p.key = Key{r.Proto, uint16(own.(*unix.SockaddrInet4).Port)}
		return nil
	})
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *probe) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}

// send sends the packet and waits for what comes of it.
func (p *probe) send(patience time.Duration) (outcome string, err error) {
	to := &unix.SockaddrInet4{Addr: p.to.Addr().As4(), Port: int(p.to.Port())}
	switch p.key.Proto {
	case "tcp":
		err = unix.Connect(p.fd, to)
		if errors.Is(err, unix.EINPROGRESS) {
			err = nil
		}
	case "udp":
		if err = unix.Connect(p.fd, to); err == nil {
			_, err = unix.Write(p.fd, []byte("mydocker trace\n"))
		}
	default:
		err = unix.Sendto(p.fd, echo(p.key.ID), 0, &unix.SockaddrInet4{Addr: to.Addr})
	}
	if err != nil {
		if errors.Is(err, unix.ECONNREFUSED) {
			return Refused, err
		}
		return NotSent, err
	}
	return p.wait(patience)
}

// echo is an ICMP echo request, RFC 792.
func echo(id uint16) []byte {
	b := append([]byte{8, 0, 0, 0, byte(id >> 8), byte(id), 0, 1}, "mydocker trace.."...)
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
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

// isReply: a raw socket hears all ICMP of its namespace.
func (p *probe) isReply() bool {
	buf := make([]byte, 1500)
	n, _, err := unix.Recvfrom(p.fd, buf, 0)
	if err != nil || n < 28 {
		return false
	}
	at := int(buf[0]&15) * 4
	return n >= at+8 && buf[at] == 0 && binary.BigEndian.Uint16(buf[at+4:]) == p.key.ID
}
