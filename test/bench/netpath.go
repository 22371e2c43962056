package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// The works about the network: how fast data goes, how long changes take, what many published ports cost.
func networkWorks() []work {
	return []work{
		{"data path", measurePaths},
		{"network connect and disconnect", measureConnect},
		{"names of containers", measureNames},
		{"one more published port beside a thousand (nftables)", measureThousandthPort},
		{"new connections beside 5000 published ports (nftables)", measureManyPorts},
	}
}

// site is a contestant, or one of mydocker's ways, with a server and a client in containers.
type site struct {
	name     string
	c        *contestant // nil: there is no container, and process is the server
	process  *exec.Cmd
	large    bool // lo takes large packets while it is measured
	port     int
	address  string   // the server's
	inside   []string // the client in a container
	serverID string
	clientID string
}

const probeTime = 400 * time.Millisecond

// openSite starts the containers. flags stand before the image.
func openSite(c *contestant, name string, port int, global, flags []string) (*site, error) {
	s := &site{name: name, c: c, port: port, serverID: fmt.Sprintf("bench-server-%d", port), clientID: fmt.Sprintf("bench-client-%d", port)}
	for _, id := range []string{s.serverID, s.clientID} {
		argv := c.start(id, port)
		at := slices.Index(argv, "run")
		argv = slices.Concat(argv[:at], global, argv[at:at+1], flags, argv[at+1:len(argv)-2])
		if id == s.serverID {
			argv = append(argv, "/bin/bench", "net-server")
		} else {
			argv = slices.DeleteFunc(argv, func(a string) bool { return a == "-p" || strings.HasSuffix(a, ":80") })
			argv = append(argv, "sleep", "1000000")
		}
		if _, err := spawn(argv); err != nil {
			return s, err
		}
	}
	exec := c.exec(s.clientID)
	s.inside = append(exec[:len(exec)-1], "/bin/bench")
	program := exec[:slices.Index(exec, "exec")]
	var err error
	s.address, err = output(slices.Concat(program, []string{"inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", s.serverID})...)
	return s, err
}

func (s *site) close() error {
	if s.plain() {
		err := s.process.Process.Kill()
		s.process.Wait()
		return err
	}
	argv := s.c.remove(s.serverID, s.clientID)
	_, err := output(argv...)
	if s.large && err == nil {
		_, err = output(argv[0], "network", "rm", largeNetwork)
	}
	return err
}

