package network

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A monitor that makes itself smaller loses no question: it does not, while one of them waits for another server's answer or a client
// may ask by TCP; and what is asked during the change has its answer from the next one.
func TestNamesHandedOver(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	web := start(t, m, "web", "br0")
	asked, release := heldServer(t, lan(), "10.99.0.2:53")
	names := serveNames(t, m, web, "10.99.0.2")
	answer := make(chan string)
	ask := func(name string) { answer <- found(t, web, "udp", name, dnsmessage.TypeA) }

	go ask("example.com.")
	<-asked
	if _, _, err := HandOverDNS(names); !errors.Is(err, ErrDNSBusy) {
		t.Errorf("with a question on its way: %v", err)
	}
	close(release)
	if got := <-answer; got != "198.51.100.7" {
		t.Errorf("the answer that was waited for: %q", got)
	}

	var c net.Conn
	if err := web.Do(func() (err error) { c, err = net.Dial("tcp", "127.0.0.11:53"); return err }); err != nil {
		t.Fatal(err)
	}
	if got := found(t, web, "tcp", "web.", dnsmessage.TypeA); got != "172.20.0.2" { // so c, which came before, has been taken, too
		t.Errorf("%q", got)
	}
	if _, _, err := HandOverDNS(names); !errors.Is(err, ErrDNSBusy) {
		t.Errorf("with a client: %v", err)
	}
	c.Close()

	var udp, tcp *os.File
	err := ErrDNSBusy
	for begin := time.Now(); errors.Is(err, ErrDNSBusy) && time.Since(begin) < time.Minute; time.Sleep(time.Millisecond) {
		udp, tcp, err = HandOverDNS(names) // who has its answer is taken off the books a moment later
	}
	if err != nil {
		t.Fatal(err)
	}
	go ask("web.")
	next, err := m.ResumeDNS(web.Sandbox, web.id, udp, tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if got := <-answer; got != "172.20.0.2" {
		t.Errorf("asked during the change: %q", got)
	}
}

// heldServer says that it has a question, and answers it, and those that repeat it, when it is released.
func heldServer(t *testing.T, where doer, address string) (asked, release chan struct{}) {
	t.Helper()
	var c net.PacketConn
	if err := where.Do(func() (err error) { c, err = net.ListenPacket("udp4", address); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	asked, release = make(chan struct{}), make(chan struct{})
	go func() {
		buf := make([]byte, 512)
		for first := true; ; first = false {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if first {
				close(asked)
				<-release
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil {
				return
			}
			m.Response, m.Answers = true, []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{198, 51, 100, 7}},
			}}
			if data, err := m.Pack(); err == nil {
				c.WriteTo(data, from)
			}
		}
	}()
	return asked, release
}
