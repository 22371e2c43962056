// Package topology draws a host's networks as they are in the kernel: namespaces, the cables between them, bridges, addresses, routes,
// published ports; what was made by hand as well as what mydocker made.
//
// A drawing is made in two steps. Look turns a world.World into a View, which is data: that is the JSON form. The other forms are
// written from the View alone: text (text.go), SVG and HTML (svg.go, html.go), Graphviz and Mermaid (graph.go).
package topology

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/world"
)

// View is what is drawn.
type View struct {
	Spaces []*Space // namespaces, the host's first
	Cables []Cable
	Ports  []Port
	Outs   []Out
	Faults []Fault `json:",omitempty"`
}

// Space is a network namespace.
type Space struct {
	container  string // its name, which need not be the namespace's: that may have been named by hand
	Name       string
	Names      []string // all of them
	Sharing    []string `json:",omitempty"` // containers in it that it was not made for: --network host, --network container:NAME
	Kind       string   // host, container, namespace
	Links      []*Link
	Routes     []string `json:",omitempty"` // those that an address does not bring along
	Forwarding bool     // it passes packets on: ip_forward
	Policy     string   `json:",omitempty"` // of the chain FORWARD, where it is DROP
	Processes  int
	Error      string `json:",omitempty"` // what could not be read
}

// Link is an interface.
type Link struct {
	Name      string
	Kind      string // bridge, veth, vlan, device, …
	MAC       string `json:",omitempty"`
	MTU       int    // bytes
	Up        bool   // ip link set up
	Carrier   bool   // and the other end is, too
	Loopback  bool   `json:",omitempty"`
	Addresses []string
	Master    string `json:",omitempty"` // the bridge whose port it is
	Hairpin   bool   `json:",omitempty"`
	Network   string `json:",omitempty"` // the network whose bridge it is
	Owner     string `json:",omitempty"` // "container web", "network br0"; "" for what mydocker did not make
}

// End is one end of a cable.
type End struct{ Space, Link string }

// Cable joins two links. A veth pair has two ends that are alike; of a macvlan or ipvlan, A is the link below.
type Cable struct {
	Kind string // veth, macvlan, ipvlan, vlan, …
	A, B End
	Up   bool // it carries packets
}

// Port is a way in: a rule that rewrites the destination of what comes to the host.
type Port struct {
	From  string // 0.0.0.0:8080/tcp
	To    string // 172.18.0.2:80
	Space string `json:",omitempty"` // who has that address
	By    string // the chain that the rule is in
	Owner string `json:",omitempty"`

	port uint16 // the first, to sort by
}

// Out is a way out: a rule that replaces the sender's address.
type Out struct {
	From  string // 172.18.0.0/16
	Link  string `json:",omitempty"` // by which it must leave; "!br0" for any other
	As    string // MASQUERADE, or an address
	Owner string `json:",omitempty"`
}

// Fault is something that is wrong, found by others.
type Fault struct {
	Space string // where it is
	Link  string `json:",omitempty"`
	Text  string
}

// Look makes the view of a world.
func Look(ctx context.Context, w *world.World) (*View, error) {
	v := &View{}
	named := map[*world.Namespace]*Space{}
	for _, n := range w.Namespaces {
		s := newSpace(w, n)
		v.Spaces, named[n] = append(v.Spaces, s), s
	}
	for _, n := range w.Namespaces {
		for _, l := range n.Links {
			v.addCable(named, l)
		}
	}
	rules, err := w.Rules(ctx, w.Host)
	if err != nil {
		return nil, err
	}
	for _, c := range rules.Chains {
		if c.Hook == "forward" && c.Policy == "DROP" && c.Family != "ip6" && c.Family != "bridge" {
			named[w.Host].Policy = "DROP"
		}
		for _, r := range c.Rules {
			v.addRule(w, c, r)
		}
	}
	slices.SortStableFunc(v.Ports, func(a, b Port) int { return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.From, b.From)) })
	return v, nil
}