// sites are all contestants with networks, and mydocker once more for each other way of its own; and the loopback alone.
func sites(all []*contestant) (list []*site, stop func() error, err error) {
	stop = func() error {
		for _, s := range list {
			if err := s.close(); err != nil {
				return err
			}
		}
		return nil
	}
	port := 8100
	add := func(c *contestant, name string, global, flags []string) error {
		port++
		s, err := openSite(c, name, port, global, flags)
		list = append(list, s)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	for _, c := range networked(all) {
		if err := add(c, c.name, nil, nil); err != nil {
			return list, stop, err
		}
		if c.name != "mydocker" {
			continue
		}
		if err := add(c, "mydocker, proxy", nil, []string{"--userland-proxy"}); err != nil {
			return list, stop, err
		}
		large, err := withLargePackets(c)
		if err != nil {
			return list, stop, err
		}
		if err := add(large, "mydocker with large packets", nil, nil); err != nil {
			return list, stop, err
		}
		list[len(list)-1].large = true
	}
	plain, err := plainLoopback()
	if plain != nil {
		list = append(list, plain)
	}
	return list, stop, err
}

// measurePaths sends data along three ways by each contestant in turn. What is shown is a time, less is better: for 100 MB, for
// 1000 requests on four standing connections, for 1000 connections with a request each. The baseline is the best of the
// peers.
func measurePaths(o options, all []*contestant) (*row, error) {
	list, stop, err := sites(all)
	defer func() {
		if e := stop(); e != nil && err == nil {
			fmt.Println("  remove the containers:", e)
		}
	}()
	if err != nil {
		return nil, err
	}
	me, err := self()
	if err != nil {
		return nil, err
	}
	time.Sleep(2 * time.Second) // what starts has come to rest
	r := newRow("data path: time for 100 MB, 1000 requests, 1000 connections")
	for _, path := range []struct {
		name  string
		probe func(s *site, kind string) (float64, error)
	}{
		{"container to container", func(s *site, kind string) (float64, error) {
			return probeFrom(s.inside, s.address+":80", kind, probeTime)
		}},
		{"from outside", func(s *site, kind string) (float64, error) {
			return probeFrom([]string{"ip", "netns", "exec", "neighbour", me}, fmt.Sprintf("10.99.0.1:%d", s.port), kind, probeTime)
		}},
		{"by 127.0.0.1", func(s *site, kind string) (float64, error) {
			return probe(fmt.Sprintf("127.0.0.1:%d", s.port), kind, probeTime)
		}},
	} {
		for _, k := range []struct {
			kind, name string
			unit       float64
		}{{kindStream, "100 MB", 100e6}, {kindKeep, "1000 requests", 1000}, {kindConnect, "1000 connections", 1000}, {kindCost, "CPU time of 1000 datagrams", 1000}} {
			if k.kind == kindCost && path.name != "container to container" {
				continue // only TCP is published
			}
			label := func(s *site) string { return path.name + ", " + k.name + ": " + s.name }
			for i := range max(o.rounds/4, 3) + 1 {
				for j := range list {
					s := list[(i+j)%len(list)] // nobody is always the first, or always behind the same one
					if s.plain() && path.name != "by 127.0.0.1" {
						continue
					}
					rate, err := s.probed(func() (float64, error) { return path.probe(s, k.kind) })
					if err != nil {
						return nil, fmt.Errorf("%s: %w", label(s), err)
					}
					if i > 0 {
						r.add(label(s), time.Duration(k.unit/rate*float64(time.Second)))
					}
				}
			}
			r.notes = append(r.notes, pathNote(r, path.name+", "+k.name, list, label))
		}
	}
	return r, nil
}

// pathNote compares mydocker with the best of the others and with Docker: by the median, and by the fastest, which says more on a
// machine that has other work.
func pathNote(r *row, what string, list []*site, label func(*site) string) string {
	note := what + ":"
	var peers []float64
	for _, s := range list {
		if s.peer() {
			r.against = label(s)
			peers = append(peers, r.pairs(what+": mydocker", 1))
		}
	}
	r.against = ""
	if len(peers) > 0 {
		note += fmt.Sprintf(" by the median of all rounds' ratios, mydocker takes %.2f times as long as the best of the others;", slices.Max(peers))
	}
	for _, by := range []struct {
		name string
		q    float64
	}{{"median", 0.5}, {"fastest", 0}} {
		of := func(s *site) float64 { return float64(r.results[label(s)].quantile(by.q)) }
		var mine, best, docker float64
		for _, s := range list {
			switch {
			case s.name == "mydocker":
				mine = of(s)
			case s.peer() && (best == 0 || of(s) < best):
				best = of(s)
			}
			if s.name == "docker" {
				docker = of(s)
			}
		}
		if best > 0 && mine > 0 {
			note += fmt.Sprintf(" by the %s, mydocker takes %.2f times as long as the best of the others", by.name, mine/best)
		}
		if docker > 0 && mine > 0 {
			note += fmt.Sprintf(", and Docker %.2f times as long as mydocker;", docker/mine)
		}
	}
	return strings.TrimSuffix(note, ";")
}

// measureConnect is the time of `network connect` and `disconnect` on a running container.
func measureConnect(o options, all []*contestant) (r *row, err error) {
	r = newRow("network connect, disconnect")
	for i, c := range networked(all) {
		argv := c.start("bench-connect", 8100+i)
		program := argv[:slices.Index(argv, "run")]
		if _, err := spawn(argv); err != nil {
			return nil, err
		}
		defer func() {
			_, e := output(c.remove("bench-connect")...)
			if _, e2 := output(slices.Concat(program, []string{"network", "rm", "br1"})...); e == nil {
				e = e2
			}
			if err == nil {
				err = e
			}
		}()
		if _, err := output(slices.Concat(program, []string{"network", "create", "br1"})...); err != nil {
			return nil, err
		}
	}
	time.Sleep(2 * time.Second)
	for i := range o.rounds + 1 {
		for _, c := range networked(all) {
			argv := c.start("bench-connect", 1)
			program := argv[:slices.Index(argv, "run")]
			for _, verb := range []string{"connect", "disconnect"} {
				took, err := spawn(slices.Concat(program, []string{"network", verb, "br1", "bench-connect"}))
				if err != nil {
					return nil, err
				}
				if i > 0 {
					r.add(c.name+", "+verb, took)
				}
				time.Sleep(o.pause)
			}
		}
	}
	return r, nil
}

// withNFTables is mydocker on a network whose rules are made by nftables.
func withNFTables(all []*contestant) (c contestant, program []string, err error) {
	argv := all[0].start("x", 1)
	program = []string{argv[0], "--firewall", "nftables"}
	_, err = output(slices.Concat(program, []string{"network", "create", "nft0"})...)
	c = *all[0]
	return c, program, err
}

// publishing starts a container that publishes a run of ports, and waits until it is at rest.
func publishing(program []string, name, ports string) error {
	argv := slices.Concat(program, []string{"run", "-d", "--name", name, "--net", "nft0", "-p", ports, "bench", "sleep", "1000000"})
	if _, err := spawn(argv); err != nil {
		return err
	}
	time.Sleep(2500 * time.Millisecond)
	return nil
}

// measureThousandthPort compares a run with a published port, when 999 are published already and when none is.
func measureThousandthPort(o options, all []*contestant) (r *row, err error) {
	c, program, err := withNFTables(all)
	if err != nil {
		return nil, err
	}
	defer func() {
		if _, e := output(slices.Concat(program, []string{"network", "rm", "nft0"})...); err == nil {
			err = e
		}
	}()
	r = newRow("run --rm -p 8080:80 IMAGE true beside 999 published ports, and alone (nftables)")
	const turns = 5
	per := max(o.rounds/5, 4)
	sample := func(label string) error {
		for i := range per + 1 {
			took, err := spawn(slices.Concat(program, []string{"run", "--rm", "--net", "nft0", "-p", "8080:80", "bench", "true"}))
			if err != nil {
				return err
			}
			if i > 0 {
				r.add(label, took)
			}
			time.Sleep(o.pause)
		}
		return nil
	}
	const alone, beside = "alone", "beside 999 ports"
	for range turns { // in turn
		if err := sample(alone); err != nil {
			return nil, err
		}
		if err := publishing(program, "bench-ports", "20000-20998:20000-20998"); err != nil {
			return nil, err
		}
		if err := sample(beside); err != nil {
			return nil, err
		}
		if _, err := output(c.remove("bench-ports")...); err != nil {
			return nil, err
		}
	}
	r.against = alone
	r.notes = append(r.notes, fmt.Sprintf("the 1000th port takes %.2f times as long as the first: the median of %d turns, by the fastest of each", r.pairs(beside, per), turns))
	return r, nil
}

// measureManyPorts compares connections to one port, when it is the only one and when there are 5000.
func measureManyPorts(o options, all []*contestant) (r *row, err error) {
	c, program, err := withNFTables(all)
	if err != nil {
		return nil, err
	}
	defer func() {
		if _, e := output(slices.Concat(program, []string{"network", "rm", "nft0"})...); err == nil {
			err = e
		}
	}()
	me, err := self()
	if err != nil {
		return nil, err
	}
	server := slices.Concat(program, []string{"run", "-d", "--name", "bench-server", "--net", "nft0", "-p", "8080:80", "bench", "/bin/bench", "net-server"})
	if _, err := spawn(server); err != nil {
		return nil, err
	}
	defer func() {
		if _, e := output(c.remove("bench-server")...); err == nil {
			err = e
		}
	}()
	r = newRow("1000 new connections from outside, with 5000 published ports and with one (nftables)")
	const one, many = "1 port", "5000 ports"
	const per = 6
	turns := max(o.rounds/5, 5)
	for range turns { // in turn
		for _, label := range []string{one, many} {
			if label == many {
				if err := publishing(program, "bench-ports", "20000-24998:20000-24998"); err != nil {
					return nil, err
				}
			}
			for range per {
				rate, err := probeFrom([]string{"ip", "netns", "exec", "neighbour", me}, "10.99.0.1:8080", kindConnect, probeTime)
				if err != nil {
					return nil, err
				}
				r.add(label, time.Duration(1000/rate*float64(time.Second)))
			}
			if label == many {
				if _, err := output(c.remove("bench-ports")...); err != nil {
					return nil, err
				}
				time.Sleep(time.Second)
			}
		}
	}
	r.against = one
	r.notes = append(r.notes, fmt.Sprintf("with 5000 ports a connection takes %.3f times as long as with one: the median of %d turns, by the fastest of each", r.pairs(many, per), turns))
	return r, nil
}
