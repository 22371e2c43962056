package sandbox

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// The internet of a sandbox is two servers in the keeper, on sockets that were opened in its namespace: a socket belongs to
// the namespace in which it was made, whoever reads it.
//
// The web server tells its client who the client is, as it sees it; that is the question in every lesson about translated
// addresses. The name server knows example.com and nothing else.

// names are the addresses that the name server knows: of IPv4, and of IPv6.
func names() map[string][2]string {
	web := [2]string{webAddress, webAddress6}
	return map[string][2]string{
		"example.com.": web, "www.example.com.": web, "dns.example.com.": {dnsAddress, dnsAddress6}, "ping.example.com.": {pingAddress, pingAddress6},
	}
}

// serveInternet opens the sockets in the namespace where it is called, and serves them from then on.
func serveInternet() error {
	log := &accessLog{path: home + "/internet.log"}
	serve := func(family, anywhere, nameServer string) error {
		web, err := net.Listen("tcp"+family, net.JoinHostPort(anywhere, "80"))
		if err != nil {
			return err
		}
		dns, err := net.ListenPacket("udp"+family, net.JoinHostPort(nameServer, "53"))
		if err != nil {
			return err
		}
		go serveWeb(web, log)
		go serveNames(dns, log)
		return nil
	}
	if err := serve("4", "0.0.0.0", dnsAddress); err != nil || !haveIPv6() {
		return err
	}
	return serve("6", "::", dnsAddress6)
}

func serveWeb(l net.Listener, log *accessLog) {
	for {
		c, err := l.Accept()
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors
			continue
		}
		go page(c, log)
	}
}

// page answers one request of HTTP/1.0 (RFC 1945): that is all that curl and wget want.
func page(c net.Conn, log *accessLog) {
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return
	}
	lines := bufio.NewReaderSize(c, 4096)
	first, err := lines.ReadString('\n')
	if err != nil {
		return
	}
	host := "?"
	for {
		line, err := lines.ReadString('\n')
		if err != nil || strings.TrimSpace(line) == "" {
			break
		}
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "host") {
			host = strings.TrimSpace(value)
		}
	}
	client, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	log.add("web", client, strings.TrimSpace(first))
	text := fmt.Sprintf("This is %s.\nYou are %s.\n", host, client)
	_, _ = fmt.Fprintf(c, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
}

func serveNames(c net.PacketConn, log *accessLog) {
	buf := make([]byte, 4096)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if reply, asked := resolve(buf[:n]); reply != nil {
			client, _, _ := net.SplitHostPort(from.String())
			log.add("dns", client, asked)
			_, _ = c.WriteTo(reply, from) // who is gone does not need it
		}
	}
}

// resolve answers a question (RFC 1035); nil for what is none.
func resolve(query []byte) (reply []byte, asked string) {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil || header.Response {
		return nil, ""
	}
	q, err := p.Question()
	if err != nil {
		return nil, ""
	}
	name := strings.ToLower(q.Name.String())
	addresses, known := names()[name]
	header.Response, header.Authoritative, header.RecursionAvailable = true, true, true
	header.RCode = dnsmessage.RCodeSuccess
	if !known {
		header.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, header)
	if b.StartQuestions() != nil || b.Question(q) != nil || b.StartAnswers() != nil {
		return nil, ""
	}
	answer := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 60}
	switch {
	case known && q.Type == dnsmessage.TypeA:
		err = b.AResource(answer, dnsmessage.AResource{A: netip.MustParseAddr(addresses[0]).As4()})
	case known && q.Type == dnsmessage.TypeAAAA && haveIPv6():
		err = b.AAAAResource(answer, dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(addresses[1]).As16()})
	}
	if err != nil {
		return nil, ""
	}
	reply, err = b.Finish()
	if err != nil {
		return nil, ""
	}
	return reply, name + " " + strings.TrimPrefix(q.Type.String(), "Type")
}

// accessLog is /run/sandbox/internet.log: who asked for what. It starts again when it has become long.
type accessLog struct {
	mu   sync.Mutex
	path string
	size int
}

func (l *accessLog) add(server, client, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mode := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if l.size > 1<<20 {
		mode, l.size = os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0
	}
	f, err := os.OpenFile(l.path, mode, 0o644)
	if err != nil {
		return // a learner may have removed the directory
	}
	defer f.Close()
	n, _ := fmt.Fprintf(f, "%s %s %s %q\n", time.Now().Format("15:04:05"), server, client, what)
	l.size += n
}
