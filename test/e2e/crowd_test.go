package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// A hundred commands at once: each run gets an address, a name and a port, each rm takes them back, and nothing is left.
func TestHundredAtOnce(t *testing.T) {
	cleanHost(t)
	const crowd = 100
	makeNetwork(t, "crowd", "--subnet", "10.91.0.0/24")
	each := func(what string, args func(i int) []string) {
		t.Helper()
		var all sync.WaitGroup
		failed := make(chan string, crowd)
		for i := range crowd {
			all.Add(1)
			go func() {
				defer all.Done()
				if r := my(t, args(i)...); r.code != 0 {
					failed <- fmt.Sprintf("%s %d: exit status %d: %s", what, i, r.code, r.err)
				}
			}()
		}
		all.Wait()
		close(failed)
		for f := range failed {
			t.Error(f)
		}
	}
	name := func(i int) string { return fmt.Sprintf("crowd-%d", i) }
	each("run", func(i int) []string {
		return []string{"run", "-d", "--name", name(i), "-net", "crowd", "-p", fmt.Sprintf("%d:80", 21000+i), "busybox", "sleep", "1000"}
	})
	addresses := strings.Fields(must(t, "network", "inspect", "-f", "{{range .Containers}}{{.IPv4Address}} {{end}}", "crowd"))
	seen := map[string]bool{}
	for _, a := range addresses {
		seen[a] = true
	}
	if len(addresses) != crowd || len(seen) != crowd {
		t.Errorf("%d containers have %d addresses; want %d", len(addresses), len(seen), crowd)
	}
	equal(t, "running", len(strings.Fields(must(t, "ps", "-q", "--filter", "network=crowd"))), crowd)
	match(t, "a name", must(t, "exec", name(0), "nslookup", name(99)), `10\.91\.0\.\d+`)
	each("rm", func(i int) []string { return []string{"rm", "-f", name(i)} })
	equal(t, "after rm", must(t, "ps", "-aq"), "")
}
