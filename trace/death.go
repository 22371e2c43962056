package trace

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/world"
)

// What the kernel drops between two hooks leaves no word, but traces: it counts drops by their reasons (/proc/net/netstat, snmp, snmp6),
// it keeps neighbours that did not answer, and some ICMP error says the rest.

// death is where and why the packet, or its answer, ended without a rule's doing.
type death struct {
	cause   string // no-route, no-neighbour, macvlan, too-big, prohibited, loop, rp-filter, not-forwarding, peer-down
	space   string
	address netip.Addr // that the packet was for there
	source  netip.Addr
	link    string
	mtu     int    // of the link, in bytes; 0: not known
	setting string // the sysctl that decides
	far     string // the namespace at the other end of the link
}

// kernelCounters are the drops that each namespace has counted, by file and name: "TcpExt.IPReversePathFilter".
func kernelCounters(spaces []*world.Namespace) map[*world.Namespace]map[string]uint64 {
	all := map[*world.Namespace]map[string]uint64{}
	for _, n := range spaces {
		counts := map[string]uint64{}
		door := network.Sandbox{Name: n.Name(), Path: n.Path}
		err := door.Do(func() error {
			for _, name := range []string{"netstat", "snmp", "snmp6"} {
				if text, err := os.ReadFile("/proc/thread-self/net/" + name); err == nil { // without IPv6 there is no snmp6
					readCounters(string(text), counts)
				}
			}
			return nil
		})
		if err == nil { // one that has gone counts nothing
			all[n] = counts
		}
	}
	return all
}

// readCounters reads two forms: "Ip: A B" followed by "Ip: 1 2", and "Ip6A 1".
func readCounters(text string, counts map[string]uint64) {
	var names []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 2 && !strings.HasSuffix(f[0], ":") {
			counts[f[0]], _ = strconv.ParseUint(f[1], 10, 64)
			continue
		}
		if len(f) > 0 && len(names) == len(f) && names[0] == f[0] {
			for i := range f[1:] {
				counts[strings.TrimSuffix(f[0], ":")+"."+names[i+1]], _ = strconv.ParseUint(f[i+1], 10, 64)
			}
			names = nil
			continue
		}
		names = f
	}
}

// findDeath looks for the reason where the packet was seen last.
func (t *Trace) findDeath(before, after map[*world.Namespace]map[string]uint64) {
	if t.Dropped() != nil || t.byICMP() || t.Outcome == Refused {
		return
	}
	at, last := t.Request.From, t.Last()
	if last != nil {
		if n := t.world.Namespace(last.Space); n != nil {
			at = n
		}
	}
	rose := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return after[at][name] > before[at][name] })
	}
	t.death = t.reason(at, last, rose)
}

// byICMP: somebody on the way has said why.
func (t *Trace) byICMP() bool {
	for _, s := range t.Steps {
		kind, ok := icmpErrors()[s.Flags]
		if !s.Answer || !ok || s.Kind == "rule" || s.Kind == "policy" || s.Kind == "counter" {
			continue
		}
		t.death = &death{cause: kind, space: s.Space, address: t.heading(false), link: s.Link}
		n := t.world.Namespace(s.Space)
		if n != nil && kind == "too-big" {
			t.narrow(n, t.death, t.heading(false))
		}
		if n != nil && kind == "no-neighbour" && s.Kind == "out" { // the error goes back, and not where the packet was to go
			if r := n.RouteTo(t.death.address); r != nil && r.Dev != nil {
				t.death.link = r.Dev.Name
			}
		}
		return true
	}
	return false
}

// icmpErrors are RFC 792's and RFC 4443's types and codes; that a port is unreachable is told as a refusal.
func icmpErrors() map[string]string {
	return map[string]string{
		"ICMP 3/0": "no-route", "ICMP 3/1": "no-neighbour", "ICMP 3/4": "too-big", "ICMP 3/9": "prohibited", "ICMP 3/10": "prohibited", "ICMP 3/13": "prohibited", "ICMP 11/0": "loop",
		"ICMPv6 1/0": "no-route", "ICMPv6 1/1": "prohibited", "ICMPv6 1/3": "no-neighbour", "ICMPv6 2/0": "too-big", "ICMPv6 3/0": "loop",
	}
}

