package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// kindNames is how many questions for a container's name the resolver of another container answers in a second.
const kindNames = "names"

// measureNames asks each contestant's resolver, in turn. A lost answer is an error.
func measureNames(o options, all []*contestant) (*row, error) {
	list, stop, err := sites(all)
	defer func() {
		if e := stop(); e != nil && err == nil {
			fmt.Println("  remove the containers:", e)
		}
	}()
	if err != nil {
		return nil, err
	}
	time.Sleep(2 * time.Second) // what starts has come to rest
	r := newRow("1000 names of containers")
	for i := range max(o.rounds/4, 3) + 1 {
		for _, s := range list {
			if s.name != s.c.name {
				continue // another way to publish has the same resolver
			}
			rate, err := probeFrom(s.inside, s.serverID, kindNames, probeTime)
			if err != nil && s.name == "mydocker" {
				return nil, err
			}
			if err != nil {
				r.notes = append(r.notes, s.name+": "+err.Error())
				continue
			}
			if i > 0 {
				r.add(s.name, time.Duration(1000/rate*float64(time.Second)))
			}
		}
	}
	r.against = baseline(all)
	if mine := r.results["mydocker"]; mine != nil {
		r.notes = append(r.notes, fmt.Sprintf("by the median, mydocker answers %.0f names a second, and none is lost", 1000/time.Duration(mine.quantile(0.5)).Seconds()))
	}
	return r, nil
}

// names asks for one name over and over, 25 questions at a time, and counts the answers.
func names(name string, until time.Time) (n float64, err error) {
	server, err := firstServer()
	if err != nil {
		return 0, err
	}
	c, err := net.Dial("udp", net.JoinHostPort(server, "53"))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	full, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return 0, err
	}
	query, err := (&dnsmessage.Message{Header: dnsmessage.Header{RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: full, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}).Pack()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 512)
	for time.Now().Before(until) {
		const window = 25
		for range window {
			if _, err := c.Write(query); err != nil {
				return n, err
			}
		}
		c.SetReadDeadline(time.Now().Add(3 * time.Second))
		for range window {
			k, err := c.Read(buf)
			if err != nil {
				return n, fmt.Errorf("an answer of %s for %s is lost: %w", server, name, err)
			}
			var p dnsmessage.Parser
			if h, err := p.Start(buf[:k]); err != nil || h.RCode != dnsmessage.RCodeSuccess {
				return n, fmt.Errorf("%s does not know %s: %v, %w", server, name, h.RCode, err)
			}
			n++
		}
	}
	return n, nil
}

// firstServer is the resolver that the container has been given.
func firstServer() (string, error) {
	f, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if server, ok := strings.CutPrefix(s.Text(), "nameserver "); ok {
			return strings.TrimSpace(server), nil
		}
	}
	return "", errors.New("/etc/resolv.conf names no server")
}
