package topology

import "slices"

// A host's networks are a graph; a drawing is easier to read as a tree. So it is cut into pictures: one namespace on top, as the one
// that the others hang on, and below it those that its cables lead to. The host is on top of the first; a namespace that has
// cables to others still, say a router between two networks, is on top of one more.

// picture is one namespace with what hangs on it.
type picture struct {
	top    *Space
	groups []group
	again  bool // the top has been drawn before, below another
}

// group is a bridge with its cables; bridge nil is a single cable that is in none.
type group struct {
	bridge *Link
	legs   []leg
}

// leg is a cable from the top namespace into another.
type leg struct {
	cable Cable
	outer *Link // in the top namespace
	space *Space
	inner *Link
	seen  bool // the namespace was drawn before: only the name stands here
}

// pictures cuts the view up: breadth first from the host, and then from whatever has no cable to it.
func (v *View) pictures() (list []picture) {
	drawn, below, visited, used := map[*Space]bool{}, map[*Space]bool{}, map[*Space]bool{}, map[int]bool{}
	for _, start := range v.Spaces {
		for queue := []*Space{start}; len(queue) > 0; queue = queue[1:] {
			top := queue[0]
			if visited[top] {
				continue
			}
			visited[top], drawn[top] = true, true
			p := v.picture(top, drawn, used)
			p.again = below[top]
			legs := 0
			for _, g := range p.groups {
				legs += len(g.legs)
				for _, l := range g.legs {
					below[l.space] = true
					queue = append(queue, l.space)
				}
			}
			if !p.again || legs > 0 {
				list = append(list, p)
			}
		}
	}
	return list
}

// picture collects what hangs on a namespace, by cables that are not in another picture.
func (v *View) picture(top *Space, drawn map[*Space]bool, used map[int]bool) picture {
	p := picture{top: top}
	for _, l := range top.Links {
		if l.Kind == "bridge" {
			p.groups = append(p.groups, group{bridge: l})
		}
	}
	for i, c := range v.Cables {
		mine, theirs, ok := c.from(top.Name)
		if !ok || used[i] || mine.Space == theirs.Space {
			continue
		}
		used[i] = true
		to := v.Space(theirs.Space)
		l := leg{cable: c, outer: top.Link(mine.Link), space: to, inner: to.Link(theirs.Link), seen: drawn[to]}
		if l.outer == nil || l.inner == nil {
			continue
		}
		drawn[to] = true
		at := slices.IndexFunc(p.groups, func(g group) bool { return g.bridge != nil && g.bridge.Name == l.outer.Master })
		if at < 0 {
			p.groups = append(p.groups, group{legs: []leg{l}})
			continue
		}
		p.groups[at].legs = append(p.groups[at].legs, l)
	}
	return p
}

// from sees the cable from one namespace.
func (c Cable) from(space string) (mine, theirs End, ok bool) {
	switch space {
	case c.A.Space:
		return c.A, c.B, true
	case c.B.Space:
		return c.B, c.A, true
	}
	return End{}, End{}, false
}

// inside are the cables both ends of which are in one namespace.
func (v *View) inside(s *Space) (list []Cable) {
	for _, c := range v.Cables {
		if c.A.Space == s.Name && c.B.Space == s.Name {
			list = append(list, c)
		}
	}
	return list
}

// cabled says whether a link's other end is elsewhere.
func (v *View) cabled(s *Space, l *Link) bool {
	return slices.ContainsFunc(v.Cables, func(c Cable) bool {
		return c.A.Space != c.B.Space && (c.A == End{s.Name, l.Name} || c.B == End{s.Name, l.Name})
	})
}
