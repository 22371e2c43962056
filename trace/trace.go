// Package trace sends one real packet and tells its way: interface by interface, hook by hook, with the rules that decided, the
// addresses before and after each translation, the answer's way, and where it died.
//
// It looks at three places at once. A packet socket in each namespace on the way sees every link (packet(7)). A table of nftables, which
// the kernel takes away when the socket that made it closes, however that happens (NFT_TABLE_F_OWNER), marks the probe and its answer
// with `meta nftrace`, and the kernel then reports every rule that they meet, those of iptables-nft too. For the old iptables the
// counters of its rules are compared.
//
// What it is not: it does not see inside other machines, and of a packet that the kernel drops between two hooks (no route, reverse path
// filter) it sees only that it went no further. It is IPv4 only.
package trace

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/mydocker/mydocker/world"
)

// Request is a probe to be sent.
type Request struct {
	From     *world.Namespace
	FromName string
	To       netip.AddrPort // port 0 with icmp
	ToName   string
	ToSpace  *world.Namespace // where the destination is, nil when nobody knows
	Proto    string           // tcp, udp, icmp
	Patience time.Duration    // how long the answer is waited for
}

// Resolve reads FROM and TO[:PORT][/PROTO]. FROM is a container, a namespace, "host" or "outside"; TO also an IPv4 address.
func Resolve(w *world.World, from, to string) (*Request, error) {
	r := &Request{FromName: from, Patience: 1500 * time.Millisecond}
	var err error
	if r.From, err = source(w, from); err != nil {
		return nil, err
	}
	name, proto, hasProto := strings.Cut(to, "/")
	if r.Proto = proto; !hasProto {
		r.Proto = "tcp"
	}
	if r.Proto != "tcp" && r.Proto != "udp" && r.Proto != "icmp" {
		return nil, fmt.Errorf("invalid protocol %q: tcp, udp or icmp", proto)
	}
	if strings.Count(name, ":") > 1 {
		return nil, fmt.Errorf("%s: only IPv4 is traced", to)
	}
	name, number, hasPort := strings.Cut(name, ":")
	var port uint64
	if hasPort {
		if port, err = strconv.ParseUint(number, 10, 16); err != nil || port == 0 {
			return nil, fmt.Errorf("invalid port %q in %s", number, to)
		}
		if r.Proto == "icmp" {
			return nil, fmt.Errorf("%s: icmp has no ports", to)
		}
	}
	a, space, err := destination(w, r.From, name)
	if err != nil {
		return nil, err
	}
	r.ToName, r.ToSpace = name, space
	if port == 0 && r.Proto != "icmp" {
		if port = uint64(servedPort(space, r.Proto)); port == 0 && hasProto {
			return nil, fmt.Errorf("%s: which port? Nobody listens there that could be asked: say %s:PORT/%s", to, name, r.Proto)
		}
		if port == 0 {
			r.Proto = "icmp"
		}
	}
	r.To = netip.AddrPortFrom(a, uint16(port))
	return r, nil
}

// servedPort is the first port on which somebody listens for others.
func servedPort(n *world.Namespace, proto string) uint16 {
	if n == nil {
		return 0
	}
	for _, s := range n.Sockets {
		if s.Proto == proto && !s.Address.Addr().IsLoopback() {
			return s.Address.Port()
		}
	}
	return 0
}

func source(w *world.World, name string) (*world.Namespace, error) {
	switch {
	case name == "host":
		return w.Host, nil
	case name == "outside":
		if n, _ := beyond(w); n != nil {
			return n, nil
		}
		return nil, errors.New("outside: what is behind this host's own links cannot be entered; send the probe from there, or work in `mydocker sandbox`")
	}
	if c := w.Container(name); c != nil {
		if c.Namespace == nil {
			return nil, fmt.Errorf("container %s is not running (mydocker start %s)", c.Name, c.Name)
		}
		return c.Namespace, nil
	}
	if n := w.Namespace(name); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("no container and no namespace is called %s: see `mydocker ps`, `ip netns list`; or host, outside", name)
}

// beyond is the namespace at the other end of the host's way out, where the host is itself one of namespaces, and its address.
func beyond(w *world.World) (*world.Namespace, netip.Addr) {
	for _, r := range w.Host.Routes {
		if r.Default() && r.Dev != nil && r.To.Addr().Is4() {
			if p := r.Dev.Peer; p != nil && p.Namespace != w.Host {
				return p.Namespace, p.Address4().Addr()
			}
			return nil, r.Via
		}
	}
	return nil, netip.Addr{}
}

