package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/world"
)

// exam is one examination: the world in the terms in which it is judged.
type exam struct {
	ctx      context.Context
	w        *world.World
	segments []*segment
	pubs     []*publication
	report   Report
	seen     map[string]bool
}

// segment is a bridge with what is plugged into it, in the namespace that routes for them, as one family of addresses sees it: IPv4 and
// IPv6 have their own addresses, routes, settings and rules, and only the cables are the same.
type segment struct {
	six      bool
	router   *world.Namespace
	bridge   *world.Link
	net      *world.Network // nil: made by hand
	stations []*station
	// complete says that every port is a cable whose other end is known: whoever is not a station is not there.
	complete bool
}

// station is the far end of a cable whose near end is a bridge's port.
type station struct {
	seg      *segment
	inner    *world.Link
	outer    *world.Link
	endpoint *network.Endpoint // nil: made by hand
}

func newExam(ctx context.Context, w *world.World) *exam {
	x := &exam{ctx: ctx, w: w, seen: map[string]bool{}}
	w.Links(func(l *world.Link) {
		if l.Kind == "bridge" {
			x.segments = append(x.segments, x.newSegment(l, false))
			if six := x.newSegment(l, true); six.spoken() {
				x.segments = append(x.segments, six)
			}
		}
	})
	return x
}

// spoken says whether anybody has, or should have, an address of the segment's family.
func (s *segment) spoken() bool {
	return len(s.subnets()) > 0 || s.net != nil && s.net.EnableIPv6 || slices.ContainsFunc(s.stations, func(st *station) bool { return st.addr().IsValid() })
}

// bridges are the segments, one for each bridge: for what has nothing to do with addresses.
func (x *exam) bridges() []*segment {
	return slices.DeleteFunc(slices.Clone(x.segments), func(s *segment) bool { return s.six })
}

func (x *exam) newSegment(bridge *world.Link, six bool) *segment {
	s := &segment{router: bridge.Namespace, bridge: bridge, complete: true, six: six}
	if bridge.Owner.Kind == "network" {
		s.net = x.w.Network(bridge.Owner.ID)
	}
	for _, port := range bridge.Ports() {
		if port.Kind != "veth" || port.Peer == nil {
			s.complete = false
			continue
		}
		st := &station{seg: s, inner: port.Peer, outer: port}
		for _, e := range x.w.Endpoints {
			if e.HostLink == port.Name && port.Owner.Kind == "container" {
				st.endpoint = e
			}
		}
		s.stations = append(s.stations, st)
	}
	return s
}

// add notes a finding, once. One that was found on two ways gets the commands of both.
func (x *exam) add(f Finding) {
	if slices.ContainsFunc(f.Commands, func(c string) bool { return !harmless(c) }) {
		f.Commands = nil // somebody has chosen a name that a shell would obey
	}
	if !x.seen[f.Key()] {
		x.seen[f.Key()] = true
		x.report.Findings = append(x.report.Findings, f)
		return
	}
	i := slices.IndexFunc(x.report.Findings, func(g Finding) bool { return g.Key() == f.Key() })
	old := &x.report.Findings[i]
	old.About = append(old.About, f.About...)
	for _, c := range f.Commands {
		if !slices.Contains(old.Commands, c) {
			old.Commands = append(old.Commands, c)
		}
	}
}

// named says whether a fault has been found already of an object.
func (x *exam) named(id, object string) bool { return x.seen[id+" "+object] }

// name is what the segment is called: its network, or its bridge.
func (s *segment) name() string {
	if s.net != nil {
		return s.net.Name
	}
	return s.bridge.Name
}

func (s *segment) about() []string { return []string{s.name(), s.bridge.Name} }

// ours says whether mydocker made it and mends it.
func (s *segment) ours() bool { return s.net != nil }

// internal networks have no way out, by intent.
func (s *segment) internal() bool { return s.net != nil && s.net.Internal }

// subnets are the bridge's networks.
func (s *segment) subnets() (all []netip.Prefix) {
	for _, a := range s.bridge.Addresses {
		if ip := a.Prefix.Addr(); ip.Is6() == s.six && !(s.six && ip.IsLinkLocalUnicast()) {
			all = append(all, a.Prefix)
		}
	}
	return all
}

