package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/network"
)

// proxied gives a running proxy's address, for a backend.
func proxied(t *testing.T, proto string, to net.Addr) (address string, ps *proxies, sockets []network.HostSocket) {
	t.Helper()
	s := network.HostSocket{Proto: proto, Serve: true, To: netip.MustParseAddrPort(to.String())}
	if proto == "tcp" {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address = l.Addr().String()
		s.File, err = l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	} else {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address = c.LocalAddr().String()
		if s.File, err = c.(*net.UDPConn).File(); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	sockets = []network.HostSocket{s}
	ps, err := startProxies(nil, sockets)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ps.Close(); s.File.Close() })
	return address, ps, sockets
}

// backend serves each connection by a function.
func backend(t *testing.T, serve func(*net.TCPConn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			}()
		}
	}()
	return l.Addr()
}

func dialProxy(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(3 * time.Minute))
	return c.(*net.TCPConn)
}

// Each side may end its half and still hear the other: the client first (an upload that is answered), then the server first.
func TestProxyHalfClose(t *testing.T) {
	address, ps, _ := proxied(t, "tcp", backend(t, func(c *net.TCPConn) {
		data, _ := io.ReadAll(c) // until the client has said all
		fmt.Fprintf(c, "%d bytes of %q", len(data), data[:1])
	}))
	c := dialProxy(t, address)
	if _, err := c.Write(bytes.Repeat([]byte("u"), 3<<20)); err != nil {
		t.Fatal(err)
	}
	c.CloseWrite()
	if answer, err := io.ReadAll(c); err != nil || string(answer) != `3145728 bytes of "u"` {
		t.Errorf("%q, %v", answer, err)
	}

	got := make(chan string, 1)
	address, _, _ = proxied(t, "tcp", backend(t, func(c *net.TCPConn) {
		c.Write(bytes.Repeat([]byte("d"), 3<<20))
		c.CloseWrite()
		data, _ := io.ReadAll(c)
		got <- string(data)
	}))
	c = dialProxy(t, address)
	if answer, err := io.ReadAll(c); err != nil || len(answer) != 3<<20 {
		t.Errorf("%d bytes, %v", len(answer), err)
	}
	c.Write([]byte("thank you"))
	c.CloseWrite()
	if s := <-got; s != "thank you" {
		t.Errorf("after its own end the server heard %q", s)
	}
	for end := time.Now().Add(time.Minute); ps.active.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are still counted", ps.active.Load())
		}
	}
}

// Nobody listens in the container: the client is told as it would be without a proxy. The same when the server breaks off.
func TestProxyDeadBackend(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	address, _, _ := proxied(t, "tcp", l.Addr())
	c, err := net.Dial("tcp", address)
	if err == nil {
		_, err = c.Read(make([]byte, 1))
		c.Close()
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a dead backend: %v", err)
	}
	address, _, _ = proxied(t, "tcp", backend(t, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 1))
		c.SetLinger(0)
	}))
	c = dialProxy(t, address)
	c.Write([]byte("x"))
	if _, err = c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a backend that breaks off: %v", err)
	}
}

// A thousand connections at once, each with data of its own both ways.
func TestProxyThousand(t *testing.T) {
	var all sync.WaitGroup
	meet := make(chan struct{})
	address, ps, _ := proxied(t, "tcp", backend(t, func(c *net.TCPConn) { io.Copy(c, c) }))
	clients := make([]*net.TCPConn, 1000)
	errs := make(chan error, len(clients))
	for i := range clients {
		c := dialProxy(t, address)
		all.Add(1)
		go func() {
			defer all.Done()
			want := strings.Repeat(fmt.Sprintf("%04d ", i), 2000)
			if _, err := io.WriteString(c, want[:5]); err != nil {
				errs <- err
				return
			}
			buf := make([]byte, 5)
			if _, err := io.ReadFull(c, buf); err != nil || string(buf) != want[:5] {
				errs <- fmt.Errorf("connection %d: %q, %v", i, buf, err)
				return
			}
			<-meet
			go func() { io.WriteString(c, want[5:]); c.CloseWrite() }()
			got, err := io.ReadAll(c)
			if err != nil || string(got) != want[5:] {
				errs <- fmt.Errorf("connection %d: %d bytes, %v", i, len(got), err)
			}
		}()
	}
	for end := time.Now().Add(3 * time.Minute); ps.active.Load() != 2000; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%d ends of connections are open; want 2000", ps.active.Load())
			break
		}
	}
	close(meet)
	all.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

// While a monitor makes itself smaller nobody is refused: who connects waits. With a connection it does not pause.
func TestProxyPause(t *testing.T) {
	address, ps, sockets := proxied(t, "tcp", backend(t, func(c *net.TCPConn) { io.Copy(c, c) }))
	c := dialProxy(t, address)
	say := func(c *net.TCPConn, s string) {
		t.Helper()
		buf := make([]byte, len(s))
		io.WriteString(c, s)
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != s {
			t.Errorf("%q, %v", buf, err)
		}
	}
	say(c, "one")
	if ps.pause() {
		t.Error("paused with a connection")
	}
	if err := ps.resume(sockets); err != nil {
		t.Fatal(err)
	}
	say(c, "two")
	c.Close()
	for end := time.Now().Add(time.Minute); ps.active.Load() != 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if !ps.pause() {
		t.Error("not paused without a connection")
	}
	waiting := dialProxy(t, address)
	if err := ps.resume(sockets); err != nil {
		t.Fatal(err)
	}
	say(waiting, "three")
}

// UDP answers find their way back, by flow, from the address that was asked.
func TestProxyUDP(t *testing.T) {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			server.WriteTo(append([]byte("echo "), buf[:n]...), from)
		}
	}()
	address, ps, _ := proxied(t, "udp", server.LocalAddr())
	for i := range 3 {
		c, err := net.Dial("udp4", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for j := range 2 {
			c.SetDeadline(time.Now().Add(time.Minute))
			fmt.Fprintf(c, "%d.%d", i, j)
			buf := make([]byte, 100)
			n, err := c.Read(buf)
			if want := fmt.Sprintf("echo %d.%d", i, j); err != nil || string(buf[:n]) != want {
				t.Errorf("%q, %v; want %q", buf[:n], err, want)
			}
		}
	}
	if n := ps.active.Load(); n != 3 {
		t.Errorf("%d flows for 3 clients", n)
	}
}
