package doctor

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/test/host"
)

// touches are what the faults change. Of two that change the same thing the later hides the earlier; behind the first group nothing else of
// that bridge can be judged before they are mended.
func touches() map[string][]string {
	return map[string][]string{
		"the segment": {"bridge deleted", "bridge down", "bridge of ours down", "bridge of ours deleted", "cable pulled out", "cable of ours pulled out", "bridge without address",
			"bridge of ours without address", "bridge-nf", "host's NIC in the bridge", "inner end down"},
		"ns2": {"wrong gateway", "no default route", "no routes within", "wrong netmask", "duplicate address", "strict rp_filter", "MASQUERADE for one of two"},
		"db":  {"address taken away", "no default route of ours", "switched off in a container"},
		"the way out, by which a namespace is known to want a default route": {"no default route", "no routes within", "no MASQUERADE", "MASQUERADE for the wrong link", "MASQUERADE for one of two"},
		"forwarding":  {"ip_forward off by hand", "one link does not forward"},
		"accept_ra":   {"forwarding off", "a router that no longer listens to routers", "a router that has lost its own router"},
		"FORWARD":     {"FORWARD DROP by hand", "foreign DROP by nft", "old and new iptables", "old and new ip6tables", "FORWARD DROP after iptables -F", "FORWARD DROP after ip6tables -F", "iptables -F of ours", "ip6tables -F of ours", "foreign DROP"},
		"POSTROUTING": {"no MASQUERADE", "MASQUERADE for the wrong link", "MASQUERADE for one of two", "SNAT to an address of nobody", "SNAT to the bridge's own address", "no hairpin by hand"},
		"PREROUTING":  {"DNAT shadowed by hand", "DNAT to nobody", "DNAT in OUTPUT", "no hairpin by hand"},
		"web's port":  {"route_localnet off", "raw rules flushed", "DNAT gone", "DNAT shadowed", "hairpin off"},
		"the way back, which the host's default route is": {"the host's default route is lost, by hand", "strict rp_filter"},
		"by which it is known that there should be one":   {"the host's default route is lost, by hand", "no MASQUERADE"},
		"the uplink's rules, which need an uplink":        {"a router that has lost its own router", "no MASQUERADE of ours", "FORWARD DROP after ip6tables -F", "foreign DROP", "ip6tables -F of ours", "DNAT gone", "a VPN's route"},
	}
}

// compatible: neither hides the other.
func compatible(a, b injection) bool {
	name := func(in injection) string { return strings.TrimPrefix(in.name, "6: ") }
	for what, names := range touches() {
		hasA, hasB := slices.Contains(names, name(a)), slices.Contains(names, name(b))
		if hasA && hasB || what == "the segment" && (hasA || hasB) {
			return false
		}
	}
	return true
}

// Two faults at once are both named, and when the commands have been run nothing is wrong any more. Of the pairs every so-manieth is tried.
func TestPairs(t *testing.T) {
	const every = 8
	all, count := append(injections(), injections6()...), 0
	for i, a := range all {
		for _, b := range all[i+1:] {
			if !a.mends || !b.mends || !sameWorld(a, b) || !compatible(a, b) {
				continue
			}
			if count++; count%every == 0 {
				t.Run(a.name+" and "+b.name, func(t *testing.T) { pair(t, a, b) })
			}
		}
	}
	if count < 60*every {
		t.Errorf("only %d pairs to choose from", count)
	}
}

func sameWorld(a, b injection) bool {
	return reflect.ValueOf(a.world).Pointer() == reflect.ValueOf(b.world).Pointer() && strings.HasPrefix(a.name, "6: ") == strings.HasPrefix(b.name, "6: ")
}

func pair(t *testing.T, a, b injection) {
	s := newScene(t, network.FirewallIPTables)
	if a.world == nil {
		a.world = ours
	}
	a.world(s)
	a.break_(s)
	b.break_(s)
	r := s.examine()
	got := keys(r)
	for _, want := range append(slices.Clone(a.want), b.want...) {
		if !slices.Contains(got, want) {
			t.Errorf("named %q, and not %q", got, want)
		}
	}
	for range 2 { // what one fault has hidden is mended in the second round
		for _, f := range r.Findings {
			for _, c := range f.Commands {
				if err := s.try(c); err != nil {
					t.Logf("%s: %v", c, err) // two commands may do the same
				}
			}
		}
		r = s.examine()
	}
	if got := keys(r); len(got) > 0 {
		t.Errorf("after mending there is still %q", got)
	}
}

func (s *scene) try(command string) error {
	if command == sync {
		_, err := s.m.Sync(s.t.Context(), false)
		return err
	}
	return host.Try(command)
}
