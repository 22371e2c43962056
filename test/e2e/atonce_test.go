package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// Everything that several processes do at once: names, addresses, ports and records stay consistent.
func TestConcurrency(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "br0", "--subnet", "10.88.0.0/27")
	const n = 16
	type answer struct {
		i int
		r result
	}
	answers := make(chan answer, n)
	for i := range n {
		go func() {
			answers <- answer{i, my(t, "run", "-d", "--name", fmt.Sprintf("many-%d", i), "-net", "br0", "-p", fmt.Sprintf("%d:80", 8100+i), "busybox", "sleep", "3600")}
		}()
	}
	for range n {
		if a := <-answers; a.r.code != 0 {
			t.Errorf("run %d: status %d %s", a.i, a.r.code, a.r.err)
		}
	}
	seen := map[string]string{}
	for i := range n {
		name := fmt.Sprintf("many-%d", i)
		t.Cleanup(func() { my(t, "rm", "-f", name) })
		ip := links(t, name)["eth0"].ipv4()
		if other, ok := seen[ip]; ok || ip == "" {
			t.Errorf("%s and %s both have address %q", name, other, ip)
		}
		seen[ip] = name
	}
	// One name, one port: exactly one of many gets it.
	for _, flags := range [][]string{{"--name", "only-one"}, {"-p", "8200:80"}} {
		won := make(chan int, n)
		for range n {
			go func() {
				won <- my(t, append(append([]string{"run", "-d", "--label", "contest"}, flags...), "busybox", "sleep", "3600")...).code
			}()
		}
		codes := map[int]int{}
		for range n {
			codes[<-won]++
		}
		equal(t, fmt.Sprint("winners of ", flags, " of ", codes), codes[0], 1)
		equal(t, fmt.Sprint("losers of ", flags), codes[125], n-1)
		// Docker keeps what could not be started as "created"; we may, too.
		if ids := must(t, "ps", "-aq", "--filter", "label=contest"); ids != "" {
			must(t, append([]string{"rm", "-f"}, strings.Fields(ids)...)...)
		}
	}
	// All away at once.
	gone := make(chan result, n)
	for i := range n {
		go func() { gone <- my(t, "rm", "-f", fmt.Sprintf("many-%d", i)) }()
	}
	for range n {
		if r := <-gone; r.code != 0 {
			t.Errorf("rm -f: %d %s", r.code, r.err)
		}
	}
}
