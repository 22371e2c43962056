package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	largeNetwork = "fast"
	largeBytes   = 196608
	plainName    = "plain loopback, no container"
)

// withLargePackets is mydocker on a network that takes packets of more than 64 KB.
func withLargePackets(c *contestant) (*contestant, error) {
	argv := c.start("x", 1)
	if _, err := output(argv[0], "network", "create", "-o", fmt.Sprintf("mydocker.bridge.gso_max_size=%d", largeBytes), largeNetwork); err != nil {
		return nil, err
	}
	large := *c
	large.start = func(name string, port int) []string {
		argv := c.start(name, port)
		argv[slices.Index(argv, "br0")] = largeNetwork
		return argv
	}
	return &large, nil
}

// largeLoopback is what a user can do for what begins on lo, such as all that goes to 127.0.0.1: `ip link set lo gso_ipv4_max_size N`.
func largeLoopback(bytes int) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetGSOIPv4MaxSize(lo, bytes)
}

// probed runs a probe of a site, with its rules in front and a loopback that suits it.
func (s *site) probed(probe func() (float64, error)) (rate float64, err error) {
	if !s.plain() {
		if err := ownRulesFirst(s.c.name); err != nil {
			return 0, err
		}
		time.Sleep(probeTime / 4) // the kernel has thrown the old rules away
	}
	if !s.large {
		return probe()
	}
	if err := largeLoopback(largeBytes); err != nil {
		return 0, err
	}
	defer func() {
		if e := largeLoopback(65536); err == nil {
			err = e
		}
	}()
	return probe()
}

// plainLoopback is a server without a container: what the kernel itself can do.
func plainLoopback() (*site, error) {
	me, err := self()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(me, "net-server")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &site{name: plainName, port: 80, process: cmd}
	for range 100 {
		if _, err = probe("127.0.0.1:80", kindKeep, time.Millisecond); err == nil {
			return s, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return s, err
}

// plain says that nobody's containers or rules are in the way.
func (s *site) plain() bool { return s.c == nil }

// peer says whether this is somebody whom mydocker is compared with.
func (s *site) peer() bool { return !s.plain() && s.c.name != "mydocker" }
