package network

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// join attaches a container to one more network.
func join(t testing.TB, m *Manager, b box, network string, aliases ...string) *Endpoint {
	t.Helper()
	e, err := m.Attach(context.Background(), b.Sandbox, EndpointOptions{
		ContainerID: b.id, ContainerName: b.ContainerName, Network: network, Aliases: aliases,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.closeHeld)
	return e
}

func serveNames(t testing.TB, m *Manager, b box, upstream ...string) io.Closer {
	t.Helper()
	var servers []netip.Addr
	for _, u := range upstream {
		servers = append(servers, netip.MustParseAddr(u))
	}
	c, err := m.ServeDNS(context.Background(), b.Sandbox, b.id, servers...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// question asks 127.0.0.11 from inside.
func question(t testing.TB, b box, network, name string, kind dnsmessage.Type) (dnsmessage.Message, error) {
	t.Helper()
	q := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 77, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	packed, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var c net.Conn
	if err := b.Do(func() (err error) { c, err = net.Dial(network, "127.0.0.11:53"); return err }); err != nil {
		return q, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	var data []byte
	if network == "tcp" {
		if err := writeFramed(c, packed); err != nil {
			return q, err
		}
		data, err = readFramed(c)
	} else {
		if _, err := c.Write(packed); err != nil {
			return q, err
		}
		data = make([]byte, 4096)
		var n int
		n, err = c.Read(data)
		data = data[:n]
	}
	if err != nil {
		return q, err
	}
	var answer dnsmessage.Message
	err = answer.Unpack(data)
	if err == nil && (answer.ID != 77 || !answer.Response || len(answer.Questions) != 1) {
		err = fmt.Errorf("not an answer: %+v", answer)
	}
	return answer, err
}

// found is the answer's addresses and names in one line: "172.20.0.2", "NXDOMAIN", "".
func found(t testing.TB, b box, network, name string, kind dnsmessage.Type) string {
	t.Helper()
	m, err := question(t, b, network, name, kind)
	if err != nil {
		return err.Error()
	}
	if m.RCode != dnsmessage.RCodeSuccess {
		return strings.TrimPrefix(m.RCode.String(), "RCode")
	}
	var all []string
	for _, a := range m.Answers {
		switch r := a.Body.(type) {
		case *dnsmessage.AResource:
			all = append(all, netip.AddrFrom4(r.A).String())
		case *dnsmessage.AAAAResource:
			all = append(all, netip.AddrFrom16(r.AAAA).String())
		case *dnsmessage.PTRResource:
			all = append(all, r.PTR.String())
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// upstreamServer answers every A question with one address, by UDP and TCP. It counts them.
func upstreamServer(t testing.TB, where doer, address, answer string, code dnsmessage.RCode) *atomic.Int64 {
	t.Helper()
	var asked, lost atomic.Int64
	reply := func(query []byte, tcp bool) []byte {
		asked.Add(1)
		var m dnsmessage.Message
		if m.Unpack(query) != nil {
			return nil
		}
		m.Response, m.RCode, m.Additionals = true, code, nil
		name := m.Questions[0].Name
		if strings.HasPrefix(name.String(), "large.") && !tcp {
			m.Truncated = true
		} else if code == dnsmessage.RCodeSuccess {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(answer).As4()},
			}}
		}
		if strings.HasPrefix(name.String(), "silent.") || strings.HasPrefix(name.String(), "lost.") && lost.Add(1) == 1 {
			return nil
		}
		data, _ := m.Pack()
		return data
	}
	var u net.PacketConn
	var l net.Listener
	if err := where.Do(func() (err error) {
		if u, err = net.ListenPacket("udp4", address); err != nil {
			return err
		}
		l, err = net.Listen("tcp4", address)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close(); l.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			if r := reply(buf[:n], false); r != nil {
				u.WriteTo(r, from)
			}
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if q, err := readFramed(c); err == nil {
				writeFramed(c, reply(q, true))
			}
			c.Close()
		}
	}()
	return &asked
}

func TestNames(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	create(t, m, CreateOptions{Name: "br1", Subnet: "172.21.0.0/16"})
	create(t, m, CreateOptions{Name: "shut", Subnet: "172.22.0.0/16", Internal: true})
	asked := upstreamServer(t, lan(), "10.99.0.2:53", "198.51.100.7", dnsmessage.RCodeSuccess)
	upstreamServer(t, lan(), "203.0.113.9:53", "198.51.100.9", dnsmessage.RCodeServerFailure)
	upstreamServer(t, hostDoer{}, "127.0.0.53:53", "198.51.100.53", dnsmessage.RCodeSuccess)

	web, db, other, alone := start(t, m, "web", "br0"), start(t, m, "db", "br0"), start(t, m, "other", "br1"), start(t, m, "alone", "shut")
	join(t, m, db, "br1", "database", "Store")
	join(t, m, other, "shut", "database")
	serveNames(t, m, web, "203.0.113.9", "10.99.0.2")
	serveNames(t, m, db, "127.0.0.53")
	serveNames(t, m, other)
	serveNames(t, m, alone, "10.99.0.2")

	const a, aaaa, ptr = dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypePTR
	for _, c := range []struct {
		from box
		name string
		kind dnsmessage.Type
		want string
	}{
		{web, "db.", a, "172.20.0.3"},
		{web, "DB.", a, "172.20.0.3"},
		{web, "web.", a, "172.20.0.2"},
		{web, "db.br0.", a, "172.20.0.3"},
		{web, short(db.id) + ".", a, "172.20.0.3"},
		{web, "db.", aaaa, ""},
		{web, "db.", dnsmessage.TypeMX, ""},
		{web, "database.", a, "198.51.100.7"}, // an alias counts on its network only: this one goes out
		{web, "other.", a, "198.51.100.7"},
		{other, "database.", a, "172.21.0.3 172.22.0.3"},
		{other, "store.", a, "172.21.0.3"},
		{db, "other.", a, "172.21.0.2"},
		{db, "web.", a, "172.20.0.2"},
		{web, "3.0.20.172.in-addr.arpa.", ptr, "db.br0."},
		{db, "2.0.21.172.in-addr.arpa.", ptr, "other.br1."},
		{web, "example.com.", a, "198.51.100.7"}, // the first server fails, the second answers
		{db, "example.com.", a, "198.51.100.53"}, // the host's own resolver on its loopback
		{other, "example.com.", a, "ServerFailure"},
		{alone, "example.com.", a, "ServerFailure"},
		{alone, "other.", a, "172.22.0.3"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := found(t, c.from, network, c.name, c.kind); got != c.want {
				t.Errorf("%s asks by %s for %s %s: %q, want %q", c.from.ContainerName, network, c.name, c.kind, got, c.want)
			}
		}
	}
	t.Run("cut short", func(t *testing.T) {
		if m, err := question(t, web, "udp", "large.example.com.", a); err != nil || !m.Truncated {
			t.Errorf("%+v, %v", m.Header, err)
		}
		if got := found(t, web, "tcp", "large.example.com.", a); got != "198.51.100.7" {
			t.Errorf("%q", got)
		}
	})
	t.Run("nobody answers", func(t *testing.T) {
		if got := found(t, web, "udp", "silent.example.com.", a); got != "ServerFailure" {
			t.Errorf("%q", got)
		}
	})
	t.Run("a datagram is lost", func(t *testing.T) {
		if got := found(t, web, "udp", "lost.example.com.", a); got != "198.51.100.7" {
			t.Errorf("%q", got)
		}
	})
	t.Run("a second opinion", func(t *testing.T) {
		out := run(t, "ip", "netns", "exec", "web", "busybox", "nslookup", "db", "127.0.0.11")
		if !strings.Contains(out, "172.20.0.3") {
			t.Error(out)
		}
	})
	t.Run("internal networks forward nothing", func(t *testing.T) {
		before := asked.Load()
		found(t, alone, "udp", "secret.example.com.", a)
		if asked.Load() != before {
			t.Error("the question left an internal network")
		}
	})
	t.Run("port 53 is free for the container", func(t *testing.T) {
		serve(t, web, "tcp4", "0.0.0.0:53", "own")
		serve(t, web, "udp4", "0.0.0.0:53", "own")
		answers(t, db, "tcp4", "172.20.0.2:53", "own")
		answers(t, db, "udp4", "172.20.0.2:53", "own")
		if got := found(t, web, "udp", "db.", a); got != "172.20.0.3" {
			t.Errorf("%q", got)
		}
	})
	t.Run("follows at once", func(t *testing.T) {
		for range 20 {
			late := start(t, m, "late", "br0")
			if got := found(t, web, "udp", "late.", a); got != late.Address.Addr().String() {
				t.Fatalf("%q after it came, want %s", got, late.Address)
			}
			if err := m.ReleaseClaims(late.id); err != nil {
				t.Fatal(err)
			}
			if got := found(t, web, "udp", "late.", a); got != "198.51.100.7" {
				t.Fatalf("%q after it went", got)
			}
		}
	})
	t.Run("under load", func(t *testing.T) { namesUnderLoad(t, web) })
}

// The default network has no names.
func TestNoNamesOnDefaultNetwork(t *testing.T) {
	m := newManager(t)
	a := start(t, m, "a", "bridge")
	start(t, m, "b", "bridge")
	serveNames(t, m, a)
	if got := found(t, a, "udp", "b.", dnsmessage.TypeA); got != "ServerFailure" {
		t.Errorf("%q", got)
	}
}

func TestParseReverse(t *testing.T) {
	for _, want := range []string{"172.20.0.3", "fd00::1", "2001:db8:1:2:3:4:5:6", "::1"} {
		a := netip.MustParseAddr(want)
		var name string
		if a.Is4() {
			b := a.As4()
			name = fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0])
		} else {
			for i := 15; i >= 0; i-- {
				b := a.As16()[i]
				name += fmt.Sprintf("%x.%x.", b&15, b>>4)
			}
			name += "ip6.arpa"
		}
		if got, ok := parseReverse(name); !ok || got != a {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// FuzzResolver: no message makes it fall, and what it says can be read.
func FuzzResolver(f *testing.F) {
	good, _ := (&dnsmessage.Message{Header: dnsmessage.Header{ID: 1}, Questions: []dnsmessage.Question{{
		Name: dnsmessage.MustNewName("db."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}).Pack()
	f.Add(good)
	f.Add([]byte("0123456789ab"))
	f.Add([]byte{0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1})
	dir := f.TempDir()
	m := Open(Options{})
	m.root.Run = dir
	r := &resolver{names: newNameBook(m, "c")}
	r.names.names = map[string][]netip.Addr{}
	f.Fuzz(func(t *testing.T, query []byte) {
		answer, outside := r.answer(query, maxUDPAnswer)
		if answer == nil || outside {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(answer); err != nil {
			t.Errorf("%x is answered with %x: %v", query, answer, err)
		}
		answersTo(query, answer)
	})
}