// owner finds who has an address in the segment: a station, or the bridge itself (nil, true).
func (s *segment) owner(a netip.Addr) (*station, bool) {
	if s.isBridge(a) {
		return nil, true
	}
	for _, st := range s.stations {
		for _, have := range st.inner.Addresses {
			if have.Prefix.Addr() == a {
				return st, true
			}
		}
	}
	return nil, false
}

// outward says whether somebody wants to be routed by the segment's namespace: a station whose default route leads to the bridge.
func (s *segment) outward() bool { return s.guest() != nil && !s.internal() }

// guest is a station that can speak for the others, nil without.
func (s *segment) guest() *station {
	if all := s.guests(); len(all) > 0 {
		return all[0]
	}
	return nil
}

// guests have an address in the bridge's subnet, and their default route leads to the bridge.
func (s *segment) guests() (all []*station) {
	for _, st := range s.stations {
		if st.addr().IsValid() && s.holds(st.addr()) && st.inner.Up {
			if r := st.inner.Namespace.DefaultRoute(s.six); r != nil && r.Dev == st.inner && s.isBridge(r.Via) {
				all = append(all, st)
			}
		}
	}
	return all
}

// isBridge: also by the address that the link has given itself, by which IPv6 routers like to be known.
func (s *segment) isBridge(a netip.Addr) bool {
	return slices.ContainsFunc(s.bridge.Addresses, func(have world.Address) bool { return have.Prefix.Addr() == a })
}

