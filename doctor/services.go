package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/world"
)

func listeners(n *world.Namespace, proto string, port uint16) (all []world.Socket) {
	for _, s := range n.Sockets {
		if s.Proto == proto && s.Address.Port() == port {
			all = append(all, s)
		}
	}
	return all
}

// services asks at the end of the way: does anybody take the packet?
func (x *exam) services() error {
	for _, p := range x.pubs {
		if p.station != nil && !p.lost && (p.proto == "tcp" || p.proto == "udp") {
			x.service(p)
		}
		for _, s := range listeners(p.router, p.proto, p.port) {
			if !s.Address.Addr().IsLoopback() && x.competes(p, s) {
				x.taken(p.name(), p.router, s, p.about())
			}
		}
	}
	for _, c := range x.w.Containers {
		if c.Running() {
			continue
		}
		for _, m := range c.Wanted {
			for _, s := range listeners(x.w.Host, m.Proto, m.HostPort) {
				if m.HostPort != 0 && (!m.HostIP.IsValid() || m.HostIP.IsUnspecified() || s.Takes(m.HostIP)) {
					x.taken(PortName(m.HostPort, m.Proto), x.w.Host, s, []string{PortName(m.HostPort, m.Proto), c.Name})
				}
			}
		}
	}
	return nil
}

// competes says whether the program that listens is another than the one that is published. Docker's proxy listens for the container.
func (x *exam) competes(p *publication, s world.Socket) bool {
	if p.endpoint != nil {
		return x.foreign(s)
	}
	who, ok := x.w.Holder(s.Inode)
	return !ok || who.Name != "docker-proxy"
}

// foreign says whether the socket is not one of ours: the monitor holds the sockets of published ports, and may serve them itself.
func (x *exam) foreign(s world.Socket) bool {
	p, ok := x.w.Holder(s.Inode)
	if !ok || strings.HasPrefix(p.Name, "mydocker") {
		return !ok
	}
	mine, err := os.Stat("/proc/self/exe")
	theirs, theirErr := os.Stat(fmt.Sprintf("/proc/%d/exe", p.Pid))
	return err != nil || theirErr != nil || !os.SameFile(mine, theirs)
}

func (x *exam) taken(port string, n *world.Namespace, s world.Socket, about []string) {
	who, commands := "?", []string(nil)
	if p, ok := x.w.Holder(s.Inode); ok {
		who = fmt.Sprintf("%s (pid %d)", p.Name, p.Pid)
	}
	x.add(Finding{ID: "port-taken", Object: port, About: about, Values: []any{"port", port, "program", who, "address", s.Address}, Commands: commands,
		Evidence: []Evidence{{x.in(n) + "ss -lntup", fmt.Sprintf("%s %s %s", s.Proto, s.Address, who)}}})
}

func (x *exam) service(p *publication) {
	n := p.station.inner.Namespace
	all := listeners(n, p.proto, p.target.Port())
	if slices.ContainsFunc(all, func(s world.Socket) bool { return s.Takes(p.target.Addr()) }) {
		return
	}
	f := Finding{ID: "not-listening", Object: p.station.name() + " " + p.name(), About: p.about(),
		Values: []any{"namespace", p.station.name(), "port", p.name(), "target", p.target}, Evidence: []Evidence{{x.in(n) + "ss -lntu", socketList(n)}}}
	if len(all) > 0 {
		f.ID = "listens-on-loopback"
		f.Values = append(f.Values, "address", all[0].Address)
	}
	if i := slices.IndexFunc(all, func(s world.Socket) bool { return s.Address.Addr().Is4() && !s.Address.Addr().IsLoopback() }); i >= 0 && p.six() {
		f.ID, f.Values[len(f.Values)-1] = "listens-on-ipv4-only", all[i].Address
	}
	x.add(f)
}

func socketList(n *world.Namespace) string {
	var all []string
	for _, s := range n.Sockets {
		all = append(all, s.Proto+" "+s.Address.String())
	}
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, "; ")
}

