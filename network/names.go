package network

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// nameBook knows the names of the containers on one container's user-defined networks. Its source is the endpoint records, so
// whoever joins or leaves a network is known or forgotten with the next question. It reads them again only when one of
// their directories has changed since it last looked.
type nameBook struct {
	m           *Manager
	containerID string

	mu       sync.Mutex
	seen     map[string]time.Time // directory -> time of its last change
	names    map[string][]netip.Addr
	pointers map[netip.Addr]string
	out      [2]bool // some network of the container's leads out: by IPv4, by IPv6
}

func newNameBook(m *Manager, containerID string) *nameBook {
	return &nameBook{m: m, containerID: containerID}
}

// lookup is the addresses of a name, in any order. Names end in a dot here, and case means nothing.
func (b *nameBook) lookup(name string) ([]netip.Addr, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh()
	all, known := b.names[canonical(name)]
	if len(all) > 1 {
		all = append([]netip.Addr(nil), all...)
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	return all, known
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// reverse is the name of an address, which is asked for as 2.0.18.172.in-addr.arpa. (RFC 1035, 3.5) or as 32 digits under
// ip6.arpa. (RFC 3596, 2.5).
func (b *nameBook) reverse(question string) (string, bool) {
	a, ok := parseReverse(canonical(question))
	if !ok {
		return "", false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh()
	name, known := b.pointers[a]
	return name, known
}

func parseReverse(name string) (netip.Addr, bool) {
	if digits, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		p := strings.Split(digits, ".")
		if len(p) != 4 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(p[3] + "." + p[2] + "." + p[1] + "." + p[0])
		return a, err == nil
	}
	digits, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(digits) != 63 {
		return netip.Addr{}, false
	}
	var text strings.Builder
	for i := 62; i >= 0; i -= 2 {
		text.WriteByte(digits[i])
		if n := (64 - i) / 2; n%4 == 0 && n < 32 {
			text.WriteByte(':')
		}
	}
	a, err := netip.ParseAddr(text.String())
	return a, err == nil
}

// waysOut says by which families the container is on a network with a way out.
func (b *nameBook) waysOut() (v4, v6 bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh()
	return b.out[0], b.out[1]
}

// refresh reads the records if they may have changed. A directory that has changed within the last moments may change again
// within the same tick of the clock that files are stamped with: then what is read now is not relied on next time.
func (b *nameBook) refresh() {
	root := filepath.Join(b.m.root.Run, "endpoints")
	if b.seen != nil && b.unchanged(root) {
		return
	}
	stamps := map[string]time.Time{}
	now := time.Now()
	settled := true
	stamp := func(dir string) {
		if st, err := os.Stat(dir); err == nil {
			stamps[dir] = st.ModTime()
			settled = settled && now.Sub(st.ModTime()) > 20*time.Millisecond
		}
	}
	stamp(root)
	ids, err := readDirNames(root)
	if err != nil {
		return // what was known before is better than nothing
	}
	for _, id := range ids {
		stamp(filepath.Join(root, id))
	}
	b.read(ids)
	if b.seen = stamps; !settled {
		b.seen = nil
	}
}

func (b *nameBook) unchanged(root string) bool {
	if _, ok := b.seen[root]; !ok {
		return false
	}
	for dir, was := range b.seen {
		if st, err := os.Stat(dir); err != nil || !st.ModTime().Equal(was) {
			return false
		}
	}
	return true
}

// read makes the book anew from the networks that the container is on.
func (b *nameBook) read(networkIDs []string) {
	b.names, b.pointers, b.out = map[string][]netip.Addr{}, map[netip.Addr]string{}, [2]bool{}
	links, shared := map[string]string{}, map[string][]*Endpoint{} // by container
	for _, id := range networkIDs {
		if _, err := os.Stat(b.m.endpointPath(id, b.containerID)); err != nil {
			continue
		}
		eps, err := b.m.Endpoints(id)
		if err != nil { // one damaged record does not make the others unknown
			b.out = [2]bool{b.out[0] || len(eps) > 0, b.out[1] || len(eps) > 0}
		}
		for _, e := range eps {
			if e.ContainerID == b.containerID {
				b.out[0] = b.out[0] || e.Gateway.IsValid() || e.Routed && e.Address.IsValid()
				b.out[1] = b.out[1] || e.Gateway6.IsValid() || e.Routed && e.Address6.IsValid()
				maps.Copy(links, e.Links)
			}
			if e.NetworkName != DefaultName { // the default network has no names, as in Docker
				b.add(e)
				shared[e.ContainerName] = append(shared[e.ContainerName], e)
			}
		}
	}
	// What a link calls a container has this name for this container alone, whoever else is called so.
	for alias := range links {
		for _, e := range shared[links[alias]] {
			for _, n := range namesOn(e, alias) {
				delete(b.names, n)
			}
		}
	}
	for alias := range links {
		for _, e := range shared[links[alias]] {
			b.enter(e, alias)
		}
	}
}

// add enters a container's name, the start of its id, and its aliases.
func (b *nameBook) add(e *Endpoint) {
	known := map[string]bool{}
	for _, name := range append([]string{e.ContainerName, short(e.ContainerID)}, e.Aliases...) {
		name = canonical(name)
		if name == "" || known[name] {
			continue
		}
		known[name] = true
		b.enter(e, name)
	}
	for _, p := range []netip.Prefix{e.Address, e.Address6} {
		if p.IsValid() {
			b.pointers[p.Addr()] = e.ContainerName + "." + e.NetworkName + "."
		}
	}
}

// enter lets a name lead to an endpoint's addresses.
func (b *nameBook) enter(e *Endpoint, name string) {
	for _, n := range namesOn(e, name) {
		for _, p := range []netip.Prefix{e.Address, e.Address6} {
			if p.IsValid() {
				b.names[n] = append(b.names[n], p.Addr())
			}
		}
	}
}

// namesOn are a name, and it with the network's name behind it.
func namesOn(e *Endpoint, name string) []string {
	name = canonical(name)
	return []string{name, name + "." + canonical(e.NetworkName)}
}
