package network

import (
	"bytes"
	"crypto/rand"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// forwarder asks other servers, one after the other, as resolv.conf(5) has it. Questions and answers pass through as they
// are, EDNS options and signatures included; only the id is a new one, so that an answer cannot be guessed from outside.
type forwarder struct {
	sandbox *Sandbox
	names   *nameBook
	servers []netip.AddrPort
	waiting chan struct{}
}

const (
	// forwardPatience is for all servers together: clients give up after 5 s (resolv.conf(5), timeout).
	forwardPatience = 4500 * time.Millisecond
	forwardRounds   = 2   // a datagram may be lost: each server is asked again after all others
	maxForwards     = 512 // at a time
)

// newForwarder is nil when there is nobody to ask.
func newForwarder(sb *Sandbox, names *nameBook, upstream []netip.Addr) *forwarder {
	if len(upstream) == 0 {
		return nil
	}
	f := &forwarder{sandbox: sb, names: names, waiting: make(chan struct{}, maxForwards)}
	for _, a := range upstream {
		f.servers = append(f.servers, netip.AddrPortFrom(a, 53))
	}
	return f
}

// enter takes one of the places for questions that wait for an answer; false if there is none.
func (f *forwarder) enter() bool {
	select {
	case f.waiting <- struct{}{}:
		return true
	default:
		return false
	}
}

func (f *forwarder) leave() { <-f.waiting }

// ask is the first server's answer that is one. A server that fails or refuses is passed over while there is another; nil
// if nobody answers.
func (f *forwarder) ask(question []byte, network string) []byte {
	var last []byte
	rounds := forwardRounds
	if network == "tcp" {
		rounds = 1
	}
	patience := forwardPatience / time.Duration(rounds*len(f.servers))
	answered := make([]bool, len(f.servers)) // badly: it need not be asked again
	for range rounds {
		for i, s := range f.servers {
			if answered[i] {
				continue
			}
			answer, err := f.exchange(question, network, s, patience)
			if err != nil {
				continue
			}
			answered[i], last = true, answer
			if code := answer[3] & 0x0f; code != byte(dnsmessage.RCodeServerFailure) && code != byte(dnsmessage.RCodeRefused) {
				return answer
			}
		}
	}
	return last
}

// exchange asks one server.
func (f *forwarder) exchange(question []byte, network string, server netip.AddrPort, patience time.Duration) ([]byte, error) {
	c, err := f.dial(network, server, patience)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	asked := append([]byte(nil), question...)
	rand.Read(asked[:2])
	if network == "tcp" {
		if err := writeFramed(c, asked); err != nil {
			return nil, err
		}
		answer, err := readFramed(c)
		if err != nil || !answersTo(asked, answer) {
			return nil, net.ErrClosed
		}
		copy(answer, question[:2])
		return answer, nil
	}
	if _, err := c.Write(asked); err != nil {
		return nil, err
	}
	buf := make([]byte, 65535)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if answer := buf[:n]; answersTo(asked, answer) {
			copy(answer, question[:2])
			return append([]byte(nil), answer...), nil
		}
	}
}

// answersTo compares id and question: anybody can send a packet.
func answersTo(asked, answer []byte) bool {
	if len(answer) < 12 || !bytes.Equal(asked[:2], answer[:2]) || answer[2]&0x80 == 0 {
		return false
	}
	var q, a dnsmessage.Parser
	if _, err := q.Start(asked); err != nil {
		return false
	}
	if _, err := a.Start(answer); err != nil {
		return false
	}
	question, err := q.Question()
	if err != nil {
		return false
	}
	repeated, err := a.Question()
	if err != nil { // a server that fails may leave the question out
		return answer[3]&0x0f != 0 && answer[4] == 0 && answer[5] == 0
	}
	return question.Type == repeated.Type && canonical(question.Name.String()) == canonical(repeated.Name.String())
}

// fromHost says whether a server is the host's to ask: a loopback address means the host's, and a container that has IPv6 only cannot
// reach a server of IPv4 itself.
func (f *forwarder) fromHost(server netip.Addr) bool {
	v4, v6 := f.names.waysOut()
	return server.IsLoopback() || server.Is4() && !v4 || server.Is6() && !v6
}

// dial opens the socket where the server can be reached.
func (f *forwarder) dial(network string, server netip.AddrPort, patience time.Duration) (c net.Conn, err error) {
	if f.fromHost(server.Addr()) {
		return net.DialTimeout(network, server.String(), patience)
	}
	if network == "udp" {
		err = f.sandbox.Do(func() (err error) { c, err = net.Dial(network, server.String()); return err })
		return c, err
	}
	err = f.sandbox.Do(func() (err error) { c, err = net.DialTimeout(network, server.String(), patience); return err })
	return c, err
}
