package doctor

import (
	"slices"
	"strings"
	"testing"

	"github.com/mydocker/mydocker/network"
)

// picture is what mending puts back, in the host and in each namespace: addresses and rules.
func picture(t testing.TB) []string {
	t.Helper()
	return strings.Split(output(t, `ip -o -4 addr; for n in $(ls /run/netns); do ip -n $n -o -4 addr | sed "s/^/$n: /"; done; iptables-save | grep -v '^#' | sed 's/\[.*//'`), "\n")
}

// What the doctor mends of ours is as it was before the fault, and not only without it.
func TestRestored(t *testing.T) {
	names := []string{"address taken away", "no MASQUERADE of ours", "DNAT gone", "DNAT shadowed"}
	for _, in := range injections() {
		if !slices.Contains(names, in.name) {
			continue
		}
		t.Run(in.name, func(t *testing.T) {
			s := newScene(t, network.FirewallIPTables)
			if in.world == nil {
				in.world = ours
			}
			in.world(s)
			before := picture(t)
			in.break_(s)
			for _, f := range s.examine().Findings {
				for _, c := range f.Commands {
					s.mend(c)
				}
			}
			after := picture(t)
			for _, line := range before {
				if !slices.Contains(after, line) {
					t.Errorf("was there before, and is not after: %s", line)
				}
			}
			for _, line := range after {
				if !slices.Contains(before, line) {
					t.Errorf("was not there before: %s", line)
				}
			}
		})
	}
}
