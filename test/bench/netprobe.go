package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// The benchmark's own server and client: this program, started in the containers (`bench net-server`) and wherever the packets
// are to come from (`bench net-client ADDRESS KIND MILLISECONDS`). They do as little as possible, so that what is measured is
// the way between them. The first byte of a connection says what it is for.
const (
	kindStream  = "stream"  // the server takes all that comes
	kindKeep    = "keep"    // a request of 100 bytes, an answer of 100 bytes, over and over on one connection
	kindConnect = "connect" // the same, each on a connection of its own
	messageSize = 100       // bytes
	clients     = 4         // at a time
)

// netProbe is true when this process is a server or a client; it has then ended.
func netProbe(args []string) (bool, error) {
	switch {
	case len(args) == 2 && args[1] == "net-server":
		return true, serveProbe()
	case len(args) == 5 && args[1] == "net-client":
		ms, err := strconv.Atoi(args[4])
		if err != nil {
			return true, err
		}
		rate, err := probe(args[2], args[3], time.Duration(ms)*time.Millisecond)
		if err == nil {
			fmt.Println(strconv.FormatFloat(rate, 'f', 1, 64))
		}
		return true, err
	}
	return false, nil
}

func serveProbe() error {
	l, err := net.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	deaf, err := deafReceiver()
	if err != nil {
		return err
	}
	defer deaf.Close()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			first := make([]byte, 1)
			if _, err := io.ReadFull(c, first); err != nil {
				return
			}
			if first[0] == kindStream[0] {
				sink := make([]byte, 256<<10) // not io.Copy: that would splice
				for {
					if _, err := c.Read(sink); err != nil {
						return
					}
				}
			}
			message := make([]byte, messageSize)
			for {
				if _, err := io.ReadFull(c, message); err != nil {
					return
				}
				if _, err := c.Write(message); err != nil {
					return
				}
			}
		}()
	}
}

// probe is bytes, or requests, per second.
func probe(address, kind string, d time.Duration) (float64, error) {
	if kind == kindCost {
		return datagrams(address, d)
	}
	counts := make([]float64, clients)
	errs := make([]error, clients)
	var all sync.WaitGroup
	begin := time.Now()
	for i := range clients {
		all.Add(1)
		go func() {
			defer all.Done()
			switch kind {
			case kindStream:
				counts[i], errs[i] = stream(address, begin.Add(d))
			case kindKeep:
				counts[i], errs[i] = requests(address, begin.Add(d), true)
			case kindNames:
				counts[i], errs[i] = names(address, begin.Add(d))
			case kindConnect:
				counts[i], errs[i] = requests(address, begin.Add(d), false)
			default:
				errs[i] = fmt.Errorf("unknown kind %q", kind)
			}
		}()
	}
	all.Wait()
	var sum float64
	for _, c := range counts {
		sum += c
	}
	return sum / time.Since(begin).Seconds(), errors.Join(errs...)
}

func stream(address string, until time.Time) (float64, error) {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	buf := make([]byte, 128<<10)
	buf[0] = kindStream[0]
	var sent float64
	for time.Now().Before(until) {
		c.SetWriteDeadline(until.Add(5 * time.Second))
		n, err := c.Write(buf)
		if sent += float64(n); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func requests(address string, until time.Time, keep bool) (n float64, err error) {
	message, answer := make([]byte, 1+messageSize), make([]byte, messageSize)
	message[0] = kindKeep[0]
	var c net.Conn
	var r *bufio.Reader
	for time.Now().Before(until) {
		out := message[1:]
		if c == nil {
			if c, err = net.DialTimeout("tcp", address, 5*time.Second); err != nil {
				return n, err
			}
			r, out = bufio.NewReader(c), message
			c.SetDeadline(until.Add(5 * time.Second))
		}
		if _, err = c.Write(out); err == nil {
			_, err = io.ReadFull(r, answer)
		}
		if n++; err != nil || !keep {
			// A reset at the end: ports in TIME_WAIT would be used up in a second.
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			c = nil
		}
		if err != nil {
			return n, err
		}
	}
	if c != nil {
		c.Close()
	}
	return n, nil
}

// probeFrom runs the client by a command line that begins with prefix, and gives what it printed.
func probeFrom(prefix []string, address, kind string, d time.Duration) (float64, error) {
	out, err := output(append(append([]string(nil), prefix...), "net-client", address, kind, strconv.Itoa(int(d.Milliseconds())))...)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(out, 64)
}

// self is where this program is.
func self() (string, error) { return os.Executable() }
