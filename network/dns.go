package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// The resolver answers a container's questions at 127.0.0.11: names of containers on its networks from the endpoint records,
// everything else from the servers that the host uses. It runs in the container's monitor, on sockets that were made in the
// container's namespace: a socket belongs to the namespace in which it was opened, whoever reads it.
//
//	container ── 127.0.0.11:53 ── rewritten (dnsredirect.go) ── 127.0.0.11:PORT ── resolver ──┬─ names.go: the records
//	                                                                                         └─ dnsforward.go: other servers
//
// What it is not: it has no cache of other servers' answers, and does not check DNSSEC.
type resolver struct {
	names    *nameBook
	forward  *forwarder // nil: nothing is forwarded
	udp      net.PacketConn
	tcp      net.Listener
	mu       sync.Mutex
	open     map[net.Conn]bool
	closed   bool
	asking   int            // questions that came by UDP and wait for other servers
	loops    sync.WaitGroup // those who take what comes
	inFlight sync.WaitGroup // TCP clients
}

// Limits of one resolver.
const (
	dnsTTL        = 600 // seconds, as Docker's
	maxUDPAnswer  = 512 // bytes, without EDNS: RFC 1035, 4.2.1
	dnsIdle       = 10 * time.Second
	maxTCPClients = 64
)

// ServeDNS starts the resolver of a container on user-defined networks. upstream are the servers that are asked for what is
// not a container's name; a container that has only internal networks gets no answers from them. Those on a loopback
// address, or of a family in which the container has no way out, are asked from the host's namespace, the others from the container's.
func (m *Manager) ServeDNS(ctx context.Context, sb *Sandbox, containerID string, upstream ...netip.Addr) (io.Closer, error) {
	r := &resolver{names: newNameBook(m, containerID), open: map[net.Conn]bool{}}
	r.forward = newForwarder(sb, r.names, upstream)
	op := listenDNS{Sandbox: sb, resolver: r}
	if err := plan.Do(m.watch, op, func() error { return op.apply(ctx, nil) }); err != nil {
		return nil, errors.Join(fmt.Errorf("start the resolver of %s: %w", sb.Name, err), r.Close())
	}
	r.serve()
	return r, nil
}

func (r *resolver) serve() {
	r.loops.Go(r.serveUDP)
	r.loops.Go(r.serveTCP)
}

// listenDNS opens the sockets and leads port 53 to them.
type listenDNS struct {
	Sandbox  *Sandbox
	resolver *resolver
}

func (o listenDNS) Command() string {
	return "ip netns exec " + o.Sandbox.Name + " nft -f - <<'.'\n" + redirectScript("UDPPORT", "TCPPORT") + "."
}
func (o listenDNS) Why() string {
	return "questions to " + EmbeddedResolver + " go to the monitor's sockets; port 53 stays free for the container"
}

func (o listenDNS) apply(context.Context, *kernel) error {
	return o.Sandbox.Do(func() (err error) {
		r := o.resolver
		large := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				// So that a burst of questions waits here and is not dropped. Without the right to it, the limit stays.
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
			})
		}}
		if r.udp, err = large.ListenPacket(context.Background(), "udp4", EmbeddedResolver+":0"); err != nil {
			return err
		}
		if r.tcp, err = net.Listen("tcp4", EmbeddedResolver+":0"); err != nil {
			return err
		}
		return redirectDNS(portOf(r.udp.LocalAddr()), portOf(r.tcp.Addr()))
	})
}

func portOf(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }

// Close ends the resolver and waits until it has ended.
func (r *resolver) Close() error {
	r.mu.Lock()
	r.closed = true
	var errs []error
	if r.udp != nil {
		errs = append(errs, r.udp.Close())
	}
	if r.tcp != nil {
		errs = append(errs, r.tcp.Close())
	}
	for c := range r.open {
		errs = append(errs, c.Close())
	}
	r.mu.Unlock()
	r.loops.Wait()
	r.inFlight.Wait()
	return errors.Join(errs...)
}

// serveUDP answers what it knows at once and lets other servers' answers come when they come.
func (r *resolver) serveUDP() {
	buf := make([]byte, 4096)
	for {
		n, from, err := r.udp.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil || n < 12 {
			continue
		}
		answer, outside := r.answer(buf[:n], maxUDPAnswer)
		if !outside {
			r.reply(answer, from)
			continue
		}
		question := append([]byte(nil), buf[:n]...)
		if !r.forward.enter() { // too many wait already
			r.reply(refuse(question, dnsmessage.RCodeServerFailure), from)
			continue
		}
		r.wait(1)
		go func() {
			defer r.wait(-1)
			defer r.forward.leave()
			r.reply(r.ask(question, "udp"), from)
		}()
	}
}

// wait counts those who wait for other servers.
func (r *resolver) wait(more int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asking += more
}

