package doctor

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/state"
	"github.com/mydocker/mydocker/world"
)

// exhausted: a network whose addresses have all been given.
func (x *exam) exhausted() error {
	used := map[string]int{}
	for _, e := range x.w.Endpoints {
		used[e.NetworkID]++
	}
	for _, n := range x.w.Networks {
		pool := n.IPRange
		if !pool.IsValid() {
			pool = n.Subnet
		}
		if !pool.IsValid() || pool.Addr().BitLen()-pool.Bits() > 16 || n.Subnet.IsValid() && n.Subnet.Bits() == 31 {
			continue // a /31 is a wire between two (RFC 3021): nobody misses room on it
		}
		if free := usable(n, pool) - used[n.ID]; free <= 0 {
			x.add(Finding{ID: "addresses-exhausted", Object: n.Name, About: []string{n.Name, n.Bridge}, Values: []any{"network", n.Name, "subnet", pool, "used", used[n.ID]},
				Evidence: []Evidence{{"mydocker network inspect -f '{{len .Containers}}' " + n.Name, fmt.Sprint(used[n.ID])}}})
		}
	}
	return nil
}

// usable is how many containers fit: not the network's and the broadcast address, the gateway and the reserved ones.
func usable(n *world.Network, pool netip.Prefix) int {
	count := 1 << (pool.Addr().BitLen() - pool.Bits())
	taken := map[netip.Addr]bool{}
	for _, a := range n.AuxAddresses {
		taken[a] = true
	}
	taken[n.Gateway], taken[n.Subnet.Masked().Addr()] = true, true
	taken[lastOf(n.Subnet)] = true
	for a := range taken {
		if pool.Masked().Contains(a) {
			count--
		}
	}
	return count
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := range b {
		if host := p.Bits() - 8*i; host <= 0 {
			b[i] = 0xff
		} else if host < 8 {
			b[i] |= 0xff >> host
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// leaks: things of ours that no record speaks of any more. `mydocker gc` removes what a record of a dead container speaks of.
func (x *exam) leaks() error {
	released, err := x.released()
	if err != nil {
		return err
	}
	known, ids := map[string]bool{}, map[string]bool{}
	for _, e := range append(released, x.w.Endpoints...) {
		known[e.HostLink], ids[short(e.ID)] = true, true
	}
	for _, l := range x.w.Host.Links {
		if l.Kind == "veth" && isHostLink(l.Name) && !known[l.Name] && !l.Owner.Ours() && !lives(l) {
			x.add(Finding{ID: "leaked-link", Object: l.Name, About: []string{l.Name, "host"}, Values: []any{"link", l.Name},
				Evidence: []Evidence{{"ip -br link show " + l.Name, cableName(l)}, {"ls /run/mydocker/endpoints/*", ""}}, Commands: []string{"ip link del " + l.Name}})
		}
	}
	if err := x.leakedRules(ids); err != nil {
		return err
	}
	x.leakedNamespaces()
	for _, e := range x.w.Endpoints {
		if c := x.w.Container(e.ContainerID); c.State != "" && !c.Running() && c.State != "restarting" {
			x.add(Finding{ID: "leaked-endpoint", Object: e.ContainerName, About: []string{e.ContainerName, e.NetworkName}, Values: []any{"container", e.ContainerName, "network", e.NetworkName, "state", c.State},
				Evidence: []Evidence{{"ls /run/mydocker/endpoints/" + short(e.NetworkID) + "*", short(e.ContainerID)}}, Commands: []string{"mydocker gc"}})
		}
	}
	return nil
}

// lives says whether somebody is at the other end: a container of a mydocker with other directories.
func lives(l *world.Link) bool {
	return l.Peer != nil && l.Peer.Namespace != l.Namespace && len(l.Peer.Namespace.Processes) > 0
}

// short is an id as it is shown.
func short(id string) string { return id[:min(len(id), 12)] }

func cableName(l *world.Link) string {
	if l.Peer == nil {
		return l.Name
	}
	return l.Name + "@" + l.Peer.Name
}

// released are endpoints on their way out: somebody is about to remove what is left of them.
func (x *exam) released() (all []*network.Endpoint, err error) {
	paths, err := filepath.Glob(filepath.Join(x.w.Root.Run, "released", "[!.]*.json"))
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		var e network.Endpoint
		if state.ReadJSON(p, &e) == nil { // gone meanwhile
			all = append(all, &e)
		}
	}
	return all, nil
}

// isHostLink knows our names for cables: veth and eleven hexadecimal digits (network.hostLink). Docker's have seven.
func isHostLink(name string) bool {
	rest, ok := strings.CutPrefix(name, "veth")
	return ok && len(rest) == 11 && strings.Trim(rest, "0123456789abcdef") == ""
}

// leakedRules are published ports of endpoints that no longer are. Their comments end in the endpoint's id.
func (x *exam) leakedRules(ids map[string]bool) error {
	rules, err := x.rules(x.w.Host)
	if err != nil || rules == nil {
		return err
	}
	leaked := func(comment string) bool {
		rest, ok := strings.CutPrefix(comment, "mydocker ")
		id := rest[strings.LastIndexByte(rest, ' ')+1:]
		return ok && strings.Count(rest, " ") >= 2 && len(id) == 12 && strings.Trim(id, "0123456789abcdef") == "" && !ids[id]
	}
	for _, c := range rules.Chains {
		for _, r := range c.Rules {
			if leaked(r.Comment) {
				x.add(Finding{ID: "leaked-rule", Object: c.Place() + ": " + r.Text, About: []string{"host", r.Owner.Name}, Values: []any{"rule", r.Text, "chain", c.Place()},
					Evidence: []Evidence{x.showRule(x.w.Host, r)}, Commands: []string{x.deleteRule(x.w.Host, r)}})
			}
			for _, e := range r.Map {
				if leaked(e.Comment) {
					set := "ports { " + e.Proto
					if e.Addr.IsValid() {
						set = "addresses { " + e.Addr.String() + " . " + e.Proto
					}
					x.add(Finding{ID: "leaked-rule", Object: fmt.Sprintf("%s: %s . %d", c.Place(), e.Proto, e.Port), About: []string{"host", PortName(e.Port, e.Proto)}, Values: []any{"rule", fmt.Sprintf("%s . %d : %s", e.Proto, e.Port, e.To), "chain", c.Place()},
						Evidence: []Evidence{{"nft list table " + c.Family + " mydocker", e.Comment}}, Commands: []string{fmt.Sprintf("nft 'delete element %s mydocker %s . %d }'", c.Family, set, e.Port)}})
				}
			}
		}
	}
	return nil
}

// leakedNamespaces are pinned for a container that is not there.
func (x *exam) leakedNamespaces() {
	entries, _ := os.ReadDir(filepath.Join(x.w.Root.Run, "sandboxes")) // absent: none was ever made
	for _, e := range entries {
		if x.w.Container(e.Name()) != nil || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name, err := os.ReadFile(filepath.Join(x.w.Root.Run, "sandboxes", e.Name()))
		if err != nil || x.w.Namespace(string(name)) == nil {
			continue
		}
		x.add(Finding{ID: "leaked-namespace", Object: string(name), About: []string{string(name), "host"}, Values: []any{"namespace", string(name)},
			Evidence: []Evidence{{"ip netns list", string(name)}, {"mydocker ps -a --no-trunc -q", "-"}}, Commands: []string{"mydocker gc"}})
	}
}

// limits: a container that got less than it asked for.
func (x *exam) limits() error {
	for _, c := range x.w.Containers {
		l := c.Limits()
		found := func(id, kind string, count uint64, commands ...string) {
			x.add(Finding{ID: id, Object: c.Name, About: []string{c.Name}, Values: []any{"container", c.Name, "count", count},
				Evidence: []Evidence{{"cat " + l.Files[kind], fmt.Sprint(count)}}, Commands: commands})
		}
		if l.Memory > 0 || l.OOMKills > 0 {
			found("memory-limit", "memory", max(l.Memory, l.OOMKills))
		}
		if l.Pids > 0 {
			found("pids-limit", "pids", l.Pids)
		}
		if l.Throttled >= 10 && l.Throttled*2 > l.Periods { // now and then is what a limit is for
			found("cpu-limit", "cpu", l.Throttled)
		}
	}
	return nil
}