// names looks at how containers and namespaces made by hand find addresses by name.
func (x *exam) names() error {
	for _, c := range x.w.Containers {
		if c.Namespace == nil || c.Namespace == x.w.Host || !c.Running() || alone(c.Namespace) {
			continue
		}
		text, err := x.w.File(c, "resolv.conf")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		x.resolver(c.Namespace, c.Name, "mydocker exec "+c.Name+" cat /etc/resolv.conf", string(text))
		x.defaultBridge(c)
	}
	for _, n := range x.w.Namespaces {
		if n.Owner.Ours() || n == x.w.Host {
			continue
		}
		for _, name := range n.Names {
			path := filepath.Join("/etc/netns", name, "resolv.conf") // ip-netns(8)
			if text, err := os.ReadFile(path); err == nil {
				x.resolver(n, n.Name(), "cat "+path, string(text))
			}
		}
	}
	return nil
}

// alone says whether a namespace has no link but lo, as --net none wants it.
func alone(n *world.Namespace) bool {
	return !slices.ContainsFunc(n.Links, func(l *world.Link) bool { return !l.Loopback })
}

// resolver: none of the name servers can be reached.
func (x *exam) resolver(n *world.Namespace, name, show, text string) {
	var servers []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(f[1])
		if err != nil || x.reaches(n, a) {
			return
		}
		servers = append(servers, f[1])
	}
	if len(servers) > 0 {
		x.add(Finding{ID: "resolver-unreachable", Object: name, About: append([]string{name}, n.Names...), Values: []any{"namespace", name, "server", strings.Join(servers, ", ")},
			Evidence: []Evidence{{show, "nameserver " + strings.Join(servers, ", nameserver ")}, {x.in(n) + "ss -lnu", socketList(n)}}})
	}
}

// reaches says whether a name server may be there: somebody listens on an address of our own; for another, there is a way.
func (x *exam) reaches(n *world.Namespace, a netip.Addr) bool {
	if !n.Owns(a) {
		if a.IsLinkLocalUnicast() {
			return true // by which link is not for the routes to say
		}
		r := n.RouteTo(a)
		return r != nil && r.Type == "unicast"
	}
	if a == netip.AddrFrom4([4]byte{127, 0, 0, 11}) && slices.Contains(n.Tables, world.DNSTable) {
		// Its port is rewritten on the way (network/dnsredirect.go).
		return slices.ContainsFunc(n.Sockets, func(s world.Socket) bool { return s.Proto == "udp" && s.Address.Addr() == a })
	}
	return slices.ContainsFunc(listeners(n, "udp", 53), func(s world.Socket) bool { return s.Takes(a) })
}

// defaultBridge: as in Docker, containers on the default network do not know each other's names. Somebody who gives one the name of
// another, in its command or environment, expects it.
func (x *exam) defaultBridge(c *world.Container) {
	if len(c.Endpoints) != 1 || c.Endpoints[0].NetworkName != "bridge" {
		return
	}
	words := map[string]bool{}
	for _, text := range append(slices.Clone(c.Args), values(c.Env)...) {
		for _, w := range strings.FieldsFunc(text, func(r rune) bool { return !isNameRune(r) }) {
			words[w] = true
		}
	}
	hosts, _ := x.w.File(c, "hosts")
	for _, other := range x.w.Containers {
		if other == c || !words[other.Name] || len(other.Endpoints) == 0 || other.Endpoints[0].NetworkName != "bridge" || knows(string(hosts), other.Name) {
			continue
		}
		x.add(Finding{ID: "names-on-default-bridge", Object: c.Name, About: []string{c.Name, other.Name, "bridge"}, Values: []any{"container", c.Name, "other", other.Name},
			Evidence: []Evidence{{"mydocker inspect -f '{{.Config.Cmd}} {{.Config.Env}}' " + c.Name, other.Name}, {"mydocker exec " + c.Name + " cat /etc/hosts", ""}},
			Commands: []string{"mydocker network create apps", "mydocker network connect apps " + c.Name, "mydocker network connect apps " + other.Name}})
	}
}

func values(env []string) (all []string) {
	for _, e := range env {
		_, v, _ := strings.Cut(e, "=")
		all = append(all, v)
	}
	return all
}

func isNameRune(r rune) bool {
	return r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

func knows(hosts, name string) bool {
	return slices.Contains(strings.Fields(hosts), name)
}