// reply sends an answer. A client that is gone does not need it.
func (r *resolver) reply(answer []byte, to net.Addr) {
	if answer != nil {
		r.udp.WriteTo(answer, to)
	}
}

// ask forwards, and says so when nobody has answered.
func (r *resolver) ask(question []byte, network string) []byte {
	if answer := r.forward.ask(question, network); answer != nil {
		return answer
	}
	return refuse(question, dnsmessage.RCodeServerFailure)
}

func (r *resolver) serveTCP() {
	for {
		c, err := r.tcp.Accept()
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors
			continue
		}
		r.mu.Lock()
		full := r.closed || len(r.open) >= maxTCPClients
		if !full {
			r.open[c] = true
			r.inFlight.Add(1)
		}
		r.mu.Unlock()
		if full {
			c.Close()
			continue
		}
		go r.serveConn(c)
	}
}

// serveConn answers questions on one connection, each behind its length in two bytes: RFC 1035, 4.2.2.
func (r *resolver) serveConn(c net.Conn) {
	defer func() {
		c.Close()
		r.mu.Lock()
		delete(r.open, c)
		r.mu.Unlock()
		r.inFlight.Done()
	}()
	for {
		c.SetDeadline(time.Now().Add(dnsIdle))
		question, err := readFramed(c)
		if err != nil || len(question) < 12 {
			return
		}
		answer, outside := r.answer(question, 65535)
		if outside {
			answer = r.ask(question, "tcp")
		}
		if answer == nil || writeFramed(c, answer) != nil {
			return
		}
	}
}

func readFramed(c io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	data := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(c, data)
	return data, err
}

func writeFramed(c io.Writer, data []byte) error {
	_, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(data))), data...))
	return err
}

// answer says what the records know. outside means that they do not know the name, and another server may be asked.
// A message that is no question gets no answer.
func (r *resolver) answer(query []byte, limit int) (answer []byte, outside bool) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil, false
	}
	if h.OpCode != 0 {
		return refuse(query, dnsmessage.RCodeNotImplemented), false
	}
	q, err := p.Question()
	if err != nil {
		return refuse(query, dnsmessage.RCodeFormatError), false
	}
	if q.Class != dnsmessage.ClassINET && q.Class != dnsmessage.ClassANY {
		return r.unknown(query)
	}
	if q.Type == dnsmessage.TypePTR {
		name, known := r.names.reverse(q.Name.String())
		if !known {
			return r.unknown(query)
		}
		return build(h, q, nil, name, limit), false
	}
	addresses, known := r.names.lookup(q.Name.String())
	if !known {
		return r.unknown(query)
	}
	return build(h, q, addresses, "", limit), false
}

// unknown is for another server, if there is one and the container may go out.
func (r *resolver) unknown(query []byte) ([]byte, bool) {
	if v4, v6 := r.names.waysOut(); r.forward == nil || !v4 && !v6 {
		return refuse(query, dnsmessage.RCodeServerFailure), false
	}
	return nil, true
}

// build writes an answer of ours. A name that we know has no other server's records: another type than asked for is an
// empty answer.
func build(h dnsmessage.Header, q dnsmessage.Question, addresses []netip.Addr, ptr string, limit int) []byte {
	h = dnsmessage.Header{ID: h.ID, Response: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true}
	rh := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: dnsTTL}
	for {
		b := dnsmessage.NewBuilder(make([]byte, 0, 512), h)
		b.EnableCompression()
		err := errors.Join(b.StartQuestions(), b.Question(q), b.StartAnswers())
		if name, e := dnsmessage.NewName(ptr); ptr != "" && e == nil {
			err = errors.Join(err, b.PTRResource(rh, dnsmessage.PTRResource{PTR: name}))
		}
		for _, a := range addresses {
			switch {
			case a.Is4() && (q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeALL):
				err = errors.Join(err, b.AResource(rh, dnsmessage.AResource{A: a.As4()}))
			case a.Is6() && (q.Type == dnsmessage.TypeAAAA || q.Type == dnsmessage.TypeALL):
				err = errors.Join(err, b.AAAAResource(rh, dnsmessage.AAAAResource{AAAA: a.As16()}))
			}
		}
		answer, e := b.Finish()
		if err != nil || e != nil {
			return nil
		}
		if len(answer) <= limit || h.Truncated {
			return answer
		}
		// Too long for UDP: what fits is sent, marked as cut short, and the client comes back by TCP.
		h.Truncated = true
		addresses = addresses[:min(len(addresses), 16)]
	}
}

// refuse answers with nothing but a code.
func refuse(query []byte, code dnsmessage.RCode) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, RecursionAvailable: true, RCode: code,
	})
	if q, err := p.Question(); err == nil {
		if b.StartQuestions() != nil || b.Question(q) != nil {
			return nil
		}
	}
	answer, err := b.Finish()
	if err != nil {
		return nil
	}
	return answer
}