func newSpace(w *world.World, n *world.Namespace) *Space {
	s := &Space{Name: n.Name(), Names: n.Names, Kind: "namespace", Forwarding: n.Sysctl("net/ipv4/ip_forward") == "1", Processes: len(n.Processes)}
	switch {
	case n == w.Host:
		s.Kind = "host"
	case n.Owner.Kind == "container":
		s.Kind, s.container = "container", n.Owner.Name
	}
	for _, c := range w.Containers {
		if c.Namespace == n && n.Owner.ID != c.ID && c.Running() {
			s.Sharing = append(s.Sharing, c.Name)
		}
	}
	slices.Sort(s.Sharing)
	if n.Err != nil {
		s.Error = n.Err.Error()
	}
	for _, l := range n.Links {
		if !isKernelsOwn(l) {
			s.Links = append(s.Links, newLink(w, l))
		}
	}
	for _, r := range n.Routes {
		if text := routeText(r); text != "" {
			s.Routes = append(s.Routes, text)
		}
	}
	return s
}

// isKernelsOwn says whether a link came with a module of the kernel and nobody uses it: tunl0, sit0 and the like.
func isKernelsOwn(l *world.Link) bool {
	if l.Up || len(l.Addresses) > 0 || l.Master != nil {
		return false
	}
	switch l.Name {
	case "tunl0", "sit0", "gre0", "gretap0", "erspan0", "ip6tnl0", "ip6gre0", "ip_vti0", "ip6_vti0", "teql0", "dummy0", "ifb0", "ifb1", "bond0":
		return true
	}
	return false
}

func newLink(w *world.World, l *world.Link) *Link {
	link := &Link{
		Name: l.Name, Kind: l.Kind, MTU: l.MTU, Up: l.Up, Carrier: l.Carrier, Loopback: l.Loopback, Hairpin: l.Hairpin,
		Owner: l.Owner.String(), Addresses: []string{},
	}
	if !l.Loopback {
		link.MAC = l.MAC.String()
	}
	if l.Master != nil {
		link.Master = l.Master.Name
	}
	for _, a := range l.Addresses {
		if a.Scope != "link" && !l.Loopback { // fe80:: is on every link
			link.Addresses = append(link.Addresses, a.Prefix.String())
		}
	}
	if l.Kind == "bridge" && l.Namespace == w.Host {
		for _, n := range w.Networks {
			if n.Bridge == l.Name && n.Live {
				link.Network = n.Name
			}
		}
	}
	return link
}

// routeText is the route as `ip route` shows it; "" for one that came with an address.
func routeText(r world.Route) string {
	if r.Table != 254 || r.Protocol == "kernel" || r.To.Addr().Is6() && r.To.Addr().IsMulticast() {
		return ""
	}
	text := r.To.String()
	if r.Default() {
		text = "default"
	}
	if r.Type != "unicast" {
		text = r.Type + " " + text
	}
	if r.Via.IsValid() {
		text += " via " + r.Via.String()
	}
	if r.Dev != nil {
		text += " dev " + r.Dev.Name
	}
	return text
}

// addCable notes a cable at the first of its ends that is met.
func (v *View) addCable(named map[*world.Namespace]*Space, l *world.Link) {
	if l.Peer == nil {
		return
	}
	mine, theirs := End{named[l.Namespace].Name, l.Name}, End{named[l.Peer.Namespace].Name, l.Peer.Name}
	c := Cable{Kind: l.Kind, A: mine, B: theirs, Up: l.Up && l.Peer.Up}
	if l.Kind != "veth" {
		c.A, c.B = theirs, mine // the link below comes first
	} else if slices.ContainsFunc(v.Cables, func(o Cable) bool { return o.A == theirs && o.B == mine || o.A == mine && o.B == theirs }) {
		return
	} else if mine.Space == theirs.Space && theirs.Link < mine.Link {
		c.A, c.B = theirs, mine
	}
	v.Cables = append(v.Cables, c)
}

