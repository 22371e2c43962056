package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
)

// HandOverDNS ends a resolver that ServeDNS started and keeps its sockets, for a successor of this process to go on with:
// questions that come in between wait in them.
func HandOverDNS(c io.Closer) (udp, tcp *os.File, err error) {
	r, ok := c.(*resolver)
	if !ok {
		return nil, nil, fmt.Errorf("hand over a resolver: %T is none", c)
	}
	type filer interface{ File() (*os.File, error) }
	u, okU := r.udp.(filer)
	t, okT := r.tcp.(filer)
	if !okU || !okT {
		return nil, nil, errors.New("hand over a resolver: its sockets cannot be passed on")
	}
	if udp, err = u.File(); err != nil {
		return nil, nil, err
	}
	if tcp, err = t.File(); err != nil {
		return nil, nil, errors.Join(err, udp.Close())
	}
	return udp, tcp, r.Close()
}

// ResumeDNS goes on with the sockets of HandOverDNS; the way to them is still laid. It closes the files.
func (m *Manager) ResumeDNS(sb *Sandbox, containerID string, udp, tcp *os.File, upstream ...netip.Addr) (_ io.Closer, err error) {
	r := &resolver{names: newNameBook(m, containerID), open: map[net.Conn]bool{}}
	r.forward = newForwarder(sb, r.names, upstream)
	r.udp, err = net.FilePacketConn(udp)
	if err == nil {
		r.tcp, err = net.FileListener(tcp)
	}
	if err = errors.Join(err, udp.Close(), tcp.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("go on with the resolver of %s: %w", sb.Name, err), r.Close())
	}
	r.inFlight.Add(2)
	go r.serveUDP()
	go r.serveTCP()
	return r, nil
}
