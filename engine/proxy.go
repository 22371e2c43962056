package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/plan"
)

// A proxy serves one host port: it takes each connection and makes another to the container, in the monitor's own process. That
// io.Copy between two TCP sockets is splice(2), so the data stays in the kernel. It is for what rules cannot do: see
// network/hostport.go.
//
// What it is not: the container sees the bridge's address, not the client's, and each connection takes descriptors of the
// monitor's, which are limited (ulimit -n). Who comes when there are none left waits in the socket's backlog.
type proxy struct {
	to     netip.AddrPort
	closer io.Closer // of our duplicate of the socket

	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
	done   sync.WaitGroup
	active *atomic.Int64 // connections of all proxies of a container
}

const (
	dialTimeout = 10 * time.Second
	udpIdle     = 90 * time.Second // docker-proxy's
	maxFlows    = 4096             // UDP clients of one port
)

// proxies are all of one container. The zero value has none.
type proxies struct {
	all    []*proxy
	active atomic.Int64
	paused bool
}

// startProxies serves those of the sockets that are to be served. The sockets stay with the caller: a proxy that is closed
// leaves them as they are, and who connects meanwhile waits.
func startProxies(w plan.Watcher, sockets []network.HostSocket) (*proxies, error) {
	ps := new(proxies)
	for _, s := range sockets {
		if !s.Serve {
			continue
		}
		op := plan.Step{Cmd: proxyCommand(s), Reason: "the monitor itself passes on what comes to this socket"}
		err := plan.Do(w, op, func() error { return ps.serve(s) })
		if err != nil {
			ps.Close()
			return nil, fmt.Errorf("serve the published port of %s: %w", s.To, err)
		}
	}
	return ps, nil
}

// proxyCommand is what does the same by hand.
func proxyCommand(s network.HostSocket) string {
	listen, connect := "TCP4", "TCP4"
	if s.Proto == "udp" {
		listen, connect = "UDP4", "UDP4"
	}
	var bound string
	if local, err := socketAddress(s.File); err == nil {
		bound = ",bind=" + local.Addr().String()
		if local.Addr().Is6() {
			listen, bound = listen[:3]+"6", ",ipv6only,bind=["+local.Addr().String()+"]"
		}
		bound = strconv.Itoa(int(local.Port())) + bound
	}
	if s.To.Addr().Is6() {
		connect = connect[:3] + "6"
	}
	return fmt.Sprintf("socat %s-LISTEN:%s,fork,reuseaddr %s:%s &", listen, bound, connect, s.To)
}

func socketAddress(f *os.File) (local netip.AddrPort, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return local, err
	}
	ctlErr := raw.Control(func(fd uintptr) {
		var sa unix.Sockaddr
		if sa, err = unix.Getsockname(int(fd)); err != nil {
			return
		}
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			local = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
		case *unix.SockaddrInet6:
			local = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
		}
	})
	return local, errors.Join(err, ctlErr)
}

func (ps *proxies) serve(s network.HostSocket) error {
	p := &proxy{to: s.To, open: map[net.Conn]bool{}, active: &ps.active}
	if s.Proto == "udp" {
		return ps.serveUDP(s, p)
	}
	raw, err := s.File.SyscallConn()
	if err != nil {
		return err
	}
	ctlErr := raw.Control(func(fd uintptr) {
		// Connections of a former user in TIME_WAIT are not in the way, nor will ours be in the next one's.
		if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
			err = unix.Listen(int(fd), 4096) // at most net.core.somaxconn
		}
	})
	if err = errors.Join(err, ctlErr); err != nil {
		return os.NewSyscallError("listen", err)
	}
	l, err := net.FileListener(s.File)
	if err != nil {
		return err
	}
	p.closer = l
	ps.all = append(ps.all, p)
	p.done.Add(1)
	go p.accept(l.(*net.TCPListener))
	return nil
}

// pause stops taking connections, if there are none; then Close costs nobody anything. It says whether it has.
func (ps *proxies) pause() bool {
	if ps == nil {
		return true
	}
	if ps.active.Load() > 0 {
		return false
	}
	ps.paused = true
	for _, p := range ps.all {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.closer.Close()
		p.done.Wait()
	}
	return ps.active.Load() == 0
}

// resume goes on after a pause.
func (ps *proxies) resume(sockets []network.HostSocket) error {
	if ps == nil || !ps.paused {
		return nil
	}
	ps.paused = false
	for _, s := range sockets {
		if !s.Serve {
			continue
		}
		if err := ps.serve(s); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all connections and waits for that.
func (ps *proxies) Close() {
	if ps == nil {
		return
	}
	for _, p := range ps.all {
		p.mu.Lock()
		p.closed = true
		p.closer.Close() // again perhaps
		for c := range p.open {
			c.Close()
		}
		p.mu.Unlock()
	}
	for _, p := range ps.all {
		p.done.Wait()
	}
}

func (p *proxy) accept(l *net.TCPListener) {
	defer p.done.Done()
	for {
		c, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors: the client waits in the backlog
			continue
		}
		if !p.enter(c) {
			c.Close()
			return
		}
		go p.pass(c)
	}
}

// enter notes a connection; false when the proxy has ended. leave is its counterpart.
func (p *proxy) enter(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.open[c] = true
	p.active.Add(1)
	return true
}

func (p *proxy) leave(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[c] {
		delete(p.open, c)
		p.active.Add(-1)
	}
}

// pass carries one connection. Each direction ends by itself: who has nothing more to say may still be listening. What goes
// wrong on one side is told to the other as it would be without us, by a reset.
func (p *proxy) pass(client *net.TCPConn) {
	defer p.leave(client)
	c, err := net.DialTimeout("tcp", p.to.String(), dialTimeout)
	if err != nil {
		reset(client)
		return
	}
	server := c.(*net.TCPConn)
	defer p.leave(server)
	if !p.enter(server) {
		server.Close()
		return
	}
	done := make(chan struct{})
	go func() {
		copyHalf(client, server)
		close(done)
	}()
	copyHalf(server, client)
	<-done
}

func copyHalf(from, to *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		reset(from)
		reset(to)
		return
	}
	if to.CloseWrite() != nil {
		reset(from) // the other side is gone: there is nobody to read what more may come
	}
}

// reset lets close send RST instead of FIN, and ends what waits for the connection.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // it is closed already, or it is an error on the way out
	c.Close()
}