// addRule notes ways in and out.
func (v *View) addRule(w *world.World, c *world.Chain, r *world.Rule) {
	owner, six := r.Owner.String(), c.Family == "ip6" || r.To.Addr.Is6()
	switch r.Target {
	case "DNAT":
		for _, e := range r.Map {
			v.addPort(w, Port{From: portText(e.Addr, six, [][2]uint16{{e.Port, e.Port}}, e.Proto), To: e.To.String(), By: c.Place(), Owner: owner, port: e.Port}, e.To.Addr())
		}
		if r.To.Addr.IsValid() {
			var dst netip.Addr
			if len(r.Match.Dst.Nets) == 1 && !r.Match.Dst.Not && r.Match.Dst.Nets[0].IsSingleIP() {
				dst = r.Match.Dst.Nets[0].Addr()
			}
			to := r.To.Addr.String()
			if r.To.PortMin != 0 {
				to = netip.AddrPortFrom(r.To.Addr, r.To.PortMin).String()
				if r.To.PortMax > r.To.PortMin {
					to = fmt.Sprintf("%s-%d", to, r.To.PortMax)
				}
			}
			p := Port{From: portText(dst, six, r.Match.DPort.Ranges, r.Match.Proto), To: to, By: c.Place(), Owner: owner}
			if len(r.Match.DPort.Ranges) > 0 {
				p.port = r.Match.DPort.Ranges[0][0]
			}
			v.addPort(w, p, r.To.Addr)
		}
	case "MASQUERADE", "SNAT":
		out := r.Match.Out
		if len(out.Names) > 0 && !out.Not && slices.ContainsFunc(out.Names, func(name string) bool { l := w.Host.Link(name); return l != nil && l.Kind == "bridge" }) {
			return // back to its own bridge: that is for published ports
		}
		o := Out{From: "0.0.0.0/0", As: r.Target, Owner: owner}
		if six {
			o.From = "::/0"
		}
		if len(r.Match.Src.Nets) > 0 {
			o.From = r.Match.Src.Nets[0].String()
		}
		if len(out.Names) > 0 {
			o.Link = out.Names[0]
			if out.Not {
				o.Link = "!" + o.Link
			}
		}
		if r.Target == "SNAT" && r.To.Addr.IsValid() {
			o.As = r.To.Addr.String()
		}
		v.Outs = append(v.Outs, o)
	}
}

// addPort adds a way in, once: the same rule stands in PREROUTING and OUTPUT when it was made by hand.
func (v *View) addPort(w *world.World, p Port, to netip.Addr) {
	for _, n := range w.Namespaces {
		if n != w.Host && n.Owns(to) && !to.IsLoopback() {
			p.Space = n.Name()
			if p.Owner == "mydocker" && n.Owner.Ours() { // one rule for all ports, which are in a map
				p.Owner = n.Owner.String()
			}
		}
	}
	same := func(o Port) bool { return o.From == p.From && o.To == p.To }
	if !slices.ContainsFunc(v.Ports, same) {
		v.Ports = append(v.Ports, p)
	}
}

// portText is how a published port is called: *:80/tcp, [::]:80/tcp, 10.99.0.1:80/tcp.
func portText(a netip.Addr, six bool, ranges [][2]uint16, proto string) string {
	host := "*"
	if six && !a.IsValid() {
		a = netip.IPv6Unspecified()
	}
	if a.IsValid() {
		host = a.String()
	}
	if a.Is6() && len(ranges) > 0 {
		host = "[" + host + "]"
	}
	var runs []string
	for _, r := range ranges {
		if r[0] == r[1] {
			runs = append(runs, fmt.Sprint(r[0]))
		} else {
			runs = append(runs, fmt.Sprintf("%d-%d", r[0], r[1]))
		}
	}
	text := host
	if len(runs) > 0 {
		text += ":" + strings.Join(runs, ",")
	}
	if proto != "" {
		text += "/" + proto
	}
	return text
}

// Space finds a namespace by its name. Absent is nil.
func (v *View) Space(name string) *Space {
	for _, s := range v.Spaces {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Link finds a link by its name. Absent is nil.
func (s *Space) Link(name string) *Link {
	for _, l := range s.Links {
		if l.Name == name {
			return l
		}
	}
	return nil
}