// destination finds the address that from would use for a name.
func destination(w *world.World, from *world.Namespace, name string) (netip.Addr, *world.Namespace, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		for _, n := range w.Namespaces {
			if n.Owns(a) && (n == from || !a.IsLoopback()) {
				return a, n, nil
			}
		}
		return a, nil, nil
	}
	switch name {
	case "host":
		a := hostAddress(w, from)
		if !a.IsValid() {
			return a, nil, errors.New("host: it has no address that could be asked")
		}
		return a, w.Host, nil
	case "outside":
		n, a := beyond(w)
		if !a.IsValid() {
			return a, nil, errors.New("outside: the host has no default route (ip route add default via …)")
		}
		return a, n, nil
	}
	n, err := source(w, name)
	if err != nil {
		return netip.Addr{}, nil, err
	}
	a := addressFor(from, n)
	if !a.IsValid() {
		return a, nil, fmt.Errorf("%s has no IPv4 address", name)
	}
	return a, n, nil
}

// hostAddress is the one by which from knows the host: 127.0.0.1 itself, its gateway, or the address of the way out.
func hostAddress(w *world.World, from *world.Namespace) netip.Addr {
	if from == w.Host {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	for _, r := range from.Routes {
		if r.Default() && r.Via.IsValid() && w.Host.Owns(r.Via) {
			return r.Via
		}
	}
	for _, r := range w.Host.Routes {
		if r.Default() && r.Dev != nil {
			return r.Dev.Address4().Addr()
		}
	}
	return netip.Addr{}
}

// addressFor prefers an address of a subnet that from is in, too.
func addressFor(from, n *world.Namespace) (best netip.Addr) {
	for _, l := range n.Links {
		a := l.Address4()
		if l.Loopback || !a.IsValid() {
			continue
		}
		if !best.IsValid() {
			best = a.Addr()
		}
		for _, mine := range from.Links {
			if p := mine.Address4(); p.IsValid() && p.Contains(a.Addr()) {
				return a.Addr()
			}
		}
	}
	return best
}

// Run sends the probe and collects what was seen of it. What it adds to the kernel is gone when it returns, or dies.
func Run(ctx context.Context, w *world.World, r *Request) (*Trace, error) {
	t := &Trace{Request: r, world: w}
	spaces := t.spaces()
	before, err := t.counters(ctx, spaces)
	if err != nil {
		return nil, err
	}
	p, err := newProbe(r)
	if err != nil {
		return nil, err
	}
	defer p.close()
	t.Key = p.key
	var watches []*watch
	defer func() {
		for _, one := range watches {
			one.close()
		}
	}()
	for _, n := range spaces {
		one, err := newWatch(n, p.key)
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", n.Name(), err)
		}
		watches = append(watches, one)
	}
	if err := awaitClock(); err != nil {
		return nil, err
	}
	t.Outcome, t.SendErr = p.send(r.Patience)
	time.Sleep(60 * time.Millisecond) // what is on its way to our sockets
	for _, one := range watches {
		frames, marks, err := one.collect()
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", one.space.Name(), err)
		}
		t.Frames, t.marks = append(t.Frames, frames...), append(t.marks, marks...)
	}
	if err := t.resolveRules(ctx); err != nil {
		return nil, err
	}
	after, err := t.freshCounters(ctx, spaces)
	if err != nil {
		return nil, err
	}
	t.compareCounters(before, after)
	t.tell()
	return t, nil
}

// spaces are the namespaces that the packet can come through: those of both ends, the host's, and what is beyond it.
func (t *Trace) spaces() (all []*world.Namespace) {
	out, _ := beyond(t.world)
	seen := map[*world.Namespace]bool{}
	for _, n := range []*world.Namespace{t.Request.From, t.world.Host, t.Request.ToSpace, out} {
		if n != nil && !seen[n] {
			seen[n] = true
			all = append(all, n)
		}
	}
	// A published port leads to a container that nobody has named.
	for _, c := range t.world.Containers {
		if n := c.Namespace; n != nil && !seen[n] && t.leadsTo(c) {
			seen[n] = true
			all = append(all, n)
		}
	}
	if rules, err := t.world.Rules(context.Background(), t.world.Host); err == nil {
		for _, n := range t.world.Namespaces {
			if !seen[n] && translated(rules, n, t.Request.To.Port()) {
				seen[n] = true
				all = append(all, n)
			}
		}
	}
	return all
}

// translated says whether a rule leads the port to an address of the namespace.
func translated(rules *world.Ruleset, n *world.Namespace, port uint16) bool {
	for _, c := range rules.Chains {
		for _, r := range c.Rules {
			if r.Target == "DNAT" && r.To.Addr.IsValid() && n.Owns(r.To.Addr) {
				for _, p := range r.Match.DPort.Ranges {
					if port >= p[0] && port <= p[1] {
						return true
					}
				}
			}
		}
	}
	return false
}

func (t *Trace) leadsTo(c *world.Container) bool {
	for _, e := range c.Endpoints {
		for _, m := range e.Ports {
			if port := t.Request.To.Port(); port >= m.HostPort && port-m.HostPort < max(m.Count, 1) {
				return true
			}
		}
	}
	return false
}