func (s *segment) holds(a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(s.subnets(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// prefix is the station's address with the length of its subnet.
func (st *station) prefix() netip.Prefix { return st.inner.Address(st.seg.six) }

// addr is the station's address.
func (st *station) addr() netip.Addr { return st.prefix().Addr() }

// name is the container's, or the namespace's.
func (st *station) name() string {
	if st.endpoint != nil {
		return st.endpoint.ContainerName
	}
	return st.inner.Namespace.Name()
}

func (st *station) about() []string {
	return []string{st.name(), st.outer.Name, st.inner.Namespace.Name()}
}

// uplink is the namespace's way to the rest of the world, nil without. One that is lost (no-way-out) is judged as if it were there: there may
// be more on that way than this.
func (x *exam) uplink(n *world.Namespace, six bool) *world.Route {
	r := n.DefaultRoute(six)
	if r == nil && x.named("no-way-out", n.Name()) {
		if up := x.towardsOthers(n, six); up != nil {
			via, _ := x.nextRouter(up, six)
			return &world.Route{Table: 254, To: netip.PrefixFrom(outside(six), 0).Masked(), Via: via, Dev: up, Type: "unicast"}
		}
	}
	if r == nil || r.Dev == nil {
		return nil
	}
	return r
}

// outside is an address that is not here: of TEST-NET-2 (RFC 5737) or 2001:db8::/32 (RFC 3849), which nobody has.
func outside(six bool) netip.Addr {
	if six {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 77})
	}
	return netip.AddrFrom4([4]byte{198, 51, 100, 77})
}

// neighborAt is somebody beyond the uplink: the next router, or the next address.
func neighborAt(up *world.Route) netip.Addr {
	if up.Via.IsValid() {
		return up.Via
	}
	return outside(up.To.Addr().Is6())
}

// hostAddress is the address by which others know the namespace.
func hostAddress(up *world.Route) netip.Addr {
	if up == nil || up.Dev == nil {
		return netip.Addr{}
	}
	return up.Dev.Address(up.To.Addr().Is6()).Addr()
}

// rules are a namespace's, or nil when some of them could not be read: then nothing is said about them.
func (x *exam) rules(n *world.Namespace) (*world.Ruleset, error) {
	r, err := x.w.Rules(x.ctx, n)
	if err != nil {
		return nil, err
	}
	for _, u := range r.Unread {
		if text := n.Name() + ": " + u; !slices.Contains(x.report.Unread, text) {
			x.report.Unread = append(x.report.Unread, text)
		}
	}
	if len(r.Unread) > 0 {
		return nil, nil
	}
	return r, nil
}

// Commands as they are typed for a namespace.

func pinned(n *world.Namespace) (name string, ok bool) {
	name, ok = strings.CutPrefix(n.Path, "/run/netns/")
	return name, ok && !strings.Contains(name, "/")
}

// ip is how `ip` is called for a namespace.
func (x *exam) ip(n *world.Namespace) string {
	if n == x.w.Host {
		return "ip "
	}
	if name, ok := pinned(n); ok {
		return "ip -n " + name + " "
	}
	return "nsenter --net=" + n.Path + " ip "
}

// route is how the routes of a family are called.
func (x *exam) route(n *world.Namespace, six bool) string {
	if six {
		return x.ip(n) + "-6 route"
	}
	return x.ip(n) + "route"
}

// tables is how the rules of a family are called.
func (x *exam) tables(n *world.Namespace, six bool) string {
	if six {
		return x.in(n) + "ip6tables"
	}
	return x.in(n) + "iptables"
}

// in is how another command is run in a namespace.
func (x *exam) in(n *world.Namespace) string {
	if n == x.w.Host {
		return ""
	}
	if name, ok := pinned(n); ok {
		return "ip netns exec " + name + " "
	}
	return "nsenter --net=" + n.Path + " "
}

func (x *exam) sysctl(n *world.Namespace, key, value string) string {
	return x.in(n) + "sysctl -w " + key + "=" + value
}

// setting is the evidence of a sysctl.
func (x *exam) setting(n *world.Namespace, key string) Evidence {
	name := key
	if !strings.Contains(key, ".") { // the name of a link may have a dot in it: then sysctl(8) wants the slashes
		name = strings.ReplaceAll(key, "/", ".")
	}
	return Evidence{x.in(n) + "sysctl " + name, name + " = " + n.Sysctl(key)}
}

// deleteRule is the command that takes a rule away.
func (x *exam) deleteRule(n *world.Namespace, r *world.Rule) string {
	c := r.Chain
	if c.Backend == world.NFTables {
		return fmt.Sprintf("%snft delete rule %s %s %s handle %d", x.in(n), c.Family, c.Table, c.Name, r.Handle)
	}
	return fmt.Sprintf("%s%s -t %s -D %s %s", x.in(n), iptables(c), c.Table, c.Name, forShell(r.Text))
}

// forShell puts quotes around the words that a shell would take for patterns: [fd00::2]:80.
func forShell(rule string) string {
	words := strings.Split(rule, " ")
	for i, w := range words {
		if strings.HasPrefix(w, "[") && !strings.ContainsAny(w, `'"`) {
			words[i] = "'" + w + "'"
		}
	}
	return strings.Join(words, " ")
}

func iptables(c *world.Chain) string {
	program := "iptables"
	if c.Family == "ip6" {
		program = "ip6tables"
	}
	if c.Backend == world.Legacy {
		program += "-legacy"
	}
	return program
}

// showRule is the command that shows a rule, and what it shows.
func (x *exam) showRule(n *world.Namespace, r *world.Rule) Evidence {
	e := x.showChain(n, r.Chain)
	e.Shows = "-A " + r.Chain.Name + " " + r.Text
	if r.Chain.Backend == world.NFTables {
		e.Shows = r.Text
	}
	return e
}

func (x *exam) showChain(n *world.Namespace, c *world.Chain) Evidence {
	if c.Backend == world.NFTables {
		return Evidence{fmt.Sprintf("%snft -a list chain %s %s %s", x.in(n), c.Family, c.Table, c.Name), ""}
	}
	shows := "-N " + c.Name
	if c.Policy != "" {
		shows = "-P " + c.Name + " " + c.Policy
	}
	return Evidence{fmt.Sprintf("%s%s -t %s -S %s", x.in(n), iptables(c), c.Table, c.Name), shows}
}

const sync = "mydocker network sync"

// Ports as they are called.

// PortName is how a port of a router is called in Finding.About.
func PortName(port uint16, proto string) string { return fmt.Sprintf("port %d/%s", port, proto) }

// portRef reads 8080 and 8080/udp.
func portRef(s string) (port uint16, proto string, ok bool) {
	number, proto, has := strings.Cut(s, "/")
	if !has {
		proto = "tcp"
	}
	n, err := strconv.ParseUint(number, 10, 16)
	return uint16(n), proto, err == nil && n > 0 && (proto == "tcp" || proto == "udp" || proto == "sctp")
}

func portNames(e *network.Endpoint) (names []string) {
	for _, p := range e.Ports {
		for i := range max(p.Count, 1) {
			names = append(names, PortName(p.HostPort+i, p.Proto))
		}
	}
	return names
}
