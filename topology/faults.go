package topology

import (
	"slices"
	"strings"
)

// Mark adds a fault to the drawing, at the place that its names speak of. object is what is at fault: "web", "br0", "ns1:eth0", "port
// 8080/tcp"; about are other names of its surroundings, from near to far. What has no place of its own is the host's.
func (v *View) Mark(object string, about []string, text string) {
	f := Fault{Text: text}
	for _, name := range append([]string{object}, append(strings.Fields(object), about...)...) {
		if space, link, ok := v.place(name); ok {
			f.Space, f.Link = space, link
			break
		}
	}
	if f.Space == "" {
		f.Space = v.Spaces[0].Name
	}
	if !slices.Contains(v.Faults, f) {
		v.Faults = append(v.Faults, f)
	}
}

// place is where a name is in the drawing: a link as NAMESPACE:LINK, a namespace, a link of the host's, a network's bridge.
func (v *View) place(name string) (space, link string, ok bool) {
	if i := strings.LastIndexByte(name, ':'); i > 0 {
		if s := v.Space(name[:i]); s != nil && s.Link(name[i+1:]) != nil {
			return s.Name, name[i+1:], true
		}
	}
	for _, s := range v.Spaces {
		if s.Name == name || slices.Contains(s.Names, name) {
			return s.Name, "", true
		}
	}
	host := v.Spaces[0]
	for _, l := range host.Links {
		if l.Name == name || l.Network == name && name != "" {
			return host.Name, l.Name, true
		}
	}
	return "", "", false
}