func (t *Trace) reason(at *world.Namespace, last *Step, rose func(...string) bool) *death {
	to := t.heading(last != nil && last.Answer)
	d := &death{space: at.Name(), address: to}
	if last != nil {
		d.link, d.source = last.Link, last.Packet.Src.Addr()
	}
	inside := last != nil && last.Kind == "in" && last.Master == ""
	local, r := at.Owns(to), at.RouteTo(to)
	switch key := forwardingKey(to.Is6()); {
	case last != nil && last.Kind == "out":
		return t.behind(at, d)
	case inside && rose("TcpExt.IPReversePathFilter"):
		d.cause, d.setting = "rp-filter", "net.ipv4.conf."+d.link+".rp_filter"
	case inside && !local && at.Sysctl(key) == "0":
		d.cause, d.setting = "not-forwarding", strings.ReplaceAll(key, "/", ".")
	case local:
		return nil
	case r == nil || r.Type != "unicast" || rose("IpExt.InNoRoutes", "Ip.OutNoRoutes", "Ip6InNoRoutes", "Ip6OutNoRoutes"):
		d.cause = "no-route"
	case t.narrow(at, d, to) || rose("Ip.FragFails", "Ip6FragFails", "Ip6InTooBigErrors"):
		d.cause = "too-big"
	case r.Dev != nil && at.Unanswered(nextHop(r, to)):
		d.cause, d.link = "no-neighbour", r.Dev.Name
		if t.acrossMacvlan(r.Dev, nextHop(r, to)) {
			d.cause = "macvlan"
		}
	default:
		return nil
	}
	return d
}

// acrossMacvlan: who is asked is on a macvlan of the link, or on the link that this macvlan stands on.
func (t *Trace) acrossMacvlan(dev *world.Link, a netip.Addr) bool {
	if dev.Kind == "macvlan" && dev.Peer != nil && dev.Peer.Address(a.Is6()).Addr() == a {
		return true
	}
	found := false
	t.world.Links(func(l *world.Link) {
		found = found || l.Kind == "macvlan" && l.Peer == dev && l.Address(a.Is6()).Addr() == a
	})
	return found
}

func nextHop(r *world.Route, to netip.Addr) netip.Addr {
	if r.Via.IsValid() {
		return r.Via
	}
	return to
}

// heading is the address that the packet, or its answer, was for when it was told of last: a rule may have translated it behind the last link.
func (t *Trace) heading(answer bool) netip.Addr {
	for i := len(t.Steps) - 1; i >= 0; i-- {
		if p := t.Steps[i].Packet; p.Dst.IsValid() && t.Steps[i].Answer == answer {
			return p.Dst.Addr()
		}
	}
	return t.Request.To.Addr()
}

// behind: the packet has left by a link, and the other end has not seen it.
func (t *Trace) behind(at *world.Namespace, d *death) *death {
	l := at.Link(d.link)
	if l == nil || l.Peer == nil || l.Peer.Up {
		return nil
	}
	d.cause, d.link, d.far = "peer-down", l.Peer.Name, l.Peer.Namespace.Name()
	return d
}

func forwardingKey(six bool) string {
	if six {
		return "net/ipv6/conf/all/forwarding"
	}
	return "net/ipv4/ip_forward"
}

// size is the packet's, in bytes.
func (t *Trace) size() int {
	if t.Request.Size > 0 {
		return t.Request.Size
	}
	return 60
}

// narrow finds the link on the way out of a namespace that does not carry the packet: on a bridge such packets vanish without a word.
func (t *Trace) narrow(n *world.Namespace, d *death, to netip.Addr) bool {
	r := n.RouteTo(to)
	if r == nil || r.Dev == nil {
		return false
	}
	links := []*world.Link{r.Dev}
	for _, port := range r.Dev.Ports() {
		if port.Peer != nil && port.Peer.Namespace.Owns(to) {
			links = append(links, port)
		}
	}
	for _, l := range links {
		if l.MTU > 0 && l.MTU < t.size() {
			d.link, d.mtu = l.Name, l.MTU
			return true
		}
	}
	return false
}
