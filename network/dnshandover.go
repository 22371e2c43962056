package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

// ErrDNSBusy says that somebody waits for an answer that this process alone can give: another server's, which comes to a socket of
// its own, or one on a TCP connection.
var ErrDNSBusy = errors.New("the resolver has questions that wait for their answers")

// HandOverDNS ends a resolver that ServeDNS started and keeps its sockets, for a successor of this process to go on with:
// questions that come in between wait in them. With ErrDNSBusy it goes on as it was.
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
	if !r.pause() {
		return nil, nil, ErrDNSBusy
	}
	if udp, err = u.File(); err != nil {
		r.goOn()
		return nil, nil, err
	}
	if tcp, err = t.File(); err != nil {
		r.goOn()
		return nil, nil, errors.Join(err, udp.Close())
	}
	return udp, tcp, r.Close()
}

// pause stops taking questions, unless some are waiting for their answers. Those that have not been taken stay in the sockets.
func (r *resolver) pause() bool {
	if r.busy() {
		return false
	}
	r.takeUntil(time.Unix(1, 0))
	r.loops.Wait()
	if r.busy() { // one was taken meanwhile
		r.goOn()
		return false
	}
	return true
}

// goOn ends a pause.
func (r *resolver) goOn() {
	r.takeUntil(time.Time{})
	r.serve()
}

// takeUntil sets the time after which nothing is taken from the sockets; zero means never. What is being answered is answered.
func (r *resolver) takeUntil(at time.Time) {
	r.udp.SetReadDeadline(at)
	if l, ok := r.tcp.(interface{ SetDeadline(time.Time) error }); ok {
		l.SetDeadline(at)
	}
}

func (r *resolver) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asking > 0 || len(r.open) > 0
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
	r.serve()
	return r, nil
}
