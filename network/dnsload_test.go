package network

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// What a second brings at 10,000 questions a second, all at once: twenty clients send 500 each before any of them reads an answer.
// Each question has its answer, and none is lost: what the resolver has not got round to waits in its socket.
func namesUnderLoad(t *testing.T, b box) {
	const clients, each = 20, 500
	query, err := (&dnsmessage.Message{Header: dnsmessage.Header{RecursionDesired: true}, Questions: []dnsmessage.Question{{
		Name: dnsmessage.MustNewName("db."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	roomy := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error { // for 500 answers that nobody reads yet
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20) }), err)
	}}
	conns := make([]net.Conn, clients)
	for i := range conns {
		if err := b.Do(func() (err error) { conns[i], err = roomy.Dial("udp", "127.0.0.11:53"); return err }); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
	}
	begin := time.Now()
	var sent, done sync.WaitGroup
	var answered atomic.Int64
	sent.Add(clients)
	for _, c := range conns {
		done.Go(func() {
			c.SetDeadline(time.Now().Add(time.Minute))
			for id := range each {
				if _, err := c.Write(append([]byte{byte(id >> 8), byte(id)}, query[2:]...)); err != nil {
					t.Error(err)
				}
			}
			sent.Done()
			sent.Wait()
			answered.Add(differentAnswers(t, c, each))
		})
	}
	done.Wait()
	t.Logf("%d answers, %.0f a second", answered.Load(), float64(answered.Load())/time.Since(begin).Seconds())
	if answered.Load() != clients*each {
		t.Errorf("%d of %d were answered", answered.Load(), clients*each)
	}
}

// differentAnswers reads answers until there are so many with different numbers, or none comes any more.
func differentAnswers(t *testing.T, c net.Conn, want int) int64 {
	seen, buf := map[uint16]bool{}, make([]byte, 512)
	for len(seen) < want {
		n, err := c.Read(buf)
		if err != nil {
			t.Error(err)
			break
		}
		var m dnsmessage.Message
		if err := m.Unpack(buf[:n]); err != nil || m.RCode != dnsmessage.RCodeSuccess || len(m.Answers) != 1 {
			t.Errorf("%v, %v", m, err)
			break
		}
		seen[m.ID] = true
	}
	return int64(len(seen))
}
