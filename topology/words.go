package topology

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/lang"
)

// writer says the things of a view in words, the same in each of the forms.
type writer struct {
	v     *View
	texts *lang.Catalogue
}

// title is what a namespace is called: "host", "container web + helper", "namespace ns1".
func (w writer) title(s *Space) string {
	const most = 3 // who shares it; the JSON form has all
	title := w.texts.Text("topology.namespace", "name", s.Name)
	switch s.Kind {
	case "host":
		title = w.texts.Text("topology.host")
	case "container":
		title = w.texts.Text("topology.container", "name", s.container)
	}
	for i, name := range s.Sharing {
		if i == most {
			title += " + …"
			break
		}
		title += " + " + name
	}
	return title + w.marks(s.Name, "")
}

// marks are the numbers of the faults of a place: " !1 !2".
func (w writer) marks(space, link string) (text string) {
	for i, f := range w.v.Faults {
		if f.Space == space && f.Link == link {
			text += fmt.Sprintf(" !%d", i+1)
		}
	}
	return text
}

// link is a line for an interface: "eth0  172.18.0.2/16", "veth0  (down)".
func (w writer) link(s *Space, l *Link) string {
	parts := []string{l.Name}
	if l.Kind != "veth" && l.Kind != "device" && l.Kind != "bridge" {
		parts[0] += " (" + l.Kind + ")"
	}
	if l.Kind == "bridge" {
		parts[0] += " [" + strings.Join(ports(s, l), " ") + "]"
	} else if l.Master != "" {
		parts = append(parts, "→ "+l.Master)
	}
	parts = append(parts, l.Addresses...)
	if !l.Up {
		parts = append(parts, w.texts.Text("topology.down"))
	}
	if s.Kind == "container" && l.Owner == "" && !l.Loopback {
		parts = append(parts, w.texts.Text("topology.foreign"))
	}
	return strings.Join(parts, "  ") + w.marks(s.Name, l.Name)
}

func ports(s *Space, bridge *Link) (names []string) {
	for _, l := range s.Links {
		if l.Master == bridge.Name {
			names = append(names, l.Name)
		}
	}
	return names
}

// bridge is the line inside a bridge: its address, and the ports that lead into no other namespace.
func (w writer) bridge(s *Space, l *Link) string {
	parts := slices.Clone(l.Addresses)
	if len(parts) == 0 {
		parts = append(parts, w.texts.Text("topology.no-address"))
	}
	if !l.Up {
		parts = append(parts, w.texts.Text("topology.down"))
	}
	for _, p := range s.Links {
		if p.Master == l.Name && !w.v.cabled(s, p) {
			parts = append(parts, "+ "+w.pair(s, p))
		}
	}
	return strings.Join(parts, "  ")
}

func (w writer) bridgeTitle(s *Space, l *Link) string {
	title := w.texts.Text("topology.bridge", "name", l.Name)
	if l.Network != "" && l.Network != l.Name {
		title += " · " + w.texts.Text("topology.network", "name", l.Network)
	}
	return title + w.marks(s.Name, l.Name)
}

// pair is a link, with its other end when that is in the same namespace.
func (w writer) pair(s *Space, l *Link) string {
	text := l.Name
	if !l.Up {
		text += " " + w.texts.Text("topology.down")
	}
	for _, c := range w.v.inside(s) {
		if c.A.Link == l.Name {
			return text + " ═ " + c.B.Link
		}
		if c.B.Link == l.Name {
			return text + " ═ " + c.A.Link
		}
	}
	return text
}

// inBox are the lines in a namespace's box: its links, and its routes.
func (w writer) inBox(s *Space) (lines []string) {
	for _, l := range s.Links {
		if l.Loopback {
			if !l.Up {
				lines = append(lines, w.link(s, l))
			}
			continue
		}
		lines = append(lines, w.link(s, l))
	}
	return orLo(append(lines, w.about(s)...))
}

// orLo says of a namespace that has nothing else that it has lo.
func orLo(lines []string) []string {
	if len(lines) == 0 {
		return []string{"lo"}
	}
	return lines
}

// about are a namespace's routes and how it passes packets on.
func (w writer) about(s *Space) (lines []string) {
	if s.Forwarding {
		lines = append(lines, "ip_forward 1")
	} else if s.Kind == "host" {
		lines = append(lines, "ip_forward 0")
	}
	if s.Policy != "" {
		lines = append(lines, w.texts.Text("topology.policy", "policy", s.Policy))
	}
	cards := 0
	for _, l := range s.Links {
		if !l.Loopback {
			cards++
		}
	}
	for _, r := range s.Routes {
		if cards == 1 {
			r, _, _ = strings.Cut(r, " dev ")
		}
		lines = append(lines, r)
	}
	if s.Error != "" {
		lines = append(lines, "? "+s.Error)
	}
	return lines
}

// onTop are the lines of the namespace on top of a picture: what is not drawn below.
func (w writer) onTop(p picture) (lines []string) {
	s := p.top
	hung := map[string]bool{}
	for _, g := range p.groups {
		if g.bridge != nil {
			hung[g.bridge.Name] = true
		}
		for _, l := range g.legs {
			hung[l.outer.Name] = true
		}
	}
	paired := map[string]bool{}
	for _, c := range w.v.inside(s) {
		a, b := s.Link(c.A.Link), s.Link(c.B.Link)
		if a == nil || b == nil || a.Master != "" && hung[a.Master] || b.Master != "" && hung[b.Master] {
			continue // told by the bridge
		}
		paired[a.Name], paired[b.Name] = true, true
		lines = append(lines, w.link(s, a)+" ═══ "+w.link(s, b))
	}
	for _, l := range s.Links {
		switch {
		case hung[l.Name] || paired[l.Name] || l.Loopback && l.Up:
		case l.Master != "" && hung[l.Master] && !w.v.cabled(s, l):
			if len(l.Addresses) > 0 {
				lines = append(lines, w.link(s, l)) // an address on a port is worth a look
			}
		default:
			lines = append(lines, w.link(s, l))
		}
	}
	lines = append(lines, w.about(s)...)
	if s.Kind == "host" {
		lines = append(lines, w.ways()...)
	}
	if len(p.groups) > 0 {
		return lines
	}
	return orLo(lines)
}

// ways are the ways in and out of the host.
func (w writer) ways() (lines []string) {
	for _, p := range w.v.Ports {
		text := p.From + " → " + p.To
		if p.Space != "" {
			text += " (" + p.Space + ")"
		}
		lines = append(lines, text)
	}
	for _, o := range w.v.Outs {
		text := o.From + " → " + o.As
		if o.Link != "" && !strings.HasPrefix(o.Link, "!") {
			text += " (" + o.Link + ")"
		}
		lines = append(lines, text)
	}
	return lines
}

// faults is the list under a drawing.
func (w writer) faults() (lines []string) {
	for i, f := range w.v.Faults {
		lines = append(lines, fmt.Sprintf("!%d %s", i+1, f.Text))
	}
	return lines
}
