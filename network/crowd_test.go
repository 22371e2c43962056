package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Five hundred containers on one bridge, made by eight at a time: each has an address of its own, the first and the last talk to
// each other, every name is answered, a port of each is published, and all of it goes.
func TestFiveHundred(t *testing.T) {
	const crowd, workers = 500, 8
	m := newManager(t, func(o *Options) { o.Firewall = FirewallNFTables })
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	boxes := make([]box, crowd)
	inParallel(t, workers, crowd, func(i int) (err error) {
		boxes[i], err = tryStart(m, fmt.Sprintf("c%d", i), "br0", fmt.Sprintf("%d:80", 20000+i))
		return err
	})
	if t.Failed() {
		return
	}
	owners := map[netip.Prefix]string{}
	for _, b := range boxes {
		if other := owners[b.Address]; other != "" {
			t.Errorf("%s and %s have %s", other, b.ContainerName, b.Address)
		}
		owners[b.Address] = b.ContainerName
		t.Cleanup(b.closeHeld)
	}
	if n := strings.Count(run(t, "bridge", "link", "show", "master", "br0"), "\n"); n != crowd {
		t.Errorf("%d ports of the bridge", n)
	}
	first, last := boxes[0], boxes[crowd-1]
	serve(t, last, "tcp", ":80", "last")
	answers(t, first, "tcp", last.Address.Addr().String()+":80", "last to "+first.Address.Addr().String())
	answers(t, lan(), "tcp", fmt.Sprintf("10.99.0.1:%d", 20000+crowd-1), "last to 10.99.0.2")
	serveNames(t, m, first)
	for _, b := range boxes {
		if got := found(t, first, "udp", b.ContainerName+".", dnsmessage.TypeA); got != b.Address.Addr().String() {
			t.Errorf("%s: %q; want %s", b.ContainerName, got, b.Address)
		}
	}
	inParallel(t, workers, crowd, func(i int) error { return m.Release(context.Background(), boxes[i].id) })
	if eps, err := m.Endpoints(first.NetworkID); len(eps) > 0 || err != nil {
		t.Errorf("%d endpoints are left, %v", len(eps), err)
	}
}

// inParallel does n pieces of work.
func inParallel(t *testing.T, workers, n int, work func(i int) error) {
	t.Helper()
	next := make(chan int)
	errs := make([]error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := range next {
				errs[w] = errors.Join(errs[w], work(i))
			}
		}()
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}
