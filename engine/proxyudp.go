package engine

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/network"
)

// UDP has no connections: a flow is a client's address and the host's address that it has sent to. Each has a socket of its own
// towards the container, so that answers find their way back, and ends after a while of silence.
type udpProxy struct {
	*proxy
	conn  *net.UDPConn
	flows map[flowKey]*net.UDPConn
}

type flowKey struct {
	client netip.AddrPort
	local  string // the control message that says where the datagram came in: ip(7), IP_PKTINFO
}

func (ps *proxies) serveUDP(s network.HostSocket, p *proxy) error {
	pc, err := net.FilePacketConn(s.File)
	if err != nil {
		return err
	}
	u := &udpProxy{proxy: p, conn: pc.(*net.UDPConn), flows: map[flowKey]*net.UDPConn{}}
	raw, err := u.conn.SyscallConn()
	if err == nil {
		// Answers have to come from the address that was asked, of which the host may have many.
		ctlErr := raw.Control(func(fd uintptr) {
			if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1); err != nil {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
			}
		})
		err = errors.Join(err, ctlErr)
	}
	if err != nil {
		pc.Close()
		return err
	}
	p.closer = pc
	ps.all = append(ps.all, p)
	p.done.Add(1)
	go u.serve()
	return nil
}

func (u *udpProxy) serve() {
	defer u.done.Done()
	buf, oob := make([]byte, 65535), make([]byte, 128)
	for {
		n, oobn, _, from, err := u.conn.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // an answer that could not be delivered
			continue
		}
		if server := u.flow(flowKey{from, string(oob[:oobn])}); server != nil {
			_, _ = server.Write(buf[:n]) // a datagram may be lost; that nobody listens is told to the next
		}
	}
}

// flow is the socket for a client; nil when there can be no more.
func (u *udpProxy) flow(k flowKey) *net.UDPConn {
	u.mu.Lock()
	server, n := u.flows[k], len(u.flows)
	u.mu.Unlock()
	if server != nil {
		return server
	}
	if n >= maxFlows {
		return nil
	}
	server, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(u.to))
	if err != nil {
		return nil
	}
	if !u.enter(server) {
		server.Close()
		return nil
	}
	u.mu.Lock()
	u.flows[k] = server
	u.mu.Unlock()
	go u.answer(k, server)
	return server
}

// answer carries the answers of one flow, until there have been none for a while.
func (u *udpProxy) answer(k flowKey, server *net.UDPConn) {
	defer func() {
		u.mu.Lock()
		delete(u.flows, k)
		u.mu.Unlock()
		u.leave(server)
	}()
	buf := make([]byte, 65535)
	for {
		server.SetReadDeadline(time.Now().Add(udpIdle))
		n, err := server.Read(buf)
		if errors.Is(err, unix.ECONNREFUSED) {
			continue // nobody listens in the container, yet
		}
		if err != nil {
			return
		}
		if _, _, err := u.conn.WriteMsgUDPAddrPort(buf[:n], []byte(k.local), k.client); errors.Is(err, net.ErrClosed) {
			return
		}
	}
}
